"""The rules that pipeline parameters keep, wherever they are given: at the command line, on submit, in prepare_run."""

import datetime
import re
from collections.abc import Mapping

FLOW = "run_"  # run_sales switches the flow `sales` on and off


class ParameterError(ValueError):
    """A parameter's value is wrong: the message says what was expected and what came."""


def check(parameters: Mapping[str, object]) -> None:
    """Check the values of pipeline parameters; names and types are the signature's affair.

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
        if name == "bucket" and str(value).startswith("gs://"):
            problems.append(f"bucket: expected a name without gs://, got {value!r}")
    if problems:
        raise ParameterError("\n".join(problems))


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return False
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True
