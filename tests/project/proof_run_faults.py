"""A failure, a kill -9 and a dead server in each kind of task, side by side with others and one after the other.

`make proof-run-faults` runs it: half an hour, so it is no part of `make test-all`. Each case has datasets of its own. A
fault ends a run in the same statuses whether tasks run side by side or not, and `goldline resume` brings it to the same
tables as an undisturbed run. A dead server is different in one thing: it also fails the tasks that ran beside.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from goldline.local import stack
from tests.project.test_any_order import DAY, SMALL
from tests.support.project_copy import copied
from tests.support.run_outcome import SECONDS, goldline, tables

WAYS = {"side by side": ["--parallel=3"], "one by one": ["--parallel=1"]}
TASKS = ["prepare_run", "generate_sales", "export_firestore", "stg_sales", "train_churn", "evaluate_churn"]
TASKS += ["fct_churn_predictions", "download_gtfs", "load_month", "finish_run"]
RUN = ["run", DAY, SMALL, "--flows=sales,transit", "--train=yes"]


@dataclass
class Place:
    """A copy of the project with a stack, and what an undisturbed run leaves."""

    folder: Path
    home: Path
    spec: str
    undisturbed: dict[str, list[str]] = field(default_factory=dict)

    def plant(self, task: str | None) -> None:
        """Put a spec in which the task's code raises, or the sound one, in the place of the compiled one."""
        spec = json.loads(self.spec)
        if task:
            label = spec["components"][f"comp-{task.replace('_', '-')}"]["executorLabel"]
            command = spec["deploymentSpec"]["executors"][label]["container"]["command"]
            command[3] = f"raise RuntimeError('planted')\n{command[3]}"
        (self.folder / "pipeline.json").write_text(json.dumps(spec), encoding="utf-8")

    def disturbed(self, task: str, fault: str, way: str, prefix: str) -> tuple[int, dict[str, str]]:
        """Run with a fault in a task: exit code, and status of each task."""
        if fault == "failure":
            self.plant(task)
        process = subprocess.Popen(
            [sys.executable, "-m", "goldline.cli", *RUN, *WAYS[way], "--json", f"--dataset-prefix={prefix}"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "GOLDLINE_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        found: dict[str, str] = {}
        with process:
            for event in map(json.loads, process.stdout or ()):
                match event:
                    case {"event": "started", "task": name, "folder": folder} if name == task:
                        self._hurt(fault, Path(folder))
                    case {"event": "ended", "task": name, "status": status}:
                        found[name] = status
                    case {"event": "skipped", "task": name}:
                        found[name] = "skipped"
        self.plant(None)
        return process.returncode, found

    def _hurt(self, fault: str, folder: Path) -> None:
        if fault == "kill -9":
            log, end = folder / "log.txt", time.monotonic() + SECONDS
            while not (found := [int(p.name) for p in Path("/proc").glob("[0-9]*") if _writes(p, log)]):
                assert time.monotonic() < end
            for pid in found:
                os.kill(pid, signal.SIGKILL)
        if fault == "dead server":
            running = stack.running(self.home)
            assert running
            os.kill(running.pids["bigquery"], signal.SIGKILL)

    def content(self, prefix: str) -> dict[str, list[str]]:
        """Rows of the tables with a prefix; those that tell of all runs, or show all attempts, aside."""
        return {n: r for n, r in tables(self.home, prefix).items() if not n.startswith(("ops.", "bronze.ext_"))}


def _writes(process: Path, log: Path) -> bool:
    try:
        return (process / "fd" / "2").readlink() == log
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = copied(tmp_path_factory.mktemp("project"))
    made = Place(folder, tmp_path_factory.mktemp("home"), (folder / "pipeline.json").read_text(encoding="utf-8"))
    made.plant(None)
    stack.up(made.home)
    try:
        done = goldline(made.home, *RUN, "--dataset-prefix=sound_", folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        made.undisturbed = made.content("sound_")
        yield made
    finally:
        stack.down(made.home)


@pytest.mark.timeout(SECONDS * 4)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("fault", ["failure", "kill -9", "dead server"])
def test_a_fault_ends_alike_and_the_run_is_taken_up(place: Place, fault: str, task: str) -> None:
    ends = {}
    for number, way in enumerate(WAYS):
        prefix = f"{fault[0]}{number}_{task}_"
        code, ends[way] = place.disturbed(task, fault, way, prefix)
        assert code == 1
        if fault != "dead server":  # a task that does not ask the server that died may succeed
            assert ends[way][task] == "failed"
        assert ends[way]["finish_run"] == ("failed" if task == "finish_run" else "succeeded")
        done = goldline(place.home, "resume", *WAYS[way], folder=place.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        found = place.content(prefix)
        assert {n: (set(found[n]) ^ set(rows)) for n, rows in place.undisturbed.items() if found[n] != rows} == {}
    if fault != "dead server":
        assert ends["side by side"] == ends["one by one"]
    print(f"{fault} in {task}: {sum(s == 'skipped' for s in ends['one by one'].values())} tasks skipped, then taken up")
