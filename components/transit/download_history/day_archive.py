"""Safe extraction of a day's CSV files from an untrusted archive: streamed, bounded, under our own names."""

import base64
import codecs
import datetime
import hashlib
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from isal import isal_zlib

from components.transit.history import COLUMNS, GZIP, member

CHUNK = 1 << 18
UNPACKED_MAX = 256 << 20  # bytes; a day of New York's subway comes to about 20 MB
XZ_MEMORY = 128 << 20  # most bytes of memory of the decoder; xz -9 needs 65 MiB
GZIP_LEVEL = 1
REQUIRED = {
    "stop_times": {"trip_uid", "stop_id", "arrival_time", "departure_time"},
    "trips": {"trip_uid", "trip_id", "route_id", "direction_id", "start_time"},
}


class ArchiveError(ValueError):
    """The archive is corrupt, of another format, or unsafe to unpack."""


@dataclass(frozen=True)
class Extracted:
    """Extracted CSV file, gzipped.

    Attributes:
        md5: checksum of the gzipped file, in base64; `sha256` in hexadecimal digits.
        lines: number of lines without the header.
        columns: names in the header.
    """

    path: Path
    sha256: str
    md5: str
    bytes: int
    lines: int
    columns: list[str]


def extract(archive: Path, day: datetime.date, folder: Path, unpacked_max: int = UNPACKED_MAX) -> dict[str, Extracted]:
    """Extract a day's CSV files, by name.

    Args:
        archive: path of a .tar.xz file.
        day: date whose files it must hold.
        folder: target folder; each file becomes `<name>.csv.gz`, its text unchanged.
        unpacked_max: most bytes that the archive may unpack to, all of its members counted.

    Raises:
        ArchiveError: it is no such archive, is truncated or damaged, has a member whose name leaves the folder or that
            is a link or a device, unpacks to more than the limit, or lacks a file, a column or any row.
    """
    wanted = {member(day, name): name for name in COLUMNS}
    found: dict[str, Extracted] = {}
    try:
        with archive.open("rb") as file:
            unpacked = _Unxz(file, unpacked_max)
            with tarfile.open(fileobj=unpacked, mode="r|") as tar:  # type: ignore[call-overload]
                for info in tar:
                    _check_member(info)
                    name = wanted.get(PurePosixPath(info.name).name)
                    if name is None or info.isdir():
                        continue
                    if name in found:
                        raise ArchiveError(f"its member {info.name!r} is there twice")
                    stream = tar.extractfile(info)
                    if stream is not None:
                        found[name] = _gzipped(stream, name, folder / f"{name}.csv.gz")
            while unpacked.read(CHUNK):  # to the end, after the last member, where the checksums are
                pass
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{_looks_like(archive)} ({error})") from error
    if missing := [file for file, name in wanted.items() if name not in found]:
        raise ArchiveError(f"it does not hold {', '.join(missing)}")
    return found


class _Unxz:
    """Stream of the unpacked bytes of an .xz file, bounded in size and in the decoder's memory."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream = stream
        self._most = most
        self._done = 0
        self._decoder = self._new()

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end."""
        while not self._decoder.eof or self._next_stream():
            packed = self._stream.read(CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not packed:
                raise EOFError("the stream ends early")
            unpacked = self._decoder.decompress(packed, size)
            self._done += len(unpacked)
            if self._done > self._most:
                raise ArchiveError(f"it unpacks to more than {self._most} bytes")
            if unpacked:
                return unpacked
        return b""

    def _next_stream(self) -> bool:
        """Go on to the next stream, if there is one: an .xz file may be several streams, one after the other."""
        rest = (self._decoder.unused_data or self._stream.read(CHUNK)).lstrip(b"\0")
        if not rest:
            return False
        self._stream.seek(-len(rest), 1)
        self._decoder = self._new()
        return True

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _check_member(info: tarfile.TarInfo) -> None:
    path = PurePosixPath(info.name)
    if path.is_absolute() or ".." in path.parts or "\\" in info.name:
        raise ArchiveError(f"its member {info.name!r} leaves its folder")
    if not (info.isreg() or info.isdir()):
        raise ArchiveError(f"its member {info.name!r} is a link or a device")


def _gzipped(stream: IO[bytes], name: str, path: Path) -> Extracted:
    """Gzip a CSV file without a time stamp, so that on machines of one kind the same text gives the same bytes."""
    header = stream.readline(CHUNK)
    columns = header.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").strip().split(",")
    if missing := REQUIRED[name] - set(columns):
        raise ArchiveError(f"{name}: expected the columns {', '.join(sorted(missing))}, got {header[:200]!r}")
    newlines, last = 0, b"\n"
    deflate = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP)
    with path.open("wb") as file:
        file.write(deflate.compress(header))
        for chunk in _chunks(stream):
            file.write(deflate.compress(chunk))
            newlines += chunk.count(b"\n")
            last = chunk[-1:]
        file.write(deflate.flush())
    lines = newlines + (last != b"\n")
    if not lines:
        raise ArchiveError(f"{name}: it holds no rows")
    content = path.read_bytes()
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    return Extracted(path, hashlib.sha256(content).hexdigest(), md5, len(content), lines, columns)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _looks_like(archive: Path) -> str:
    with archive.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"\xfd7zXZ\0"):
        return "it begins as an .xz file does, but is truncated or damaged"
    return f"it is no .tar.xz archive: it begins with {start.decode('utf-8', 'replace')!r}"
