"""The simulated shop: what it sold on any day, and what its documents looked like on any later day.

Everything follows from seed and date, so the same records come out on any machine, in any order of days. Each kind of
defect that real collections have is planted at a known rate, and told in Planted.
"""

import datetime
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import format_datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

DAY = datetime.timedelta(days=1)
CUSTOMERS = 400
LATE, REPEATED, DRIFTED, UNREADABLE, REFUNDED = 0.03, 0.02, 0.04, 0.01, 0.06
LATE_DAYS_MAX, REFUND_DAYS_MAX = 5, 9

FIRST_NAMES = ["Ada", "Bruno", "Chika", "Dana", "Emil", "Farah", "Goran", "Hana", "Ivo", "Jun", "Kaia", "Luis"]
LAST_NAMES = ["Abara", "Brandt", "Costa", "Duarte", "Eriksen", "Fontaine", "Gruber", "Haddad", "Ivanova", "Jansen"]
STREETS = ["Harbour Street", "Mill Lane", "Station Road", "Orchard Way", "Castle Square", "Quarry Hill"]
TOWNS = [("Lisbon", "PT", "south"), ("Porto", "PT", "south"), ("Bergen", "NO", "north"), ("Graz", "AT", "centre")]
TOWNS += [("Ghent", "BE", "centre"), ("Turku", "FI", "north"), ("Bari", "IT", "south"), ("Brno", "CZ", "centre")]
PRODUCTS = [("Kettle", "home", 34.9), ("Lamp", "home", 59.0), ("Rucksack", "outdoor", 89.5), ("Tent", "outdoor", 240.0)]
PRODUCTS += [("Novel", "books", 12.0), ("Atlas", "books", 45.0), ("Headset", "audio", 79.0), ("Radio", "audio", 119.9)]
CHANNELS = ["web", "web", "web", "app", "app", "store", "phone"]
PAYMENTS = ["card", "card", "card", "transfer", "wallet", "cash"]
JUNK = ["n/a", "yesterday", "31/31/2026", "2026-02-30", "--"]


@dataclass(frozen=True)
class Customer:
    """A made-up person. Personal values are here and in the documents, and must be nowhere else."""

    customer_id: str
    name: str
    email: str
    phone: str
    street: str
    town: str
    country: str
    region: str
    card: str


@dataclass(frozen=True)
class Sale:
    """A sale and its fate: when its document appears, whether and when it is refunded, what is wrong with it."""

    sale_id: str
    made: datetime.datetime
    appears: datetime.datetime
    refunded: datetime.datetime | None
    repeated: bool
    defect: str | None
    body: dict[str, Any]

    def documents(self, day: datetime.date) -> Iterator[tuple[str, dict[str, Any]]]:
        """The sale's documents by id, as they are when the day ends."""
        if self.appears.date() > day:
            return
        done = self.refunded is not None and self.refunded.date() <= day
        updated = self.refunded if done else self.appears
        document = {**self.body, "status": "refunded" if done else "completed", "updated_at": updated}
        yield self.sale_id, document
        if self.repeated:
            yield f"{self.sale_id}-again", {**document, "updated_at": updated + datetime.timedelta(minutes=5)}  # type: ignore[operator]

    def planted(self, day: datetime.date) -> Counter[str]:
        """What is wrong with the sale's documents when the day ends."""
        copies = sum(1 for _ in self.documents(day))
        found = Counter({self.defect: copies} if self.defect else {})
        if copies:
            found += Counter(documents=copies, late=int(self.appears.date() > self.made.date()), repeated=copies - 1)
        return +found


