"""goldline's own Firestore server, in the process of a test, where it can be told to fail."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from goldline.emulators.firestore import service
from goldline.emulators.firestore.document_store import Store
from goldline.emulators.firestore.grpc_errors import FirestoreError
from goldline.firestore.values import Proto
from goldline.local import servers


class Faulty(service.Service):
    """Firestore, as far as it is told to be it.

    Attributes:
        cut_after: documents after which each stream is cut.
        away: seconds for which it refuses all streams after it cut one.
        pause: seconds before each document.
        streams: how many documents each stream gave.
        splits: whether it answers PartitionQuery.
        refusals: how it answers the next commits, before it takes them; None: it does, and the answer is lost.
        commits: the writes in each commit that came.
    """

    cut_after: int | None = None
    away: float = 0.0
    pause: float = 0.0
    splits: bool = True
    refusals: tuple[grpc.StatusCode | None, ...] = ()

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.streams: list[int] = []
        self.commits: list[int] = []
        self._back = 0.0

    def run_query(self, request: Proto) -> Iterator[bytes]:
        if time.monotonic() < self._back:
            raise FirestoreError(grpc.StatusCode.UNAVAILABLE, "not now")
        at = len(self.streams)
        self.streams.append(0)
        for response in super().run_query(request):
            if self.streams[at] == self.cut_after:
                self._back = time.monotonic() + self.away
                raise FirestoreError(grpc.StatusCode.UNAVAILABLE, "the line is down")
            time.sleep(self.pause)
            self.streams[at] += 1
            yield response

    def partition_query(self, request: Proto) -> Proto:
        if not self.splits:
            raise FirestoreError(grpc.StatusCode.UNIMPLEMENTED, "PartitionQuery")
        return super().partition_query(request)

    def commit(self, request: Proto) -> Proto:
        self.commits.append(len(request.writes))
        refusal, self.refusals = (self.refusals[0], self.refusals[1:]) if self.refusals else (grpc.StatusCode.OK, ())
        if refusal not in (None, grpc.StatusCode.OK):
            raise FirestoreError(refusal, "too busy")
        answer = super().commit(request)
        if refusal is None:
            raise FirestoreError(grpc.StatusCode.UNAVAILABLE, "the answer is lost")
        return answer


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Faulty, str]]:
    """A server with its data in a folder, and its address."""
    store = Store(folder / "documents.sqlite")
    faulty = Faulty(store)
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.NAME, faulty.handlers()),))
    port = server.add_insecure_port(f"{servers.HOST}:0")
    server.start()
    yield faulty, f"{servers.HOST}:{port}"
    server.stop(None).wait()
    store.close()
