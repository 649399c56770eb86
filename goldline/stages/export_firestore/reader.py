"""Stream of a collection's encoded documents as of one read time, in an order that can be resumed after any document.

A full export is split at the names that Firestore's PartitionQuery gives. Its ranges are read in parallel, and each is
short enough that the service does not cut it (streams die near 60 s). Where that call is missing, and for incremental
exports, there is one stream. A stream that is cut resumes after its last document.
"""

import datetime
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Queue, ShutDown

from google.api_core.exceptions import FailedPrecondition, GoogleAPICallError, InvalidArgument
from pydantic import BaseModel, ConfigDict

from goldline.firestore import values
from goldline.firestore.calls import PASSING, Database, RunQueryResponse, StructuredQuery
from goldline.firestore.values import Proto
from goldline.runs.records import now
from goldline.stages.export_firestore.plan import ExportError

LOG = logging.getLogger(__name__)
NAME = "__name__"
BATCH = 2000  # documents that are landed at once; fewer if they have:
BATCH_BYTES = 8 * 1024 * 1024
AHEAD = 4  # batches read before they are landed; with one, the stream waited for each row group to be written
STREAM_TRIES = 8  # consecutive tries without a document between them
PAUSE, PAUSE_MAX = 0.5, 16.0  # seconds before the second retry, doubled for each further one; their maximum
# Firestore keeps the past for one hour: https://cloud.google.com/firestore/docs/use-pitr. (With point-in-time recovery
# seven days, but only at whole minutes; a read time is taken to the microsecond, so that nothing recent is missed.)
READ_TIME_LIFE = datetime.timedelta(minutes=55)
_ASCENDING, _AT_LEAST = 1, 4  # StructuredQuery.Direction and FieldFilter.Operator
_NUMERIC_ID = re.compile(r"__id(-?\d+)__")

Cursor = tuple[str, datetime.datetime | None]  # a document's name and, in incremental reads, its change time


class Range(BaseModel):
    """Range of document names, from `start` to before `end`; None: from the first, to the last."""

    model_config = ConfigDict(frozen=True)

    start: str | None = None
    end: str | None = None


@dataclass(frozen=True)
class CollectionQuery:
    """Query of a collection: all documents by name, or those changed since a watermark by change time.

    A filter by time matches only timestamps: documents without one are read by full exports only.

    Attributes:
        collection: path of the collection, such as `orders` or `shops/vienna/orders`.
        clock: field of the change time; None: all documents.
        watermark: earliest change time to read.
    """

    collection: str
    clock: str | None = None
    watermark: datetime.datetime | None = None

    @property
    def collection_id(self) -> str:
        """Last part of the collection's path."""
        return self.collection.rpartition("/")[2]

    def parent(self, database: Database) -> str:
        """Full name of the document or database that the collection lies in."""
        above = self.collection.rpartition("/")[0]
        return f"{database.root}/{above}" if above else database.root

    def query(self, part: Range | None = None, after: Cursor | None = None) -> Proto:
        """StructuredQuery for all documents, for those of a range, or for those after a cursor."""
        query = StructuredQuery()
        query.from_.add(collection_id=self.collection_id)
        if self.clock and self.watermark:
            wanted = query.where.field_filter
            wanted.field.field_path, wanted.op = self.clock, _AT_LEAST
            values.encode(self.watermark, wanted.value)
            query.order_by.add(direction=_ASCENDING).field.field_path = self.clock
        query.order_by.add(direction=_ASCENDING).field.field_path = NAME
        if after:
            if self.clock:
                values.encode(after[1], query.start_at.values.add())
            query.start_at.values.add(reference_value=after[0])  # without `before`: start after it
        elif part and part.start:
            query.start_at.values.add(reference_value=part.start)
            query.start_at.before = True
        if part and part.end:
            query.end_at.values.add(reference_value=part.end)
            query.end_at.before = True
        return query


