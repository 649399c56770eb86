"""Validation of pipeline parameters, the same at the command line, on submit and in prepare_run."""

import datetime
import re
from collections.abc import Iterable, Mapping

CHOICES = {
    "train": ("auto", "yes", "no"),
    "export_mode": ("auto", "full"),
    "simulated_size": ("none", "small", "demo", "large"),
}


class ParameterError(ValueError):
    """Invalid value of a parameter; the message says what was expected and what came."""


def check(parameters: Mapping[str, object]) -> None:
    """Check the values of pipeline parameters; their names and types are in the pipeline's signature.

    Raises:
        ParameterError: listing every wrong value.
    """
    problems = []
    for name, value in parameters.items():
        if name == "run_date" and value and not _is_date(str(value)):
            problems.append(f"run_date: expected a date as YYYY-MM-DD, or nothing, got {value!r}")
        if isinstance(value, int) and not isinstance(value, bool) and value < 0:
            problems.append(f"{name}: expected no negative number, got {value}")
        if name == "dataset_prefix" and not re.fullmatch(r"([a-z][a-z0-9_]*)?", str(value)):
            problems.append(f"dataset_prefix: expected lower-case letters, digits and _, got {value!r}")
        if name in CHOICES and value not in CHOICES[name]:
            problems.append(f"{name}: expected one of {', '.join(CHOICES[name])}, got {value!r}")
        if name == "bucket" and str(value).startswith("gs://"):
            problems.append(f"bucket: expected a name without gs://, got {value!r}")
    if problems:
        raise ParameterError("\n".join(problems))


def listed(names: str) -> tuple[str, ...]:
    """Names in a list with commas; an empty one counts for nothing."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def refreshed(names: str, tables: Iterable[str]) -> tuple[str, ...]:
    """Parse the parameter full_refresh: the tables to rebuild, named with or without their datasets.

    Args:
        names: names of tables, separated by commas; `all` for every table.
        tables: names of all tables of the project, such as `silver.stg_orders`.

    Raises:
        ParameterError: a name is not that of a table.
    """
    asked = listed(names)
    known = {"all", *(known for table in tables for known in (table, table.split(".", maxsplit=1)[1]))}
    if unknown := [name for name in asked if name not in known]:
        raise ParameterError(f"full_refresh: no table {unknown[0]}, expected some of {', '.join(sorted(known))}")
    return asked


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return False
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True
