"""Time from a month of archives to the clean table, compared with the obvious way, and memory by number of months.

`make bench-transit` runs it on its own stack. The simulated city publishes a month; each way takes the same archives to
the same clean rows, in a process of its own. They take turns, and the median of nine tries of each counts: a single try
may differ by a fifth. The obvious way is the batch flow as it is run by hand: each archive is unpacked, each CSV
uploaded and loaded with autodetection and append, and then the same clean query runs. Memory is that of load_month's
process: once for the month, once for six, which are the month's archives under other dates.
"""

import argparse
import io
import json
import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from datetime import date, timedelta
from pathlib import Path

from google.cloud import bigquery

from bench.machine import described
from components.transit.download_gtfs.feed_download import download_gtfs
from components.transit.download_history.history_download import download_history
from components.transit.generate_transit.transit_files import archive_path, generate_transit
from components.transit.history import FOLDER, SHORT, day_folder, landed_days
from components.transit.load_month.month_load import load_month
from goldline.clients import bigquery_client
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract
from goldline.contracts.table_names import DATASETS
from goldline.lake import Lake
from goldline.local.servers import PROJECT
from goldline.local.stack import BUCKET, Stack
from goldline.runs.context import RunContext
from goldline.spec.tables import contract_json, contracts, select
from goldline.stages.build_table import build_table
from goldline.warehouse.jobs import date_parameter
from goldline.warehouse.schema import ensure, ensure_plain

DAY = date(2026, 11, 1)  # the month before it is October, all of it
MONTH, MONTHS = 31, 6
SEED = 7
TRIES = 9  # of each way
RATIO_MIN, GROWTH_MAX = 3.0, 1.25
PACKAGES = ("pyarrow", "google-cloud-bigquery", "local-bigquery", "duckdb")
CLEAN = "transit/stg_arrivals"
TABLES = {c.table: c for c in contracts().values() if isinstance(c, TableContract)}
# The archives do not name their day: a trip's id has the time at which it started.
RAW = """create view bronze.{name} as
select date(timestamp_seconds(cast(split(trip_uid, '_')[offset(0)] as int64)), 'America/New_York') as service_date,
  *, row_number() over () as _line, '' as _archive, date '{day}' as _loaded_date
from bronze.raw_{name}"""


def prepared() -> RunContext:
    """Context of a run on empty tables: all that another try left is deleted, its landed days too."""
    lake = Lake(PROJECT, BUCKET)
    run = RunContext(
        run_id=f"bench-{uuid.uuid4().hex[:8]}",
        run_date=DAY,
        since={},
        project=PROJECT,
        location="US",
        bucket=BUCKET,
    )
    client = bigquery_client(PROJECT, "US")
    for path in lake.list(FOLDER):
        lake.delete(path)
    for name in DATASETS:
        client.delete_dataset(name, delete_contents=True, not_found_ok=True)
        client.create_dataset(name)
    for path, contract in contracts().items():
        if path.startswith("transit/") and isinstance(contract, TableContract):
            ensure(client, contract, run)
    ensure_plain(client, "silver.rejected_arrivals", REJECTED_COLUMNS, run, partition_by="run_date")
    feed = download_gtfs(run, TABLES, "", simulated=True)  # the schedule is there before either way begins
    load_month(run, TABLES, f"gs://{BUCKET}/nothing/", feed.uri)
    return run.model_copy(update={"run_id": f"{run.run_id}-month"})


def ours(run: RunContext) -> int:
    """Build the clean table from archives by goldline; return its number of rows."""
    feed = download_gtfs(run, TABLES, "", simulated=True)
    history = download_history(run, "", 0, str(DAY - timedelta(days=MONTH)), str(DAY - timedelta(days=1)), True)
    load_month(run, TABLES, history.uri, feed.uri)
    return build_table(run, "transit", select(CLEAN), contract_json(CLEAN)).published


def obvious(run: RunContext) -> int:
    """Build the clean table from archives by hand; return its number of rows."""
    client, lake = bigquery_client(PROJECT, "US"), Lake(PROJECT, BUCKET)
    config = bigquery.LoadJobConfig(
        autodetect=True,
        skip_leading_rows=1,
        max_bad_records=1000,
        source_format=bigquery.SourceFormat.CSV,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
    )
    there = set(lake.list("simulated/transit/history"))
    for number in range(MONTH, 0, -1):
        path = archive_path(DAY - timedelta(days=number))
        if path not in there:
            continue
        try:
            with tarfile.open(fileobj=io.BytesIO(lake.read_bytes(path)), mode="r:xz") as archive:
                files = [(m.name, archive.extractfile(m)) for m in archive.getmembers()]
                for name, stream in [(n, s.read()) for n, s in files if s]:
                    table = f"{PROJECT}.bronze.raw_{'trips' if 'trips' in name else 'stop_times'}"
                    client.load_table_from_file(io.BytesIO(stream), table, job_config=config).result()
        except (tarfile.TarError, EOFError, OSError) as error:
            print(f"{path}: {error}", file=sys.stderr)  # the corrupt one
    for name in ("stop_times", "trips"):
        client.delete_table(f"{PROJECT}.bronze.{name}")
        client.query_and_wait(RAW.format(name=name, day=DAY))
    given = bigquery.QueryJobConfig(query_parameters=[date_parameter("since", DAY), date_parameter("run_date", DAY)])
    client.query_and_wait(f"create table silver.clean as {select(CLEAN)}", job_config=given)
    [row] = client.query_and_wait("select countif(_reject_reason is null) as row_count from silver.clean")
    return int(row["row_count"])


