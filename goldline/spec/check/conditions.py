"""Conditions, in the subset of CEL that KFP's compiler writes (_single_binary_operation_to_cel_condition)."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from goldline.spec.check.tree import Json, condition_of
from goldline.spec.check.wiring import is_of_type, listed

_TOKEN = re.compile(
    r"""\s*(?:inputs\.parameter_values\['(?P<input>[^']+)'\]|'(?P<word>[^']*)'|(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"""
    r"""|(?P<name>true|false|int|double|string)\b|(?P<sign>==|!=|<=|>=|<|>|&&|\|\||!|\(|\)))\s*"""
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_CASTS = ("int", "double", "string")

# A parsed condition: gives its value for the values of the inputs.
type _Expression = Callable[[Mapping[str, Any]], Any]


class ConditionError(Exception):
    """A condition cannot be parsed, or cannot be evaluated."""


@dataclass(frozen=True)
class Unknown:
    """Value that is known in a run only."""

    label: str


class Condition:
    """Condition of a task in the spec, parsed when made, by recursive descent: or, and, not, comparison, operand."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ConditionError(f"cannot be read from {text[at:]!r} on: {text}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()
        self.rest = list(self.tokens)
        self.value = self._any()
        if self.rest:
            raise ConditionError(f"cannot be read from {self.rest[0][1]!r} on: {text}")

    def _accept(self, *signs: str) -> str | None:
        if self.rest and self.rest[0][0] == "sign" and self.rest[0][1] in signs:
            return self.rest.pop(0)[1]
        return None

    def _any(self) -> _Expression:
        parts = [self._all()]
        while self._accept("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda values: any(part(values) for part in parts)

    def _all(self) -> _Expression:
        parts = [self._not()]
        while self._accept("&&"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda values: all(part(values) for part in parts)

    def _not(self) -> _Expression:
        if self._accept("!"):
            inner = self._not()
            return lambda values: not inner(values)
        return self._comparison()

    def _comparison(self) -> _Expression:
        left = self._operand()
        sign = self._accept(*_COMPARE)
        if sign is None:
            return left
        right = self._operand()
        return lambda values: _compare(sign, left(values), right(values))

    def _operand(self) -> _Expression:
        if self._accept("("):
            return self._closed(self._any())
        kind, text = self.rest.pop(0) if self.rest else ("sign", "the end")
        if kind == "input":
            return lambda values: _known(values, text)
        if kind == "name" and text in _CASTS:
            if self._accept("(") is None:
                raise ConditionError(f"expected ( after {text}")
            inner = self._closed(self._any())
            return lambda values: _cast(text, inner(values))
        literals: dict[str, Callable[[str], Any]] = {"word": str, "number": float, "name": lambda name: name == "true"}
        if kind not in literals:
            raise ConditionError(f"expected a value, got {text}")
        literal = literals[kind](text)
        return lambda values: literal

    def _closed(self, inner: _Expression) -> _Expression:
        if self._accept(")") is None:
            raise ConditionError("expected )")
        return inner


def _cast(name: str, value: object) -> object:
    if name == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    if not is_of_type(value, "NUMBER_DOUBLE"):
        raise ConditionError(f"it expects a number, got {value!r}")
    return int(value) if name == "int" else float(value)  # type: ignore[call-overload,arg-type]


def _known(values: Mapping[str, Any], name: str) -> object:
    value = values.get(name, Unknown(name))
    if isinstance(value, Unknown):
        raise ConditionError(f"it depends on {value.label}, which is not known: name it in the scenario's assumptions")
    return value


def _compare(sign: str, left: object, right: object) -> bool:
    kinds = [
        float if isinstance(value, int) and not isinstance(value, bool) else type(value) for value in (left, right)
    ]
    if kinds[0] is not kinds[1]:
        raise ConditionError(f"it compares {left!r} with {right!r}")
    return _COMPARE[sign](left, right)


def bad_condition(task: Json, declared: Mapping[str, Json]) -> Iterator[str]:
    """Problems of a task's condition; `declared` are the inputs of its component."""
    try:
        tokens = Condition(condition_of(task)).tokens
    except ConditionError as error:
        # As with dsl.If(x == "it's"): kfp does not escape quotes, and kfp.local takes what it cannot read for False.
        yield f"compare only booleans, numbers and plain words; the condition {error}"
        return
    for kind, text in tokens:
        if kind == "word" and not re.fullmatch(r"[\w.-]*", text):
            yield f"compare only booleans, numbers and plain words, got {text!r}"
        elif kind == "input" and text not in declared:
            yield f"reads {text!r}, expected one of {listed(declared)}"
        elif text in {"double", "string"} and kind == "name":
            # Unknown to kfp.local's evaluate_condition, which then takes the condition for False.
            yield f"kfp.local does not know {text}(): compare numbers of one type"
        elif text in {"!", "||"} and kind == "sign":
            yield "Elif and Else: no statement found that Vertex AI takes them; write an If each"
