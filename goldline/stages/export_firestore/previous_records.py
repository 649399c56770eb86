"""Records that earlier exports landed: which of them are gone, and their last known rows.

A record is identified by the contract's key, also where the key is of another type and lies in `_rest`. A row without
a key is no record: silver rejects it, and it is never marked as deleted.
"""

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.cloud import bigquery

from goldline.contracts import arrow
from goldline.contracts.source_contract import SourceContract
from goldline.landing.attempts import source_jobs
from goldline.runs.context import RunContext

KEYS_A_QUERY = 5000


@dataclass(frozen=True)
class PreviousRecord:
    """Known state of a record: whether it is deleted, and whether the run date's own commit holds it."""

    key: str
    is_deleted: bool
    is_of_date: bool


class PreviousRecords:
    """Newest version of each record in the newest commits of some dates."""

    def __init__(self, run: RunContext, contract: SourceContract, dates: Sequence[datetime.date]) -> None:
        self.run = run
        self.contract = contract
        self.dates = dates
        self.jobs = source_jobs(run, contract)

    def records(self) -> Iterator[PreviousRecord]:
        """Keys and states of all records."""
        # A window sees all rows of a key, QUALIFY then keeps one.
        of_date = f"max(if(run_date = date '{self.run.run_date}', 1, 0)) over (partition by {self._key})"
        select = f"select {self._key} as record_key, _is_deleted as is_deleted, {of_date} as is_of_date"
        for row in self.jobs.read_now(f"{select}\n{self._newest(f'{self._key} is not null')}"):
            yield PreviousRecord(row["record_key"], row["is_deleted"], bool(row["is_of_date"]))

    def rows(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Last known rows of the records with these keys, in the columns of the source's files."""
        names = ", ".join(f"`{c.name}`" for c in self.contract.file_columns)
        select = f"select {names}\n{self._newest(f'{self._key} in unnest(@keys)')}"
        for some in batched(sorted(keys), KEYS_A_QUERY, strict=False):
            for row in self.jobs.read_now(select, [bigquery.ArrayQueryParameter("keys", "STRING", list(some))]):
                yield dict(row.items())

    @property
    def _key(self) -> str:
        name = self.contract.key
        return f"coalesce(cast(`{name}` as string), json_value(_rest, '$.{name}'))"

    def _newest(self, where: str) -> str:
        # Constants, so that BigQuery lists only the folders of these dates.
        dates = ", ".join(f"date '{d}'" for d in self.dates)
        changed = f"`{self.contract.change_column}` desc, " if self.contract.change_column else ""
        return (
            f"from `{self.run.table(self.contract.view)}`\nwhere run_date in ({dates}) and {where}\n"
            f"qualify row_number() over (partition by {self._key} "
            f"order by {changed}_updated desc, run_date desc, _document) = 1"
        )


def keys_of(batch: pa.RecordBatch, contract: SourceContract) -> pa.StringArray:
    """Keys of landed rows as texts, as in `PreviousRecords`; rows without a key are left out."""
    typed = batch[contract.key].cast(pa.string())
    drifted = batch["_rest"].filter(pc.and_(typed.is_null(), pc.match_substring(batch["_rest"], contract.key)))
    others = (json.loads(rest).get(contract.key) for rest in drifted.to_pylist())
    texts = [
        key if isinstance(key, str) else json.dumps(key) for key in others if not isinstance(key, dict | list | None)
    ]
    return pa.concat_arrays([typed.drop_null(), pa.array(texts, pa.string())])


def unread(keys: Iterable[str], landed: Sequence[pa.StringArray]) -> list[str]:
    """Keys that are not among the landed ones."""
    known = pa.chunked_array(landed, pa.string())
    missing: list[str] = []
    for some in batched(keys, KEYS_A_QUERY, strict=False):
        batch = pa.array(some, pa.string())
        missing += batch.filter(pc.invert(pc.is_in(batch, value_set=known))).to_pylist()
    return missing


def deleted(row: Mapping[str, Any], contract: SourceContract, read_time: datetime.datetime) -> dict[str, Any]:
    """Deleted version of a record: its last known row with `_is_deleted` and a newer change time.

    That is the read time, or 1 us after the last change if the writer's clock is ahead of Firestore's.
    """
    gone = {**row, "_is_deleted": True}
    if name := contract.change_clock:
        last = row[name]
        gone[name] = max(read_time, last + datetime.timedelta(microseconds=1)) if last else read_time
    return gone


def batch_of(rows: Sequence[Mapping[str, Any]], contract: SourceContract) -> pa.RecordBatch:
    """Arrow batch of rows, with the schema of the source's files."""
    return pa.RecordBatch.from_pylist([dict(r) for r in rows], schema=arrow.schema(contract.file_columns))
