"""Load landed days of history into bronze, a month at a time, and the schedule.

A new day (not loaded yet, or landed again from another archive) becomes rows of declared types; lines that are no rows
are rejected, with the reason. A month's new days become one Parquet file per table. One atomic statement replaces those
days' partitions by it: a day that is loaded twice is there once. The last table to be written is bronze.transit_days: a
day that is missing there is loaded again. Only a few days' lines are in memory at a time, for any number of months.
"""

import datetime
import hashlib
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice

import pyarrow as pa
from google.cloud import bigquery
from isal import isal_zlib

from components.transit.history import GZIP, SHORT, DayManifest, landed_days
from components.transit.load_month.csv_lines import Lines, UnreadableError, read_lines
from components.transit.load_month.feed_load import load_feed
from components.transit.load_month.month_stages import PARTITION, Stages
from goldline.contracts import arrow
from goldline.contracts.columns import Row
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake, LakeError
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.pace import Pace
from goldline.runs.records import CheckResult, Record, recorded
from goldline.warehouse import statements
from goldline.warehouse.jobs import JobError, Jobs

LOG = logging.getLogger(__name__)
FLOW = "transit"
FILES = {"stop_times": "bronze.stop_times", "trips": "bronze.trips"}
REJECTED, DAYS = "bronze.rejected_history", "bronze.transit_days"
HEADWAYS = "gold.fct_headways"
AHEAD = 2  # days that are read while one is written


class LoadError(RuntimeError):
    """Months could not be loaded: the message names each, and why; the others are loaded."""


@dataclass
class Loaded:
    """Result of one call."""

    days: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # why, by day
    rows: dict[str, int] = field(default_factory=dict)  # by table
    late: list[datetime.date] = field(default_factory=list)  # days too old for this run's headways

    def add(self, rows: Mapping[str, int], days: int) -> None:
        """Count in a month: its rows by table, and its number of days."""
        self.days += days
        for table, count in rows.items():
            self.rows[table] = self.rows.get(table, 0) + count


def load_month(run: RunContext, contracts: Mapping[str, TableContract], history: str, feed: str) -> Loaded:
    """Load the schedule if it has changed, and all new days.

    Args:
        run: the run's context; its date becomes `_loaded_date` of the rows.
        contracts: contracts of the tables to load and of gold.fct_headways, by table.
        history: gs:// address of the landed days.
        feed: gs:// address of the feed's folder.

    Raises:
        LoadError: a job failed; or no new day of a month could be read, and this run date landed one of them (later
            nights only warn). The other months are loaded.
        JobError: the schedule could not be loaded (the days are), or the tables could not be read.
    """
    with recorded(run, "load_month", FLOW) as record, ThreadPoolExecutor() as beside:
        schedule = beside.submit(load_feed, run, contracts, feed)
        loader = Loader(run, contracts, history)
        failed = {month: error for month, days in loader.new_days() if (error := loader.load(month, days))}
        loaded = loader.loaded
        loaded.add(schedule.result(), 0)
        loaded.late = loader.late()
        _report(record, loaded)
        if failed:
            raise LoadError("; ".join(f"{month} was not loaded: {error}" for month, error in failed.items()))
    return loaded


