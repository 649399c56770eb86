"""Simulated city: stations, routes, and the timetable of its GTFS feed.

It has what makes real feeds hard to read: express trains that run under another route's letter (6X as `6..N04X001`), a
route that shares another's (W runs as N), shuttles with one dot in their ids, trains that turn back early, service days
that go on until 28:00, and holidays.
"""

import datetime
import zoneinfo
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from components.simulation.draws import Flags, Integers, uniform

ZONE = zoneinfo.ZoneInfo("America/New_York")
NORTH, SOUTH = 0, 1
LETTERS = ("N", "S")
WEEKDAY, SATURDAY, SUNDAY = "Weekday", "Saturday", "Sunday"
SERVICES = (WEEKDAY, SATURDAY, SUNDAY)
HOUR, HALF_DAY = 3600, 12 * 3600
DWELL = 20  # seconds at a stop, as scheduled
STEP = 30  # seconds: departures are scheduled in half minutes
# Trains an hour, as a share of those in the busiest hour: by hour of the service day, from 4:00 to 28:00.
BUSY = {
    WEEKDAY: (0.3, 0.4, 0.7, 1, 1, 0.8, *[0.6] * 5, 0.7, 1, 1, 1, 0.7, 0.5, 0.5, 0.4, 0.4, 0.3, 0.2, 0.2, 0.2),
    SATURDAY: (0.2, 0.2, 0.3, 0.4, *[0.55] * 14, 0.4, 0.4, 0.3, 0.2, 0.2, 0.2),
    SUNDAY: (0.2, 0.2, 0.2, 0.3, *[0.45] * 14, 0.35, 0.3, 0.3, 0.2, 0.2, 0.2),
}
FIRST_HOUR = 4
RUSH = {SOUTH: (7, 10), NORTH: (16, 19)}  # hours in which express trains run, towards town and back


@dataclass(frozen=True)
class Route:
    """Route, and the stations that its trains call at, from north to south.

    Attributes:
        line: line of the stations.
        calls: numbers of the stations on the line, from 1.
        letter: first part of its trip ids, which may be another route's.
        dots: number of dots behind the letter: two, or one for shuttles.
        path: number of the path in its trip ids; `suffix` follows it.
        share: trains an hour, as a share of City.trains.
        rush_only: whether it runs on weekdays only, in the direction and the hours of the rush.
        track: number of the northbound track; the southbound one is the next.
        short: number of stops by which each third train turns back early.
    """

    route_id: str
    line: str
    calls: tuple[int, ...]
    letter: str
    path: int
    share: float = 1.0
    dots: int = 2
    suffix: str = "R"
    rush_only: bool = False
    track: int = 1
    short: int = 0

    def path_id(self, direction: int, is_short: bool) -> str:
        """Path of a trip id, such as `A..S58R`."""
        number = self.path - 1 if is_short else self.path
        return f"{self.letter}{'.' * self.dots}{LETTERS[direction]}{number:02d}{self.suffix}"

    def stops(self, direction: int) -> list[str]:
        """Ids of the platforms that a train calls at, in its order."""
        calls = self.calls if direction == SOUTH else self.calls[::-1]
        return [f"{self.line}{number:02d}{LETTERS[direction]}" for number in calls]


LINES = {"A": 12, "6": 10, "F": 10, "R": 9, "9": 2, "S": 5}  # stations
ROUTES = (
    Route("A", "A", (1, 3, 5, 6, 8, 10, 11, 12), "A", 58, track=3, short=2),
    Route("C", "A", tuple(range(1, 11)), "C", 9, share=0.7),
    Route("6", "6", tuple(range(1, 11)), "6", 2),
    Route("6X", "6", (1, 3, 5, 8, 10), "6", 4, share=0.5, suffix="X001", rush_only=True, track=3),
    Route("F", "F", tuple(range(1, 11)), "F", 21),
    Route("FX", "F", (1, 3, 6, 10), "F", 27, share=0.4, suffix="X002", rush_only=True, track=3),
    Route("N", "R", tuple(range(1, 10)), "N", 20, short=1),
    Route("W", "R", (1, 2, 3, 4, 5, 6), "N", 36, share=0.5),
    Route("GS", "9", (1, 2), "GS", 1, share=1.5, dots=1),
    Route("SI", "S", (1, 2, 3, 4, 5), "SI", 3, share=0.6, dots=1),
)


