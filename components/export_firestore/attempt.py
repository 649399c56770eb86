"""One attempt to export: part files of bounded size, and beside the run's records how far it got.

What dies is taken up by the next try of the same run, as long as Firestore still keeps the past that it reads.
"""

import datetime
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import batched, islice

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from components.export_firestore import known, reader
from components.export_firestore.landing import BATCH, Findings, Landing
from components.export_firestore.plan import FULL, ExportError, Plan
from components.export_firestore.reader import Reader
from goldline.clients import TIMEOUT, storage_client
from goldline.contract import SourceContract
from goldline.lake import Lake
from goldline.pseudonym import Key
from goldline.record import now
from goldline.run import Run

LOG = logging.getLogger(__name__)
PART_ROWS = 50_000


class Progress(BaseModel):
    """How far an attempt got: what it reads, and what its whole parts hold.

    Attributes:
        asked: the mode that was asked for.
        plan: what is read, as it was decided by the first try.
        documents: in the collection as of the read time.
        expected: documents to read, as Firestore counted them at the read time.
        key_check: fingerprint of the key of its pseudonyms.
        contract_hash: of the contract that its files keep.
        parts: part files that are whole.
        rows: rows in them.
        last: name and time of change of the last document in them.
        is_read: whether all documents are.
        created: documents in them that were created after the plan's base was read.
        undated: documents in them whose change column is missing or of another type.
        findings: what landing found in them.
        deleted: records that are gone, landed as deleted.
        carried: rows of the date's earlier attempt that this one did not read again.
    """

    model_config = ConfigDict(frozen=True)

    attempt: str
    asked: str
    plan: Plan
    read_time: datetime.datetime
    documents: int
    expected: int
    origin: str
    key_version: str
    key_check: str
    contract_hash: str
    parts: int = 0
    rows: int = 0
    last: tuple[str, datetime.datetime | None] | None = None
    is_read: bool = False
    created: int = 0
    undated: int = 0
    findings: dict[str, dict[str, int]] = {}
    deleted: int = 0
    carried: int = 0

    @property
    def found(self) -> Findings:
        """What landing found."""
        return Findings(**{kind: Counter(by) for kind, by in self.findings.items()})


def saved(run: Run, contract: SourceContract) -> Progress | None:
    """The progress of an earlier try of this run, if there is any."""
    lake, path = Lake(run.project, run.bucket), _path(run, contract)
    text = lake.read_text(path) if lake.exists(path) else ""
    return Progress.model_validate_json(text) if text else None


def save(run: Run, contract: SourceContract, progress: Progress | None) -> None:
    """Keep the progress for the next try of this run; None: there is nothing to take up."""
    Lake(run.project, run.bucket).write_text(_path(run, contract), progress.model_dump_json() if progress else "")


def why_not(progress: Progress, contract: SourceContract, key: Key, asked: str, origin: str) -> str | None:
    """Why an earlier try's progress cannot be taken up; None if it can."""
    if now() - progress.read_time > reader.READ_TIME_LIFE:
        return f"its read time {progress.read_time} is older than Firestore keeps the past"
    if progress.key_check != key.fingerprint:
        return "the key changed meanwhile"
    if (progress.contract_hash, progress.asked, progress.origin) != (contract_hash(contract), asked, origin):
        return "contract, mode or collection changed meanwhile"
    return None


def contract_hash(contract: SourceContract) -> str:
    """What files of one attempt must have in common."""
    return hashlib.sha256(contract.model_dump_json().encode()).hexdigest()


