"""Processor time of everything that a benchmark starts, servers and orphans among them.

A process that ends hands its times to the parent that waits for it, and its children to the nearest "subreaper" above
it (prctl(2), PR_SET_CHILD_SUBREAPER). So whatever this process starts, in any depth, is either alive below it or
counted by the kernel among its children. Linux only.
"""

import ctypes
import os
import resource
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Become the parent of all orphans below this process, from now on."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def processor_seconds() -> float:
    """Processor seconds so far of all processes below this one, those that have ended and those that run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    parents, seconds = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        # Fields 4 and 14 to 17 of proc_pid_stat(5), counted after the name in brackets.
        parents[int(place.name)] = int(fields[1])
        seconds[int(place.name)] = sum(map(int, fields[11:15])) / TICKS
    running = sum(seconds[pid] for pid in parents if _is_below(pid, parents))
    return ended.ru_utime + ended.ru_stime + running


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    while (pid := parents.get(pid, 0)) > 1:
        if pid == os.getpid():
            return True
    return False
