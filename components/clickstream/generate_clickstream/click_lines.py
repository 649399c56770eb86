"""JSON Lines of the simulated tracker: a day's events in order of arrival, with planted defects.

A broken line is always sent again whole: so the truth is what a correct reader finds.
"""

import datetime
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.clickstream.generate_clickstream import site
from components.clickstream.generate_clickstream.visits import AGAIN_MS, CUT, EPOCH, REPEATED, Events, Sessions, Shop
from components.simulation import text
from components.simulation.draws import Bits, Floats, Integers, bits, chosen, uniform
from components.simulation.people import FIRST_NAMES, LAST_NAMES
from components.simulation.text import MS_A_DAY, fixed, hexadecimal, join, members, moments, pieces

SESSIONS_AT_ONCE = 4096  # sessions whose events are in memory at once
WHOLE, AGAIN, CUT_OFF = range(3)  # kind of a line: an event, the same event again, a piece of a line
CUT_MIN = 20  # least number of characters left of a broken line
CART_MAX, CART_QUANTITY_MAX = 3, 4

MAIL = "{}"  # placeholder of an e-mail address
_CONFIRMS = members(
    event_type="page_view", page_url=site.url("/newsletter/confirm", f"?email={MAIL}"), page_path="/newsletter/confirm"
)
_SEARCHES = members(event_type="search", page_url=site.url("/search", f"?q={MAIL}"), page_path="/search")
_FOUND = members(search_text=MAIL, results=0)
_DOMAINS = ("@example.com", "%40example.com")  # as text, and as a form encodes it in a URL

_DEEDS = pieces(f'{deed.text},"referrer_url":' for deed in site.DEEDS)
_DOINGS = pieces(f"{{{members(**deed.properties)}}}" for deed in site.DEEDS)
_REFERRERS = pieces(
    members(referrer_url=address, referrer_domain=domain).removeprefix('"referrer_url":') + ","
    for address, domain in [(site.url(path), site.SITE) for path in site.PATHS]
    + [(source.referrer, source.referrer_domain) for source in site.SOURCES]
)
_SOURCES = pieces(
    members(utm_source=s.source, utm_medium=s.medium, utm_campaign=s.campaign) + ',"is_bounce":' for s in site.SOURCES
)
_BOUNCES = pieces(("false,", "true,"))
_DEVICES = pieces(
    members(
        device={"type": d.type, "os": d.os, "browser": d.browser, "user_agent": d.user_agent},
        device_type_category=d.category,
    )
    for d in site.DEVICES
)
_COUNTRIES = pieces(f',"geo":{{"country":"{country}"}},"ip_address":"198.' for country in site.COUNTRIES)
_NETWORKS = pieces(("18.", "19."))  # reserved: RFC 2544 keeps 198.18.0.0/15 for benchmarks
_OCTETS = text.decimals(np.arange(256))
_CART = pieces(f"{{{members(**site.line_of(g, q))}}}" for g in site.GOODS for q in range(1, CART_QUANTITY_MAX + 1))
_MORE = pa.concat_arrays([join(b",", _CART), pieces([""])])
_PRICES = np.array([good.price * q for good in site.GOODS for q in range(1, CART_QUANTITY_MAX + 1)])

_PATH_OF = np.array([site.PATHS.index(deed.path) for deed in site.DEEDS])
_IS_VIEW = np.array([deed.type == "page_view" for deed in site.DEEDS])

TRUTH = pa.schema(
    [
        ("session_id", pa.string()),
        ("visitor_id", pa.string()),
        ("customer_id", pa.string()),
        ("started_at", pa.timestamp("ms", tz="UTC")),
        ("ended_at", pa.timestamp("ms", tz="UTC")),
        ("events", pa.int64()),
        ("pages", pa.int64()),
        ("entry_page", pa.string()),
        ("exit_page", pa.string()),
        ("converted", pa.bool_()),
        ("is_bounce", pa.bool_()),
        ("utm_source", pa.string()),
        ("device_type_category", pa.string()),
        ("complete_on", pa.date32()),  # run date with whose files all of the session's events have arrived
    ]
)


@dataclass(frozen=True)
class Lines:
    """Lines of some sessions on one day, as columns in order of arrival; arrays of shape (lines,).

    Attributes:
        event: index of the line's event.
        kind: WHOLE, AGAIN or CUT_OFF.
        arrival: milliseconds since 1970.
    """

    event: Integers
    kind: Integers
    arrival: Integers


