"""GTFS Schedule as goldline keeps it: the kept files of a feed, their required columns, manifests and paths.

Columns, types and keys are those of the tables' contracts, sql/transit/gtfs_<file>.yml; this module holds what no
contract can say. Source of names and rules: https://gtfs.org/documentation/schedule/reference/. Values are as in the
feed, with three exceptions: dates are dates, times are seconds after noon minus 12 hours of the service day (so
27:10:00 is 97,800 on any day, also where a clock change makes it 23 or 25 hours long), and blanks are NULL.
"""

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from goldline.contracts.columns import Column
from goldline.contracts.table_contract import TableContract

FOLDER = "bronze/gtfs"
ARCHIVE, MANIFEST = "gtfs.zip", "manifest.json"
PREFIX = "bronze.gtfs_"  # of the tables that files are loaded into
FEED = f"{PREFIX}feed"  # table of the feed as a whole, not of a file
# Besides these: stops.txt, unless all service is on demand in zones; and calendar.txt or calendar_dates.txt.
REQUIRED_FILES = ("agency", "routes", "trips", "stop_times")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Columns that a usable file must have. Rows that leave them blank are counted and still loaded, so the contracts do not
# give them the mode REQUIRED.
REQUIRED_COLUMNS = {
    "agency": ("agency_name", "agency_url", "agency_timezone"),
    "stops": ("stop_id",),
    "routes": ("route_id", "route_type"),
    "trips": ("route_id", "service_id", "trip_id"),
    "stop_times": ("trip_id", "stop_sequence"),
    "calendar": ("service_id", *WEEKDAYS, "start_date", "end_date"),
    "calendar_dates": ("service_id", "date", "exception_type"),
    "shapes": ("shape_id", "shape_pt_lat", "shape_pt_lon", "shape_pt_sequence"),
    "frequencies": ("trip_id", "start_time", "end_time", "headway_secs"),
    "transfers": ("transfer_type",),
}
# Columns whose text is H:MM:SS and whose type is INT64, in any file.
TIMES = frozenset(
    {"arrival_time", "departure_time", "start_time", "end_time"}
    | {"start_pickup_drop_off_window", "end_pickup_drop_off_window"}
)


@dataclass(frozen=True)
class GtfsFile:
    """Kept file of a feed.

    Attributes:
        name: without `.txt`; also the name of its Parquet file.
        columns: kept columns, typed.
        key: columns that identify a row; empty if none do.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that a usable file must have."""
        return REQUIRED_COLUMNS.get(self.name, ())


def _file(name: str, key: str, columns: str) -> GtfsFile:
    """GtfsFile from text: columns as `name:TYPE`, or `name` for a STRING."""
    pairs = (column.partition(":") for column in columns.split())
    made = ({"name": column, "type": kind or "STRING", "description": "As GTFS has it."} for column, _, kind in pairs)
    return GtfsFile(name, tuple(Column.model_validate(column) for column in made), tuple(key.split()))


# Files that the rules read and no table holds, so they have no contract.
NOT_LOADED = (
    _file(
        "shapes",
        "shape_id shape_pt_sequence",
        "shape_id shape_pt_lat:FLOAT64 shape_pt_lon:FLOAT64 shape_pt_sequence:INT64 shape_dist_traveled:FLOAT64",
    ),
    _file(
        "frequencies",
        "trip_id start_time",
        "trip_id start_time:INT64 end_time:INT64 headway_secs:INT64 exact_times:INT64",
    ),
    _file(
        "transfers",
        "",
        "from_stop_id to_stop_id from_route_id to_route_id from_trip_id to_trip_id"
        " transfer_type:INT64 min_transfer_time:INT64",
    ),
)


def contracts_by_file(contracts: Mapping[str, TableContract]) -> dict[str, TableContract]:
    """Contracts of the tables that a feed's files are loaded into, by name of the file."""
    return {t.removeprefix(PREFIX): c for t, c in contracts.items() if t.startswith(PREFIX) and t != FEED}


def kept_files(contracts: Mapping[str, TableContract]) -> dict[str, GtfsFile]:
    """Kept files of a feed, by name.

    Args:
        contracts: contracts by table; those of `bronze.gtfs_...` give the files' columns and keys.

    Raises:
        LookupError: a file that the rules read has no contract.
    """
    files = {file.name: file for file in NOT_LOADED}
    files |= {name: GtfsFile(name, c.columns, c.primary_key) for name, c in contracts_by_file(contracts).items()}
    if missing := [f"{PREFIX}{name}" for name in REQUIRED_COLUMNS if name not in files]:
        raise LookupError(f"expected a contract of each file that a feed is checked by, {', '.join(missing)} lack")
    return files


class Finding(BaseModel):
    """Finding of a feed's check.

    Attributes:
        level: `error`: the feed cannot be used; `warning`: it can, the problem is counted.
        code: name of the rule, the same for all feeds.
        file: file name, such as `stops.txt`; empty: the feed as a whole.
        text: what was expected and what came, with an example.
        count: number of affected rows or values.
        line: first affected row, if known; the header is row 1, blank lines do not count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: str
    code: str
    file: str
    text: str
    count: int
    line: int | None = None


class FeedFile(BaseModel):
    """File of a feed as Parquet: number of rows, and the columns that the feed has (the others are NULL)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    columns: list[str]


class FeedManifest(BaseModel):
    """Manifest of a feed's folder; written last, so that a folder without it does not count.

    Attributes:
        url: URL of the archive.
        unknown_files: members that are not kept as Parquet (they stay in the archive).
        unknown_columns: columns that are not kept, by file; likewise.
        service_from: first date on which any service runs; service_to: the last.
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


def layout(files: Mapping[str, GtfsFile]) -> str:
    """Fingerprint of all schemas, the manifest's too: a feed stored under other schemas is stored again."""
    schemas = {name: [(c.name, c.type) for c in file.columns] for name, file in files.items()}
    whole = [*sorted(schemas.items()), *FeedManifest.model_fields]
    return hashlib.sha256(repr(whole).encode()).hexdigest()[:16]


def feed_folder(sha256: str) -> str:
    """Path in the lake of a feed's folder, by its archive's SHA-256."""
    return f"{FOLDER}/feed={sha256[:16]}"


def current_path(url: str) -> str:
    """Path in the lake of the pointer to the feed that a URL gave last."""
    return f"{FOLDER}/current/{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
