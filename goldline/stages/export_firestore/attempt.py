"""Attempt to export: part files of bounded size, and its progress, kept beside the run's records.

The next try of the same run resumes an attempt that died, as long as Firestore still keeps its read time.
"""

import datetime
import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from itertools import batched

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from goldline.clients import TIMEOUT, storage_client
from goldline.contracts import arrow
from goldline.contracts.source_contract import SourceContract
from goldline.firestore.calls import Database
from goldline.lake import Lake
from goldline.landing.attempts import attempt_folder
from goldline.privacy.pseudonym import Key
from goldline.runs.context import RunContext
from goldline.runs.pace import Pace
from goldline.runs.records import now
from goldline.stages.export_firestore import previous_records, reader
from goldline.stages.export_firestore.landed_documents import make_landing
from goldline.stages.export_firestore.plan import FULL, ExportError, Plan
from goldline.stages.export_firestore.reader import CollectionQuery, Cursor, Range, Reader, Stopped, read_ahead
from goldline.stages.export_firestore.rules import Findings

LOG = logging.getLogger(__name__)
PART_ROWS = 50_000  # of one file, like the next
PART_BYTES = 512 * 1024 * 1024  # of encoded documents
GROUP_BYTES = 8 * 1024 * 1024  # of a row group in memory, before it is compressed
READERS = 4  # ranges that are read in parallel
KNOWN_BATCH = 2000  # rows of earlier exports that are written at once


class RangeProgress(BaseModel):
    """Progress of one range of the collection.

    Attributes:
        within: the range.
        parts: number of complete part files.
        rows: number of rows in them.
        last: cursor of the last document in them.
        is_read: whether all documents of the range are in them.
        created: number of documents in them that were created after the plan's base was read.
        undated: number of documents in them whose change column is missing or of another type.
        encoded: size of these documents as Firestore sent them, in bytes.
        seconds: time that reading and landing them took.
        retries: number of times that the stream was cut.
        findings: counts of values that did not simply land, by kind and field.
    """

    model_config = ConfigDict(frozen=True)

    within: Range
    parts: int = 0
    rows: int = 0
    last: Cursor | None = None
    is_read: bool = False
    created: int = 0
    undated: int = 0
    encoded: int = 0
    seconds: float = 0.0
    retries: int = 0
    findings: dict[str, dict[str, int]] = {}

    @property
    def found(self) -> Findings:
        """Findings of the range."""
        return Findings(**{kind: Counter(by) for kind, by in self.findings.items()})


class Counts(BaseModel):
    """Firestore's counts at the read time.

    Attributes:
        documents: number of documents in the collection.
        expected: number of documents to read.
    """

    model_config = ConfigDict(frozen=True)

    documents: int
    expected: int


class Progress(BaseModel):
    """Progress of an attempt: what it reads, and what its complete part files hold.

    Attributes:
        asked: requested mode.
        plan: plan that the first try decided on.
        counts: Firestore's counts; None until they are known.
        key_check: fingerprint of the key of its pseudonyms.
        contract_hash: SHA-256 of the contract that its files keep.
        ranges: progress of each range that the documents were split into.
        deleted: number of records that are gone and were landed as deleted.
        carried: number of rows carried over from the date's earlier attempt, as they were not read again.
    """

    model_config = ConfigDict(frozen=True)

    attempt: str
    asked: str
    plan: Plan
    read_time: datetime.datetime
    counts: Counts | None
    origin: str
    key_version: str
    key_check: str
    contract_hash: str
    ranges: tuple[RangeProgress, ...]
    deleted: int = 0
    carried: int = 0

    @property
    def found(self) -> Findings:
        """Findings of all ranges."""
        found = Findings()
        for part in self.ranges:
            found.add(part.found)
        return found

    def total(self, what: str) -> int:
        """Sum of a number such as `rows` over all ranges."""
        return sum(getattr(part, what) for part in self.ranges)


