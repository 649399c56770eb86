"""JSON Lines of the simulated register: a week's changes as they arrive, with planted defects.

A broken line is always sent again whole: so the truth is what a correct reader finds.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.simulation import text
from components.simulation.draws import Floats, Integers, uniform
from components.simulation.text import MS_A_DAY, dates, fixed, join, members, moments, pieces
from components.startups.generate_startups.startup_register import (
    CHANGES,
    CLOSURE,
    CUT,
    EPOCH,
    LATE_WEEKS_MAX,
    REPEATED,
    STAGES,
    Register,
    Versions,
)
from goldline.privacy.pseudonym import Key

STARTUPS_AT_ONCE = 8192
WHOLE, AGAIN, CUT_OFF = range(3)  # kind of a line: a change, the same change again, a piece of a line
CUT_MIN = 20  # least number of characters left of a broken line
LOADED_AFTER_MS, LOADING_MS = MS_A_DAY + 3_600_000, 3_600_000  # from 1:00 to 2:00 of the day after

FIRST_WORDS = ("Amber", "Brisk", "Cobalt", "Delta", "Ember", "Fjord", "Granite", "Hazel", "Indigo", "Juniper", "Krill")
SECOND_WORDS = ("Grid", "Health", "Labs", "Logistics", "Mobility", "Pay", "Robotics", "Seeds", "Systems", "Works")
FORMS = ("AB", "AS", "GmbH", "Lda", "Oy", "SA", "s.r.o.")
SECTORS = ("agritech", "climate", "education", "fintech", "health", "logistics", "robotics", "software")
CITIES = (
    *(("Lisbon", "PT"), ("Zürich", "CH"), ("Malmö", "SE"), ("São Paulo", "BR"), ("Berlin", "DE"), ("Tartu", "EE")),
    *(("Kraków", "PL"), ("Lyon", "FR"), ("Austin", "US"), ("Bengaluru", "IN")),
)
BUCKETS = {0: "under 1M", 10**6: "1M-10M", 10**7: "10M-100M", 10**8: "100M-1B", 10**9: "over 1B"}
CONTACTS = ("Founders", "hello", "Info", "press", "team")
PADS = ("", " ", "  ")  # spaces that people type around an address

_SECTORS = pieces(f'","sector":"{sector}",' for sector in SECTORS)
_CITIES = pieces(members(country=country, city=city) for city, country in CITIES)
_STAGES = pieces("," + members(funding_stage=stage, funding_stage_score=score) for score, stage in enumerate(STAGES, 1))
_BUCKETS = pieces("," + members(valuation_bucket=bucket) for bucket in BUCKETS.values())
_ENDS = pieces(
    "," + members(is_active=change != CHANGES[CLOSURE], change_type=change) + ',"effective_on":"' for change in CHANGES
)

TRUTH = pa.schema(
    [
        ("startup_id", pa.string()),
        ("valid_from", pa.date32()),
        ("valid_to", pa.date32()),  # the next row's valid_from
        ("is_current", pa.bool_()),
        ("name", pa.string()),
        ("sector", pa.string()),
        ("country", pa.string()),
        ("city", pa.string()),
        ("funding_stage", pa.string()),
        ("valuation_usd", pa.int64()),
        ("total_funding_usd", pa.int64()),
        ("employees", pa.int64()),
        ("is_active", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Chunk:
    """Lines of some startups in one week's load."""

    register: Register
    week: int
    startups: Integers

    @cached_property
    def _lines(self) -> tuple[Versions, Integers]:
        """Version and kind of each line of the load."""
        since = self.week - LATE_WEEKS_MAX - 1
        known = self.register.versions(self.startups, self.week, max(since, 0))
        again = self._draw("again", known) < REPEATED
        again_week = known.arrives + ((self._draw("again after", known) < 0.5) & (known.week > 0))
        has_arrived = known.arrives == self.week
        which = [has_arrived & (self._draw("cut", known) < CUT), has_arrived, again & (again_week == self.week)]
        index = np.concatenate([np.flatnonzero(some) for some in which])
        kind = np.repeat([CUT_OFF, WHOLE, AGAIN], [int(some.sum()) for some in which])
        order = np.argsort(self._draw("order", known)[index] + kind / 16, kind="stable")
        return known.only(index[order]), kind[order]

    @property
    def kind(self) -> Integers:
        """Kind of each line: WHOLE, AGAIN or CUT_OFF."""
        return self._lines[1]

    def text(self, key: Key) -> pa.BinaryArray:
        """JSON Lines, each with its newline; pseudonyms are made with the key; shape (lines,)."""
        versions, kind = self._lines
        digits = text.padded(versions.startup, 6)
        closed = self._due * MS_A_DAY + LOADED_AFTER_MS
        loaded = closed + (self._draw("loaded", versions) * LOADING_MS).astype(np.int64)
        whole = join(
            *(b'{"startup_id":"st', digits, b'","name":"', self._names(versions)),
            *(_SECTORS.take(self._sectors(versions)), _CITIES.take(self._cities(versions))),
            fixed(b',"founded_on":"', dates(versions.founded), b'"'),
            _STAGES.take(pa.array(versions.stage)),
            *(b',"valuation_usd":', text.decimals(versions.valuation), _BUCKETS.take(_buckets(versions))),
            *(b',"total_funding_usd":', text.decimals(versions.funding)),
            *(b',"employees":', text.decimals(versions.employees)),
            *(b',"contact_email_cleaned":"', self._contacts(versions, key), b'"'),
            _ENDS.take(pa.array(versions.change)),
            fixed(dates(versions.effective), b'","updated_at":"', moments(versions.updated)),
            *(b'","source_url":"https://register.example/startups/st', digits),
            fixed(b'","load_timestamp":"', moments(loaded), b'","schema_version":1}\n'),
        )
        is_cut = kind == CUT_OFF
        return text.cut(whole, is_cut, self._draw("cut at", versions)[is_cut], CUT_MIN)

    def planted(self, previous: int) -> tuple[Counter[str], int]:
        """Number of changes and defects by kind, after a line updated at `previous` (ms since 1970); the last update.

        `changes` are distinct ones, `late` those of an earlier week, `repeated` lines beyond the first of their
        change, `out_of_order` older than the line before, `cut_off` broken off (they are sent again whole).
        """
        versions, kind = self._lines
        is_whole = kind != CUT_OFF
        updated = versions.updated[is_whole]
        counts = {
            "lines": len(kind),
            "changes": int((kind == WHOLE).sum()),
            "late": int((versions.week[is_whole] < self.week).sum()),
            "repeated": int((kind == AGAIN).sum()),
            "out_of_order": int((np.diff(updated, prepend=previous) < 0).sum()),
            "cut_off": int((~is_whole).sum()),
        }
        return Counter(counts), int(updated[-1]) if len(updated) else previous

    def truth(self) -> pa.RecordBatch:
        """History of the startups as a correct reader knows it after all loads up to the week's; see TRUTH."""
        known = self.register.versions(self.startups, self.week)
        known = known.only(known.arrives <= self.week)
        # By startup, effective day and update: of one startup and day the last update counts.
        known = known.only(np.lexsort((known.updated, known.effective, known.startup)))
        same = (np.diff(known.startup) == 0) & (np.diff(known.effective) == 0)
        known = known.only(np.append(~same, np.full(min(len(known.startup), 1), fill_value=True)))
        has_next = np.append(np.diff(known.startup) == 0, np.zeros(min(len(known.startup), 1), np.bool_))
        begins = pa.array(known.effective.astype(np.int32)).cast(pa.date32())
        ends = pa.array(np.roll(known.effective, -1).astype(np.int32), mask=~has_next).cast(pa.date32())
        cities = self._cities(known)
        return pa.RecordBatch.from_arrays(
            [
                _strings(join(b"st", text.padded(known.startup, 6))),
                *(begins, ends, pa.array(~has_next), _strings(self._names(known))),
                pa.array(SECTORS).take(self._sectors(known)),
                pa.array([country for _, country in CITIES]).take(cities),
                pa.array([city for city, _ in CITIES]).take(cities),
                pa.array(STAGES).take(pa.array(known.stage)),
                *(pa.array(known.valuation), pa.array(known.funding), pa.array(known.employees)),
                pa.array(known.change != CLOSURE),
            ],
            schema=TRUTH,
        )

    @property
    def _due(self) -> int:
        return (self.register.due(self.week) - EPOCH).days

    def _names(self, versions: Versions) -> pa.BinaryArray:
        parts = (FIRST_WORDS, SECOND_WORDS, FORMS)
        words = [
            pieces(some).take(_numbers(self._of("name", number, versions.startup), len(some)))
            for number, some in enumerate(parts)
        ]
        return join(words[0], b" ", words[1], b" ", words[2])

    def _sectors(self, versions: Versions) -> pa.Array:
        return _numbers(self._of("sector", versions.startup), len(SECTORS))

    def _cities(self, versions: Versions) -> pa.Array:
        return _numbers(self._of("city", versions.startup, versions.city), len(CITIES))

    def _contacts(self, versions: Versions, key: Key) -> pa.BinaryArray:
        """Pseudonyms of contact addresses, which the register cleaned first: lower case, no spaces around."""
        chances = self._of("contact", versions.startup, versions.contact)
        pads = pieces(PADS).take(_numbers(self._of("pad", versions.startup, versions.contact), len(PADS)))
        names = pieces(CONTACTS).take(_numbers(chances, len(CONTACTS)))
        typed = join(pads, names, b"@St", text.padded(versions.startup, 6), b".Example", pads)
        cleaned = pc.utf8_trim_whitespace(pc.utf8_lower(_strings(typed)))
        return pa.array([key.pseudonym(address) for address in cleaned.to_pylist()], pa.binary())  # hashlib takes one

    def _of(self, name: str, *keys: int | Integers) -> Floats:
        return uniform(self.register.seed, name, *keys)

    def _draw(self, name: str, versions: Versions) -> Floats:
        return self._of(name, versions.startup, versions.number)


def chunks(register: Register, week: int) -> Iterator[Chunk]:
    """Chunks of a week's load, at most STARTUPS_AT_ONCE startups each."""
    size = register.size(week)
    for start in range(0, size, STARTUPS_AT_ONCE):
        yield Chunk(register, week, np.arange(start, min(start + STARTUPS_AT_ONCE, size)))


def _buckets(versions: Versions) -> pa.Array:
    return pa.array(np.searchsorted(list(BUCKETS), versions.valuation, side="right") - 1)


def _numbers(chances: Floats, size: int) -> pa.Array:
    return pa.array((chances * size).astype(np.int64))


def _strings(column: pa.BinaryArray) -> pa.StringArray:
    return pc.cast(column, pa.string())
