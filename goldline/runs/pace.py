"""Progress of long work in its log: count so far, rate, time left, in one form that programs read back."""

import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import Self

LOG = logging.getLogger(__name__)
EVERY = 1.0  # seconds between two log lines
LINE = re.compile(r"(?:^|: )([\d,]+)(?: of ([\d,]+))? (\w+), ([\d,.]+)/s(?:, \d+:\d\d left)?$")


@dataclass(frozen=True)
class Amount:
    """Amount of work done: `12,000 of 16,689 documents, 4,321/s, 0:01 left`.

    Attributes:
        count: number done.
        total: number to do; None where it is not known.
        unit: name of what is counted.
        rate: number done per second, on average.
    """

    count: int
    total: int | None
    unit: str
    rate: float

    @property
    def seconds_left(self) -> int | None:
        """Seconds until all is done, at the same rate; None where that is not known."""
        if self.total is None or not self.rate:
            return None
        return round(max(self.total - self.count, 0) / self.rate)

    def __str__(self) -> str:
        """Text of the amount, the end of a log line."""
        of = "" if self.total is None else f" of {self.total:,}"
        left = f", {self.seconds_left // 60}:{self.seconds_left % 60:02d} left" if self.seconds_left else ""
        return f"{self.count:,}{of} {self.unit}, {self.rate:,.{1 if self.rate < 10 else 0}f}/s{left}"

    @classmethod
    def of_line(cls, line: str) -> Self | None:
        """Amount at the end of a log line; None if the line tells no progress."""
        if not (found := LINE.search(line)):
            return None
        count, total, unit, rate = found.groups()
        number = int(total.replace(",", "")) if total else None
        return cls(int(count.replace(",", "")), number, unit, float(rate.replace(",", "")))


class Pace:
    """Counter of work done, by several threads at once; it logs the progress.

    Attributes:
        expected: number to do; None until it is known.
    """

    def __init__(self, what: str, unit: str, expected: int | None = None, done: int = 0) -> None:
        """Begin to count.

        Args:
            what: name of the whole, such as that of a collection; never personal data.
            unit: name of what is counted, in one word: `documents`.
            expected: number to do, `done` included; None: not known.
            done: number that was done before.
        """
        self.expected = expected
        self._what = what
        self._unit = unit
        self._done = self._first = done
        self._began = self._logged = time.monotonic()
        self._lock = threading.Lock()

    def add(self, count: int = 1) -> None:
        """Count in what was done now; logged at most once every EVERY seconds, and when all is done."""
        with self._lock:
            self._done += count
            moment = time.monotonic()
            if moment - self._logged < EVERY and self._done != self.expected:
                return
            self._logged = moment
            rate = (self._done - self._first) / max(moment - self._began, 0.001)
            LOG.info("%s: %s", self._what, Amount(self._done, self.expected, self._unit, rate))
