"""A feed from a real web server: kept as it came and as typed Parquet, or refused as a whole."""

import csv
import io
import json
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.transit.download_gtfs.feed_archive import ArchiveError, FeedError, unpack
from components.transit.download_gtfs.feed_download import Downloaded, download_gtfs
from components.transit.download_gtfs.feed_reading import read
from components.transit.gtfs import kept_files
from goldline.contracts.columns import Column
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake
from goldline.landing.http import DownloadLimits, Fetcher
from goldline.runs.context import RunContext
from goldline.spec.tables import catalog
from tests.support.check_names import STABLE
from tests.support.web_site import Answer, Site, serving

pytestmark = pytest.mark.slow

NewLake = Callable[..., RunContext]
HASTY = DownloadLimits(tries=3, pause=0.01)
CONTRACTS: dict[str, TableContract] = catalog().tables
FILES = kept_files(CONTRACTS)
AGENCY = "agency_id,agency_name,agency_url,agency_timezone\n"
FEED = {
    "agency.txt": f"{AGENCY}A,Goldline,https://example.com,America/New_York\n",
    "stops.txt": "stop_id,stop_name,stop_lat,stop_lon\ns1,First,40.5,-74.25\ns2,Second,40.6,-74.25\n",
    "routes.txt": "route_id,agency_id,route_short_name,route_type\nr,A,R,1\n",
    "trips.txt": "route_id,service_id,trip_id,direction_id\nr,daily,t1,0\nr,daily,t2,1\n",
    "stop_times.txt": (
        "trip_id,arrival_time,departure_time,stop_id,stop_sequence\n"
        "t1,6:00:00,6:00:30,s1,1\nt1,06:10:00,06:10:00,s2,5\nt2,27:10:00,27:10:00,s2,1\nt2,27:20:00,,s1,2\n"
    ),
    "calendar.txt": (
        "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n"
        "daily,1,1,1,1,1,1,1,20260101,20261231\n"
    ),
}
LEVEL = {"level_id": "STRING", "level_index": "FLOAT64"}
Files = dict[str, str | bytes]


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


def zipped(**changes: str | bytes | None) -> bytes:
    """A feed's archive; a name stands for its .txt file, None takes it out."""
    files: dict[str, str | bytes | None] = {**FEED, **{f"{name}.txt": content for name, content in changes.items()}}
    return packed({name: content for name, content in files.items() if content is not None})


