"""Timestamps in mixed forms: each form has one meaning, and what has none is left unread."""

import datetime
from collections.abc import Callable
from email.utils import format_datetime
from random import Random

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goldline.landing.timestamps import Parsed, parse

UTC = datetime.UTC
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime.datetime(1, 1, 1, tzinfo=UTC), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
NOON = datetime.datetime(2026, 4, 3, 12, 0, 5, tzinfo=UTC)
MICROSECOND = datetime.timedelta(microseconds=1)


def read(*texts: str | None, day_first: bool = True) -> Parsed:
    return parse(pa.array(texts, pa.string()), day_first=day_first)


def moments(parsed: Parsed) -> list[datetime.datetime | None]:
    found: list[datetime.datetime | None] = parsed.values.to_pylist()
    return found


def moment(text: str, *, day_first: bool = True) -> datetime.datetime | None:
    [found] = moments(read(text, day_first=day_first))
    return found


@pytest.mark.parametrize(
    "text",
    [
        *("2026-04-03T12:00:05Z", "2026-04-03T12:00:05.000+00:00", "2026-04-03t12:00:05z"),
        *("2026-04-03 12:00:05", "2026-04-03T12:00:05", "2026-04-03 12:00:05,0 Z", " 2026-04-03 12:00:05\n"),
        *("2026-04-03T14:00:05+02:00", "2026-04-03T14:00:05+0200", "2026-04-03 14:00:05 +02"),
        *("2026-04-03T06:30:05-05:30", "1775217605", "1775217605.0", "1775217605000", "1775217605000000"),
        *("1775217605000000000", "1775217605000000999"),
        *("Fri, 03 Apr 2026 12:00:05 GMT", "Fri, 3 Apr 2026 14:00:05 +0200", "03 apr 2026 12:00:05 UTC"),
        *("03/04/2026 12:00:05", "3/4/2026, 12:00:05", "03.04.2026 12:00:05"),
    ],
)  # fmt: skip
def test_all_forms_of_one_moment(text: str) -> None:
    assert moment(text) == NOON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-04-03", "2026-04-03T00:00:00"),
        ("03/04/2026", "2026-04-03T00:00:00"),
        ("2026-04-03 9:30", "2026-04-03T09:30:00"),
        ("2026-04-03T09:30:00.123456789Z", "2026-04-03T09:30:00.123456"),  # cut off, not rounded
        ("2026-04-03T09:30:00.1", "2026-04-03T09:30:00.100000"),
        ("1775217605.25", "2026-04-03T12:00:05.250000"),
        ("1775217605000.5", "2026-04-03T12:00:05.000500"),
        ("-100000000.5", "1966-10-31T14:13:19.500000"),
        ("8999999999999999999", "2255-03-14T15:59:59.999999"),
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("29/02/2000", "2000-02-29T00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
        ("0001-01-01", "0001-01-01T00:00:00"),
    ],
)
def test_what_a_form_means_in_detail(text: str, expected: str) -> None:
    assert moment(text) == datetime.datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "n/a", "yesterday", "--", "null", "nan", "inf", "True", "today 10:00", "2026", "20261120", "1e9"),
        *("2026-02-30", "2026-02-29", "2100-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "0000-01-01", "2026-1-1"),
        *("31/31/2026", "13/13/2026", "00/01/2026", "32/01/2026", "03/04/26", "2026/04/03"),
        *("2026-04-03T24:00:00", "2026-04-03T12:60:00", "2026-04-03T12:00:60", "2026-04-03T12"),
        *("2026-04-03T12:00:00+24:00", "2026-04-03T12:00:00+02:60", "2026-04-03T12:00:00 CET", "2026-04-03 12:00 pm"),
        *("2026-04-03\x00", "\uff12026-04-03"),
        *("Fri, 03 Foo 2026 12:00:05 GMT", "Fri, 03 Apr 2026 12:00:05 EST", "Fri, 31 Apr 2026 12:00:05 GMT"),
        *("12345678", "9000000000000000000", "99999999999999999999", "1775217605.", "--1775217605"),
        # Beyond what a timestamp of BigQuery (and of Python) holds, by its zone or by its number
        *("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+00:01"),
        *("-99999999999", "-62135596801", "-62135596801000", "-62135596801000000", "-86400000000.5"),
    ],
)  # fmt: skip
def test_what_is_no_moment_stays_unread(text: str) -> None:
    parsed = read(text)
    assert moments(parsed) == [None]
    assert parsed.unread.tolist() == [True]
    assert parsed.ambiguous == 0


