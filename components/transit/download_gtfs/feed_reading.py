"""Read a file of a feed as a typed table, and count unreadable values.

Every value is first read as text. Then each distinct text of a column is converted once, since times, dates and ids
repeat. That is fast, and still finds what was wrong.
"""

import codecs
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from components.transit.gtfs import TIMES, Finding, GtfsFile
from goldline.contracts import arrow
from goldline.contracts.columns import Column

HEADER_MAX = 1 << 20  # bytes
BLOCK = 8 << 20
FALLBACK = "latin-1"  # decodes any byte


@dataclass
class Read:
    """File of a feed, as read.

    Attributes:
        file: description of the file.
        table: all kept columns, typed; NULL if the feed lacks them.
        columns: kept columns that the feed has.
        unknown: other columns that the feed has.
        findings: problems of the file.
    """

    file: GtfsFile
    table: pa.Table
    columns: list[str]
    unknown: list[str]
    findings: list[Finding]


def read(file: GtfsFile, path: Path) -> Read:
    """Read a file; a missing required column is a finding, and so is each value that is not of its type."""
    found = _Findings(path.name)
    nothing = Read(file, arrow.schema(file.columns).empty_table(), [], [], found.all)
    if _is_wide(path):
        found.error("encoding", "expected UTF-8, got UTF-16")
        return nothing
    encoding = "utf-8" if _is_utf8(path) else FALLBACK
    if encoding == FALLBACK:
        found.warning("encoding", "expected UTF-8, got other bytes: read as Latin-1")
    header = _header(path, encoding)
    _check_header(file, header, found)
    try:
        texts, ragged = _texts(path, encoding, len(header))
    except pa.ArrowInvalid as error:
        found.error("unreadable_file", f"expected comma-separated values, got {str(error)[:300]}")
        return nothing
    if ragged:
        shown = f"expected {len(header)} values, as in the header, in each row: what is missing is blank, what is over"
        found.warning("ragged_row", f"{shown} is left out", len(ragged), ragged[0])
    there = [c for c in file.columns if c.name in header]
    columns = {c.name: pa.nulls(texts.num_rows, arrow.type_of(c)) for c in file.columns}
    for column in there:
        position = texts.column_names.index(str(header.index(column.name)))
        typed = _typed(texts.column(position), column, column.name in TIMES)
        texts = texts.remove_column(position)  # frees memory: the text of a column is not needed beside its values
        columns[column.name] = typed.values
        if typed.bad:
            text = f"expected {typed.expected}, got {typed.example!r}"
            line = None if ragged else typed.line  # mended rows come last
            found.warning(f"unreadable_{column.name}", text, typed.bad, line)
    table = pa.table(columns, schema=arrow.schema(file.columns))
    known = [c.name for c in there]
    return Read(file, table, known, sorted({name for name in header if name} - set(known)), found.all)