def split(
    database: Database, question: CollectionQuery, count: Callable[[], int], rows: int, read_time: datetime.datetime
) -> list[Range]:
    """Split a collection into ranges of about `rows` documents; one range where Firestore does not split.

    Firestore splits a collection group: all collections of that id, wherever they lie. A split point within a
    document's own subcollection is moved to that document, and split points elsewhere are left out.

    Args:
        database: the database that holds the collection.
        question: query for the documents.
        count: function that counts them; called only if needed.
        rows: number of documents of a range.
        read_time: time as of which they are read.
    """
    if question.clock:
        return [Range()]
    group = StructuredQuery()
    group.from_.add(collection_id=question.collection_id, all_descendants=True)
    group.order_by.add(direction=_ASCENDING).field.field_path = NAME
    if database.split(database.root, group, 2, read_time) is None:
        LOG.info("%s: the service does not split collections, so it is read as one stream", question.collection)
        return [Range()]
    if (parts := -(-count() // rows)) < 2:
        return [Range()]
    names = database.split(database.root, group, parts, read_time) or []
    collection = f"{question.parent(database)}/{question.collection_id}/"
    ids = {name.removeprefix(collection).partition("/")[0] for name in names if name.startswith(collection)}
    starts = [collection + document_id for document_id in sorted(ids, key=_order)]
    return [Range(start=a, end=b) for a, b in zip([None, *starts], [*starts, None], strict=True)]


def _order(document_id: str) -> tuple[int, int, bytes]:
    """Sort key for the ids of one collection in Firestore's order: numeric ones first, the others by bytes.

    https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
    """
    numeric = _NUMERIC_ID.fullmatch(document_id)
    return (0, int(numeric[1]), b"") if numeric else (1, 0, document_id.encode())


class Reader:
    """Stream of a range as of a read time; if it is cut, it resumes after the last document.

    Attributes:
        retries: number of times that the stream was cut.
    """

    def __init__(
        self,
        database: Database,
        question: CollectionQuery,
        part: Range,
        read_time: datetime.datetime,
        last: Cursor | None,
        stop: threading.Event,
    ) -> None:
        self.database = database
        self.question = question
        self.part = part
        self.read_time = read_time
        self.stop = stop
        self.retries = 0
        self._last = last

    def batches(self) -> Iterator[list[bytes]]:
        """Encoded RunQueryResponses in batches of up to BATCH of them, or about BATCH_BYTES.

        Raises:
            ExportError: the stream was cut STREAM_TRIES times without progress, or the read time is too old.
        """
        batch: list[bytes] = []
        size = failures = 0
        while True:
            before = self._last
            try:
                query = self.question.query(self.part, self._last)
                for response in self.database.stream(self.question.parent(self.database), query, self.read_time):
                    batch.append(response)
                    size += len(response)
                    if len(batch) == BATCH or size >= BATCH_BYTES:
                        self._last = self.place_of(batch) or self._last
                        yield batch
                        batch, size = [], 0
            except PASSING as error:
                self._last = self.place_of(batch) or self._last
                failures = failures + 1 if self._last == before else 1
                self._wait(failures, error)
            except (FailedPrecondition, InvalidArgument) as error:
                self._explain(error)
                raise
            else:
                if batch:
                    yield batch
                return

    def place_of(self, responses: Sequence[bytes]) -> Cursor | None:
        """Cursor of the last document in the responses; None if there is none."""
        for response in map(RunQueryResponse.FromString, reversed(responses)):
            if response.HasField("document"):
                clock = self.question.clock
                changed = values.decode(response.document.fields[clock]) if clock else None
                return response.document.name, changed
        return None

    def _wait(self, failures: int, error: GoogleAPICallError) -> None:
        collection = self.question.collection
        where = f"after {self._last[0].split('/documents/')[1]}" if self._last else "before its first document"
        if failures == STREAM_TRIES:
            raise ExportError(
                f"{collection}: the stream was cut {failures} times {where}: {error.message}; nothing was "
                f"committed, and the next try of this run goes on where its last whole part ended"
            ) from error
        self.retries += 1
        LOG.warning("%s: the stream was cut %s, going on from there: %s", collection, where, error.message)
        if failures > 1 and self.stop.wait(min(PAUSE * 2.0 ** (failures - 2), PAUSE_MAX)):
            raise Stopped

    def _explain(self, error: GoogleAPICallError) -> None:
        if now() - self.read_time > READ_TIME_LIFE:
            raise ExportError(
                f"{self.question.collection}: the export took longer than Firestore keeps the past: it reads as of "
                f"{self.read_time}, which is gone ({error.message}). Nothing was committed; a new run starts anew"
            ) from error


@contextmanager
def read_ahead(documents: Reader) -> Iterator[Iterator[list[bytes]]]:
    """Read batches ahead on another thread while one is landed; thread and connection end with the block."""
    found: Queue[list[bytes] | BaseException | None] = Queue(maxsize=AHEAD)

    def read() -> None:
        last: BaseException | None = None
        with suppress(ShutDown):
            try:
                for batch in documents.batches():
                    found.put(batch)
            except BaseException as error:  # noqa: BLE001, raised where the batches are landed
                last = error
            found.put(last)

    def given() -> Iterator[list[bytes]]:
        while (batch := found.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    reading = threading.Thread(target=read, name="read-ahead")
    reading.start()
    try:
        yield given()
    finally:
        found.shutdown(immediate=True)
        documents.database.close()  # ends a stream that waits for its next document
        reading.join()


class Stopped(Exception):  # noqa: N818, not an error: the other range's is reported
    """Stop of a range because another range failed."""
