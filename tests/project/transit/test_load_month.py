"""Landed days into bronze, on the local warehouse: what is loaded, kept beside, replaced, or refused."""

import base64
import csv
import gzip
import hashlib
import io
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery
from hypothesis import given, settings
from hypothesis import strategies as st

from components.transit.gtfs import MANIFEST, FeedFile, FeedManifest, feed_folder, kept_files, layout
from components.transit.history import COLUMNS, FOLDER, DayManifest, HistoryFile, file_path
from components.transit.load_month.csv_lines import UnreadableError, read_lines
from components.transit.load_month.month_load import HEADWAYS, Loaded, LoadError, load_month
from goldline.contracts import arrow
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.runs.records import Record, now
from goldline.spec.tables import catalog
from goldline.warehouse.jobs import JobError, Jobs
from goldline.warehouse.schema import ensure

pytestmark = pytest.mark.slow

STOPS = "trip_uid,stop_id,track,arrival_time,departure_time,last_observed,marked_past"
TRIPS = ",".join(COLUMNS["trips"])
TRIP = "1_A..N,1,A,0,1,v,1,1,1,0,0"
DAY = date(2026, 11, 20)
NewRun = Callable[..., RunContext]
CONTRACTS: dict[str, TableContract] = catalog().tables
STOP_COLUMNS = tuple(c for c in CONTRACTS["bronze.stop_times"].columns if c.name in STOPS.split(","))


class Bronze:
    """Landed days, and the tables that they are loaded into."""

    def __init__(self, client: bigquery.Client, new_run: NewRun, bucket: str, file: Path) -> None:
        self.client, self.file = client, file
        self.new_run, self.bucket = new_run, bucket
        self.run: RunContext = self.make()
        self.lake = Lake(self.run.project, bucket)
        for contract in CONTRACTS.values():
            ensure(client, contract, self.run)
        self.publish("a" * 64, agency=1)

    def make(self, day: date = DAY, **more: object) -> RunContext:
        return self.new_run(day, bucket=self.bucket, **more)

    def publish(self, sha256: str, **rows: int) -> None:
        """Lay a feed of which only the manifest counts here: its files hold no rows."""
        files = {name: FeedFile(rows=count, columns=[]) for name, count in rows.items()}
        for name in files:
            out = io.BytesIO()
            pq.write_table(arrow.schema(CONTRACTS[f"bronze.gtfs_{name}"].columns).empty_table(), out)
            self.lake.write_bytes(f"{feed_folder(sha256)}/{name}.parquet", out.getvalue())
        told: dict[str, Any] = {"url": "u", "etag": "", "fetched_at": "t", "bytes": 1, "unknown_files": []}
        told |= {
            "service_from": date(2026, 1, 1),
            "service_to": date(2026, 12, 31),
            "unknown_columns": {},
            "findings": [],
            "layout": layout(kept_files(CONTRACTS)),
            "files": files,
            "sha256": sha256,
        }
        self.lake.write_text(f"{feed_folder(sha256)}/{MANIFEST}", FeedManifest(**told).model_dump_json())
        self.feed = f"gs://{self.run.bucket}/{feed_folder(sha256)}/"

    def land(
        self,
        day: date,
        *stops: str,
        header: str = STOPS,
        lines: int | None = None,
        by: date = DAY,
        pack: Callable[[bytes], bytes] = gzip.compress,
    ) -> None:
        """Lay a day as download_history does."""
        texts = {"stop_times": "\n".join([header, *stops, ""]), "trips": f"{TRIPS}\n{TRIP}\n"}
        sha256 = hashlib.sha256(texts["stop_times"].encode(errors="surrogateescape")).hexdigest()
        files, contents = {}, {}
        for name, text in texts.items():
            content = contents[name] = pack(text.encode(errors="surrogateescape"))
            files[name] = HistoryFile(
                path=file_path(day, sha256, name),
                sha256=hashlib.sha256(content).hexdigest(),
                md5=base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
                bytes=len(content),
                columns=[],
                lines=text.count("\n") - 1 if lines is None else lines,
            )
        told: dict[str, Any] = {"url": "u", "etag": "", "bytes": 1, "run_date": by, "run_id": "r", "landed_at": now()}
        manifest = DayManifest(service_date=day, sha256=sha256, files=files, **told)
        for name, content in contents.items():
            self.file.write_bytes(content)
            self.lake.write_file(files[name].path, self.file, manifest.metadata_of(name))

    def load(self, run: RunContext | None = None) -> Loaded:
        return load_month(run or self.make(), CONTRACTS, f"gs://{self.run.bucket}/{FOLDER}/", self.feed)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        sql = sql.replace("bronze.", f"{self.run.dataset('bronze')}.")
        return [tuple(row.values()) for row in self.client.query_and_wait(sql)]


