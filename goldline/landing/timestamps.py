"""Timestamps in mixed forms, read column by column: classified by their form, then computed, never guessed.

pandas and dateutil read about half of such columns right: neither knows epochs as text, and `dayfirst=True` swaps day
and month in ISO dates too. Here each form has one meaning. What only the writer can know, whether 03/04/2026 is in
April or in March, is a setting of the source's contract.

Forms: ISO 8601 with or without time, fraction and zone (without: UTC); epochs of 9 to 19 digits in seconds,
milliseconds, microseconds or nanoseconds, distinguished by their length; RFC 2822; day/month/year with optional time.

Most texts have one of a few shapes of fixed width: those of one length are read at once, as a matrix of bytes. All
others are classified by regular expression, about ten times slower.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>Z|z|[+-]\d\d(?::?\d\d)?)"
_ISO = rf"^(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?:[Tt ]{_TIME} ?{_ZONE}?)?$"
_RFC_2822 = (
    r"^(?:[A-Za-z]{3}, ?)?(?P<day>\d{1,2}) (?P<month>[A-Za-z]{3}) (?P<year>\d{4}) "
    rf"{_TIME} ?(?P<zone>GMT|UTC|UT|Z|[+-]\d{{4}})$"
)
_SLASHED = rf"^(?P<first>\d{{1,2}})[/.](?P<second_part>\d{{1,2}})[/.](?P<year>\d{{4}})(?:,? {_TIME})?$"
_EPOCH = r"^(?P<whole>-?(?:\d{9,18}|[0-8]\d{18}))(?:\.(?P<part>\d{1,9})\d*)?$"
# 9 stands for a digit, A and a for a letter, the keys of _LETTERS for their values, anything else for itself.
_ISO_SHAPES = [
    f"9999-99-99T99:99:99{fraction}{zone}"
    for fraction in ("", ".999", ".999999")
    for zone in ("", "Z", "+99:99", *([] if fraction else ["+9999"]))
]
_SHAPES = ["9999-99-99", *_ISO_SHAPES, "99/99/9999 99:99:99", "99/99/9999"]
_SHAPES += ["Aaa, 99 Aaa 9999 99:99:99 +9999", "Aaa, 99 Aaa 9999 99:99:99 GMT"]
_LETTERS = {"T": b"Tt ", "Z": b"Zz", "+": b"+-", "/": b"/."}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_TYPE = pa.timestamp("us", tz="UTC")
_FIRST, _LAST = (int(np.datetime64(t, "us").astype(np.int64)) for t in ("0001-01-01", "9999-12-31T23:59:59.999999"))


@dataclass(frozen=True)
class Parsed:
    """Timestamps of a column of texts, as far as they could be read.

    Attributes:
        values: in microseconds and UTC, of the years 1 to 9999; null where the text was null or could not be read.
        unread: for each text, whether it was not null and could not be read.
        ambiguous: number of day/month/year forms that are dates too if day and month are swapped.
    """

    values: pa.TimestampArray
    unread: Flags
    ambiguous: int


def parse(texts: pa.StringArray, *, day_first: bool) -> Parsed:
    """Parse a column of texts; `day_first`: 03/04/2026 is in April."""
    micros = np.zeros(len(texts), np.int64)
    read = np.zeros(len(texts), np.bool_)
    ambiguous = 0
    present = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    todo = present.copy()
    for places, values, valid, twofold in _shaped(texts, day_first=day_first):
        micros[places], read[places] = values, valid & (values >= _FIRST) & (values <= _LAST)
        ambiguous += twofold
        todo[places] = False
    trimmed = pc.utf8_trim_whitespace(texts) if todo.any() else texts
    for form in (_ISO, _EPOCH, _SLASHED, _RFC_2822):
        places = np.flatnonzero(todo)
        if not len(places):
            break
        parts = pc.extract_regex(trimmed.take(pa.array(places)), form)
        matched = pc.is_valid(parts).to_numpy(zero_copy_only=False)
        places = places[matched]
        if not len(places):
            continue
        found = parts.filter(pa.array(matched))
        if form is _EPOCH:
            values, valid = _from_epoch(found)
        else:
            values, valid = _from_calendar(found, day_first=day_first, named_month=form is _RFC_2822)
        if form is _SLASHED:
            one, other = _integers(found, "first"), _integers(found, "second_part")
            ambiguous += int(np.count_nonzero(valid & (one <= 12) & (other <= 12) & (one != other)))
        micros[places], read[places] = values, valid & (values >= _FIRST) & (values <= _LAST)
        todo[places] = False
    return Parsed(pa.array(micros, pa.int64(), mask=~read).cast(_TYPE), present & ~read, ambiguous)


def _shaped(texts: pa.StringArray, *, day_first: bool) -> Iterator[tuple[Integers, Integers, Flags, int]]:
    """Read texts of the usual shapes: their places, microseconds, validity, and number of ambiguous ones."""
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    for length in np.flatnonzero(np.bincount(np.minimum(lengths, 64))).tolist():
        shapes = _BY_LENGTH.get(length, [])
        if not shapes and not 9 <= length <= 19:
            continue
        places = np.flatnonzero(lengths == length)
        some = texts if len(places) == len(texts) else texts.take(pa.array(places))
        content = np.frombuffer(some.buffers()[2], np.uint8)
        start = some.buffers()[1] and np.frombuffer(some.buffers()[1], np.int32)[some.offset]
        bytes_ = content[start : start + len(places) * length].reshape(len(places), length)
        is_digit = bytes_ - np.uint8(48) <= 9
        if 9 <= length <= 19:
            is_epoch = is_digit.all(1)
            if length == 19:
                is_epoch &= bytes_[:, 0] < 57  # what begins with a 9 exceeds 64 bits
            if is_epoch.any():
                whole = np.asarray(some.filter(pa.array(is_epoch)).cast(pa.int64()).to_numpy(zero_copy_only=False))
                yield places[is_epoch], _micros(whole, np.full(len(whole), length)), np.ones(len(whole), np.bool_), 0
        for shape in shapes:
            matches = shape.matches(bytes_, is_digit)
            if matches.any():
                yield places[matches], *shape.read(bytes_[matches], day_first=day_first)


class _Shape:
    """Shape of texts of fixed width, each part at a fixed place."""

    def __init__(self, text: str) -> None:
        self.text = text
        places = range(len(text))
        self._digits = [i for i in places if text[i] == "9"]
        self._letters = [i for i in places if text[i] in "Aa"]
        self._others = {i: _LETTERS.get(text[i], text[i].encode()) for i in places if text[i] not in "9Aa"}

    def matches(self, bytes_: Bytes, is_digit: Flags) -> Flags:
        """Flags of the texts of this shape; `bytes_` and `is_digit` have a row per text, a column per byte."""
        found: Flags = is_digit[:, self._digits[0]] & is_digit[:, self._digits[-1]]
        for place, allowed in self._others.items():
            one: Flags = bytes_[:, place] == allowed[0]
            for other in allowed[1:]:
                one |= bytes_[:, place] == other
            found &= one
        for place in self._digits:
            found &= is_digit[:, place]
        for place in self._letters:
            found &= (bytes_[:, place] | 32) - np.uint8(97) < 26
        return found

    def read(self, bytes_: Bytes, *, day_first: bool) -> tuple[Integers, Flags, int]:
        """Microseconds since 1970 in UTC, validity, and number of ambiguous ones, of texts of this shape."""
        columns = np.ascontiguousarray(bytes_.T)
        twofold = 0
        if self.text.startswith("A"):
            names = (columns[8:11] | 32).astype(np.int64)
            codes = names[0] << 16 | names[1] << 8 | names[2]
            at = np.searchsorted(_MONTH_CODES, codes) % len(_MONTH_CODES)
            month = np.where(_MONTH_CODES[at] == codes, _MONTH_NUMBERS[at], 0)
            year, day, clock = _number(columns, 12, 4), _number(columns, 5, 2), 17
        elif self.text.startswith("9999"):
            year, month, day, clock = *(_number(columns, at, size) for at, size in ((0, 4), (5, 2), (8, 2))), 11
        else:
            year, day, month, clock = _number(columns, 6, 4), _number(columns, 0, 2), _number(columns, 3, 2), 11
            if not day_first:
                day, month = month, day
        has_clock = len(self.text) > clock
        nothing = np.zeros(len(year), np.int64)
        times = [_number(columns, clock + 3 * i, 2) if has_clock else nothing for i in range(3)]
        seconds, valid = _seconds(year, month, day, *times)
        if "/" in self.text:
            twofold = int(np.count_nonzero(valid & (day <= 12) & (day != month)))
        micros = seconds * 1_000_000
        if "." in self.text:
            size = 6 if ".999999" in self.text else 3
            micros += _number(columns, self.text.index(".") + 1, size) * 10 ** (6 - size)
        if "+" in self.text:
            at = self.text.index("+")
            hours, minutes = _number(columns, at + 1, 2), _number(columns, len(self.text) - 2, 2)
            micros -= np.where(columns[at] == 45, -1, 1) * (hours * 60 + minutes) * 60_000_000
            valid &= (hours < 24) & (minutes < 60)
        return micros, valid, twofold


def _number(columns: Bytes, start: int, size: int) -> Integers:
    """Numbers from `size` digits at `start`; `columns` has a row per byte, a column per text."""
    found = np.zeros(columns.shape[1], np.int64)
    for column in columns[start : start + size]:
        found *= 10
        found += column - np.uint8(48)
    return found


_BY_LENGTH = {length: [_Shape(s) for s in _SHAPES if len(s) == length] for length in set(map(len, _SHAPES))}
_MONTH_CODES = np.array(sorted(int.from_bytes(name.encode()) for name in _MONTHS), np.int64)
_MONTH_NUMBERS = np.array(sorted(range(1, 13), key=lambda n: _MONTHS[n - 1]), np.int64)


def _from_calendar(parts: pa.StructArray, *, day_first: bool, named_month: bool) -> tuple[Integers, Flags]:
    names = {field.name for field in parts.type}
    year = _integers(parts, "year")
    if "first" in names:
        day, month = _integers(parts, "first"), _integers(parts, "second_part")
        if not day_first:
            day, month = month, day
    else:
        day, month = _integers(parts, "day"), _month(parts, named=named_month)
    hour, minute, second = (_integers(parts, name) for name in ("hour", "minute", "second"))
    seconds, valid = _seconds(year, month, day, hour, minute, second)
    if "zone" in names:
        offset, valid_offset = _offset(parts)
        seconds, valid = seconds - offset, valid & valid_offset
    return seconds * 1_000_000 + _fraction(parts, "fraction"), valid


def _seconds(
    year: Integers, month: Integers, day: Integers, hour: Integers, minute: Integers, second: Integers
) -> tuple[Integers, Flags]:
    """Seconds since 1970 of dates and times of day, and whether the calendar has them."""
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first_day = months.astype("datetime64[M]").astype("datetime64[D]")
    length = ((months + 1).astype("datetime64[M]").astype("datetime64[D]") - first_day).astype(np.int64)
    valid = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    days = first_day.astype(np.int64) + day - 1
    return days * 86400 + hour * 3600 + minute * 60 + second, valid


def _from_epoch(parts: pa.StructArray) -> tuple[Integers, Flags]:
    whole = _integers(parts, "whole")
    digits = pc.utf8_length(pc.utf8_ltrim(parts.field("whole"), "-")).to_numpy(zero_copy_only=False)
    part = _fraction(parts, "part")
    # Fractions of seconds and milliseconds count; those of a microsecond are finer than a timestamp.
    fraction = np.where(whole < 0, -1, 1) * np.select([digits <= 11, digits <= 14], [part, part // 1000], 0)
    return _micros(whole, digits) + fraction, np.ones(len(parts), np.bool_)


def _micros(whole: Integers, digits: Integers) -> Integers:
    """Convert epochs to microseconds; the number of digits gives their unit."""
    forms = [digits <= 11, digits <= 14, digits <= 17]
    return np.select(forms, [whole * 1_000_000, whole * 1000, whole], whole // 1000)


def _integers(parts: pa.StructArray, name: str) -> Integers:
    """Integers of a group of the regular expression; 0 where it is missing."""
    return np.asarray(_filled(parts, name).cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


def _fraction(parts: pa.StructArray, name: str) -> Integers:
    """Microseconds from the digits after the decimal point, truncated, not rounded."""
    padded = pc.utf8_rpad(_filled(parts, name), 6, "0")
    return np.asarray(pc.utf8_slice_codeunits(padded, 0, 6).cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


def _month(parts: pa.StructArray, *, named: bool) -> Integers:
    if not named:
        return _integers(parts, "month")
    found = pc.index_in(pc.utf8_lower(parts.field("month")), pa.array(_MONTHS))
    return np.asarray(pc.add(pc.fill_null(found, -1), 1).to_numpy(zero_copy_only=False), np.int64)


def _offset(parts: pa.StructArray) -> tuple[Integers, Flags]:
    """UTC offset in seconds (east is positive), and whether the zone is valid."""
    digits = pc.replace_substring_regex(pc.fill_null(parts.field("zone"), ""), "[^0-9+-]", "")
    negative = pc.starts_with(digits, "-").to_numpy(zero_copy_only=False)
    plain = pc.utf8_rpad(pc.replace_substring_regex(digits, "[+-]", ""), 4, "0")
    number = np.asarray(plain.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)
    hours, minutes = number // 100, number % 100
    offset = (hours * 60 + minutes) * 60
    return np.where(negative, -offset, offset), (hours < 24) & (minutes < 60)


def _filled(parts: pa.StructArray, name: str) -> pa.StringArray:
    text = parts.field(name)
    return pc.if_else(pc.equal(pc.utf8_length(pc.fill_null(text, "")), 0), "0", text)
