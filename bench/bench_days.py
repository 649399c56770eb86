"""Time of the next day's run after a short history and after one ten times as long.

`make bench-days` runs the flow sales, by `goldline run`, for two shops of the same customers, each on its own stack in
a temporary folder. The first run of each builds the history. Then both run the days after it by turns, so that other
load on the machine slows both alike. Cost must grow with the day, not with the history: the longer history's day may
take at most `RATIO_MAX` times as long. CPU seconds of tasks and servers are printed too, since they depend less on
other load.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench.machine import described
from bench.processor_time import adopt_orphans, processor_seconds
from components.sales.generate_sales.sales_documents import generate_sales
from components.simulation import CUSTOMERS
from goldline.local import stack
from goldline.local.servers import PROJECT
from goldline.runs.context import RunContext

HISTORIES = (36, 360)  # days
# A past Tuesday: the days after it are plain ones, without a Sunday's sweep of the collection or a Monday's training;
# and no watermark is later than the machine's clock.
LAST = date(2025, 11, 18)
RATIO_MAX = 1.3
PACKAGES = ("kfp", "local-bigquery", "duckdb", "google-cloud-bigquery", "google-cloud-firestore")
Seconds = Mapping[str, float]  # by task


class Shop:
    """Simulated shop, the stack of its runs, and the time that its days took."""

    def __init__(self, home: Path, history: int, size: str) -> None:
        self.home = home
        self.size = size
        self.history = history
        self.days: list[Seconds] = []
        self.cpu: list[float] = []
        self.sales = 0

    def fill(self, use: stack.Use) -> None:
        """Write the history's sales: the simulator of a run finds the collection, and adds its own days."""
        run = RunContext(run_id="bench", run_date=LAST, since={}, project=PROJECT, location="US", bucket=stack.BUCKET)
        with use.leading():
            generate_sales(run, "sales", "(default)", run.seed, self.history, CUSTOMERS[self.size])

    def add(self, day: date) -> None:
        """Run a day and keep its times. Neither shop trains, since the short history is too short for it."""
        before = processor_seconds()
        self.days.append(self.run(day, "no"))
        self.cpu.append(processor_seconds() - before)
        seconds = sum(self.days[-1].values())
        print(f"{day} after {self.history} days: {seconds:.1f} s, CPU {self.cpu[-1]:.1f} s", flush=True)

    def run(self, day: date, train: str) -> Seconds:
        """Run the flow once; return the seconds of each task."""
        options = {"run-date": day, "flows": "sales", "train": train, "simulated-size": self.size}
        done = subprocess.run(
            [sys.executable, "-m", "goldline.cli", "run", *(f"--{name}={value}" for name, value in options.items())],
            env={**os.environ, "GOLDLINE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the run of {day} after {self.history} days failed:\n{done.stdout}{done.stderr}")
        summary: dict[str, Any] = json.loads((self.home / "runs" / "latest" / "summary.json").read_text("utf-8"))
        self.sales = next(t["rows"] for t in summary["tables"] if t["name"] == "gold.fct_sales")
        return {task["name"]: task["seconds"] for task in summary["tasks"]}

    def median(self, task: str) -> float:
        """Median seconds of a task over all days."""
        return statistics.median(day.get(task, 0.0) for day in self.days)

    @property
    def total(self) -> float:
        """Seconds of all tasks on the median day."""
        return statistics.median(sum(day.values()) for day in self.days)


def measure(shops: Sequence[Shop], days: int) -> None:
    """Build each shop's history, then run the days after it by turns."""
    for shop in shops:
        seconds = shop.run(LAST, "auto")
        print(f"a history of {shop.history} days, {shop.sales:,} sales: {sum(seconds.values()):.1f} s", flush=True)
    for number in range(1, days + 1):
        for shop in shops:
            shop.add(LAST + timedelta(days=number))


def report(shops: Sequence[Shop]) -> float:
    """Print the table; return the ratio of the longer history's day to the shorter one's."""
    short, long = shops
    print(f"\n{'the next day, median of ' + str(len(short.days)):<28}{'seconds after':>18}")
    print(f"{'':<28}{short.history:>8} d{long.history:>8} d{'ratio':>8}")
    for task in long.days[0]:
        print(_line(task, short.median(task), long.median(task)))
    print(_line("all tasks", short.total, long.total))
    print(_line("CPU", statistics.median(short.cpu), statistics.median(long.cpu)))
    return long.total / short.total


def _line(name: str, short: float, long: float) -> str:
    return f"{name:<28}{short:>10.1f}{long:>10.1f}{long / short if short else float('nan'):>8.2f}"


def main() -> int:
    """Measure and print; exit code 1 if the ratio is above RATIO_MAX."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(CUSTOMERS), default="small", help="size of each shop by its customers")
    parser.add_argument("--days", type=int, default=3, help="days to run after the history, at most 4: no sweep")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that stacks and folders go
    adopt_orphans()
    print(f"{described(PACKAGES)}\n{CUSTOMERS[options.size]:,} customers")
    with tempfile.TemporaryDirectory(prefix="goldline-bench-") as folder, contextlib.ExitStack() as stacks:
        shops = [Shop(Path(folder) / f"{history}-days", history, options.size) for history in HISTORIES]
        for shop in shops:
            shop.fill(stacks.enter_context(stack.using(shop.home)))
        measure(shops, options.days)
        ratio = report(shops)
    print(f"load {os.getloadavg()[0]:.1f} at the end\nratio {ratio:.2f}, at most {RATIO_MAX} is allowed")
    return int(ratio > RATIO_MAX)


if __name__ == "__main__":
    sys.exit(main())