@pytest.fixture
def bronze(client: bigquery.Client, new_run: NewRun, new_lake: NewRun, tmp_path: Path) -> Bronze:
    return Bronze(client, new_run, new_lake().bucket, tmp_path / "landed")


def stop(name: str, arrival: object = 1) -> str:
    return f"1_A..N,{name},,{arrival},,,"


def test_a_day_is_loaded_once_and_another_archive_of_it_replaces_it(bronze: Bronze) -> None:
    monday, tuesday = date(2026, 11, 16), date(2026, 11, 17)
    bronze.land(monday, stop("a"), stop("b"))
    assert bronze.load().rows["bronze.stop_times"] == 2
    bronze.land(tuesday, stop("c"))
    tomorrow = bronze.make(date(2026, 11, 21))
    assert bronze.load(tomorrow).days == 1
    assert bronze.load(bronze.make(date(2026, 11, 22))) == Loaded()  # nothing is new
    listed = "select service_date, stop_id, _loaded_date from bronze.stop_times order by 1, 2"
    first, second = date(2026, 11, 20), date(2026, 11, 21)
    assert bronze.rows(listed) == [(monday, "a", first), (monday, "b", first), (tuesday, "c", second)]

    bronze.land(monday, stop("b"), stop("d", ""))
    third = date(2026, 11, 23)
    assert bronze.load(bronze.make(third)).days == 1
    assert bronze.rows(listed) == [(monday, "b", third), (monday, "d", third), (tuesday, "c", second)]
    assert bronze.rows("select service_date, stop_time_rows from bronze.transit_days order by 1") == [
        (monday, 2),
        (tuesday, 1),
    ]
    # Somebody took rows away: the day's own count tells, and it is loaded again.
    bronze.client.query_and_wait(f"delete from {bronze.run.dataset('bronze')}.stop_times where stop_id = 'c'")
    assert (bronze.load().days, len(bronze.rows(listed))) == (1, 3)
    assert bronze.load(bronze.make(full_refresh=("stop_times",))).days == 2


def test_lines_that_are_no_rows_are_kept_with_the_reason(bronze: Bronze) -> None:
    day = date(2026, 11, 16)
    bronze.land(day, stop("a"), stop("b", "soon"), "too,short", "1_A..N,\udcff,,1,,,", stop("e", 2))
    loaded = bronze.load()
    assert (loaded.rows["bronze.stop_times"], loaded.rows["bronze.rejected_history"]) == (2, 3)
    assert bronze.rows("select _line, file, reason, record from bronze.rejected_history order by 1") == [
        (3, "stop_times", "arrival_time is no whole number", "1_A..N,b,,soon,,,"),
        (4, "stop_times", "expected 7 values, got 2", "too,short"),
        (5, "stop_times", "the line is no UTF-8", "1_A..N,\\xff,,1,,,"),
    ]
    assert bronze.rows("select _line, arrival_time, track from bronze.stop_times order by 1") == [
        (2, 1, None),
        (6, 2, None),
    ]


def test_one_bad_month_does_not_stop_the_others_and_is_named(bronze: Bronze) -> None:
    october, first, second = date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 2)
    bronze.land(october, stop("a"), header="trip_uid,stop_id")
    bronze.land(first, stop("b"))
    bronze.land(second, stop("c"), lines=7)  # cut off
    with pytest.raises(LoadError, match=r"^2026-10 was not loaded: 2026-10-31: .*: expected the column track once in"):
        bronze.load()
    assert bronze.rows("select service_date, stop_id from bronze.stop_times") == [(first, "b")]
    # A later night tells of what is still broken, and goes on.
    bronze.land(october, stop("a"))
    loaded = bronze.load(bronze.make(date(2026, 11, 21)))
    assert (loaded.days, list(loaded.refused)) == (1, [str(second)])
    assert "expected 7 lines, got 1" in loaded.refused[str(second)]


@pytest.mark.parametrize("pack", [lambda text: text, lambda text: gzip.compress(text)[:-9]], ids=["plain", "cut off"])
def test_a_file_that_is_no_gzip_is_refused_though_its_checksum_is_right(
    bronze: Bronze, pack: Callable[[bytes], bytes]
) -> None:
    bronze.land(date(2026, 11, 1), stop("a"), pack=pack)
    bronze.land(date(2026, 11, 2), stop("b"))
    loaded = bronze.load()
    assert (loaded.days, list(loaded.refused)) == (1, ["2026-11-01"])
    assert "stop_times.csv.gz: expected gzip: " in loaded.refused["2026-11-01"]


