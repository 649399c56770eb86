"""Firestore's protobuf messages without the client library's slower wrappers, and helpers for their encoding.

Encoded messages may be concatenated: later fields are merged into the message. So a stored document is the bytes of its
name and fields followed by those of its two times, and is sent as it was stored.
https://protobuf.dev/programming-guides/encoding/#last-one-wins
"""

from functools import lru_cache
from typing import Any

from google.cloud.firestore_v1.types import document, firestore, query, write

type Proto = Any  # protobuf's classes are made at run time, so a type checker does not see them

Document = document.Document.pb()
Value = document.Value.pb()
Write = write.Write.pb()
WriteResult = write.WriteResult.pb()
Cursor = query.Cursor.pb()

BatchGetDocumentsRequest = firestore.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse = firestore.BatchGetDocumentsResponse.pb()
BatchWriteRequest = firestore.BatchWriteRequest.pb()
BatchWriteResponse = firestore.BatchWriteResponse.pb()
BeginTransactionRequest = firestore.BeginTransactionRequest.pb()
BeginTransactionResponse = firestore.BeginTransactionResponse.pb()
CommitRequest = firestore.CommitRequest.pb()
CommitResponse = firestore.CommitResponse.pb()
ListCollectionIdsRequest = firestore.ListCollectionIdsRequest.pb()
ListCollectionIdsResponse = firestore.ListCollectionIdsResponse.pb()
ListDocumentsRequest = firestore.ListDocumentsRequest.pb()
ListDocumentsResponse = firestore.ListDocumentsResponse.pb()
PartitionQueryRequest = firestore.PartitionQueryRequest.pb()
PartitionQueryResponse = firestore.PartitionQueryResponse.pb()
RollbackRequest = firestore.RollbackRequest.pb()
RunAggregationQueryRequest = firestore.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse = firestore.RunAggregationQueryResponse.pb()
RunQueryRequest = firestore.RunQueryRequest.pb()

MICROS = 1_000_000  # per second
_MESSAGE = 2  # the wire type of a field that holds a message


def set_time(timestamp: Proto, micros: int) -> None:
    """Set a Timestamp message to microseconds since 1970."""
    timestamp.seconds, rest = divmod(micros, MICROS)
    timestamp.nanos = rest * 1000


def micros_of(timestamp: Proto) -> int:
    """Microseconds since 1970 of a Timestamp message."""
    return int(timestamp.seconds) * MICROS + int(timestamp.nanos) // 1000


def field(number: int, content: bytes) -> bytes:
    """Encoded field that holds an encoded message; field numbers up to 15."""
    return bytes((number << 3 | _MESSAGE,)) + _varint(len(content)) + content


@lru_cache(maxsize=1024)  # the documents of a commit share it
def document_times(created: int, updated: int) -> bytes:
    """Encoded create_time and update_time, the end of an encoded document."""
    return field(3, _timestamp(created)) + field(4, _timestamp(updated))


def read_time_field(micros: int) -> bytes:
    """Encoded read_time of a RunQueryResponse."""
    return field(3, _timestamp(micros))


def document_field(content: bytes) -> bytes:
    """Encoded field of a RunQueryResponse with an encoded document."""
    return field(1, content)


def _timestamp(micros: int) -> bytes:
    seconds, rest = divmod(micros, MICROS)
    return b"\x08" + _varint(seconds) + (b"\x10" + _varint(rest * 1000) if rest else b"")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
