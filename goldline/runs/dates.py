"""Which date a run is for, and from which date on it reads what arrived."""

import datetime
from collections.abc import Mapping

from goldline.runs.context import EPOCH

DAY = datetime.timedelta(days=1)


def resolve(run_date: str, scheduled: str, created: str) -> datetime.date:
    """The date to run: the one asked for, else the day before the schedule's time, else before the creation time.

    A job that no schedule started has a schedule time of 1970 or none at all
    (https://github.com/GoogleCloudPlatform/vertex-ai-samples/issues/3771).

    Args:
        run_date: YYYY-MM-DD or nothing.
        scheduled: ISO time, in UTC unless it says otherwise.
        created: likewise.

    Raises:
        ValueError: a value is neither empty nor of that form.
    """
    if run_date:
        return datetime.date.fromisoformat(run_date)
    moment = _moment(scheduled)
    if moment is None or moment.date() <= EPOCH + DAY:
        moment = _moment(created)
    if moment is None:
        raise ValueError("neither a run_date nor a time of schedule or creation is known: give run_date")
    return moment.date() - DAY


def since(
    run_date: datetime.date, last_finished: Mapping[str, datetime.date | None], lookback_days: int
) -> dict[str, datetime.date]:
    """By flow, the first date whose arrivals are read.

    It is the day after the last date that the flow finished before this one, so that a night that failed is caught up
    by the next; for a flow that never finished a date, all that ever arrived.
    """
    lookback = datetime.timedelta(days=lookback_days)
    return {
        flow: EPOCH if last is None else min(run_date, last + DAY) - lookback for flow, last in last_finished.items()
    }


def _moment(text: str) -> datetime.datetime | None:
    # A placeholder that was not filled in stays as it is, in braces.
    if not text or text.startswith("{{"):
        return None
    moment = datetime.datetime.fromisoformat(text)
    return moment.astimezone(datetime.UTC) if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
