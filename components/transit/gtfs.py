"""GTFS Schedule as goldline keeps it: which files and columns it knows, how they are typed, and where a feed lies.

Source of names, types and rules: https://gtfs.org/documentation/schedule/reference/. Values are as the feed has them,
with three exceptions: dates are dates, times are seconds after noon minus 12 hours of the service day (so 27:10:00 is
97,800 on any day, also where a clock change makes it 23 or 25 hours long), and what is blank is NULL.
"""

import datetime
import hashlib
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from goldline.contracts.columns import Column

FOLDER = "bronze/gtfs"
ARCHIVE, MANIFEST = "gtfs.zip", "manifest.json"


@dataclass(frozen=True)
class GtfsFile:
    """A file of a feed.

    Attributes:
        name: without `.txt`; also the name of its Parquet file.
        columns: all that goldline knows, typed.
        required: columns without which the file cannot be used.
        key: columns that identify a row, if any do.
        times: columns whose text is H:MM:SS and whose type here is INT64.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    required: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def table(self) -> str:
        """The bronze table of the file: `bronze.gtfs_stops`."""
        return f"bronze.gtfs_{self.name}"

    @property
    def times(self) -> frozenset[str]:
        """Columns that hold seconds after noon minus 12 hours."""
        return frozenset(c.name for c in self.columns if c.description.endswith(SECONDS))


SECONDS = "seconds after noon minus 12 hours of the service day."
_TYPES = {"id": "STRING", "text": "STRING", "int": "INT64", "number": "FLOAT64", "date": "DATE", "time": "INT64"}


def _file(name: str, description: str, key: str, columns: str) -> GtfsFile:
    """A file from a table of text: name, kind (with `!` where the column is required) and description a line."""
    found, required = [], []
    for line in columns.strip().splitlines():
        column, kind, text = line.split(maxsplit=2)
        if kind.endswith("!"):
            required.append(column)
        kind = kind.rstrip("!")
        text = f"{text.removesuffix('.')}: {SECONDS}" if kind == "time" else text
        found.append(Column.model_validate({"name": column, "type": _TYPES[kind], "description": text}))
    return GtfsFile(name, description, tuple(found), tuple(required), tuple(key.split()))


_ALL = (
    _file(
        "agency",
        "Who runs the service.",
        "agency_id",
        """
        agency_id        id     Identifies the agency; may be absent where there is one only.
        agency_name      text!  Its full name.
        agency_url       text!  Its website.
        agency_timezone  text!  Its time zone, such as America/New_York; the same for all agencies of a feed.
        agency_lang      text   Its language.
        agency_phone     text   Its telephone number.
        agency_fare_url  text   Where tickets are sold.
        agency_email     text   Its e-mail address for customers.
        """,
    ),
    _file(
        "stops",
        "Where vehicles stop, and the stations that those places belong to.",
        "stop_id",
        """
        stop_id              id!     Identifies the stop, platform, station or entrance.
        stop_code            text    What riders know it by.
        stop_name            text    Its name.
        tts_stop_name        text    Its name, to be read aloud.
        stop_desc            text    What else there is to say of it.
        stop_lat             number  Latitude in degrees, WGS 84.
        stop_lon             number  Longitude in degrees, WGS 84.
        zone_id              id      Its fare zone.
        stop_url             text    Its page on the web.
        location_type        int     0 or blank: stop or platform, 1: station, 2: entrance, 3: node, 4: boarding area.
        parent_station       id      The station that it belongs to.
        stop_timezone        text    Its time zone, if not the agency's.
        wheelchair_boarding  int     0: not known, 1: possible, 2: not possible.
        level_id             id      Its level in the station.
        platform_code        text    Its platform, such as 3 or G.
        """,
    ),
    _file(
        "routes",
        "Groups of trips that riders know as one service.",
        "route_id",
        """
        route_id             id!   Identifies the route.
        agency_id            id    Its agency; may be absent where there is one only.
        route_short_name     text  Its short name, such as 6X.
        route_long_name      text  Its full name.
        route_desc           text  What else there is to say of it.
        route_type           int!  0: tram, 1: subway, 2: rail, 3: bus, 4: ferry, 5 to 12: others.
        route_url            text  Its page on the web.
        route_color          text  Its colour, six hexadecimal digits.
        route_text_color     text  The colour of text upon it.
        route_sort_order     int   Smaller comes first.
        continuous_pickup    int   Whether riders may board between stops, 0 to 3.
        continuous_drop_off  int   Whether riders may alight between stops, 0 to 3.
        network_id           id    Its group of routes.
        """,
    ),
    _file(
        "trips",
        "One vehicle's way along a route, on the dates of its service.",
        "trip_id",
        """
        route_id               id!   Its route.
        service_id             id!   The dates on which it runs: of calendar.txt or calendar_dates.txt.
        trip_id                id!   Identifies the trip.
        trip_headsign          text  What the vehicle shows as its destination.
        trip_short_name        text  What riders know it by, such as a train's number.
        direction_id           int   0 or 1: one direction and the opposite.
        block_id               id    Trips that one vehicle makes.
        shape_id               id    Its way on the map.
        wheelchair_accessible  int   0: not known, 1: yes, 2: no.
        bikes_allowed          int   0: not known, 1: yes, 2: no.
        cars_allowed           int   0: not known, 1: yes, 2: no.
        """,
    ),
    _file(
        "stop_times",
        "When a trip is at each of its stops.",
        "trip_id stop_sequence",
        """
        trip_id                       id!     Its trip.
        arrival_time                  time    Arrival; blank between timed stops.
        departure_time                time    Departure; blank between timed stops.
        stop_id                       id      Its stop.
        location_group_id             id      Its group of stops, where riders are picked up on demand.
        location_id                   id      Its zone, where riders are picked up on demand.
        stop_sequence                 int!    Grows along the trip, not always by one.
        stop_headsign                 text    What the vehicle shows from here on.
        start_pickup_drop_off_window  time    When service on demand begins.
        end_pickup_drop_off_window    time    When service on demand ends.
        pickup_type                   int     Whether riders may board, 0 to 3.
        drop_off_type                 int     Whether riders may alight, 0 to 3.
        continuous_pickup             int     Whether riders may board up to the next stop, 0 to 3.
        continuous_drop_off           int     Whether riders may alight up to the next stop, 0 to 3.
        shape_dist_traveled           number  Distance along the shape, in the feed's own unit.
        timepoint                     int     0: times are approximate, 1 or blank: exact.
        pickup_booking_rule_id        id      How boarding is booked.
        drop_off_booking_rule_id      id      How alighting is booked.
        """,
    ),
    _file(
        "calendar",
        "The weekdays on which a service runs, between two dates.",
        "service_id",
        """
        service_id  id!    Identifies the service.
        monday      int!   1: runs on Mondays.
        tuesday     int!   1: runs on Tuesdays.
        wednesday   int!   1: runs on Wednesdays.
        thursday    int!   1: runs on Thursdays.
        friday      int!   1: runs on Fridays.
        saturday    int!   1: runs on Saturdays.
        sunday      int!   1: runs on Sundays.
        start_date  date!  First date.
        end_date    date!  Last date, inclusive.
        """,
    ),
    _file(
        "calendar_dates",
        "Dates on which a service runs besides, or does not.",
        "service_id date",
        """
        service_id      id!    The service.
        date            date!  The date.
        exception_type  int!   1: it runs, 2: it does not.
        """,
    ),
    _file(
        "shapes",
        "Points of the ways on the map.",
        "shape_id shape_pt_sequence",
        """
        shape_id             id!      Identifies the shape.
        shape_pt_lat         number!  Latitude in degrees, WGS 84.
        shape_pt_lon         number!  Longitude in degrees, WGS 84.
        shape_pt_sequence    int!     Grows along the shape, not always by one.
        shape_dist_traveled  number   Distance from the first point, in the feed's own unit.
        """,
    ),
    _file(
        "frequencies",
        "Trips that are repeated at an interval.",
        "trip_id start_time",
        """
        trip_id       id!    The trip that is repeated.
        start_time    time!  First departure from the first stop.
        end_time      time!  When the interval changes or service ends.
        headway_secs  int!   Seconds between departures.
        exact_times   int    0 or blank: by interval, 1: by schedule.
        """,
    ),
    _file(
        "transfers",
        "How to change between stops, routes or trips.",
        "",
        """
        from_stop_id       id    Where it begins.
        to_stop_id         id    Where it ends.
        from_route_id      id    The route before.
        to_route_id        id    The route after.
        from_trip_id       id    The trip before.
        to_trip_id         id    The trip after.
        transfer_type      int!  0 or blank: recommended, 1: timed, 2: takes a time, 3: not possible, 4 and 5: in seat.
        min_transfer_time  int   Seconds that it takes.
        """,
    ),
    _file(
        "feed_info",
        "Who published the feed, and for which dates.",
        "",
        """
        feed_publisher_name  text!  Who published it.
        feed_publisher_url   text!  Its website.
        feed_lang            text!  The feed's language.
        default_lang         text   The language of its texts, where it is not known.
        feed_start_date      date   First date for which it is complete.
        feed_end_date        date   Last date for which it is complete.
        feed_version         text   The publisher's version.
        feed_contact_email   text   Whom to write to.
        feed_contact_url     text   Where to ask.
        """,
    ),
)
FILES: dict[str, GtfsFile] = {file.name: file for file in _ALL}
# Besides these: stops.txt, unless all service is on demand in zones; and calendar.txt or calendar_dates.txt.
REQUIRED_FILES = ("agency", "routes", "trips", "stop_times")


class Finding(BaseModel):
    """What a check of a feed caught.

    Attributes:
        level: `error`: the feed cannot be used; `warning`: it can, but for what is counted.
        code: the rule's name, the same for all feeds.
        file: such as `stops.txt`; empty: the feed as a whole.
        text: what was expected and what came, with an example.
        count: rows or values.
        line: the first such row, if it is known; the header is row 1, blank lines do not count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: str
    code: str
    file: str
    text: str
    count: int
    line: int | None = None


