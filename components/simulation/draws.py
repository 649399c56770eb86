"""Counter-based random numbers: value = f(seed, name, keys), so any day can be drawn on its own.

All customers are drawn at once. Uniform numbers come from whole-number arithmetic: they are the same on any machine.
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]
COUNT_MAX = 15  # most purchases a day; less than one day in a million years has more


def uniform(seed: int, name: str, *keys: npt.ArrayLike) -> Floats:
    """Uniform numbers in [0, 1), a function of seed, name and keys; keys are broadcast like NumPy arrays."""
    return np.asarray((bits(seed, name, *keys) >> np.uint64(11)) * 2.0**-53, np.float64)


def bits(seed: int, name: str, *keys: npt.ArrayLike) -> Bits:
    """Numbers of 64 random bits, a function of seed, name and keys; keys are broadcast like NumPy arrays.

    Each key is mixed in by the output function of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom
    number generators", OOPSLA 2014, figure 17.
    """
    state = np.array([int.from_bytes(sha256(f"{seed} {name}".encode()).digest()[:8])], np.uint64)
    for key in keys:
        state = _mix(np.bitwise_xor(state, np.asarray(key, np.uint64)))
    return state


def chosen(chances: Floats, weights: Sequence[int]) -> Integers:
    """Index drawn by each number in [0, 1), in proportion to `weights`: whole numbers, so that sums are exact."""
    ends = np.cumsum(weights)
    return np.asarray(np.searchsorted(ends, chances * ends[-1], side="right"), np.int64)


def gamma(seed: int, name: str, shape: int, mean: npt.ArrayLike, keys: npt.ArrayLike) -> Floats:
    """Gamma variates of a whole-number `shape`, one per key: sums of that many exponential variates."""
    numbers = np.asarray(keys)[:, None]
    parts = -np.log1p(-uniform(seed, name, numbers, np.arange(shape)))
    return np.asarray(parts.sum(axis=1) * mean / shape, np.float64)


def geometric(chances: Floats, probability: npt.ArrayLike) -> Integers:
    """Geometric variates by inversion: days until an event of the given daily probability; at least 1."""
    days = np.ceil(np.log1p(-chances) / np.log1p(-np.asarray(probability)))
    return np.maximum(days, 1).astype(np.int64)


def poisson(chances: Floats, mean: Floats) -> Integers:
    """Poisson variates by inversion of the numbers in [0, 1); at most COUNT_MAX."""
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
