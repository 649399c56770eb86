"""Reads and writes of Firestore, compared with the usual code, on Google's emulator.

`make bench-firestore` runs it. Each measurement is a process of its own, for its own CPU time and peak memory. The ways
are taken by turns, so that other load on the machine slows all alike; the median of each is printed.

naive: `[d.to_dict() for d in collection.stream()]`, a DataFrame, to_parquet. It checks no contract, does not treat
personal data, fails on the first field whose type drifts (so the documents here have none), and writes to the disk.
ours: export_firestore from its streams to its part files in the lake: typed by the contract of sales, pseudonymised,
counted in parallel to the stream. drained: the documents are counted, then received encoded and thrown away; an export
can only be faster by counting in parallel.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import format_datetime
from functools import partial
from itertools import batched, islice
from pathlib import Path
from typing import Any

from bench.machine import described
from goldline.local import processes, servers

PACKAGES = ("google-cloud-firestore", "grpcio", "protobuf", "ptars", "pyarrow", "pandas")
COLLECTION, BUCKET = "sales", "bench"
UTC = datetime.UTC
START = datetime.datetime(2026, 1, 1, tzinfo=UTC)
PATTERNS = 1000  # distinct documents; all others are copies with another name, amount and time
Numbers = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Number of documents of each collection, of timestamps, and of runs."""

    documents: int
    many: int
    written: int
    timestamps: int
    runs: int


# The ways that are measured, each in a process of its own