def packed(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():  # of no date, so that the same files give the same archive
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def download(run: RunContext, url: str, contracts: dict[str, TableContract] = CONTRACTS) -> Downloaded:
    return download_gtfs(run, contracts, url, fetcher=Fetcher(run.project, HASTY))


def rows(run: RunContext, downloaded: Downloaded, name: str) -> list[dict[str, object]]:
    path = downloaded.uri.removeprefix(f"gs://{run.bucket}/")
    content = Lake(run.project, run.bucket)._bucket.blob(f"{path}/{name}.parquet").download_as_bytes()
    table = pq.read_table(io.BytesIO(content))
    assert table.column_names == [c.name for c in FILES[name].columns]  # whole, whatever the feed has
    columns = downloaded.manifest.files[name].columns
    return [{c: row[c] for c in columns} for row in table.to_pylist()]


def findings(downloaded: Downloaded) -> dict[str, int]:
    return {f"{f.file} {f.code}": f.count for f in downloaded.manifest.findings}


def refused(run: RunContext, url: str) -> FeedError:
    with pytest.raises(FeedError) as caught:
        download(run, url)
    lake = Lake(run.project, run.bucket)
    assert not lake.list("bronze/gtfs")
    checks = json.loads(lake.read_text(f"{run.records}/tasks/download_gtfs.json"))["checks"]
    assert "block" in {check["level"] for check in checks}
    return caught.value


def test_a_feed_is_kept_as_it_came_and_as_typed_parquet(new_lake: NewLake, site: Site) -> None:
    run = new_lake()
    content = zipped()
    found = download(run, site.put("/gtfs.zip", Answer(content)))
    assert found.manifest.findings == []
    assert [row["arrival_time"] for row in rows(run, found, "stop_times")] == [21600, 22200, 97800, 98400]
    assert [row["departure_time"] for row in rows(run, found, "stop_times")] == [21630, 22200, 97800, None]
    assert rows(run, found, "calendar")[0]["start_date"] == date(2026, 1, 1)
    assert rows(run, found, "stops")[0]["stop_lat"] == 40.5
    folder = found.uri.removeprefix(f"gs://{run.bucket}/")
    assert folder == f"bronze/gtfs/feed={found.manifest.sha256[:16]}"
    lake = Lake(run.project, run.bucket)
    assert lake._bucket.blob(f"{folder}/gtfs.zip").download_as_bytes() == content
    assert json.loads(lake.read_text(f"{folder}/manifest.json"))["files"]["stops"]["rows"] == 2


def test_an_unchanged_feed_is_not_fetched_again(new_lake: NewLake, site: Site) -> None:
    run = new_lake()
    url = site.put("/gtfs.zip", Answer(zipped(), headers={"ETag": '"v1"'}))
    first = download(run, url)
    again = download(run, url)
    assert (first.is_new, again.is_new, again.uri) == (True, False, first.uri)
    assert site.asked[1][1]["If-None-Match"] == '"v1"'
    # A server without ETags sends it again, and it is known by its checksum.
    assert not download(run, site.put("/mirror.zip", Answer(zipped()))).is_new

    site.put("/gtfs.zip", Answer(zipped(stops="stop_id\ns1\ns2\n"), headers={"ETag": '"v2"'}))
    changed = download(run, url)
    assert changed.is_new
    assert changed.uri != first.uri


def test_a_feed_that_was_half_written_is_written_again(new_lake: NewLake, site: Site) -> None:
    run = new_lake()
    url = site.put("/gtfs.zip", Answer(zipped(), headers={"ETag": '"v1"'}))
    first = download(run, url)
    lake = Lake(run.project, run.bucket)
    manifest = f"{first.uri.removeprefix(f'gs://{run.bucket}/')}/manifest.json"
    lake._bucket.blob(manifest).delete()  # killed before its last act
    assert download(run, url).is_new
    lake.write_text(manifest, json.dumps({"sha256": first.manifest.sha256, "layout": "an earlier goldline's"}))
    assert download(run, url).is_new
    assert not download(run, url).is_new


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"agency": "agency_name,agency_url,agency_timezone\nG,u,America/New_York\n"}, {}),
        ({"agency": f"{AGENCY}A,G,u,America/New_York\nB,H,u,America/New_York\n"}, {}),
        ({"calendar": None, "calendar_dates": "service_id,date,exception_type\ndaily,20260704,1\n"}, {}),
        ({"stops": "\ufeff" + FEED["stops.txt"].replace("\n", "\r\n")}, {}),
        ({"stops": "stop_lon,stop_name , stop_id,stop_lat\n-74.25,First,s1,40.5\n-74.25,Second,s2,40.6"}, {}),
        ({"stops": FEED["stops.txt"].replace("First", '"First,\nof two"')}, {}),
        ({"stops": FEED["stops.txt"].replace("First", "Zürich").encode("latin-1")}, {"stops.txt encoding": 1}),
        ({"stops": FEED["stops.txt"].replace("40.5", "north")}, {"stops.txt unreadable_stop_lat": 1}),
        ({"stops": "stop_id,stop_name\ns1\ns2,Second,more\n"}, {"stops.txt ragged_row": 2}),
        (
            {"stop_times": FEED["stop_times.txt"].replace("s2,5", "s9,5").replace("06:10:00,s", "06:09:99,s")},
            {"stop_times.txt unreadable_departure_time": 1, "stop_times.txt unknown_stop_id": 1},
        ),
        (
            {"stop_times": FEED["stop_times.txt"] + "t2,27:15:00,27:15:00,s1,2\nt3,,,s1,1\n"},
            {
                "stop_times.txt duplicate_key": 1,
                "stop_times.txt unknown_trip_id": 1,
                "stop_times.txt trip_with_one_stop": 1,
                "stop_times.txt blank_time_at_end": 2,
                "stop_times.txt time_decreases": 1,
            },
        ),
        (
            {"trips": FEED["trips.txt"] + "r,never,t1,0\nx,daily,t4,0\n"},
            {
                "trips.txt duplicate_key": 1,
                "trips.txt unknown_service_id": 1,
                "trips.txt unknown_route_id": 1,
                "trips.txt unused_trip": 1,
            },
        ),
    ],
    ids=[
        "no agency_id",
        "two agencies",
        "dates only",
        "BOM and CRLF",
        "column order",
        "line break in a value",
        "encoding",
        "no number",
        "ragged rows",
        "no such stop or time",
        "stop times that contradict",
        "trips that contradict",
    ],
)
def test_what_can_be_used_is_used_and_counted(
    new_lake: NewLake, site: Site, changes: dict[str, str | bytes | None], expected: dict[str, int]
) -> None:
    run = new_lake()
    found = download(run, site.put("/gtfs.zip", Answer(zipped(**changes))))
    assert findings(found) == expected
    assert [row["stop_id"] for row in rows(run, found, "stops")] == ["s1", "s2"]
    checks = json.loads(Lake(run.project, run.bucket).read_text(f"{run.records}/tasks/download_gtfs.json"))["checks"]
    by_file = {f"{c['subject'][12:]}.txt {c['name']}": c["failing"] for c in checks if c["subject"] != "bronze.gtfs"}
    assert by_file == expected
    assert all(STABLE.fullmatch(c["name"]) for c in checks)
    assert next(c["failing"] for c in checks if c["subject"] == "bronze.gtfs") == len(expected)


