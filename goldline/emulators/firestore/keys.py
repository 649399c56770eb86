"""Encoding of document names as bytes that sort as Firestore sorts names: by path, segment by segment.

An encoded segment ends with a terminator, so that `a` sorts before `ab`, and all descendants of a path are one range of
bytes. Numeric ids (`__id7__`) sort first, by number; the others by their UTF-8 bytes.
https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
"""

import re
from functools import lru_cache
from typing import NamedTuple

from goldline.emulators.firestore.grpc_errors import invalid

AFTER = b"\xff"  # appended to a prefix, it sorts after all that begin with the prefix
_END = b"\x00"  # end of a whole name; sorts before the first byte of a further segment
_NUMERIC, _TEXT = b"\x01", b"\x02"
_NUMERIC_ID = re.compile(r"__id(-?(?:0|[1-9]\d{0,18}))__", re.ASCII)
_RESERVED_ID = re.compile(r"__.*__", re.DOTALL)
_ID_BYTES_MAX = 1500  # https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
_ROOT_SEGMENTS = 5  # projects/P/databases/D/documents
_INT64_OFFSET = 1 << 63


class Key(NamedTuple):
    """Key under which a document is stored."""

    collection: str  # the id of the collection that holds it, for collection groups
    path: bytes
    depth: int  # segments of its name


def document_key(name: str) -> Key:
    """Key of a document.

    Raises:
        FirestoreError: `name` is not a valid name of a document.
    """
    parent, _, document_id = name.rpartition("/")
    collection, depth, prefix = _collection(parent)
    return Key(collection, prefix + _checked_segment(name, document_id) + _END, depth + 1)


def reference(name: str) -> bytes:
    """Encode a name from a value or a cursor, comparable with the paths of keys; it is not checked."""
    return _segments(name) + _END


def descendants(name: str) -> tuple[bytes, bytes]:
    """Range of paths, low (inclusive) to high (exclusive), of all below a document, a collection or the root."""
    prefix = _segments(name)
    return prefix + _NUMERIC, prefix + AFTER


def depth(name: str) -> int:
    """Number of segments of a name."""
    return name.count("/") + 1


def child(path: bytes, parent: str) -> tuple[str, bytes]:
    """Segment that follows the parent in a descendant's path, and the prefix of all paths below that segment."""
    start = len(_segments(parent))
    end = path.index(b"\x00\x01", start) + 2
    content = path[start + 1 : end - 2].replace(b"\x00\xff", b"\x00")
    if path[start : start + 1] == _NUMERIC:
        return f"__id{int.from_bytes(content) - _INT64_OFFSET}__", path[:end]
    return content.decode(), path[:end]


def terminated(content: bytes) -> bytes:
    """Bytes with a terminator that sorts before any further byte."""
    return content.replace(b"\x00", b"\x00\xff") + b"\x00\x01"


@lru_cache(maxsize=1024)
def _collection(name: str) -> tuple[str, int, bytes]:
    parts = name.split("/")
    if len(parts) <= _ROOT_SEGMENTS or len(parts) % 2:
        raise invalid(f'"{name}/..." is not the name of a document')
    for part in parts[_ROOT_SEGMENTS:]:
        _checked_segment(name, part)
    return parts[-1], len(parts), _segments(name)


@lru_cache(maxsize=1024)
def _segments(name: str) -> bytes:
    return b"".join(map(_segment, name.split("/")))


def _checked_segment(name: str, segment: str) -> bytes:
    encoded = _segment(segment)
    if segment in {"", ".", ".."}:
        raise invalid(f'the name "{name}" has an empty segment, "." or ".."')
    if encoded[:1] == _TEXT and segment.startswith("__") and _RESERVED_ID.fullmatch(segment):
        raise invalid(f'the id "{segment}" is reserved')
    if len(encoded) > _ID_BYTES_MAX and len(segment.encode()) > _ID_BYTES_MAX:
        raise invalid(f"an id is longer than {_ID_BYTES_MAX} bytes")
    return encoded


def _segment(segment: str) -> bytes:
    if segment.startswith("__id") and (numeric := _NUMERIC_ID.fullmatch(segment)):
        number = int(numeric[1]) + _INT64_OFFSET
        if 0 <= number < 2 * _INT64_OFFSET:
            return _NUMERIC + terminated(number.to_bytes(8))
    return _TEXT + terminated(segment.encode())
