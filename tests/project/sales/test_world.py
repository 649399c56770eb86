"""The simulated shop: the same documents whatever the machine and the order of days, defects as told."""

import datetime
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.sales.generate_sales import defects as planting
from components.sales.generate_sales import world as module
from components.sales.generate_sales.defects import JUNK, mixed
from components.sales.generate_sales.habits import CLOSES, OPENS, RETURN, Habits, season
from components.sales.generate_sales.world import DAY, LATE_DAYS_MAX, REFUND_DAYS_MAX, Sale, World, standing
from goldline.landing.timestamps import parse

FIRST = datetime.date(2026, 10, 1)
DAYS = [FIRST + DAY * i for i in range(40)]
WORLD = World(7, 300)
Documents = dict[str, dict[str, Any]]


@cache
def collection(day: datetime.date, world: World = WORLD) -> Documents:
    """All that the collection holds when a day ends."""
    return {
        name: body for made in DAYS if made <= day for sale in world.sales(made) for name, body in sale.documents(day)
    }


def test_a_sale_in_full() -> None:
    sale = next(sale for sale in WORLD.sales(FIRST) if sale.appears.date() == FIRST)
    name, body = next(sale.documents(FIRST))
    assert name == body["sale_id"] == sale.sale_id
    assert name.startswith("s20261001-")
    assert set(body) == {
        *("sale_id", "customer_id", "contact_email_hashed", "credit_card_last4", "sale_timestamp", "product"),
        *("category", "quantity", "unit_price", "discount", "total_amount", "currency", "channel", "region", "status"),
        *("payment_method", "payment_method_category", "is_valid_transaction", "items", "shipping"),
        *("schema_version", "updated_at"),
    }
    assert set(body["shipping"]) == {"name", "street", "phone", "city", "country"}
    assert body["quantity"] == sum(line["quantity"] for line in body["items"])


@settings(max_examples=10, deadline=None)
@given(st.permutations(DAYS[:10]))
def test_the_order_of_days_does_not_matter(days: list[datetime.date]) -> None:
    other = World(7, 300)
    made = {day: list(other.sales(day)) for day in days}
    assert made == {day: list(WORLD.sales(day)) for day in days}


def test_a_larger_shop_also_makes_the_sales_of_a_smaller_one() -> None:
    larger = {sale.sale_id: sale for sale in World(7, 500).sales(FIRST)}
    assert all(larger[sale.sale_id] == sale for sale in WORLD.sales(FIRST))
    assert len(larger) > len(list(WORLD.sales(FIRST)))


def test_another_seed_is_another_shop() -> None:
    assert World(8, 300).customers != WORLD.customers
    assert collection(FIRST, World(8, 300)) != collection(FIRST)


def test_every_process_makes_the_same_documents() -> None:
    code = (
        "import datetime; from components.sales.generate_sales.world import World;"
        "print([list(s.documents(s.appears.date())) for s in World(7, 300).sales(datetime.date(2026, 10, 1))])"
    )
    here = str([list(sale.documents(sale.appears.date())) for sale in WORLD.sales(FIRST)])
    there = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "12345"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert there.stdout.strip() == here


CHANGES = {"updated_at", "status", "is_valid_transaction"}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, len(DAYS) - 1), st.integers(0, 15))
def test_time_only_goes_on(i: int, later: int) -> None:
    early, late = collection(DAYS[i]), collection(DAYS[min(i + later, len(DAYS) - 1)])
    for name, body in early.items():
        now = late[name]
        assert now["updated_at"] >= body["updated_at"]
        assert body["updated_at"].date() <= DAYS[i]
        # Nothing changes in silence, and nothing but the status and what is derived from it changes at all.
        assert (now["updated_at"] == body["updated_at"]) == (now == body)
        assert {k: v for k, v in body.items() if k not in CHANGES} == {k: v for k, v in now.items() if k not in CHANGES}


