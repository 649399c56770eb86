"""Comparison of expected and actual rows: in any order, and only in the columns that the expectation names."""

import datetime
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from goldline.contracts.columns import Row
from goldline.contracts.table_contract import REJECTED_COLUMNS, Case, TableContract
from goldline.emulators.googlesql import Field, NotOfTypeError, SqlType, normal
from goldline.local.sqltest.contract_fields import fields_of

if TYPE_CHECKING:
    from goldline.local.sqltest.cases import Outcome

# Strings that hold JSON are compared as JSON, and may be written in YAML as text or as a mapping.
REJECTED_FIELDS = [
    replace(f, type=SqlType("JSON")) if f.name in ("key", "record") else f for f in fields_of(REJECTED_COLUMNS)
]


def differences(contract: TableContract, case: Case, outcome: "Outcome") -> str:
    """Differences between the rows that a case expects and those that came, as text; empty if there are none."""
    fields = fields_of(contract.columns)
    try:
        found = _compared("row", fields, contract.primary_key, case.expect, outcome.rows)
        found += _compared("rejected row", REJECTED_FIELDS, ("key",), case.rejected, outcome.rejected)
    except NotOfTypeError as error:
        return str(error)
    return "\n".join(found)


def same(expected: Any, got: Any, kind: SqlType) -> bool:  # noqa: ANN401
    """Whether two values, as `normal` gives them, are equal; of a STRUCT only the expected fields are compared."""
    if expected is None or got is None:
        return expected is got
    if kind.element:
        element = kind.element
        return len(expected) == len(got) and all(same(e, g, element) for e, g in zip(expected, got, strict=True))
    if kind.kind == "STRUCT":
        return all(same(expected[f.name], got[f.name], f.type) for f in kind.fields if f.name in expected)
    if kind.kind == "FLOAT64":
        # Engines add up in different orders, so the last digits may differ.
        return math.isclose(expected, got, rel_tol=1e-9) or (math.isnan(expected) and math.isnan(got))
    return bool(expected == got)


def _compared(
    what: str, fields: Sequence[Field], key: Sequence[str], expected: Sequence[Row], got: Sequence[Row]
) -> list[str]:
    row_type = SqlType("STRUCT", fields=tuple(fields))
    names = {f.name for f in fields}
    wanted = [normal(row, row_type, f"expected {what} {i}", partial=True) for i, row in enumerate(expected, 1)]
    known = [{name: value for name, value in row.items() if name in names} for row in got]
    there = [normal(row, row_type, f"{what} {i}") for i, row in enumerate(known, 1)]
    pairs = _paired(len(wanted), len(there), lambda w, t: same(wanted[w], there[t], row_type))
    missing = [row for i, row in enumerate(wanted) if i not in pairs]
    surplus = [row for i, row in enumerate(there) if i not in pairs.values()]
    shown = {name for row in wanted for name in row} | set(key)
    return _messages(what, {f.name: f.type for f in fields}, key, missing, surplus, shown)


def _paired(left: int, right: int, fits: Callable[[int, int], bool]) -> dict[int, int]:
    """Largest matching of two lists, by index: a row that fits two expectations must not take the wrong one."""
    options = [[r for r in range(right) if fits(item, r)] for item in range(left)]
    taken: dict[int, int] = {}

    def place(item: int, seen: set[int]) -> bool:
        for r in options[item]:
            if r not in seen:
                seen.add(r)
                if r not in taken or place(taken[r], seen):
                    taken[r] = item
                    return True
        return False

    for item in range(left):
        place(item, set())
    return {item: r for r, item in taken.items()}


def _messages(
    what: str,
    types: Mapping[str, SqlType],
    key: Sequence[str],
    missing: list[Row],
    surplus: list[Row],
    shown: set[str],
) -> list[str]:
    lines = []
    for row in missing:
        near = [other for other in surplus if _same_key(row, other, types, key)]
        if not near:
            lines.append(f"{what} missing: {_as_yaml(row)}")
            continue
        surplus.remove(near[0])
        lines.append(f"{what} {_as_yaml({name: row[name] for name in key})} differs:")
        lines += [
            f"  {name}: expected {_as_yaml(value)}, got {_as_yaml(near[0][name])}"
            for name, value in row.items()
            if not same(value, near[0][name], types[name])
        ]
    for other in surplus:
        lines.append(f"{what} not expected: {_as_yaml({n: v for n, v in other.items() if n in shown})}")
    return lines


def _same_key(row: Row, other: Row, types: Mapping[str, SqlType], key: Sequence[str]) -> bool:
    return all(name in row and same(row[name], other[name], types[name]) for name in key)


def _as_yaml(value: object) -> str:
    """Value in YAML, on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_as_yaml(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date | Decimal):
        return str(value)
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
