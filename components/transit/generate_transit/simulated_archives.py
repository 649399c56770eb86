"""Archives of the simulated city's trains: a .tar.xz a day of two CSV files, with the gaps that observed data has.

Format: https://subwaydata.nyc. The truth lies beside, never in it: every stop, with the headway to the train before.
"""

import datetime
import io
import lzma
import tarfile
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from components.simulation.draws import Flags, Integers, uniform
from components.transit.generate_transit.city import City
from components.transit.generate_transit.traffic import Traffic
from components.transit.history import COLUMNS, member

XZ_PRESET = 0  # four times as fast as the default, a quarter larger
NO_TRACK, NO_ARRIVAL, NO_TIMES, NO_MARK, NO_TRIP = 0.03, 0.01, 0.003, 0.01, 0.004
MISSING, CORRUPT = (31, 5), (37, 11)  # every, nth: of so many days one is never published, or cut off half way
TRUTH = pa.schema(
    [
        pa.field("service_date", pa.date32()),  # of the archive
        pa.field("trip_uid", pa.string()),
        pa.field("route_id", pa.string()),
        pa.field("direction_id", pa.int64()),
        pa.field("stop_id", pa.string()),
        pa.field("arrival_time", pa.timestamp("s", tz="UTC")),  # NULL where the archive has none
        pa.field("previous_trip_uid", pa.string()),  # of the same route and direction at the stop
        pa.field("headway_seconds", pa.int64()),  # NULL: no train before, on that day or the day before
    ]
)


def is_missing(seed: int, day: datetime.date) -> bool:
    """Whether a day is never published."""
    every, nth = MISSING
    return (day.toordinal() + seed) % every == nth


def is_corrupt(seed: int, day: datetime.date) -> bool:
    """Whether a day's archive is cut off half way."""
    every, nth = CORRUPT
    return (day.toordinal() + seed) % every == nth and not is_missing(seed, day)


def is_whole(seed: int, day: datetime.date) -> bool:
    """Whether a day's archive is published, and whole."""
    return not (is_missing(seed, day) or is_corrupt(seed, day))


