"""Child processes that end with their parent, however it ends.

`python -m goldline.local.processes PARENT COMMAND...` asks the kernel to kill it when its parent, the process of that
id, dies, and then becomes the command. The request survives exec (Linux: prctl(2), PR_SET_PDEATHSIG).
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PATIENCE = 10.0  # seconds that a process has to end before it is killed


class StartError(RuntimeError):
    """A process did not start; the message holds the end of its log."""


def free_port() -> int:
    """Port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a Ctrl-C does not reach it; its output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait until `ready` is true, for at most `seconds`; `log` is the process's, for the error.

    Raises:
        StartError: the process ended, or was not ready in time and was stopped.
    """
    end = time.monotonic() + seconds
    while not ready():
        if (code := process.poll()) is not None:
            raise StartError(f"{_name(process)} ended with {code}:\n{last_lines(log)}")
        if time.monotonic() > end:
            stop(process)
            raise StartError(f"{_name(process)} was not ready after {seconds:.0f} s:\n{last_lines(log)}")
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, and kill it if it does not end in time."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_listening(port: int) -> bool:
    """Whether a process listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return bool(command_line(pid))


def end_left_over(pid: int, marked: str) -> None:
    """Kill a process left by a crash, if its command line holds `marked`: its id may be another process's by now."""
    if marked in command_line(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    """Command line of a process; empty if it does not run."""
    if sys.platform == "linux":  # a small Debian has no ps
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    shown = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return shown.stdout.strip()


def last_lines(log: Path, count: int = 15) -> str:
    """Last lines of a log; empty if there is no log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-count:])


def _name(process: subprocess.Popen[bytes]) -> str:
    return Path(list(process.args)[4]).name  # type: ignore[arg-type]


def _become(parent: int, command: list[str]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # inherited: a parent that waits for signals has them blocked
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
