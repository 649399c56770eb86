"""Which date a run is for, and since when it reads."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldline.runs.context import EPOCH
from goldline.runs.dates import DAY, resolve, since

DATE = datetime.date(2026, 11, 20)
CREATED = "2026-11-21T02:00:05Z"
PLACEHOLDER = "{{$.pipeline_job_schedule_time_utc}}"


def test_the_date_that_is_asked_for_is_run() -> None:
    assert resolve("2026-11-01", "2026-11-21T02:00:00Z", CREATED) == datetime.date(2026, 11, 1)


def test_a_schedule_runs_the_day_before_its_time() -> None:
    # Vertex was busy: the job was created a day after its time.
    assert resolve("", "2026-11-21T02:00:00Z", "2026-11-22T01:00:00Z") == DATE


@pytest.mark.parametrize(
    "scheduled", ["", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T10:00:00+10:00", PLACEHOLDER]
)
def test_what_no_schedule_started_runs_the_day_before_its_creation(scheduled: str) -> None:
    assert resolve("", scheduled, CREATED) == DATE


@pytest.mark.parametrize(
    "scheduled",
    ["2026-11-21T02:00:00", "2026-11-21T00:00:00Z", "2026-11-21T23:59:59.999999Z", "2026-11-22T01:30:00+02:00",
     "2026-11-20T20:00:00-05:00", "2026-11-21T02:00:00.123456789Z", "2026-11-21"],
)  # fmt: skip
def test_days_are_those_of_utc(scheduled: str) -> None:
    assert resolve("", scheduled, "2030-01-01T00:00:00Z") == DATE


@pytest.mark.parametrize("unknown", ["", PLACEHOLDER])
def test_without_any_time_a_date_must_be_given(unknown: str) -> None:
    with pytest.raises(ValueError, match="give run_date"):
        resolve("", unknown, "")
    assert resolve("2026-11-20", unknown, "") == DATE


@pytest.mark.parametrize(("run_date", "scheduled"), [("20 November", ""), ("2026-02-30", ""), ("", "tomorrow")])
def test_what_is_no_date_is_refused(run_date: str, scheduled: str) -> None:
    with pytest.raises(ValueError, match=r"20 November|day is out of range|day .* must be|tomorrow"):
        resolve(run_date, scheduled, CREATED)


@given(
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))),
)
def test_one_moment_is_one_date_in_whatever_zone_it_is_told(moment: datetime.datetime, zone: datetime.timezone) -> None:
    utc = moment.replace(tzinfo=datetime.UTC)
    told = utc.astimezone(zone).isoformat()
    assert resolve("", told, CREATED) == resolve("", PLACEHOLDER, told) == utc.date() - DAY


@pytest.mark.parametrize(
    ("last", "lookback", "expected"),
    [
        (datetime.date(2026, 11, 19), 0, DATE),  # every night as it should be
        (datetime.date(2026, 11, 19), 2, datetime.date(2026, 11, 18)),
        (datetime.date(2026, 11, 16), 0, datetime.date(2026, 11, 17)),  # three nights failed: caught up
        (datetime.date(2026, 11, 16), 1, datetime.date(2026, 11, 16)),
        (None, 0, EPOCH),  # never finished: all that ever arrived
        (None, 5, EPOCH),
        (datetime.date(2026, 11, 25), 0, DATE),  # a late date reads its own arrivals, not later ones
    ],
)
def test_since_when_arrivals_are_read(last: datetime.date | None, lookback: int, expected: datetime.date) -> None:
    assert since(DATE, {"sales": last}, lookback) == {"sales": expected}


def test_each_flow_has_its_own() -> None:
    finished = {"sales": datetime.date(2026, 11, 19), "transit": datetime.date(2026, 11, 10), "startups": None}
    assert since(DATE, finished, 0) == {"sales": DATE, "transit": datetime.date(2026, 11, 11), "startups": EPOCH}
    assert since(DATE, {}, 3) == {}


DATES = st.dates(datetime.date(2020, 1, 1), datetime.date(2030, 1, 1))


@given(DATES, DATES | st.none(), st.integers(0, 30))
def test_no_arrival_is_ever_left_out(run_date: datetime.date, last: datetime.date | None, lookback: int) -> None:
    [first] = since(run_date, {"sales": last}, lookback).values()
    assert first <= run_date
    assert last is None or first <= last + DAY
    assert first <= since(run_date, {"sales": last}, 0)["sales"]