def saved(run: RunContext, contract: SourceContract) -> Progress | None:
    """Progress of an earlier try of this run; None if there is none to resume."""
    lake, path = Lake(run.project, run.bucket), _path(run, contract)
    text = lake.read_text(path) if lake.exists(path) else ""
    return Progress.model_validate_json(text) if text else None


def save(run: RunContext, contract: SourceContract, progress: Progress | None) -> None:
    """Save the progress for the next try of this run; None: there is nothing to resume."""
    Lake(run.project, run.bucket).write_text(_path(run, contract), progress.model_dump_json() if progress else "")


def why_not(progress: Progress, contract: SourceContract, key: Key, asked: str, origin: str) -> str | None:
    """Reason why an earlier try's progress cannot be resumed; None if it can."""
    if now() - progress.read_time > reader.READ_TIME_LIFE:
        return f"its read time {progress.read_time} is older than Firestore keeps the past"
    if progress.key_check != key.fingerprint:
        return "the key changed meanwhile"
    if (progress.contract_hash, progress.asked, progress.origin) != (contract_hash(contract), asked, origin):
        return "contract, mode or collection changed meanwhile"
    return None


def count(database: Database, question: CollectionQuery, read_time: datetime.datetime) -> Counts:
    """Count the documents of the whole collection and those of the query, as of a read time."""
    parent, whole = question.parent(database), CollectionQuery(question.collection)
    documents, _ = database.count(parent, whole.query(), read_time)
    expected = documents if question == whole else database.count(parent, question.query(), read_time)[0]
    return Counts(documents=documents, expected=expected)


def contract_hash(contract: SourceContract) -> str:
    """SHA-256 of the contract, the same for all files of one attempt."""
    return hashlib.sha256(contract.model_dump_json().encode()).hexdigest()