@dataclass(frozen=True)
class Chunk:
    """Some sessions, their events, and their lines in one day's files."""

    shop: Shop
    day: datetime.date
    sessions: Sessions
    events: Events

    @cached_property
    def lines(self) -> Lines:
        """Lines that arrive on the day, in order of arrival."""
        events = self.events
        again = np.flatnonzero(self._draw("again") < REPEATED)
        cut = np.flatnonzero(self._draw("cut") < CUT)
        event = np.concatenate([cut, np.arange(len(events.key)), again])
        kind = np.repeat([CUT_OFF, WHOLE, AGAIN], [len(cut), len(events.key), len(again)])
        later = events.arrival[again] + (self._draw("again after", again) * AGAIN_MS).astype(np.int64)
        arrival = events.arrival[event]
        arrival[len(arrival) - len(again) :] = np.minimum(later, _midnight_after(events.arrival[again]) - 1)
        today = np.flatnonzero(arrival // MS_A_DAY == _days(self.day))
        order = today[np.argsort(arrival[today], kind="stable")]
        return Lines(event[order], kind[order], arrival[order])

    def text(self) -> pa.BinaryArray:
        """JSON Lines, each with its newline; shape (lines,)."""
        lines = self.lines
        deed, properties = self._deeds(lines.event)
        whole = join(
            self._heads(lines.event),
            self._customers(lines.event),
            deed,
            _REFERRERS.take(pa.array(self._referrers()[lines.event])),
            self._visitors().take(pa.array(self.events.session[lines.event])),
            properties,
            fixed(b',"load_timestamp":"', moments(lines.arrival), b'","schema_version":1}\n'),
        )
        is_cut = lines.kind == CUT_OFF
        return text.cut(whole, is_cut, self._draw("cut at", lines.event[is_cut]), CUT_MIN)

    def planted(self, previous: int) -> tuple[Counter[str], int]:
        """Number of events and defects by kind, after an event at `previous` (ms since 1970); and the last moment."""
        lines = self.lines
        is_whole = lines.kind != CUT_OFF
        event = lines.event[is_whole]
        moment, deed = self.events.moment[event], self.events.deed[event]
        counts = {
            "events": int((lines.kind == WHOLE).sum()),
            "late": int((moment // MS_A_DAY < _days(self.day)).sum()),
            "repeated": int((lines.kind == AGAIN).sum()),
            "out_of_order": int((np.diff(moment, prepend=previous) < 0).sum()),
            "cut_off": int((~is_whole).sum()),
            "with_email": int(((deed == site.CONFIRMATION_AT) | (deed == site.SEARCH_FOR_MAIL_AT)).sum()),
        }
        return Counter(counts), int(moment[-1]) if len(moment) else previous

    def truth(self) -> pa.RecordBatch:
        """Sessions that began on the day, as a correct reader finds them once all events have arrived; see TRUTH."""
        sessions, events = self.sessions, self.events
        starts = np.flatnonzero(events.place == 0)
        ends = starts + sessions.length - 1
        known = np.where(sessions.login < sessions.length, sessions.customer, -1)
        batch = pa.RecordBatch.from_arrays(
            [
                _strings(fixed(b"s", hexadecimal(sessions.key))),
                _strings(fixed(b"v", hexadecimal(self._visitor_ids()))),
                pc.if_else(pa.array(known >= 0), _strings(_customer_ids(known)), None),
                pa.array(events.moment[starts]).cast(TRUTH.field("started_at").type),
                pa.array(events.moment[ends]).cast(TRUTH.field("ended_at").type),
                pa.array(sessions.length),
                pa.array(np.add.reduceat(_IS_VIEW[events.deed].astype(np.int64), starts)),
                pa.array(site.PATHS).take(pa.array(_PATH_OF[events.deed[starts]])),
                pa.array(site.PATHS).take(pa.array(_PATH_OF[events.deed[ends]])),
                pa.array(sessions.converts),
                pa.array(sessions.length == 1),
                pa.array([source.source for source in site.SOURCES], pa.string()).take(pa.array(sessions.source)),
                pa.array([device.category for device in site.DEVICES]).take(pa.array(self._devices())),
                pa.array((np.maximum.reduceat(events.arrival, starts) // MS_A_DAY).astype(np.int32)).cast(pa.date32()),
            ],
            schema=TRUTH,
        )
        return batch.filter(pa.array(sessions.day == _days(self.day)))

    def _heads(self, event: Integers) -> pa.BinaryArray:
        session = self.events.session[event]
        key = hexadecimal(self.sessions.key)[session]
        visitor = hexadecimal(self._visitor_ids())[session]
        return fixed(
            *(b'{"event_id":"', key, hexadecimal(self.events.key[event])),
            *(b'","event_timestamp":"', moments(self.events.moment[event])),
            *(b'","visitor_id":"v', visitor, b'","session_id":"s', key, b'","customer_id":'),
        )

    def _customers(self, event: Integers) -> pa.BinaryArray:
        """Customer id of each event as JSON; null before the visitor has logged in."""
        session = self.events.session[event]
        knows = self.events.place[event] >= self.sessions.login[session]
        names = pa.concat_arrays([join(b'"', _customer_ids(self.sessions.customer), b'",'), pieces(["null,"])])
        return names.take(pa.array(np.where(knows, session, len(names) - 1)))

    def _deeds(self, event: Integers) -> tuple[pa.BinaryArray, pa.BinaryArray]:
        """Action and page of each event, and its properties, as JSON."""
        deed = self.events.deed[event]
        texts, properties = _DEEDS.take(pa.array(deed)), _DOINGS.take(pa.array(deed))
        confirms, searches = deed == site.CONFIRMATION_AT, deed == site.SEARCH_FOR_MAIL_AT
        texts = text.replaced(texts, confirms, self._with_mail(f'{_CONFIRMS},"referrer_url":', event[confirms], 0))
        texts = text.replaced(texts, searches, self._with_mail(f'{_SEARCHES},"referrer_url":', event[searches], 1))
        properties = text.replaced(properties, searches, self._with_mail(f"{{{_FOUND}}}", event[searches], 0))
        buys = deed == site.PURCHASE_AT
        return texts, text.replaced(properties, buys, self._orders(event[buys]))

    def _with_mail(self, form: str, event: Integers, domain: int) -> pa.BinaryArray:
        """The text `form` with each visitor's e-mail address in the place of MAIL."""
        front, back = form.split(MAIL)
        visitor = self.sessions.visitor[self.events.session[event]]
        names = [
            pieces(f"{name.lower()}." for name in many).take(
                pa.array((uniform(self.shop.seed, kind, visitor) * len(many)).astype(np.int64))
            )
            for kind, many in (("first name", FIRST_NAMES), ("last name", LAST_NAMES))
        ]
        return join(front.encode(), *names, text.decimals(visitor), _DOMAINS[domain].encode(), back.encode())

    def _orders(self, event: Integers) -> pa.BinaryArray:
        """Properties of purchases: the cart's lines, value and quantity."""
        chances = [self._draw(f"line {n} of the cart", event) for n in range(CART_MAX)]
        lines = np.array([(chance * len(_CART)).astype(np.int64) for chance in chances]).reshape(CART_MAX, -1)
        size = 1 + chosen(self._draw("size of the cart", event), (3, 1, 1))
        has = np.arange(CART_MAX)[:, None] < size
        value, quantity = (_PRICES[lines] * has).sum(axis=0), ((lines % CART_QUANTITY_MAX + 1) * has).sum(axis=0)
        more = [_MORE.take(pa.array(np.where(has[n], lines[n], len(_MORE) - 1))) for n in range(1, CART_MAX)]
        return join(
            *(b'{"order_id":"', fixed(hexadecimal(bits(self.shop.seed, "order", self.events.key[event])))),
            *(b'","value":', text.hundredths(value), b',"currency":"EUR","quantity":', text.decimals(quantity)),
            *(b',"cart":[', _CART.take(pa.array(lines[0])), *more, b"]}"),
        )

    def _referrers(self) -> Integers:
        """Index of each event's referrer in _REFERRERS: the page before, or the session's source."""
        source = len(site.PATHS) + self.sessions.source[self.events.session]
        return np.where(self.events.place == 0, source, np.roll(_PATH_OF[self.events.deed], 1))

    def _visitors(self) -> pa.BinaryArray:
        """JSON members that all events of a session share; one text per session."""
        sessions = self.sessions
        address = bits(self.shop.seed, "address", sessions.visitor)
        country = chosen(uniform(self.shop.seed, "country", sessions.visitor), list(site.COUNTRIES.values()))
        octets = [(address >> np.uint64(shift) & np.uint64(255)).astype(np.int64) for shift in (8, 16)]
        return join(
            _SOURCES.take(pa.array(sessions.source)),
            _BOUNCES.take(pa.array((sessions.length == 1).astype(np.int64))),
            _DEVICES.take(pa.array(self._devices())),
            _COUNTRIES.take(pa.array(country)),
            _NETWORKS.take(pa.array((address & np.uint64(1)).astype(np.int64))),
            *(_OCTETS.take(pa.array(octets[0])), b".", _OCTETS.take(pa.array(octets[1])), b'","properties":'),
        )

    def _devices(self) -> Integers:
        chances = uniform(self.shop.seed, "device", self.sessions.visitor)
        return chosen(chances, [device.weight for device in site.DEVICES])

    def _visitor_ids(self) -> Bits:
        return bits(self.shop.seed, "visitor", self.sessions.visitor)

    def _draw(self, name: str, event: Integers | slice = slice(None)) -> Floats:
        return uniform(self.shop.seed, name, self.events.key[event])


def chunks(shop: Shop, day: datetime.date) -> Iterator[Chunk]:
    """Chunks of a day, at most SESSIONS_AT_ONCE sessions each."""
    days, numbers = shop.of_day(day)
    for start in range(0, len(numbers), SESSIONS_AT_ONCE):
        some = slice(start, start + SESSIONS_AT_ONCE)
        yield Chunk(shop, day, *shop.visits(days[some], numbers[some]))


def _customer_ids(numbers: Integers) -> pa.BinaryArray:
    """Ids of customers as generate_sales writes them, such as c00042."""
    return join(b"c", text.padded(numbers, 5))


def _strings(column: pa.BinaryArray) -> pa.StringArray:
    return pc.cast(column, pa.string())


def _days(day: datetime.date) -> int:
    return (day - EPOCH).days


def _midnight_after(moment: Integers) -> Integers:
    return (moment // MS_A_DAY + 1) * MS_A_DAY
