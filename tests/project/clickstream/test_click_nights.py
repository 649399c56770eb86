"""Clicks of the simulator: whatever comes when, and however often, the gold tables hold the truth.

On Google's reference executor; with files, on the local warehouse, it is test_clickstream_flow.py.
"""

import datetime
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.clickstream.generate_clickstream.click_lines import chunks as click_chunks
from components.clickstream.generate_clickstream.visits import Shop
from goldline.local.sqltest.reference_engine import ReferenceEngine
from tests.support.lake_nights import Folders, Warehouse, lines_of, told

pytestmark = pytest.mark.slow
FIRST = datetime.date(2026, 11, 13)
DAYS = [FIRST + datetime.timedelta(days=n) for n in range(4)]
SHOP = Shop(seed=7, events=40, customers=20)


@pytest.fixture(scope="module")
def engine() -> ReferenceEngine:
    return ReferenceEngine()


def clicks(engine: ReferenceEngine) -> Warehouse:
    return Warehouse(engine, "clickstream/ext_clickstream", "clickstream/stg_clickstream", "clickstream/fct_sessions")


def click_folders() -> Folders:
    return {day: [line for chunk in click_chunks(SHOP, day) for line in lines_of(chunk.text())] for day in DAYS}


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
