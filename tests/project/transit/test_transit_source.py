"""The simulated city: valid feed, archives in the real format, and a truth that anyone can count again."""

import csv
import io
import json
import lzma
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.simulation import NotSimulatedError
from components.transit.download_gtfs.feed_download import download_gtfs
from components.transit.download_history.history_download import download_history
from components.transit.generate_transit.city import City, midnight, service_on, service_start
from components.transit.generate_transit.simulated_archives import archive, is_corrupt, is_missing, is_whole
from components.transit.generate_transit.simulated_feed import feed
from components.transit.generate_transit.traffic import traffic
from components.transit.generate_transit.transit_files import archive_path, generate_transit, truth_path
from components.transit.history import COLUMNS, SIMULATED, member
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.spec.tables import catalog

NewLake = Callable[..., RunContext]
DAY = date(2026, 11, 3)  # the clock was put back on the 1st
SEED, DAYS, TRAINS = 7, 4, 3
ONE = timedelta(days=1)
Rows = list[dict[str, str]]


def content(run: RunContext) -> dict[str, bytes]:
    lake = Lake(run.project, run.bucket)
    return {path: lake._bucket.blob(path).download_as_bytes() for path in lake.list(SIMULATED)}


def csv_files(packed: bytes, day: date) -> dict[str, Rows]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(packed))) as tar:
        assert tar.getnames() == [member(day, name) for name in COLUMNS]
        for name, columns in COLUMNS.items():
            stream = tar.extractfile(member(day, name))
            assert stream
            reader = csv.DictReader(io.TextIOWrapper(stream, "utf-8"))
            assert reader.fieldnames == list(columns)
            found[name] = list(reader)
    return found


def truth(run: RunContext, day: date) -> list[dict[str, Any]]:
    blob = Lake(run.project, run.bucket)._bucket.blob(truth_path(day))
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(blob.download_as_bytes())).to_pylist()
    return rows


def test_the_truth_is_what_the_archives_tell(new_lake: NewLake) -> None:
    run = new_lake(DAY)
    counts = generate_transit(run, SEED, DAYS, TRAINS)
    there = content(run)
    days = [DAY - ONE * n for n in range(DAYS, 0, -1)]
    archives = {d: csv_files(there[archive_path(d)], d) for d in days}
    assert counts["stops"] == sum(len(a["stop_times"]) for a in archives.values())

    # The obvious way: all arrivals of a route and direction at a stop, in order of time.
    told = {row["trip_uid"]: row for d in days for row in truth(run, d)}
    arrivals = defaultdict(list)
    for d in days:
        for row in archives[d]["stop_times"]:
            if row["arrival_time"]:
                known = told[row["trip_uid"]]
                place = (known["route_id"], known["direction_id"], row["stop_id"])
                arrivals[place].append((int(row["arrival_time"]), row["trip_uid"]))
    expected = {}
    for (_, _, stop), times in arrivals.items():
        for (earlier, before), (later, uid) in pairwise(sorted(times)):
            if told[uid]["service_date"] - told[before]["service_date"] <= ONE:  # rush-hour trains rest at weekends
                expected[uid, stop] = (before, later - earlier)
    found = {
        (row["trip_uid"], row["stop_id"]): (row["previous_trip_uid"], row["headway_seconds"])
        for d in days
        for row in truth(run, d)
        if row["previous_trip_uid"]
    }
    assert found == expected
    seen = {(r["trip_uid"], r["stop_id"]) for d in days for r in truth(run, d) if r["arrival_time"]}
    assert seen == {(uid, stop) for (_, _, stop), times in arrivals.items() for _, uid in times}


def test_archives_have_what_makes_real_ones_hard() -> None:
    city = City(SEED, 6)
    day = date(2026, 11, 4)
    files = csv_files(archive(city, day, traffic(city, day)), day)
    trips, stop_times = {t["trip_uid"]: t for t in files["trips"]}, files["stop_times"]
    letters = {(t["route_id"], t["trip_uid"].split("_")[1].split(".")[0]) for t in trips.values()}
    assert {("6X", "6"), ("FX", "F"), ("W", "N"), ("6", "6"), ("GS", "GS")} <= letters
    dots = {t["route_id"]: t["trip_uid"].count(".") for t in trips.values()}
    assert (dots["GS"], dots["SI"], dots["A"]) == (1, 1, 2)
    assert {t["trip_uid"].partition(".")[2].strip(".")[0] + t["direction_id"] for t in trips.values()} == {"N0", "S1"}

    untold = {s["trip_uid"].split("_")[1].split(".")[0] for s in stop_times if s["trip_uid"] not in trips}
    assert untold
    assert untold <= {"A", "C", "6", "F", "N", "GS", "SI"}
    blank = Counter(name for row in stop_times for name, value in row.items() if not value)
    assert all(blank[name] > 0 for name in ("track", "arrival_time", "departure_time", "marked_past"))
    assert any(not (row["arrival_time"] or row["departure_time"]) for row in stop_times)

    starts = [int(t["start_time"]) for t in trips.values()]
    assert midnight(day) <= min(starts)
    assert max(starts) < midnight(day + ONE)
    assert max(int(s["arrival_time"] or 0) for s in stop_times) > midnight(day + ONE)


