"""The simulated shop: the same documents whatever the machine and the order of days, defects as told."""

import datetime
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.generate_sales import world as module
from components.generate_sales.world import DAY, JUNK, LATE_DAYS_MAX, REFUND_DAYS_MAX, World, mixed
from goldline.timestamps import parse

FIRST = datetime.date(2026, 10, 1)
DAYS = [FIRST + DAY * i for i in range(40)]
WORLD = World(seed=7, sales_per_day=25)
Documents = dict[str, dict[str, Any]]


@cache
def collection(day: datetime.date, world: World = WORLD) -> Documents:
    """All that the collection holds when a day ends."""
    return {
        name: body for made in DAYS if made <= day for sale in world.sales(made) for name, body in sale.documents(day)
    }


def test_a_sale_in_full() -> None:
    [(name, body)] = next(iter(World(7, 1).sales(FIRST))).documents(FIRST)
    assert name == body["sale_id"] == "s20261001-00000"
    assert set(body) == {
        *("sale_id", "customer_id", "contact_email_hashed", "credit_card_last4", "sale_timestamp", "product"),
        *("category", "quantity", "unit_price", "discount", "total_amount", "currency", "channel", "region", "status"),
        *("payment_method", "items", "shipping", "schema_version", "updated_at"),
    }
    assert body["quantity"] == sum(line["quantity"] for line in body["items"])


@settings(max_examples=10, deadline=None)
@given(st.permutations(DAYS[:10]))
def test_the_order_of_days_does_not_matter(days: list[datetime.date]) -> None:
    other = World(seed=7, sales_per_day=25)
    made = {day: list(other.sales(day)) for day in days}
    assert made == {day: list(WORLD.sales(day)) for day in days}


def test_a_larger_shop_also_makes_the_sales_of_a_smaller_one() -> None:
    assert list(World(7, 50).sales(FIRST))[:25] == list(WORLD.sales(FIRST))


def test_another_seed_is_another_shop() -> None:
    assert World(8, 25).customers != WORLD.customers
    assert collection(FIRST, World(8, 25)) != collection(FIRST)


def test_every_process_makes_the_same_documents() -> None:
    code = (
        "import datetime; from components.generate_sales.world import World;"
        "print([list(s.documents(s.appears.date())) for s in World(7, 25).sales(datetime.date(2026, 10, 1))])"
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


@settings(max_examples=15, deadline=None)
@given(st.integers(0, len(DAYS) - 1), st.integers(0, 15))
def test_time_only_goes_on(i: int, later: int) -> None:
    early, late = collection(DAYS[i]), collection(DAYS[min(i + later, len(DAYS) - 1)])
    for name, body in early.items():
        now = late[name]
        assert now["updated_at"] >= body["updated_at"]
        assert body["updated_at"].date() <= DAYS[i]
        # Nothing changes in silence, and nothing but the status changes at all.
        assert (now["updated_at"] == body["updated_at"]) == (now == body)
        kept = {k: v for k, v in body.items() if k not in ("updated_at", "status")}
        assert kept == {k: v for k, v in now.items() if k not in ("updated_at", "status")}


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
        drifted = isinstance(body["quantity"], str) or "loyalty_tier" in body or "region" not in body
        assert not (unreadable and drifted)
        found.update(unreadable=unreadable, drifted=drifted, repeated=name.endswith("-again"))
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


SHARES = ["LATE", "REPEATED", "DRIFTED", "UNREADABLE", "REFUNDED"]


@pytest.mark.parametrize("kind", SHARES)
def test_defects_are_as_frequent_as_told(kind: str) -> None:
    sales = [sale for day in DAYS[:20] for sale in World(11, 200).sales(day)]
    has = {
        "LATE": lambda s: s.appears > s.made,
        "REPEATED": lambda s: s.repeated,
        "DRIFTED": lambda s: s.defect == "drifted",
        "UNREADABLE": lambda s: s.defect == "unreadable",
        "REFUNDED": lambda s: s.refunded is not None,
    }[kind]
    share, expected = sum(map(has, sales)) / len(sales), getattr(module, kind)
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / len(sales))


def test_every_kind_of_defect_is_there() -> None:
    held = [sale.body for day in DAYS for sale in World(11, 100).sales(day)]
    assert {body["sale_timestamp"] for body in held} >= set(JUNK)
    assert any(body["total_amount"] == "free" for body in held)
    assert any(isinstance(body["quantity"], str) for body in held)
    assert any("loyalty_tier" in body for body in held)
    assert any("region" not in body for body in held)


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
    dice = Random(1)  # noqa: S311, not for secrets
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