def test_null_stays_null_and_is_not_unread() -> None:
    parsed = read(None, "junk", "2026-04-03", None)
    assert [m is None for m in moments(parsed)] == [True, True, False, True]
    assert parsed.unread.tolist() == [False, True, False, False]


@pytest.mark.parametrize("texts", [[], [None, None]])
def test_nothing_is_read_of_nothing(texts: list[str | None]) -> None:
    parsed = read(*texts)
    assert moments(parsed) == texts
    assert not parsed.unread.any()


def test_day_and_month_are_a_setting_never_a_guess() -> None:
    assert moment("03/04/2026 12:00:05") == NOON
    assert moment("04/03/2026 12:00:05", day_first=False) == NOON
    assert moment("11/20/2026") is None  # the 20th month is none: it is not taken for November
    assert moment("20/11/2026", day_first=False) is None


@pytest.mark.parametrize("text", ["2026-04-03T12:00:05Z", "1775217605", "Fri, 03 Apr 2026 12:00:05 GMT"])
def test_the_setting_is_for_slashed_dates_alone(text: str) -> None:
    assert moment(text, day_first=False) == moment(text) == NOON


@pytest.mark.parametrize("day_first", [True, False])
def test_ambiguous_dates_are_counted(day_first: bool) -> None:
    texts = ["03/04/2026", "12.11.2026 10:00", "3/3/2026", "20/11/2026", "11/20/2026", "2026-03-04", "00/04/2026", None]
    assert read(*texts, day_first=day_first).ambiguous == 2


# Any moment, in any form


def iso(value: datetime.datetime) -> str:
    """In its own offset."""
    return value.isoformat()


def utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(UTC)


def wall(value: datetime.datetime) -> str:
    return utc(value).replace(tzinfo=None).isoformat()


def slashed(value: datetime.datetime, *, day_first: bool) -> str:
    value = utc(value)
    date = f"{value.day}/{value.month}" if day_first else f"{value.month}/{value.day}"
    return f"{date}/{value.year:04} {value.time().isoformat()}"


def epoch(value: datetime.datetime, power: int, digits: range) -> str | None:
    """In units of 10**-power seconds, where it has a number of digits that tells the unit."""
    micros = (value - EPOCH) // MICROSECOND
    number = micros * 10 ** (power - 6) if power >= 6 else micros // 10 ** (6 - power)
    exact = power >= 6 or not micros % 10 ** (6 - power)
    return str(number) if exact and len(str(abs(number))) in digits else None


# None: the form has no room for this moment
FORMS: dict[str, Callable[[datetime.datetime], str | None]] = {
    "ISO with offset": iso,
    "ISO with Z": lambda v: f"{wall(v)}Z",
    "ISO without zone": wall,
    "ISO with a space": lambda v: wall(v).replace("T", " "),
    "epoch s": lambda v: epoch(v, 0, range(9, 12)),
    "epoch ms": lambda v: epoch(v, 3, range(12, 15)),
    "epoch us": lambda v: epoch(v, 6, range(15, 18)),
    "epoch ns": lambda v: epoch(v, 9, range(18, 20)) if abs(v - EPOCH) < datetime.timedelta(days=100_000) else None,
    "RFC 2822": lambda v: format_datetime(v) if not v.microsecond else None,
    "RFC 2822 with GMT": lambda v: format_datetime(utc(v), usegmt=True) if not v.microsecond else None,
}
ZONES = st.builds(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)), st.integers(-14 * 60, 14 * 60)
)
WHOLE = st.sampled_from([0, 0, 1000, 1])


@st.composite
def any_moments(draw: st.DrawFn) -> datetime.datetime:
    """Moments of the years 1 to 9999 in any zone, whole seconds among them more often than chance would have it."""
    seconds = draw(st.integers(int(FIRST.timestamp()) + 86400, int(LAST.timestamp()) - 86400))
    near = draw(st.booleans())
    value = EPOCH + datetime.timedelta(seconds=seconds % (100 * 366 * 86400) if near else seconds)
    value += draw(st.integers(0, 999)) * draw(WHOLE) * MICROSECOND
    return value.astimezone(draw(ZONES))


@given(any_moments())
@settings(max_examples=100, deadline=None)
@example(FIRST)
@example(LAST)
@example(LAST.replace(microsecond=0))
def test_any_moment_reads_back_from_any_form(value: datetime.datetime) -> None:
    texts = {name: text for name, form in FORMS.items() if (text := form(value)) is not None}
    for day_first in (True, False):
        given_texts = texts | {"slashed": slashed(value, day_first=day_first)}
        found = moments(read(*given_texts.values(), day_first=day_first))
        assert dict(zip(given_texts, found, strict=True)) == dict.fromkeys(given_texts, value)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_among_those_that_are_tried(name: str) -> None:
    assert FORMS[name](NOON) is not None


