"""Complete lines of a file, plain or gzip, of any size, and also of one that is truncated."""

import zlib
from collections.abc import Iterator
from typing import Protocol

from goldline.privacy.masks import LINE_MAX

CHUNK = 256 * 1024
GZIP = b"\x1f\x8b"
GZIP_ONLY = 31  # zlib's window bits for a gzip header: https://docs.python.org/3/library/zlib.html#zlib.decompress
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Bytes(Protocol):
    """Stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; empty at the end."""


class DamagedError(ValueError):
    """File that is truncated, or not the gzip that its first bytes announce."""


class Lines:
    """Lines of a file, in batches and without line ends; an over-long line is cut to LINE_MAX + 1 bytes.

    Attributes:
        damage: reason why the file is not whole, else empty. What follows its last complete line is left out.
        cut: number of bytes left out.
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
    """Bytes of the file, decompressed if its first two are those of gzip, whatever its name is.

    Raises:
        DamagedError: it is gzip and not whole; all readable bytes were yielded before.
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
    """Decompressed bytes of a piece, up to where it is damaged."""
    for i in range(len(data)):
        try:
            yield member.decompress(data[i : i + 1])
        except zlib.error:
            return
