"""Startups of the simulator: whatever comes when, and however often, the gold tables hold the truth.

On Google's reference executor; with files, on the local warehouse, it is test_startups_flow.py.
"""

import datetime

import pytest

from components.startups.generate_startups.startup_lines import chunks as startup_chunks
from components.startups.generate_startups.startup_register import Register
from goldline.local.sqltest.reference_engine import ReferenceEngine
from tests.support.lake_nights import KEY, Folders, Warehouse, lines_of, told

pytestmark = pytest.mark.slow
FIRST = datetime.date(2026, 11, 13)
WEEKS = 10
REGISTER = Register(seed=7, changes=5, first=FIRST)


@pytest.fixture(scope="module")
def engine() -> ReferenceEngine:
    return ReferenceEngine()


def startups(engine: ReferenceEngine) -> Warehouse:
    return Warehouse(engine, "startups/ext_startups", "startups/stg_startups", "startups/dim_startup")


def startup_folders() -> Folders:
    weeks = range(WEEKS + 1)
    return {
        REGISTER.due(week): [line for chunk in startup_chunks(REGISTER, week) for line in lines_of(chunk.text(KEY))]
        for week in weeks
    }


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