def test_days_too_old_for_the_headways_are_named_with_the_cure(
    bronze: Bronze, caplog: pytest.LogCaptureFixture
) -> None:
    later = {"since": {"transit": DAY}}
    in_reach = CONTRACTS[HEADWAYS].lookback_start(DAY)
    late = in_reach - timedelta(days=1)
    for day in (late, in_reach):
        bronze.land(day, stop("a"))
    run = bronze.make().model_copy(update=later)
    assert bronze.load(run).late == [late]
    record = Record.model_validate_json(bronze.lake.read_text(f"{run.records}/tasks/load_month.json"))
    [told] = [c for c in record.checks if c.name == "days_are_young_enough"]
    assert (told.level, told.failing) == ("warn", 1)
    for said in (told.detail or "", caplog.text):
        assert str(late) in said
        assert str(in_reach) not in said
        assert "--full-refresh gold.fct_headways" in said
    # Loaded already, or read again all the same: nothing to tell.
    assert bronze.load(bronze.make().model_copy(update=later)).late == []
    bronze.land(late, stop("b"))
    assert bronze.load(bronze.make(full_refresh=("fct_headways",)).model_copy(update=later)).late == []
    bronze.land(late, stop("c"))
    assert bronze.load().late == []  # a first run reads everything


def test_a_corrected_archive_takes_its_rejected_lines_away(bronze: Bronze) -> None:
    bronze.land(DAY, stop("a"), stop("b", "soon"))
    assert bronze.load().rows["bronze.rejected_history"] == 1
    bronze.land(DAY, stop("a"), stop("b"))
    assert bronze.load().rows["bronze.rejected_history"] == 0
    assert bronze.rows("select count(*) from bronze.rejected_history") == [(0,)]
    assert bronze.rows("select count(*) from bronze.stop_times") == [(2,)]


def test_a_try_that_failed_half_way_is_no_obstacle_to_the_next(bronze: Bronze, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are tries of one run: the jobs of the first are done, and its files are gone."""
    bronze.land(DAY, stop("a"))
    run, query = bronze.make(), Jobs.query

    def fails(jobs: Jobs, step: str, *others: Any, **named: Any) -> Any:
        if step.endswith("_trips"):
            raise JobError("the trips could not be published")
        return query(jobs, step, *others, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "query", fails)
        with pytest.raises(LoadError, match="the trips could not be published"):
            bronze.load(run)
    assert bronze.rows("select count(*) from bronze.stop_times") == [(1,)]
    assert bronze.rows("select count(*) from bronze.transit_days") == [(0,)]
    assert not bronze.lake.list(f"stage/{run.run_id}")
    assert bronze.load(run).days == 1
    for table in ("stop_times", "trips", "transit_days"):
        assert bronze.rows(f"select count(*) from bronze.{table}") == [(1,)], table


def test_a_feed_is_loaded_when_it_is_another_one(bronze: Bronze) -> None:
    assert bronze.load().rows == {"bronze.gtfs_agency": 1}
    assert bronze.load().rows == {}
    bronze.publish("b" * 64, agency=1, calendar=1)
    assert bronze.load().rows == {"bronze.gtfs_agency": 1, "bronze.gtfs_calendar": 1}
    assert bronze.rows("select sha256 from bronze.gtfs_feed") == [("b" * 64,)]


values = st.sampled_from(["", "1", "-5", "x", '"q"', '"', "1\xa0", "99999999999999999999", "é"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(values, min_size=5, max_size=8), max_size=6), st.permutations(STOPS.split(",")), st.booleans())
def test_every_line_is_a_row_or_rejected(rows: list[list[str]], header: list[str], windows: bool) -> None:
    lines = [",".join(row) for row in rows]
    end = "\r\n" if windows else "\n"
    content = "".join(line + end for line in [",".join(header), *lines]).encode("utf-8-sig" if windows else "utf-8")
    read = read_lines(content, STOP_COLUMNS)
    rejected = {r["_line"]: r["record"] for r in read.rejected.to_pylist()}
    kept = {r["_line"]: r for r in read.rows.to_pylist()}
    assert sorted([*rejected, *kept]) == list(range(2, len(lines) + 2))
    assert all(lines[line - 2] == record for line, record in rejected.items())
    for line, row in kept.items():
        given = dict(zip(header, next(csv.reader([lines[line - 2]])), strict=True))
        assert all(row[name] == given[name] for name in ("trip_uid", "stop_id"))
        assert row["arrival_time"] == (int(given["arrival_time"]) if given["arrival_time"] else None)


@pytest.mark.parametrize("content", [b"", b"\n", b"trip_uid,stop_id\n", b'"', b"\xff\n", f"{STOPS},track\n".encode()])
def test_a_file_without_its_columns_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"expected (a header|the column)"):
        read_lines(content, STOP_COLUMNS)