def test_times_may_be_blank_between_timed_stops(new_lake: NewLake, site: Site) -> None:
    run = new_lake()
    stop_times = (
        "trip_id,arrival_time,departure_time,stop_id,stop_sequence\n"
        "t2,27:10:00,27:10:00,s2,1\nt1,7:00:00,,s2,9\nt1,,,s1,4\nt1, 6:00:00 ,,s1,2\nt2,28:00:00,28:00:00,s1,10\n"
    )
    found = download(run, site.put("/gtfs.zip", Answer(zipped(stop_times=stop_times))))
    assert findings(found) == {}
    assert [row["arrival_time"] for row in rows(run, found, "stop_times")] == [97800, 25200, None, 21600, 100800]


@given(
    st.lists(st.tuples(st.text(alphabet='aé," \n', max_size=4), st.none() | st.integers(0, 200_000)), min_size=1),
    st.permutations(["trip_id", "arrival_time", "stop_sequence", "mood"]),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=40, deadline=None)
def test_the_form_of_a_file_does_not_matter(
    values: list[tuple[str, int | None]], columns: list[str], has_bom: bool, line_break: str
) -> None:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator=line_break)
    writer.writeheader()
    for number, (trip, seconds) in enumerate(values):
        time = "" if seconds is None else f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        writer.writerow({"trip_id": f"{trip}.", "arrival_time": time, "stop_sequence": number, "mood": trip})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stop_times.txt"
        path.write_bytes(out.getvalue().encode("utf-8-sig" if has_bom else "utf-8"))
        found = read(FILES["stop_times"], path)
    assert (found.findings, found.unknown) == ([], ["mood"])
    assert found.table["trip_id"].to_pylist() == [f"{trip}." for trip, _ in values]
    assert found.table["arrival_time"].to_pylist() == [seconds for _, seconds in values]
    assert found.table["stop_sequence"].to_pylist() == list(range(len(values)))


