"""Trains of the simulated city on a day: arrivals and departures at all stops, by a known random process.

Trains of a route and direction start in the order of the timetable, with a delay that drifts from train to train.
Between two stops a train takes the scheduled time, longer in the rush hours, times a lognormal factor, and stays
`SEPARATION` behind the train before. At a stop it waits longer, the longer no train came: so a late train gets later,
and the one behind it catches up. Some trains are cancelled; in an incident nearly all are, for up to an hour.

A day holds the trains that are planned to start from midnight to midnight; they may arrive later.
"""

import datetime
from dataclasses import dataclass

import numpy as np

from components.simulation.draws import Flags, Floats, Integers, uniform
from components.transit.generate_transit.city import (
    DWELL,
    HOUR,
    City,
    Pattern,
    is_short,
    midnight,
    service_on,
    service_start,
)

DAY = datetime.timedelta(days=1)
SEPARATION = 75  # seconds between two trains of a route at a stop
DRIFT, DRIFT_SECONDS, LATE = 0.8, 45.0, 40.0  # of the delay at the start: autocorrelation; step and mean in seconds
NOISE = 0.07  # standard deviation of the logarithm of the time between two stops
CROWDING = 0.05  # seconds of waiting for each second without a train
CROWDED_AFTER = 1200  # seconds without a train after which the waiting grows no more
RUSH_HOURS, RUSH_FACTOR = ((7, 10), (16, 19)), 1.12
CANCELLED, INCIDENTS = 0.02, 0.2  # shares: of trains; of the days of a route and direction
INCIDENT_MINUTES = (25, 60)
KERNEL = DRIFT ** np.arange(40)


@dataclass(frozen=True)
class Traffic:
    """Trains of a day and their stops: one row per stop, in the order of trips.

    Attributes:
        trip_uids: one per trip; so `trip_ids`, `route_ids`, `directions` and `starts` (epoch seconds).
        trips: number of the trip, one per row; so `stops`, `tracks`, `arrivals` and `departures` (epoch seconds).
        is_last: whether each row is the trip's last stop.
    """

    trip_uids: list[str]
    trip_ids: list[str]
    route_ids: list[str]
    directions: Integers
    starts: Integers
    trips: Integers
    stops: list[str]
    tracks: list[str]
    arrivals: Integers
    departures: Integers
    is_last: Flags


def traffic(city: City, day: datetime.date) -> Traffic:
    """Trains of a day, from midnight to midnight in the city's time zone."""
    parts = [part for pattern in city.patterns if (part := _trains(city, pattern, day))]
    firsts = np.cumsum([0, *(len(part.trip_uids) for part in parts)])
    return Traffic(
        trip_uids=[uid for part in parts for uid in part.trip_uids],
        trip_ids=[trip for part in parts for trip in part.trip_ids],
        route_ids=[route for part in parts for route in part.route_ids],
        directions=np.concatenate([part.directions for part in parts]),
        starts=np.concatenate([part.starts for part in parts]),
        trips=np.concatenate([part.trips + first for part, first in zip(parts, firsts[:-1], strict=True)]),
        stops=[stop for part in parts for stop in part.stops],
        tracks=[track for part in parts for track in part.tracks],
        arrivals=np.concatenate([part.arrivals for part in parts]),
        departures=np.concatenate([part.departures for part in parts]),
        is_last=np.concatenate([part.is_last for part in parts]),
    )


@dataclass(frozen=True)
class _Planned:
    """Trains that are planned to start on a day: epoch seconds, times of the timetable, whether they turn early."""

    starts: Integers
    times: Integers
    short: Flags


def _planned(city: City, pattern: Pattern, day: datetime.date) -> _Planned:
    begin, end = midnight(day), midnight(day + DAY)
    starts, times, short = [], [], []
    for service_day in (day - DAY, day):
        departures = city.timetable(pattern, service_on(service_day))
        moments = service_start(service_day) + departures
        kept = (moments >= begin) & (moments < end)
        starts.append(moments[kept])
        times.append(departures[kept])
        short.append(is_short(pattern, departures)[kept])
    # Where the clock is put forward, two service days overlap: a moment belongs to the earlier one.
    moments, first = np.unique(np.concatenate(starts), return_index=True)
    return _Planned(moments, np.concatenate(times)[first], np.concatenate(short)[first])


