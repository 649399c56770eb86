"""Rules for values that do not simply land in their column: personal, drifted and undeclared ones.

Both landings apply these rules, so that they give the same rows.
"""

import datetime
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from goldline.contracts.source_contract import SourceColumn, SourceContract
from goldline.privacy.pseudonym import Key
from goldline.stages.export_firestore.rest import to_json

# An undeclared field is held back, not kept, when its name or its value looks like a person's.
PERSONAL_NAME = re.compile(
    r"e-?mail|phone|mobile|street|address|first_?name|last_?name|full_?name|surname|birth|passport|iban|card|ssn",
    re.IGNORECASE,
)
# One character before the @ is enough; matching all of them would take quadratic time on a long text.
PERSONAL_VALUE = re.compile(r"[^@\s]@[^@\s]+\.[a-z]{2,}", re.IGNORECASE)
UNSHOWN = "(a personal value)"


class UndeclaredError(ValueError):
    """Undeclared field of a document, where the contract refuses those."""


@dataclass
class Findings:
    """Counts of values that did not simply land, by field; never the values themselves.

    Attributes:
        unread: timestamps of mixed form that could not be read.
        ambiguous: timestamps that fit both orders of day and month, and were read in the contract's.
        drifted: values that were not of their declared type.
        undeclared: fields that the contract does not declare.
        held_back: values left out, because they may be personal and no rule could treat them.
    """

    unread: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)
    drifted: Counter[str] = field(default_factory=Counter)
    undeclared: Counter[str] = field(default_factory=Counter)
    held_back: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Findings") -> None:
        """Add the counts of another."""
        for kind, by in vars(other).items():
            getattr(self, kind).update(by)


class NotKept:
    """Marker for a value of which nothing goes to the rest; None would be a null there."""


NOT_KEPT = NotKept()


class Rules:
    """Rules of one source; `findings` counts the values that they were applied to."""

    def __init__(self, contract: SourceContract, key: Key) -> None:
        self.contract = contract
        self.key = key
        self.findings = Findings()

    def pseudonym(self, column: SourceColumn, value: object, path: str) -> str | None:
        """Landed form of a value with a PII rule: its pseudonym or last 4 characters; None if held back."""
        if not isinstance(value, str | int | float | datetime.datetime):
            self.findings.held_back[path] += 1
            return None
        text = str(value)
        return self.key.pseudonym(text) if column.pii == "hmac" else text[-4:]

    def drifted(self, column: SourceColumn, value: object, path: str) -> Any:  # noqa: ANN401
        """Count a value that is not of its declared type; its JSON for the rest, or NOT_KEPT."""
        self.findings.drifted[path] += 1
        kept = NOT_KEPT if holds_personal(column) else to_json(value)
        return self._unless_personal(kept, path)

    def unread(self, value: object, path: str) -> Any:  # noqa: ANN401
        """Count a timestamp that could not be read; its JSON for the rest, or NOT_KEPT."""
        self.findings.unread[path] += 1
        return self._unless_personal(to_json(value), path)

    def undeclared(self, value: object, path: str) -> Any:  # noqa: ANN401
        """Count an undeclared field; its JSON for the rest, or NOT_KEPT.

        Raises:
            UndeclaredError: the contract says `undeclared: refuse`.
        """
        # A map's keys may be personal; neither errors nor counts may show them.
        shown = UNSHOWN if PERSONAL_VALUE.search(path) else path
        if self.contract.undeclared == "refuse":
            raise UndeclaredError(f"{self.contract.source}: the field {shown} is not declared (`undeclared: refuse`)")
        self.findings.undeclared[shown] += 1
        if self.contract.undeclared == "drop":
            return NOT_KEPT
        is_personal = shown != path or PERSONAL_NAME.search(path)
        return self._unless_personal(NOT_KEPT if is_personal else to_json(value), shown)

    def _unless_personal(self, kept: object, path: str) -> Any:  # noqa: ANN401
        if kept is NOT_KEPT or looks_personal(kept):
            self.findings.held_back[path] += 1
            return NOT_KEPT
        return kept


def holds_personal(column: SourceColumn) -> bool:
    """Whether a column, or a field of it, has a rule for personal data."""
    return column.pii != "none" or any(holds_personal(f) for f in column.fields)


def looks_personal(kept: object) -> bool:
    """Whether a text, or a name or text within a map or a list, looks like personal data."""
    match kept:
        case Mapping():
            return any(PERSONAL_NAME.search(k) or looks_personal(k) or looks_personal(v) for k, v in kept.items())
        case list():
            return any(looks_personal(item) for item in kept)
        case str():
            return bool(PERSONAL_VALUE.search(kept))
        case _:
            return False