def documents(count: int, first: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sales as the simulated shop writes them, without the defects that the naive way fails on."""
    from components.sales.generate_sales.world import World

    world = World(7, 2000)
    day = datetime.date(2026, 1, 1)
    days = (sale for n in range(1000) for sale in world.sales(day + datetime.timedelta(days=n)) if not sale.defect)
    patterns = [sale.body for sale in islice(days, PATTERNS)]
    for number in range(first, first + count):
        moment = START + datetime.timedelta(seconds=number)
        times = {"sale_timestamp": moment, "updated_at": moment}
        made = {"status": "completed", "is_valid_transaction": True, "total_amount": number / 100}
        name = f"s{number * 2654435761 % 2**32:010d}"  # ids of applications come in no order
        yield name, {**patterns[number % PATTERNS], "sale_id": name, **times, **made}


def naive(size: int, folder: Path) -> int:
    """Export by the usual code; return the number of documents."""
    import pandas as pd

    from goldline.clients import firestore_client

    _start_again()
    rows = [d.to_dict() for d in firestore_client(servers.PROJECT).collection(f"{COLLECTION}{size}").stream()]
    pd.DataFrame(rows).to_parquet(folder / "naive.parquet")
    return len(rows)


def ours(size: int, folder: Path) -> int:
    """Export by goldline, without the commit in BigQuery's ops.commits; return the number of documents."""
    from goldline.contracts.loading import parse
    from goldline.contracts.source_contract import SourceContract
    from goldline.firestore.calls import Database
    from goldline.privacy.pseudonym import Key
    from goldline.runs.context import RunContext
    from goldline.spec.tables import contract_json
    from goldline.stages.export_firestore.attempt import Attempt
    from goldline.stages.export_firestore.export import _begin, _question
    from goldline.stages.export_firestore.landed_documents import make_landing
    from goldline.stages.export_firestore.plan import FULL, Plan

    contract = parse(json.loads(contract_json("sales/ext_sales")), "sales")
    assert isinstance(contract, SourceContract)  # noqa: S101
    day = datetime.date(2026, 11, 20)
    run = RunContext(
        run_id=f"bench-{os.getpid()}", run_date=day, since={}, project=servers.PROJECT, location="US", bucket=BUCKET
    )
    key, plan, collection = Key("1", b"bench" * 8), Plan(FULL, "measured"), f"{COLLECTION}{size}"
    connect = partial(Database, servers.PROJECT, "(default)")
    make_landing(contract, key).land([])  # imports what it needs
    _start_again()
    attempt = Attempt(run, contract, key, _begin(run, contract, connect, collection, plan, key, "bench", FULL))
    attempt.land(connect, _question(contract, collection, plan))
    return attempt.rows


def drained(size: int, folder: Path) -> int:
    """Count the documents, then receive them encoded; return the smaller number."""
    from goldline.firestore.calls import Database
    from goldline.stages.export_firestore.reader import CollectionQuery

    _start_again()
    database, question = Database(servers.PROJECT, "(default)"), CollectionQuery(f"{COLLECTION}{size}")
    count, read_time = database.count(question.parent(database), question.query())
    received = sum(1 for _ in database.stream(question.parent(database), question.query(), read_time))
    return min(count, received)


def write_batches(size: int, folder: Path) -> int:
    """Write by the client library's batches of 500; return the number of documents."""
    from goldline.clients import firestore_client

    client = firestore_client(servers.PROJECT)
    collection = client.collection(f"client{os.getpid()}")
    made = list(documents(size))
    _start_again()
    for some in batched(made, 500, strict=False):
        batch = client.batch()
        for name, body in some:
            batch.set(collection.document(name), body)
        batch.commit()
    return size


def write_ours(size: int, folder: Path) -> int:
    """Write by goldline's writer; return the number of documents."""
    from goldline.firestore.calls import Database
    from goldline.firestore.writer import write

    made = list(documents(size))
    _start_again()
    return write(partial(Database, servers.PROJECT, "(default)"), f"ours{os.getpid()}", made)


def fill(size: int, folder: Path) -> int:
    """Fill the collection to export; return the number of documents."""
    from goldline.firestore.calls import Database
    from goldline.firestore.writer import write

    return write(partial(Database, servers.PROJECT, "(default)"), f"{COLLECTION}{size}", documents(size))


def timestamps(size: int, folder: Path) -> int:
    """Parse timestamps of mixed formats; every value is checked after the clock was stopped."""
    import pyarrow as pa

    from goldline.landing.timestamps import parse

    dice = random.Random(7)
    moments = [START + datetime.timedelta(seconds=dice.randrange(3 * 10**7)) for _ in range(size)]
    kinds = [dice.randrange(len(FORMS)) for _ in range(size)]
    texts = pa.array([FORMS[kind](moment) for kind, moment in zip(kinds, moments, strict=True)], pa.string())
    _start_again()
    parsed = parse(texts, day_first=True)
    _stop()
    expected = [
        None if kind == JUNK else moment.replace(hour=0, minute=0, second=0) if kind == DATE else moment
        for kind, moment in zip(kinds, moments, strict=True)
    ]
    if parsed.values.to_pylist() != expected:
        raise ValueError("not every timestamp was read right")
    return size


FORMS: Sequence[Callable[[datetime.datetime], str]] = (
    lambda m: m.strftime("%Y-%m-%d"),
    lambda m: "n/a",
    lambda m: m.strftime("%Y-%m-%dT%H:%M:%SZ"),
    lambda m: m.strftime("%Y-%m-%d %H:%M:%S"),
    lambda m: m.astimezone(datetime.timezone(datetime.timedelta(hours=2))).isoformat(),
    lambda m: m.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    lambda m: str(int(m.timestamp())),
    lambda m: str(int(m.timestamp()) * 10**3),
    lambda m: str(int(m.timestamp()) * 10**6),
    lambda m: str(int(m.timestamp()) * 10**9),
    format_datetime,
    lambda m: m.strftime("%d/%m/%Y %H:%M:%S"),
)
DATE, JUNK = 0, 1
WORK = {work.__name__: work for work in (naive, ours, drained, write_batches, write_ours, fill, timestamps)}

_clock = {"began": 0.0, "cpu": 0.0, "seconds": 0.0, "used": 0.0}


def _start_again() -> None:
    """Start the clock anew: the work so far was preparation."""
    _clock["began"], _clock["cpu"] = time.perf_counter(), time.process_time()


def _stop() -> None:
    """Stop the clock: the work from here on is not measured."""
    _clock["seconds"] = time.perf_counter() - _clock["began"]
    _clock["used"] = time.process_time() - _clock["cpu"]


def work(name: str, size: int) -> None:
    """Do one measurement in this process and print its numbers as JSON."""
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="goldline-bench-") as folder:
        _start_again()
        count = WORK[name](size, Path(folder))
        if not _clock["seconds"]:
            _stop()
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    [peak] = [int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")]
    print(json.dumps({"count": count, "seconds": _clock["seconds"], "cpu": _clock["used"], "peak": peak}))


# The processes that run them


class Bench:
    """Runner of measurements; `environment` leads clients to the servers."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def run(self, name: str, size: int) -> Numbers:
        """Do one measurement in a process of its own; see `work`."""
        command = [sys.executable, "-m", "bench.bench_firestore", "--work", name, "--size", str(size)]
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stderr}")
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        if found["count"] != size:
            raise RuntimeError(f"{name}: expected {size} documents, got {found['count']:.0f}")
        print(f"  {name:<14}{size:>8,}: {size / found['seconds']:>10,.0f}/s", flush=True)
        return {**found, "rate": size / found["seconds"], "each": found["cpu"] / size * 1e6}

    def by_turns(self, names: Sequence[str], size: int, runs: int) -> dict[str, Numbers]:
        """Measure all ways by turns, `runs` times; return the medians of each."""
        found: dict[str, list[Numbers]] = {name: [] for name in names}
        for _ in range(runs):
            for name in names:
                found[name].append(self.run(name, size))
        return {name: _median(numbers) for name, numbers in found.items()}


def _median(numbers: Sequence[Numbers]) -> Numbers:
    return {name: statistics.median(one[name] for one in numbers) for name in numbers[0]}


@contextlib.contextmanager
def serving(home: Path, heap: str) -> Iterator[Mapping[str, str]]:
    """Start Google's emulator and a lake; yield the variables that lead clients to them."""
    plan = servers.firestore(home)
    if not plan.is_saved_on_stop:
        print("Google's emulator is not on this machine (Java and the Cloud SDK): measured on goldline's own server")
    command = [f"-Xmx{heap}" if part.startswith("-Xmx") else part for part in plan.command]
    started = [servers.launch(dataclasses.replace(plan, command=command), home)]
    started.append(servers.launch(servers.storage(home), home))
    try:
        for server in started:
            server.wait()
        firestore, storage = (server.plan.port for server in started)
        servers.post(storage, f"/storage/v1/b?project={servers.PROJECT}", {"name": BUCKET})
        yield {
            "FIRESTORE_EMULATOR_HOST": f"{servers.HOST}:{firestore}",
            "STORAGE_EMULATOR_HOST": f"http://{servers.HOST}:{storage}",
        }
    finally:
        for server in started:
            processes.stop(server.process)


def report(bench: Bench, sizes: Sizes) -> bool:
    """Measure everything and print the table; return whether all goals were reached."""
    written = bench.by_turns(["write_batches", "write_ours"], sizes.written, sizes.runs)
    bench.run("fill", sizes.documents)
    read = bench.by_turns(["naive", "ours", "drained"], sizes.documents, sizes.runs)
    parsed = bench.by_turns(["timestamps"], sizes.timestamps, sizes.runs)["timestamps"]
    bench.run("fill", sizes.many)
    many = bench.run("ours", sizes.many)
    few, plain, floor = read["ours"], read["naive"], read["drained"]
    client, raw = written["write_batches"], written["write_ours"]

    print(f"\n{'median of ' + str(sizes.runs):<34}{'naive':>10}{'ours':>10}{'drained':>10}")
    for title, key in (("documents/s", "rate"), ("processor us a document", "each"), ("peak MB", "peak")):
        print(
            f"{'export: ' + title:<34}" + "".join(f"{read[way][key]:>10,.0f}" for way in ("naive", "ours", "drained"))
        )
    print(f"{f'export of {sizes.many:,}: peak MB':<34}{'':>10}{many['peak']:>10,.0f}")
    print(f"{'writes/s, WriteBatch against ours':<34}{client['rate']:>10,.0f}{raw['rate']:>10,.0f}")
    print(f"{'mixed timestamps/s':<34}{'':>10}{parsed['rate']:>10,.0f}\n")

    is_long = sizes.many > sizes.documents
    goals = [
        ("export, times naive", few["rate"] / plain["rate"], 5.0, True),
        ("export, share of the drained rate", few["rate"] / floor["rate"], 0.7, True),
        ("processor time, share of naive's", few["each"] / plain["each"], 0.2, False),
        (f"peak MB of {max(sizes.many, sizes.documents):,} documents", max(many["peak"], few["peak"]), 400.0, False),
        ("peak MB, growth with the collection", abs(many["peak"] - few["peak"]) if is_long else 0.0, 60.0, False),
        ("writes, times WriteBatch", raw["rate"] / client["rate"], 3.0, True),
        ("million mixed timestamps/s", parsed["rate"] / 1e6, 1.5, True),
    ]
    reached = [value >= goal if is_least else value <= goal for _, value, goal, is_least in goals]
    for (title, value, goal, is_least), is_reached in zip(goals, reached, strict=True):
        bound = f"{'at least' if is_least else 'at most'} {goal:g}"
        print(f"{title:<38}{value:>8.2f}  {bound}{'' if is_reached else '  MISSED'}")
    return all(reached)


def main() -> int:
    """Measure and print; exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000, help="documents that all ways export")
    parser.add_argument("--many", type=int, default=500_000, help="documents of the export for peak memory")
    parser.add_argument("--written", type=int, default=20_000, help="documents of each measurement of writes")
    parser.add_argument("--timestamps", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5, help="runs of each way, whose median is printed")
    parser.add_argument("--heap", default="8g", help="Java heap of the emulator; 500,000 documents take 3 GB")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.size)
        return 0
    sizes = Sizes(options.documents, options.many, options.written, options.timestamps, options.runs)
    print(f"{described(PACKAGES)}\n{sizes}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="goldline-bench-") as home,
        serving(Path(home), options.heap) as environment,
    ):
        is_reached = report(Bench(environment), sizes)
    print(described(()))
    return 0 if is_reached else 1


if __name__ == "__main__":
    sys.exit(main())
