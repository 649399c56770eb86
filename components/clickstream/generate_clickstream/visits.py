"""Simulated visits as numbers: sessions, their events, and the time at which each event arrives in the lake.

A session depends only on seed, day and its number on that day; an event only on its session and its place in it. So
any part of a day can be made by itself, and a date's files need only the few sessions of the day before that reach
beyond it. Visits are independent of the purchases of generate_sales, so the churn oracle needs no clicks.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from components.clickstream.generate_clickstream import site
from components.simulation.draws import Bits, Flags, Floats, Integers, bits, chosen, uniform
from components.simulation.text import MS_A_DAY

EPOCH = datetime.date(1970, 1, 1)
BOUNCES, LENGTH_MAX, GOES_ON = 340_000, 30, (85, 100)  # of a million sessions; most events; chance of one more
LATE_EVERY, MIDNIGHT_EVERY = 50, 100  # one session in so many
LOGS_IN, IS_LOGGED_IN = 0.6, 0.5  # shares: of customers' sessions; of those, from the start
CONVERTS = 0.06  # share of sessions that are long enough
REPEATED, CUT = 0.01, 0.003  # shares of events
CONVERSION_LENGTH = 3  # a landing, something for the cart, the purchase
PAUSE_MEDIAN, PAUSE_MIN, PAUSE_MAX = 20_000, 500, 25 * 60_000  # ms; always below the 30 minutes that end a session
SLOW, SLOW_MS, DELAY_MS, AGAIN_MS = 0.04, 300_000, 2_000, 600_000
BACK_AFTER_MS, BACK_WITHIN_MS = 300_000, 8 * 3_600_000  # after midnight, until a late session's device is online
HOURS = (9, 5, 3, 2, 2, 4, 12, 24, 38, 46, 52, 55, 60, 56, 50, 48, 50, 56, 66, 78, 84, 70, 44, 22)  # weights


def _lengths() -> list[int]:
    weights, left = [BOUNCES], 1_000_000 - BOUNCES
    part = left * (GOES_ON[1] - GOES_ON[0]) // GOES_ON[1]
    for _ in range(2, LENGTH_MAX + 1):
        weights.append(part)
        part = part * GOES_ON[0] // GOES_ON[1]
    return weights


LENGTHS = _lengths()


@dataclass(frozen=True)
class Sessions:
    """Sessions as columns; arrays of shape (sessions,).

    Attributes:
        day: days since 1970.
        key: random key of the session's draws.
        visitor: number of the visitor.
        customer: number of the customer; -1: the visitor is no customer.
        source: index into site.SOURCES.
        length: number of events.
        login: place of the first event with the customer's id; `length`: none has it.
        is_late: whether its events from place `late` on arrive a day later.
        crosses: whether it begins before midnight and ends after it.
    """

    day: Integers
    key: Bits
    visitor: Integers
    customer: Integers
    source: Integers
    length: Integers
    converts: Flags
    login: Integers
    is_late: Flags
    late: Integers
    crosses: Flags


@dataclass(frozen=True)
class Events:
    """Events as columns, session by session; arrays of shape (events,), moments in milliseconds since 1970.

    Attributes:
        session: index of the session.
        place: place in the session, from 0.
        deed: index into site.DEEDS.
        moment: moment of the event.
        arrival: moment of its arrival in the lake.
    """

    session: Integers
    place: Integers
    key: Bits
    deed: Integers
    moment: Integers
    arrival: Integers


@dataclass(frozen=True)
class Shop:
    """Simulated web shop, given by seed and size.

    Attributes:
        events: number of events a day, about.
        customers: number of customers of generate_sales.
    """

    seed: int
    events: int
    customers: int

    @property
    def sessions(self) -> int:
        """Number of sessions that start on a day."""
        events_of_all = sum(length * weight for length, weight in enumerate(LENGTHS, 1))
        return max(round(self.events * sum(LENGTHS) / events_of_all), 1)

    @property
    def visitors(self) -> int:
        """Number of possible visitors; every other one is a customer, while there are customers."""
        return max(2 * self.customers, self.events, 1)

    def of_day(self, day: datetime.date) -> tuple[Integers, Integers]:
        """Sessions that may have events in a day's files: their days since 1970, and their numbers on those days."""
        today, numbers = (day - EPOCH).days, np.arange(self.sessions)
        before = numbers[self._is_late(numbers) | self._crosses(numbers)]
        return np.repeat([today - 1, today], [len(before), len(numbers)]), np.concatenate([before, numbers])

    def visits(self, day: Integers, number: Integers) -> tuple[Sessions, Events]:
        """Sessions of the given days and numbers, and their events."""
        sessions = self._sessions(day, number)
        return sessions, self._events(sessions, number)

    def _is_late(self, number: Integers) -> Flags:
        return np.asarray(number % LATE_EVERY == 0, np.bool_) & ~self._crosses(number)

    def _crosses(self, number: Integers) -> Flags:
        return np.asarray(number >= self.sessions - max(self.sessions // MIDNIGHT_EVERY, 1), np.bool_)

    def _sessions(self, day: Integers, number: Integers) -> Sessions:
        key = bits(self.seed, "session", day, number)
        draw = self._draw(key)
        crosses = self._crosses(number)
        length = np.maximum(chosen(draw("length"), LENGTHS) + 1, np.where(crosses, 2, 1))
        visitor = (draw("visitor") * draw("regular") * self.visitors).astype(np.int64)
        customer = np.where((visitor % 2 == 0) & (visitor // 2 < self.customers), visitor // 2, -1)
        converts = (length >= CONVERSION_LENGTH) & (draw("converts") < CONVERTS)
        login = 1 + (draw("login") * (length - 1)).astype(np.int64)
        login = np.where(draw("is logged in") < IS_LOGGED_IN, 0, login)
        login = np.where(converts, np.minimum(login, length - CONVERSION_LENGTH), login)
        login = np.where((customer >= 0) & (draw("logs in") < LOGS_IN), login, length)
        late = (draw("late") * length).astype(np.int64)
        source = chosen(draw("source"), [s.weight for s in site.SOURCES])
        is_late = self._is_late(number)
        return Sessions(day, key, visitor, customer, source, length, converts, login, is_late, late, crosses)

    def _events(self, sessions: Sessions, number: Integers) -> Events:
        ends = np.cumsum(sessions.length)
        starts = ends - sessions.length
        session = np.repeat(np.arange(len(number)), sessions.length)
        place = np.arange(len(session)) - starts[session]
        key = bits(self.seed, "event", sessions.key[session], place)
        draw = self._draw(key)
        since = np.cumsum(np.where(place == 0, 0, _pauses(draw("pause"))))
        since -= since[starts][session]
        begin = self._begins(sessions, number, since[ends - 1])
        moment = begin[session] + since
        deed = self._deeds(sessions, session, place, draw("deed"))
        arrival = self._arrivals(sessions, session, place, moment, draw("delay"))
        return Events(session, place, key, deed, moment, arrival)

    def _begins(self, sessions: Sessions, number: Integers, duration: Integers) -> Integers:
        """Start of each session in ms since 1970: in the order of numbers, as frequent as HOURS; whole numbers only."""
        chances = (number + uniform(self.seed, "begin", sessions.key)) / self.sessions
        ends = np.cumsum(HOURS) * 3_600_000
        at = np.minimum((chances * int(ends[-1])).astype(np.int64), ends[-1] - 1)
        hour = np.searchsorted(ends, at, side="right")
        weights = np.array(HOURS)[hour]
        begins = hour * 3_600_000 + (at - ends[hour] + weights * 3_600_000) // weights
        begins = begins * (MS_A_DAY - 1 - duration) // MS_A_DAY  # a little earlier, so that all end before midnight
        before = 1 + (uniform(self.seed, "before midnight", sessions.key) * duration).astype(np.int64)
        return sessions.day * MS_A_DAY + np.where(sessions.crosses, MS_A_DAY - before, begins)

    def _deeds(self, sessions: Sessions, session: Integers, place: Integers, chances: Floats) -> Integers:
        deed = chosen(chances, [d.weight for d in site.MIDST])
        left = sessions.length[session] - place
        converts = sessions.converts[session]
        addition = site.FIRST_ADDITION + chosen(chances, [d.weight for d in site.ADDITIONS])
        deed = np.where(converts & (left == 2), addition, deed)
        deed = np.where(converts & (left == 1), site.PURCHASE_AT, deed)
        deed = np.where(place == sessions.login[session], site.LOGIN_AT, deed)
        view = chosen(chances, [d.weight for d in site.VIEWS])
        landing = site.FIRST_LANDING + sessions.source[session] * len(site.VIEWS) + view
        return np.where(place == 0, landing, deed)

    def _arrivals(
        self, sessions: Sessions, session: Integers, place: Integers, moment: Integers, chances: Floats
    ) -> Integers:
        """Arrival of each event in ms since 1970: on the session's day, unless that crosses midnight or is late."""
        slow = chances < SLOW
        delay = np.where(slow, chances / SLOW * SLOW_MS, (chances - SLOW) * DELAY_MS).astype(np.int64)
        midnight = ((sessions.day + 1) * MS_A_DAY)[session]
        arrival = moment + 1 + delay
        arrival = np.where(sessions.crosses[session], arrival, np.minimum(arrival, midnight - 1))
        back = BACK_AFTER_MS + (uniform(self.seed, "back", sessions.key) * BACK_WITHIN_MS).astype(np.int64)
        is_late = sessions.is_late[session] & (place >= sessions.late[session])
        return np.where(is_late, midnight + back[session] + place * 100, arrival)

    def _draw(self, key: Bits) -> Callable[[str], Floats]:
        return lambda name: uniform(self.seed, name, key)


def _pauses(chances: Floats) -> Integers:
    """Milliseconds between two events: log-logistic, a heavy tail from one division, the same on any machine."""
    pauses = PAUSE_MEDIAN * (chances / (1 - chances))
    return np.clip(pauses, PAUSE_MIN, PAUSE_MAX).astype(np.int64)
