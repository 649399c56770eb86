"""What is known of a headway when it begins: random worlds, on Google's reference executor."""

import random
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from components.transit.train_headway.headway_model import FEATURES
from goldline.contracts.columns import Row
from goldline.contracts.table_contract import TableContract
from goldline.emulators.googlesql import Executor
from goldline.local.sqltest.analysis import analyser_of
from goldline.spec.tables import contracts, select

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 19)
NIGHT = DAY + timedelta(days=1)  # the run's date
NOW = datetime(2026, 11, 19, 15, 20, tzinfo=UTC)  # what comes after it is another world's
ZONE = ZoneInfo("America/New_York")
STOPS = [f"s{number}" for number in range(7)]
SELECT = select("transit/fct_headways")
CONTRACT = contracts()["transit/fct_headways"]
assert isinstance(CONTRACT, TableContract)
LOOKBACK = CONTRACT.lookback_start(NIGHT)
Known = dict[tuple[object, ...], Row]


def world(dice: random.Random) -> list[Row]:
    """Trains of two routes on two mornings, from stop to stop."""
    rows: list[Row] = []
    for day in (DAY - timedelta(days=1), DAY):
        for route in "AC":
            moment = datetime(day.year, day.month, day.day, 14, tzinfo=UTC)
            for train in range(14):
                moment += timedelta(seconds=dice.randint(120, 600))
                at = moment
                for stop in STOPS if dice.random() < 0.8 else STOPS[2:]:
                    at += timedelta(seconds=dice.randint(60, 180))
                    left = at + timedelta(seconds=dice.randint(0, 90)) if dice.random() < 0.9 else None
                    rows.append(arrival(day, f"{route}{train}", stop, route, at, left))
    return rows


def arrival(day: date, trip: str, stop: str, route: str, at: datetime, left: datetime | None) -> Row:
    place = {"service_date": day, "trip_uid": trip, "stop_id": stop, "route_id": route, "direction_id": 0}
    times = {"arrived_at": at, "departed_at": left, "arrived_local": at.astimezone(ZONE).replace(tzinfo=None)}
    load = {"time_zone": "America/New_York", "_line": 2, "_archive": "a", "_loaded_date": NIGHT}
    return {**place, **times, **load}


def changed(rows: list[Row], dice: random.Random) -> list[Row]:
    """Another world that is the same up to now: later arrivals are missing, of other trains, or at other times."""
    found = []
    for row in rows:
        if row["arrived_at"] <= NOW:
            found.append(row)
        elif dice.random() < 0.8:
            at = NOW + timedelta(seconds=dice.randint(1, 5400))
            found.append(arrival(DAY, row["trip_uid"], row["stop_id"], dice.choice("AC"), at, None))
    return found


@cache
def executor() -> Executor:
    return Executor(analyser_of(contracts().values()))


def known(rows: list[Row], sql: str) -> Known:
    """What is known of each headway that has begun by now, by place and the train that it began with."""
    days = [
        {"service_date": day, "_archive": "a", "_loaded_date": NIGHT, "_run_id": "r", **dict.fromkeys(counts, 1)}
        for day in (DAY - timedelta(days=1), DAY)
        for counts in [("stop_time_rows", "trip_rows", "rejected_rows")]
    ]
    given: dict[str, Any] = {"silver.stg_arrivals": rows, "bronze.transit_days": days}
    found = executor().select(sql, given, NIGHT, NIGHT, LOOKBACK).rows
    place = ("stop_id", "route_id", "direction_id", "previous_trip_uid", "known_at")
    return {
        tuple(row[name] for name in place): {name: row[name] for name in (*FEATURES, "previous_route_id")}
        for row in found
        if row["known_at"] is not None and row["known_at"] <= NOW and row["service_date"] == DAY
    }


def leaks(sql: str, seed: int = 1) -> set[str]:
    """The columns that change where only what comes after now is another."""
    rows = world(random.Random(seed))
    here, there = known(rows, sql), known(changed(rows, random.Random(seed)), sql)
    both = here.keys() & there.keys()
    assert len(both) > 40
    return {name for place in both for name, value in here[place].items() if there[place][name] != value}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_comes_after_the_previous_train_left_changes_no_feature(seed: int) -> None:
    assert leaks(SELECT, seed) == set()


@pytest.mark.parametrize(
    ("condition", "without", "caught"),
    [
        (
            "previous_upstream_next_at <= known_at as is_next_upstream",
            "previous_upstream_next_at is not null as is_next_upstream",
            {"upstream_gap_minutes"},
        ),
        ("past.arrived_date < asked.known_date", "past.arrived_date <= asked.known_date", {"median_headway_minutes"}),
        (
            "lag(headway_minutes) over route_at_stop as previous_headway_minutes",
            "headway_minutes as previous_headway_minutes",
            {"previous_headway_minutes"},
        ),
    ],
    ids=["the next train upstream", "the same day's median", "the headway itself"],
)
def test_a_planted_leak_is_caught(condition: str, without: str, caught: set[str]) -> None:
    assert SELECT.count(condition) == 1
    assert leaks(SELECT.replace(condition, without)) == caught


def test_every_feature_is_told() -> None:
    """The property above would hold of features that are never there."""
    rows = known(world(random.Random(1)), SELECT).values()
    empty = {name for name in FEATURES if all(row[name] is None for row in rows)}
    assert empty == {"scheduled_headway_minutes"}  # this world has no schedule
    assert len({row["upstream_gap_minutes"] for row in rows}) > 10
