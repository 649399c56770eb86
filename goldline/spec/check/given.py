"""Check of parameters against the pipeline's signature, before any request: the SDK checks names alone."""

import difflib
from collections.abc import Mapping
from typing import Any

from goldline.runs import parameters
from goldline.runs.parameters import ParameterError

_TYPES = {
    "STRING": (str, "a text"),
    "BOOLEAN": (bool, "true or false"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (float, "a number"),
}


def declared_in(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters that a compiled spec declares, by name."""
    found: Mapping[str, Any] = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return found


def checked(given: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, after a check of names, types and the parameters' own rules.

    Raises:
        ParameterError: a name or value is wrong; the message lists all of them.
    """
    problems = [problem for name, value in given.items() if (problem := _wrong(name, value, declared))]
    if problems:
        raise ParameterError("\n".join(problems))
    parameters.check(given)
    return dict(given)


def complete(given: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as `checked` does, after a check that each parameter without a default is given.

    Raises:
        ParameterError: one is missing or wrong.
    """
    missing = [name for name, each in declared.items() if not _has_default(each) and name not in given]
    if missing:
        raise ParameterError("\n".join(f"{name}: has no default and was not given" for name in missing))
    return checked(given, declared)


def _has_default(parameter: Mapping[str, Any]) -> bool:
    return "defaultValue" in parameter or bool(parameter.get("isOptional"))


def _wrong(name: str, value: object, declared: Mapping[str, Any]) -> str | None:
    if name not in declared:
        near = difflib.get_close_matches(name, declared, 1) or sorted(declared)
        return f"{name}: no such parameter, expected {'some of ' if len(near) > 1 else ''}{', '.join(near)}"
    kind, expected = _TYPES[declared[name]["parameterType"]]
    fits = isinstance(value, int | float if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    return None if fits else f"{name}: expected {expected}, got {value!r}"
