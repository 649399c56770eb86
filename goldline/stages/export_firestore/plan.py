"""Plan of an export, made from the earlier commits: read everything, or what changed since a watermark.

The rules, so that dates may run late, twice and in any order:

- A date's first export reads what changed since the end of the last exported date before it, or since that date's
  first read time, whichever is earlier, less the contract's overlap. Its first read time, since later attempts of that
  date may not have reached the tables yet. Its end, so that a date that is run late gets everything dated on it.
- A date that is exported again reads from its first watermark, and in full if it ever was exported in full: only its
  newest attempt counts, so that must hold everything that the earlier ones held.
- Everything is read if nothing was committed up to the date, once a week (sweep), if the key has changed, if the
  contract has no change column that Firestore can filter by, and on request.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from goldline.contracts.source_contract import SourceContract, Weekday
from goldline.landing.attempts import newest_of_each_date
from goldline.privacy.pseudonym import Key
from goldline.runs.ops import Commit

AUTO = "auto"
FULL: Literal["full"] = "full"
INCREMENTAL: Literal["incremental"] = "incremental"
WEEKDAYS = get_args(Weekday)


class ExportError(RuntimeError):
    """Failed export; nothing was committed."""


class WrongKeyError(ExportError):
    """Key that is neither that of earlier exports nor its successor."""


@dataclass(frozen=True)
class Plan:
    """Plan of what an export reads.

    Attributes:
        mode: everything, or what changed.
        why: the reason, for the log.
        watermark: incremental only: earliest change time to read.
        base: incremental only: earlier commit whose collection size is compared with the present one.
        known_dates: full: dates whose files hold every known record; incremental: this date, if exported before.
    """

    mode: Literal["full", "incremental"]
    why: str
    watermark: datetime.datetime | None = None
    base: Commit | None = None
    known_dates: tuple[datetime.date, ...] = ()


def make_plan(
    run_date: datetime.date, contract: SourceContract, commits: Sequence[Commit], key: Key, asked: str, origin: str
) -> Plan:
    """Decide what an export reads.

    Args:
        run_date: the run date.
        contract: the source's contract.
        commits: all commits of this source, of any date.
        key: key for pseudonyms.
        asked: requested mode: `auto` (or empty) or `full`.
        origin: `project/database/collection` to read.

    Raises:
        ValueError: the requested mode is neither.
        WrongKeyError: the key is neither that of the last commit nor its successor.
        ExportError: the last commit is of another collection, and the mode is not `full`.
    """
    if asked not in ("", AUTO, FULL):
        raise ValueError(f"mode: expected {AUTO} or {FULL}, got {asked!r}")
    commits = sorted(commits, key=lambda c: (c.committed_at, c.attempt))
    if commits:
        _check_key(commits[-1], key)
        _check_origin(commits[-1], origin, asked)
    why = "it is asked for" if asked == FULL else _why_full(run_date, contract, commits, key)
    if why:
        return Plan(FULL, why, known_dates=_known_dates(run_date, commits))
    return _incremental(run_date, contract, commits)


def _check_key(last: Commit, key: Key) -> None:
    earlier = last.pii_key_version
    if key.follows(earlier, last.pii_key_check):
        return
    is_alike = ", another key of the same name" if earlier == key.version else ""
    raise WrongKeyError(
        f"{last.source}: the last export (run date {last.run_date}) made its pseudonyms with key version {earlier}; "
        f"this environment has version {key.version}{is_alike}. Nothing was exported. Bring back the key, or, if it "
        f"is lost, make a version after it (goldline rotate-key): then everything is exported anew"
    )


def _check_origin(last: Commit, origin: str, asked: str) -> None:
    if last.origin not in (None, origin) and asked != FULL:
        raise ExportError(
            f"{last.source}: the last export (run date {last.run_date}) was of {last.origin}, this would be of "
            f"{origin}. Nothing was exported. If the new one takes the old one's place, export it once with mode "
            f"{FULL}: records that it lacks count as deleted"
        )


def _why_full(run_date: datetime.date, contract: SourceContract, commits: Sequence[Commit], key: Key) -> str | None:
    if contract.change_clock is None:
        return "the contract names no change column of type TIMESTAMP and one form"
    if any(c.run_date == run_date and c.mode != INCREMENTAL for c in commits):
        return "this date was exported in full before"
    if not any(c.run_date <= run_date for c in commits):
        return "nothing was exported for an earlier date"
    if commits[-1].pii_key_version != key.version:
        return f"the key changed from version {commits[-1].pii_key_version} to {key.version}"
    due = run_date - datetime.timedelta(days=(run_date.weekday() - WEEKDAYS.index(contract.sweep_on)) % 7)
    if not any(due <= c.run_date <= run_date and c.mode != INCREMENTAL for c in commits):
        return f"the week's sweep is due since {contract.sweep_on}, {due}"
    return None


def _incremental(run_date: datetime.date, contract: SourceContract, commits: Sequence[Commit]) -> Plan:
    overlap = datetime.timedelta(minutes=contract.overlap_minutes)
    before = [c for c in commits if c.run_date < run_date]
    if own := [c.watermark for c in commits if c.run_date == run_date and c.watermark]:
        watermark = min(own)
        # Only sizes as of the watermark or later can be compared: what was created before it is not read again.
        comparable = [c for c in before if c.read_time - overlap >= watermark]
        base = min(comparable, key=lambda c: c.read_time, default=None)
        return Plan(
            INCREMENTAL, f"changed since {watermark}, as in this date's first export", watermark, base, (run_date,)
        )
    day = max(c.run_date for c in before)
    base = min((c for c in before if c.run_date == day), key=lambda c: c.read_time)
    end = datetime.datetime.combine(day + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
    watermark = min(base.read_time, end) - overlap
    return Plan(INCREMENTAL, f"changed since {watermark}, for {day} was exported before", watermark, base)


def _known_dates(run_date: datetime.date, commits: Sequence[Commit]) -> tuple[datetime.date, ...]:
    """Dates whose files hold every living record: the last full export, all since, and the run date."""
    counting = newest_of_each_date(commits)
    full = max((c.read_time for c in counting if c.mode != INCREMENTAL), default=None)
    return tuple(c.run_date for c in counting if c.run_date == run_date or full is None or c.committed_at >= full)
