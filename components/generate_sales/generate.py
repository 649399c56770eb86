"""Bring the simulated shop's collection to where it stands at the end of the run's date.

A collection is simulated or real, never both: a document of goldline's own marks the simulated one, and a collection
that holds documents but lacks the mark is refused. The mark also keeps what the shop was made with, and the last day
that was written, so that a later run adds its own days only.
"""

import datetime
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import batched
from typing import Any

from google.api_core.exceptions import AlreadyExists
from google.cloud import firestore

from components.generate_sales.world import DAY, LATE_DAYS_MAX, REFUND_DAYS_MAX, World
from goldline.clients import TIMEOUT, firestore_client
from goldline.record import recorded
from goldline.run import Run

LOG = logging.getLogger(__name__)
MARKS = "goldline_simulated"
COMMIT_SIZE = (
    500  # writes that Firestore takes in one commit: https://cloud.google.com/firestore/quotas#writes_and_transactions
)


class NotSimulatedError(RuntimeError):
    """The collection holds documents that no simulation made, or those of another simulation; nothing was written."""


@dataclass(frozen=True)
class Mark:
    """What a simulated collection was made with."""

    seed: int
    sales_per_day: int
    first: str
    last: str


def generate_sales(
    run: Run, collection: str, database: str, seed: int, days: int, sales_per_day: int
) -> dict[str, int | float]:
    """Write the shop's documents up to the run's date.

    Args:
        run: the run's card.
        collection: the collection to write.
        database: the Firestore database.
        seed: seed of all that is random.
        days: days of history that a first run writes.
        sales_per_day: sales made each day.

    Returns:
        Documents written by this run; documents and planted defects that the collection now holds, by kind.

    Raises:
        NotSimulatedError: the collection is not this simulation's.
    """
    with recorded(run, "generate_sales", "sales") as record:
        client = firestore_client(run.project, database)
        world = World(seed, sales_per_day)
        first = run.run_date - DAY * max(days - 1, 0)
        mark, is_new = _mark(client, collection, Mark(seed, sales_per_day, first.isoformat(), ""))
        if is_new:
            written = _write(client, collection, _documents(world, first, first, run.run_date))
        else:
            first, last = datetime.date.fromisoformat(mark.first), mark.last
            changed_from = min(datetime.date.fromisoformat(last) + DAY, run.run_date) if last else first
            written = _write_newer(client, collection, _documents(world, first, changed_from, run.run_date))
        last_day = max(mark.last, run.run_date.isoformat())
        client.document(MARKS, collection).set({"last": last_day}, merge=True, timeout=TIMEOUT)
        planted = _planted(world, first, datetime.date.fromisoformat(last_day))
        record.counts = {"written": written, **planted}
    LOG.info("%s: %s", collection, ", ".join(f"{name} {count}" for name, count in record.counts.items()))
    return record.counts


def _mark(client: firestore.Client, collection: str, wanted: Mark) -> tuple[Mark, bool]:
    """The collection's mark, and whether it was made just now."""
    reference = client.document(MARKS, collection)
    found = reference.get(timeout=TIMEOUT)
    if not found.exists:
        if list(client.collection(collection).limit(1).stream(timeout=TIMEOUT)):
            raise NotSimulatedError(
                f"the collection {collection} holds documents that no simulation made: nothing was written. "
                f"Choose another collection, or leave `simulated` false to read this one"
            )
        try:
            reference.create(asdict(wanted), timeout=TIMEOUT)
        except AlreadyExists:  # a rival run was faster: what both write is the same
            found = reference.get(timeout=TIMEOUT)
        else:
            return wanted, True
    mark = Mark(**(found.to_dict() or {}))
    if (mark.seed, mark.sales_per_day) != (wanted.seed, wanted.sales_per_day):
        raise NotSimulatedError(
            f"the collection {collection} simulates seed {mark.seed} with {mark.sales_per_day} sales a day, "
            f"not seed {wanted.seed} with {wanted.sales_per_day}: nothing was written"
        )
    return mark, False


def _documents(
    world: World, first: datetime.date, changed_from: datetime.date, day: datetime.date
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The documents that changed from one day to another, as they are at the end of the latter."""
    made = max(first, changed_from - DAY * (LATE_DAYS_MAX + REFUND_DAYS_MAX))
    while made <= day:
        for sale in world.sales(made):
            for name, document in sale.documents(day):
                if document["updated_at"].date() >= changed_from:
                    yield name, document
        made += DAY


def _write(client: firestore.Client, collection: str, documents: Iterator[tuple[str, dict[str, Any]]]) -> int:
    written = 0
    for chunk in batched(documents, COMMIT_SIZE, strict=False):
        batch = client.batch()
        for name, document in chunk:
            batch.set(client.document(collection, name), document)
        batch.commit(timeout=TIMEOUT)
        written += len(chunk)
    return written


def _write_newer(client: firestore.Client, collection: str, documents: Iterator[tuple[str, dict[str, Any]]]) -> int:
    """Write what is newer than what is there: an earlier day that is simulated late must not turn back a document."""
    written = 0
    for chunk in batched(documents, COMMIT_SIZE, strict=False):
        references = [client.document(collection, name) for name, _ in chunk]
        there = {
            found.id: found.get("updated_at")
            for found in client.get_all(references, field_paths=["updated_at"], timeout=TIMEOUT)
            if found.exists
        }
        newer = [(name, body) for name, body in chunk if name not in there or there[name] < body["updated_at"]]
        written += _write(client, collection, iter(newer))
    return written


def _planted(world: World, first: datetime.date, day: datetime.date) -> dict[str, int]:
    """What the collection holds at the end of a day."""
    found = Counter(documents=0, late=0, repeated=0, drifted=0, unreadable=0)
    made = first
    while made <= day:
        for sale in world.sales(made):
            found.update(sale.planted(day))
        made += DAY
    return dict(found)
