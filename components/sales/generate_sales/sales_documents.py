"""Write the simulated shop's documents up to the run date.

A collection is simulated or real, never both: a document of goldline's own marks a simulated one, and a collection
that holds documents but lacks the mark is refused. The mark also records seed and size, the last day written and the
defects planted so far, so that a later run adds only its own days.

The oracle's probabilities of churn lie beside the data, never in it: see oracle.py.
"""

import datetime
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import batched
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import AlreadyExists
from google.cloud import firestore

from components.sales.generate_sales.oracle import WINDOW, oracle
from components.sales.generate_sales.world import DAY, LATE_DAYS_MAX, REFUND_DAYS_MAX, World
from components.simulation import CUSTOMERS, NotSimulatedError
from goldline.clients import TIMEOUT, firestore_client
from goldline.firestore.calls import Database
from goldline.firestore.writer import Named, write
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.runs.records import recorded

LOG = logging.getLogger(__name__)
MARKS = "goldline_simulated"
SIZES = {
    "small": {"days": 80, "customers": CUSTOMERS["small"]},
    "demo": {"days": 120, "customers": CUSTOMERS["demo"]},
    "large": {"days": 360, "customers": CUSTOMERS["large"]},
}
LOOK_UP = 500  # documents per request for their versions


@dataclass(frozen=True)
class Mark:
    """Mark of a simulated collection: seed and size, first and last date, number of planted defects by kind."""

    seed: int
    customers: int
    first: str
    last: str = ""
    planted: dict[str, int] = field(default_factory=dict)


def generate_sales(
    run: RunContext, collection: str, database: str, seed: int, days: int, customers: int
) -> dict[str, int | float]:
    """Write the shop's documents up to the run date, and the oracle's probabilities for the window that ends there.

    Args:
        run: the run's context.
        collection: Firestore collection to write.
        database: Firestore database of the collection.
        seed: seed of all that is random.
        days: number of days of history that a first run writes.
        customers: number of customers of the shop, active or gone.

    Returns:
        Number of documents that this run wrote; number of documents and defects that the collection now holds.

    Raises:
        NotSimulatedError: the collection holds real documents, or another simulation.
    """
    with recorded(run, "generate_sales", "sales") as record:
        client = firestore_client(run.project, database)
        world = World(seed, customers)
        start = run.run_date - DAY * max(days - 1, 0)
        mark, is_new = _mark(client, collection, Mark(seed, customers, start.isoformat()))
        first = datetime.date.fromisoformat(mark.first)
        last = datetime.date.fromisoformat(mark.last) if mark.last else None
        changed_from = min(last + DAY, run.run_date) if last else first
        connect = partial(Database, run.project, database)
        documents = _documents(world, first, changed_from, run.run_date)
        written = write(connect, collection, documents if is_new else _newer(connect, collection, documents))
        planted = _planted(world, mark, first, last, run.run_date)
        moved = {"last": max(mark.last, run.run_date.isoformat()), "planted": planted}
        client.document(MARKS, collection).set(moved, merge=True, timeout=TIMEOUT)
        _write_oracle(run, collection, world, first)
        record.counts = {"written": written, **planted}
    LOG.info("%s: %s", collection, ", ".join(f"{name} {count}" for name, count in record.counts.items()))
    return record.counts


def churn_path(collection: str, cutoff: datetime.date) -> str:
    """Path in the lake of the oracle's probabilities of churn at a cut-off."""
    return f"simulated/{collection}/churn/cutoff={cutoff}.parquet"


def _mark(client: firestore.Client, collection: str, wanted: Mark) -> tuple[Mark, bool]:
    """Mark of the collection, and whether this call created it."""
    reference = client.document(MARKS, collection)
    found = reference.get(timeout=TIMEOUT)
    if not found.exists:
        if list(client.collection(collection).limit(1).stream(timeout=TIMEOUT)):
            raise NotSimulatedError(
                f"the collection {collection} holds documents that no simulation made: nothing was written. "
                f"Choose another collection, or set simulated_size to none to read this one"
            )
        try:
            reference.create(asdict(wanted), timeout=TIMEOUT)
        except AlreadyExists:  # a rival run was faster: what both write is the same
            found = reference.get(timeout=TIMEOUT)
        else:
            return wanted, True
    there = found.to_dict() or {}
    if (there.get("seed"), there.get("customers")) != (wanted.seed, wanted.customers):
        raise NotSimulatedError(
            f"the collection {collection} simulates seed {there.get('seed')} with {there.get('customers')} customers, "
            f"not seed {wanted.seed} with {wanted.customers}: nothing was written"
        )
    return Mark(**there), False


def _documents(
    world: World, first: datetime.date, changed_from: datetime.date, day: datetime.date
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Documents that changed from `changed_from` to `day`, as they are at the end of `day`."""
    made = max(first, changed_from - DAY * (LATE_DAYS_MAX + REFUND_DAYS_MAX))
    while made <= day:
        for sale in world.sales(made):
            for name, document in sale.documents(day):
                if document["updated_at"].date() >= changed_from:
                    yield name, document
        made += DAY


def _newer(connect: Callable[[], Database], collection: str, documents: Iterator[Named]) -> Iterator[Named]:
    """Documents newer than the stored ones: an earlier day, simulated late, must not overwrite a newer version."""
    database = connect()
    for chunk in batched(documents, LOOK_UP, strict=False):
        names = {document_id: f"{database.root}/{collection}/{document_id}" for document_id, _ in chunk}
        there = database.get(list(names.values()), ["updated_at"])
        for document_id, body in chunk:
            found = there.get(names[document_id])
            if found is None or found["updated_at"] < body["updated_at"]:
                yield document_id, body
    database.close()


def _planted(
    world: World, mark: Mark, first: datetime.date, last: datetime.date | None, day: datetime.date
) -> dict[str, int]:
    """Number of documents and defects at the end of the last day: those of the mark, and those added since."""
    found = Counter({"documents": 0, "late": 0, "repeated": 0, "drifted": 0, "undeclared": 0, "unreadable": 0})
    found.update(mark.planted)
    made = max(first, last - DAY * LATE_DAYS_MAX) if last else first
    while made <= day and (last is None or day > last):
        for sale in world.sales(made):
            found.update(sale.planted(day))
            if last:
                found.subtract(sale.planted(last))
        made += DAY
    return dict(found)


def _write_oracle(run: RunContext, collection: str, world: World, first: datetime.date) -> None:
    """Write the oracle's probabilities at the cut-off WINDOW days before the run date, unless before `first`."""
    cutoff = run.run_date - DAY * WINDOW
    if cutoff < first:
        return
    churns = oracle(world, cutoff, first)
    content = {"customer_id": pa.array(churns.keys(), pa.string()), "probability": pa.array(churns.values())}
    stream = io.BytesIO()
    pq.write_table(pa.table(content), stream)
    Lake(run.project, run.bucket).write_bytes(churn_path(collection, cutoff), stream.getvalue())
