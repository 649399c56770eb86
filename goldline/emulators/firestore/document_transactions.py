"""Transactions, the optimistic way: a commit is refused if something that was read has changed since.

The client's @transactional tries again then. Firestore itself can work so:
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
    """What a transaction has read, all of it as of its beginning."""

    at: int
    read_only: bool
    seen: set[Scope] = field(default_factory=set)

    def check(self, change: Change, *, writes: bool) -> None:
        """Check that it can be committed by a change.

        Raises:
            FirestoreError: it cannot.
        """
        if self.read_only:
            if writes:
                raise invalid("cannot modify entities in a read-only transaction")
            return
        if any(change.has_changed(scope, self.at) for scope in self.seen):
            raise FirestoreError(grpc.StatusCode.ABORTED, "what the transaction read has changed; please try again")


class Transactions:
    """The transactions that are open."""

    def __init__(self) -> None:
        self._open: dict[bytes, Transaction] = {}
        self._lock = threading.Lock()

    def begin(self, at: int, *, read_only: bool) -> bytes:
        """Open a transaction; its id."""
        made = secrets.token_bytes(16)
        with self._lock:
            for old in [key for key, known in self._open.items() if known.at < at - _LIFETIME]:
                del self._open[old]
            self._open[made] = Transaction(at, read_only)
        return made

    def get(self, transaction_id: bytes) -> Transaction:
        """An open transaction.

        Raises:
            FirestoreError: there is none, or no longer.
        """
        if (found := self._open.get(transaction_id)) is None:
            raise invalid("the transaction is invalid or closed")
        return found

    def end(self, transaction_id: bytes) -> None:
        """Forget a transaction.

        Raises:
            FirestoreError: there is none, or no longer.
        """
        with self._lock:
            if self._open.pop(transaction_id, None) is None:
                raise invalid("the transaction is invalid or closed")
