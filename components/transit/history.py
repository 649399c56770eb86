"""Daily history archives as goldline keeps them: what they hold, where a landed day lies, and what its manifest says.

The format is that of https://subwaydata.nyc: a .tar.xz a day with two CSV files. Moments are epoch seconds.

A day's manifest is metadata of the object that is written last. So one listing tells of all days, however many, and
there is no moment at which the manifest and what it tells of are not both there.
"""

import datetime
import logging
import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError

from goldline.lake import Found

LOG = logging.getLogger(__name__)

FOLDER = "bronze/transit_history"
DATE = "YYYY-MM-DD"  # stands in a URL for the date
SIMULATED = "simulated/transit"
SIMULATED_FEED = f"{SIMULATED}/gtfs.zip"
SIMULATED_ARCHIVE = f"{SIMULATED}/history/subwaydatanyc_{DATE}_csv.tar.xz"
SHORT = 16  # digits of a checksum that tell archives apart in paths and tables
DAY_MANIFEST = "goldline-day"  # its key among the metadata
LAST = "trips"  # the file that is written last, and bears it
LAST_PATH = re.compile(rf"/service_date=\d{{4}}-\d\d-\d\d/[0-9a-f]+/{LAST}\.csv\.gz$")
GZIP = 16 + 15  # zlib's wbits of a gzip file

# The files of an archive, and their headers.
COLUMNS = {
    "stop_times": ("trip_uid", "stop_id", "track", "arrival_time", "departure_time", "last_observed", "marked_past"),
    "trips": (
        *("trip_uid", "trip_id", "route_id", "direction_id", "start_time", "vehicle_id", "last_observed"),
        *("marked_past", "num_updates", "num_schedule_changes", "num_schedule_rewrites"),
    ),
}


class HistoryFile(BaseModel):
    """A landed CSV file, gzipped.

    Attributes:
        path: in the bucket.
        sha256: of the object, as it is stored.
        md5: likewise, in base64, as Cloud Storage tells it of an object.
        bytes: of the object.
        lines: without the header.
        columns: the header.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    md5: str
    bytes: int
    lines: int
    columns: list[str]


class DayManifest(BaseModel):
    """What a landed day holds; written with its last file, so that a day without it does not count.

    Attributes:
        sha256: of the archive; bytes likewise.
        landed_at: when: of several archives of a day, the one that was landed last counts.
        run_date: date of the run that landed it: what counts as new goes by it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    service_date: datetime.date
    url: str
    sha256: str
    etag: str
    bytes: int
    landed_at: datetime.datetime
    run_date: datetime.date
    run_id: str
    files: dict[str, HistoryFile]

    def metadata_of(self, file: str) -> dict[str, str]:
        """What one of the day's files bears as metadata: the last one bears the manifest, another nothing."""
        return {DAY_MANIFEST: self.model_dump_json()} if file == LAST else {}


def day_folder(day: datetime.date) -> str:
    """Where a day lies in the lake."""
    return f"{FOLDER}/service_date={day}"


def file_path(day: datetime.date, sha256: str, name: str) -> str:
    """Where one of its CSV files lies, of the archive with that checksum."""
    return f"{day_folder(day)}/{sha256[:SHORT]}/{name}.csv.gz"


def landed_days(listed: Iterable[Found]) -> dict[datetime.date, DayManifest]:
    """The days that a listing of the lake tells of, in their order."""
    days: dict[datetime.date, DayManifest] = {}
    for found in listed:
        if not LAST_PATH.search(found.path):
            continue
        try:
            manifest = DayManifest.model_validate_json(found.metadata.get(DAY_MANIFEST, ""))
        except ValidationError:
            LOG.warning("%s does not count: expected a day's manifest as its metadata %s", found.path, DAY_MANIFEST)
            continue
        other = days.get(manifest.service_date)
        if other is None or other.landed_at < manifest.landed_at:
            days[manifest.service_date] = manifest
    return dict(sorted(days.items()))


def day_url(url: str, day: datetime.date) -> str:
    """The address of a day's archive."""
    return url.replace(DATE, day.isoformat())


def member(day: datetime.date, name: str) -> str:
    """The name of a CSV file in a day's archive."""
    return f"subwaydatanyc_{day}_{name}.csv"


def simulated_gtfs_url(bucket: str) -> str:
    """Where the simulated city's schedule lies."""
    return f"gs://{bucket}/{SIMULATED_FEED}"


def simulated_history_url(bucket: str) -> str:
    """Where the simulated city's archives lie."""
    return f"gs://{bucket}/{SIMULATED_ARCHIVE}"
