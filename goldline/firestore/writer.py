"""Documents into Firestore: encoded directly, in commits as large as it takes, some of them at once.

Each document is set whole, under the name that the caller gives it. So a commit whose answer was lost is simply sent
again: it changes nothing, not even the time of change that Firestore keeps.
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

LOG = logging.getLogger(__name__)
# https://cloud.google.com/firestore/quotas#writes_and_transactions
COMMIT_WRITES = 500
COMMIT_BYTES = 9 * 1024 * 1024  # of the 10 MiB that a request may have
WRITERS = 4
PAUSE, PAUSE_MAX = 0.5, 16.0  # seconds before the second try at most, and before later ones
PATIENCE = 90.0  # seconds

Named = tuple[str, Mapping[str, Any]]


class WriteError(RuntimeError):
    """Firestore did not take some documents, tried again and again; others may have been written."""


def write(connect: Callable[[], Database], collection: str, documents: Iterable[Named]) -> int:
    """Set documents of a collection, given by their ids; of those that come twice the last one stands.

    Args:
        connect: makes a connection to the database; each writer has one of its own.
        collection: path of the collection, such as `orders`.
        documents: ids and fields, as goldline.firestore.values has them.

    Returns:
        How many were written.

    Raises:
        WriteError: Firestore was not to be reached, or too busy, for a minute or so.
        GoogleAPICallError: Firestore refused some of them.
    """
    written = 0
    with ExitStack() as stack:
        free: SimpleQueue[Database] = SimpleQueue()
        for _ in range(WRITERS):
            database = connect()
            stack.callback(database.close)
            free.put(database)
        pool = stack.enter_context(ThreadPoolExecutor(WRITERS, "commit"))
        on_their_way: deque[tuple[frozenset[str], Future[None]]] = deque()
        for ids, request in _requests(database, collection, documents):
            # A document that comes again must not overtake itself.
            while len(on_their_way) >= WRITERS or any(ids & others for others, _ in on_their_way):
                on_their_way.popleft()[1].result()
            on_their_way.append((ids, pool.submit(_commit, free, request)))
            written += len(request.writes)
        for _, commit in on_their_way:
            commit.result()
    return written


def _requests(
    database: Database, collection: str, documents: Iterable[Named]
) -> Iterator[tuple[frozenset[str], Proto]]:
    """Commits of the documents, and the ids in each."""
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


def _commit(free: "SimpleQueue[Database]", request: Proto) -> None:
    database = free.get()
    try:
        Retry(
            predicate=if_exception_type(*PASSING), initial=PAUSE, maximum=PAUSE_MAX, timeout=PATIENCE, on_error=_tell
        )(database.commit)(request)
    except RetryError as error:
        raise WriteError(f"Firestore did not take a commit, tried for {PATIENCE:.0f} s: {error.cause}") from error
    finally:
        free.put(database)


def _tell(error: Exception) -> None:
    LOG.warning("Firestore did not take a commit, trying again: %s", error)
