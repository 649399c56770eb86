"""Every table that SQL may read, with its columns: the contracts' tables and those that goldline keeps of its own."""

from collections.abc import Iterable, Mapping

from goldline.contracts.columns import Column
from goldline.contracts.loading import Contract
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract


def catalog(contracts: Iterable[Contract], ops: Mapping[str, tuple[Column, ...]]) -> dict[str, tuple[Column, ...]]:
    """Columns by table name: the contracts' tables, their rejects, the sources' files and views, the ops tables."""
    tables = dict(ops)
    for contract in contracts:
        if isinstance(contract, TableContract):
            tables[contract.table] = contract.columns
            if contract.rejects:
                tables[contract.rejected_table] = REJECTED_COLUMNS
        else:
            tables[contract.source] = contract.table_columns
            tables[contract.view] = contract.view_columns
    return tables