class _Findings:
    """Findings of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.all: list[Finding] = []

    def error(self, code: str, text: str) -> None:
        self.all.append(Finding(level="error", code=code, file=self.file, text=text, count=1))

    def warning(self, code: str, text: str, count: int = 1, line: int | None = None) -> None:
        self.all.append(Finding(level="warning", code=code, file=self.file, text=text, count=count, line=line))


def _check_header(file: GtfsFile, header: list[str], found: _Findings) -> None:
    for name in sorted({n for n in header if header.count(n) > 1}):
        found.warning("duplicate_column", f"the column {name} is there {header.count(name)} times: the first counts")
    if missing := [name for name in file.required if name not in header]:
        got = ", ".join(header)[:300]
        found.error("missing_column", f"expected the column {', '.join(missing)}, got {got or 'none'}")


def _is_wide(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        try:
            while block := stream.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _header(path: Path, encoding: str) -> list[str]:
    with path.open("rb") as stream:
        line = stream.readline(HEADER_MAX)
    text = line.removeprefix(codecs.BOM_UTF8).decode(encoding, "replace").splitlines()
    return [name.strip() for name in next(csv.reader(text[:1]), [])]


def _texts(path: Path, encoding: str, width: int) -> tuple[pa.Table, list[int]]:
    """All values as text, and the line numbers of rows that are longer or shorter than the header."""
    names = [str(number) for number in range(width)]
    schema = pa.schema([(name, pa.string()) for name in names])
    ragged: dict[int, str] = {}

    def keep(row: arrow_csv.InvalidRow) -> str:
        ragged[row.number or 0] = row.text
        return "skip"

    with path.open("rb") as stream:
        if not width or not stream.readline().endswith(b"\n") or not stream.read().strip():
            return schema.empty_table(), []  # pyarrow refuses a file without rows
    table = arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(
            column_names=names, skip_rows=1, encoding=encoding, block_size=BLOCK, use_threads=False
        ),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
        convert_options=arrow_csv.ConvertOptions(
            column_types=schema, strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True
        ),
    )
    if ragged:
        rows = [(row + [""] * width)[:width] for row in csv.reader(ragged.values())]
        columns = zip(*rows, strict=True)
        mended = [pa.array([value or None for value in column], pa.string()) for column in columns]
        table = pa.concat_tables([table, pa.table(mended, schema=schema)])
    return table, list(ragged)


@dataclass(frozen=True)
class _Typed:
    """Typed column: blank and unreadable values are NULL; `bad` counts the latter, `example`, `line` are the first."""

    values: pa.Array
    expected: str
    bad: int = 0
    example: str = ""
    line: int = 0


def _typed(texts: pa.ChunkedArray, column: Column, is_time: bool) -> _Typed:
    if column.type == "STRING":
        return _Typed(texts, "text")
    expected, convert = _CONVERSIONS["TIME" if is_time else column.type]
    encoded = pc.dictionary_encode(texts.combine_chunks())
    distinct = pc.utf8_trim_whitespace(encoded.dictionary)
    values = convert(distinct)
    is_bad = pc.and_(pc.is_null(values), pc.not_equal(distinct, ""))
    typed = values.take(encoded.indices)
    if not pc.any(is_bad).as_py():
        return _Typed(typed, expected)
    bad = pc.fill_null(is_bad.take(encoded.indices), fill_value=False)
    first = pc.index(bad, True).as_py()
    return _Typed(typed, expected, pc.sum(bad).as_py(), encoded[first].as_py(), first + 2)


def _matching(texts: pa.Array, pattern: str) -> pa.Array:
    """Texts that match the pattern, NULL in the place of others."""
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, pa.scalar(None, pa.string()))


def _integers(texts: pa.Array) -> pa.Array:
    return pc.cast(pc.replace_substring_regex(_matching(texts, r"^[+-]?\d{1,18}$"), r"^\+", ""), pa.int64())


def _numbers(texts: pa.Array) -> pa.Array:
    plain = _matching(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$")
    return pc.cast(pc.replace_substring_regex(plain, r"^\+", ""), pa.float64())


def _dates(texts: pa.Array) -> pa.Array:
    plain = _matching(texts, r"^[12]\d{7}$")
    moments = pc.strptime(plain, format="%Y%m%d", unit="s", error_is_null=True)
    # The C library takes the 31st of February for the 3rd of March.
    same = pc.equal(pc.strftime(moments, format="%Y%m%d"), plain)
    return pc.cast(pc.if_else(same, moments, pa.scalar(None, moments.type)), pa.date32())


def _seconds(texts: pa.Array) -> pa.Array:
    parts = pc.extract_regex(texts, r"^(?P<hours>\d{1,3}):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)$")
    hours, minutes, seconds = (
        pc.cast(pc.struct_field(parts, name), pa.int64()) for name in ("hours", "minutes", "seconds")
    )
    return pc.add(pc.add(pc.multiply(hours, 3600), pc.multiply(minutes, 60)), seconds)


_CONVERSIONS: dict[str, tuple[str, Callable[[pa.Array], pa.Array]]] = {
    "INT64": ("a whole number", _integers),
    "FLOAT64": ("a number", _numbers),
    "DATE": ("a date as YYYYMMDD", _dates),
    "TIME": ("a time as H:MM:SS", _seconds),
}
