"""Read a collection as of one moment and land it as one committed attempt.

What is streamed is compared with Firestore's own count at the same read time: an export that is short fails, it never
ends with fewer rows and success. The files count only once the attempt is committed, by one row in ops.commits.
"""

import datetime
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.parquet as pq
from google.cloud import firestore

from components.export_firestore.landing import Document, Findings, Landing
from goldline.clients import TIMEOUT, firestore_client
from goldline.contract import SourceContract, parse
from goldline.jobs import Jobs
from goldline.lake import Lake
from goldline.ops import Commit
from goldline.pseudonym import load_key
from goldline.record import CheckResult, Record, now, recorded
from goldline.run import Run
from goldline.schema import fields

LOG = logging.getLogger(__name__)
STREAM_SECONDS = 3600.0


class ExportError(RuntimeError):
    """The export is not what Firestore holds; nothing was committed."""


@dataclass(frozen=True)
class Exported:
    """A committed attempt."""

    uri: str
    rows: int
    read_time: datetime.datetime
    findings: Findings

    def summary(self) -> dict[str, str | int]:
        """What the artifact tells of itself."""
        return {"rows": self.rows, "read_time": self.read_time.isoformat(), "format": "parquet"}

    @property
    def counts(self) -> dict[str, int | float]:
        """Rows, and by field what was unread, ambiguous, drifted, undeclared or held back."""
        found = {f"{kind}_{name}": n for kind, by in vars(self.findings).items() for name, n in by.items() if n}
        return {"rows": self.rows, **found}


def export_firestore(run: Run, contract_text: str, collection: str, database: str) -> Exported:
    """Export a collection of the run's project.

    Raises:
        ExportError: the stream gave other than the documents that Firestore counted at its read time.
        UndeclaredError: a document has a field that the contract refuses.
        PseudonymKeyError: there is no key for pseudonyms.
    """
    contract = parse(json.loads(contract_text), "the contract in the spec")
    if not isinstance(contract, SourceContract):
        raise TypeError(f"{contract.table} is a table; export_firestore exports sources")
    with recorded(run, "export_firestore", contract.name) as record:
        documents = firestore_client(run.project, database).collection(collection)
        exported = _export(run, contract, documents)
        _commit(run, contract, exported)
        _report(record, contract, exported)
    return exported


def _export(run: Run, contract: SourceContract, collection: firestore.CollectionReference) -> Exported:
    landing = Landing(contract, load_key())
    [[counted]] = collection.count(alias="documents").get(timeout=TIMEOUT)
    attempt = f"{run.run_id}-{secrets.token_hex(4)}"
    folder = f"{contract.folder}/run_date={run.run_date}/attempt={attempt}"
    lake = Lake(run.project, run.bucket)
    rows = 0
    with (
        lake.writing(f"{folder}/part-00000.parquet") as stream,
        pq.ParquetWriter(stream, landing.schema, compression="zstd") as writer,
    ):
        for batch in landing.batches(_documents(collection, counted.read_time)):
            writer.write_batch(batch)
            rows += batch.num_rows
        if rows != counted.value:
            raise ExportError(
                f"{collection.id}: Firestore counted {int(counted.value)} documents at {counted.read_time}, "
                f"but the stream gave {rows}; nothing was committed"
            )
    return Exported(lake.uri(folder), rows, counted.read_time, landing.findings)


def _documents(collection: firestore.CollectionReference, read_time: datetime.datetime) -> Iterator[Document]:
    for snapshot in collection.stream(read_time=read_time, timeout=STREAM_SECONDS):
        path = snapshot.reference.path
        yield Document(path, snapshot.create_time, snapshot.update_time, snapshot.to_dict() or {})


def _commit(run: Run, contract: SourceContract, exported: Exported) -> None:
    commit = Commit(
        source=contract.source,
        run_date=run.run_date,
        attempt=exported.uri.rsplit("attempt=", 1)[1],
        files=1,
        rows=exported.rows,
        read_time=exported.read_time,
        run_id=run.run_id,
        committed_at=now(),
    )
    jobs = Jobs(run, contract.source.replace(".", "_"))
    jobs.append("commit", [commit.model_dump(mode="json")], run.table("ops.commits"), fields(Commit.columns()))


def _report(record: Record, contract: SourceContract, exported: Exported) -> None:
    record.counts = exported.counts
    for name, failing in exported.findings.unread.items():
        check = CheckResult(subject=contract.source, name=f"{name} can be read", level="warn", failing=failing)
        record.checks.append(check)
    LOG.info("%s: %s", exported.uri, ", ".join(f"{name} {n}" for name, n in exported.counts.items()))