# Any text

JUNK = st.text() | st.from_regex(r"\A[ 0-9:/.,+\-TZ]{1,30}\Z") | st.from_regex(r"\A-?[0-9]{1,25}(\.[0-9]{0,12})?\Z")
JUNK |= st.from_regex(
    r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{1,2}:[0-9]{2}(:[0-9]{2})?( ?[+-][0-9]{2}:?[0-9]{2})?)?\Z"
)
JUNK |= st.from_regex(r"\A[0-9]{1,2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2} (GMT|[+-][0-9]{4})\Z")
TEXTS = JUNK | st.none() | any_moments().map(iso) | any_moments().map(lambda v: slashed(v, day_first=True))

# Alike in shape, and not all of them moments
SHAPED = ["2026-02-30T10:00:00Z", "2026-04-03t24:00:00z", "2026-04-03 10:00:00.999", "2026-04-03T10:00:00.999999-05:30"]
SHAPED += ["2026-04-03T10:00:00+24:00", "2026-04-03T10:00:00+02:60", "2026-04-03T10:00:00-0530", "0000-01-01", "9" * 19]
SHAPED += ["31/04/2026", "12/11/2026", "12.11.2026 10:61:00", "11/11/2026 10:00:00", "8" * 19, "9" * 18, "0" * 9]
SHAPED += ["Fri, 03 Apr 2026 12:00:05 GMT", "Fri, 31 APR 2026 12:00:05 -0000", "xyz, 03 foo 2026 12:00:05 +0200"]
SHAPED += ["2026-04-03T10:00:00.99x", "2026-04-03T10:00:0a", "2026\u00e904-03", "1775217605\n", "123456789\u00b2"]


@given(st.lists(TEXTS, max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
@example(["20 Foo 2026 10:00 GMT"], True)
@example(["-99999999999"], True)
def test_any_text_is_read_or_unread_and_nothing_breaks(texts: list[str | None], day_first: bool) -> None:
    parsed = read(*texts, day_first=day_first)
    for text, found, unread in zip(texts, moments(parsed), parsed.unread.tolist(), strict=True):
        assert (found is None) == (text is None or unread)
        assert found is None or FIRST <= found <= LAST
        assert text is None or found is None or any(c.isdigit() for c in text)


@given(st.lists(TEXTS, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_neither_order_nor_splitting_matters(texts: list[str | None], dice: Random) -> None:
    whole = read(*texts)
    each = [read(text) for text in texts]
    assert moments(whole) == [m for one in each for m in moments(one)]
    assert whole.unread.tolist() == [u for one in each for u in one.unread.tolist()]
    assert whole.ambiguous == sum(one.ambiguous for one in each)

    order = list(range(len(texts)))
    dice.shuffle(order)
    shuffled = read(*[texts[i] for i in order])
    assert moments(shuffled) == [moments(whole)[i] for i in order]
    assert shuffled.ambiguous == whole.ambiguous


@given(st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{2}:[0-5][0-9])?\Z"))
@settings(max_examples=100, deadline=None)
def test_what_looks_like_iso_means_what_python_says(text: str) -> None:
    try:
        expected = datetime.datetime.fromisoformat(text)
        expected = expected.astimezone(UTC) if expected.tzinfo else expected.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        assert moment(text) is None
    else:
        assert moment(text) == expected


@given(st.lists(TEXTS.filter(lambda text: text is not None) | st.sampled_from(SHAPED), max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
@example(SHAPED, True)
@example(SHAPED, False)
def test_the_fast_way_reads_what_the_slow_one_does(texts: list[str], day_first: bool) -> None:
    fast = read(*texts, day_first=day_first)
    slow = read(*[f"{text} " for text in texts], day_first=day_first)  # of no length that has a shape, until trimmed
    assert moments(fast) == moments(slow)
    assert fast.unread.tolist() == slow.unread.tolist()
    assert fast.ambiguous == slow.ambiguous


def test_a_slice_of_a_column_is_read_as_such() -> None:
    texts = pa.array(["2026-04-03T12:00:05Z", None, "x", "1775217605", "03/04/2026 12:00:05"])
    assert moments(parse(texts.slice(3), day_first=True)) == [NOON, NOON]
    assert moments(parse(texts.slice(1, 3), day_first=True)) == [None, None, NOON]
