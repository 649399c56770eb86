"""Daily archives from a real web server: each day is landed whole or not at all."""

import gzip
import io
import json
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from components.transit.download_history.day_archive import ArchiveError, extract
from components.transit.download_history.days_to_fetch import asked
from components.transit.download_history.history_download import HistoryError, Landed, download_history
from components.transit.history import COLUMNS, FOLDER, DayManifest, day_url, landed_days, member
from goldline.lake import Lake
from goldline.landing.http import DownloadLimits, Fetcher
from goldline.runs.context import RunContext
from tests.support.web_site import Answer, Site, serving

pytestmark = pytest.mark.slow

NewLake = Callable[..., RunContext]
DAY = date(2026, 11, 20)
HASTY = DownloadLimits(silence=2.0, tries=3, pause=0.01)
PATH = "/subwaydatanyc_YYYY-MM-DD_csv.tar.xz"
HEADERS = {name: ",".join(columns) for name, columns in COLUMNS.items()}
ROWS = {
    "stop_times": "1_1..S03R,101S,1,1,2,3,4\n1_1..S03R,103S,,5,,,\n",
    "trips": "1_1..S03R,1_1..S03R,1,1,1,v,2,2,3,0,0\n",
}


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


def text(name: str) -> str:
    return f"{HEADERS[name]}\n{ROWS[name]}"


def members(day: date) -> dict[str, bytes]:
    return {member(day, name): text(name).encode() for name in COLUMNS}


