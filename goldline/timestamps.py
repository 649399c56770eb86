"""Timestamps in mixed forms, read column by column: classified by regular expression, then computed, never guessed.

pandas and dateutil read about half of such columns right: neither knows epochs as text, and `dayfirst=True` swaps day
and month in ISO dates too. Here each form has one meaning. What only the writer can know, whether 03/04/2026 is in
April or in March, is a setting of the source's contract.

Forms: ISO 8601 with or without time, fraction and zone (without: UTC); epochs of 9 to 19 digits in seconds,
milliseconds, microseconds or nanoseconds, told apart by their length; RFC 2822; day/month/year with optional time.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>Z|z|[+-]\d\d(?::?\d\d)?)"
_ISO = rf"^(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?:[Tt ]{_TIME} ?{_ZONE}?)?$"
_RFC_2822 = (
    r"^(?:[A-Za-z]{3}, ?)?(?P<day>\d{1,2}) (?P<month>[A-Za-z]{3}) (?P<year>\d{4}) "
    rf"{_TIME} ?(?P<zone>GMT|UTC|UT|Z|[+-]\d{{4}})$"
)
_SLASHED = rf"^(?P<first>\d{{1,2}})[/.](?P<second_part>\d{{1,2}})[/.](?P<year>\d{{4}})(?:,? {_TIME})?$"
_EPOCH = r"^(?P<whole>-?(?:\d{9,18}|[0-8]\d{18}))(?:\.(?P<part>\d{1,9})\d*)?$"
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_TYPE = pa.timestamp("us", tz="UTC")
_FIRST, _LAST = (int(np.datetime64(t, "us").astype(np.int64)) for t in ("0001-01-01", "9999-12-31T23:59:59.999999"))


@dataclass(frozen=True)
class Parsed:
    """Timestamps as far as they could be read.

    Attributes:
        values: microseconds in UTC, of the years 1 to 9999; null where the text was null or could not be read.
        unread: which texts were there but could not be read.
        ambiguous: how many were read as day/month/year and could also have been month/day/year.
    """

    values: pa.TimestampArray
    unread: Flags
    ambiguous: int


def parse(texts: pa.StringArray, *, day_first: bool) -> Parsed:
    """Read a column of texts."""
    trimmed = pc.utf8_trim_whitespace(texts)
    micros = np.zeros(len(texts), np.int64)
    read = np.zeros(len(texts), np.bool_)
    ambiguous = 0
    todo = pc.is_valid(trimmed).to_numpy(zero_copy_only=False)
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
    present = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    return Parsed(pa.array(micros, pa.int64(), mask=~read).cast(_TYPE), present & ~read, ambiguous)


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
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first_day = months.astype("datetime64[M]").astype("datetime64[D]")
    length = ((months + 1).astype("datetime64[M]").astype("datetime64[D]") - first_day).astype(np.int64)
    valid = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    days = first_day.astype(np.int64) + day - 1
    seconds = days * 86400 + hour * 3600 + minute * 60 + second
    if "zone" in names:
        offset, valid_offset = _offset(parts)
        seconds, valid = seconds - offset, valid & valid_offset
    return seconds * 1_000_000 + _fraction(parts, "fraction"), valid


def _from_epoch(parts: pa.StructArray) -> tuple[Integers, Flags]:
    whole = _integers(parts, "whole")
    digits = pc.utf8_length(pc.utf8_ltrim(parts.field("whole"), "-")).to_numpy(zero_copy_only=False)
    unit = np.select([digits <= 11, digits <= 14, digits <= 17], [0, 1, 2], 3)
    micros = np.select([unit == 0, unit == 1, unit == 2], [whole * 1_000_000, whole * 1000, whole], whole // 1000)
    part = _fraction(parts, "part")
    sign = np.where(whole < 0, -1, 1)
    # A fraction of a microsecond is below what a timestamp holds; of seconds and milliseconds it counts.
    micros += sign * np.select([unit == 0, unit == 1], [part, part // 1000], 0)
    return micros, np.ones(len(parts), np.bool_)


def _integers(parts: pa.StructArray, name: str) -> Integers:
    """A group as numbers; what is not there is 0."""
    return np.asarray(_filled(parts, name).cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


def _fraction(parts: pa.StructArray, name: str) -> Integers:
    """Digits behind the point as microseconds, cut off, not rounded."""
    padded = pc.utf8_rpad(_filled(parts, name), 6, "0")
    return np.asarray(pc.utf8_slice_codeunits(padded, 0, 6).cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


def _month(parts: pa.StructArray, *, named: bool) -> Integers:
    if not named:
        return _integers(parts, "month")
    found = pc.index_in(pc.utf8_lower(parts.field("month")), pa.array(_MONTHS))
    return np.asarray(pc.add(pc.fill_null(found, -1), 1).to_numpy(zero_copy_only=False), np.int64)


def _offset(parts: pa.StructArray) -> tuple[Integers, Flags]:
    """Seconds east of Greenwich, and whether the zone is one."""
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
