"""The whole lines of a file, plain or gzip, however long it is and wherever it breaks off."""

import zlib
from collections.abc import Iterator
from typing import Protocol

from goldline.privacy.masks import LINE_MAX

CHUNK = 256 * 1024
GZIP = b"\x1f\x8b"
GZIP_ONLY = 31  # zlib's window bits for a gzip header: https://docs.python.org/3/library/zlib.html#zlib.decompress
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Bytes(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class DamagedError(ValueError):
    """A file ends too early or is not what its first bytes say."""


class Lines:
    """A file's lines, some thousand at a time, without their ends; of an over-long line its first LINE_MAX + 1 bytes.

    Attributes:
        damage: why the file is not whole; empty if it is. What follows its last whole line is then left out.
        cut: bytes that were left out so.
    """

    def __init__(self, stream: Bytes) -> None:
        self.damage = ""
        self.cut = 0
        self._stream = stream

    def __iter__(self) -> Iterator[list[bytes]]:
        """Read the file once, from its beginning."""
        rest, is_skipping = b"", False
        try:
            for piece in _without_mark(_content(self._stream)):
                if is_skipping:
                    end = piece.find(b"\n")
                    if end < 0:
                        continue
                    piece = piece[end:]  # noqa: PLW2901, what is left of it
                *lines, rest = (rest + piece).split(b"\n")
                yield lines
                is_skipping = len(rest) > LINE_MAX
                rest = rest[: LINE_MAX + 1]
        except DamagedError as error:
            self.damage, self.cut = str(error), len(rest)
        else:
            if rest:  # the last line's end may be missing
                yield [rest]


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for i, piece in enumerate(pieces):
        yield piece if i else piece.removeprefix(BYTE_ORDER_MARK)


def _content(stream: Bytes) -> Iterator[bytes]:
    """The file's bytes, decompressed where its first two say gzip, whatever it is called.

    Raises:
        DamagedError: it is gzip and not whole; all that can be read was given before.
    """
    data = stream.read(CHUNK)
    if not data.startswith(GZIP):
        while data:
            yield data
            data = stream.read(CHUNK)
        return
    member = zlib.decompressobj(GZIP_ONLY)
    while data:
        before = member.copy()
        try:
            piece = member.decompress(data, CHUNK)
        except zlib.error as error:
            yield from _readable(before, data)
            raise DamagedError(str(error)) from error
        if piece:
            yield piece
        if member.eof:  # another member may follow, and zeros may fill the end
            data = (member.unused_data or stream.read(CHUNK)).lstrip(b"\0")
            member = zlib.decompressobj(GZIP_ONLY) if data else member
        else:
            data = member.unconsumed_tail or stream.read(CHUNK)
    if not member.eof:
        yield member.flush()
        raise DamagedError("it ends in mid-stream")


def _readable(member: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    """What can be read of a piece before the place where it is damaged."""
    for i in range(len(data)):
        try:
            yield member.decompress(data[i : i + 1])
        except zlib.error:
            return
