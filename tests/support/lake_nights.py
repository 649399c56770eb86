"""Nights of a flow of JSON Lines on Google's reference executor, from lines as land_files treats them."""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from goldline.contracts.columns import Row
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.table_contract import Case, TableContract
from goldline.local.sqltest.reference_engine import ReferenceEngine
from goldline.privacy.masks import Treatment
from goldline.privacy.pseudonym import Key
from goldline.spec.tables import contracts, select

KEY = Key("1", b"k" * 32)
Folders = dict[datetime.date, list[bytes]]


@dataclass
class Warehouse:
    """The tables of one flow, and nights that build them."""

    engine: ReferenceEngine
    source: str
    staging: str
    gold: str
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def night(self, folders: Folders, day: datetime.date, since: datetime.date | None = None) -> None:
        """One run: what lies in the folders from `since` to the day goes into the tables."""
        contract = contracts()[self.source]
        assert isinstance(contract, SourceContract)
        self._build(self.staging, {contract.view: list(self._landed(contract, folders, since or day, day))}, day, since)
        self._build(self.gold, {self._table(self.staging): self.rows[self.staging]}, day, since)

    def content(self) -> list[Row]:
        """The gold table, load metadata aside."""
        rows = [{k: v for k, v in row.items() if not k.startswith("_")} for row in self.rows[self.gold]]
        return sorted(rows, key=str)

    def _landed(
        self, contract: SourceContract, folders: Folders, since: datetime.date, day: datetime.date
    ) -> Iterator[Row]:
        for run_date, lines in folders.items():
            if since <= run_date <= day:
                for line in Treatment(contract, KEY).lines(lines):
                    yield {"line": line.decode(), "run_date": run_date, "_file": "a.jsonl.gz"}

    def _build(self, path: str, given: dict[str, list[Row]], day: datetime.date, since: datetime.date | None) -> None:
        contract = contracts()[path]
        assert isinstance(contract, TableContract)
        standing = {contract.table: self.rows.get(path, [])}
        case = Case(name="night", run_date=day, since=since or day, given=given | standing, expect=[])
        self.rows[path] = list(self.engine.run(contract, select(path), case, contracts()).rows)

    def _table(self, path: str) -> str:
        contract = contracts()[path]
        assert isinstance(contract, TableContract)
        return contract.table


def lines_of(batch: pa.BinaryArray) -> list[bytes]:
    return [line.removesuffix(b"\n") for line in batch.to_pylist()]


def told(rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    return sorted(({name: row[name] for name in names} for row in rows), key=str)
