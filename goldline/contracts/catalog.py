"""Catalog: every table that SQL may read, with its columns."""

from collections.abc import Iterable, Mapping

from goldline.contracts.columns import Column
from goldline.contracts.loading import Contract


def catalog(contracts: Iterable[Contract], ops: Mapping[str, tuple[Column, ...]]) -> dict[str, tuple[Column, ...]]:
    """Columns by `dataset.table`: tables, rejects tables, external tables with their views, and the `ops` tables."""
    return dict(ops) | {name: columns for contract in contracts for name, columns in contract.tables.items()}
