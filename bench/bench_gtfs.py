"""Time and memory to fetch, check and write a full-size schedule, compared with the obvious way.

`make bench-gtfs` serves a feed as large as that of New York's subway over HTTP and downloads it into a lake on its own
stack. Each try is a process of its own. Ours and the obvious way are run by turns, so that other load on the machine
slows both alike. The obvious way unpacks the archive, reads each file with pandas and writes Parquet: it checks
nothing, and leaves times as text.
"""

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.machine import described
from components.transit.generate_transit.city import City
from components.transit.generate_transit.simulated_feed import feed
from goldline.contracts.loading import load_all
from goldline.contracts.table_contract import TableContract
from goldline.local.servers import PROJECT, post
from goldline.local.stack import Stack
from goldline.runs.context import RunContext

STOP_TIMES = 565_000  # of New York's subway
TRIES = 3
SECONDS_MAX, MEGABYTES_MAX = 10.0, 500.0
PACKAGES = ("pyarrow", "pandas", "requests", "google-cloud-storage")
WAYS = ("goldline", "pandas")
TABLES = {c.table: c for c in load_all(Path(__file__).parents[1] / "sql").values() if isinstance(c, TableContract)}


def full_size(stop_times: int) -> bytes:
    """Archive with at least so many stop times: the simulated city's feed, its trips repeated under other ids."""
    with zipfile.ZipFile(io.BytesIO(feed(City(seed=7, trains=4)))) as small:
        files = {name: small.read(name).decode() for name in small.namelist()}
    times = -(-stop_times // files["stop_times.txt"].count("\n"))
    for name in ("trips.txt", "stop_times.txt"):
        header, body = files[name].split("\r\n", 1)
        files[name] = header + "\r\n" + "".join(body.replace("SIM-", f"SIM{number}-") for number in range(times))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def ours(url: str, bucket: str) -> int:
    """Download by goldline; return the number of rows of stop_times."""
    from components.transit.download_gtfs.feed_download import download_gtfs

    run = RunContext(
        run_id="bench", run_date=date(2025, 11, 18), since={}, project=PROJECT, location="US", bucket=bucket
    )
    found = download_gtfs(run, TABLES, url)
    if not found.is_new or found.manifest.findings:
        raise RuntimeError(f"expected a new feed without findings, got {found}")
    return found.manifest.files["stop_times"].rows


def obvious(url: str, bucket: str) -> int:
    """Download as one would in a notebook; return the number of rows of stop_times."""
    import pandas as pd
    import requests

    from goldline.clients import storage_client

    rows = 0
    folder = storage_client(PROJECT).bucket(bucket)
    with zipfile.ZipFile(io.BytesIO(requests.get(url, timeout=60).content)) as archive:
        for name in archive.namelist():
            frame = pd.read_csv(archive.open(name), low_memory=False)
            out = io.BytesIO()
            frame.to_parquet(out)
            folder.blob(f"gtfs/{name}.parquet").upload_from_string(out.getvalue())
            rows = len(frame) if name == "stop_times.txt" else rows
    return rows


def measured(way: str, url: str, bucket: str) -> dict[str, float]:
    """One try in this process: number of rows, seconds, CPU seconds, peak memory in MiB."""
    begun = time.monotonic()
    rows = {"goldline": ours, "pandas": obvious}[way](url, bucket)
    seconds = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return {"rows": rows, "seconds": seconds, "cpu": cpu, "megabytes": used.ru_maxrss / 1024}


def tried(way: str, url: str, bucket: str) -> dict[str, float]:
    """One try in a process of its own; see `measured`."""
    command = [sys.executable, "-m", "bench.bench_gtfs", "--one", way, url, bucket]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(stop_times: int) -> bool:
    """Measure and print the table; return whether goldline keeps its limits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gtfs.zip").write_bytes(full_size(stop_times))
        handler = partial(SimpleHTTPRequestHandler, directory=name)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack = Stack.start(folder / "stack")
        if stack is None:
            raise RuntimeError("the stack did not start")
        os.environ.update(stack.addresses.environment)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        try:
            for number in range(TRIES):
                for way in WAYS:
                    bucket = f"bench-{way}-{number}"
                    post(stack.addresses.storage, f"/storage/v1/b?project={PROJECT}", {"name": bucket})
                    url = f"http://127.0.0.1:{server.server_port}/gtfs.zip"
                    found[way].append(tried(way, url, bucket))
        finally:
            stack.stop()
            server.shutdown()
    print(f"{'':10}{'stop_times':>12}{'seconds':>10}{'of CPU':>8}{'rows/s':>10}{'MB':>8}   median of {TRIES}")
    medians = {}
    for way, tries in found.items():
        seconds, cpu, megabytes = (statistics.median(t[key] for t in tries) for key in ("seconds", "cpu", "megabytes"))
        rows = tries[0]["rows"]
        medians[way] = (seconds, megabytes)
        print(f"{way:10}{rows:>12,.0f}{seconds:>10.2f}{cpu:>8.2f}{rows / seconds:>10,.0f}{megabytes:>8.0f}")
    print(described(PACKAGES))
    seconds, megabytes = medians["goldline"]
    is_good = seconds < SECONDS_MAX and megabytes < MEGABYTES_MAX
    print(f"{'within' if is_good else 'NOT within'} {SECONDS_MAX:.0f} s and {MEGABYTES_MAX:.0f} MB")
    return is_good


def main() -> int:
    """Compare; exit code 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stop-times", type=int, default=STOP_TIMES)
    parser.add_argument("--one", nargs=3, metavar=("WAY", "URL", "BUCKET"), help="one try, in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(*args.one)))
        return 0
    return 0 if compare(args.stop_times) else 1


if __name__ == "__main__":
    sys.exit(main())
