"""Progress log of a long export: documents so far, documents a second, time left."""

import logging
import threading
import time

LOG = logging.getLogger(__name__)
EVERY = 10.0  # seconds between two log lines


class Pace:
    """Counter of the documents of all ranges, which are read in parallel; it logs the progress.

    Attributes:
        expected: number of documents to read; None until it is known.
    """

    def __init__(self, what: str, done: int, expected: int | None) -> None:
        self.expected = expected
        self._what = what
        self._done = done
        self._began = self._logged = time.monotonic()
        self._first = done
        self._lock = threading.Lock()

    def landed(self, count: int) -> None:
        """Add `count` landed documents."""
        with self._lock:
            self._done += count
            moment = time.monotonic()
            if moment - self._logged < EVERY:
                return
            self._logged = moment
            rate = (self._done - self._first) / (moment - self._began)
            if self.expected is None:
                LOG.info("%s: %d documents, %d a second", self._what, self._done, rate)
                return
            left = max(self.expected - self._done, 0) / rate if rate else 0.0
            LOG.info(
                "%s: %d of %d documents, %d a second, %d:%02d left",
                *(self._what, self._done, self.expected, rate, left // 60, left % 60),
            )
