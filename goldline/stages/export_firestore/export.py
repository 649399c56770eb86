"""Read a collection as of one read time and land it as one committed attempt.

The number of streamed documents is compared with Firestore's own count of the same query at the same read time, so an
export with missing rows fails. Readers see the files only once the attempt is committed, by one row in ops.commits.
"""

import datetime
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from goldline.contracts.loading import parse
from goldline.contracts.source_contract import SourceContract
from goldline.firestore.calls import Database
from goldline.landing.attempts import append_commits, new_attempt, read_commits, source_jobs
from goldline.privacy.pseudonym import Key, load_key
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.runs.records import CheckResult, Record, now, recorded, retry_marker
from goldline.stages.export_firestore import attempt as attempts
from goldline.stages.export_firestore import reader
from goldline.stages.export_firestore.attempt import Attempt, Counts, Progress, RangeProgress
from goldline.stages.export_firestore.plan import FULL, ExportError, Plan, make_plan
from goldline.stages.export_firestore.reader import CollectionQuery
from goldline.stages.export_firestore.rules import Findings

__all__ = ["ExportError", "Exported", "export_firestore"]
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """Result of an export: a committed attempt.

    Attributes:
        numbers: `documents` in the collection, documents `read`, records `deleted` and `carried` over, `undated`
            documents (without a change time), `unexplained` (see Attempt), `bytes` that Firestore sent, `retries` of
            cut streams, and `seconds` of reading and landing, summed over parallel ranges.
    """

    uri: str
    rows: int
    read_time: datetime.datetime
    findings: Findings
    mode: str
    numbers: dict[str, int | float]

    def summary(self) -> dict[str, str | int]:
        """Metadata of the artifact."""
        return {"rows": self.rows, "read_time": self.read_time.isoformat(), "format": "parquet", "mode": self.mode}

    @property
    def counts(self) -> dict[str, int | float]:
        """Counts for the task record: rows, numbers, and findings above 0 by kind and field."""
        found = {f"{kind}_{name}": n for kind, by in vars(self.findings).items() for name, n in by.items() if n}
        return {"rows": self.rows, **self.numbers, **found}


def export_firestore(
    run: RunContext, contract_text: str, collection: str, database: str, mode: str = "auto"
) -> Exported:
    """Export what changed in a collection of the run's project, or all of it.

    Args:
        run: the run's context.
        contract_text: the source's contract, as JSON.
        collection: path of the collection.
        database: the Firestore database that holds it.
        mode: `auto` or empty: what changed, or everything if that is due (plan.py); `full`: everything.

    Raises:
        ExportError: the stream gave another number of documents than Firestore's count, or was cut too often; or the
            collection is not the one that was exported before.
        WrongKeyError: the key is neither that of earlier exports nor its successor.
        UndeclaredError: a document has a field that the contract refuses.
        PseudonymKeyError: there is no key for pseudonyms.
    """
    contract = parse(json.loads(contract_text), "the contract in the spec")
    if not isinstance(contract, SourceContract):
        raise TypeError(f"{contract.table} is a table; export_firestore exports sources")
    with recorded(run, "export_firestore", contract.name) as record:
        connect = partial(Database, run.project, database)
        exported = _export(run, contract, connect, collection, f"{run.project}/{database}/{collection}", mode)
        _report(record, contract, exported)
    return exported


def _export(
    run: RunContext, contract: SourceContract, connect: Callable[[], Database], collection: str, origin: str, mode: str
) -> Exported:
    key = load_key(run.project)
    commits = read_commits(source_jobs(run, contract), contract)
    progress = attempts.saved(run, contract)
    if progress and progress.attempt in [c.attempt for c in commits]:
        if not retry_marker():
            LOG.info("%s was exported by an earlier try of this run", contract.source)
            return _exported(Attempt(run, contract, key, progress))
        progress = None
    if progress and (why := attempts.why_not(progress, contract, key, mode, origin)):
        LOG.warning(
            "%s: an earlier try of this run got to %d rows, but %s", contract.source, progress.total("rows"), why
        )
        progress = None
    if progress:
        LOG.info("%s: going on after %d rows of an earlier try", contract.source, progress.total("rows"))
    else:
        plan = make_plan(run.run_date, contract, commits, key, mode, origin)
        progress = _begin(run, contract, connect, collection, plan, key, origin, mode)
        LOG.info("%s: %s as of %s: %s", contract.source, plan.mode, progress.read_time, plan.why)
    attempt = Attempt(run, contract, key, progress)
    attempt.land(connect, _question(contract, collection, progress.plan))
    attempt.land_known()
    _commit(attempt)
    return _exported(attempt)