def _trains(city: City, pattern: Pattern, day: datetime.date) -> Traffic | None:
    planned = _planned(city, pattern, day)
    keys = (pattern.number, planned.starts)
    runs = ~_cancelled(city, pattern, day, planned.starts)
    starts, times, short = planned.starts[runs], planned.times[runs], planned.short[runs]
    if not len(starts):
        return None
    steps = _normal(city.seed, "drift", *keys)[runs]
    late = LATE + DRIFT_SECONDS * np.convolve(steps, KERNEL)[: len(steps)]
    leaves: Floats = starts.astype(np.float64) + np.maximum(late, 0.0)
    stops = len(pattern.stops)
    noise = np.exp(NOISE * _normal(city.seed, "noise", pattern.number, starts[:, None], np.arange(stops)))
    arrivals, departures = np.zeros((len(starts), stops)), np.zeros((len(starts), stops))
    calls = np.where(short, pattern.calls(is_short=True), stops)
    for number in range(stops):
        there = np.flatnonzero(calls > number)
        if number:
            leaves[there] += pattern.runs[number - 1] * noise[there, number] * _rush(leaves[there], day)
        arrivals[there, number] = _apart(leaves[there])
        gaps = np.minimum(np.diff(arrivals[there, number], prepend=-np.inf), CROWDED_AFTER)
        leaves[there] = arrivals[there, number] + DWELL + CROWDING * gaps
        departures[there, number] = leaves[there]
    return _rows(pattern, starts, times, short, calls, arrivals, departures)


def _rows(
    pattern: Pattern,
    starts: Integers,
    times: Integers,
    short: Flags,
    calls: Integers,
    arrivals: Floats,
    departures: Floats,
) -> Traffic:
    """One pattern's trains as rows."""
    paths = [pattern.route.path_id(pattern.direction, bool(early)) for early in short]
    made = np.arange(len(pattern.stops)) < calls[:, None]
    trips, numbers = np.nonzero(made)
    track = f"{pattern.route.line}{pattern.route.track + pattern.direction}"
    return Traffic(
        trip_uids=[f"{start}_{path}" for start, path in zip(starts.tolist(), paths, strict=True)],
        trip_ids=[f"{code(time)}_{path}" for time, path in zip(times.tolist(), paths, strict=True)],
        route_ids=[pattern.route.route_id] * len(starts),
        directions=np.full(len(starts), pattern.direction),
        starts=starts,
        trips=trips,
        stops=[pattern.stops[number] for number in numbers.tolist()],
        tracks=[track] * len(trips),
        arrivals=np.floor(arrivals[made]).astype(np.int64),
        departures=np.floor(departures[made]).astype(np.int64),
        is_last=numbers == calls[trips] - 1,
    )


def code(seconds: int) -> str:
    """Time of the timetable in seconds as trip ids have it: hundredths of minutes, six digits."""
    return f"{seconds * 100 // 60:06d}"


def _cancelled(city: City, pattern: Pattern, day: datetime.date, starts: Integers) -> Flags:
    """Whether each train is cancelled: some are by themselves, nearly all while there is an incident."""
    keys = (pattern.number, day.toordinal())
    happens, when, span = (uniform(city.seed, f"incident {what}", *keys)[0] for what in ("happens", "when", "span"))
    begins = midnight(day) + (6 + 16 * when) * HOUR
    shortest, longest = INCIDENT_MINUTES
    ends = begins + 60 * (shortest + (longest - shortest) * span)
    inside = (starts >= begins) & (starts < ends) & (happens < INCIDENTS)
    chances = uniform(city.seed, "cancelled", pattern.number, starts)
    cancelled: Flags = chances < np.where(inside, 0.9, CANCELLED)
    return cancelled


def _apart(moments: Floats) -> Floats:
    """Moments in the order of trains, each delayed until SEPARATION after the one before."""
    ahead = np.arange(len(moments)) * SEPARATION
    found: Floats = np.maximum.accumulate(moments - ahead) + ahead
    return found


def _rush(moments: Floats, day: datetime.date) -> Floats:
    """Factor of travel times, by the hours since midnight."""
    hours = (moments - midnight(day)) / HOUR
    busy = np.logical_or.reduce([(hours >= first) & (hours < end) for first, end in RUSH_HOURS])
    return np.where(busy, RUSH_FACTOR, 1.0)


def _normal(seed: int, name: str, *keys: object) -> Floats:
    """Normal variates: Box and Muller, "A note on the generation of random normal deviates", 1958."""
    first = uniform(seed, f"{name} 1", *keys)  # type: ignore[arg-type]
    second = uniform(seed, f"{name} 2", *keys)  # type: ignore[arg-type]
    found: Floats = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)
    return found
