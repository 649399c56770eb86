"""Rules for a feed as a whole: required files, keys, references, times along a trip.

Source: https://gtfs.org/documentation/schedule/reference/. An error makes the feed unusable, and the last good one
stays. A warning is counted, and the feed is used.
"""

import datetime
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.transit.download_gtfs.feed_reading import Read
from components.transit.gtfs import REQUIRED_FILES, WEEKDAYS, Finding

Feed = Mapping[str, Read]
Integers = npt.NDArray[np.int64]
ZONES = "locations.geojson"  # with it, service on demand needs no stops
BLANK = -1  # stands for NULL in arrays of times
# Foreign keys: a column, and the columns of which one must hold each of its values.
REFERENCES = {
    ("routes", "agency_id"): (("agency", "agency_id"),),
    ("trips", "route_id"): (("routes", "route_id"),),
    ("trips", "service_id"): (("calendar", "service_id"), ("calendar_dates", "service_id")),
    ("trips", "shape_id"): (("shapes", "shape_id"),),
    ("stop_times", "trip_id"): (("trips", "trip_id"),),
    ("stop_times", "stop_id"): (("stops", "stop_id"),),
    ("stops", "parent_station"): (("stops", "stop_id"),),
    ("frequencies", "trip_id"): (("trips", "trip_id"),),
    ("transfers", "from_stop_id"): (("stops", "stop_id"),),
    ("transfers", "to_stop_id"): (("stops", "stop_id"),),
}


@dataclass(frozen=True)
class Dates:
    """First and last date on which any service runs."""

    first: datetime.date
    last: datetime.date


def missing_files(feed: Feed, members: list[str]) -> Iterator[Finding]:
    """Findings of required files that are absent or have no rows; `members` are the archive's other files."""
    needed: list[tuple[str, ...]] = [(name,) for name in REQUIRED_FILES]
    needed += [] if ZONES in members else [("stops",)]
    needed.append(("calendar", "calendar_dates"))
    for names in needed:
        files = " or ".join(f"{name}.txt" for name in names)
        if not any(name in feed for name in names):
            deeper = [m for m in members if m.rsplit("/", 1)[-1] in files.split(" or ")]
            hint = f", got {deeper[0]} in a folder" if deeper else ", got none"
            yield _error("missing_file", f"{names[0]}.txt", f"expected {files} at the archive's root{hint}")
        elif not any(feed[name].table.num_rows or _is_broken(feed[name]) for name in names if name in feed):
            yield _error("empty_file", f"{names[0]}.txt", f"expected at least one row in {files}, got none")


def check(feed: Feed) -> Iterator[Finding]:
    """Findings of all other rules; a rule that is kept gives a finding with a count of 0."""
    yield from _agencies(feed)
    yield from _blanks(feed)
    yield from _keys(feed)
    yield from _references(feed)
    yield from _stop_times(feed)


def dates(feed: Feed) -> Dates | None:
    """Dates of the feed's service; None if it has no service on any date."""
    found: list[datetime.date] = []
    if "calendar" in feed:
        table = feed["calendar"].table
        runs = pc.is_in(pc.max_element_wise(*(table[day] for day in WEEKDAYS)), pa.array([1]))
        running = table.filter(pc.and_(runs, pc.less_equal(table["start_date"], table["end_date"])))
        found += [pc.min(running["start_date"]).as_py(), pc.max(running["end_date"]).as_py()]
    if "calendar_dates" in feed:
        table = feed["calendar_dates"].table
        added = table.filter(pc.equal(table["exception_type"], 1))["date"]
        found += [pc.min(added).as_py(), pc.max(added).as_py()]
    days = [day for day in found if day]
    return Dates(min(days), max(days)) if days else None


def _is_broken(read: Read) -> bool:
    return any(f.level == "error" for f in read.findings)


def _error(code: str, file: str, text: str, count: int = 1) -> Finding:
    return Finding(level="error", code=code, file=file, text=text, count=count)


def _warning(code: str, name: str, text: str, count: int) -> Finding:
    return Finding(level="warning", code=code, file=f"{name}.txt", text=text, count=count)


def _agencies(feed: Feed) -> Iterator[Finding]:
    table = feed["agency"].table
    zones = [z for z in pc.unique(table["agency_timezone"]).to_pylist() if z]
    shown = ", ".join(zones[:3])
    text = f"expected one time zone for all agencies, got {len(zones)}: {shown}"
    yield _error("several_time_zones", "agency.txt", text, max(len(zones) - 1, 0))
    unknown = [z for z in zones if not _is_zone(z)]
    text = f"expected a time zone such as America/New_York, got {', '.join(unknown[:3]) or 'none'}"
    yield _error("unknown_time_zone", "agency.txt", text, len(unknown) + (not zones))
    unnamed = table["agency_id"].null_count if table.num_rows > 1 else 0
    yield _warning("several_agencies_without_id", "agency", "expected an agency_id where there are several", unnamed)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _blanks(feed: Feed) -> Iterator[Finding]:
    for name, read in feed.items():
        for column in read.file.required:
            unread = sum(f.count for f in read.findings if f.code == f"unreadable_{column}")
            count = read.table[column].null_count - unread
            yield _warning(f"blank_{column}", name, f"expected a value of {column} in each row", count)