def test_what_appears_is_never_older_than_its_sale() -> None:
    for sale in (sale for day in DAYS for sale in WORLD.sales(day)):
        assert sale.made <= sale.appears <= sale.made + DAY * LATE_DAYS_MAX
        assert sale.refunded is None or sale.appears < sale.refunded <= sale.appears + DAY * REFUND_DAYS_MAX


def test_repeated_documents_are_newer_copies() -> None:
    held = collection(DAYS[-1])
    copies = [name for name in held if name.endswith("-again")]
    assert copies
    for name in copies:
        copy, original = held[name], held[name.removesuffix("-again")]
        assert copy["updated_at"] > original["updated_at"]
        assert copy == {**original, "updated_at": copy["updated_at"]}


def defects(held: Documents) -> Counter[str]:
    """What a look at the documents finds."""
    found = Counter[str](documents=len(held))
    for name, body in held.items():
        unreadable = body["sale_timestamp"] in JUNK or body["total_amount"] == "free"
        drifted = isinstance(body["quantity"], str) or "region" not in body
        undeclared = "loyalty_tier" in body
        assert unreadable + drifted + undeclared <= 1
        found.update(unreadable=unreadable, drifted=drifted, undeclared=undeclared, repeated=name.endswith("-again"))
    return +found


@pytest.mark.parametrize("day", [DAYS[0], DAYS[3], DAYS[20], DAYS[-1]])
def test_what_is_planted_is_what_can_be_found(day: datetime.date) -> None:
    planted = Counter[str]()
    for sale in (sale for made in DAYS if made <= day for sale in WORLD.sales(made)):
        planted.update(sale.planted(day))
    held = collection(day)
    found = defects(held)
    # Late is what was not there when the day of its sale ended.
    found["late"] = sum(
        f"s{made:%Y%m%d}" == name.split("-")[0] and name not in collection(made)
        for made in DAYS
        if made <= day
        for name in held
        if not name.endswith("-again")
    )
    assert +found == planted


SHARES: list[tuple[float, Callable[[Sale], bool]]] = [
    (module.LATE, lambda s: s.appears > s.made),
    (module.REPEATED, lambda s: s.repeated),
    (module.CANCELLED, lambda s: s.cancelled),
    (module.REFUNDED, lambda s: s.refunded is not None),
    (planting.DRIFTED, lambda s: s.defect == "drifted"),
    (planting.UNREADABLE, lambda s: s.defect == "unreadable"),
    (planting.UNDECLARED, lambda s: s.defect == "undeclared"),
]


@cache
def many() -> list[Sale]:
    return [sale for day in DAYS for sale in World(11, 2000).sales(day)]


@pytest.mark.parametrize(("expected", "has"), SHARES)
def test_fates_and_defects_are_as_frequent_as_told(expected: float, has: Callable[[Sale], bool]) -> None:
    share = sum(map(has, many())) / len(many())
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / len(many()))


def test_every_kind_of_defect_is_there() -> None:
    held = [sale.body for sale in many()]
    assert {body["sale_timestamp"] for body in held} >= set(JUNK)
    assert any(body["total_amount"] == "free" for body in held)
    assert any(isinstance(body["quantity"], str) for body in held)
    assert any("loyalty_tier" in body for body in held)
    assert any("region" not in body for body in held)


# Customers


def test_a_sale_counts_while_it_is_completed() -> None:
    last = DAYS[-1] + DAY * (LATE_DAYS_MAX + REFUND_DAYS_MAX)
    documents = [(sale, document) for sale in many() for _, document in sale.documents(last)]
    assert Counter(d["status"] for _, d in documents).keys() == {"completed", "cancelled", "refunded"}
    assert all(d["is_valid_transaction"] == (d["status"] == "completed") for _, d in documents)
    assert all((d["status"] == "refunded") == (s.refunded is not None) for s, d in documents)


@pytest.mark.parametrize("days", [0, 1, 4, 9, 14, 30])
def test_as_many_sales_stand_after_some_days_as_told(days: int) -> None:
    def stands(sale: Sale) -> bool:
        return any(d["is_valid_transaction"] for _, d in sale.documents(sale.made.date() + DAY * days))

    share, expected = sum(map(stands, many())) / len(many()), standing(days)
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / len(many()))


