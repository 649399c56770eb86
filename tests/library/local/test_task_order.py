"""Who goes first: the task with most work after it, and among equals the first to come."""

import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack

import pytest

from goldline.local.task_order import Slots, chain_lengths
from tests.library.local.test_selection import shop


def order(places: int, ranks: Iterable[int]) -> list[int]:
    """Order in which waiting tasks of these ranks get a place, once the task that held all of them lets them go."""
    slots, got, lock = Slots(places), list[int](), threading.Lock()

    def take(rank: int) -> None:
        with slots.taken(rank), lock:
            got.append(rank)

    waiting = [threading.Thread(target=take, args=(rank,)) for rank in ranks]
    with ExitStack() as held:
        for _ in range(places):
            held.enter_context(slots.taken(0))
        for count, thread in enumerate(waiting, 1):
            thread.start()
            while len(slots._waiting) < count:
                time.sleep(0.001)
    for thread in waiting:
        thread.join()
    return got


def test_a_free_place_goes_to_the_task_with_most_after_it() -> None:
    assert order(1, [1, 3, 2]) == [3, 2, 1]


def test_no_more_tasks_run_than_there_are_places() -> None:
    slots, running, most, lock = Slots(2), 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def task() -> None:
        nonlocal running, most
        with slots.taken(0):
            with lock:
                running += 1
                most = max(most, running)
            both.wait()
            with lock:
                running -= 1
            both.wait()

    threads = [threading.Thread(target=task) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, running) == (2, 0)


def test_a_place_is_free_again_after_a_failure() -> None:
    slots = Slots(1)
    with pytest.raises(RuntimeError), slots.taken(0):
        raise RuntimeError("a task failed")
    with slots.taken(0):
        pass


def test_ranks_are_lengths_of_what_waits_for_a_task() -> None:
    """Through sub-pipelines and conditions; prepare comes before all, finish after all."""
    ranks = chain_lengths(shop())
    chain = ["finish", "mart-orders", "fct-orders", "stg-orders", "generate-orders", "prepare"]
    assert [ranks[name] for name in chain] == sorted(ranks[name] for name in chain)
    assert len({ranks[name] for name in chain}) == len(chain)
    assert ranks["dim-buyer"] == ranks["fct-orders"]
    assert ranks["stg-visits"] < ranks["stg-orders"]
