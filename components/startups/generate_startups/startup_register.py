"""The simulated register of startups as numbers: who is in it, and how each has changed by when.

Each startup changes every so many weeks after it has come in, until it is closed. So the changes of a week are found
without walking through the weeks before it, and all that a change says follows from seed, startup and its number.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from components.simulation.draws import Flags, Floats, Integers, chosen, uniform
from components.simulation.text import MS_A_DAY

EPOCH = datetime.date(1970, 1, 1)
WEEK_DAYS = 7
STARTUPS, NEWCOMERS = 2000, 23  # in the full load, and a week, for each hundred changes a week
EVERY_WEEKS = 26  # a startup changes; with the newcomers that makes the hundred: 2000 / 26 + 23
FULL, NEW, ROUND, CLOSURE, CORRECTION = range(5)
CHANGES = ("full", "new", "round", "closure", "correction")
LATER = {ROUND: 60, CLOSURE: 12, CORRECTION: 28}  # weights of what happens after a startup has come in
LATE, LATE_WEEKS_MAX, REPEATED, CUT = 0.06, 3, 0.04, 0.01
MOVES, RENEWS = 0.4, 0.3  # corrections that give another city, and changes that give another contact
STAGES = ("pre_seed", "seed", "series_a", "series_b", "series_c", "series_d", "ipo")
RAISES = (200_000, 1_500_000, 9_000_000, 25_000_000, 60_000_000, 140_000_000, 400_000_000)  # dollars, at least


@dataclass(frozen=True)
class Versions:
    """What the register says of startups, by column: a row for each change.

    Attributes:
        startup: the startup's number.
        number: of the change: 0 is how the startup came in.
        change: which of CHANGES.
        week: in which the register knows it; 0 is the full load's.
        effective: the day from which it holds, in days since 1970.
        updated: when the register took it in, in milliseconds since 1970.
        arrives: the week whose load brings it.
        stage: which of STAGES.
        funding: dollars raised so far.
        city: a number to draw the city with; so `contact`.
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
        """Some of them."""
        return Versions(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True)
class Register:
    """The register by seed, size and the date of its full load.

    Attributes:
        changes: changes a week, about.
    """

    seed: int
    changes: int
    first: datetime.date

    def due(self, week: int) -> datetime.date:
        """The date of a week's load."""
        return self.first + datetime.timedelta(days=WEEK_DAYS * week)

    def week(self, day: datetime.date) -> int:
        """The last week whose load is due on a date; below 0 before the full load."""
        return (day - self.first).days // WEEK_DAYS

    def size(self, week: int) -> int:
        """How many have come in by the end of a week."""
        return self._begun + self._newcomers * week

    def versions(self, startup: Integers, week: int, since: int = 0) -> Versions:
        """All changes of some startups that the register took in up to a week, and from another one on."""
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
        """The changes of these numbers; `changes` holds what each of the startup's changes is."""
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
        """The weeks in which startups come in, and those of their first changes after that."""
        comes = np.where(startup < self._begun, 0, (startup - self._begun) // self._newcomers + 1)
        return comes, comes + 1 + (self._draw(startup)("starts") * EVERY_WEEKS).astype(np.int64)

    def _changes(self, startup: Integers, most: int) -> Integers:
        """By startup and number of change: what it is, whether or not it comes to it."""
        changes = chosen(self._draw(startup[:, None], np.arange(most))("change"), list(LATER.values()))
        changes = np.array(list(LATER))[changes]
        changes[:, 0] = np.where(startup < self._begun, FULL, NEW)
        return changes

    def _day(self, startup: Integers, number: Integers, week: Integers) -> Integers:
        """The day of a change: one of the week before its load; what the full load tells is older."""
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
    """What each startup's change of a number is."""
    return np.take_along_axis(changes, number[:, None], axis=1)[:, 0]


def _week_of(number: Integers, comes: Integers, starts: Integers) -> Integers:
    return np.where(number == 0, comes, starts + (number - 1) * EVERY_WEEKS)


def _last(where: Flags, numbers: Integers) -> Integers:
    """The last of the numbers that is marked; 0 where none is."""
    return (where * numbers).max(axis=1)
