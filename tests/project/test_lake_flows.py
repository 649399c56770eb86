"""Clicks and startups of the simulators: whatever comes when, and however often, the gold tables hold the truth.

Nights are built on Google's reference executor, from lines as land_files treats them; with files, on the local
warehouse, it is tests/end_to_end/test_clicks_and_startups.py.
"""

import datetime
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.clickstream.generate_clickstream.click_lines import chunks as click_chunks
from components.clickstream.generate_clickstream.visits import Shop
from components.startups.generate_startups.startup_lines import chunks as startup_chunks
from components.startups.generate_startups.startup_register import Register
from goldline.contracts.contract import Case, Row, SourceContract, TableContract
from goldline.local.sqltest import ReferenceEngine
from goldline.privacy.masks import Treatment
from goldline.privacy.pseudonym import Key
from goldline.spec.tables import contracts, select

KEY = Key("1", b"k" * 32)
FIRST = datetime.date(2026, 11, 13)
DAYS = [FIRST + datetime.timedelta(days=n) for n in range(4)]
SHOP = Shop(seed=7, events=40, customers=20)
WEEKS = 10
REGISTER = Register(seed=7, changes=5, first=FIRST)

Folders = dict[datetime.date, list[bytes]]


@pytest.fixture(scope="session")
def engine() -> ReferenceEngine:
    return ReferenceEngine()


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
        self._build(
            self.staging,
            {contracts()[self.source].names[1]: list(self._landed(folders, since or day, day))},
            day,
            since,
        )
        self._build(self.gold, {self._table(self.staging): self.rows[self.staging]}, day, since)

    def content(self) -> list[Row]:
        """The gold table, load metadata aside."""
        rows = [{k: v for k, v in row.items() if not k.startswith("_")} for row in self.rows[self.gold]]
        return sorted(rows, key=str)

    def _landed(self, folders: Folders, since: datetime.date, day: datetime.date) -> Iterator[Row]:
        contract = contracts()[self.source]
        assert isinstance(contract, SourceContract)
        for run_date, lines in folders.items():
            if since <= run_date <= day:
                for line in Treatment(contract, KEY).lines(lines):
                    yield {"line": line.decode(), "run_date": run_date, "_file": "a.jsonl.gz"}

    def _build(self, path: str, given: dict[str, list[Row]], day: datetime.date, since: datetime.date | None) -> None:
        contract = contracts()[path]
        assert isinstance(contract, TableContract)
        standing = {contract.table: self.rows.get(path, [])}
        case = Case(name="night", run_date=str(day), since=str(since or day), given=given | standing, expect=[])
        self.rows[path] = list(self.engine.run(contract, select(path), case, contracts()).rows)

    def _table(self, path: str) -> str:
        contract = contracts()[path]
        assert isinstance(contract, TableContract)
        return contract.table


def clicks(engine: ReferenceEngine) -> Warehouse:
    return Warehouse(engine, "clickstream/ext_clickstream", "clickstream/stg_clickstream", "clickstream/fct_sessions")


def startups(engine: ReferenceEngine) -> Warehouse:
    return Warehouse(engine, "startups/ext_startups", "startups/stg_startups", "startups/dim_startup")


def lines_of(batch: pa.BinaryArray) -> list[bytes]:
    return [line.removesuffix(b"\n") for line in batch.to_pylist()]


def click_folders() -> Folders:
    return {day: [line for chunk in click_chunks(SHOP, day) for line in lines_of(chunk.text())] for day in DAYS}


def startup_folders() -> Folders:
    weeks = range(WEEKS + 1)
    return {
        REGISTER.due(week): [line for chunk in startup_chunks(REGISTER, week) for line in lines_of(chunk.text(KEY))]
        for week in weeks
    }


def told(rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    return sorted(({name: row[name] for name in names} for row in rows), key=str)


@pytest.fixture(scope="module")
def in_order(engine: ReferenceEngine) -> Warehouse:
    made, folders = clicks(engine), click_folders()
    for day in DAYS:
        made.night(folders, day)
    return made


def test_sessions_are_those_that_the_simulator_knows(in_order: Warehouse) -> None:
    truth = [row for day in DAYS for chunk in click_chunks(SHOP, day) for row in chunk.truth().to_pylist()]
    whole = {t["session_id"]: t for t in truth if t.pop("complete_on") <= DAYS[-1]}
    assert len(whole) > 20
    names = next(iter(whole.values())).keys()
    # What began on the day before the first is not all there.
    found = [row for row in in_order.content() if row["session_id"] in whole]
    assert told(found, list(names)) == told(list(whole.values()), list(names))
    crossing = [t for t in whole.values() if t["started_at"].date() != t["ended_at"].date()]
    assert crossing


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(DAYS), again=st.sampled_from(DAYS), seed=st.integers(0, 1000), moved=st.integers(0, 20))
def test_clicks_may_come_in_any_order_and_twice(
    engine: ReferenceEngine,
    in_order: Warehouse,
    order: list[datetime.date],
    again: datetime.date,
    seed: int,
    moved: int,
) -> None:
    """Folders in any order, one of them twice, lines in any order in them, and some in another day's folder too."""
    dice, folders = random.Random(seed), click_folders()
    for day in DAYS:
        folders[day] = dice.sample(folders[day], len(folders[day]))
    folders[order[0]] += folders[order[-1]][:moved]
    made = clicks(engine)
    for day in [*order, again]:
        made.night(folders, day)
    assert made.content() == in_order.content()


def test_a_missed_night_is_made_up_for_by_the_next(engine: ReferenceEngine, in_order: Warehouse) -> None:
    made, folders = clicks(engine), click_folders()
    made.night(folders, DAYS[0])
    made.night(folders, DAYS[-1], since=DAYS[1])
    assert made.content() == in_order.content()


@pytest.fixture(scope="module")
def ten_weeks(engine: ReferenceEngine) -> Warehouse:
    made, folders = startups(engine), startup_folders()
    made.night(folders, REGISTER.due(WEEKS), since=FIRST)
    return made


def test_startups_have_the_history_that_the_register_knows(ten_weeks: Warehouse) -> None:
    truth = [row for chunk in startup_chunks(REGISTER, WEEKS) for row in chunk.truth().to_pylist()]
    assert len(truth) > 110
    assert told(ten_weeks.content(), list(truth[0])) == told(truth, list(truth[0]))
    assert {row["is_active"] for row in ten_weeks.content()} == {True, False}


def test_ten_weeks_with_one_skipped_and_replayed_late_give_the_same_history(
    engine: ReferenceEngine, ten_weeks: Warehouse
) -> None:
    made, folders = startups(engine), startup_folders()
    skipped = REGISTER.due(5)
    for day in [*(d for d in folders if d != skipped), skipped, skipped]:
        made.night(folders, day)
    assert made.content() == ten_weeks.content()