class Loader:
    """Loading of the months of one call."""

    def __init__(self, run: RunContext, contracts: Mapping[str, TableContract], history: str) -> None:
        self.run = run
        self.contracts = contracts
        self.folder = history.removeprefix(f"gs://{run.bucket}/").rstrip("/")
        self.lake = Lake(run.project, run.bucket)
        self.jobs = Jobs(run, "load_month")
        self.loaded = Loaded()
        self.pace = Pace(self.folder, "days")
        self.landed: dict[datetime.date, DayManifest] = {}
        self.fresh: set[str] = set()  # days that this very run landed
        self.days: list[datetime.date] = []  # that were loaded

    def new_days(self) -> Iterator[tuple[str, list[datetime.date]]]:
        """New days by month, YYYY-MM: landed, and not loaded from the same archive."""
        with ThreadPoolExecutor() as beside:
            listed = beside.submit(lambda: landed_days(self.lake.found(self.folder)))
            known = self._known(beside)
        self.landed = listed.result()
        new = [day for day, manifest in self.landed.items() if manifest.sha256[:SHORT] != known.get(str(day))]
        self.pace.expected = len(new)
        for month, days in groupby(new, key=lambda day: f"{day:%Y-%m}"):
            yield month, list(days)

    def _known(self, beside: ThreadPoolExecutor) -> dict[str, str]:
        """Checksum of each loaded day's archive, SHORT digits of it, by day."""
        if any(self.run.refreshes(table) for table in (*FILES.values(), DAYS)):
            return {}
        wanted = ("service_date", "_archive", "stop_time_rows", "trip_rows")
        rows = self.jobs.read(self.run.table(DAYS), (c for c in self.contracts[DAYS].columns if c.name in wanted))
        if not rows:
            return {}
        there = {table: beside.submit(self.jobs.row_count, self.run.table(table)) for table in FILES.values()}
        known = {str(row["service_date"]): str(row["_archive"]) for row in rows}
        for file, table in FILES.items():
            count = f"{file.removesuffix('s')}_rows"
            if there[table].result() != sum(row[count] for row in rows):
                known = self._still_there(table, {str(r["service_date"]): r[count] for r in rows}, known)
        return known

    def _still_there(self, table: str, counts: Mapping[str, int], known: Mapping[str, str]) -> dict[str, str]:
        """Known days whose rows are all in the table still: somebody may have changed it."""
        LOG.warning("%s does not hold the rows that were loaded: days that differ are loaded again", table)
        sql = f"select service_date, count(*) as row_count from `{self.run.table(table)}` group by service_date"
        there = {str(row["service_date"]): row["row_count"] for row in self.jobs.read_now(sql)}
        return {day: archive for day, archive in known.items() if there.get(day, 0) == counts[day]}

    def load(self, month: str, days: Sequence[datetime.date]) -> str:
        """Load a month's new days; return the reason of a failure, empty after success."""
        tables = {name: self.contracts[name] for name in (*FILES.values(), REJECTED)}
        try:
            with ThreadPoolExecutor() as beside, Stages(self.run, self.jobs, self.lake, month) as stages:
                counted = self._write(tables, stages, days)
                refused = {day: self.loaded.refused[day] for day in map(str, days) if day in self.loaded.refused}
                if not counted:
                    return "; ".join(f"{day}: {why}" for day, why in refused.items() if day in self.fresh)
                dates = [row["service_date"] for row in counted]
                stages.publish(tables.values(), dates)
                counting = beside.submit(self._count, month, counted)  # while the stages are deleted
            counting.result()
            self.days += dates
        except JobError as error:
            return str(error)
        rows = {FILES["stop_times"]: "stop_time_rows", FILES["trips"]: "trip_rows", REJECTED: "rejected_rows"}
        self.loaded.add({table: sum(row[name] for row in counted) for table, name in rows.items()}, len(counted))
        LOG.info("%s: %d days loaded, %d refused", month, len(counted), len(refused))
        return ""

    def late(self) -> list[datetime.date]:
        """Loaded days that are too old for this run to rebuild their headways."""
        since = self.run.since.get(FLOW, EPOCH)
        if since == EPOCH or self.run.refreshes(HEADWAYS):
            return []
        start = self.contracts[HEADWAYS].lookback_start(since)
        return [day for day in self.days if day < start]

    def _write(self, tables: Mapping[str, TableContract], stages: Stages, days: Sequence[datetime.date]) -> list[Row]:
        """Write the rows of each table; return a row of bronze.transit_days for each readable day."""
        counted: list[Row] = []
        with ThreadPoolExecutor(AHEAD) as ahead:
            # While a day is written, the next ones are read: at most AHEAD + 1 are in memory.
            reading = deque(ahead.submit(self._read, day) for day in days[:AHEAD])
            others = iter(days[AHEAD:])
            while reading:
                day = reading.popleft().result()
                reading.extend(ahead.submit(self._read, other) for other in islice(others, 1))
                self.pace.add()
                if isinstance(day, _Refused):
                    self.loaded.refused[str(day.service_date)] = day.why
                    LOG.warning("%s is not loaded: %s", day.service_date, day.why)
                    continue
                for table, rows in day.tables.items():
                    if rows.num_rows:
                        stages.writer(tables[table]).write_table(rows)
                counted.append(day.row)
        return counted

    def _count(self, month: str, counted: Sequence[Row]) -> None:
        """Record in bronze.transit_days that the days are loaded."""
        types = {c.name: c.type for c in self.contracts[DAYS].columns}
        rows = [
            bigquery.StructQueryParameter(
                None, *(bigquery.ScalarQueryParameter(name, kind, row[name]) for name, kind in types.items())
            )
            for row in counted
        ]
        days = [row["service_date"] for row in counted]
        query = f"(select {', '.join(f'day.{name}' for name in types)} from unnest(@days) as day)"
        sql = statements.replace(self.run.table(DAYS), types, query, PARTITION, days)
        self.jobs.query(f"publish_{month}_days", sql, [bigquery.ArrayQueryParameter("days", "STRUCT", rows)])

    def _read(self, service_date: datetime.date) -> "_Day | _Refused":
        manifest = self.landed[service_date]
        if manifest.run_date == self.run.run_date:
            self.fresh.add(str(service_date))
        try:
            read = {name: self._lines(manifest, name) for name in FILES}
        except (UnreadableError, LakeError) as error:
            return _Refused(service_date, str(error))
        common: Row = {
            "service_date": service_date,
            "_archive": manifest.sha256[:SHORT],
            "_loaded_date": self.run.run_date,
        }
        tables = {FILES[name]: _whole(self.contracts[FILES[name]], lines.rows, common) for name, lines in read.items()}
        rejected = [
            _whole(self.contracts[REJECTED], lines.rejected, {**common, "file": n}) for n, lines in read.items()
        ]
        tables[REJECTED] = pa.concat_tables(rejected)
        counts = {"stop_time_rows": tables[FILES["stop_times"]].num_rows, "trip_rows": tables[FILES["trips"]].num_rows}
        counts["rejected_rows"] = tables[REJECTED].num_rows
        return _Day({**common, **counts, "_run_id": self.run.run_id}, tables)

    def _lines(self, manifest: DayManifest, name: str) -> Lines:
        """Lines of a day's file, checked against its manifest.

        Raises:
            UnreadableError: the file does not match its manifest, or cannot be read.
        """
        if (file := manifest.files.get(name)) is None:
            raise UnreadableError(
                f"expected {name} in the day's manifest, got {', '.join(manifest.files) or 'nothing'}"
            )
        content = self.lake.read_bytes(file.path)
        if (got := hashlib.sha256(content).hexdigest()) != file.sha256:
            raise UnreadableError(f"{file.path}: expected SHA-256 {file.sha256}, got {got}")
        try:
            text = isal_zlib.decompress(content, GZIP)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise UnreadableError(f"{file.path}: expected gzip: {error}") from error
        columns = tuple(
            c for c in self.contracts[FILES[name]].columns if not c.is_load_metadata and c.name != "service_date"
        )
        try:
            lines = read_lines(text, columns)
        except UnreadableError as error:
            raise UnreadableError(f"{file.path}: {error}") from error
        if (got_lines := lines.rows.num_rows + lines.rejected.num_rows) != file.lines:
            raise UnreadableError(f"{file.path}: expected {file.lines} lines, got {got_lines}")
        return lines


