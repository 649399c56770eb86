"""Tables to test by the name that was asked for, and the contracts that their SELECTs need."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from goldline.contracts.loading import Contract
from goldline.contracts.table_contract import TableContract


class UnknownTableError(ValueError):
    """No table has the name that was asked for; the message has the nearest one, or all."""


def chosen(contracts: Mapping[str, Contract], only: str | None) -> dict[str, TableContract]:
    """Tables of one name, `silver.stg_orders`, `stg_orders` or `shop/stg_orders`; None: all.

    Raises:
        UnknownTableError: no table has that name.
    """
    tables = {path: c for path, c in contracts.items() if isinstance(c, TableContract)}
    if only is None:
        return tables
    if found := {path: c for path, c in tables.items() if only in (path, c.table, c.name)}:
        return found
    names = {name for path, c in tables.items() for name in (path, c.table, c.name)}
    near = difflib.get_close_matches(only, sorted(names), n=1)
    known = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(c.table for c in tables.values())}"
    raise UnknownTableError(f"no table {only}, {known}")


def selects(tables: Mapping[str, TableContract], folder: Path) -> dict[Path, str]:
    """SELECTs of tables, by file: each table's own, and that of the rows that its model predicts for."""
    files = [folder / f"{path}.sql" for path, contract in tables.items() if contract.mode.has_select]
    files += [folder / path.rpartition("/")[0] / f"predict_{c.model}.sql" for path, c in tables.items() if c.model]
    return {file: file.read_text(encoding="utf-8") for file in files if file.exists()}


def needed(contracts: Mapping[str, Contract], tables: Mapping[str, TableContract], folder: Path) -> dict[str, Contract]:
    """Contracts of some tables, and of all that their SELECTs name; without a parser, so a comment counts too."""
    text = "\n".join(selects(tables, folder).values())
    return {
        path: contract
        for path, contract in contracts.items()
        if path in tables or any(name.partition(".")[2] in text for name in contract.tables)
    }