class Attempt:
    """Lands documents into one attempt's folder."""

    def __init__(self, run: Run, contract: SourceContract, key: Key, progress: Progress) -> None:
        self.run = run
        self.contract = contract
        self.plan = progress.plan
        self.progress = progress
        self.folder = f"{contract.folder}/run_date={run.run_date}/attempt={progress.attempt}"
        self.lake = Lake(run.project, run.bucket)
        self.landing = Landing(contract, key)
        self.landing.findings = progress.found
        self.needs_keys = self.plan.mode == FULL or bool(self.plan.known_dates)
        self.keys: set[str] = set()

    def land(self, documents: Reader) -> None:
        """Land all documents that were not landed yet.

        Raises:
            ExportError: these are not the documents that Firestore counted, or of another kind altogether.
        """
        documents.last = self.progress.last
        if self.needs_keys:
            self.keys.update(self._landed_keys())
        batches = self.landing.batches(documents)
        while not self.progress.is_read:
            with self._writing(f"part-{self.progress.parts:05d}") as writer:
                progress = self._land_part(batches, writer, documents)
                if progress.is_read:
                    self._check(progress)
            self.progress = progress
            save(self.run, self.contract, progress)

    def land_known(self) -> None:
        """Land what earlier exports knew and this one did not read: deletions, and the date's own earlier rows.

        The newest attempt of a date takes the place of its earlier ones, so what only those held is carried over.
        """
        if not self.plan.known_dates:
            return
        is_sweep = self.plan.mode == FULL
        before = known.Known(self.run, self.contract, self.plan.known_dates)
        unread = (r for r in before.records() if r.key not in self.keys)
        missing = [r.key for r in unread if r.is_of_date or (is_sweep and not r.is_deleted)]
        gone = carried = 0
        if missing:
            with self._writing("known-00000") as writer:
                for rows in batched(before.rows(missing), BATCH, strict=False):
                    living = [r for r in rows if is_sweep and not r["_is_deleted"]]
                    kept = [r for r in rows if not is_sweep or r["_is_deleted"]]
                    gone, carried = gone + len(living), carried + len(kept)
                    living = [known.deleted(r, self.contract, self.progress.read_time) for r in living]
                    writer.write_batch(known.batch_of(living + kept, self.contract))
        self.progress = self.progress.model_copy(update={"deleted": gone, "carried": carried})
        save(self.run, self.contract, self.progress)

    @property
    def files(self) -> int:
        """Files of the attempt."""
        return self.progress.parts + bool(self.progress.deleted + self.progress.carried)

    @property
    def rows(self) -> int:
        """Rows of the attempt."""
        return self.progress.rows + self.progress.deleted + self.progress.carried

    @property
    def unexplained(self) -> int | None:
        """How far the collection's size is from what the documents read explain; None where nothing is comparable.

        Every document that was created since the base was read, and has a time of change, is among those read. So
        above zero at least so many new ones have none (or an old one), and below at least so many were deleted. Zero
        can hide as many of the one as of the other.
        """
        base = self.plan.base
        if base is None or base.documents is None:
            return None
        return self.progress.documents - base.documents - self.progress.created

    @contextmanager
    def _writing(self, name: str) -> Iterator[pq.ParquetWriter]:
        """A file that appears whole when the block ends well, and not at all when it fails."""
        with (
            self.lake.writing(f"{self.folder}/{name}.parquet") as stream,
            pq.ParquetWriter(stream, self.landing.schema, compression="zstd") as writer,
        ):
            yield writer

    def _land_part(self, batches: Iterable[pa.RecordBatch], writer: pq.ParquetWriter, documents: Reader) -> Progress:
        read = created = undated = 0
        is_read = True
        most = PART_ROWS // BATCH
        for number, batch in enumerate(islice(batches, most), 1):
            writer.write_batch(batch)
            is_read = number < most or batch.num_rows < BATCH
            read += batch.num_rows
            created += self._created(batch)
            if clock := self.contract.change_clock:
                undated += batch[clock].null_count
            if self.needs_keys:
                self.keys.update(known.keys_of(batch, self.contract))
        done = self.progress
        return done.model_copy(
            update={
                "parts": done.parts + 1,
                "rows": done.rows + read,
                "last": documents.last,
                "is_read": is_read,
                "created": done.created + created,
                "undated": done.undated + undated,
                "findings": {kind: dict(by) for kind, by in vars(self.landing.findings).items()},
            }
        )

    def _created(self, batch: pa.RecordBatch) -> int:
        if self.plan.base is None:
            return 0
        since = self.plan.base.read_time
        return sum(1 for moment in batch["_created"].to_pylist() if moment and moment > since)

    def _check(self, progress: Progress) -> None:
        if progress.rows != progress.expected:
            save(self.run, self.contract, None)  # the next try starts anew
            raise ExportError(
                f"{progress.origin}: Firestore counted {progress.expected} documents at {progress.read_time}, "
                f"but the stream gave {progress.rows}; nothing was committed"
            )
        if self.plan.mode == FULL and progress.rows and not self.keys:
            save(self.run, self.contract, None)
            raise ExportError(
                f"{progress.origin}: none of its {progress.rows} documents has {self.contract.key}, the key of "
                f"{self.contract.source}: it holds another kind of document; nothing was committed"
            )

    def _landed_keys(self) -> Iterator[str]:
        """The keys in the parts of an earlier try."""
        bucket = storage_client(self.run.project).bucket(self.run.bucket)
        for number in range(self.progress.parts):
            blob = bucket.blob(f"{self.folder}/part-{number:05d}.parquet")
            with blob.open("rb", timeout=TIMEOUT) as stream, pq.ParquetFile(stream) as file:
                for batch in file.iter_batches(columns=[self.contract.key, "_rest"]):
                    yield from known.keys_of(batch, self.contract)


def _path(run: Run, contract: SourceContract) -> str:
    return f"{run.records}/exports/{contract.name}.json"
