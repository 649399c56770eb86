"""Order in which tasks that are ready get one of the places to run: those with most work after them first."""

import heapq
import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Slots:
    """Places for tasks that run at the same time; one that is free goes to the waiting task of the highest rank."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._arrivals = itertools.count()

    @contextmanager
    def taken(self, rank: int) -> Iterator[None]:
        """Hold a place within the block; of equal ranks, the first comes first."""
        with self._changed:
            own = (-rank, next(self._arrivals))
            heapq.heappush(self._waiting, own)
            self._changed.wait_for(lambda: self._free and self._waiting[0] == own)
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


def chain_lengths(spec: Mapping[str, Any]) -> dict[str, int]:
    """Length of the longest chain of tasks that begins with each task of a compiled spec, by the task's name.

    The critical path, with all tasks taken as equally long: https://en.wikipedia.org/wiki/Critical_path_method.
    """
    lengths: dict[str, int] = {}

    def inside(component: Mapping[str, Any], after: int) -> int:
        """Note the tasks of a component that `after` tasks follow; its own longest chain, and those."""
        if "dag" not in component:
            return after + 1
        tasks = component["dag"]["tasks"]
        chains: dict[str, int] = {}

        def chain(name: str) -> int:
            if name not in chains:
                later = [n for n, task in tasks.items() if name in task.get("dependentTasks", ())]
                below = max(map(chain, later), default=after)
                chains[name] = inside(spec["components"][tasks[name]["componentRef"]["name"]], below)
                lengths[name] = max(lengths.get(name, 0), chains[name])
            return chains[name]

        return max(map(chain, tasks), default=after)

    inside(spec["root"], 0)
    return lengths
