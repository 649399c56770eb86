"""Time of `goldline run` beside `goldline run --isolated`, and of the commands that check one change.

`make bench-run` runs, by turns and each on a stack of its own in a temporary folder: the pipeline with all flows for a
date that has run before, and for a date and a seed that never have. Then, on a stack that is up: one flow, one table by
`--select`, and the unit tests of one table: all of them, one that was edited, and again without a change. The medians
of ROUNDS are compared with the GOALS; exit code 1 where one is missed, or where a run had other tasks or published
other rows than the isolated one.

`--beside FOLDER` names another checkout, installed in its .venv: its runs are timed by turns with the others, for how
`--isolated` compares with it.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench.machine import described
from bench.processor_time import adopt_orphans, processor_seconds
from goldline.local.sqltest.memory import FOLDER as REMEMBERED
from goldline.project import root

ROUNDS = 3
DATE = date(2026, 11, 17)  # a Tuesday: models are trained in the first run alone
PACKAGES = ("kfp", "local-bigquery", "duckdb", "google-cloud-bigquery", "google-cloud-firestore")
ISOLATED, OTHER = "isolated", "other"


@dataclass(frozen=True)
class Goal:
    """Upper bound of a median.

    Attributes:
        case: name of what was timed.
        seconds: by the clock, at most; None: any.
        ratio: of the isolated run's seconds, at most; None: any.
        processor: processor seconds, servers included, at most; None: any.
    """

    case: str
    seconds: float | None = None
    ratio: float | None = None
    processor: float | None = None


GOALS = (
    Goal("all flows, second run of a date", ratio=0.45, processor=80),
    Goal("all flows, date and seed never run"),
    Goal("--flows startups, stack up", seconds=5),
    Goal("--select fct_sales, stack up", seconds=3),
    Goal("test stg_sales, stack up", processor=3),
    Goal("test stg_sales again, one case edited"),
    Goal("test stg_sales again, nothing changed"),
)
SECOND, NEW, FLOW, SELECT, TEST, EDITED, SAME = (goal.case for goal in GOALS)


@dataclass(frozen=True)
class Timed:
    """One timed command; its tasks, and rows of the tables that it published, if it ran any."""

    seconds: float
    processor: float
    tasks: frozenset[str] = frozenset()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass
class Way:
    """One way to run: a checkout's goldline with options of its own, its stack's folder, and the times it took."""

    name: str
    checkout: Path
    options: Sequence[str]
    home: Path
    times: dict[str, list[Timed]] = field(default_factory=lambda: defaultdict(list))

    def run(self, case: str, *options: str, home: Path | None = None) -> None:
        """Run the pipeline, and keep the time, if the case has a name."""
        home = home or self.home
        timed = self._timed(home, "run", *self.options, *options)
        summary: dict[str, Any] = json.loads((home / "runs" / "latest" / "summary.json").read_text(encoding="utf-8"))
        columns = "name", "selected", "published", "rejected", "superseded", "rows"
        rows = tuple(sorted(tuple(str(table[c]) for c in columns) for table in summary["tables"]))
        tasks = frozenset(task["name"] for task in summary["tasks"])
        self._keep(case, Timed(timed.seconds, timed.processor, tasks, rows))

    def test(self, table: str) -> None:
        """Run the unit tests of a table: all of them, without one that is remembered, and none."""
        remembered = self.home / REMEMBERED / f"{table}.json"
        remembered.unlink(missing_ok=True)
        self._keep(TEST, self._timed(self.home, "test", table.partition(".")[2]))
        remembered.write_text(json.dumps(json.loads(remembered.read_text(encoding="utf-8"))[:-1]), encoding="utf-8")
        self._keep(EDITED, self._timed(self.home, "test", table.partition(".")[2]))
        self._keep(SAME, self._timed(self.home, "test", table.partition(".")[2]))

    @contextmanager
    def up(self) -> Iterator[None]:
        """Hold the stack up within the block."""
        self._timed(self.home, "up")
        try:
            yield
        finally:
            self._timed(self.home, "down")

    def median(self, case: str, what: str) -> float:
        """Median of a case's seconds or processor seconds."""
        return float(statistics.median(getattr(timed, what) for timed in self.times[case]))

    def _keep(self, case: str, timed: Timed) -> None:
        if case:
            self.times[case].append(timed)
            print(f"{case:<38}{self.name:<10}{timed.seconds:>8.1f} s{timed.processor:>8.1f} s processor", flush=True)

    def _timed(self, home: Path, *command: str) -> Timed:
        environment = {**os.environ, "GOLDLINE_HOME": str(home)}
        before, start = processor_seconds(), time.monotonic()
        done = subprocess.run(
            [str(self.checkout / ".venv" / "bin" / "goldline"), *command],
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        timed = Timed(time.monotonic() - start, processor_seconds() - before)
        if done.returncode:
            raise RuntimeError(f"goldline {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return timed


def measure(ways: Sequence[Way], folder: Path, rounds: int) -> None:
    """Time all cases, the ways by turns."""
    for way in ways:
        way.run("", f"--run-date={DATE}")
    for number in range(1, rounds + 1):
        for way in ways:
            way.run(SECOND, f"--run-date={DATE}")
        for way in ways:
            fresh = folder / f"{way.name}-{number}"
            way.run(NEW, f"--run-date={DATE + timedelta(days=number)}", f"--seed={100 + number}", home=fresh)
            shutil.rmtree(fresh)
    with ExitStack() as stacks:
        ours = [way for way in ways if way.name != OTHER]
        for way in ours:
            stacks.enter_context(way.up())
        for _ in range(rounds):
            for way in ours:
                way.run(FLOW, f"--run-date={DATE}", "--flows=startups")
            for way in ours:
                way.run(SELECT, f"--run-date={DATE}", "--select=fct_sales")
            ours[0].test("silver.stg_sales")


def report(ours: Way, isolated: Way, other: Way | None) -> list[str]:
    """Print the medians; return what missed its goal."""
    print(f"\n{'median':<38}{'seconds':>9}{'isolated':>10}{'ratio':>7}{'processor':>11}{'isolated':>10}")
    missed = []
    for goal in GOALS:
        seconds, processor = (ours.median(goal.case, what) for what in ("seconds", "processor"))
        line = f"{goal.case:<38}{seconds:>9.1f}"
        ratio = None
        if goal.case in isolated.times:
            ratio = seconds / isolated.median(goal.case, "seconds")
            line += f"{isolated.median(goal.case, 'seconds'):>10.1f}{ratio:>7.2f}{processor:>11.1f}"
            line += f"{isolated.median(goal.case, 'processor'):>10.1f}"
        else:
            line += f"{'':>17}{processor:>11.1f}"
        print(line)
        for found, most, unit in (
            (seconds, goal.seconds, "s"),
            (ratio, goal.ratio, "of the isolated run"),
            (processor, goal.processor, "s of processor"),
        ):
            if found is not None and most is not None and found > most:
                missed.append(f"{goal.case}: {found:.2f} {unit}, at most {most} is the goal")
        if goal.case in isolated.times and _outcome(ours, goal.case) != _outcome(isolated, goal.case):
            missed.append(f"{goal.case}: other tasks or rows than those of the isolated run")
    if other:
        for case in (SECOND, NEW):
            ratio = isolated.median(case, "seconds") / other.median(case, "seconds")
            print(f"{case}: isolated {ratio:.2f} of the other checkout's {other.median(case, 'seconds'):.1f} s")
    return missed


def _outcome(way: Way, case: str) -> list[tuple[Any, ...]]:
    return [(timed.tasks, timed.rows) for timed in way.times[case]]


def main() -> int:
    """Measure and print; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="times that each is timed; the median counts")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout to time by turns")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that stacks and folders go
    adopt_orphans()
    print(described(PACKAGES))
    with tempfile.TemporaryDirectory(prefix="goldline-bench-") as name:
        folder = Path(name)
        ours = Way("forks", root(), [], folder / "forks")
        isolated = Way(ISOLATED, root(), ["--isolated"], folder / ISOLATED)
        other = Way(OTHER, options.beside.resolve(), [], folder / OTHER) if options.beside else None
        measure([ours, isolated, *([other] if other else [])], folder, options.rounds)
        missed = report(ours, isolated, other)
    print(f"load {os.getloadavg()[0]:.1f} at the end", *missed, sep="\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
