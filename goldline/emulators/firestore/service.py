"""gRPC service google.firestore.v1.Firestore: the calls of Google's Python client; all others are UNIMPLEMENTED.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import methodcaller
from typing import NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty

from goldline.emulators.firestore import aggregates, fields, keys, messages, queries, writes
from goldline.emulators.firestore.document_store import LIVES, Scope, Store
from goldline.emulators.firestore.document_transactions import Transaction, Transactions
from goldline.emulators.firestore.grpc_errors import FirestoreError, invalid, unimplemented
from goldline.emulators.firestore.messages import Document, Proto, micros_of, set_time

NAME = "google.firestore.v1.Firestore"
REFUSED = ("CreateDocument", "DeleteDocument", "ExecutePipeline", "GetDocument", "Listen", "UpdateDocument", "Write")
PARTITION_MIN = 128  # documents of the smallest partition, as users have seen it; the reference gives no number
PAGE_MAX = 300  # documents in one page of a listing

# First path below a parent, over all ids of collections: one index seek per id.
_FIRST_PATH = f"""
with recursive ids (id) as (
    select min(collection) from versions
    union all select (select min(collection) from versions where collection > id) from ids where id is not null)
select min(path) from (
    select (select path from versions
            where collection = id and path >= :low and path < :high and {LIVES} order by path limit 1) as path
    from ids where id is not null)
