"""Runs a compiled spec with kfp.local, in a process of its own: `python -m goldline.local.runner FOLDER`.

kfp.local leaves `print`, the root logger and the cache of its process changed, so nothing else runs in it. What happens
is told as lines of JSON on standard output; what tasks print goes to a log each. In the folder lie pipeline.json, the
spec as it is run, and arguments.json.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# kfp.local does not know these two and hands them on as they are.
CREATED = "{{$.pipeline_job_create_time_utc}}"
SCHEDULED = "{{$.pipeline_job_schedule_time_utc}}"
GO = b"go"
NOT_SCHEDULED = "1970-01-01T00:00:00Z"


class Teller:
    """Tells what happens, a line of JSON each."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w")

    def tell(self, event: str, **content: Any) -> None:  # noqa: ANN401
        """One line."""
        self._out.write(json.dumps({"event": event, **content}) + "\n")
        self._out.flush()


class Tasks:
    """Stands where kfp.local executes a task: times it, logs it, and keeps the command that runs it again."""

    def __init__(self, folder: Path, teller: Teller) -> None:
        self.folder = folder
        self.teller = teller
        self._name = ""
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._reason = b""
        self._may_go_on = threading.Event()

    def execute(self, plain: Callable[..., Any], **arguments: Any) -> Any:  # noqa: ANN401
        """Execute one task. It is not tried again: what fails on one machine would fail so again."""
        from kfp.local.status import Status

        self._name = arguments["task_name"].replace("-", "_")
        if _lacks_artifacts(arguments["task_spec"], arguments["io_store"]):
            self.teller.tell("skipped", task=self._name)
            return {}, Status.FAILURE
        self._count += 1
        spec = type(arguments["task_spec"])()
        spec.CopyFrom(arguments["task_spec"])
        spec.ClearField("retry_policy")
        self.teller.tell("started", task=self._name)
        start = time.monotonic()
        outputs, status = plain(**{**arguments, "task_spec": spec})
        succeeded = status == Status.SUCCESS
        self._may_go_on.clear()
        self.teller.tell(
            "ended",
            task=self._name,
            status="succeeded" if succeeded else "failed",
            seconds=round(time.monotonic() - start, 1),
            folder=str(self._folder),
        )
        if not succeeded:
            self._may_go_on.wait()  # our parent looks whether a server is the reason, and mends it first
        return outputs, status

    def run_command(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run a task's command with its output in a log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        command = {"command": full_command, "environment": env_vars or {}}
        (self._folder / "command.json").write_text(json.dumps(command, indent=1), encoding="utf-8")
        with (self._folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                full_command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(env_vars or {})}
            )
            code = self._process.wait()
            log.write(self._reason)
            self._reason = b""
        return code

    def go_on(self) -> None:
        """After a failure: the next task may start."""
        self._may_go_on.set()

    def abort(self, reason: bytes) -> None:
        """End the task that runs now; the reason becomes its last words."""
        if self._process and self._process.poll() is None:
            self._reason = reason
            self._process.kill()

    @property
    def _folder(self) -> Path:
        return self.folder / "tasks" / f"{self._count:02d}-{self._name}"


def _lacks_artifacts(task_spec: Any, io_store: Any) -> bool:  # noqa: ANN401, kfp has no types
    """Whether a task that ignores failures before it (`.ignore_upstream_failure()`) has nothing to work on.

    kfp.local starts it all the same and crashes where it looks for what the failed task did not make.
    """
    for source in task_spec.inputs.artifacts.values():
        if made := source.task_output_artifact.producer_task:
            try:
                io_store.get_task_output(made, source.task_output_artifact.output_artifact_key)
            except ValueError:
                return True
    return False


def filled(spec: str, created: datetime) -> str:
    """The spec's text with the placeholders that kfp.local lacks filled in, as for a run that no schedule started."""
    return spec.replace(CREATED, created.strftime("%Y-%m-%dT%H:%M:%SZ")).replace(SCHEDULED, NOT_SCHEDULED)


def run(folder: Path) -> int:
    """Run the folder's spec; 1 if a task failed."""
    teller = Teller()
    created = datetime.now(UTC)
    tasks = Tasks(folder, teller)
    _obey_parent(tasks)
    from kfp import components, local
    from kfp.local import subprocess_task_handler
    from kfp.local.orchestrator import task_executor

    plain = task_executor.execute_single_task
    task_executor.execute_single_task = lambda **arguments: tasks.execute(plain, **arguments)
    subprocess_task_handler.run_local_subprocess = tasks.run_command
    # Settings that count on Vertex alone (resources, display names) and our image's name: nothing to warn of.
    warnings.filterwarnings("ignore", module=r"kfp\.local")
    spec = filled((folder / "pipeline.json").read_text(encoding="utf-8"), created)
    arguments = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "artifacts"), raise_on_error=True)
    chatter = _Chatter(teller, folder / "kfp.log")
    with redirect_stdout(chatter):
        try:
            components.load_component_from_text(spec)(**arguments)
        except RuntimeError as error:
            teller.tell("failed", error=_plain(str(error)))
            return 1
    return 0


class _Chatter(io.TextIOBase):
    """kfp.local's own words: kept in a file, out of the way; told when it skips a task."""

    _SKIPPED = re.compile(r"Skipping task (\S+): upstream")

    def __init__(self, teller: Teller, log: Path) -> None:
        self._teller = teller
        self._log = log.open("w", encoding="utf-8")

    def write(self, text: str) -> int:
        self._log.write(_plain(text))
        if found := self._SKIPPED.search(text):
            self._teller.tell("skipped", task=found[1].replace("-", "_"))
        return len(text)

    def flush(self) -> None:
        self._log.flush()


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


def _obey_parent(tasks: Tasks) -> None:
    """Standard input says `go`, or why the task that runs must end; its end means that our parent is gone."""

    def watch() -> None:
        with os.fdopen(os.dup(0), "rb") as orders:  # not sys.stdin: its lock would be held when this process ends
            for order in orders:
                if order.strip() == GO:
                    tasks.go_on()
                else:
                    tasks.abort(order)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
