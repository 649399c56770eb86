"""Records that earlier exports brought: which of them are gone, and what was last known of those.

A record is known by the contract's key, also where the key drifted from its type and lies in `_rest`. What has no key
is no record: silver rejects it, and nothing is to be deleted.
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
    """What is known of a record: whether it is deleted, and whether the run's own date tells of it."""

    key: str
    is_deleted: bool
    is_of_date: bool


class PreviousRecords:
    """The records in the newest commits of some dates, each in its newest version."""

    def __init__(self, run: RunContext, contract: SourceContract, dates: Sequence[datetime.date]) -> None:
        self.run = run
        self.contract = contract
        self.dates = dates
        self.jobs = source_jobs(run, contract)

    def records(self) -> Iterator[PreviousRecord]:
        """All of them."""
        # A window sees all rows of a key, QUALIFY then keeps one.
        of_date = f"max(if(run_date = date '{self.run.run_date}', 1, 0)) over (partition by {self._key})"
        select = f"select {self._key} as record_key, _is_deleted as is_deleted, {of_date} as is_of_date"
        for row in self.jobs.read_now(f"{select}\n{self._newest(f'{self._key} is not null')}"):
            yield PreviousRecord(row["record_key"], row["is_deleted"], bool(row["is_of_date"]))

    def rows(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """What was last known of some of them, as the source's files hold it."""
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
        # Constants, so that BigQuery lists the folders of these dates alone.
        dates = ", ".join(f"date '{d}'" for d in self.dates)
        changed = f"`{self.contract.change_column}` desc, " if self.contract.change_column else ""
        return (
            f"from `{self.run.table(self.contract.view)}`\nwhere run_date in ({dates}) and {where}\n"
            f"qualify row_number() over (partition by {self._key} "
            f"order by {changed}_updated desc, run_date desc, _document) = 1"
        )


def keys_of(batch: pa.RecordBatch, contract: SourceContract) -> pa.StringArray:
    """The keys of landed rows, as `PreviousRecords` names them; of rows without a key, none."""
    typed = batch[contract.key].cast(pa.string())
    drifted = batch["_rest"].filter(pc.and_(typed.is_null(), pc.match_substring(batch["_rest"], contract.key)))
    others = (json.loads(rest).get(contract.key) for rest in drifted.to_pylist())
    texts = [
        key if isinstance(key, str) else json.dumps(key) for key in others if not isinstance(key, dict | list | None)
    ]
    return pa.concat_arrays([typed.drop_null(), pa.array(texts, pa.string())])


def unread(keys: Iterable[str], landed: Sequence[pa.StringArray]) -> list[str]:
    """Those of some keys that are not among the landed ones."""
    known = pa.chunked_array(landed, pa.string())
    missing: list[str] = []
    for some in batched(keys, KEYS_A_QUERY, strict=False):
        batch = pa.array(some, pa.string())
        missing += batch.filter(pc.invert(pc.is_in(batch, value_set=known))).to_pylist()
    return missing


def deleted(row: Mapping[str, Any], contract: SourceContract, read_time: datetime.datetime) -> dict[str, Any]:
    """The version of a record that says it is gone: what was last known, newer than that and than the read time.

    Newer than the last version too, since the clock of whoever wrote it may be ahead of Firestore's.
    """
    gone = {**row, "_is_deleted": True}
    if name := contract.change_clock:
        last = row[name]
        gone[name] = max(read_time, last + datetime.timedelta(microseconds=1)) if last else read_time
    return gone


def batch_of(rows: Sequence[Mapping[str, Any]], contract: SourceContract) -> pa.RecordBatch:
    """Rows as the source's files hold them."""
    return pa.RecordBatch.from_pylist([dict(r) for r in rows], schema=arrow.schema(contract.file_columns))
