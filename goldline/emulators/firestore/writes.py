"""Writes of Commit and BatchWrite requests.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#write
"""

import grpc

from goldline.emulators.firestore import fields
from goldline.emulators.firestore.document_store import Change, Version
from goldline.emulators.firestore.grpc_errors import FirestoreError, invalid, unimplemented
from goldline.emulators.firestore.keys import document_key
from goldline.emulators.firestore.messages import Document, Proto, WriteResult, micros_of, set_time
from goldline.emulators.firestore.transforms import transform

# Close to Firestore's own count, which treats the name separately.
# https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
DOCUMENT_BYTES_MAX = 1 << 20


def apply(change: Change, write: Proto) -> Proto:
    """Apply a write; returns its WriteResult.

    Raises:
        FirestoreError: the write is invalid, or its precondition fails; nothing was changed.
    """
    match write.WhichOneof("operation"):
        case "update":
            return _update(change, write)
        case "delete":
            return _delete(change, write)
        case operation:
            raise unimplemented(f"write {operation}")


def target(write: Proto) -> str:
    """Name of the document that a write changes."""
    return str(write.update.name or write.delete)


def _update(change: Change, write: Proto) -> Proto:
    document = write.update
    key = document_key(document.name)
    fields.settle(document.fields)
    current = change.current(key)
    _check(document.name, write.current_document, current)
    if write.HasField("update_mask"):
        document = _merged(document, write.update_mask.field_paths, current)
    document.ClearField("create_time")
    document.ClearField("update_time")
    result = WriteResult()
    result.transform_results.extend(transform(document, wanted, change.time) for wanted in write.update_transforms)
    # Deterministic, so that equal documents are equal bytes: a write that changes nothing keeps the update time.
    body = document.SerializeToString(deterministic=True)
    if len(body) - len(document.name) > DOCUMENT_BYTES_MAX:
        raise invalid(f"the document {document.name} is longer than {DOCUMENT_BYTES_MAX} bytes")
    set_time(result.update_time, change.put(key, body, current))
    return result


def _delete(change: Change, write: Proto) -> Proto:
    key = document_key(write.delete)
    current = change.current(key)
    _check(write.delete, write.current_document, current)
    if current:
        change.end(key, current)
    return WriteResult()


def _merged(document: Proto, paths: list[str], current: Version | None) -> Proto:
    merged = Document.FromString(current.document) if current else Document(name=document.name)
    for path in map(fields.parse, paths):
        if (value := fields.find(document.fields, path)) is not None:
            fields.place(merged.fields, path).CopyFrom(value)
        else:
            fields.remove(merged.fields, path)
    return merged


def _check(name: str, precondition: Proto, current: Version | None) -> None:
    match precondition.WhichOneof("condition_type"):
        case "exists" if precondition.exists and not current:
            raise FirestoreError(grpc.StatusCode.NOT_FOUND, f"No document to update: {name}")
        case "exists" if current and not precondition.exists:
            raise FirestoreError(grpc.StatusCode.ALREADY_EXISTS, f"Document already exists: {name}")
        case "update_time" if not current or current.updated != micros_of(precondition.update_time):
            stored = current.updated if current else 0
            raise FirestoreError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"{name}: the stored version ({stored}) does not match the required base version "
                f"({micros_of(precondition.update_time)})",
            )
