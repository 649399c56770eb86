"""Fork server: a process that has imported what tasks import, and gives each caller a fork of itself.

A new Python imports kfp and Google's clients for one to two seconds, a fork is there in milliseconds. While the server
forks it has one thread and no connection but those of its callers: what else a fork inherits it could not use safely
(https://docs.python.org/3/library/os.html#os.fork). The standard library's forkserver does as much, but for the process
that started it alone: here one that stays up beside the local stack serves each `goldline run`, and the run's own fork
serves its tasks.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Imports of tasks: kfp's executor, the clients, and what computes. Code of goldline and of a project is not among them:
# each fork reads it anew, so that an edit counts at once.
PRELOADED = (
    *("kfp.local", "kfp.dsl.executor_main", "google_cloud_pipeline_components.types.artifact_types"),
    *("google.cloud.bigquery", "google.cloud.bigquery_storage_v1", "google.cloud.firestore", "google.cloud.storage"),
    *("pandas", "pyarrow.parquet", "pydantic", "sklearn.linear_model", "sklearn.ensemble", "skops.io", "sqlglot"),
)
# Read when the libraries are loaded: without them OpenBLAS and Arrow's jemalloc start threads of their own, which a
# fork would lack. The last is explained in goldline.ml.model_file.
SETTINGS: Mapping[str, str] = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OMP_WAIT_POLICY": "passive",
}
SOCKET = "fork.sock"
TAKEN, REFUSED = b"+", b"-"
HEAD_BYTES = 8  # length of the request that follows


def _umask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before


@dataclass(frozen=True)
class Request:
    """A module to run in a fork, as `python -m MODULE ARGUMENTS` would.

    Attributes:
        folder: the fork's current folder, and the first in which it looks for modules.
        is_leader: whether it leads a group of processes of its own, which ends with it.
        path: where it looks for modules next.
        umask: of the files that it makes.
        prefix: the caller's Python environment; a fork has the server's, so they must be one.
    """

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    is_leader: bool = False
    path: list[str] = field(default_factory=lambda: sys.path[1:])
    umask: int = field(default_factory=_umask)
    prefix: str = sys.prefix


class Fork:
    """A process that a fork server made for us. It is killed when we close this, or end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def wait(self) -> int:
        """Wait until it ends; its exit code, negative for a signal, as subprocess has it."""
        with self._connection.makefile("rb") as answers:
            last = answers.read()
        return int(last) if last else -signal.SIGKILL  # the server was killed, and its forks with it

    def kill(self) -> None:
        """Kill it, and its group where it leads one."""
        with contextlib.suppress(OSError):  # it has ended already
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of it; one that still runs is killed."""
        self._connection.close()


def fork(address: Path, request: Request, files: Sequence[int]) -> Fork | None:
    """Ask the server at an address for a fork.

    Args:
        address: path of the server's socket; one that is longer than the system takes (103 bytes on macOS, 107 on
            Linux) counts as no server.
        request: what it shall run.
        files: descriptors of its standard input, output and error.

    Returns:
        The fork; None if no server answers there, or one that may not serve this caller.
    """
    connection = socket.socket(socket.AF_UNIX)
    body = json.dumps(asdict(request)).encode()
    try:
        connection.connect(str(address))
        socket.send_fds(connection, [len(body).to_bytes(HEAD_BYTES)], list(files))
        connection.sendall(body)
        answer = connection.recv(1)
    except OSError:
        answer = b""
    if answer == TAKEN:
        return Fork(connection)
    connection.close()
    return None


class ForkServer:
    """The server's loop. It runs in the process's only thread."""

    def __init__(self, listener: socket.socket, life: int | None = None) -> None:
        """Prepare to serve.

        Args:
            listener: socket that callers connect to.
            life: descriptor that reads as ended once the process that this server belongs to has; None: there is none.
        """
        self._listener = listener
        self._life = life
        self._callers: dict[int, tuple[socket.socket, bool]] = {}  # by process id: connection, whether it leads a group
        self._packages = packages_changed()
        self._selector = selectors.DefaultSelector()
        self._ended, self._told = socket.socketpair()  # readable once a fork has ended

    def serve(self) -> None:
        """Serve until our owner ends. It returns in the server alone: a fork leaves this process's code for ever."""
        for end in (self._ended, self._told):
            end.setblocking(False)
        signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        if self._life is not None:
            self._selector.register(self._life, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj == self._life:
                    self._kill_all()
                    return
                elif key.fileobj is self._ended:
                    with contextlib.suppress(BlockingIOError):
                        self._ended.recv(4096)
                    self._reap()
                else:
                    self._kill(key.data)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            request, files = _received(connection)
        except (OSError, ValueError):  # the caller has ended meanwhile
            connection.close()
            return
        if request.prefix != sys.prefix or self._packages != packages_changed():
            connection.sendall(REFUSED)
            connection.close()
        elif (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            for inherited in (
                self._listener,
                self._ended,
                self._told,
                connection,
                *(c for c, _ in self._callers.values()),
            ):
                inherited.close()
            self._selector.close()
            _become(request, files)
        else:
            connection.sendall(TAKEN)
            self._callers[pid] = connection, request.is_leader
            self._selector.register(connection, selectors.EVENT_READ, pid)
        for file in files:
            os.close(file)

    def _kill(self, pid: int) -> None:
        """Kill a fork whose caller asked for it, or has ended."""
        connection, is_leader = self._callers[pid]
        self._selector.unregister(connection)
        _killed(pid, is_leader=is_leader)

    def _kill_all(self) -> None:
        for pid, (_, is_leader) in self._callers.items():
            _killed(pid, is_leader=is_leader)

    def _reap(self) -> None:
        """Tell the callers of forks that have ended."""
        while self._callers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            connection, is_leader = self._callers.pop(pid)
            if is_leader:
                _killed(pid, is_leader=True)
            with contextlib.suppress(OSError):  # the caller has ended
                connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            with contextlib.suppress(KeyError):  # it was killed
                self._selector.unregister(connection)
            connection.close()


def listen(address: Path) -> socket.socket:
    """Socket that callers connect to, for this user alone."""
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        address.unlink(missing_ok=True)
        listener.bind(str(address))
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def preload() -> None:
    """Import what tasks import. SETTINGS must be in the environment that this process was started with."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else a fork's first collection would copy all their pages


def fork_server_of_this_process(address: Path) -> None:
    """Fork a server that ends with this process. Call it while there is one thread."""
    listener = listen(address)
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        ForkServer(listener, reading).serve()
        os._exit(0)
    os.close(reading)  # the other end stays open as long as this process lives
    listener.close()


def packages_changed() -> int:
    """Time when a package was last installed or removed: a server that is older has imported what is gone."""
    return Path(sysconfig.get_path("purelib")).stat().st_mtime_ns


def _received(connection: socket.socket) -> tuple[Request, list[int]]:
    head, files, _, _ = socket.recv_fds(connection, HEAD_BYTES, 3)
    body = bytearray()
    while len(body) < int.from_bytes(head):
        if not (chunk := connection.recv(1 << 20)):
            raise ValueError("the request is cut off")
        body += chunk
    return Request(**json.loads(body)), list(files)


def _killed(pid: int, *, is_leader: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL) if is_leader else os.kill(pid, signal.SIGKILL)


def _become(request: Request, files: Sequence[int]) -> None:
    """In a fork: become the process that was asked for. It does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if request.is_leader:
        os.setsid()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    os.umask(request.umask)
    os.chdir(request.folder)
    sys.argv = [request.module, *request.arguments]
    sys.path[:] = [request.folder, *request.path]
    tempfile.tempdir = None  # TMPDIR may be another
    warnings.simplefilter("ignore")
    code: int | str | None = 1
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:  # noqa: BLE001, the last frame of a process: what Python itself does
        traceback.print_exc()
    _leave(code)


def _leave(code: int | str | None) -> None:
    """End as the interpreter does, without taking all modules apart: others use the same pages."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Serve at fork.sock in the folder that the command line names."""
    os.chdir(sys.argv[1])  # a long path is no socket's
    preload()
    ForkServer(listen(Path(SOCKET))).serve()


if __name__ == "__main__":
    main()