def _keys(feed: Feed) -> Iterator[Finding]:
    for name, read in feed.items():
        key = list(read.file.key)
        if key and set(key) <= set(read.columns):
            numbers = _numbered(read.table.select(key).drop_null())
            double = len(numbers) - pc.count_distinct(pa.array(numbers)).as_py()
            yield _warning("duplicate_key", name, f"expected each {', '.join(key)} once", double)


def _numbered(table: pa.Table) -> Integers:
    """Number of each row, the same for equal rows; shape (rows,)."""
    numbers = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        encoded = pc.dictionary_encode(column.combine_chunks())
        numbers = numbers * len(encoded.dictionary) + encoded.indices.to_numpy()
    return numbers


def _references(feed: Feed) -> Iterator[Finding]:
    for (name, column), targets in REFERENCES.items():
        there = [feed[file].table[key] for file, key in targets if file in feed and key in feed[file].columns]
        if name not in feed or column not in feed[name].columns or not there:
            continue
        known = pc.unique(pa.chunked_array([chunk for values in there for chunk in values.chunks], pa.string()))
        texts = feed[name].table[column]
        is_lost = pc.and_(pc.is_valid(texts), pc.invert(pc.is_in(texts, value_set=known)))
        count = pc.sum(is_lost).as_py() or 0
        where = " or ".join(f"{file}.txt" for file, _ in targets)
        example = f", got {texts.filter(is_lost)[0].as_py()!r}" if count else ""
        yield _warning(f"unknown_{column}", name, f"expected each {column} in {where}{example}", count)


def _stop_times(feed: Feed) -> Iterator[Finding]:
    table = feed["stop_times"].table
    table = table.filter(pc.and_(pc.is_valid(table["trip_id"]), pc.is_valid(table["stop_sequence"])))
    trips = pc.dictionary_encode(table["trip_id"].combine_chunks()).indices.to_numpy()
    sequence = table["stop_sequence"].to_numpy()
    order = np.lexsort((sequence, trips))
    trips = trips[order]
    arrivals, departures = _times(table["arrival_time"])[order], _times(table["departure_time"])[order]
    starts = np.flatnonzero(np.diff(trips, prepend=-1))
    ends = np.append(starts[1:], len(trips))[: len(starts)] - 1

    def warning(code: str, text: str, count: Any) -> Finding:  # noqa: ANN401, numpy's whole numbers
        return _warning(code, "stop_times", text, int(count))

    yield warning("negative_stop_sequence", "expected no stop_sequence below 0", np.sum(sequence < 0))
    yield warning("trip_with_one_stop", "expected at least two stops of a trip", np.sum(starts == ends))
    untimed = (departures[starts] == BLANK) & (arrivals[starts] == BLANK)
    untimed_ends = (arrivals[ends] == BLANK) & (departures[ends] == BLANK)
    on_demand = pc.sum(pc.is_valid(table["start_pickup_drop_off_window"])).as_py() or 0
    count = 0 if on_demand else np.sum(untimed) + np.sum(untimed_ends)
    yield warning("blank_time_at_end", "expected times at the first and the last stop of a trip", count)
    both = (arrivals != BLANK) & (departures != BLANK)
    yield warning(
        "departure_before_arrival", "expected no departure before the arrival", np.sum(both & (departures < arrivals))
    )
    timed = (arrivals != BLANK) | (departures != BLANK)
    comes = np.where(arrivals == BLANK, departures, arrivals)[timed]
    leaves = np.where(departures == BLANK, arrivals, departures)[timed]
    same = np.diff(trips[timed]) == 0
    yield warning(
        "time_decreases", "expected times that do not decrease along a trip", np.sum(same & (comes[1:] < leaves[:-1]))
    )
    known = feed["trips"].table["trip_id"]
    unused = pc.sum(pc.invert(pc.is_in(known, value_set=pc.unique(table["trip_id"])))).as_py() or 0
    yield _warning("unused_trip", "trips", "expected stop times of each trip", unused)


def _times(column: pa.ChunkedArray) -> Integers:
    found: Integers = pc.fill_null(column, BLANK).to_numpy()
    return found
