"""Random numbers that are looked up, not walked to: each is a function of the seed, a name and some whole numbers.

So a day can be drawn without the days before it, for all customers at once, and comes out the same on any machine: up
to the uniform number all is whole-number arithmetic.
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]
COUNT_MAX = 15  # of what is bought in a day; beyond it lies less than one day in a million years


def uniform(seed: int, name: str, *keys: npt.ArrayLike) -> Floats:
    """Numbers in [0, 1) by seed, name and keys, which are broadcast against each other."""
    return np.asarray((bits(seed, name, *keys) >> np.uint64(11)) * 2.0**-53, np.float64)


def bits(seed: int, name: str, *keys: npt.ArrayLike) -> Bits:
    """Numbers of 64 random bits by seed, name and keys, which are broadcast against each other.

    Each key is mixed in by the output function of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom
    number generators", OOPSLA 2014, figure 17.
    """
    state = np.array([int.from_bytes(sha256(f"{seed} {name}".encode()).digest()[:8])], np.uint64)
    for key in keys:
        state = _mix(np.bitwise_xor(state, np.asarray(key, np.uint64)))
    return state


def chosen(chances: Floats, weights: Sequence[int]) -> Integers:
    """Which of some things each number in [0, 1) means, by their weights: whole numbers, so that sums are exact."""
    ends = np.cumsum(weights)
    return np.asarray(np.searchsorted(ends, chances * ends[-1], side="right"), np.int64)


def gamma(seed: int, name: str, shape: int, mean: npt.ArrayLike, keys: npt.ArrayLike) -> Floats:
    """Gamma variates of a whole shape: sums of as many exponential ones."""
    numbers = np.asarray(keys)[:, None]
    parts = -np.log1p(-uniform(seed, name, numbers, np.arange(shape)))
    return np.asarray(parts.sum(axis=1) * mean / shape, np.float64)


def geometric(chances: Floats, probability: npt.ArrayLike) -> Integers:
    """Days until something happens that does so each day with a probability, by inversion; at least 1."""
    days = np.ceil(np.log1p(-chances) / np.log1p(-np.asarray(probability)))
    return np.maximum(days, 1).astype(np.int64)


def poisson(chances: Floats, mean: Floats) -> Integers:
    """Poisson counts by inversion: how many steps of the cumulated distribution lie below the uniform number."""
    counts = np.zeros(len(chances), np.int64)
    probability = np.exp(-mean)
    below = probability.copy()
    for count in range(1, COUNT_MAX + 1):
        counts += chances >= below
        probability = probability * mean / count
        below += probability
    return counts


@np.errstate(over="ignore")
def _mix(state: Bits) -> Bits:
    mixed = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
