"""Every table that SQL may read, with its columns: the contracts' tables and those that goldline keeps of its own."""

from collections.abc import Iterable, Mapping

from goldline.contracts.columns import Column
from goldline.contracts.loading import Contract


def catalog(contracts: Iterable[Contract], ops: Mapping[str, tuple[Column, ...]]) -> dict[str, tuple[Column, ...]]:
    """Columns by table name: the contracts' tables, their rejects, the sources' files and views, the ops tables."""
    return dict(ops) | {name: columns for contract in contracts for name, columns in contract.tables.items()}
