"""Defects of the simulated shop's documents, as real collections have them: each kind at a known rate."""

import datetime
import random
from email.utils import format_datetime
from typing import Any

UNREADABLE, DRIFTED, UNDECLARED = 0.01, 0.03, 0.01
JUNK = ["n/a", "yesterday", "31/31/2026", "2026-02-30", "--"]


def spoil(chance: float, dice: random.Random, body: dict[str, Any]) -> str | None:
    """Plant at most one defect, drawn by `chance` in [0, 1), into a document; return its kind, None without one."""
    if chance < UNREADABLE:
        body |= dice.choice([{"sale_timestamp": dice.choice(JUNK)}, {"total_amount": "free"}])
        return "unreadable"
    if chance < UNREADABLE + DRIFTED:
        if dice.random() < 0.5:
            body |= {"quantity": str(body["quantity"]), "total_amount": f"{body['total_amount']:.2f}"}
        else:
            del body["region"]
        return "drifted"
    if chance < UNREADABLE + DRIFTED + UNDECLARED:
        body |= {"loyalty_tier": dice.choice(["gold", "silver"]), "schema_version": 2}
        return "undeclared"
    return None


def mixed(dice: random.Random, moment: datetime.datetime) -> datetime.datetime | str | int:
    """Moment in one of the formats that real collections mix; all mean the same second."""
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
