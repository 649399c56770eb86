"""Publish the simulated city's feed and its daily archives up to the day before the run date, and the truth beside.

The folder is simulated or someone else's, never both. A mark records seed and size; a folder that holds anything but
lacks the mark, or has another, is refused. Each day depends only on the city and the date, so a run adds what is
missing, in any order.
"""

import datetime
import io
import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pyarrow.parquet as pq

from components.simulation import NotSimulatedError
from components.transit.generate_transit.city import City
from components.transit.generate_transit.simulated_archives import archive, is_corrupt, is_missing, is_whole, truth
from components.transit.generate_transit.simulated_feed import feed
from components.transit.generate_transit.traffic import DAY, Traffic, traffic
from components.transit.history import SIMULATED, SIMULATED_ARCHIVE, SIMULATED_FEED, day_url
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.runs.records import recorded

LOG = logging.getLogger(__name__)
MARK = f"{SIMULATED}/simulation.json"
SIZES = {
    "small": {"days": 8, "trains": 2},
    "demo": {"days": 14, "trains": 6},
    "large": {"days": 60, "trains": 12},
}
WORKERS = 2  # archives are packed while the next day's trains are drawn


def generate_transit(run: RunContext, seed: int, days: int, trains: int) -> dict[str, int | float]:
    """Publish the feed and the archives that are missing.

    Args:
        run: the run's context.
        seed: seed of all that is random.
        days: number of days before the run date to publish; the run date itself is published by the next day's run.
        trains: trains an hour of a route in the busiest hour.

    Returns:
        Number of archives, corrupt archives, missing days, stops and trips that this run added.

    Raises:
        NotSimulatedError: the folder holds other files, or another simulation.
    """
    with recorded(run, "generate_transit", "transit") as record:
        lake = Lake(run.project, run.bucket)
        city = City(seed, trains)
        there = set(lake.list(SIMULATED))
        _check_mark(lake, there, {"seed": seed, "trains": trains})
        if SIMULATED_FEED not in there:
            lake.write_bytes(SIMULATED_FEED, feed(city), "application/zip")
        wanted = [run.run_date - DAY * number for number in range(days, 0, -1)]
        record.counts = _publish(lake, city, wanted, there)
    LOG.info("%s: %s", lake.uri(SIMULATED), ", ".join(f"{name} {count}" for name, count in record.counts.items()))
    return record.counts


def archive_path(day: datetime.date) -> str:
    """Path in the lake of a day's archive."""
    return day_url(SIMULATED_ARCHIVE, day)


def truth_path(day: datetime.date) -> str:
    """Path in the lake of the truth of a day's archive."""
    return f"{SIMULATED}/truth/service_date={day}/headways.parquet"


def _check_mark(lake: Lake, there: set[str], made_with: Mapping[str, int]) -> None:
    if there and MARK not in there:
        raise NotSimulatedError(
            f"{lake.uri(SIMULATED)} holds {min(there)}, which no simulation made: nothing was written. "
            f"Choose another bucket, or set simulated_size to none to read a real city"
        )
    if not there:
        lake.write_text(MARK, json.dumps(made_with))
    elif (found := json.loads(lake.read_text(MARK))) != made_with:
        raise NotSimulatedError(f"{lake.uri(SIMULATED)} simulates {found}, not {dict(made_with)}: nothing was written")


def _publish(lake: Lake, city: City, wanted: list[datetime.date], there: set[str]) -> dict[str, int | float]:
    """Write the missing archives, and the truth of all days that they change."""
    new = {day for day in wanted if archive_path(day) not in there and not is_missing(city.seed, day)}

    def is_published(day: datetime.date) -> bool:
        return (day in new or archive_path(day) in there) and is_whole(city.seed, day)

    changed = {day for day in new | set(_around(new)) if is_published(day)}
    counts: dict[str, int | float] = {
        "archives": len(new),
        "corrupt": sum(is_corrupt(city.seed, day) for day in new),
        "missing": sum(is_missing(city.seed, day) for day in wanted),
        "trips": 0,
        "stops": 0,
    }
    drawn: dict[datetime.date, Traffic] = {}

    def trains(day: datetime.date) -> Traffic:
        if day not in drawn:
            drawn[day] = traffic(city, day)
        return drawn[day]

    with ThreadPoolExecutor(WORKERS) as pool:
        packing: list[Future[None]] = []
        for day in sorted(new | changed):
            for old in [d for d in drawn if d < day - DAY]:
                del drawn[old]
            if day in new:
                counts["trips"] += len(trains(day).trip_uids)
                counts["stops"] += len(trains(day).trips)
                packing.append(pool.submit(partial(_write_archive, lake, city, day, trains(day))))
            if day in changed:
                around = {d: trains(d) for d in (day - DAY, day, day + DAY) if is_published(d)}
                packing.append(pool.submit(partial(_write_truth, lake, city, day, around)))
        for done in packing:
            done.result()
    return counts


def _around(days: set[datetime.date]) -> Iterator[datetime.date]:
    """Days before and after: their last or first trains have new neighbours."""
    for day in days:
        yield from (day - DAY, day + DAY)


def _write_archive(lake: Lake, city: City, day: datetime.date, trains: Traffic) -> None:
    lake.write_bytes(archive_path(day), archive(city, day, trains), "application/x-xz")


def _write_truth(lake: Lake, city: City, day: datetime.date, around: Mapping[datetime.date, Traffic]) -> None:
    out = io.BytesIO()
    pq.write_table(truth(city, day, around), out, compression="zstd")
    lake.write_bytes(truth_path(day), out.getvalue())
