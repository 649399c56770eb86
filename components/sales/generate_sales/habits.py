"""How customers of the simulated shop behave: who is with it on a day, and how much they buy.

A customer is either with the shop or gone. Each day one who is with it leaves by a hazard of their own, and one who is
gone comes back, rarely. Over the years as many join as leave, so that the shop is as busy on any date, and each
stretch of days shows customers from before it, customers who join in it and customers who leave in it. While with the
shop, a customer buys at a rate of their own, times a season that all share.
"""

import datetime
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from components.simulation.draws import Floats, Integers, gamma, geometric, poisson, uniform

Flags = npt.NDArray[np.bool_]

OPENS, CLOSES = datetime.date(2015, 1, 1), datetime.date(2045, 1, 1)
SPELLS = 80  # with the shop and gone by turns: enough to fill the years between
RETURN = 1 / 300  # of those who are gone, a day
RATE_SHAPE, HAZARD_SHAPE = 8, 8  # the higher, the more alike are the customers of a segment
WEEKDAYS = (0.85, 0.80, 0.90, 0.95, 1.20, 1.40, 0.90)  # Monday first; 1 in the mean
CHANNELS = ("web", "app", "store", "phone")
SWING, PEAK = 0.10, 350  # the year's season, and the day of the year on which it is highest


@dataclass(frozen=True)
class Segment:
    """A kind of customer.

    Attributes:
        share: of all customers.
        rate: mean purchases a day.
        hazard: mean probability of leaving, a day.
        channels: weights of CHANNELS.
        discounted: share of purchases that are made at a discount.
    """

    name: str
    share: float
    rate: float
    hazard: float
    channels: tuple[float, ...]
    discounted: float


# What they buy by tells the segments apart, so that a model can guess at the rate of one who bought but once.
SEGMENTS = (
    Segment("regular", 0.3, 0.19, 0.001, (0.10, 0.80, 0.05, 0.05), 0.10),
    Segment("occasional", 0.4, 0.02, 0.001, (0.25, 0.05, 0.50, 0.20), 0.15),
    Segment("bargain hunter", 0.3, 0.07, 0.0015, (0.85, 0.10, 0.03, 0.02), 0.85),
)


def season(day: datetime.date) -> float:
    """What all rates are multiplied by on a day: the weekday's share and a mild wave over the year."""
    turn = 2 * math.pi * (day.timetuple().tm_yday - PEAK) / 365.25
    return WEEKDAYS[day.weekday()] * (1 + SWING * math.cos(turn))


@dataclass(frozen=True)
class Habits:
    """The customers' behaviour by seed: an array holds a value a customer, by number."""

    seed: int
    customers: int

    @cached_property
    def segments(self) -> Integers:
        """Which of SEGMENTS each customer is of."""
        ends = np.cumsum([segment.share for segment in SEGMENTS])[:-1]
        return np.asarray(np.searchsorted(ends, uniform(self.seed, "segment", self._numbers), side="right"), np.int64)

    @cached_property
    def rates(self) -> Floats:
        """Purchases a day while with the shop, before the season."""
        means = np.array([segment.rate for segment in SEGMENTS])[self.segments]
        return gamma(self.seed, "rate", RATE_SHAPE, means, self._numbers)

    @cached_property
    def hazards(self) -> Floats:
        """Probability to leave after a day with the shop."""
        means = np.array([segment.hazard for segment in SEGMENTS])[self.segments]
        return np.minimum(gamma(self.seed, "hazard", HAZARD_SHAPE, means, self._numbers), 0.5)

    @cached_property
    def shares(self) -> Floats:
        """Share of days that a customer is with the shop: the stationary distribution of the two states."""
        return RETURN / (RETURN + self.hazards)

    def expected(self, day: datetime.date) -> Floats:
        """Purchases to expect on a day of each who is with the shop then."""
        return self.rates * season(day)

    def present(self, day: datetime.date) -> Flags:
        """Who is with the shop on a day.

        Raises:
            ValueError: the shop is not simulated for that day.
        """
        if not OPENS <= day < CLOSES:
            raise ValueError(f"the simulated shop is open from {OPENS} until {CLOSES}, not on {day}")
        turns = np.count_nonzero(self._ends <= (day - OPENS).days, axis=1)
        return np.asarray(self._begins ^ (turns % 2 == 1), np.bool_)

    def counts(self, day: datetime.date) -> Integers:
        """How often each buys on a day."""
        chances = uniform(self.seed, "count", self._numbers, day.toordinal())
        return poisson(chances, np.where(self.present(day), self.expected(day), 0.0))

    @cached_property
    def _numbers(self) -> Integers:
        return np.arange(self.customers)

    @cached_property
    def _begins(self) -> Flags:
        """Who is with the shop on the first day of all."""
        return uniform(self.seed, "begins", self._numbers) < self.shares

    @cached_property
    def _ends(self) -> Integers:
        """The days, counted from the first of all, on which each customer's spells are over."""
        spells = np.arange(SPELLS)
        is_with = self._begins[:, None] ^ (spells % 2 == 1)
        chances = uniform(self.seed, "spell", self._numbers[:, None], spells)
        return np.cumsum(geometric(chances, np.where(is_with, self.hazards[:, None], RETURN)), axis=1)