class Attempt:
    """Attempt that lands documents in its folder."""

    def __init__(self, run: RunContext, contract: SourceContract, key: Key, progress: Progress) -> None:
        self.run = run
        self.contract = contract
        self.key = key
        self.plan = progress.plan
        self.progress = progress
        self.folder = attempt_folder(contract, run.run_date, progress.attempt)
        self.lake = Lake(run.project, run.bucket)
        self.schema = arrow.schema(contract.file_columns)
        self.keys: list[pa.StringArray] = []  # of landed rows, kept only if earlier records are compared with them
        self.has_keys = False
        self._saving = threading.Lock()
        self._stop = threading.Event()

    def land(self, connect: Callable[[], Database], question: CollectionQuery) -> None:
        """Land all documents that are not landed yet, ranges in parallel.

        Raises:
            ExportError: their number is not Firestore's count, or none of them has the contract's key.
        """
        if self.plan.mode == FULL or self.plan.known_dates:
            for keys in self._landed_keys():
                self._keep(keys)
        todo = [number for number, part in enumerate(self.progress.ranges) if not part.is_read]
        counts = self.progress.counts
        expected, done = counts.expected if counts else None, self.progress.total("rows")
        pace = Pace(self.progress.origin, "documents", expected, done)
        with ThreadPoolExecutor(READERS + (counts is None), "range") as pool:
            landing = [pool.submit(self._land_range, number, connect, question, pace) for number in todo]
            if counts is None:
                landing.append(pool.submit(self._count, connect, question, pace))
            try:
                wait(landing, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
        errors = [error for task in landing if not task.cancelled() and (error := task.exception())]
        for error in sorted(errors, key=lambda e: isinstance(e, Stopped)):
            raise error
        self._check(self.progress)

    def land_known(self) -> None:
        """Land records of earlier exports that this one did not read: deletions, and the date's own earlier rows.

        Only the newest attempt of a date counts, so rows that only its earlier ones held are carried over.
        """
        if not self.plan.known_dates:
            return
        is_sweep = self.plan.mode == FULL
        before = previous_records.PreviousRecords(self.run, self.contract, self.plan.known_dates)
        wanted = (r.key for r in before.records() if r.is_of_date or (is_sweep and not r.is_deleted))
        missing = previous_records.unread(wanted, self.keys)
        gone = carried = 0
        if missing:
            with self._writing("known-00000") as writer:
                for rows in batched(before.rows(missing), KNOWN_BATCH, strict=False):
                    living = [r for r in rows if is_sweep and not r["_is_deleted"]]
                    kept = [r for r in rows if not is_sweep or r["_is_deleted"]]
                    gone, carried = gone + len(living), carried + len(kept)
                    living = [previous_records.deleted(r, self.contract, self.progress.read_time) for r in living]
                    writer.write_batch(previous_records.batch_of(living + kept, self.contract))
        self.progress = self.progress.model_copy(update={"deleted": gone, "carried": carried})
        save(self.run, self.contract, self.progress)

    @property
    def files(self) -> int:
        """Number of files of the attempt."""
        return self.progress.total("parts") + bool(self.progress.deleted + self.progress.carried)

    @property
    def rows(self) -> int:
        """Number of rows of the attempt."""
        return self.progress.total("rows") + self.progress.deleted + self.progress.carried

    @property
    def counts(self) -> Counts:
        """Firestore's counts; known once everything is landed."""
        if self.progress.counts is None:
            raise RuntimeError("nothing was counted yet")
        return self.progress.counts

    @property
    def unexplained(self) -> int | None:
        """Growth of the collection since the plan's base, less the documents read that are new; None without a base.

        Every document that was created since the base was read, and has a change time, is among those read. So a value
        n > 0 means that at least n new documents have none (or an old one); n < 0, that at least -n were deleted. At 0
        the two may cancel out.
        """
        base = self.plan.base
        if base is None or base.documents is None:
            return None
        return self.counts.documents - base.documents - self.progress.total("created")

    @contextmanager
    def _writing(self, name: str) -> Iterator[pq.ParquetWriter]:
        """Open a file that appears complete when the block succeeds, and not at all when it fails."""
        lake = Lake(self.run.project, self.run.bucket)  # a client of its own: ranges are landed in parallel
        with (
            lake.writing(f"{self.folder}/{name}.parquet") as stream,
            pq.ParquetWriter(stream, self.schema, compression="zstd") as writer,
        ):
            yield writer

    def _land_range(self, number: int, connect: Callable[[], Database], question: CollectionQuery, pace: Pace) -> None:
        before = part = self.progress.ranges[number]
        began = time.monotonic()
        documents = Reader(connect(), question, part.within, self.progress.read_time, part.last, self._stop)
        with read_ahead(documents) as batches:
            while not part.is_read:
                first = next(batches, None)
                if first is None and part.parts:
                    part = part.model_copy(update={"is_read": True})
                else:
                    with self._writing(_part_name(number, part.parts)) as writer:
                        part = self._land_part(part, first, batches, writer, documents, pace)
                effort = {"seconds": before.seconds + time.monotonic() - began}
                effort["retries"] = before.retries + documents.retries
                part = part.model_copy(update=effort)
                self._save_range(number, part)

    def _land_part(
        self,
        done: RangeProgress,
        first: Sequence[bytes] | None,
        batches: Iterator[Sequence[bytes]],
        writer: pq.ParquetWriter,
        documents: Reader,
        pace: Pace,
    ) -> RangeProgress:
        """Land one part file of a range, from `first`, a batch that was read already."""
        landing = make_landing(self.contract, self.key)
        group = _RowGroup(writer)
        rows = encoded = created = undated = 0
        last, responses = done.last, first
        while responses is not None:
            if self._stop.is_set():
                raise Stopped
            batch = landing.land(responses)
            last = documents.place_of(responses) or last
            rows, encoded = rows + batch.num_rows, encoded + sum(map(len, responses))
            created += self._created(batch)
            if clock := self.contract.change_clock:
                undated += batch[clock].null_count
            if self.plan.mode == FULL or self.plan.known_dates:
                self._keep(previous_records.keys_of(batch, self.contract))
            group.add(batch)
            pace.add(batch.num_rows)
            if rows >= PART_ROWS or encoded >= PART_BYTES:
                break
            responses = next(batches, None)
        group.write()
        found = done.found
        found.add(landing.findings)
        return done.model_copy(
            update={
                "parts": done.parts + 1,
                "rows": done.rows + rows,
                "last": last,
                "is_read": responses is None,
                "created": done.created + created,
                "undated": done.undated + undated,
                "encoded": done.encoded + encoded,
                "findings": {kind: dict(by) for kind, by in vars(found).items()},
            }
        )

    def _count(self, connect: Callable[[], Database], question: CollectionQuery, pace: Pace) -> None:
        with closing(connect()) as database:
            counts = count(database, question, self.progress.read_time)
        pace.expected = counts.expected
        with self._saving:
            self.progress = self.progress.model_copy(update={"counts": counts})

    def _save_range(self, number: int, part: RangeProgress) -> None:
        with self._saving:
            ranges = [*self.progress.ranges]
            ranges[number] = part
            self.progress = self.progress.model_copy(update={"ranges": tuple(ranges)})
            save(self.run, self.contract, self.progress)

    def _keep(self, keys: pa.StringArray) -> None:
        self.has_keys = self.has_keys or len(keys) > 0
        if self.plan.known_dates:
            self.keys.append(keys)

    def _created(self, batch: pa.RecordBatch) -> int:
        if self.plan.base is None:
            return 0
        since = pa.scalar(self.plan.base.read_time, arrow.TYPES["TIMESTAMP"])
        return int(pc.sum(pc.greater(batch["_created"], since)).as_py() or 0)

    def _check(self, progress: Progress) -> None:
        if (rows := progress.total("rows")) != self.counts.expected:
            save(self.run, self.contract, None)  # the next try starts from the beginning
            raise ExportError(
                f"{progress.origin}: Firestore counted {self.counts.expected} documents at {progress.read_time}, "
                f"but the stream gave {rows}; nothing was committed"
            )
        if self.plan.mode == FULL and rows and not self.has_keys:
            save(self.run, self.contract, None)
            raise ExportError(
                f"{progress.origin}: none of its {rows} documents has {self.contract.key}, the key of "
                f"{self.contract.source}: it holds another kind of document; nothing was committed"
            )

    def _landed_keys(self) -> Iterator[pa.StringArray]:
        """Keys in the part files of an earlier try."""
        bucket = storage_client(self.run.project).bucket(self.run.bucket)
        names = [_part_name(at, n) for at, part in enumerate(self.progress.ranges) for n in range(part.parts)]
        for name in names:
            blob = bucket.blob(f"{self.folder}/{name}.parquet")
            with blob.open("rb", timeout=TIMEOUT) as stream, pq.ParquetFile(stream) as file:
                for batch in file.iter_batches(columns=[self.contract.key, "_rest"]):
                    yield previous_records.keys_of(batch, self.contract)


class _RowGroup:
    """Buffer that gathers batches into large row groups: many small ones are slow to read and compress badly."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._batches: list[pa.RecordBatch] = []
        self._size = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a batch, and write the group once it is large."""
        self._batches.append(batch)
        self._size += batch.nbytes
        if self._size >= GROUP_BYTES:
            self.write()

    def write(self) -> None:
        """Write the batches added so far as one row group."""
        if table := pa.Table.from_batches(self._batches) if self._batches else None:
            self._writer.write_table(table, row_group_size=table.num_rows or None)
        self._batches, self._size = [], 0


def _part_name(number: int, part: int) -> str:
    return f"part-{number:05d}-{part:05d}"


def _path(run: RunContext, contract: SourceContract) -> str:
    return f"{run.records}/exports/{contract.name}.json"