def _begin(
    run: RunContext,
    contract: SourceContract,
    connect: Callable[[], Database],
    collection: str,
    plan: Plan,
    key: Key,
    origin: str,
    mode: str,
) -> Progress:
    """Fix the read time, and split the query into ranges.

    A single stream is counted while it is read, since counting millions of documents takes long.
    """
    database, question = connect(), _question(contract, collection, plan)
    read_time = database.moment()
    counted: list[Counts] = []

    def count() -> int:
        counted.append(attempts.count(database, question, read_time))
        return counted[0].expected

    ranges = reader.split(database, question, count, attempts.PART_ROWS, read_time)
    database.close()
    return Progress(
        attempt=new_attempt(run),
        asked=mode,
        plan=plan,
        read_time=read_time,
        counts=counted[0] if counted else None,
        origin=origin,
        key_version=key.version,
        key_check=key.fingerprint,
        contract_hash=attempts.contract_hash(contract),
        ranges=tuple(RangeProgress(within=part) for part in ranges),
    )


def _question(contract: SourceContract, collection: str, plan: Plan) -> CollectionQuery:
    return CollectionQuery(collection, contract.change_clock if plan.mode != FULL else None, plan.watermark)


def _commit(attempt: Attempt) -> None:
    run, contract, progress = attempt.run, attempt.contract, attempt.progress
    commit = Commit(
        source=contract.source,
        run_date=run.run_date,
        attempt=progress.attempt,
        files=attempt.files,
        rows=attempt.rows,
        mode=progress.plan.mode,
        watermark=progress.plan.watermark,
        documents=attempt.counts.documents,
        origin=progress.origin,
        pii_key_version=progress.key_version,
        pii_key_check=progress.key_check,
        read_time=progress.read_time,
        run_id=run.run_id,
        committed_at=now(),
    )
    append_commits(source_jobs(run, contract), [commit])


def _exported(attempt: Attempt) -> Exported:
    done = attempt.progress
    numbers: dict[str, int | float] = {"documents": attempt.counts.documents, "read": done.total("rows")}
    numbers |= {"deleted": done.deleted, "carried": done.carried, "undated": done.total("undated")}
    numbers |= {"bytes": done.total("encoded"), "retries": done.total("retries")}
    numbers["seconds"] = round(sum(part.seconds for part in done.ranges), 3)
    if attempt.unexplained is not None:
        numbers["unexplained"] = attempt.unexplained
    return Exported(attempt.lake.uri(attempt.folder), attempt.rows, done.read_time, done.found, done.plan.mode, numbers)


def _report(record: Record, contract: SourceContract, exported: Exported) -> None:
    record.counts = exported.counts
    check, numbers = partial(CheckResult, subject=contract.source, level="warn"), exported.numbers
    for name, n in exported.findings.unread.items():
        record.checks.append(check(name="values_can_be_read", failing=n, detail=name))
    if (clock := contract.change_clock) and exported.mode == FULL:
        record.checks.append(check(name="change_time_is_set", failing=int(numbers["undated"]), detail=clock))
    if (rest := numbers.get("unexplained")) is not None:
        size = check(name="collection_size_is_explained", failing=abs(int(rest)), observed=rest, threshold=0)
        record.checks.append(size)
    LOG.info("%s: %s", exported.uri, ", ".join(f"{name} {n}" for name, n in exported.counts.items()))
