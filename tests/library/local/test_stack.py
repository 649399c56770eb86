"""The local stack starts and stops cleanly, whatever happens to whom."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from goldline.clients import firestore_client
from goldline.local import processes, servers, stack
from goldline.local.processes import StartError
from goldline.local.servers import PROJECT
from goldline.local.stack import Addresses, Stack

pytestmark = pytest.mark.servers

SECONDS = 30.0


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def all_gone(pids: dict[str, int]) -> bool:
    return not any(processes.is_running(pid) for pid in pids.values())


@contextlib.contextmanager
def owner(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], Addresses]]:
    """A process of its own that owns a stack."""
    process = subprocess.Popen([sys.executable, "-m", "goldline.local.stack", str(home)], start_new_session=True)
    try:
        wait_until(lambda: stack._ready_state(home) is not None)
        found = stack.running(home)
        assert found
        yield process, found
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("firestore", ["google", "embedded"])
def test_a_stack_keeps_its_documents_and_leaves_no_process(
    home: Path, firestore: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDLINE_FIRESTORE", firestore)
    environment = dict(os.environ)
    for expected in (None, {"n": 1}):
        with stack.using(home) as use:
            os.environ.update(use.environment)
            document = firestore_client(PROJECT).document("things/one")
            assert document.get().to_dict() == expected
            document.set({"n": 1})
            pids = dict(use.addresses.pids)
            assert not all_gone(pids)
            assert json.loads((home / "stack.json").read_text())["pids"] == pids
            assert (home / "pii.key").stat().st_mode & 0o777 == 0o600
        os.environ.clear()
        os.environ.update(environment)
        assert all_gone(pids)
        assert stack.running(home) is None
        assert not (home / "stack.json").exists()


def test_up_is_found_by_others_and_ended_by_down(home: Path) -> None:
    first = stack.up(home)
    assert stack.up(home) == first
    with stack.using(home) as use:
        assert use.addresses == first
    assert stack.running(home) == first  # whoever came second does not stop it
    assert stack.down(home) is True
    assert all_gone(first.pids)
    assert stack.down(home) is False


def test_nothing_outlives_an_owner_that_is_killed(home: Path) -> None:
    with owner(home) as (process, found):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: all_gone(found.pids))
    # The lock died with it: nothing is stale.
    with stack.using(home) as use:
        assert use.addresses.owner == os.getpid()


def test_a_dead_server_is_started_again_where_it_was(home: Path) -> None:
    with owner(home) as (process, found):
        os.kill(found.pids["bigquery"], signal.SIGKILL)
        wait_until(lambda: (stack._ready_state(home) or found).pids != found.pids)
        again = stack.running(home)
        assert again
        assert (again.bigquery, again.pids["storage"]) == (found.bigquery, found.pids["storage"])
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert all_gone(again.pids)


def test_left_over_processes_are_ended_only_if_they_are_ours(tmp_path: Path) -> None:
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)])
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for process in (ours, foreign):
            processes.end_left_over(process.pid, str(tmp_path))
        assert ours.wait(SECONDS) == -signal.SIGKILL
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


@pytest.mark.parametrize("place", range(4), ids=["storage", "bigquery", "bigquery_read", "firestore"])
def test_a_port_that_is_taken_meanwhile_is_no_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch, stack: Addresses, place: int
) -> None:
    plain, given = processes.free_port, iter([*[0] * place, stack.storage])
    monkeypatch.setattr(processes, "free_port", lambda: next(given, None) or plain())
    started = Stack.start(home)
    assert started
    there = started.addresses
    assert stack.storage not in (there.storage, there.bigquery, there.bigquery_read, there.firestore)
    started.stop()


def test_a_server_that_does_not_start_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = servers.Plan("firestore", ["sh", "-c", "echo no room; exit 3"], 1, "/", 10, {})
    monkeypatch.setattr(servers, "firestore", lambda _: plan)
    with pytest.raises(StartError, match="ended with 3:\nno room"):
        Stack.start(home)
    assert not (home / "stack.json").exists() or stack.running(home) is None


def test_who_needs_no_firestore_starts_none_and_who_does_waits_for_its_end(home: Path) -> None:
    with ThreadPoolExecutor() as beside:
        with stack.using(home, needs_firestore=False) as use:
            assert sorted(use.addresses.pids) == ["bigquery", "storage"]
            assert "FIRESTORE_EMULATOR_HOST" not in use.environment
            os.kill(use.addresses.pids["bigquery"], signal.SIGKILL)
            wait_until(lambda: use.dead() == ["bigquery"])
            use.revive()
            waiting = [beside.submit(firestore_of, home) for _ in range(2)]
            with stack.using(home, needs_firestore=False) as other:
                assert other.addresses == use.addresses
            assert not any(future.done() for future in waiting)
        assert all(future.result(SECONDS) for future in waiting)
    assert stack.running(home) is None


def firestore_of(home: Path) -> int | None:
    with stack.using(home) as use:
        assert use.addresses.is_alive()
        return use.addresses.firestore


def test_who_needs_no_firestore_uses_the_stack_that_runs(home: Path) -> None:
    with stack.using(home) as whole, stack.using(home, needs_firestore=False) as use:
        assert use.addresses == whole.addresses


def test_up_is_a_whole_stack(home: Path) -> None:
    with ThreadPoolExecutor() as beside:
        with stack.using(home, needs_firestore=False):
            started = beside.submit(stack.up, home)
        assert started.result(stack.START_SECONDS).firestore
    assert stack.down(home)
