"""Every table that SQL may read, with its columns: made from the contracts and nothing else."""

from collections.abc import Iterable

from goldline.contracts.columns import Column
from goldline.contracts.loading import Contract
from goldline.contracts.table_contract import TableContract
from goldline.runs.ops import TABLES, RejectedRow


def catalog(contracts: Iterable[Contract]) -> dict[str, tuple[Column, ...]]:
    """Columns by table name: the contracts' tables, their rejects, the sources' files and views, the ops tables."""
    tables = {name: row.columns() for name, row in TABLES.items()}
    for contract in contracts:
        if isinstance(contract, TableContract):
            tables[contract.table] = contract.columns
            if contract.rejects:
                tables[contract.rejected_table] = RejectedRow.columns()
        else:
            tables[contract.source] = contract.table_columns
            tables[contract.view] = contract.view_columns
    return tables