def archive(city: City, day: datetime.date, trains: Traffic) -> bytes:
    """Archive of the day; the same bytes for the same city and day."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, table in (("stop_times", _stop_times(city, trains)), ("trips", _trips(city, trains))):
            content = _csv(table)
            info = tarfile.TarInfo(member(day, name))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    packed = lzma.compress(out.getvalue(), preset=XZ_PRESET)
    return packed[: len(packed) // 2] if is_corrupt(city.seed, day) else packed


def truth(city: City, day: datetime.date, days: Mapping[datetime.date, Traffic]) -> pa.Table:
    """Truth of a day's archive: every stop, with the headway to the train before; see TRUTH.

    Args:
        city: the city.
        day: the day.
        days: trains of the day, and of the days around it whose archives are published and whole. A train may arrive
            after midnight, between two of the next day's.
    """
    dates = sorted(days)
    parts = [days[d] for d in dates]
    uids = np.array([uid for part in parts for uid in part.trip_uids])
    routes = np.array([route for part in parts for route in part.route_ids])
    firsts = np.cumsum([0, *(len(part.trip_uids) for part in parts)])[:-1]
    trips = np.concatenate([part.trips + first for part, first in zip(parts, firsts, strict=True)])
    stops = np.array([stop for part in parts for stop in part.stops])
    directions = np.concatenate([part.directions for part in parts])[trips]
    arrivals = np.concatenate([part.arrivals for part in parts])
    seen = np.concatenate([_has_arrival(city, part) for part in parts])
    of_day = np.concatenate([np.full(len(part.trips), d == day) for d, part in zip(dates, parts, strict=True)])

    before, headways = _before(
        seen, [_numbers(uids)[trips], arrivals, _numbers(stops), directions, _numbers(routes)[trips]]
    )
    known = before >= 0
    columns = {
        "service_date": np.full(int(of_day.sum()), np.datetime64(day)),
        "trip_uid": uids[trips][of_day],
        "route_id": routes[trips][of_day],
        "direction_id": directions[of_day],
        "stop_id": stops[of_day],
        "arrival_time": pa.array(arrivals[of_day], mask=~seen[of_day]).cast(TRUTH.field("arrival_time").type),
        "previous_trip_uid": pa.array(uids[trips][before][of_day], mask=~known[of_day]),
        "headway_seconds": pa.array(headways[of_day], mask=~known[of_day]),
    }
    return pa.table(columns, schema=TRUTH)


def _before(seen: Flags, keys: list[Integers]) -> tuple[Integers, Integers]:
    """Row of the train before at the same stop (-1: none), and the seconds since then; each of shape (rows,).

    Args:
        seen: whether each row has an arrival.
        keys: trip, arrival, stop, direction and route: the least significant first.
    """
    order = np.lexsort([key[seen] for key in keys])
    rows = np.flatnonzero(seen)[order]
    same = np.logical_and.reduce([key[rows][1:] == key[rows][:-1] for key in keys[2:]])
    before, seconds = np.full(len(seen), -1), np.zeros(len(seen), np.int64)
    before[rows[1:][same]] = rows[:-1][same]
    seconds[rows[1:]] = np.diff(keys[1][rows])
    return before, seconds


def _numbers(texts: np.ndarray) -> Integers:
    """Rank of each text among the distinct ones."""
    return np.unique(texts, return_inverse=True)[1]


def _draws(city: City, trains: Traffic, name: str) -> np.ndarray:
    """Uniform numbers in [0, 1), one per row."""
    return uniform(city.seed, name, np.arange(len(trains.trips)), trains.starts[trains.trips])


def _has_arrival(city: City, trains: Traffic) -> Flags:
    blank = (_draws(city, trains, "no arrival") < NO_ARRIVAL) | (_draws(city, trains, "no times") < NO_TIMES)
    return ~blank


def _stop_times(city: City, trains: Traffic) -> pa.Table:
    no_times = _draws(city, trains, "no times") < NO_TIMES
    uids = pa.array(trains.trip_uids).take(pa.array(trains.trips))
    columns = [
        uids,
        trains.stops,
        pa.array(trains.tracks, mask=_draws(city, trains, "no track") < NO_TRACK),
        pa.array(trains.arrivals, mask=~_has_arrival(city, trains)),
        pa.array(trains.departures, mask=no_times | trains.is_last),
        trains.arrivals + 11,
        pa.array(trains.arrivals + 41, mask=_draws(city, trains, "no mark") < NO_MARK),
    ]
    return pa.table(columns, names=COLUMNS["stop_times"])


def _trips(city: City, trains: Traffic) -> pa.Table:
    count = len(trains.trip_uids)
    ends = np.zeros(count, np.int64)
    ends[trains.trips] = trains.departures
    updates = 20 + (uniform(city.seed, "updates", trains.starts) * 100).astype(np.int64)
    columns = [
        trains.trip_uids,
        trains.trip_ids,
        trains.route_ids,
        trains.directions,
        trains.starts,
        [f"0{uid.split('_')[1].split('.')[0]} {number}" for number, uid in enumerate(trains.trip_uids)],
        ends + 9,
        ends + 69,
        updates,
        updates // 60,
        np.zeros(count, np.int64),
    ]
    table = pa.table(columns, names=COLUMNS["trips"])
    return table.filter(pa.array(~_is_left_out(city, trains)))


def _is_left_out(city: City, trains: Traffic) -> Flags:
    """Whether trips.csv lacks each trip, so that only its id gives the route; only where the id gives the right one."""
    has_route = np.array([uid.split("_")[1].split(".")[0] for uid in trains.trip_uids]) == np.array(trains.route_ids)
    left_out: Flags = has_route & (uniform(city.seed, "no trip", trains.starts, trains.directions) < NO_TRIP)
    return left_out


def _csv(table: pa.Table) -> bytes:
    out = io.BytesIO()
    out.write((",".join(table.column_names) + "\n").encode())
    arrow_csv.write_csv(table, out, arrow_csv.WriteOptions(include_header=False, quoting_style="none"))
    return out.getvalue()