def test_trains_of_a_route_keep_their_order_and_bunch() -> None:
    city = City(SEED, 12)
    found = traffic(city, date(2026, 11, 4))
    routes = np.array(found.route_ids)[found.trips]
    spread = {}
    for stop in ("602S", "609S"):
        at = (routes == "6") & (np.array(found.stops) == stop)
        gaps = np.diff(found.arrivals[at])
        assert gaps.min() >= 74  # trips are in order, and each arrival is rounded down
        spread[stop] = gaps.std()
    assert spread["609S"] > spread["602S"] > 0  # late trains get later along the line
    assert np.all(found.departures > found.arrivals)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 11, 1), 25), (date(2026, 3, 8), 23), (date(2026, 3, 9), 24)])
def test_days_go_from_midnight_to_midnight(day: date, hours: int) -> None:
    found = traffic(City(SEED, 12), day)
    assert midnight(day + ONE) - midnight(day) == hours * 3600
    assert midnight(day) <= found.starts.min()
    assert found.starts.max() < midnight(day + ONE)
    assert len(set(found.trip_uids)) == len(found.trip_uids)
    # A train starts when its timetable says: its id's hundredths of minutes after noon minus 12 hours.
    [nights, days] = (service_start(d) for d in (day - ONE, day))
    for uid, trip in zip(found.trip_uids, found.trip_ids, strict=True):
        assert int(uid.split("_")[0]) - int(trip.split("_")[0]) * 60 // 100 in (nights, days)


def test_the_feed_is_valid_and_is_the_timetable(new_lake: NewLake) -> None:
    run = new_lake(DAY)
    generate_transit(run, SEED, 1, TRAINS)
    found = download_gtfs(run, catalog().tables, "", simulated=True)
    assert found.manifest.findings == []
    folder = found.uri.removeprefix(f"gs://{run.bucket}/")
    tables = {}
    for name in ("stop_times", "trips", "calendar_dates"):
        blob = Lake(run.project, run.bucket)._bucket.blob(f"{folder}/{name}.parquet")
        tables[name] = pq.read_table(io.BytesIO(blob.download_as_bytes())).to_pylist()
    assert max(row["arrival_time"] for row in tables["stop_times"]) > 24 * 3600
    scheduled = {row["trip_id"].split("-00_")[1] for row in tables["trips"]}
    assert set(traffic(City(SEED, TRAINS), DAY).trip_ids) <= scheduled
    assert {"A", "6X", "GS"} <= {row["route_id"] for row in tables["trips"]}
    for row in tables["calendar_dates"]:
        assert row["exception_type"] == (1 if row["service_id"] == service_on(row["date"]) else 2)
    assert not download_gtfs(run, catalog().tables, "", simulated=True).is_new
    assert feed(City(SEED, TRAINS)) == feed(City(SEED, TRAINS))


def test_days_in_any_order_give_the_same_lake(new_lake: NewLake) -> None:
    run = new_lake(DAY)
    generate_transit(run, SEED, DAYS, TRAINS)
    assert generate_transit(run, SEED, DAYS, TRAINS)["archives"] == 0
    generate_transit(run.model_copy(update={"run_date": DAY + ONE}), SEED, DAYS, TRAINS)
    whole = content(run)
    lake = Lake(run.project, run.bucket)
    for path in whole:
        lake._bucket.blob(path).delete()
    for number in (0, 3, 1, 2, 4):  # a day at a time
        day = DAY + ONE - ONE * number
        assert generate_transit(run.model_copy(update={"run_date": day}), SEED, 1, TRAINS)["archives"] == 1
    assert content(run) == whole


def test_some_days_are_missing_or_corrupt(new_lake: NewLake) -> None:
    days = [DAY - ONE * number for number in range(40)]
    [missing, *_] = [d for d in days if is_missing(SEED, d)]
    [corrupt, *_] = [d for d in days if is_corrupt(SEED, d)]
    for day, status in ((missing, "NOT_FOUND"), (corrupt, "ERROR")):
        run = new_lake(day + ONE * 2)
        generate_transit(run, SEED, 3, TRAINS)
        landed = download_history(run, "", 0, str(day - ONE), simulated=True)
        around = {o.day: o.status for o in landed.outcomes}
        assert (around[day], around[day + ONE * 2]) == (status, "PENDING")  # the run's date: the next run publishes it
        assert landed.counts["success"] == sum(is_whole(SEED, day + ONE * n) for n in (-1, 0, 1))
        assert Lake(run.project, run.bucket).exists(truth_path(day)) == is_whole(SEED, day)


def test_what_it_did_not_make_is_refused(new_lake: NewLake) -> None:
    run = new_lake(DAY)
    Lake(run.project, run.bucket).write_text(archive_path(DAY), "real")
    with pytest.raises(NotSimulatedError, match="which no simulation made: nothing was written"):
        generate_transit(run, SEED, DAYS, TRAINS)
    assert content(run) == {archive_path(DAY): b"real"}


def test_another_city_is_refused(new_lake: NewLake) -> None:
    run = new_lake(DAY)
    generate_transit(run, SEED, 1, TRAINS)
    before = content(run)
    with pytest.raises(NotSimulatedError, match=r"simulates .*'seed': 7.*, not .*'seed': 8"):
        generate_transit(run, 8, 1, TRAINS)
    assert content(run) == before
    assert json.loads(before[f"{SIMULATED}/simulation.json"]) == {"seed": SEED, "trains": TRAINS}
