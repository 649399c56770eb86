"""Which days are asked for, and what becomes of each."""

import datetime
from dataclasses import dataclass
from typing import Literal

from goldline.runs.context import EPOCH, RunContext

DAY = datetime.timedelta(days=1)
# A day's archive is published about 07:00 of the next; the nightly run at 02:00 comes before that for the run's date,
# and a day before it may be late.
PENDING_DAYS = 2
Status = Literal["SUCCESS", "SKIPPED", "PENDING", "NOT_FOUND", "ERROR"]
STATUSES: tuple[Status, ...] = ("SUCCESS", "SKIPPED", "PENDING", "NOT_FOUND", "ERROR")
BAD: tuple[Status, ...] = ("NOT_FOUND", "ERROR")


@dataclass(frozen=True)
class Outcome:
    """What became of one day.

    Attributes:
        status: SUCCESS: it was landed; SKIPPED: it was there, and whole; PENDING: it is not published yet; NOT_FOUND:
            it is not published, and should be; ERROR: it could not be had, or is corrupt.
        reason: of an ERROR.
    """

    day: datetime.date
    status: Status
    reason: str = ""


def asked(run: RunContext, days: int, first: str = "", last: str = "") -> list[datetime.date]:
    """The days to look for.

    Args:
        run: the run's context.
        days: how many days up to the run's date are looked back to; more where the flow's last nights failed.
        first: YYYY-MM-DD: look back to that day instead.
        last: YYYY-MM-DD: look no further than to that day; empty: to the run's date.

    Raises:
        ValueError: there is no day from `first` to `last`.
    """
    end = datetime.date.fromisoformat(last) if last else run.run_date
    since = run.since.get("transit", EPOCH)
    start = min(end, since - DAY if since > EPOCH else end) - DAY * (days - 1)
    if first:
        start = datetime.date.fromisoformat(first)
    if start > end:
        raise ValueError(f"history: expected days from the first to the last, got {start} to {end}")
    return [start + DAY * number for number in range((end - start).days + 1)]


def absent(run: RunContext, day: datetime.date) -> Status:
    """What it means that there is no archive of a day."""
    return "PENDING" if day > run.run_date - DAY * PENDING_DAYS else "NOT_FOUND"
