"""What becomes of values that do not simply land: personal ones, drifted ones, and those that nobody declared.

Both landings keep these rules, so that a row does not tell which of them made it.
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
# One character before the @ is enough; a run of them would cost the square of a long text's length.
PERSONAL_VALUE = re.compile(r"[^@\s]@[^@\s]+\.[a-z]{2,}", re.IGNORECASE)
UNSHOWN = "(a personal value)"


class UndeclaredError(ValueError):
    """A document has a field that nobody declared, and the contract refuses those."""


@dataclass
class Findings:
    """What landing found, by field: names and counts, never values.

    Attributes:
        unread: timestamps of mixed form that could not be read.
        ambiguous: timestamps that were read with the contract's order of day and month and fit the other one too.
        drifted: values that were not of their declared type.
        undeclared: fields that nobody declared.
        held_back: values that looked personal and stood where no rule treats them.
    """

    unread: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)
    drifted: Counter[str] = field(default_factory=Counter)
    undeclared: Counter[str] = field(default_factory=Counter)
    held_back: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Findings") -> None:
        """Count what another one found, too."""
        for kind, by in vars(other).items():
            getattr(self, kind).update(by)


class NotKept:
    """Stands for a value of which nothing goes to the rest; None there is a null."""


NOT_KEPT = NotKept()


class Rules:
    """One source's rules; they count what they meet."""

    def __init__(self, contract: SourceContract, key: Key) -> None:
        self.contract = contract
        self.key = key
        self.findings = Findings()

    def pseudonym(self, column: SourceColumn, value: object, path: str) -> str | None:
        """What lands of a value whose column has a rule: its pseudonym or its last characters."""
        if not isinstance(value, str | int | float | datetime.datetime):
            self.findings.held_back[path] += 1
            return None
        text = str(value)
        return self.key.pseudonym(text) if column.pii == "hmac" else text[-4:]

    def drifted(self, column: SourceColumn, value: object, path: str) -> Any:  # noqa: ANN401
        """What goes to the rest of a value that is not of its declared type."""
        self.findings.drifted[path] += 1
        kept = NOT_KEPT if holds_personal(column) else to_json(value)
        return self._unless_personal(kept, path)

    def unread(self, value: object, path: str) -> Any:  # noqa: ANN401
        """What goes to the rest of a timestamp that could not be read."""
        self.findings.unread[path] += 1
        return self._unless_personal(to_json(value), path)

    def undeclared(self, value: object, path: str) -> Any:  # noqa: ANN401
        """What goes to the rest of a field that nobody declared.

        Raises:
            UndeclaredError: the contract says `undeclared: refuse`.
        """
        # A map may be keyed by what is personal; neither errors nor counts may show that.
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
    """Whether a text, or a name or a text within a map or a list, looks like a person's."""
    match kept:
        case Mapping():
            return any(PERSONAL_NAME.search(k) or looks_personal(k) or looks_personal(v) for k, v in kept.items())
        case list():
            return any(looks_personal(item) for item in kept)
        case str():
            return bool(PERSONAL_VALUE.search(kept))
        case _:
            return False
