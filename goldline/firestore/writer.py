"""Bulk writes into Firestore: documents are encoded directly and sent in commits of the largest size, several at once.

Each document is set whole, under an id that the caller gives. So a commit whose answer was lost is simply sent again:
it then changes nothing, not even Firestore's update time.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

from google.api_core.exceptions import RetryError
from google.api_core.retry import Retry, if_exception_type

from goldline.firestore.calls import PASSING, CommitRequest, Database
from goldline.firestore.values import Proto, encode_map
from goldline.runs.pace import Pace

LOG = logging.getLogger(__name__)
# https://cloud.google.com/firestore/quotas#writes_and_transactions
COMMIT_WRITES = 500
COMMIT_BYTES = 9 * 1024 * 1024  # a request may have 10 MiB
WRITERS = 4
PAUSE, PAUSE_MAX = 0.5, 16.0  # longest pause in seconds before the first retry, and before later ones
PATIENCE = 90.0  # seconds after which a commit is given up

Named = tuple[str, Mapping[str, Any]]


class WriteError(RuntimeError):
    """Some documents were not written after all retries; others may have been."""


def write(connect: Callable[[], Database], collection: str, documents: Iterable[Named]) -> int:
    """Write documents into a collection; of several with one id, the last wins.

    Args:
        connect: opens a connection to the database; called once for each writer.
        collection: path of the collection, such as `orders`.
        documents: pairs of document id and fields, with values as in goldline.firestore.values.

    Returns:
        Number of documents written, those with a repeated id included.

    Raises:
        WriteError: Firestore was unreachable or too busy for 90 s.
        GoogleAPICallError: Firestore refused a commit.
    """
    written, pace = 0, Pace(collection, "documents")
    with ExitStack() as stack:
        free: SimpleQueue[Database] = SimpleQueue()
        for _ in range(WRITERS):
            database = connect()
            stack.callback(database.close)
            free.put(database)
        pool = stack.enter_context(ThreadPoolExecutor(WRITERS, "commit"))
        on_their_way: deque[tuple[frozenset[str], Future[None]]] = deque()
        for ids, request in _requests(database, collection, documents):
            # Two commits of one document must not be under way at once: the last one must win.
            while len(on_their_way) >= WRITERS or any(ids & others for others, _ in on_their_way):
                on_their_way.popleft()[1].result()
            on_their_way.append((ids, pool.submit(_commit, free, request, pace)))
            written += len(request.writes)
        for _, commit in on_their_way:
            commit.result()
    return written


def _requests(
    database: Database, collection: str, documents: Iterable[Named]
) -> Iterator[tuple[frozenset[str], Proto]]:
    """CommitRequests for the documents, each with the set of its ids."""
    request, ids, size = CommitRequest(database=database.name), set[str](), 0
    for document_id, fields in documents:
        made = request.writes.add().update
        made.name = f"{database.root}/{collection}/{document_id}"
        encode_map(fields, made)
        size += made.ByteSize()
        if len(request.writes) > COMMIT_WRITES or (size > COMMIT_BYTES and ids):
            following = CommitRequest(database=database.name, writes=[request.writes.pop()])
            yield frozenset(ids), request
            request, ids, size = following, set(), following.ByteSize()
        ids.add(document_id)
    if ids:
        yield frozenset(ids), request


def _commit(free: "SimpleQueue[Database]", request: Proto, pace: Pace) -> None:
    database = free.get()
    try:
        Retry(
            predicate=if_exception_type(*PASSING), initial=PAUSE, maximum=PAUSE_MAX, timeout=PATIENCE, on_error=_warn
        )(database.commit)(request)
    except RetryError as error:
        raise WriteError(f"Firestore did not take a commit, tried for {PATIENCE:.0f} s: {error.cause}") from error
    finally:
        free.put(database)
    pace.add(len(request.writes))


def _warn(error: Exception) -> None:
    LOG.warning("Firestore did not take a commit, trying again: %s", error)
