"""The local stack: lake, warehouse and source database on one machine, with their data under one folder.

The process that starts the stack owns it and holds a lock on the folder; the kernel frees the lock when the owner ends,
so it is never stale. The servers end with their owner, however it ends. Other processes use the same stack, each with a
shared lock, and the owner stops it when the last of them is done. Whoever needs no Firestore starts a stack without;
who needs one meanwhile waits until that has ended, and holds no lock while they wait.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, Self

from goldline.local import processes, servers
from goldline.local.fork_server import SETTINGS, SOCKET
from goldline.local.servers import HOST, PROJECT
from goldline.privacy.pseudonym import KEY_FILE, make_key_file

BUCKET = "lake"
START_SECONDS = 90.0
PARTIAL = "partial.lock"  # held by the owner of a stack without Firestore


class StackError(RuntimeError):
    """The stack could not be started, used or stopped as asked."""


@dataclass(frozen=True)
class Addresses:
    """A running stack: its folder, the process ids of owner and servers, and the servers' ports on 127.0.0.1.

    Attributes:
        firestore: None where it was started for those who need no Firestore.
    """

    home: str
    owner: int
    pids: dict[str, int]
    storage: int
    bigquery: int
    bigquery_read: int
    firestore: int | None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead Google's clients to the stack, and name the file of the pseudonyms' key.

        With GOLDLINE_FIRESTORE=real that for Firestore is left out, so its client reads the real service.
        """
        emulated = {"FIRESTORE_EMULATOR_HOST": f"{HOST}:{self.firestore}"}
        return {
            **({} if reads_real_firestore() or not self.firestore else emulated),
            "STORAGE_EMULATOR_HOST": f"http://{HOST}:{self.storage}",
            "BIGQUERY_EMULATOR_HOST": f"http://{HOST}:{self.bigquery}",
            "BIGQUERY_STORAGE_EMULATOR_HOST": f"{HOST}:{self.bigquery_read}",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            KEY_FILE: str(Path(self.home) / "pii.key"),
        }

    def is_alive(self) -> bool:
        """Whether all servers run and listen; a restarted one listens before its new process id is written."""
        ports = (self.storage, self.bigquery, self.bigquery_read, self.firestore)
        return all(map(processes.is_running, self.pids.values())) and all(
            map(processes.is_listening, filter(None, ports))
        )


def reads_real_firestore() -> bool:
    """Whether GOLDLINE_FIRESTORE=real: documents come from the real Firestore into the laptop's lake and warehouse."""
    return os.environ.get("GOLDLINE_FIRESTORE") == "real"


def default_home() -> Path:
    """Folder of data and state: GOLDLINE_HOME, else .goldline in the current folder."""
    return Path(os.environ.get("GOLDLINE_HOME", ".goldline")).resolve()