def packed(files: dict[str, bytes], *odd: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz", preset=0) as tar:
        for info in odd:
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def publish(site: Site, *days: date, **more: Answer) -> str:
    """Publish good archives of days; the URL with YYYY-MM-DD."""
    for day in days:
        site.put(day_url(PATH, day), Answer(packed(members(day))))
    return site.url + PATH


def download(run: RunContext, url: str, days: int = 7, **more: object) -> Landed:
    return download_history(run, url, days, fetcher=Fetcher(run.project, HASTY), **more)  # type: ignore[arg-type]


def statuses(landed: Landed) -> list[str]:
    return [outcome.status for outcome in landed.outcomes]


def manifest_of(lake: Lake, day: date) -> DayManifest:
    return landed_days(lake.found(FOLDER))[day]


def before(*days: int) -> list[date]:
    return [DAY - timedelta(days=number) for number in days]


def test_a_night_takes_what_is_new(new_lake: NewLake, site: Site) -> None:
    run = new_lake(DAY)
    url = publish(site, *before(6, 5, 4, 2))
    landed = download(run, url)
    assert landed.uri == f"gs://{run.bucket}/bronze/transit_history/"
    good, gone = "SUCCESS", "NOT_FOUND"
    assert statuses(landed) == [good, good, good, gone, good, "PENDING", "PENDING"]
    assert landed.summary()["NOT_FOUND_days"] == "2026-11-17"

    # The next night: a day that was late, one that was pending, and the new one that is not there yet.
    publish(site, *before(3, 1))
    landed = download(new_lake(DAY + timedelta(days=1)), url)
    kept = "SKIPPED"
    assert statuses(landed) == [kept, kept, good, kept, good, "PENDING", "PENDING"]
    assert landed.counts == {"success": 2, "skipped": 3, "pending": 2, "not_found": 0, "error": 0}
    assert site.times(day_url(PATH, DAY - timedelta(days=5))) == 1


def test_a_landed_day_is_as_it_came(new_lake: NewLake, site: Site) -> None:
    run = new_lake(DAY)
    url = publish(site, DAY)
    download(run, url, 1)
    lake = Lake(run.project, run.bucket)
    manifest = manifest_of(lake, DAY)
    assert (manifest.service_date, manifest.url, manifest.run_date) == (DAY, day_url(url, DAY), DAY)
    assert {name: file.lines for name, file in manifest.files.items()} == {"stop_times": 2, "trips": 1}
    for name, file in manifest.files.items():
        assert file.path == f"bronze/transit_history/service_date={DAY}/{manifest.sha256[:16]}/{name}.csv.gz"
        content = lake._bucket.blob(file.path).download_as_bytes()
        assert (gzip.decompress(content).decode(), len(content)) == (text(name), file.bytes)
        assert content[4:8] == bytes(4)  # no time stamp: the same text gives the same bytes
    checks = json.loads(lake.read_text(f"{run.records}/tasks/download_history.json"))["checks"]
    assert [(c["name"], c["detail"], c["failing"]) for c in checks] == [("day_is_landed", "2026-11-20 SUCCESS", 0)]


def test_a_day_that_is_not_whole_is_landed_again(new_lake: NewLake, site: Site) -> None:
    run = new_lake(DAY)
    days = before(2, 1, 0)
    url = publish(site, *days)
    download(run, url, 3)
    lake = Lake(run.project, run.bucket)
    there = {path: lake._bucket.blob(path).download_as_bytes() for path in lake.list("bronze/transit_history")}
    gone, damaged, last = (manifest_of(lake, day).files for day in days)
    lake.delete(gone["stop_times"].path)
    lake.write_bytes(damaged["stop_times"].path, bytes(damaged["stop_times"].bytes))  # of the right size, but zeros
    lake.delete(last["trips"].path)  # killed before its last act
    assert statuses(download(run, url, 3)) == ["SUCCESS", "SUCCESS", "SUCCESS"]
    assert {path: lake._bucket.blob(path).download_as_bytes() for path in there} == there
    assert statuses(download(run, url, 3)) == ["SKIPPED", "SKIPPED", "SKIPPED"]


def test_a_day_is_fetched_again_when_asked(new_lake: NewLake, site: Site) -> None:
    run = new_lake(DAY)
    url = publish(site, DAY)
    download(run, url, 1)
    assert statuses(download(run, url, 1, refetch=True)) == ["SKIPPED"]
    corrected = members(DAY) | {
        member(DAY, "trips"): f"{HEADERS['trips']}\n".encode() + b"x,x,6X,1,1,v,2,2,3,0,0\n" * 3
    }
    site.put(day_url(PATH, DAY), Answer(packed(corrected)))
    assert statuses(download(run, url, 1)) == ["SKIPPED"]
    assert statuses(download(run, url, 1, refetch=True)) == ["SUCCESS"]
    lake = Lake(run.project, run.bucket)
    assert manifest_of(lake, DAY).files["trips"].lines == 3
    # The source takes it back: what was landed last counts, also where it is what was there first.
    publish(site, DAY)
    assert statuses(download(run, url, 1, refetch=True)) == ["SUCCESS"]
    assert manifest_of(lake, DAY).files["trips"].lines == 1


def odd(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = members(DAY)
TRIPS, STOP_TIMES = member(DAY, "trips"), member(DAY, "stop_times")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>", "it is no .tar.xz archive: it begins with '<!DOCTYPE html>'"),
        (packed(GOOD)[:-40], "it begins as an .xz file does, but is truncated or damaged"),
        (packed(GOOD)[:100] + b"damage" + packed(GOOD)[106:], "truncated or damaged"),
        (lzma.compress(b"no tar"), "truncated or damaged"),
        (b"", "it is no .tar.xz archive"),
        (packed(GOOD | {f"../{TRIPS}": b""}), "leaves its folder"),
        (packed(GOOD | {f"/etc/{TRIPS}": b""}), "leaves its folder"),
        (packed(GOOD, odd(TRIPS, tarfile.SYMTYPE, "/etc/passwd")), "is a link or a device"),
        (packed(GOOD, odd(TRIPS, tarfile.LNKTYPE, "/etc/passwd")), "is a link or a device"),
        (packed(GOOD, odd("tty", tarfile.CHRTYPE)), "is a link or a device"),
        (packed(GOOD | {f"again/{TRIPS}": GOOD[TRIPS]}), "is there twice"),
        (packed({TRIPS: GOOD[TRIPS]}), f"it does not hold {STOP_TIMES}"),
        (packed(members(DAY - timedelta(days=1))), "it does not hold"),
        (packed(GOOD | {TRIPS: b"trip_uid,route_id\n1,1\n"}), "trips: expected the columns direction_id, start_time"),
        (packed(GOOD | {TRIPS: HEADERS["trips"].encode()}), "trips: it holds no rows"),
    ],
    ids=[
        "HTML",
        "truncated",
        "damaged",
        "no tar",
        "empty",
        "leaves",
        "absolute",
        "link",
        "hard link",
        "device",
        "twice",
        "no stop_times",
        "another day",
        "columns",
        "no rows",
    ],
)
def test_a_corrupt_archive_is_an_error_of_that_day_alone(
    new_lake: NewLake, site: Site, content: bytes, message: str
) -> None:
    run = new_lake(DAY)
    url = publish(site, *before(1))
    site.put(day_url(PATH, DAY), Answer(content))
    landed = download(run, url, 2, error_share=0.5)
    assert statuses(landed) == ["SUCCESS", "ERROR"]
    assert message in landed.outcomes[-1].reason
    assert not Lake(run.project, run.bucket).list(f"bronze/transit_history/service_date={DAY}")


def test_what_is_extra_is_left_and_the_end_may_lack_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    trips = ("\ufeff" + text("trips").replace("\n", "\r\n") + "2,2,6X,0,1,v,2,2,3,0,0").encode()
    path.write_bytes(packed({"./readme.txt": b"x", f"./{STOP_TIMES}": GOOD[STOP_TIMES], TRIPS: trips}) + bytes(4))
    found = extract(path, DAY, tmp_path)
    assert {name: file.lines for name, file in found.items()} == {"stop_times": 2, "trips": 2}
    assert gzip.decompress(found["trips"].path.read_bytes()) == trips