def test_a_schedule_that_does_not_cover_the_date_is_told(new_lake: NewLake, site: Site) -> None:
    url = site.put("/gtfs.zip", Answer(zipped()))
    for day, failing in ((date(2026, 1, 1), 0), (date(2026, 12, 31), 0), (date(2027, 1, 1), 1)):
        run = new_lake(day)
        download(run, url)
        record = json.loads(Lake(run.project, run.bucket).read_text(f"{run.records}/tasks/download_gtfs.json"))
        assert {c["name"]: c["failing"] for c in record["checks"]}["schedule_covers_run_date"] == failing


def test_extra_files_and_columns_are_named(new_lake: NewLake, site: Site) -> None:
    more = zipped(stops="stop_id,mood,stop_name\ns1,good,First\ns2,bad,Second\n", directions="a\n1\n")
    found = download(new_lake(), site.put("/gtfs.zip", Answer(more)))
    assert findings(found) == {}
    assert found.manifest.unknown_files == ["directions.txt"]
    assert found.manifest.unknown_columns == {"stops": ["mood"]}


def test_files_that_no_table_holds_are_checked_all_the_same(new_lake: NewLake, site: Site) -> None:
    shapes = "shape_id,shape_pt_lat,shape_pt_lon,shape_pt_sequence\nsh,40.5,-74.2,1\nsh,north,-74.2,1\n"
    frequencies = "trip_id,start_time,end_time,headway_secs\nt1,6:00:00,25:00:00,600\nt9,6:00:00,,600\n"
    transfers = "from_stop_id,to_stop_id,transfer_type\ns1,s9,\n"
    more = zipped(
        trips="route_id,service_id,trip_id,shape_id\nr,daily,t1,sh\nr,daily,t2,sh2\n",
        shapes=shapes,
        frequencies=frequencies,
        transfers=transfers,
        feed_info="feed_publisher_name\nGoldline\n",
    )
    run = new_lake()
    found = download(run, site.put("/gtfs.zip", Answer(more)))
    assert findings(found) == {
        "shapes.txt unreadable_shape_pt_lat": 1,
        "shapes.txt duplicate_key": 1,
        "frequencies.txt blank_end_time": 1,
        "frequencies.txt unknown_trip_id": 1,
        "trips.txt unknown_shape_id": 1,
        "transfers.txt blank_transfer_type": 1,
        "transfers.txt unknown_to_stop_id": 1,
    }
    assert [row["end_time"] for row in rows(run, found, "frequencies")] == [90000, None]
    assert found.manifest.unknown_files == ["feed_info.txt"]  # nobody reads it: it stays in the archive


def test_the_contracts_say_which_columns_are_kept(new_lake: NewLake, site: Site) -> None:
    """A column more, a table more: the feed is kept anew with them."""
    content = zipped(stops="stop_id,mood\ns1,good\ns2,bad\n", levels="level_id,level_index\nl,1\n")
    run, url = new_lake(), site.put("/gtfs.zip", Answer(content, headers={"ETag": '"v1"'}))
    assert download(run, url).manifest.unknown_columns == {"stops": ["mood"]}
    stops = CONTRACTS["bronze.gtfs_stops"]
    mood = Column(name="mood", type="STRING", description="The stop's mood.")
    level = [Column.model_validate({"name": n, "type": t, "description": n}) for n, t in LEVEL.items()]
    more = {
        "bronze.gtfs_stops": stops.model_copy(update={"columns": (*stops.columns, mood)}),
        "bronze.gtfs_levels": stops.model_copy(update={"columns": tuple(level), "primary_key": ("level_id",)}),
    }
    found = download(run, url, CONTRACTS | more)
    assert (found.is_new, found.manifest.unknown_columns, found.manifest.unknown_files) == (True, {}, [])
    assert found.manifest.files["stops"].columns == ["stop_id", "mood"]
    assert found.manifest.files["levels"].rows == 1
    assert not download(run, url, CONTRACTS | more).is_new


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stops": None}, r"stops.txt: expected stops.txt at the archive's root, got none"),
        ({"calendar": None}, r"expected calendar.txt or calendar_dates.txt at the archive's root"),
        ({"calendar": FEED["calendar.txt"].replace("1,1,1,1,1,1,1", "0,0,0,0,0,0,0")}, "service on at least one date"),
        ({"trips": "route_id,trip_id\nr,t1\n"}, r"trips.txt: expected the column service_id, got route_id, trip_id"),
        (
            {"stop_times": FEED["stop_times.txt"].split("\n")[0]},
            r"stop_times.txt: expected at least one row in stop_times.txt, got none",
        ),
        ({"stops": ""}, r"stops.txt: expected the column stop_id, got none"),
        ({"stops": FEED["stops.txt"].encode("utf-16")}, r"expected UTF-8, got UTF-16"),
        (
            {"agency": f"{AGENCY}A,G,u,America/New_York\nB,H,u,America/Chicago\n"},
            "expected one time zone for all agencies, got 2: America/New_York, America/Chicago",
        ),
        ({"agency": f"{AGENCY}A,G,u,Mars/Olympus\n"}, "a time zone such as America/New_York, got Mars/Olympus"),
    ],
    ids=[
        "no stops",
        "no calendar",
        "no service",
        "no service_id",
        "no stop times",
        "empty file",
        "UTF-16",
        "two zones",
        "no zone",
    ],
)
def test_what_cannot_be_used_is_refused(
    new_lake: NewLake, site: Site, changes: dict[str, str | bytes | None], message: str
) -> None:
    assert message in str(refused(new_lake(), site.put("/gtfs.zip", Answer(zipped(**changes)))))


