"""Transactions with optimistic concurrency: a commit is refused if anything that was read has changed since.

The client's @transactional then retries. Firestore itself has this mode:
https://firebase.google.com/docs/firestore/transaction-data-contention
"""

import secrets
import threading
from dataclasses import dataclass, field

import grpc

from goldline.emulators.firestore.document_store import Change, Scope
from goldline.emulators.firestore.grpc_errors import FirestoreError, invalid
from goldline.emulators.firestore.messages import MICROS

# https://firebase.google.com/docs/firestore/quotas#writes_and_transactions
_LIFETIME = 270 * MICROS


@dataclass
class Transaction:
    """A transaction: the moment `at` that it reads as of, its beginning, and the scopes that it has read."""

    at: int
    read_only: bool
    seen: set[Scope] = field(default_factory=set)

    def check(self, change: Change, *, writes: bool) -> None:
        """Make sure that a change may commit the transaction; `writes`: the commit has writes.

        Raises:
            FirestoreError: something that it read has changed, or it is read-only and has writes.
        """
        if self.read_only:
            if writes:
                raise invalid("cannot modify entities in a read-only transaction")
            return
        if any(change.has_changed(scope, self.at) for scope in self.seen):
            raise FirestoreError(grpc.StatusCode.ABORTED, "what the transaction read has changed; please try again")


class Transactions:
    """Open transactions, by id; old ones are forgotten after 270 s."""

    def __init__(self) -> None:
        self._open: dict[bytes, Transaction] = {}
        self._lock = threading.Lock()

    def begin(self, at: int, *, read_only: bool) -> bytes:
        """Open a transaction that reads as of a moment; returns its id."""
        made = secrets.token_bytes(16)
        with self._lock:
            for old in [key for key, known in self._open.items() if known.at < at - _LIFETIME]:
                del self._open[old]
            self._open[made] = Transaction(at, read_only)
        return made

    def get(self, transaction_id: bytes) -> Transaction:
        """Open transaction of an id.

        Raises:
            FirestoreError: it does not exist, or no longer.
        """
        if (found := self._open.get(transaction_id)) is None:
            raise invalid("the transaction is invalid or closed")
        return found

    def end(self, transaction_id: bytes) -> None:
        """Close a transaction.

        Raises:
            FirestoreError: it does not exist, or no longer.
        """
        with self._lock:
            if self._open.pop(transaction_id, None) is None:
                raise invalid("the transaction is invalid or closed")
