"""A collection's documents as of one moment, in an order that can be taken up again after any of them."""

import datetime
import logging
import time
from collections.abc import Callable, Iterator

from google.api_core.exceptions import (
    Aborted,
    DeadlineExceeded,
    FailedPrecondition,
    GoogleAPICallError,
    InternalServerError,
    InvalidArgument,
    ServiceUnavailable,
)
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from components.export_firestore.landing import Document
from components.export_firestore.plan import ExportError
from goldline.record import now

LOG = logging.getLogger(__name__)
NAME = "__name__"
STREAM_TRIES = 6  # in a row without a document between them
# Firestore keeps the past for one hour: https://cloud.google.com/firestore/docs/use-pitr. (With point-in-time recovery
# seven days, but only at whole minutes; a read time is taken to the microsecond, so that nothing recent is missed.)
READ_TIME_LIFE = datetime.timedelta(minutes=55)
PASSING = (Aborted, DeadlineExceeded, InternalServerError, ServiceUnavailable)

Open = Callable[[firestore.Query, datetime.datetime], Iterator[Document]]


def changed_since(
    collection: firestore.CollectionReference, clock: str | None, watermark: datetime.datetime | None
) -> firestore.Query:
    """All documents by name, or those that changed from the watermark on, by time of change and name.

    A range matches only values of its own type: what has no such timestamp is seen by a full export alone.
    """
    if clock is None or watermark is None:
        return collection.order_by(NAME)
    return collection.where(filter=FieldFilter(clock, ">=", watermark)).order_by(clock).order_by(NAME)


class Reader:
    """Streams a query as of its read time; a stream that is cut goes on after the last document.

    Attributes:
        last: the last document that was given, as far as it is known by name and time of change.
    """

    def __init__(
        self,
        collection: firestore.CollectionReference,
        query: firestore.Query,
        read_time: datetime.datetime,
        clock: str | None,
        open_stream: Open,
    ) -> None:
        self.collection = collection
        self.query = query
        self.read_time = read_time
        self.clock = clock
        self.open_stream = open_stream
        self.last: tuple[str, datetime.datetime | None] | None = None

    def __iter__(self) -> Iterator[Document]:
        """The documents.

        Raises:
            ExportError: the stream was cut again and again, or the read time is too old by now.
        """
        failures = 0
        while True:
            try:
                for document in self.open_stream(self._rest(), self.read_time):
                    self.last = (document.path, document.fields[self.clock] if self.clock else None)
                    failures = 0
                    yield document
            except PASSING as error:
                failures += 1
                self._wait(failures, error)
            except (FailedPrecondition, InvalidArgument) as error:
                self._explain(error)
                raise
            else:
                return

    def _rest(self) -> firestore.Query:
        if self.last is None:
            return self.query
        path, changed = self.last
        reference = self.collection.document(path.rsplit("/", 1)[1])
        return self.query.start_after([changed, reference] if self.clock else [reference])

    def _wait(self, failures: int, error: GoogleAPICallError) -> None:
        where = f"after {self.last[0]}" if self.last else "before its first document"
        if failures == STREAM_TRIES:
            raise ExportError(
                f"{self.collection.id}: the stream was cut {failures} times {where}: {error.message}; nothing was "
                f"committed, and the next try of this run goes on where its last whole part ended"
            ) from error
        LOG.warning("%s: the stream was cut %s, going on from there: %s", self.collection.id, where, error.message)
        time.sleep(min(2.0 ** (failures - 2), 16.0))

    def _explain(self, error: GoogleAPICallError) -> None:
        if now() - self.read_time > READ_TIME_LIFE:
            raise ExportError(
                f"{self.collection.id}: the export took longer than Firestore keeps the past: it reads as of "
                f"{self.read_time}, which is gone ({error.message}). Nothing was committed; a new run starts anew"
            ) from error
