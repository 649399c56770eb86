"""The process that runs a spec (goldline.local.runner), as the one that started it sees it: orders in, events out."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from goldline.local.fork_server import SETTINGS, SOCKET, Fork, Request, fork

MODULE = "goldline.local.runner"
WATCH_SECONDS = 0.5  # between two calls of `meanwhile`


@dataclass
class RunnerProcess:
    """The process, in a group of its own, and our ends of its standard input and output."""

    process: "Fork | subprocess.Popen[bytes]"
    orders: BinaryIO
    printed: BinaryIO

    def order(self, **order: object) -> None:
        """Give it an order."""
        with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code says why
            self.orders.write(json.dumps(order).encode() + b"\n")
            self.orders.flush()

    def events(self, meanwhile: Callable[[], None] = lambda: None) -> Iterator[dict[str, Any]]:
        """Events that it tells, until it ends; `meanwhile` is called after each WATCH_SECONDS without one."""
        rest = b""
        while True:
            while not select.select([self.printed], [], [], WATCH_SECONDS)[0]:
                meanwhile()
            if not (chunk := os.read(self.printed.fileno(), 65536)):
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(json.loads, lines)

    def wait(self) -> int:
        """Wait until it ends; its exit code."""
        return self.process.wait()

    def kill(self) -> None:
        """Kill it and its tasks."""
        if isinstance(self.process, Fork):
            self.process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def runner_process(home: Path, folder: Path, options: Sequence[str] = ()) -> Iterator[RunnerProcess]:
    """Start it, as a fork where `goldline up` left a fork server; it is killed with its tasks when the block ends.

    Args:
        home: folder of the stack.
        folder: folder of the run.
        options: of the runner's command line.
    """
    words, environment = [str(folder), *options], {**os.environ, **SETTINGS, "PYTHONWARNINGS": "ignore"}
    read_orders, write_orders = os.pipe()
    read_events, write_events = os.pipe()
    with contextlib.ExitStack() as ends:
        orders, printed = (
            ends.enter_context(os.fdopen(write_orders, "wb")),
            ends.enter_context(os.fdopen(read_events, "rb")),
        )
        with (
            (folder / "runner.log").open("wb") as log,
            os.fdopen(read_orders) as stdin,
            os.fdopen(write_events, "w") as stdout,
        ):
            request = Request(MODULE, words, environment, str(Path.cwd()), is_leader=True)
            process = fork(home / SOCKET, request, (stdin.fileno(), stdout.fileno(), log.fileno())) or subprocess.Popen(
                [sys.executable, "-m", MODULE, *words],
                stdin=stdin,
                stdout=stdout,
                stderr=log,
                start_new_session=True,
                env=environment,
            )
        started = RunnerProcess(process, orders, printed)
        try:
            yield started
        finally:
            started.kill()