"""


class Service:
    """Calls of the service, over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._transactions = Transactions()

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """gRPC handlers by name of the call."""
        return {
            "BatchGetDocuments": _streaming(self.batch_get_documents, messages.BatchGetDocumentsRequest),
            "BatchWrite": _unary(self.batch_write, messages.BatchWriteRequest),
            "BeginTransaction": _unary(self.begin_transaction, messages.BeginTransactionRequest),
            "Commit": _unary(self.commit, messages.CommitRequest),
            "ListCollectionIds": _unary(self.list_collection_ids, messages.ListCollectionIdsRequest),
            "ListDocuments": _unary(self.list_documents, messages.ListDocumentsRequest),
            "PartitionQuery": _unary(self.partition_query, messages.PartitionQueryRequest),
            "Rollback": _unary(self.rollback, messages.RollbackRequest),
            "RunAggregationQuery": _streaming(self.run_aggregation_query, messages.RunAggregationQueryRequest),
            "RunQuery": _streaming(self.run_query, messages.RunQueryRequest),
            **{name: _refusal(name) for name in REFUSED},
        }

    def commit(self, request: Proto) -> Proto:
        """Apply writes, all or none."""
        transaction = self._transactions.get(request.transaction) if request.transaction else None
        response = messages.CommitResponse()
        with self._store.changing() as change:
            if transaction:
                transaction.check(change, writes=bool(request.writes))
            response.write_results.extend(writes.apply(change, write) for write in request.writes)
        if transaction:
            self._transactions.end(request.transaction)
        set_time(response.commit_time, change.time)
        return response

    def batch_write(self, request: Proto) -> Proto:
        """Apply writes independently; each has a status of its own."""
        if len(set(map(writes.target, request.writes))) < len(request.writes):
            raise invalid("the same document cannot be written more than once in a single request")
        response = messages.BatchWriteResponse()
        with self._store.changing() as change:
            for write in request.writes:
                result, status = response.write_results.add(), response.status.add()
                try:
                    result.CopyFrom(writes.apply(change, write))
                except FirestoreError as error:
                    status.code, status.message = error.code.value[0], error.message
        return response

    def begin_transaction(self, request: Proto) -> Proto:
        """Open a transaction."""
        options = request.options
        at = self._time_of(options.read_only)
        opened = self._transactions.begin(at, read_only=options.HasField("read_only"))
        return messages.BeginTransactionResponse(transaction=opened)

    def rollback(self, request: Proto) -> Proto:
        """Close a transaction without a commit."""
        self._transactions.end(request.transaction)
        return Empty()

    def batch_get_documents(self, request: Proto) -> Iterator[bytes]:
        """Stream documents in the order of the request, missing ones as such."""
        at, transaction = self._moment(request)
        mask = _mask(request)
        response = messages.BatchGetDocumentsResponse()
        set_time(response.read_time, at)
        tail = response.SerializeToString()
        with self._store.reading() as connection:
            for name in dict.fromkeys(request.documents):
                key = keys.document_key(name)
                if transaction:
                    transaction.seen.add(Scope.of(key))
                document = self._store.get(connection, key, at)
                if document is None:
                    yield messages.BatchGetDocumentsResponse(missing=name).SerializeToString() + tail
                else:
                    yield messages.field(1, _masked(document, mask)) + tail

    def run_query(self, request: Proto) -> Iterator[bytes]:
        """Stream the results of a query."""
        if request.HasField("explain_options"):
            raise unimplemented("explain_options")
        plan = queries.plan(request.parent, request.structured_query)
        at = self._read(request, plan.scope)
        tail = messages.read_time_field(at)
        found = False
        with self._store.reading() as connection, contextlib.closing(plan.rows(connection, at)) as rows:
            for (document,) in rows:
                found = True
                yield messages.document_field(_masked(document, plan.mask)) + tail
        if not found:
            yield tail

    def run_aggregation_query(self, request: Proto) -> Iterator[bytes]:
        """Aggregate the results of a query."""
        if request.HasField("explain_options"):
            raise unimplemented("explain_options")
        query = request.structured_aggregation_query
        plan = queries.plan(request.parent, query.structured_query, aggregates.needed_fields(query.aggregations))
        at = self._read(request, plan.scope)
        response = messages.RunAggregationQueryResponse()
        with self._store.reading() as connection:
            results = aggregates.aggregate(plan, query.aggregations, connection, at)
        for alias, value in results.items():
            response.result.aggregate_fields[alias].CopyFrom(value)
        set_time(response.read_time, at)
        yield response.SerializeToString()

    def partition_query(self, request: Proto) -> Proto:
        """Names that split a collection group into ranges of about equal size."""
        query = request.structured_query
        if request.partition_count < 1 or not query.from_ or not query.from_[0].all_descendants:
            raise invalid("a partition query splits a collection group into one partition or more")
        plan = queries.plan(request.parent, query)
        at = self._read(request, plan.scope)
        with self._store.reading() as connection:
            names = self._split_points(connection, plan, at, request.partition_count + 1)
        response = messages.PartitionQueryResponse()
        start = int(request.page_token or 0)
        end = start + (request.page_size or len(names))
        for name in names[start:end]:
            response.partitions.add(before=True).values.add(reference_value=name)
        response.next_page_token = str(end) if end < len(names) else ""
        return response

    def list_documents(self, request: Proto) -> Proto:
        """List the documents of a collection, and on request missing ones that have descendants."""
        if request.order_by or not request.collection_id:
            raise unimplemented("ListDocuments with order_by or without a collection")
        collection = f"{request.parent}/{request.collection_id}"
        at = self._read(request, Scope("", *keys.descendants(collection)))
        mask = _mask(request)
        response = messages.ListDocumentsResponse()
        size = min(request.page_size or PAGE_MAX, PAGE_MAX)
        with self._store.reading() as connection:
            for document_id, token in _children(connection, collection, at, request.page_token):
                name = f"{collection}/{document_id}"
                document = self._store.get(connection, keys.document_key(name), at)
                if document is not None:
                    response.documents.append(Document.FromString(_masked(document, mask)))
                elif request.show_missing:
                    response.documents.add(name=name)
                if len(response.documents) == size:
                    response.next_page_token = token
                    break
        return response

    def list_collection_ids(self, request: Proto) -> Proto:
        """List the collections of a document, or of the root."""
        at = self._read(request, Scope("", *keys.descendants(request.parent)))
        response = messages.ListCollectionIdsResponse()
        with self._store.reading() as connection:
            found = _children(connection, request.parent, at, request.page_token)
            page = list(islice(found, request.page_size or PAGE_MAX))
            response.collection_ids.extend(name for name, _ in page)
            if next(found, None):
                response.next_page_token = page[-1][1]
        return response

    def _read(self, request: Proto, scope: Scope) -> int:
        at, transaction = self._moment(request)
        if transaction:
            transaction.seen.add(scope)
        return at

    def _moment(self, request: Proto) -> tuple[int, Transaction | None]:
        """Moment that a request reads as of, and its transaction."""
        match request.WhichOneof("consistency_selector"):
            case "transaction":
                transaction = self._transactions.get(request.transaction)
                return transaction.at, transaction
            case "new_transaction":
                raise unimplemented("new_transaction in a read: BeginTransaction opens them")
        return self._time_of(request), None

    def _time_of(self, request: Proto) -> int:
        if not request.HasField("read_time"):
            return self._store.now()
        if request.read_time.nanos % 1000:
            raise invalid("timestamp cannot have more than microseconds precision")
        return self._store.as_of(micros_of(request.read_time))

    @staticmethod
    def _split_points(connection: sqlite3.Connection, plan: queries.Plan, at: int, wanted: int) -> list[str]:
        count = plan.count(connection, at)
        parts = min(wanted, count // PARTITION_MIN)
        starts = {part * count // parts for part in range(1, parts)}
        with contextlib.closing(plan.rows(connection, at)) as rows:
            return [Document.FromString(row[0]).name for place, row in enumerate(rows) if place in starts]


def _children(connection: sqlite3.Connection, parent: str, at: int, token: str) -> Iterator[tuple[str, str]]:
    """Child segments of a name in order, each with the token of the page that begins after it."""
    low, high = keys.descendants(parent)
    low = bytes.fromhex(token) if token else low
    while True:
        [[path]] = connection.execute(_FIRST_PATH, {"low": low, "high": high, "at": at})
        if path is None:
            return
        segment, prefix = keys.child(path, parent)
        low = prefix + keys.AFTER
        yield segment, low.hex()


def _mask(request: Proto) -> list[fields.Path] | None:
    return [fields.parse(path) for path in request.mask.field_paths] if request.HasField("mask") else None


def _masked(document: bytes, mask: Sequence[fields.Path] | None) -> bytes:
    if mask is None:
        return document
    masked: bytes = fields.project(Document.FromString(document), mask).SerializeToString()
    return masked


def _unary(call: Callable[[Proto], Proto], request_class: Proto) -> grpc.RpcMethodHandler:
    def answer(request: Proto, context: grpc.ServicerContext) -> Proto:
        with _errors(context):
            return call(request)

    serialize = methodcaller("SerializeToString")
    return grpc.unary_unary_rpc_method_handler(answer, request_class.FromString, serialize)


def _streaming(call: Callable[[Proto], Iterator[bytes]], request_class: Proto) -> grpc.RpcMethodHandler:
    def answer(request: Proto, context: grpc.ServicerContext) -> Iterator[bytes]:
        with _errors(context):
            yield from call(request)

    return grpc.unary_stream_rpc_method_handler(answer, request_class.FromString)


def _refusal(name: str) -> grpc.RpcMethodHandler:
    def answer(_: Iterator[bytes], context: grpc.ServicerContext) -> NoReturn:
        error = unimplemented(name)
        context.abort(error.code, error.message)
        raise error

    return grpc.stream_stream_rpc_method_handler(answer)


@contextlib.contextmanager
def _errors(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except FirestoreError as error:
        context.abort(error.code, error.message)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        context.abort(grpc.StatusCode.UNAVAILABLE, "the server is being stopped")
