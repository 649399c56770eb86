"""What a long export tells of itself on the way: how many documents, how fast, how much longer."""

import logging
import threading
import time

LOG = logging.getLogger(__name__)
EVERY = 10.0  # seconds


class Pace:
    """Counts the documents of ranges that are read side by side, and logs how it goes.

    Attributes:
        expected: how many documents there are, once that is known.
    """

    def __init__(self, what: str, done: int, expected: int | None) -> None:
        self.expected = expected
        self._what = what
        self._done = done
        self._began = self._told = time.monotonic()
        self._first = done
        self._lock = threading.Lock()

    def landed(self, count: int) -> None:
        """So many more documents were landed."""
        with self._lock:
            self._done += count
            moment = time.monotonic()
            if moment - self._told < EVERY:
                return
            self._told = moment
            rate = (self._done - self._first) / (moment - self._began)
            if self.expected is None:
                LOG.info("%s: %d documents, %d a second", self._what, self._done, rate)
                return
            left = max(self.expected - self._done, 0) / rate if rate else 0.0
            LOG.info(
                "%s: %d of %d documents, %d a second, %d:%02d left",
                *(self._what, self._done, self.expected, rate, left // 60, left % 60),
            )
