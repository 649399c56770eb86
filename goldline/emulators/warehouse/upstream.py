"""The versions that we patch, the names of what is passed around in them, and the tools that patch them loudly."""

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

# What the patches were written against and tests/local is run with. A bump starts here.
VERSIONS = {"local-bigquery": "0.4.0", "duckdb": "1.5.5", "sqlglot": "30.24.0"}

# What an upstream function returns, handed on as it came. (Upstream has no types to check.)
Answer = Any

# project, dataset, table: how upstream names a table everywhere.
Reference = tuple[str, str, str]


class UpstreamChangedError(RuntimeError):
    """A version or a name that we patch is not what it was."""


def check_versions() -> None:
    """Refuses to start on versions that the patches were not tested with."""
    for package, expected in VERSIONS.items():
        if (found := metadata.version(package)) != expected:
            raise UpstreamChangedError(f"{package} is {found}; goldline.emulators.warehouse is made for {expected}")


def replace(owner: object, name: str, new: object) -> Callable[..., Answer]:
    """Puts `new` in place of `owner.name` and returns what was there."""
    require(owner, name)
    old: Callable[..., Answer] = getattr(owner, name)
    setattr(owner, name, new)
    return old


def require(owner: object, *names: str) -> None:
    """Fails now, not in the middle of a query, when a name that we use is gone."""
    for name in names:
        if not hasattr(owner, name):
            raise UpstreamChangedError(f"{getattr(owner, '__name__', owner)} no longer has {name}")
