"""Runner of a compiled spec with kfp.local: `python -m goldline.local.runner FOLDER`.

kfp.local changes `print`, the root logger and the cache of its process, so it gets a process of its own. FOLDER holds
pipeline.json, the spec to run, and arguments.json, its parameters. Orders come on standard input and events go to
standard output, one JSON line each; each task's output goes to a log.

The first order is {"begin": ENVIRONMENT}, with what leads the tasks to the stack, which starts while this process
imports. {"go_on": true} follows each failed task, {"abort": REASON} ends those that run. The end of standard input
means that our parent is gone.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from goldline.local import fork_server
from goldline.local.fork_server import SOCKET, Request
from goldline.local.selection import Plan
from goldline.local.task_order import Slots, chain_lengths

# Placeholders that kfp.local does not fill in.
CREATED = "{{$.pipeline_job_create_time_utc}}"
SCHEDULED = "{{$.pipeline_job_schedule_time_utc}}"
JOB = "job.json"  # the run's name and the time of its first start, which a run that is taken up again keeps
EXECUTOR = "kfp.dsl.executor_main"  # module that runs a lightweight component
NOT_SCHEDULED = "1970-01-01T00:00:00Z"


class Teller:
    """Events as JSON lines on standard output."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        self._lock = threading.Lock()

    def tell(self, event: str, **content: Any) -> None:  # noqa: ANN401
        """Write one event."""
        with self._lock:  # tasks tell from threads of their own
            self._out.write(json.dumps({"event": event, **content}) + "\n")
            self._out.flush()


class Process(Protocol):
    """The process of a task."""

    def wait(self) -> int:
        """Wait until it ends; its exit code, negative for a signal."""

    def kill(self) -> None:
        """End it at once."""


@dataclass
class RunningTask:
    """One task under way.

    Attributes:
        folder: its own: command.json runs it again, log.txt holds what it prints.
        process: its process, once it has started.
        reason: why it was ended, if it was: its last words.
    """

    name: str
    folder: Path
    process: Process | None = None
    reason: str = ""


