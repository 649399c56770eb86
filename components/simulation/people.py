"""Customers of the simulated shop as persons: made-up names, addresses, cards."""

import datetime
import random
from dataclasses import dataclass

FIRST_NAMES = ["Ada", "Bruno", "Chika", "Dana", "Emil", "Farah", "Goran", "Hana", "Ivo", "Jun", "Kaia", "Luis"]
LAST_NAMES = ["Abara", "Brandt", "Costa", "Duarte", "Eriksen", "Fontaine", "Gruber", "Haddad", "Ivanova", "Jansen"]
STREETS = ["Harbour Street", "Mill Lane", "Station Road", "Orchard Way", "Castle Square", "Quarry Hill"]
TOWNS = [("Lisbon", "PT", "south"), ("Porto", "PT", "south"), ("Bergen", "NO", "north"), ("Graz", "AT", "centre")]
TOWNS += [("Ghent", "BE", "centre"), ("Turku", "FI", "north"), ("Bari", "IT", "south"), ("Brno", "CZ", "centre")]
MOVERS, STAY_DAYS = 0.10, 240


@dataclass(frozen=True)
class Home:
    """Home address of a customer."""

    street: str
    town: str
    country: str
    region: str


@dataclass(frozen=True)
class Customer:
    """Made-up person. Personal values are here and in the documents, and must be nowhere else.

    Attributes:
        homes: one home, or for the few who move two, in turns of STAY_DAYS.
        moves: date of a move.
    """

    customer_id: str
    name: str
    email: str
    phone: str
    card: str
    homes: tuple[Home, ...]
    moves: datetime.date

    @property
    def street(self) -> str:
        """Street and number of the first home."""
        return self.homes[0].street

    @property
    def personal(self) -> tuple[str, ...]:
        """Personal values, which must not leave the documents."""
        return (self.name, self.email, self.phone, self.card, *(home.street for home in self.homes))

    def home(self, day: datetime.date) -> Home:
        """Home of the customer on a day."""
        stay = (day - self.moves).days // STAY_DAYS
        return self.homes[stay % len(self.homes)]


def customer(seed: int, number: int) -> Customer:
    """Customer of a number; the same for the same seed."""
    dice = random.Random(f"{seed} customer {number}")
    first, last = dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)
    return Customer(
        customer_id=f"c{number:05d}",
        name=f"{first} {last}",
        email=f"{first}.{last}.{number}@example.com".lower(),
        phone=f"+999 {dice.randrange(10**8, 10**9)}",
        card=f"{dice.randrange(10**15, 10**16)}",
        homes=tuple(_home(dice) for _ in range(2 if dice.random() < MOVERS else 1)),
        moves=datetime.date(2026, 1, 1) + datetime.timedelta(days=dice.randrange(STAY_DAYS)),
    )


def _home(dice: random.Random) -> Home:
    return Home(f"{dice.choice(STREETS)} {dice.randrange(1, 200)}", *dice.choice(TOWNS))
