"""Behaviour of the simulated shop's customers: who is active on a day, and how much they buy.

A customer is active or gone. Each day an active customer leaves with a personal probability, and a gone one returns,
rarely. Over the years as many join as leave: the shop is equally busy on any date, and each period has customers from
before it, customers who join in it and customers who leave in it. An active customer buys at a personal rate, times a
season that all share.
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
SPELLS = 80  # active and gone by turns: enough to fill the years between
RETURN = 1 / 300  # daily probability that a gone customer returns
RATE_SHAPE, HAZARD_SHAPE = 8, 8  # a higher shape makes the customers of a segment more alike
WEEKDAYS = (0.85, 0.80, 0.90, 0.95, 1.20, 1.40, 0.90)  # Monday first; the mean is 1
CHANNELS = ("web", "app", "store", "phone")
SWING, PEAK = 0.10, 350  # amplitude of the yearly season, and the day of the year of its peak


@dataclass(frozen=True)
class Segment:
    """Kind of customer.

    Attributes:
        share: share of all customers.
        rate: mean number of purchases a day.
        hazard: mean daily probability of leaving.
        channels: weights of CHANNELS.
        discounted: share of purchases at a discount.
    """

    name: str
    share: float
    rate: float
    hazard: float
    channels: tuple[float, ...]
    discounted: float


# Segments differ by channel, so that a model can guess the rate of a customer who bought only once.
SEGMENTS = (
    Segment("regular", 0.3, 0.19, 0.001, (0.10, 0.80, 0.05, 0.05), 0.10),
    Segment("occasional", 0.4, 0.02, 0.001, (0.25, 0.05, 0.50, 0.20), 0.15),
    Segment("bargain hunter", 0.3, 0.07, 0.0015, (0.85, 0.10, 0.03, 0.02), 0.85),
)


def season(day: datetime.date) -> float:
    """Factor of all purchase rates on a day: the weekday's, times a mild wave over the year."""
    turn = 2 * math.pi * (day.timetuple().tm_yday - PEAK) / 365.25
    return WEEKDAYS[day.weekday()] * (1 + SWING * math.cos(turn))


@dataclass(frozen=True)
class Habits:
    """Behaviour of all customers, given by seed; arrays of shape (customers,), by customer number."""

    seed: int
    customers: int

    @cached_property
    def segments(self) -> Integers:
        """Index into SEGMENTS of each customer."""
        ends = np.cumsum([segment.share for segment in SEGMENTS])[:-1]
        return np.asarray(np.searchsorted(ends, uniform(self.seed, "segment", self._numbers), side="right"), np.int64)

    @cached_property
    def rates(self) -> Floats:
        """Mean number of purchases a day while active, before the season."""
        means = np.array([segment.rate for segment in SEGMENTS])[self.segments]
        return gamma(self.seed, "rate", RATE_SHAPE, means, self._numbers)

    @cached_property
    def hazards(self) -> Floats:
        """Probability of leaving after an active day."""
        means = np.array([segment.hazard for segment in SEGMENTS])[self.segments]
        return np.minimum(gamma(self.seed, "hazard", HAZARD_SHAPE, means, self._numbers), 0.5)

    @cached_property
    def shares(self) -> Floats:
        """Share of days on which a customer is active: the stationary distribution of the two states."""
        return RETURN / (RETURN + self.hazards)

    def expected(self, day: datetime.date) -> Floats:
        """Expected number of purchases of each customer on a day, given that the customer is active."""
        return self.rates * season(day)

    def present(self, day: datetime.date) -> Flags:
        """Whether each customer is active on a day.

        Raises:
            ValueError: the day is not between OPENS and CLOSES.
        """
        if not OPENS <= day < CLOSES:
            raise ValueError(f"the simulated shop is open from {OPENS} until {CLOSES}, not on {day}")
        turns = np.count_nonzero(self._ends <= (day - OPENS).days, axis=1)
        return np.asarray(self._begins ^ (turns % 2 == 1), np.bool_)

    def counts(self, day: datetime.date) -> Integers:
        """Number of purchases of each customer on a day."""
        chances = uniform(self.seed, "count", self._numbers, day.toordinal())
        return poisson(chances, np.where(self.present(day), self.expected(day), 0.0))

    @cached_property
    def _numbers(self) -> Integers:
        return np.arange(self.customers)

    @cached_property
    def _begins(self) -> Flags:
        """Whether each customer is active on OPENS."""
        return uniform(self.seed, "begins", self._numbers) < self.shares

    @cached_property
    def _ends(self) -> Integers:
        """End of each customer's spells, in days after OPENS; shape (customers, SPELLS)."""
        spells = np.arange(SPELLS)
        is_with = self._begins[:, None] ^ (spells % 2 == 1)
        chances = uniform(self.seed, "spell", self._numbers[:, None], spells)
        return np.cumsum(geometric(chances, np.where(is_with, self.hazards[:, None], RETURN)), axis=1)
