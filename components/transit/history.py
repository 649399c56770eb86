"""Daily history archives as goldline keeps them: their columns, paths of landed days, manifests.

The format is that of https://subwaydata.nyc: a .tar.xz a day with two CSV files. Moments are epoch seconds.

A day's manifest is metadata of the object that is written last. So one listing finds all days, however many, and
manifest and files appear in the same moment.
"""

import datetime
import logging
import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError

from goldline.lake import Found

LOG = logging.getLogger(__name__)

FOLDER = "bronze/transit_history"
DATE = "YYYY-MM-DD"  # placeholder of the date in a URL
SIMULATED = "simulated/transit"
SIMULATED_FEED = f"{SIMULATED}/gtfs.zip"
SIMULATED_ARCHIVE = f"{SIMULATED}/history/subwaydatanyc_{DATE}_csv.tar.xz"
SHORT = 16  # digits of a checksum that identify an archive in paths and tables
DAY_MANIFEST = "goldline-day"  # key of the manifest in the metadata
LAST = "trips"  # the file that is written last, with the manifest
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
    """Landed CSV file, gzipped.

    Attributes:
        path: path in the bucket.
        sha256: checksum of the object, as it is stored.
        md5: likewise, in base64, as Cloud Storage gives it.
        bytes: size of the object.
        lines: number of lines without the header.
        columns: names in the header.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    md5: str
    bytes: int
    lines: int
    columns: list[str]


class DayManifest(BaseModel):
    """Manifest of a landed day; written with its last file, so that a day without it does not count.

    Attributes:
        sha256: checksum of the archive; `bytes` is its size.
        landed_at: moment of landing; of several archives of a day, the last one landed counts.
        run_date: date of the run that landed it.
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
        """Object metadata for a landed file; only the last file carries the day's manifest."""
        return {DAY_MANIFEST: self.model_dump_json()} if file == LAST else {}


def day_folder(day: datetime.date) -> str:
    """Path in the lake of a day's folder."""
    return f"{FOLDER}/service_date={day}"


def file_path(day: datetime.date, sha256: str, name: str) -> str:
    """Path in the lake of a day's CSV file `name`, landed from the archive with this SHA-256."""
    return f"{day_folder(day)}/{sha256[:SHORT]}/{name}.csv.gz"


def landed_days(listed: Iterable[Found]) -> dict[datetime.date, DayManifest]:
    """Manifests in a listing of the lake, by day, the earliest first."""
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
    """URL of a day's archive."""
    return url.replace(DATE, day.isoformat())


def member(day: datetime.date, name: str) -> str:
    """Name of a CSV file in a day's archive."""
    return f"subwaydatanyc_{day}_{name}.csv"


def simulated_gtfs_url(bucket: str) -> str:
    """URL of the simulated city's schedule."""
    return f"gs://{bucket}/{SIMULATED_FEED}"


def simulated_history_url(bucket: str) -> str:
    """URL of the simulated city's archives, with DATE in it."""
    return f"gs://{bucket}/{SIMULATED_ARCHIVE}"
