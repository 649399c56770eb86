"""Documents in SQLite, with all versions of the last hour, so that any moment in it can be read.

A version is valid from its update until the next update or the deletion; the current one has no end yet. These two
times alone decide what a read as of a moment sees, so reads need no transaction and can be repeated. All times are in
microseconds since 1970.
"""

import contextlib
import fcntl
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc

from goldline.emulators.firestore.grpc_errors import FirestoreError, invalid
from goldline.emulators.firestore.keys import AFTER, Key
from goldline.emulators.firestore.messages import MICROS, document_times

# Limit of read_time in the past: https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#readonly
KEPT = 3600 * MICROS
_PURGE_EVERY = 60 * MICROS
_GRACE = 60 * MICROS  # for streams that began within the hour and end after it
FOREVER = (1 << 63) - 1
LIVES = "updated <= :at and until > :at"

_SCHEMA = f"""
create table if not exists versions (
    collection text not null,
    path blob not null,
    until integer not null,
    updated integer not null,
    created integer not null,
    depth integer not null,
    document blob not null,
    primary key (collection, path, until)
) without rowid;
create index if not exists ended on versions (until) where until < {FOREVER};
create table if not exists clock (time integer not null);
insert into clock select 0 where not exists (select * from clock);
"""
_CURRENT = f"select created, updated, document from versions where collection = ? and path = ? and until = {FOREVER}"
_END = f"update versions set until = ? where collection = ? and path = ? and until = {FOREVER}"
_ERASE = f"delete from versions where collection = ? and path = ? and until = {FOREVER}"
_INSERT = f"insert into versions values (?, ?, {FOREVER}, ?, ?, ?, ?)"
_PURGE = f"delete from versions where until < {FOREVER} and until < ?"  # same condition as the partial index
_CHANGED = f"""
select exists (
    select * from versions
    where (:collection = '' or collection = :collection) and path >= :low and path < :high
    and (updated > :since or until > :since and until < {FOREVER}))
"""


class InUseError(RuntimeError):
    """Another server has the file open."""


class Version(NamedTuple):
    """A version of a document: times of creation and update, and the encoded document, which includes both."""

    created: int
    updated: int
    document: bytes


class Scope(NamedTuple):
    """Paths that a read covers: `low` (inclusive) to `high` (exclusive), in collections of one id (empty: of any)."""

    collection: str
    low: bytes
    high: bytes

    @classmethod
    def of(cls, key: Key) -> "Scope":
        """Scope of a single document."""
        return cls(key.collection, key.path, key.path + AFTER)


class Change:
    """Writes that become visible together, at the moment `time`."""

    def __init__(self, connection: sqlite3.Connection, moment: int) -> None:
        self.time = moment
        self._connection = connection

    def current(self, key: Key) -> Version | None:
        """Current version of a document, with this change's writes; None if it does not exist."""
        row = self._connection.execute(_CURRENT, (key.collection, key.path)).fetchone()
        return Version(*row) if row else None

    def put(self, key: Key, body: bytes, current: Version | None) -> int:
        """Store a document, given as encoded name and fields; returns its update time: the old one if it is equal."""
        if current and current.document == body + document_times(current.created, current.updated):
            return current.updated
        created = current.created if current else self.time
        if current:
            self.end(key, current)
        document = body + document_times(created, self.time)
        self._connection.execute(_INSERT, (key.collection, key.path, self.time, created, key.depth, document))
        return self.time

    def end(self, key: Key, current: Version) -> None:
        """End the current version of a document."""
        if current.updated == self.time:  # made by this change, so no read has seen it
            self._connection.execute(_ERASE, (key.collection, key.path))
        else:
            self._connection.execute(_END, (self.time, key.collection, key.path))

    def has_changed(self, scope: Scope, since: int) -> bool:
        """Whether any document in a scope changed after a moment."""
        [[found]] = self._connection.execute(_CHANGED, {**scope._asdict(), "since": since})
        return bool(found)


class Store:
    """Database in a file, for one process at a time: InUseError if another has it open."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._lock = file.with_name(file.name + ".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(f"{file} is open in another server") from error
        self._idle: deque[sqlite3.Connection] = deque()
        self._connections: list[sqlite3.Connection] = []
        self._writing = threading.Lock()
        self._ticking = threading.Lock()
        self._pending: int | None = None  # time of the change in progress
        self._last: int
        self._purged = 0
        self._writer = self._connect()
        # Rows of a kilobyte or two stay on one page, whose size can be set only while the file is empty.
        self._writer.execute("pragma page_size = 16384")
        self._writer.execute("pragma journal_mode = wal")
        # Random ids touch a page each: the more writes one checkpoint covers, the fewer pages are copied twice.
        self._writer.execute("pragma wal_autocheckpoint = 4000")
        self._writer.executescript(_SCHEMA)
        [[self._last]] = self._writer.execute("select time from clock")

    @contextlib.contextmanager
    def changing(self) -> Iterator[Change]:
        """Begin a change, which is durable at the end of the block and undone if the block fails."""
        with self._writing:
            with self._ticking:
                self._pending = self._tick()
            try:
                self._writer.execute("begin immediate")
                try:
                    yield Change(self._writer, self._pending)
                    self._purge(self._pending)
                    self._writer.execute("update clock set time = ?", (self._pending,))
                    self._writer.execute("commit")
                except BaseException:
                    self._writer.execute("rollback")
                    raise
            finally:
                self._pending = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to read with."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def now(self) -> int:
        """Latest moment that no change can touch any more."""
        with self._ticking:
            return self._tick() if self._pending is None else self._pending - 1

    def as_of(self, moment: int) -> int:
        """The moment that a client asked for, after waiting until no change can touch it any more.

        Raises:
            FirestoreError: it lies in the future, or more than an hour back.
        """
        if moment > self.now():
            with self._writing:  # it may lie after a change in progress
                if moment > self.now():
                    raise invalid("the requested read_time cannot be in the future")
        if moment < self.now() - KEPT:
            raise FirestoreError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "the requested snapshot version is too old: read_time goes back one hour",
            )
        return moment

    def get(self, connection: sqlite3.Connection, key: Key, at: int) -> bytes | None:
        """Encoded document as of a moment; None if it did not exist."""
        sql = f"select document from versions where collection = :collection and path = :path and {LIVES}"
        row = connection.execute(sql, {"collection": key.collection, "path": key.path, "at": at}).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Interrupt running reads and release the file; acknowledged writes are on disk already."""
        for connection in self._connections:
            connection.interrupt()
        with self._writing:
            self._writer.close()
        while self._idle:
            self._idle.pop().close()
        self._lock.close()

    def _connect(self) -> sqlite3.Connection:
        # A call's thread may change between its messages; each connection serves one call at a time.
        connection = sqlite3.connect(self._file, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute("pragma synchronous = normal")  # only a power cut can lose the last writes
        self._connections.append(connection)
        return connection

    def _tick(self) -> int:
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last

    def _purge(self, moment: int) -> None:
        if moment - self._purged > _PURGE_EVERY:
            self._writer.execute(_PURGE, (moment - KEPT - _GRACE,))
            self._purged = moment