class Stack:
    """A stack that this process owns."""

    def __init__(self, home: Path, locks: list[IO[str]], *, needs_firestore: bool) -> None:
        self.home = home
        self.addresses: Addresses
        self._locks = locks
        self._needs_firestore = needs_firestore
        self._servers: list[servers.Server] = []

    @classmethod
    def start(cls, home: Path, *, needs_firestore: bool = True) -> Self | None:
        """Start the servers, on demand without Firestore's, and wait until all answer; None if another process has.

        Raises:
            StartError: a server did not start.
        """
        home.mkdir(parents=True, exist_ok=True)
        if (lock := _locked(home / "owner.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
            return None
        locks = [lock] if needs_firestore else [lock, _waited_for(home / PARTIAL, fcntl.LOCK_EX)]
        stack = cls(home, locks, needs_firestore=needs_firestore)
        _end_left_over(home)
        try:
            stack._start_servers()
        except BaseException:
            stack._stop_servers()
            stack._release()
            raise
        return stack

    def stop(self) -> None:
        """Save the source database, end the servers, release the folder."""
        try:
            for server in self._servers:
                if server.plan.is_saved_on_stop and processes.is_listening(server.plan.port):
                    servers.save_firestore(self.home, server.plan.port)
        finally:
            self._stop_servers()
            _state(self.home).unlink(missing_ok=True)
            self._release()

    def dead(self) -> list[str]:
        """Names of the servers that ended by themselves."""
        return [server.plan.name for server in self._servers if server.process.poll() is not None]

    def revive(self) -> None:
        """Restart the servers that ended by themselves, on their ports and with their stored data.

        Raises:
            StartError: one does not start.
        """
        for i, server in enumerate(self._servers):
            if server.process.poll() is not None:
                self._servers[i] = servers.launch(server.plan, self.home)
                self._servers[i].wait()
        pids = {s.plan.name: s.process.pid for s in self._servers}
        self.addresses = replace(self.addresses, pids=pids)
        _write_state(self.home, self.addresses, ready=True)

    def _start_servers(self) -> None:
        # A free port can be taken before its server listens: then all start again, on other ports.
        for attempt in range(servers.TRIES):
            try:
                self._try_servers()
                break
            except processes.StartError:
                taken = [s for s in self._servers if s.process.poll() and s.found_its_port_taken()]
                self._stop_servers()
                if not taken or attempt == servers.TRIES - 1:
                    raise

    def _try_servers(self) -> None:
        storage = servers.storage(self.home)
        warehouse, read_port = servers.warehouse(self.home, storage.port)
        firestore = servers.firestore(self.home) if self._needs_firestore else None
        for plan in filter(None, (storage, warehouse, firestore)):
            self._servers.append(servers.launch(plan, self.home))
        make_key_file(self.home / "pii.key")
        self.addresses = Addresses(
            home=str(self.home),
            owner=os.getpid(),
            pids={s.plan.name: s.process.pid for s in self._servers},
            storage=storage.port,
            bigquery=warehouse.port,
            bigquery_read=read_port,
            firestore=firestore.port if firestore else None,
        )
        # Written before they are ready, so that the next start after a crash knows which processes to end.
        _write_state(self.home, self.addresses, ready=False)
        for server in self._servers:
            server.wait()
        if dead := self.dead():  # another process on its port answered instead
            raise processes.StartError(f"{', '.join(dead)} ended; see {self.home / 'logs'}")
        _make_bucket(self.addresses)
        _write_state(self.home, self.addresses, ready=True)

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.process.terminate()
        for server in self._servers:
            processes.stop(server.process)
        self._servers.clear()

    def _release(self) -> None:
        for lock in self._locks:
            lock.close()


class Use:
    """A running stack, for one of its users."""

    def __init__(self, home: Path, addresses: Addresses, owned: Stack | None) -> None:
        self.home = home
        self.addresses = addresses
        self._owned = owned

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead Google's clients to the stack."""
        return self.addresses.environment

    @contextlib.contextmanager
    def leading(self) -> Iterator[None]:
        """Set these variables for this process within the block; afterwards its environment is as before."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def dead(self) -> list[str]:
        """Names of the servers that died since `addresses` was read."""
        if self._owned:
            return self._owned.dead()
        return [name for name, pid in self.addresses.pids.items() if not processes.is_running(pid)]

    def revive(self) -> None:
        """Restart dead servers, or wait until the stack's owner has.

        Raises:
            StackError: the owner has ended too.
            StartError: a server does not start.
        """
        if self._owned:
            self._owned.revive()
            self.addresses = self._owned.addresses
        elif found := _await(self.home):
            self.addresses = found
        else:
            raise StackError("the stack is gone; `goldline up` starts it again")


@contextlib.contextmanager
def using(home: Path, *, needs_firestore: bool = True) -> Iterator[Use]:
    """Use the stack that runs on a folder, or start one for this block and stop it afterwards.

    Without a need for Firestore its server is not started; where one runs that lacks it and it is needed, wait for its
    end.

    Raises:
        StackError: another process owns the folder, but its servers do not answer.
        StartError: a server did not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    user = _waited_for(home / "users.lock", fcntl.LOCK_SH)
    owned: Stack | None = None
    try:
        while True:
            if (addresses := _await(home)) is None:
                owned = Stack.start(home, needs_firestore=needs_firestore)
                addresses = owned.addresses if owned else _await(home)
            if addresses is None:
                if _is_owned(home):
                    raise StackError(f"another process holds {home} but its servers do not answer; try `goldline down`")
                continue  # another had only looked whether there is an owner
            if addresses.firestore or not needs_firestore:
                break
            user.close()  # the other's owner waits for its users
            _await_end_of_partial(home)
            user = _waited_for(home / "users.lock", fcntl.LOCK_SH)
        yield Use(home, addresses, owned)
    finally:
        user.close()
        if owned:
            with _alone(home):
                owned.stop()


def running(home: Path) -> Addresses | None:
    """Running stack of a folder; None if there is none."""
    return _await(home) if home.exists() else None


def up(home: Path) -> Addresses:
    """Start a stack that runs until `down`; one that runs already is returned.

    Raises:
        StartError: a server did not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    while found := _await(home):
        if found.firestore:
            return found
        _await_end_of_partial(home)
    log = home / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        keeper = subprocess.Popen(
            [sys.executable, "-m", __name__, str(home)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    processes.wait_until(lambda: _ready_state(home) is not None, keeper, log, START_SECONDS)
    keeper.returncode = 0  # it outlives this process, which must not wait for it
    found = _ready_state(home)
    assert found  # noqa: S101, just seen
    return found


def down(home: Path) -> bool:
    """Stop the stack of a folder after its last user, and wait until it has ended; returns whether one ran."""
    found = _ready_state(home) if _is_owned(home) else None
    if found is None:
        _end_left_over(home)
        return False
    os.kill(found.owner, signal.SIGTERM)
    _waited_for(home / "owner.lock", fcntl.LOCK_EX).close()
    return True


def keep(home: Path) -> int:
    """Own a stack until SIGTERM or SIGINT, and restart servers that die; returns the exit code."""
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # they stay pending for sigwait
    signal.signal(signal.SIGCHLD, lambda *_: None)  # ignored by default, and then never pending
    if (stack := Stack.start(home)) is None:
        return 0  # another process was faster
    forker = _start_fork_server(home)
    while signal.sigwait(signals) == signal.SIGCHLD:
        if dead := stack.dead():
            sys.stderr.write(f"{', '.join(dead)} died and is started again\n")
            stack.revive()
    with _alone(home):
        processes.stop(forker)
        stack.stop()
    return 0


def _start_fork_server(home: Path) -> "subprocess.Popen[bytes]":
    """Start the process whose forks spare runs their imports. Until it is ready, and without it, they import."""
    (home / SOCKET).unlink(missing_ok=True)  # of one that was killed
    command = [sys.executable, "-m", "goldline.local.fork_server", str(home)]
    return processes.start(command, home / "logs" / "fork_server.log", SETTINGS)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Wait until nobody uses the stack, and keep new users waiting within the block."""
    path = home / "users.lock"
    if (lock := _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
        sys.stderr.write("goldline: waiting for another run that uses this stack\n")
        lock = _locked(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock:
            lock.close()


def _await(home: Path) -> Addresses | None:
    """Ready stack of a folder, after waiting for one that is starting; None if there is none in time."""
    end = time.monotonic() + START_SECONDS
    while _is_owned(home):
        if (found := _ready_state(home)) and found.is_alive():
            return found
        if time.monotonic() > end:
            return None
        time.sleep(0.1)
    return None


def _is_owned(home: Path) -> bool:
    if not home.exists() or (lock := _locked(home / "owner.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)):
        if home.exists() and lock:
            lock.close()
        return False
    return True


def _await_end_of_partial(home: Path) -> None:
    """Wait until no stack without Firestore runs: its owner alone holds this lock, so a whole one is not waited for."""
    _waited_for(home / PARTIAL, fcntl.LOCK_SH).close()


def _waited_for(path: Path, how: int) -> IO[str]:
    lock = _locked(path, how)
    assert lock  # noqa: S101, a lock that is waited for is had
    return lock


def _locked(path: Path, how: int) -> IO[str] | None:
    file = path.open("a")
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        file.close()
        return None
    return file


def _state(home: Path) -> Path:
    return home / "stack.json"


def _write_state(home: Path, addresses: Addresses, *, ready: bool) -> None:
    fresh = _state(home).with_suffix(".new")
    fresh.write_text(json.dumps({"ready": ready, **asdict(addresses)}, indent=1), encoding="utf-8")
    fresh.replace(_state(home))


def _ready_state(home: Path) -> Addresses | None:
    content = _read_state(home)
    return Addresses(**content) if content.pop("ready", False) else None


def _read_state(home: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(_state(home).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def _end_left_over(home: Path) -> None:
    """End the servers of an owner that was killed, where the kernel did not end them."""
    pids = _read_state(home).get("pids")
    if isinstance(pids, Mapping):
        for pid in pids.values():
            processes.end_left_over(pid, str(home))
    _state(home).unlink(missing_ok=True)


def _make_bucket(addresses: Addresses) -> None:
    status = servers.post(addresses.storage, f"/storage/v1/b?project={PROJECT}", {"name": BUCKET})
    if status not in (HTTPStatus.OK, HTTPStatus.CONFLICT):  # conflict: it exists
        raise StackError(f"the bucket {BUCKET} could not be made: the server answered {status}")


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1])))
