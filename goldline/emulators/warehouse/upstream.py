"""Versions of the patched packages, names for their types, and functions that patch them or fail at the start."""

from collections.abc import Callable
from importlib import metadata
from typing import Any

from duckdb import DuckDBPyConnection as Connection
from local_bigquery.models import Table
from local_bigquery.models import TableFieldSchema as Field
from local_bigquery.resource import Resource
from local_bigquery.sql.translate import Context

__all__ = [
    "VERSIONS",
    "Answer",
    "Connection",
    "Context",
    "Field",
    "Reference",
    "Resource",
    "Table",
    "UpstreamChangedError",
    "check_versions",
    "replace",
    "require",
]

# Versions that the patches were written for and tests/library/emulators runs with. A bump starts here.
VERSIONS = {"local-bigquery": "0.4.0", "duckdb": "1.5.5", "sqlglot": "30.24.0"}

# Result of an upstream function, passed on as it is. (Upstream has no types to check.)
Answer = Any

# project, dataset, table: how upstream names a table everywhere.
Reference = tuple[str, str, str]


class UpstreamChangedError(RuntimeError):
    """A patched package has another version, or lacks a name that the patches use."""


def check_versions() -> None:
    """Refuse versions that the patches were not tested with.

    Raises:
        UpstreamChangedError: a package has another version.
    """
    for package, expected in VERSIONS.items():
        if (found := metadata.version(package)) != expected:
            raise UpstreamChangedError(f"{package} is {found}; goldline.emulators.warehouse is made for {expected}")


def replace(owner: object, name: str, new: object) -> Callable[..., Answer]:
    """Replace `owner.name` by `new`, and return the old value."""
    require(owner, name)
    old: Callable[..., Answer] = getattr(owner, name)
    setattr(owner, name, new)
    return old


def require(owner: object, *names: str) -> None:
    """Fail at the start, not in the middle of a query, if `owner` lacks a name that the patches use.

    Raises:
        UpstreamChangedError: a name is missing.
    """
    for name in names:
        if not hasattr(owner, name):
            raise UpstreamChangedError(f"{getattr(owner, '__name__', owner)} no longer has {name}")