def link(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><title>Moved</title>", "it is no zip archive: it begins with '<!DOCTYPE html>"),
        (zipped()[:600], "it begins as a zip archive does, but is truncated or damaged"),
        (zipped()[:60] + b"damaged" + zipped()[67:], "truncated or damaged"),
        (packed({**FEED, "../stops.txt": ""}), "its member '../stops.txt' leaves its folder: nothing was unpacked"),
        (packed({**FEED, "a\\..\\b.txt": ""}), "leaves its folder"),
        (packed({**FEED, "/etc/stops.txt": ""}), "is an absolute path"),
        (link("stops.txt"), "is a link or a device"),
        (packed({f"feed/{name}": content for name, content in FEED.items()}), "got feed/stops.txt in a folder"),
    ],
    ids=["HTML", "truncated", "damaged", "leaves", "leaves by backslash", "absolute", "link", "in a folder"],
)
def test_what_is_no_archive_or_no_safe_one_is_refused(
    new_lake: NewLake, site: Site, content: bytes, message: str
) -> None:
    assert message in str(refused(new_lake(), site.put("/gtfs.zip", Answer(content))))


def test_a_bomb_stops_early(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("stops.txt", "w") as stream:
        for _ in range(64):
            stream.write(bytes(1 << 20))
    with pytest.raises(ArchiveError, match="it unpacks to 67108864 bytes, more than 1048576"):
        unpack(bomb, tmp_path, FILES, 1 << 20)
    # One that tells lies about its size is cut off at what it told, and its checksum is then another.
    small = (67108864).to_bytes(4, "little"), (100).to_bytes(4, "little")
    bomb.write_bytes(bomb.read_bytes().replace(*small))
    with pytest.raises(ArchiveError, match="truncated or damaged"):
        unpack(bomb, tmp_path, FILES, 1 << 20)
    assert (tmp_path / "stops.txt").stat().st_size <= 1 << 20


def test_a_refused_feed_leaves_the_last_one(new_lake: NewLake, site: Site) -> None:
    run = new_lake()
    url = site.put("/gtfs.zip", Answer(zipped()))
    first = download(run, url)
    there = Lake(run.project, run.bucket).list("bronze/gtfs")
    site.put("/gtfs.zip", Answer(b"<html>"))
    with pytest.raises(FeedError):
        download(run, url)
    assert Lake(run.project, run.bucket).list("bronze/gtfs") == there
    site.put("/gtfs.zip", Answer(status=500), Answer(status=500), Answer(zipped()))
    assert download(run, url).uri == first.uri