class Tasks:
    """Execution of tasks in kfp.local's place: times and logs each, and keeps the command that runs it again.

    Each task runs on a thread of its own, at most `parallel` of them at a time.
    """

    def __init__(self, folder: Path, teller: Teller, parallel: int, *, is_isolated: bool) -> None:
        self.folder = folder
        self.teller = teller
        self.is_isolated = is_isolated
        self.environment: Mapping[str, str] = {}
        self.ranks: Mapping[str, int] = {}
        self.plan = Plan.of(folder)
        self._cwd = str(Path.cwd())
        self._slots = Slots(parallel)
        self._here = threading.local()
        self._lock = threading.Lock()
        self._running: dict[str, RunningTask] = {}
        self._count = len(list((folder / "tasks").glob("*")))  # those of a run that is taken up again
        self._looked_after = threading.Semaphore(0)

    def execute(self, plain: Callable[..., Any], **arguments: Any) -> Any:  # noqa: ANN401
        """Execute one task, once: what fails on one machine would fail so again."""
        from kfp.local.status import Status

        name = arguments["task_name"].replace("-", "_")
        if not self.plan.executes(arguments["task_spec"].component_ref.name):
            return _earlier_outputs(self.plan, arguments), Status.SUCCESS
        spec = type(arguments["task_spec"])()
        spec.CopyFrom(arguments["task_spec"])
        spec.ClearField("retry_policy")
        with self._slots.taken(self.ranks.get(arguments["task_name"], 0)), self._task(name) as task:
            self.teller.tell("started", task=name, folder=str(task.folder))
            start = time.monotonic()
            outputs, status = plain(**{**arguments, "task_spec": spec})
            seconds, succeeded = round(time.monotonic() - start, 1), status == Status.SUCCESS
            ended = "succeeded" if succeeded else "failed"
            self.teller.tell("ended", task=name, status=ended, seconds=seconds, folder=str(task.folder))
            if not succeeded:
                self._looked_after.acquire()  # our parent looks whether a server is the reason, and mends it first
        return outputs, status

    def run_command(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run the command of this thread's task with its output in a log."""
        task: RunningTask = self._here.task
        command = {"command": full_command, "environment": env_vars or {}}
        (task.folder / "command.json").write_text(json.dumps(command, indent=1), encoding="utf-8")
        task.process = self._start(full_command, env_vars or {}, task.folder)
        code = task.process.wait()
        if task.reason:
            with (task.folder / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"{task.reason}\n")
        if not code:
            shutil.rmtree(task.folder / "tmp")
        return code

    def skip(self, name: str) -> None:
        """Tell that a task is skipped, unless it was not selected anyway."""
        if not self.plan.wanted or name in self.plan.wanted:
            self.teller.tell("skipped", task=name.replace("-", "_"))

    def go_on(self) -> None:
        """After a failure: the tasks that wait for it may go on."""
        self._looked_after.release()

    def abort(self, reason: str) -> None:
        """End the tasks that run now; the reason becomes their last words."""
        with self._lock:
            for task in self._running.values():
                if task.process:
                    task.reason = reason
                    task.process.kill()

    def _start(self, command: list[str], environment: dict[str, str], folder: Path) -> Process:
        """Start a task's command, as a fork where it is that of a lightweight component."""
        (folder / "tmp").mkdir()
        values = {**os.environ, **self.environment, **environment, "TMPDIR": str(folder / "tmp")}
        with (folder / "log.txt").open("wb") as log:
            if not self.is_isolated and command[:2] == ["sh", "-ec"] and EXECUTOR in command[2]:
                source = folder / "tmp" / "ephemeral_component.py"
                source.write_text(command[3], encoding="utf-8")
                arguments = ["--component_module_path", str(source), *command[4:]]
                with open(os.devnull, "rb") as nothing:  # noqa: PTH123, a descriptor is wanted
                    files = nothing.fileno(), log.fileno(), log.fileno()
                    request = Request(EXECUTOR, arguments, values, self._cwd)
                    forked = fork_server.fork(Path(SOCKET), request, files)
                if forked is None:
                    raise RuntimeError("the fork server of this run has ended")
                return forked
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=values, cwd=self._cwd)

    @contextmanager
    def _task(self, name: str) -> Iterator[RunningTask]:
        with self._lock:
            self._count += 1
            task = self._running[name] = RunningTask(name, self.folder / "tasks" / f"{self._count:02d}-{name}")
        task.folder.mkdir(parents=True, exist_ok=True)
        self._here.task = task
        try:
            yield task
        finally:
            with self._lock:
                del self._running[name]


