"""Runner of a compiled spec with kfp.local: `python -m goldline.local.runner FOLDER`.

kfp.local changes `print`, the root logger and the cache of its process, so it gets a process of its own. Events go to
standard output, one JSON line each; each task's output goes to a log. FOLDER holds pipeline.json, the spec to run, and
arguments.json, its parameters.
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

# Placeholders that kfp.local does not fill in.
CREATED = "{{$.pipeline_job_create_time_utc}}"
SCHEDULED = "{{$.pipeline_job_schedule_time_utc}}"
GO = b"go"
NOT_SCHEDULED = "1970-01-01T00:00:00Z"


class Teller:
    """Writer of events: one JSON line each, on the standard output that the process began with."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w")

    def tell(self, event: str, **content: Any) -> None:  # noqa: ANN401
        """Write one event."""
        self._out.write(json.dumps({"event": event, **content}) + "\n")
        self._out.flush()


class Tasks:
    """Execution of tasks in kfp.local's place: times and logs each, and keeps the command that runs it again."""

    def __init__(self, folder: Path, teller: Teller) -> None:
        self.folder = folder
        self.teller = teller
        self._name = ""
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._reason = b""
        self._may_go_on = threading.Event()

    def execute(self, plain: Callable[..., Any], **arguments: Any) -> Any:  # noqa: ANN401
        """Execute one task with kfp.local's own function `plain`; no retries: on one machine it would fail again."""
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
            self._may_go_on.wait()  # until the parent has checked the servers and restarted dead ones
        return outputs, status

    def run_command(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run a task's command, with its output in the task's log.txt; returns its exit code."""
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
        """Let the next task start after a failure."""
        self._may_go_on.set()

    def abort(self, reason: bytes) -> None:
        """Kill the running task, and write the reason at the end of its log."""
        if self._process and self._process.poll() is None:
            self._reason = reason
            self._process.kill()

    @property
    def _folder(self) -> Path:
        return self.folder / "tasks" / f"{self._count:02d}-{self._name}"


def _lacks_artifacts(task_spec: Any, io_store: Any) -> bool:  # noqa: ANN401, kfp has no types
    """Whether a task with `.ignore_upstream_failure()` lacks an input artifact, because the task that makes it failed.

    kfp.local would start it all the same and crash.
    """
    for source in task_spec.inputs.artifacts.values():
        if made := source.task_output_artifact.producer_task:
            try:
                io_store.get_task_output(made, source.task_output_artifact.output_artifact_key)
            except ValueError:
                return True
    return False


def filled(spec: str, created: datetime) -> str:
    """Spec with the placeholders above filled in, as for a run that was created then and that no schedule started."""
    return spec.replace(CREATED, created.strftime("%Y-%m-%dT%H:%M:%SZ")).replace(SCHEDULED, NOT_SCHEDULED)


def run(folder: Path) -> int:
    """Run the spec in a folder; exit code 1 if a task failed, else 0."""
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
    # It warns of settings for Vertex alone (resources, display names) and of the image's name.
    warnings.filterwarnings("ignore", module=r"kfp\.local")
    spec = filled((folder / "pipeline.json").read_text(encoding="utf-8"), created)
    arguments = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "artifacts"), raise_on_error=True)
    with redirect_stdout(_KfpOutput(teller, folder / "kfp.log")):
        try:
            components.load_component_from_text(spec)(**arguments)
        except RuntimeError as error:
            teller.tell("failed", error=_plain(str(error)))
            return 1
    return 0


class _KfpOutput(io.TextIOBase):
    """Output of kfp.local: kept in a file, and an event written when it skips a task."""

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
    """Obey the parent's lines on standard input: `go`, or why the running task must end; at its end, end with it."""

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
