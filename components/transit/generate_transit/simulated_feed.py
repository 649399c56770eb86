"""GTFS Schedule feed of the simulated city: valid from FIRST to LAST, the same bytes for the same city."""

import datetime
import io
import zipfile

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from components.transit.generate_transit.city import (
    DWELL,
    LINES,
    ROUTES,
    SERVICES,
    SUNDAY,
    ZONE,
    City,
    holidays,
    is_short,
    service_on,
)
from components.transit.generate_transit.traffic import code

FIRST, LAST = datetime.date(2015, 1, 1), datetime.date(2045, 12, 31)
RUNS = {"Weekday": (1, 1, 1, 1, 1, 0, 0), "Saturday": (0, 0, 0, 0, 0, 1, 0), "Sunday": (0, 0, 0, 0, 0, 0, 1)}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WRITTEN = (1980, 1, 1, 0, 0, 0)  # time of members: the earliest that a zip archive can hold
AGENCY = "GLT"


def feed(city: City) -> bytes:
    """Feed as a .zip archive."""
    trips, stop_times = _trips(city)
    files = {
        "agency": _agency(),
        "stops": _stops(),
        "routes": _routes(),
        "trips": trips,
        "stop_times": stop_times,
        "calendar": _calendar(),
        "calendar_dates": _calendar_dates(),
        "feed_info": _feed_info(),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, table in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.txt", WRITTEN), _csv(table), zipfile.ZIP_DEFLATED, 4)
    return out.getvalue()


def _agency() -> pa.Table:
    row = {"agency_id": AGENCY, "agency_name": "Goldline Transit", "agency_url": "https://example.com"}
    return pa.Table.from_pylist([{**row, "agency_timezone": ZONE.key, "agency_lang": "en"}])


def _stops() -> pa.Table:
    rows = []
    for line, count in LINES.items():
        for number in range(1, count + 1):
            station, name = f"{line}{number:02d}", f"{line} Line {number} St"
            place = {"stop_lat": f"{40.5 + number / 100:.6f}", "stop_lon": f"{-74 + ord(line) / 1000:.6f}"}
            rows.append({"stop_id": station, "stop_name": name, **place, "location_type": "1", "parent_station": ""})
            for letter in "NS":
                more = {"location_type": "", "parent_station": station}
                rows.append({"stop_id": station + letter, "stop_name": name, **place, **more})
    return pa.Table.from_pylist(rows)


def _routes() -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "agency_id": AGENCY,
                "route_id": route.route_id,
                "route_short_name": route.route_id,
                "route_long_name": f"{route.line} Line {'Express' if route.rush_only else 'Local'}",
                "route_type": "1",
            }
            for route in ROUTES
        ]
    )


def _trips(city: City) -> tuple[pa.Table, pa.Table]:
    """Content of trips.txt and of stop_times.txt."""
    trips: list[dict[str, str]] = []
    stop_times = []
    for pattern in city.patterns:
        for service in SERVICES:
            departures = city.timetable(pattern, service)
            short = is_short(pattern, departures)
            paths = [pattern.route.path_id(pattern.direction, bool(early)) for early in short]
            ids = [f"SIM-{service}-00_{code(t)}_{path}" for t, path in zip(departures.tolist(), paths, strict=True)]
            ends = [pattern.stops[pattern.calls(bool(early)) - 1] for early in short]
            trips += [
                {
                    "route_id": pattern.route.route_id,
                    "trip_id": trip,
                    "service_id": service,
                    "trip_headsign": f"{end[:-3]} Line {int(end[-3:-1])} St",
                    "direction_id": str(pattern.direction),
                }
                for trip, end in zip(ids, ends, strict=True)
            ]
            calls = np.where(short, pattern.calls(is_short=True), len(pattern.stops))
            rows, numbers = np.nonzero(np.arange(len(pattern.stops)) < calls[:, None])
            arrivals = departures[rows] + pattern.arrivals[numbers]
            leaves = arrivals + np.where((numbers > 0) & (numbers < calls[rows] - 1), DWELL, 0)
            columns = [
                pa.array(ids, pa.string()).take(pa.array(rows)),
                pa.array(pattern.stops).take(pa.array(numbers)),
                _clock(arrivals),
                _clock(leaves),
                pa.array(numbers + 1),
            ]
            names = ["trip_id", "stop_id", "arrival_time", "departure_time", "stop_sequence"]
            stop_times.append(pa.table(columns, names=names))
    return pa.Table.from_pylist(trips), pa.concat_tables(stop_times)


def _clock(seconds: np.ndarray) -> pa.Array:
    """Seconds after noon minus 12 hours as H:MM:SS, past 24:00:00 too."""
    distinct, places = np.unique(seconds, return_inverse=True)
    texts = [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in distinct.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(places))


def _calendar() -> pa.Table:
    span = {"start_date": f"{FIRST:%Y%m%d}", "end_date": f"{LAST:%Y%m%d}"}
    return pa.Table.from_pylist(
        [
            {"service_id": service, **dict(zip(WEEKDAYS, map(str, RUNS[service]), strict=True)), **span}
            for service in SERVICES
        ]
    )


def _calendar_dates() -> pa.Table:
    rows = []
    for day in sorted(day for year in range(FIRST.year, LAST.year + 1) for day in holidays(year)):
        usual = SERVICES[max(day.weekday() - 4, 0)]
        if usual != service_on(day):
            rows.append({"service_id": usual, "date": f"{day:%Y%m%d}", "exception_type": "2"})
            rows.append({"service_id": SUNDAY, "date": f"{day:%Y%m%d}", "exception_type": "1"})
    return pa.Table.from_pylist(rows)


def _feed_info() -> pa.Table:
    row = {"feed_publisher_name": "goldline", "feed_publisher_url": "https://example.com", "feed_lang": "en"}
    return pa.Table.from_pylist([{**row, "feed_start_date": f"{FIRST:%Y%m%d}", "feed_end_date": f"{LAST:%Y%m%d}"}])


def _csv(table: pa.Table) -> bytes:
    out = io.BytesIO()
    out.write((",".join(table.column_names) + "\r\n").encode())
    arrow_csv.write_csv(table, out, arrow_csv.WriteOptions(include_header=False, quoting_style="none"))
    return out.getvalue()