@dataclass(frozen=True)
class _Day:
    """Rows of a day by table, and its own row in bronze.transit_days."""

    row: Row
    tables: dict[str, pa.Table]


@dataclass(frozen=True)
class _Refused:
    """Day whose files do not match its manifest, and the reason."""

    service_date: datetime.date
    why: str


def _whole(contract: TableContract, rows: pa.Table, common: Row) -> pa.Table:
    """Rows with all columns of the contract; `common` holds the values that are the same for the whole day."""
    schema = arrow.schema(contract.columns)
    columns = [
        rows.column(f.name) if f.name in rows.column_names else pa.repeat(pa.scalar(common[f.name], f.type), len(rows))
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _report(record: Record, loaded: Loaded) -> None:
    rejected = loaded.rows.get(REJECTED, 0)
    cure = None
    if loaded.late:
        named = ", ".join(map(str, loaded.late))
        cure = f"make it anew with `goldline run --full-refresh {HEADWAYS}` for {named}"[:1000]
        LOG.warning("%d loaded days are too old for the headways of this run: %s", len(loaded.late), cure)
    check = partial(CheckResult, level="warn")
    record.checks = [
        check(subject=REJECTED, name="lines_can_be_read", failing=rejected),
        check(subject=DAYS, name="days_are_what_manifests_say", failing=len(loaded.refused)),
        check(subject=DAYS, name="days_are_young_enough", failing=len(loaded.late), detail=cure),
    ]
    record.counts = {"days": loaded.days, **loaded.rows}
