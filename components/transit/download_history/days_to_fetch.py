"""Days to ask for, and the outcome of each."""

import datetime
from dataclasses import dataclass
from typing import Literal

from goldline.runs.context import EPOCH, RunContext

DAY = datetime.timedelta(days=1)
# A day's archive is published about 07:00 of the next day: the nightly run at 02:00 is too early for that of its run
# date, and the one of the day before may be late.
PENDING_DAYS = 2
Status = Literal["SUCCESS", "SKIPPED", "PENDING", "NOT_FOUND", "ERROR"]
STATUSES: tuple[Status, ...] = ("SUCCESS", "SKIPPED", "PENDING", "NOT_FOUND", "ERROR")
BAD: tuple[Status, ...] = ("NOT_FOUND", "ERROR")


@dataclass(frozen=True)
class Outcome:
    """Outcome of one day.

    Attributes:
        status: SUCCESS: landed; SKIPPED: was there, and whole; PENDING: not published yet; NOT_FOUND: should be
            published, and is not; ERROR: could not be downloaded, or is corrupt.
        reason: message of an ERROR.
    """

    day: datetime.date
    status: Status
    reason: str = ""


def asked(run: RunContext, days: int, first: str = "", last: str = "") -> list[datetime.date]:
    """Days to look for, the earliest first.

    Args:
        run: the run's context.
        days: number of days up to the run date; more are taken if the flow's last nights failed.
        first: first day instead, YYYY-MM-DD; empty: by `days`.
        last: last day, YYYY-MM-DD; empty: the run date.

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
    """Status of a day without an archive: PENDING while it may still be published, else NOT_FOUND."""
    return "PENDING" if day > run.run_date - DAY * PENDING_DAYS else "NOT_FOUND"
