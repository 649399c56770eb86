"""Columnar text: lines of many records at once, with no loop over records.

Values of one width (ids, moments) are a matrix of characters, a row per record, filled by look-up. Other values are an
Arrow array of bytes, taken from a few prepared pieces. `join` concatenates the columns of a line.
"""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.simulation.draws import Bits, Flags, Floats, Integers

Characters = npt.NDArray[np.uint8]  # shape (records, width)

MS_A_SECOND, MS_A_DAY = 1000, 86_400_000
CALENDAR_ENDS = np.datetime64("2070-01-01")


def hexadecimal(numbers: Bits) -> Characters:
    """Numbers as 16 hexadecimal digits; shape (records, 16)."""
    octets = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    return _pairs()[octets].reshape(-1, 16)


def dates(days: Integers) -> Characters:
    """Days since 1970 as YYYY-MM-DD; shape (records, 10)."""
    return _calendar()[days]


def moments(milliseconds: Integers) -> Characters:
    """Milliseconds since 1970 as ISO 8601 in UTC, with milliseconds; shape (records, 24)."""
    days, time = np.divmod(milliseconds, MS_A_DAY)
    seconds, thousandths = np.divmod(time, MS_A_SECOND)
    found = np.empty((len(milliseconds), 24), np.uint8)
    found[:, :10], found[:, 10] = _calendar()[days], ord("T")
    found[:, 11:19] = _clock()[seconds]
    found[:, 19], found[:, 20:23], found[:, 23] = ord("."), _thousandths()[thousandths], ord("Z")
    return found


def fixed(*parts: bytes | Characters) -> pa.BinaryArray:
    """Concatenate columns of one width and constants, row by row; at least one part must be a column."""
    rows = next(len(part) for part in parts if isinstance(part, np.ndarray))
    widths = [part.shape[1] if isinstance(part, np.ndarray) else len(part) for part in parts]
    found = np.empty((rows, sum(widths)), np.uint8)
    at = 0
    for part, width in zip(parts, widths, strict=True):
        found[:, at : at + width] = part if isinstance(part, np.ndarray) else np.frombuffer(part, np.uint8)
        at += width
    ends = np.arange(rows + 1, dtype=np.int32) * at
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(ends), pa.py_buffer(found)])


def pieces(texts: Iterable[str]) -> pa.BinaryArray:
    """Prepared texts as an Arrow array, to be taken by number."""
    return pa.array([text.encode() for text in texts], pa.binary())


def decimals(numbers: Integers) -> pa.BinaryArray:
    """Whole numbers as decimal digits."""
    return pc.cast(pc.cast(pa.array(numbers), pa.string()), pa.binary())


def hundredths(numbers: Integers) -> pa.BinaryArray:
    """Hundredths, such as cents, as decimals with two places."""
    whole, rest = np.divmod(numbers, 100)
    return join(decimals(whole), pieces(f".{n:02d}" for n in range(100)).take(pa.array(rest)))


def padded(numbers: Integers, width: int) -> pa.BinaryArray:
    """Whole numbers as decimal digits, padded with zeros to `width`."""
    return pc.cast(pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), width, "0"), pa.binary())


def join(*columns: pa.BinaryArray | bytes) -> pa.BinaryArray:
    """Concatenate columns and constants, row by row."""
    parts = [pa.scalar(column) if isinstance(column, bytes) else column for column in columns]
    return pc.binary_join_element_wise(*parts, b"")


def members(**values: Any) -> str:  # noqa: ANN401, whatever JSON can say
    """Members of a JSON object, without its braces."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))[1:-1]


def split(lines: pa.BinaryArray, written: int, lines_a_file: int) -> Iterator[tuple[int, memoryview]]:
    """Pairs of file number and text: lines split into files of `lines_a_file`, `written` lines being there already."""
    _, ends, data = lines.buffers()
    ends, text = np.frombuffer(ends, np.int32)[lines.offset :], memoryview(data)
    start = 0
    while start < len(lines):
        file, filled = divmod(written + start, lines_a_file)
        stop = min(start + lines_a_file - filled, len(lines))
        yield file, text[ends[start] : ends[stop]]
        start = stop


def cut(lines: pa.BinaryArray, where: Flags, chances: Floats, least: int) -> pa.BinaryArray:
    """Lines; those marked in `where` are cut after `least` bytes or more, by `chances`; they lose the closing brace."""
    if not where.any():
        return lines
    broken = []
    for line, chance in zip(lines.filter(pa.array(where)).to_pylist(), chances.tolist(), strict=True):
        most = len(line) - len(b"}\n")
        broken.append(line[: least + int(chance * (most - least))] + b"\n")
    return replaced(lines, where, pa.array(broken, pa.binary()))


def replaced(column: pa.BinaryArray, where: Flags, by: pa.BinaryArray) -> pa.BinaryArray:
    """Column with the values of `by`, in order, in the places marked in `where`."""
    return pc.replace_with_mask(column, pa.array(where), by) if where.any() else column


@cache
def _pairs() -> Characters:
    return _rows(f"{n:02x}" for n in range(256))


@cache
def _thousandths() -> Characters:
    return _rows(f"{n:03d}" for n in range(1000))


@cache
def _clock() -> Characters:
    return _rows(f"{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}" for n in range(86_400))


@cache
def _calendar() -> Characters:
    return _rows(np.datetime_as_string(np.arange(np.datetime64("1970-01-01"), CALENDAR_ENDS)).tolist())


def _rows(texts: Iterable[str]) -> Characters:
    lines = list(texts)
    return np.frombuffer("".join(lines).encode("ascii"), np.uint8).reshape(len(lines), -1)
