"""Firestore calls on encoded messages, for code that reads or writes documents by the hundred thousand.

The client library decodes each document of a stream through several layers of objects, on a thread of its own, and
encodes writes likewise. All other code uses the client library.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1
"""

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import grpc
from google.api_core.exceptions import (
    Aborted,
    DeadlineExceeded,
    GoogleAPICallError,
    InternalServerError,
    MethodNotImplemented,
    ResourceExhausted,
    ServiceUnavailable,
    from_grpc_error,
)
from google.api_core.retry import Retry, if_exception_type
from google.cloud.firestore_v1.types import firestore, query, write

from goldline import clients
from goldline.firestore.values import Proto, decode_map, moment, set_moment

RunQueryRequest = firestore.RunQueryRequest.pb()
RunQueryResponse = firestore.RunQueryResponse.pb()
RunAggregationQueryRequest = firestore.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse = firestore.RunAggregationQueryResponse.pb()
PartitionQueryRequest = firestore.PartitionQueryRequest.pb()
PartitionQueryResponse = firestore.PartitionQueryResponse.pb()
BatchGetDocumentsRequest = firestore.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse = firestore.BatchGetDocumentsResponse.pb()
CommitRequest = firestore.CommitRequest.pb()
CommitResponse = firestore.CommitResponse.pb()
StructuredQuery = query.StructuredQuery.pb()
Write = write.Write.pb()

SERVICE = "/google.firestore.v1.Firestore"
PASSING = (Aborted, DeadlineExceeded, InternalServerError, ResourceExhausted, ServiceUnavailable)
# For calls that may be repeated; callers of `stream` and `commit` retry by themselves.
RETRY = Retry(predicate=if_exception_type(*PASSING), initial=0.2, maximum=16.0, multiplier=2.0, timeout=120.0)
STREAM_SECONDS = 3600.0
SPLIT_PAGE = 1000


class Database:
    """One Firestore database, over a connection of its own.

    In its calls, `parent` is `root` or the name of a document, whose collections are queried; `wanted` and `group` are
    StructuredQuery messages; `read_time` is the moment whose state is read.

    Attributes:
        name: `projects/P/databases/D`.
        root: prefix of the names of all its documents, without a slash at the end.
    """

    def __init__(self, project: str, database: str) -> None:
        self.name = f"projects/{project}/databases/{database}"
        self.root = f"{self.name}/documents"
        self._metadata = clients.firestore_metadata(self.name)
        # The calls hold no reference to their channel: without this one it would be closed.
        self._channel = clients.firestore_channel()
        self._run_query = self._channel.unary_stream(f"{SERVICE}/RunQuery", RunQueryRequest.SerializeToString)
        self._aggregate = self._channel.unary_stream(
            f"{SERVICE}/RunAggregationQuery",
            RunAggregationQueryRequest.SerializeToString,
            RunAggregationQueryResponse.FromString,
        )
        self._partition = self._channel.unary_unary(
            f"{SERVICE}/PartitionQuery", PartitionQueryRequest.SerializeToString, PartitionQueryResponse.FromString
        )
        self._get = self._channel.unary_stream(
            f"{SERVICE}/BatchGetDocuments",
            BatchGetDocumentsRequest.SerializeToString,
            BatchGetDocumentsResponse.FromString,
        )
        self._commit = self._channel.unary_unary(
            f"{SERVICE}/Commit", CommitRequest.SerializeToString, CommitResponse.FromString
        )

    def stream(self, parent: str, wanted: Proto, read_time: datetime.datetime) -> Iterator[bytes]:
        """Stream the encoded RunQueryResponses of a query.

        Raises:
            GoogleAPICallError: the stream was refused or broke off.
        """
        request = RunQueryRequest(parent=parent, structured_query=wanted)
        set_moment(request.read_time, read_time)
        with _errors():
            call = self._run_query(request, timeout=STREAM_SECONDS, metadata=self._metadata)
            try:
                yield from call
            finally:
                call.cancel()  # frees the server if the reader stops early; no effect after the end

    def count(
        self, parent: str, wanted: Proto, read_time: datetime.datetime | None = None
    ) -> tuple[int, datetime.datetime]:
        """Number of documents that match a query, and the moment it is of; `read_time` None means now.

        Raises:
            GoogleAPICallError: the call failed after all retries.
        """
        request = RunAggregationQueryRequest(parent=parent)
        request.structured_aggregation_query.structured_query.CopyFrom(wanted)
        request.structured_aggregation_query.aggregations.add(alias="n").count.SetInParent()
        if read_time is not None:
            set_moment(request.read_time, read_time)
        *_, last = self._tried(lambda: list(self._aggregate(request, timeout=clients.TIMEOUT, metadata=self._metadata)))
        return last.result.aggregate_fields["n"].integer_value, moment(last.read_time)

    def moment(self) -> datetime.datetime:
        """Firestore's current read time, asked with a request for a document that does not exist.

        Raises:
            GoogleAPICallError: the call failed after all retries.
        """
        request = BatchGetDocumentsRequest(database=self.name, documents=[f"{self.root}/goldline/none"])
        *_, last = self._tried(lambda: list(self._get(request, timeout=clients.TIMEOUT, metadata=self._metadata)))
        return moment(last.read_time)

    def split(self, parent: str, group: Proto, parts: int, read_time: datetime.datetime) -> list[str] | None:
        """Document names that split a collection group into about `parts` ranges; None if the service cannot.

        Raises:
            GoogleAPICallError: the call failed after all retries.
        """
        names: list[str] = []
        request = PartitionQueryRequest(
            parent=parent, structured_query=group, partition_count=parts - 1, page_size=SPLIT_PAGE
        )
        set_moment(request.read_time, read_time)
        while True:
            try:
                page = self._tried(lambda: self._partition(request, timeout=clients.TIMEOUT, metadata=self._metadata))
            except MethodNotImplemented:  # Google's emulator
                return None
            names += [cursor.values[0].reference_value for cursor in page.partitions]
            if not (token := page.next_page_token):
                return names
            request.page_token = token

    def get(self, names: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Values of the given fields by document name; documents that do not exist are left out.

        Raises:
            GoogleAPICallError: the call failed after all retries.
        """
        request = BatchGetDocumentsRequest(database=self.name, documents=names, mask={"field_paths": fields})
        found = self._tried(lambda: list(self._get(request, timeout=clients.TIMEOUT, metadata=self._metadata)))
        return {got.found.name: decode_map(got.found) for got in found if got.HasField("found")}

    def commit(self, request: Proto) -> Proto:
        """Apply the writes of a CommitRequest, all or none, without a retry; returns the CommitResponse.

        Raises:
            GoogleAPICallError: the writes were not applied, or the answer was lost.
        """
        with _errors():
            return self._commit(request, timeout=clients.TIMEOUT, metadata=self._metadata)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    @staticmethod
    def _tried[T](call: Callable[[], T]) -> T:
        def once() -> T:
            with _errors():
                return call()

        return RETRY(once)()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise _named(error) from error


def _named(error: Any) -> GoogleAPICallError:  # noqa: ANN401
    return cast("GoogleAPICallError", from_grpc_error(error))
