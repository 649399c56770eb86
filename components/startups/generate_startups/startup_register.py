"""Simulated register of startups as numbers: its members and their changes over time.

Each startup changes every EVERY_WEEKS weeks after it was added, until it is closed. So the changes of a week are found
without the weeks before it, and a change depends only on seed, startup and its own number.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from components.simulation.draws import Flags, Floats, Integers, chosen, uniform
from components.simulation.text import MS_A_DAY

EPOCH = datetime.date(1970, 1, 1)
WEEK_DAYS = 7
STARTUPS, NEWCOMERS = 2000, 23  # in the full load, and new each week, per hundred changes a week
EVERY_WEEKS = 26  # between changes of a startup: 2000 / 26 changes a week, which with 23 newcomers makes the hundred
FULL, NEW, ROUND, CLOSURE, CORRECTION = range(5)
CHANGES = ("full", "new", "round", "closure", "correction")
LATER = {ROUND: 60, CLOSURE: 12, CORRECTION: 28}  # weights of the changes after a startup was added
LATE, LATE_WEEKS_MAX, REPEATED, CUT = 0.06, 3, 0.04, 0.01
MOVES, RENEWS = 0.4, 0.3  # shares: of corrections, those of the city; of changes, those of the contact
STAGES = ("pre_seed", "seed", "series_a", "series_b", "series_c", "series_d", "ipo")
RAISES = (200_000, 1_500_000, 9_000_000, 25_000_000, 60_000_000, 140_000_000, 400_000_000)  # dollars, at least


@dataclass(frozen=True)
class Versions:
    """Versions of startups as columns, one element per change; arrays of shape (changes,).

    Attributes:
        startup: number of the startup.
        number: number of the change; 0: the startup was added.
        change: index into CHANGES.
        week: week in which the register knows it; 0: that of the full load.
        effective: day from which it is valid, in days since 1970; `founded` in the same unit.
        updated: moment of its entry into the register, in milliseconds since 1970.
        arrives: week whose load brings it.
        stage: index into STAGES.
        funding: dollars raised so far; `valuation` in dollars too.
        city: number to draw the city with; likewise `contact`.
    """

    startup: Integers
    number: Integers
    change: Integers
    week: Integers
    effective: Integers
    updated: Integers
    arrives: Integers
    founded: Integers
    stage: Integers
    funding: Integers
    valuation: Integers
    employees: Integers
    city: Integers
    contact: Integers

    def only(self, which: Flags | Integers) -> "Versions":
        """Versions that a mask or indices select."""
        return Versions(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True)
class Register:
    """Register, given by seed, number of changes a week (about), and date of its full load."""

    seed: int
    changes: int
    first: datetime.date

    def due(self, week: int) -> datetime.date:
        """Date of a week's load."""
        return self.first + datetime.timedelta(days=WEEK_DAYS * week)

    def week(self, day: datetime.date) -> int:
        """Last week whose load is due on a date; below 0 before the full load."""
        return (day - self.first).days // WEEK_DAYS

    def size(self, week: int) -> int:
        """Number of startups added by the end of a week."""
        return self._begun + self._newcomers * week

    def versions(self, startup: Integers, week: int, since: int = 0) -> Versions:
        """Versions of some startups that entered the register from week `since` to `week`."""
        begins = self._begins(startup)
        number = np.arange(max(week - 1, 0) // EVERY_WEEKS + 2)
        weeks = _week_of(number, *(begin[:, None] for begin in begins))
        rows, numbers = np.nonzero((weeks <= week) & (weeks >= since))
        changes = self._changes(startup, len(number))[rows]
        is_over = ((changes == CLOSURE) & (number < numbers[:, None])).any(axis=1)
        rows, numbers, changes = rows[~is_over], numbers[~is_over], changes[~is_over]
        return self._versions(startup[rows], numbers, changes, *(begin[rows] for begin in begins))

    def _versions(
        self, startup: Integers, number: Integers, changes: Integers, comes: Integers, starts: Integers
    ) -> Versions:
        """Versions of these startups and numbers; `changes` is the kind of all changes of each, see `_changes`."""
        week = _week_of(number, comes, starts)
        numbers = np.arange(changes.shape[1])
        so_far = numbers <= number[:, None]
        is_fact = so_far & (changes != CORRECTION)
        corrected = len(numbers) - 1 - np.argmax(is_fact[:, ::-1], axis=1)  # the last that is no correction
        day = self._day(startup, number, week)
        effective = self._day(startup, corrected, _week_of(corrected, comes, starts))
        began = self._day(startup, np.zeros_like(number), comes)
        drawn = self._draw(startup, number)
        lateness = 1 + (drawn("lateness") * LATE_WEEKS_MAX).astype(np.int64)
        is_late = (drawn("late") < LATE) & (week > 0)
        stage = chosen(self._draw(startup)("stage"), range(len(STAGES), 0, -1))
        rounds = np.cumsum((changes == ROUND) & so_far, axis=1)
        raised = np.array(RAISES)[np.minimum(stage[:, None] + rounds, len(STAGES) - 1)]
        raised = raised + (raised * self._draw(startup[:, None], numbers)("raised")).astype(np.int64)
        has_raised = so_far & ((changes == ROUND) | (numbers == 0))
        funding = (raised * has_raised).sum(axis=1)
        said_at = np.where(_change_of(changes, number) == CLOSURE, number - 1, number)  # a closure changes nothing else
        said = self._draw(startup, said_at)
        valuation = funding // 1000 * (2500 + (said("worth") * 4000).astype(np.int64))
        employees = 2 + funding // 400_000 + (said("employees") * 40).astype(np.int64)
        moved = (changes == CORRECTION) & (self._draw(startup[:, None], numbers)("moves") < MOVES) & so_far
        renewed = (self._draw(startup[:, None], numbers)("renews") < RENEWS) & so_far
        return Versions(
            startup=startup,
            number=number,
            change=_change_of(changes, number),
            week=week,
            effective=effective,
            updated=day * MS_A_DAY + (drawn("time") * MS_A_DAY).astype(np.int64),
            arrives=week + np.where(is_late, lateness, 0),
            founded=began - 30 - (self._draw(startup)("age") * 3000).astype(np.int64),
            stage=np.minimum(stage + rounds[:, -1], len(STAGES) - 1),
            funding=funding,
            valuation=valuation,
            employees=employees,
            city=_last(moved, numbers),
            contact=_last(renewed, numbers),
        )

    def _begins(self, startup: Integers) -> tuple[Integers, Integers]:
        """Weeks in which startups are added, and weeks of their first later changes."""
        comes = np.where(startup < self._begun, 0, (startup - self._begun) // self._newcomers + 1)
        return comes, comes + 1 + (self._draw(startup)("starts") * EVERY_WEEKS).astype(np.int64)

    def _changes(self, startup: Integers, most: int) -> Integers:
        """Kind of each change, also of those that never happen; shape (startups, most)."""
        changes = chosen(self._draw(startup[:, None], np.arange(most))("change"), list(LATER.values()))
        changes = np.array(list(LATER))[changes]
        changes[:, 0] = np.where(startup < self._begun, FULL, NEW)
        return changes

    def _day(self, startup: Integers, number: Integers, week: Integers) -> Integers:
        """Day of a change in days since 1970: in the week before its load; days of the full load are older."""
        due = (self.first - EPOCH).days + WEEK_DAYS * week
        chances = self._draw(startup, number)("day")
        return due - np.where(week > 0, chances * WEEK_DAYS, 30 + chances * 900).astype(np.int64)

    def _draw(self, *keys: Integers) -> Callable[[str], Floats]:
        return lambda name: uniform(self.seed, name, *keys)

    @property
    def _begun(self) -> int:
        return STARTUPS * self.changes // 100

    @property
    def _newcomers(self) -> int:
        return max(NEWCOMERS * self.changes // 100, 1)


def _change_of(changes: Integers, number: Integers) -> Integers:
    """Kind of each startup's change of the given number."""
    return np.take_along_axis(changes, number[:, None], axis=1)[:, 0]


def _week_of(number: Integers, comes: Integers, starts: Integers) -> Integers:
    return np.where(number == 0, comes, starts + (number - 1) * EVERY_WEEKS)


def _last(where: Flags, numbers: Integers) -> Integers:
    """Last number marked in each row; 0 if none is."""
    return (where * numbers).max(axis=1)
