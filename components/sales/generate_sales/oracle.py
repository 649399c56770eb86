"""Oracle of churn: the best possible probabilities, from the true behaviour of each customer.

The oracle knows each customer's rate and hazard and the seasons. It sees what the shop's documents show: the days on
which each bought, up to the cut-off. Nobody sees whether a customer who does not buy has left. So this is a hidden
Markov model of two states, active and gone, and its forward recursion gives the exact posterior (Rabiner, "A tutorial
on hidden Markov models", Proceedings of the IEEE 77(2), 1989, section III.A).
"""

import datetime

import numpy as np

from components.sales.generate_sales.defects import UNREADABLE
from components.sales.generate_sales.habits import RETURN
from components.sales.generate_sales.world import DAY, World, standing
from components.simulation.draws import Floats

WINDOW = 30  # days without a valid purchase that mean churn


def oracle(world: World, cutoff: datetime.date, first: datetime.date) -> dict[str, float]:
    """Probability of churn of each customer who has bought: no valid purchase in WINDOW days after the cut-off.

    Args:
        world: the simulated shop.
        cutoff: last day that the oracle sees.
        first: first day in the shop's collection.

    Returns:
        Probability by customer id. A purchase in the window is valid if at the window's end its document is there,
        can be read, and is completed, not refunded.
    """
    present, has_bought = world.habits.shares, np.zeros(world.size, np.bool_)
    for ago in reversed(range((cutoff - first).days + 1)):
        day = cutoff - DAY * ago
        bought = world.bought(day)
        present = np.where(bought, 1.0, _after_silence(world, day, _next(world, present)))
        has_bought |= bought
    churns = _churns(world, cutoff, present)
    return {f"c{number:05d}": float(churns[number]) for number in np.flatnonzero(has_bought)}


def _next(world: World, present: Floats) -> Floats:
    """Probability of being active a day later."""
    return present * (1 - world.habits.hazards) + (1 - present) * RETURN


def _after_silence(world: World, day: datetime.date, present: Floats) -> Floats:
    """Probability of being active, given that nothing was bought that day: Bayes' rule."""
    silent = present * np.exp(-world.habits.expected(day) * (1 - UNREADABLE))
    return np.asarray(silent / (silent + 1 - present), np.float64)


def _churns(world: World, cutoff: datetime.date, present: Floats) -> Floats:
    """Probability of no valid purchase in the window; customers may leave and return in it."""
    here, gone = present, 1 - present  # each jointly with no valid purchase so far
    for days in range(1, WINDOW + 1):
        leaving, returning = here * world.habits.hazards, gone * RETURN
        seen = (1 - UNREADABLE) * standing(WINDOW - days)
        here = (here - leaving + returning) * np.exp(-world.habits.expected(cutoff + DAY * days) * seen)
        gone = gone + leaving - returning
    return here + gone
