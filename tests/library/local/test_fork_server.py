"""A fork of the warm process is as good as a new Python, and never outlives the one that asked for it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from goldline.local.fork_server import PRELOADED, SETTINGS, SOCKET, Fork, Request, fork

SECONDS = 60
# What a fork runs: a module of the caller's folder, as `python -m told` would.
TOLD = """
import json, os, sys, tempfile, threading, warnings
mask = os.umask(0); os.umask(mask)
print(json.dumps({
    "argv": sys.argv[1:], "folder": os.getcwd(), "path": sys.path[0], "word": os.environ.get("WORD"), "umask": mask,
    "temporary": tempfile.gettempdir(), "threads": threading.active_count(), "pid": os.getpid(), "group": os.getpgrp(),
    "loaded": [name for name in sys.argv[1].split(",") if name in sys.modules], "input": sys.stdin.read(),
}))
print("a word of warning", file=sys.stderr)
"""
WAITS = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Address and process id of a server that has imported what tasks import."""
    folder = tmp_path_factory.mktemp("s", numbered=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "goldline.local.fork_server", str(folder)], env={**os.environ, **SETTINGS}
    )
    wait_until((folder / SOCKET).exists)
    yield Path(os.path.relpath(folder / SOCKET)), process.pid  # short enough for a socket
    process.terminate()
    process.wait()


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@contextlib.contextmanager
def forked(address: Path, folder: Path, request: Request) -> Iterator[Fork]:
    """A fork with `output` and `errors` as its files, and nothing to read."""
    with (
        (folder / "output").open("wb") as output,
        (folder / "errors").open("wb") as errors,
        Path(os.devnull).open() as no,
    ):
        made = fork(address, request, (no.fileno(), output.fileno(), errors.fileno()))
    assert made
    yield made
    made.close()


def module(folder: Path, code: str) -> Path:
    (folder / "told.py").write_text(code)
    return folder


def test_a_fork_is_what_a_new_python_would_be(server: tuple[Path, int], tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    environment = {**os.environ, "WORD": "wörd", "TMPDIR": str(tmp_path / "t")}
    request = Request("told", [",".join(PRELOADED), "two"], environment, str(module(tmp_path, TOLD)), umask=0o27)
    with forked(server[0], tmp_path, request) as made:
        assert made.wait() == 0
    told = json.loads((tmp_path / "output").read_text())
    assert told["argv"][1] == "two"
    assert told["folder"] == told["path"] == str(tmp_path)
    assert (told["word"], told["umask"], told["temporary"], told["input"]) == ("wörd", 0o27, str(tmp_path / "t"), "")
    assert told["loaded"] == list(PRELOADED)  # that is what it is for
    assert told["threads"] == 1
    assert (tmp_path / "errors").read_text() == "a word of warning\n"
    assert os.environ.get("WORD") is None


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('a reason')", 1, "a reason"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import atexit; atexit.register(print, 'the end', flush=True)", 0, ""),
    ],
)
def test_it_ends_as_a_new_python_would(
    server: tuple[Path, int], tmp_path: Path, code: str, status: int, words: str
) -> None:
    with forked(server[0], tmp_path, Request("told", [], dict(os.environ), str(module(tmp_path, code)))) as made:
        assert made.wait() == status
    assert words in (tmp_path / "errors").read_text()
    assert (tmp_path / "output").read_text() == ("the end\n" if "atexit" in code else "")


@pytest.mark.parametrize("way", ["kill", "close"])
def test_a_leader_ends_with_its_caller_and_its_group_with_it(
    server: tuple[Path, int], tmp_path: Path, way: str
) -> None:
    request = Request("told", [], dict(os.environ), str(module(tmp_path, WAITS)), is_leader=True)
    with forked(server[0], tmp_path, request) as made:
        wait_until(lambda: (tmp_path / "output").read_text().endswith("\n"))
        pids = [int(word) for word in (tmp_path / "output").read_text().split()]
        assert all(map(runs, pids))
        if way == "kill":
            made.kill()
            assert made.wait() == -signal.SIGKILL
    wait_until(lambda: not any(map(runs, pids)))


def test_the_server_holds_nothing_that_a_fork_could_not_use(server: tuple[Path, int], tmp_path: Path) -> None:
    """One thread, also in the libraries' own code; no socket but those through which forks are asked for."""
    address, pid = server
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    files = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    sockets = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    assert {file for file in files if file.startswith("socket:")} <= sockets
    with forked(address, tmp_path, Request("told", [""], dict(os.environ), str(module(tmp_path, TOLD)))) as made:
        made.wait()
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    wait_until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) == len(files))  # forks leave none


def test_a_caller_that_it_cannot_serve_is_refused(server: tuple[Path, int], tmp_path: Path) -> None:
    request = Request("told", [], dict(os.environ), str(module(tmp_path, TOLD)), prefix="/another/environment")
    assert fork(server[0], request, (0, 1, 2)) is None
    long = tmp_path / ("x" * 120) / SOCKET
    assert fork(long, request, (0, 1, 2)) is None
    assert fork(tmp_path / "nobody", request, (0, 1, 2)) is None


def test_a_caller_that_breaks_off_harms_nobody(server: tuple[Path, int], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as broken:
        broken.connect(str(server[0]))
        broken.sendall((1000).to_bytes(8) + b"half")
    with forked(server[0], tmp_path, Request("told", [""], dict(os.environ), str(module(tmp_path, TOLD)))) as made:
        assert made.wait() == 0


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