def months(run: RunContext, count: int) -> int:
    """Load so many months that are landed already; return the number of rows of bronze.stop_times."""
    feed = download_gtfs(run, TABLES, "", simulated=True)
    loaded = load_month(run, TABLES, f"gs://{BUCKET}/bench/{count}/", feed.uri)
    return loaded.rows["bronze.stop_times"]


def lay(count: int) -> None:
    """Land `count` months: the month's days, and the same days again under the dates before them."""
    lake = Lake(PROJECT, BUCKET)
    landed = landed_days(lake.found(FOLDER))
    with tempfile.TemporaryDirectory() as temporary:
        content = Path(temporary) / "content"
        for month in range(count):
            for day, manifest in landed.items():
                other = day - timedelta(days=MONTH * month)
                folder = day_folder(other).replace(FOLDER, f"bench/{count}")
                paths = {name: f"{folder}/{manifest.sha256[:SHORT]}/{name}.csv.gz" for name in manifest.files}
                files = {name: file.model_copy(update={"path": paths[name]}) for name, file in manifest.files.items()}
                changed = manifest.model_copy(update={"service_date": other, "files": files})
                for name, file in manifest.files.items():
                    content.write_bytes(lake.read_bytes(file.path))
                    lake.write_file(paths[name], content, changed.metadata_of(name))


def median(tries: list[dict[str, float]]) -> dict[str, float]:
    """Numbers of the try with the median time."""
    return sorted(tries, key=lambda found: found["seconds"])[len(tries) // 2]


def tried(way: str) -> dict[str, float]:
    """One try in a process of its own; see `measured`."""
    command = [sys.executable, "-m", "bench.bench_transit", "--one", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(way: str) -> dict[str, float]:
    """One try in this process: number of rows, seconds, CPU seconds, peak memory in MiB."""
    run = prepared()
    begun = time.monotonic()
    rows = {"goldline": ours, "obvious": obvious}[way](run) if not way.isdigit() else months(run, int(way))
    seconds = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"rows": rows, "seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "mb": _peak() / 1024}


def _peak() -> int:
    """Peak memory of this process in KiB; ru_maxrss would be its parent's if that held more."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def compare(trains: int) -> bool:
    """Measure and print the table; return whether goldline keeps its limits."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.start(Path(folder))
        if stack is None:
            raise RuntimeError("the stack did not start")
        os.environ.update(stack.addresses.environment)
        try:
            generate_transit(
                RunContext(run_id="bench", run_date=DAY, since={}, project=PROJECT, location="US", bucket=BUCKET),
                *(SEED, MONTH, trains),
            )
            tries: dict[str, list[dict[str, float]]] = {"obvious": [], "goldline": []}
            for way in [*tries] * TRIES:
                tries[way].append(tried(way))
            found = {way: median(those) for way, those in tries.items()}
            for count in (1, MONTHS):  # what the last try landed, before the next one wipes it
                lay(count)
            for count in (1, MONTHS):
                found[f"load {count}"] = tried(str(count))
        finally:
            stack.stop()
    print(f"{'':12}{'rows':>12}{'seconds':>10}{'of CPU':>8}{'rows/s':>10}{'MB':>8}")
    for way, t in found.items():
        print(
            f"{way:12}{t['rows']:>12,.0f}{t['seconds']:>10.2f}{t['cpu']:>8.2f}"
            f"{t['rows'] / t['seconds']:>10,.0f}{t['mb']:>8.0f}"
        )
    print(described(PACKAGES))
    if len({t["rows"] for those in tries.values() for t in those}) > 1:
        raise RuntimeError("the two ways do not give the same rows")
    ratio = found["obvious"]["seconds"] / found["goldline"]["seconds"]
    growth = found[f"load {MONTHS}"]["mb"] / found["load 1"]["mb"]
    is_good = ratio >= RATIO_MIN and growth <= GROWTH_MAX
    print(
        f"{ratio:.1f} times the rows a second (at least {RATIO_MIN}); memory of {MONTHS} months {growth:.2f} times that"
    )
    print(f"of one (at most {GROWTH_MAX}): {'within' if is_good else 'NOT within'} the limits")
    return is_good


def main() -> int:
    """Compare; exit code 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trains", type=int, default=12, help="trains an hour at the busiest (default: 12)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one)))
        return 0
    return 0 if compare(options.trains) else 1


if __name__ == "__main__":
    sys.exit(main())
