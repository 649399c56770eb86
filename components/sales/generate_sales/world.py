"""Simulated shop: sales of any day, and their documents as of any later day.

Everything depends on seed and date alone: records are the same on any machine and in any order of days, and a day
needs no days before it. Each kind of defect that real collections have is planted at a known rate, and counted.
"""

import datetime
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from components.sales.generate_sales.defects import UNREADABLE, mixed, spoil
from components.sales.generate_sales.habits import CHANNELS, SEGMENTS, Flags, Habits, Segment
from components.simulation.draws import Floats, Integers, uniform
from components.simulation.people import Customer, customer
from components.simulation.products import PRODUCTS

DAY = datetime.timedelta(days=1)
LATE, REPEATED, CANCELLED, REFUNDED = 0.03, 0.02, 0.03, 0.06
LATE_DAYS_MAX, REFUND_DAYS_MAX = 5, 9

CATEGORIES = {product: category for product, category, _ in PRODUCTS}
DISCOUNTS = [0.05, 0.1, 0.25]
PAYMENTS = {"credit_card": "card", "debit_card": "card", "wallet": "digital", "bank_transfer": "bank", "cash": "cash"}


@dataclass(frozen=True)
class Sale:
    """Sale and its history: when its document appears, whether it is cancelled or refunded, its defect."""

    sale_id: str
    made: datetime.datetime
    appears: datetime.datetime
    cancelled: bool
    refunded: datetime.datetime | None
    repeated: bool
    defect: str | None
    body: dict[str, Any]

    def documents(self, day: datetime.date) -> Iterator[tuple[str, dict[str, Any]]]:
        """Documents of the sale by id, as of the end of the day."""
        if self.appears.date() > day:
            return
        status, updated = "cancelled" if self.cancelled else "completed", self.appears
        if self.refunded is not None and self.refunded.date() <= day:
            status, updated = "refunded", self.refunded
        derived = {"status": status, "is_valid_transaction": status == "completed"}
        document = {**self.body, **derived, "updated_at": updated}
        yield self.sale_id, document
        if self.repeated:
            yield f"{self.sale_id}-again", {**document, "updated_at": updated + datetime.timedelta(minutes=5)}

    def planted(self, day: datetime.date) -> Counter[str]:
        """Number of the sale's documents and defects by kind, as of the end of the day."""
        copies = sum(1 for _ in self.documents(day))
        found = Counter({self.defect: copies} if self.defect else {})
        if copies:
            found += Counter(documents=copies, late=int(self.appears.date() > self.made.date()), repeated=copies - 1)
        return +found


@dataclass(frozen=True)
class World:
    """Simulated shop, given by seed and `size`, its number of customers."""

    seed: int
    size: int

    @cached_property
    def habits(self) -> Habits:
        """Behaviour of the customers."""
        return Habits(self.seed, self.size)

    @cached_property
    def customers(self) -> list[Customer]:
        """All customers, by number."""
        return [customer(self.seed, number) for number in range(self.size)]

    def sales(self, day: datetime.date) -> Iterator[Sale]:
        """Sales of a day."""
        buyers, times, chances = self._purchases(day)
        for number, nth, chance in zip(buyers.tolist(), times.tolist(), chances.tolist(), strict=True):
            yield self._sale(day, number, nth, chance)

    def bought(self, day: datetime.date) -> Flags:
        """Whether each customer has a sale of that day whose document can be read; shape (size,)."""
        buyers, _, chances = self._purchases(day)
        found = np.zeros(self.size, np.bool_)
        found[buyers[chances >= UNREADABLE]] = True
        return found

    def _purchases(self, day: datetime.date) -> tuple[Integers, Integers, Floats]:
        """Purchases of a day: the buyer's number, its number among the buyer's that day, the draw of its defect."""
        counts = self.habits.counts(day)
        buyers = np.repeat(np.arange(self.size), counts)
        times = np.arange(len(buyers)) - np.repeat(np.cumsum(counts) - counts, counts)
        return buyers, times, uniform(self.seed, "defect", buyers, day.toordinal(), times)

    def _sale(self, day: datetime.date, number: int, nth: int, chance: float) -> Sale:
        sale_id = f"s{day:%Y%m%d}-{number:05d}-{nth}"
        dice = random.Random(f"{self.seed} {sale_id}")
        midnight = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
        made = midnight + datetime.timedelta(seconds=dice.randrange(86000))
        appears = made + (DAY * dice.randint(1, LATE_DAYS_MAX) if dice.random() < LATE else DAY * 0)
        fate, days = dice.random(), dice.randint(1, REFUND_DAYS_MAX)
        cancelled = fate < CANCELLED
        refunded = appears + DAY * days if CANCELLED <= fate < CANCELLED + REFUNDED else None
        repeated = dice.random() < REPEATED
        segment = SEGMENTS[self.habits.segments[number]]
        body = {"sale_id": sale_id, "sale_timestamp": mixed(dice, made)}
        body |= _buyer(self.customers[number], day) | _basket(dice, segment) | {"schema_version": 1}
        return Sale(sale_id, made, appears, cancelled, refunded, repeated, spoil(chance, dice, body), body)


def standing(days: int) -> float:
    """Probability that so many days after a sale its document is there, completed and not refunded."""
    found = 0.0
    for late in range(min(days, LATE_DAYS_MAX) + 1):
        appears = LATE / LATE_DAYS_MAX if late else 1 - LATE
        refunded = REFUNDED * min(days - late, REFUND_DAYS_MAX) / REFUND_DAYS_MAX
        found += appears * (1 - CANCELLED - refunded)
    return found


def _buyer(customer: Customer, day: datetime.date) -> dict[str, Any]:
    """Fields of a document on the buyer and the shipping address."""
    home = customer.home(day)
    shipping = {"name": customer.name, "street": home.street, "phone": customer.phone}
    return {
        "customer_id": customer.customer_id,
        "contact_email_hashed": sha256(customer.email.encode()).hexdigest(),
        "credit_card_last4": customer.card[-4:],
        "region": home.region,
        "shipping": {**shipping, "city": home.town, "country": home.country},
    }


def _basket(dice: random.Random, segment: Segment) -> dict[str, Any]:
    """Fields of a document on the goods, the channel and the payment."""
    lines = [_line(dice) for _ in range(dice.choice([1, 1, 1, 2, 3]))]
    discount = dice.choice(DISCOUNTS) if dice.random() < segment.discounted else 0.0
    total = sum(line["quantity"] * line["unit_price"] for line in lines) * (1 - discount)
    payment = dice.choice(list(PAYMENTS))
    return {
        "product": lines[0]["product"],
        "category": CATEGORIES[lines[0]["product"]],
        "quantity": sum(line["quantity"] for line in lines),
        "unit_price": lines[0]["unit_price"],
        "discount": discount,
        "total_amount": round(total, 2),
        "currency": "EUR",
        "channel": dice.choices(CHANNELS, segment.channels)[0],
        "payment_method": payment,
        "payment_method_category": PAYMENTS[payment],
        "items": lines,
    }


def _line(dice: random.Random) -> dict[str, Any]:
    product, _, price = dice.choice(PRODUCTS)
    return {"sku": product.upper()[:3], "product": product, "quantity": dice.randint(1, 4), "unit_price": price}