def _earlier_outputs(plan: Plan, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of a task that is left out, as it last made them; none if it never ran."""
    from kfp.local import executor_input_utils, executor_output_utils

    if (folder := plan.results.get(arguments["task_name"])) is None:
        return {}
    component = arguments["components"][arguments["task_spec"].component_ref.name]
    given = executor_input_utils.construct_executor_input(component, {}, folder, block_input_artifact=False)
    outputs: dict[str, Any] = executor_output_utils.get_outputs_for_task(given, component)
    return outputs


def filled(spec: str, created: datetime) -> str:
    """The spec's text with the placeholders that kfp.local lacks filled in, as for a run that no schedule started."""
    return spec.replace(CREATED, created.strftime("%Y-%m-%dT%H:%M:%SZ")).replace(SCHEDULED, NOT_SCHEDULED)


def run(folder: Path, parallel: int, *, is_isolated: bool, shuffle: int | None = None) -> int:
    """Run the folder's spec; 1 if a task failed.

    Args:
        folder: holds pipeline.json and arguments.json.
        parallel: tasks at a time, at most.
        is_isolated: whether each task is a new Python instead of a fork of a warm process.
        shuffle: seed of a random order of the tasks that are ready; None: those first that most wait for.
    """
    teller = Teller()
    tasks = Tasks(folder, teller, parallel, is_isolated=is_isolated)
    os.chdir(folder)  # the path of a socket must be short
    (folder / "tmp").mkdir(exist_ok=True)
    tempfile.tempdir = str(folder / "tmp")  # kfp's workspace
    if not is_isolated:
        fork_server.preload()
        fork_server.fork_server_of_this_process(Path(SOCKET))  # while there is one thread
    dice = None if shuffle is None else random.Random(shuffle)  # noqa: S311, an order to test
    _prepare_kfp(tasks, teller, dice)
    from kfp import components, local

    text = (folder / "pipeline.json").read_text(encoding="utf-8")
    tasks.ranks = chain_lengths(json.loads(text))
    if dice:
        tasks.ranks = {name: dice.randrange(len(tasks.ranks)) for name in tasks.ranks}
    arguments = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "artifacts"), raise_on_error=True)
    orders = os.fdopen(os.dup(0), "rb")  # never closed: the thread that reads it holds its lock
    if not (begin := orders.readline()):
        return 1  # our parent has ended
    tasks.environment = json.loads(begin)["begin"]
    threading.Thread(target=_obey, args=(orders, tasks), daemon=True).start()
    created = _name_job(folder / JOB, json.loads(text)["pipelineInfo"]["name"])
    with (folder / "kfp.log").open("a", encoding="utf-8") as chatter, redirect_stdout(chatter):
        try:
            components.load_component_from_text(filled(text, created))(**arguments)
        except RuntimeError as error:
            teller.tell("failed", error=_plain(str(error)))
            return 1
    return 0


def _name_job(file: Path, pipeline: str) -> datetime:
    """Name the job, as kfp does, or as it was named before; the time of its first start."""
    from kfp.local import executor_input_utils

    if not file.exists():
        name = executor_input_utils.get_local_pipeline_resource_name(pipeline)
        file.write_text(json.dumps({"name": name, "created": datetime.now(UTC).isoformat()}), encoding="utf-8")
    job = json.loads(file.read_text(encoding="utf-8"))
    executor_input_utils.get_local_pipeline_resource_name = lambda _: job["name"]
    return datetime.fromisoformat(job["created"])


def _prepare_kfp(tasks: Tasks, teller: Teller, dice: random.Random | None) -> None:
    """Put what is ours in the place of what kfp.local does its own way."""
    from kfp.local import logging_utils, subprocess_task_handler
    from kfp.local.orchestrator import task_executor

    from goldline.local import parallel_dag

    plain = task_executor.execute_single_task
    task_executor.execute_single_task = lambda **arguments: tasks.execute(plain, **arguments)
    subprocess_task_handler.run_local_subprocess = tasks.run_command
    parallel_dag.install(
        skipped=tasks.skip,
        executes=tasks.plan.executes,
        order=sorted if dice is None else lambda names: dice.sample(found := sorted(names), len(found)),
    )
    # They change `print` and the root logger for the time of a task, which threads must not do to each other.
    logging_utils.indented_print = nullcontext
    logging_utils.local_logger_context = nullcontext
    # Settings that count on Vertex alone (resources, display names) and our image's name: nothing to warn of.
    warnings.filterwarnings("ignore", module=r"kfp\.local")


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


def _obey(orders: BinaryIO, tasks: Tasks) -> None:
    """Follow our parent's orders, and end with it."""
    for order in map(json.loads, orders):
        if "abort" in order:
            tasks.abort(order["abort"])
        else:
            tasks.go_on()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> int:
    """Run the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--isolated", action="store_true")
    parser.add_argument("--shuffle", type=int)
    options = parser.parse_args()
    return run(options.folder, options.parallel, is_isolated=options.isolated, shuffle=options.shuffle)


if __name__ == "__main__":
    sys.exit(main())
