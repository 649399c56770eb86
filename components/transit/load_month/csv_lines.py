"""CSV file of a day as typed rows, and the rejected lines with the reason."""

import csv
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from goldline.contracts import arrow
from goldline.contracts.columns import Column

HEADER = 1  # line number of the header
BOM = b"\xef\xbb\xbf"
INTEGER = r"^-?[0-9]{1,18}$"  # surely fits INT64


class UnreadableError(ValueError):
    """The whole file is unusable: the message says what was expected and what came."""


@dataclass(frozen=True)
class Lines:
    """Rows and rejected lines of a file, together all its lines without the header.

    Attributes:
        rows: the columns asked for, and `_line`, the line number in the file.
        rejected: `reason`, `record` (the original line) and `_line`.
    """

    rows: pa.Table
    rejected: pa.Table


@dataclass
class _Bad:
    """Reasons of rejected lines, by line number."""

    reasons: dict[int, str] = field(default_factory=dict)

    def note(self, number: int, reason: str) -> None:
        self.reasons.setdefault(number, reason)


def read_lines(content: bytes, columns: tuple[Column, ...]) -> Lines:
    """Read a CSV file with a header; columns may come in any order, unknown ones are ignored.

    Args:
        content: content of the file, UTF-8 with or without BOM, lines ending in LF or CRLF.
        columns: STRING and INT64; REQUIRED ones must not be blank.

    Raises:
        UnreadableError: the header is no CSV, or lacks a column.
    """
    content = content.removeprefix(BOM)
    header = _header(content, [c.name for c in columns])
    bad = _Bad()
    text = _without_broken_lines(content, len(header), bad)
    try:
        table = _parsed(text, {c.name: arrow.type_of(c) for c in columns}, bad)
    except pa.ArrowInvalid:  # a value is not of its type: read them as text, and find which
        table = _parsed(text, {c.name: pa.string() for c in columns}, bad)
    return _sorted_out(table, columns, content, bad)


def _header(content: bytes, names: list[str]) -> list[str]:
    line = content.split(b"\n", 1)[0].rstrip(b"\r")
    try:
        header = next(csv.reader([line.decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"expected a header {','.join(names)}, got {line[:80]!r}") from error
    if missing := [name for name in names if header.count(name) != 1]:
        raise UnreadableError(f"expected the column {missing[0]} once in the header, got {','.join(header)[:200]!r}")
    return header


def _without_broken_lines(content: bytes, columns: int, bad: _Bad) -> bytes:
    """Content with commas in the place of lines that are not one row each; they are noted in `bad`.

    Most files have no such lines. Blank ones are among them: pyarrow counts some and not others.
    """
    is_text = _is_text(content)
    signs = (b'"', b"\n\n", b"\n\r\n") if b"\r" in content else (b'"', b"\n\n")
    if is_text and not any(sign in content for sign in signs):
        return content
    lines = content.removesuffix(b"\n").split(b"\n")
    for i, line in enumerate(lines):
        if not line.rstrip(b"\r"):
            reason = "the line is blank"
        elif not is_text and not _is_text(line):
            reason = "the line is no UTF-8"
        elif b'"' in line and not _is_quoted_well(line):
            reason = "a quoted value does not end, or not on its line"
        else:
            continue
        bad.note(i + HEADER, reason)
        lines[i] = b"," * (columns - 1)
    return b"\n".join(lines)


def _is_quoted_well(line: bytes) -> bool:
    try:
        next(csv.reader([line.rstrip(b"\r").decode()], strict=True))
    except csv.Error:
        return False
    return True


def _is_text(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parsed(content: bytes, types: dict[str, pa.DataType], bad: _Bad) -> pa.Table:
    """Rows that have as many values as the header, with `_line`."""
    short: set[int] = set()

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        short.add(row.number)
        bad.note(row.number, f"expected {row.expected_columns} values, got {row.actual_columns}")
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(content),
        # One thread, since line numbers are unknown with more; one block, since a long line would fail the file.
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(content) + 1),
        parse_options=pyarrow.csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,  # lines that are no UTF-8 are replaced already
        ),
    )
    numbers = np.arange(HEADER + 1, HEADER + 1 + table.num_rows + len(short), dtype=np.int64)
    if short:
        numbers = np.delete(numbers, np.fromiter(short, dtype=np.int64) - HEADER - 1)
    return table.append_column("_line", pa.array(numbers))


def _sorted_out(table: pa.Table, columns: tuple[Column, ...], content: bytes, bad: _Bad) -> Lines:
    numbers = table.column("_line").to_numpy()
    for column in columns:
        values = table.column(column.name)
        if column.type == "INT64" and pa.types.is_string(values.type):
            is_wrong = pc.fill_null(pc.invert(pc.match_substring_regex(values, INTEGER)), fill_value=False)
            _note_all(numbers[is_wrong.to_numpy()], f"{column.name} is no whole number", bad)
        if column.mode == "REQUIRED" and values.null_count:
            _note_all(numbers[values.is_null().to_numpy()], f"{column.name} is missing", bad)
    if bad.reasons:
        kept = ~np.isin(numbers, np.fromiter(bad.reasons, dtype=np.int64))
        table = table.filter(pa.array(kept))
    schema = arrow.schema(columns).append(pa.field("_line", pa.int64()))
    return Lines(table.select(schema.names).cast(schema), _rejected(content, bad))


def _note_all(numbers: np.ndarray, reason: str, bad: _Bad) -> None:
    for number in numbers.tolist():
        bad.note(number, reason)


def _rejected(content: bytes, bad: _Bad) -> pa.Table:
    lines = content.split(b"\n") if bad.reasons else []
    found = sorted(bad.reasons.items())
    return pa.table(
        {
            "reason": pa.array([reason for _, reason in found], pa.string()),
            "record": pa.array([_decoded(lines[number - HEADER]) for number, _ in found], pa.string()),
            "_line": pa.array([number for number, _ in found], pa.int64()),
        }
    )


def _decoded(line: bytes) -> str:
    return line.rstrip(b"\r").decode(errors="backslashreplace")