@dataclass(frozen=True)
class World:
    """A shop by seed and size."""

    seed: int
    sales_per_day: int

    @cached_property
    def customers(self) -> list[Customer]:
        """Everybody who ever buys."""
        return [self._customer(i) for i in range(CUSTOMERS)]

    def sales(self, day: datetime.date) -> Iterator[Sale]:
        """What was sold on a day."""
        for number in range(self.sales_per_day):
            yield self._sale(day, number)

    def _customer(self, number: int) -> Customer:
        dice = random.Random(f"{self.seed} customer {number}")
        first, last = dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)
        town, country, region = dice.choice(TOWNS)
        return Customer(
            customer_id=f"c{number:05d}",
            name=f"{first} {last}",
            email=f"{first}.{last}.{number}@example.com".lower(),
            phone=f"+999 {dice.randrange(10**8, 10**9)}",
            street=f"{dice.choice(STREETS)} {dice.randrange(1, 200)}",
            town=town,
            country=country,
            region=region,
            card=f"{dice.randrange(10**15, 10**16)}",
        )

    def _sale(self, day: datetime.date, number: int) -> Sale:
        sale_id = f"s{day:%Y%m%d}-{number:05d}"
        dice = random.Random(f"{self.seed} {sale_id}")
        midnight = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
        made = midnight + datetime.timedelta(seconds=dice.randrange(86000))
        late = DAY * dice.randint(1, LATE_DAYS_MAX) if dice.random() < LATE else DAY * 0
        appears = made + late
        refunded = appears + DAY * dice.randint(1, REFUND_DAYS_MAX) if dice.random() < REFUNDED else None
        repeated = dice.random() < REPEATED
        body = self._body(dice, sale_id, made)
        defect = _spoil(dice, body)
        return Sale(sale_id, made, appears, refunded, repeated, defect, body)

    def _body(self, dice: random.Random, sale_id: str, made: datetime.datetime) -> dict[str, Any]:
        customer = dice.choice(self.customers)
        lines = [_line(dice) for _ in range(dice.choice([1, 1, 1, 2, 3]))]
        discount = dice.choice([0.0, 0.0, 0.0, 0.05, 0.1, 0.25])
        total = sum(line["quantity"] * line["unit_price"] for line in lines) * (1 - discount)
        return {
            "sale_id": sale_id,
            "customer_id": customer.customer_id,
            "contact_email_hashed": sha256(customer.email.encode()).hexdigest(),
            "credit_card_last4": customer.card[-4:],
            "sale_timestamp": mixed(dice, made),
            "product": lines[0]["product"],
            "category": next(category for product, category, _ in PRODUCTS if product == lines[0]["product"]),
            "quantity": sum(line["quantity"] for line in lines),
            "unit_price": lines[0]["unit_price"],
            "discount": discount,
            "total_amount": round(total, 2),
            "currency": "EUR",
            "channel": dice.choice(CHANNELS),
            "region": customer.region,
            "payment_method": dice.choice(PAYMENTS),
            "items": lines,
            "shipping": {
                "name": customer.name,
                "street": customer.street,
                "phone": customer.phone,
                "city": customer.town,
                "country": customer.country,
            },
            "schema_version": 1,
        }


def mixed(dice: random.Random, moment: datetime.datetime) -> datetime.datetime | str | int:
    """A moment in one of the forms that years of changing applications leave behind; all mean the same second."""
    seconds = int(moment.timestamp())
    forms: list[datetime.datetime | str | int] = [
        moment,
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        moment.strftime("%Y-%m-%d %H:%M:%S"),
        moment.astimezone(datetime.timezone(2 * datetime.timedelta(hours=1))).isoformat(),
        seconds,
        seconds * 1000,
        str(seconds * 1_000_000),
        format_datetime(moment),
        moment.strftime("%d/%m/%Y %H:%M:%S"),
    ]
    return dice.choices(forms, weights=[8, 3, 2, 2, 1, 2, 1, 1, 2])[0]


def _line(dice: random.Random) -> dict[str, Any]:
    product, _, price = dice.choice(PRODUCTS)
    return {"sku": product.upper()[:3], "product": product, "quantity": dice.randint(1, 4), "unit_price": price}


def _spoil(dice: random.Random, body: dict[str, Any]) -> str | None:
    """Plant at most one defect; its name."""
    chance = dice.random()
    if chance < UNREADABLE:
        if dice.random() < 0.5:
            body["sale_timestamp"] = dice.choice(JUNK)
        else:
            body["total_amount"] = "free"
        return "unreadable"
    if chance < UNREADABLE + DRIFTED:
        drift = dice.randrange(3)
        if drift == 0:
            body |= {"quantity": str(body["quantity"]), "total_amount": f"{body['total_amount']:.2f}"}
        elif drift == 1:
            body |= {"loyalty_tier": dice.choice(["gold", "silver"]), "schema_version": 2}
        else:
            del body["region"]
        return "drifted"
    return None