@dataclass(frozen=True)
class Pattern:
    """One route in one direction: its stops and travel times.

    Attributes:
        number: number of the pattern, a key of its draws.
        runs: seconds from each stop to the next.
    """

    number: int
    route: Route
    direction: int
    stops: list[str]
    runs: Integers

    @property
    def arrivals(self) -> Integers:
        """Scheduled seconds from the departure at the first stop to the arrival at each; shape (stops,)."""
        return np.concatenate([[0], np.cumsum(self.runs + DWELL) - DWELL])

    def calls(self, is_short: bool) -> int:
        """Number of stops of a train."""
        return len(self.stops) - (self.route.short if is_short else 0)


@dataclass(frozen=True)
class City:
    """City, given by seed, and by `trains`, the trains an hour of a route in the busiest hour."""

    seed: int
    trains: int

    @cached_property
    def patterns(self) -> list[Pattern]:
        """All routes in both directions."""
        found: list[Pattern] = []
        for route in ROUTES:
            between = self._between(route.line)
            for direction in (NORTH, SOUTH):
                calls = np.array(route.calls if direction == SOUTH else route.calls[::-1])
                whole = np.abs(np.diff(between[calls - 1]))
                # A train that does not call at a station saves its stop there.
                saved = 25 * (np.abs(np.diff(calls)) - 1)
                found.append(Pattern(len(found), route, direction, route.stops(direction), whole - saved))
        return found

    def timetable(self, pattern: Pattern, service: str) -> Integers:
        """Scheduled departures from the first stop, in seconds after noon minus 12 hours, up to 28:00."""
        return self._timetables[pattern.number, service]

    @cached_property
    def _timetables(self) -> dict[tuple[int, str], Integers]:
        return {(p.number, service): self._timetable(p, service) for p in self.patterns for service in SERVICES}

    def _timetable(self, pattern: Pattern, service: str) -> Integers:
        busy = np.array(BUSY[service])
        hours = FIRST_HOUR + np.arange(len(busy))
        if pattern.route.rush_only:
            first, end = RUSH[pattern.direction]
            busy = np.where((hours >= first) & (hours < end) & (service == WEEKDAY), busy, 0)
        due = np.concatenate([[0], np.cumsum(busy * self.trains * pattern.route.share)])
        phase = uniform(self.seed, "phase", pattern.number)[0]
        count = int(np.ceil(max(due[-1] - phase, 0)))
        numbers = np.arange(count) + phase
        # `due` is flat where nothing runs; a tiny slope makes it invertible.
        slope = due + np.arange(len(due)) * 1e-9
        moments = np.interp(numbers, slope, np.append(hours, hours[-1] + 1)) * HOUR
        steps: Integers = (moments / STEP).astype(np.int64)
        return np.unique(steps) * STEP

    def _between(self, line: str) -> Integers:
        """Seconds from the first station of a line to each, for a train that calls at all of them."""
        count = LINES[line]
        runs = 75 + (uniform(self.seed, f"line {line}", np.arange(count - 1)) * 100).astype(np.int64)
        return np.concatenate([[0], np.cumsum(runs)])


def is_short(pattern: Pattern, departures: Integers) -> Flags:
    """Whether each train turns back early: each third does, if the route has such trains."""
    early: Flags = (np.arange(len(departures)) % 3 == 2) & (pattern.route.short > 0)
    return early


def service_on(day: datetime.date) -> str:
    """Timetable that runs on a date, one of SERVICES."""
    if day in holidays(day.year) or day.weekday() == 6:
        return SUNDAY
    return SATURDAY if day.weekday() == 5 else WEEKDAY


def holidays(year: int) -> set[datetime.date]:
    """Dates on which the Sunday timetable runs: New Year, the fourth of July, Thanksgiving, Christmas."""
    november = datetime.date(year, 11, 1)
    thanksgiving = november + datetime.timedelta(days=(3 - november.weekday()) % 7 + 21)
    fixed = {datetime.date(year, month, day) for month, day in ((1, 1), (7, 4), (12, 25))}
    return fixed | {thanksgiving}


def service_start(day: datetime.date) -> int:
    """Epoch second from which a service day's times count: noon minus 12 hours, not midnight."""
    return int(datetime.datetime.combine(day, datetime.time(12), ZONE).timestamp()) - HALF_DAY


def midnight(day: datetime.date) -> int:
    """Epoch second at which a day begins."""
    return int(datetime.datetime.combine(day, datetime.time(), ZONE).timestamp())
