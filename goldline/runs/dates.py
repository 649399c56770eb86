"""Date of a run, and the first date whose arrivals each flow reads in it."""

import datetime
from collections.abc import Mapping

from goldline.runs.context import EPOCH

DAY = datetime.timedelta(days=1)


def resolve(run_date: str, scheduled: str, created: str) -> datetime.date:
    """Resolve the run date: `run_date`, else the day before the scheduled time, else the day before the creation time.

    A job that no schedule started has a scheduled time in 1970 or none at all
    (https://github.com/GoogleCloudPlatform/vertex-ai-samples/issues/3771).

    Args:
        run_date: YYYY-MM-DD, or empty.
        scheduled: ISO 8601 time, UTC unless it has an offset; empty or an unfilled placeholder: none.
        created: creation time of the job, in the same form.

    Raises:
        ValueError: a value is malformed, or no date follows from them.
    """
    if run_date:
        return datetime.date.fromisoformat(run_date)
    moment = _moment(scheduled)
    if moment is None or moment.date() <= EPOCH + DAY:
        moment = _moment(created)
    if moment is None:
        raise ValueError("expected a run_date, a scheduled time or a creation time, got none of them: give run_date")
    return moment.date() - DAY


def since(
    run_date: datetime.date, last_finished: Mapping[str, datetime.date | None], lookback_days: int
) -> dict[str, datetime.date]:
    """First date whose arrivals are read, by flow.

    The day after the flow's last finished date, or the run date if that is earlier, less the lookback: so the next run
    catches up a failed night. EPOCH, and so everything that ever arrived, for a flow that never finished a date (None).
    """
    lookback = datetime.timedelta(days=lookback_days)
    return {
        flow: EPOCH if last is None else min(run_date, last + DAY) - lookback for flow, last in last_finished.items()
    }


def _moment(text: str) -> datetime.datetime | None:
    # A placeholder that was not filled in keeps its braces.
    if not text or text.startswith("{{"):
        return None
    moment = datetime.datetime.fromisoformat(text)
    return moment.astimezone(datetime.UTC) if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