class FeedFile(BaseModel):
    """A file of a feed as Parquet: its rows, and the columns that the feed has (the others are NULL)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    columns: list[str]


class FeedManifest(BaseModel):
    """What a feed's folder holds; written last, so that a folder without it does not count.

    Attributes:
        url: where the archive came from.
        unknown_files: members that are not kept as Parquet (they stay in the archive).
        unknown_columns: by file, columns that GTFS or goldline does not know; likewise.
        service_from: the first date on which any service runs; service_to: the last.
        layout: fingerprint of the Parquet files' schemas.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str
    url: str
    etag: str
    fetched_at: str
    bytes: int
    files: dict[str, FeedFile]
    unknown_files: list[str]
    unknown_columns: dict[str, list[str]]
    findings: list[Finding]
    service_from: datetime.date
    service_to: datetime.date
    layout: str


def layout() -> str:
    """Fingerprint of all schemas, the manifest's too: a feed that was kept under others is kept anew."""
    schemas: dict[str, Any] = {f.name: [(c.name, c.type) for c in f.columns] for f in _ALL}
    schemas[MANIFEST] = list(FeedManifest.model_fields)
    return hashlib.sha256(repr(schemas).encode()).hexdigest()[:16]


def feed_folder(sha256: str) -> str:
    """Where a feed lies in the lake, by its archive's checksum."""
    return f"{FOLDER}/feed={sha256[:16]}"


def current_path(url: str) -> str:
    """Where the lake says which feed a URL gave last."""
    return f"{FOLDER}/current/{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