def test_a_bomb_stops_early(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(packed(GOOD | {"other": bytes(64 << 20)}))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(ArchiveError, match="it unpacks to more than 1048576 bytes"):
        extract(path, DAY, tmp_path, 1 << 20)


def test_an_archive_that_asks_for_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "greedy"
    greedy = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]))
    # The size of the dictionary stands in a byte of the block's header, of which a checksum follows:
    # https://tukaani.org/xz/xz-file-format.txt, 3.1 and 5.3.1. 16 is 1 MiB, 36 is 1 GiB.
    greedy[greedy.index(b"\x21\x01\x10") + 2] = 36
    end = 12 + greedy[12] * 4
    greedy[end : end + 4] = zlib.crc32(greedy[12:end]).to_bytes(4, "little")
    path.write_bytes(greedy)
    with pytest.raises(ArchiveError, match="Memory usage limit"):
        extract(path, DAY, tmp_path)


def test_it_fails_when_too_many_days_do_and_names_them(new_lake: NewLake, site: Site) -> None:
    run = new_lake(DAY)
    url = publish(site, *before(2, 1))
    for day in before(3, 0):
        site.put(day_url(PATH, day), Answer(status=500))
    with pytest.raises(HistoryError, match=r"2 of 4 days failed, more than 25%: 2026-11-17: .*; 2026-11-20: .* 500 "):
        download(run, url, 4)
    lake = Lake(run.project, run.bucket)
    checks = json.loads(lake.read_text(f"{run.records}/tasks/download_history.json"))["checks"]
    assert [c["failing"] for c in checks] == [1, 0, 0, 1]
    # What could be had is there, and the next try takes up the rest.
    publish(site, *before(3, 0))
    assert statuses(download(run, url, 4)) == ["SUCCESS", "SKIPPED", "SKIPPED", "SUCCESS"]


def test_servers_with_faults_give_the_same_days(new_lake: NewLake, site: Site) -> None:
    run = new_lake(DAY)
    days = before(4, 3, 2, 1, 0)
    url = publish(site, *days)
    good = [site.answers[day_url(PATH, day)][0] for day in days]
    site.put(day_url(PATH, days[0]), Answer(status=500), Answer(status=500), good[0])
    site.put(day_url(PATH, days[1]), Answer(good[1].body, cut=50, stall=True), good[1])
    site.put(day_url(PATH, days[2]), Answer(good[2].body, cut=50), good[2])
    site.put("/moved", good[3])
    site.put(day_url(PATH, days[3]), Answer(status=307, headers={"Location": "/moved"}))
    assert statuses(download(run, url, 5)) == ["SUCCESS"] * 5


@pytest.mark.parametrize(
    ("since", "days", "first", "last", "expected"),
    [
        (None, 7, "", "", ("2026-11-14", "2026-11-20")),
        (date(2026, 11, 20), 7, "", "", ("2026-11-13", "2026-11-20")),
        (date(2026, 11, 10), 7, "", "", ("2026-11-03", "2026-11-20")),
        (date(2026, 11, 10), 7, "2026-11-19", "", ("2026-11-19", "2026-11-20")),
        (None, 7, "2021-04-01", "2021-04-30", ("2021-04-01", "2021-04-30")),
        (None, 2, "", "2021-04-30", ("2021-04-29", "2021-04-30")),
    ],
)
def test_which_days_are_asked_for(
    since: date | None, days: int, first: str, last: str, expected: tuple[str, str]
) -> None:
    run = RunContext(
        run_id="r",
        run_date=DAY,
        since={"transit": since} if since else {},
        project="p",
        location="US",
        bucket="b",
    )
    found = asked(run, days, first, last)
    assert (str(found[0]), str(found[-1])) == expected
    assert len(found) == (found[-1] - found[0]).days + 1


def test_what_cannot_be_meant_is_refused(new_lake: NewLake) -> None:
    run = new_lake(DAY)
    with pytest.raises(ValueError, match="expected days from the first to the last, got 2026-11-21 to 2026-11-20"):
        download(run, "http://127.0.0.1:1/YYYY-MM-DD", 7, first="2026-11-21")
    with pytest.raises(ValueError, match="expected YYYY-MM-DD where the date goes, got http"):
        download(run, "http://127.0.0.1:1/a")


def test_a_lake_holds_a_simulated_city_or_a_real_one(new_lake: NewLake, site: Site) -> None:
    run = new_lake(DAY)
    download(run, publish(site, DAY), 1)
    with pytest.raises(HistoryError, match="a lake holds the history of a simulated city or of a real one, never both"):
        download(run, "", 1, simulated=True)