@pytest.mark.parametrize("year", [2016, 2026, 2040])
def test_the_shop_is_as_busy_in_any_year(year: int) -> None:
    first = datetime.date(year, 4, 1)
    assert 100 < sum(Habits(7, 2000).counts(first + DAY * i).sum() for i in range(120)) / 120 < 150


def test_purchases_come_at_the_rates_and_in_the_seasons() -> None:
    habits, days = Habits(7, 2000), [FIRST + DAY * i for i in range(365)]
    expected = sum(habits.expected(day)[habits.present(day)].sum() for day in days)
    assert abs(sum(habits.counts(day).sum() for day in days) - expected) < 4 * math.sqrt(expected)
    assert abs(sum(map(season, days)) / 365 - 1) < 0.01


def test_customers_leave_and_return_as_often_as_told() -> None:
    habits, days = Habits(7, 2000), [FIRST + DAY * i for i in range(365)]
    present = np.array([habits.present(day) for day in days])
    left = (present[:-1] & ~present[1:]).sum()
    expected = (present[:-1] * habits.hazards).sum()
    assert abs(left - expected) < 4 * math.sqrt(expected)
    returned, expected = (~present[:-1] & present[1:]).sum(), (~present[:-1]).sum() * RETURN
    assert abs(returned - expected) < 4 * math.sqrt(expected)
    assert abs(present[0].mean() - habits.shares.mean()) < 0.04


@pytest.mark.parametrize("day", [OPENS - DAY, CLOSES])
def test_days_beyond_the_simulation_are_refused(day: datetime.date) -> None:
    with pytest.raises(ValueError, match=f"is open from {OPENS} until {CLOSES}, not on {day}"):
        list(WORLD.sales(day))


def test_a_few_move_and_their_documents_show_it() -> None:
    homes: dict[str, set[str]] = {}
    for sale in many():
        homes.setdefault(sale.body["customer_id"], set()).add(sale.body["shipping"]["street"])
    moved = [name for name, streets in homes.items() if len(streets) > 1]
    assert 0 < len(moved) < 0.05 * len(homes)
    known = {c.customer_id: {home.street for home in c.homes} for c in World(11, 2000).customers}
    assert all(streets <= known[name] for name, streets in homes.items())


# Timestamps of mixed form


def as_moment(value: datetime.datetime | str | int) -> datetime.datetime | None:
    if isinstance(value, datetime.datetime):
        return value
    [moment] = parse(pa.array([str(value)], pa.string()), day_first=True).values.to_pylist()
    assert isinstance(moment, datetime.datetime)
    return moment


@given(
    st.datetimes(datetime.datetime(2001, 9, 10), datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_all_forms_mean_the_same_second(moment: datetime.datetime, dice: Random) -> None:
    moment = moment.replace(microsecond=0)
    assert as_moment(mixed(dice, moment)) == moment


def test_all_forms_are_used() -> None:
    moment = datetime.datetime(2026, 11, 20, 12, 0, 5, tzinfo=datetime.UTC)
    dice = Random(1)
    assert {str(mixed(dice, moment)) for _ in range(200)} == {
        *("2026-11-20 12:00:05+00:00", "2026-11-20T12:00:05Z", "2026-11-20 12:00:05", "2026-11-20T14:00:05+02:00"),
        *("1795176005", "1795176005000", "1795176005000000"),
        *("Fri, 20 Nov 2026 12:00:05 +0000", "20/11/2026 12:00:05"),
    }


def good(day: datetime.date) -> Iterator[tuple[datetime.datetime, Any]]:
    for sale in WORLD.sales(day):
        if sale.defect != "unreadable":
            yield sale.made, sale.body["sale_timestamp"]


@pytest.mark.parametrize("day", DAYS[:5])
def test_the_timestamp_of_a_sale_is_when_it_was_made(day: datetime.date) -> None:
    assert [as_moment(told) for _, told in good(day)] == [made for made, _ in good(day)]
