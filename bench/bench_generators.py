"""Records a second of each generator, compared with the obvious way, and peak memory of each generator.

Each measurement is a process of its own, on one core. It measures CPU time, which other load changes little, from the
first record to the last byte of the last file. Ours and the plain loop are run by turns; the best of three tries
counts. Ours also writes the truth beside the records, the plain loop does not.
"""

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from bench import plain_generators as plain
from bench.machine import described
from components.clickstream.generate_clickstream.click_files import LINES_A_FILE_MAX, write_day
from components.clickstream.generate_clickstream.visits import Shop
from components.simulation.folder import Folder
from components.startups.generate_startups.startup_files import LINES_A_FILE, write_load
from components.startups.generate_startups.startup_register import STARTUPS, Register
from goldline.lake import Lake
from goldline.privacy.pseudonym import Key

DAY = datetime.date(2026, 11, 20)
TIMES_GOAL, MEMORY_GOAL = 20, 50  # times as fast as the plain loop; MB that a longer run may take more
PACKAGES = ("faker", "isal", "numpy", "pyarrow")


class Disk(Lake):
    """Folder in the place of a lake, so that no server is measured."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Stream into a new file."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            yield stream


def clickstream(records: int, root: Path) -> int:
    """Write a day of the simulated tracker; return the number of events."""
    return write_day(Folder(Disk(root), "clickstream"), Shop(7, records, 2000), DAY, LINES_A_FILE_MAX)["events"]


def startups(records: int, root: Path) -> int:
    """Write a full load of the simulated register; return the number of changes."""
    register = Register(7, records * 100 // STARTUPS, DAY)
    return write_load(Folder(Disk(root), "startups"), register, 0, Key("1", bytes(32)), LINES_A_FILE)["changes"]


def _plain(make: Callable[[int, Path], None]) -> Callable[[int, Path], int]:
    def count(records: int, root: Path) -> int:
        make(records, root / "plain")
        return records

    return count


WORKS = {
    "clickstream": clickstream,
    "startups": startups,
    "plain clickstream": _plain(plain.clickstream),
    "plain startups": _plain(plain.startups_load),
}


def measure(work: str, records: int) -> None:
    """Run a generator in this process; print records a CPU second and peak memory in MiB as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as root:
        WORKS[work](100, Path(root))  # warms up what is made once
        start = time.process_time()
        made = WORKS[work](records, Path(root))
        seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": made / seconds, "peak": peak}))


def measured(work: str, records: int) -> dict[str, Any]:
    """Run `measure` in a process of its own; return its numbers."""
    command = [sys.executable, "-m", "bench.bench_generators", "--work", work, "--records", str(records)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


def main() -> None:
    """Measure all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500_000, help="records that a generator makes for its speed")
    parser.add_argument("--plain", type=int, default=20_000, help="records that the plain loop makes")
    parser.add_argument("--memory", type=int, nargs=2, default=(100_000, 2_000_000), help="records, few and many")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--work", choices=WORKS, help="measure only this, in this process")
    args = parser.parse_args()
    if args.work:
        measure(args.work, args.records)
        return
    print(described(PACKAGES))
    print(f"\n{'records a second':20}{'ours':>12}{'plain loop':>12}{'times':>8}   goal {TIMES_GOAL}")
    for name in ("clickstream", "startups"):
        ours = loop = 0.0
        for _ in range(args.tries):
            ours = max(ours, measured(name, args.records)["rate"])
            loop = max(loop, measured(f"plain {name}", args.plain)["rate"])
        print(f"{name:20}{ours:12,.0f}{loop:12,.0f}{ours / loop:8.1f}   {_verdict(ours / loop >= TIMES_GOAL)}")
    few, many = args.memory
    print(f"\n{'peak memory, MB':20}{few:12,}{many:12,}{'more':>8}   goal {MEMORY_GOAL}")
    for name in ("clickstream", "startups"):
        low, high = (measured(name, records)["peak"] for records in (few, many))
        print(f"{name:20}{low:12.0f}{high:12.0f}{high - low:8.0f}   {_verdict(high - low <= MEMORY_GOAL)}")


def _verdict(reached: bool) -> str:
    return "reached" if reached else "missed"


if __name__ == "__main__":
    main()
