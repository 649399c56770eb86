"""The ops tables are their models, and the catalog is the contracts."""

import datetime
from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from goldline.contracts.catalog import catalog
from goldline.contracts.loading import Contract, parse
from goldline.contracts.source_contract import LANDED_KEYS, LANDED_METADATA
from goldline.contracts.table_contract import REJECTED_COLUMNS
from goldline.runs.ops import TABLES, CheckRow, Commit, OpsRow
from goldline.spec.tables import contracts
from goldline.warehouse.schema import fields

ID = {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "Key."}
TABLE = {
    "table": "gold.fct_orders",
    "description": "Orders.",
    "grain": "One row per order.",
    "primary_key": ["id"],
    "write": "full",
    "columns": [ID],
}
SOURCE = {
    "source": "bronze.ext_orders",
    "description": "Orders.",
    "grain": "One row per document.",
    "format": "parquet",
    "key": "id",
    "columns": [{**ID, "mode": "NULLABLE"}, {**ID, "name": "email", "mode": "NULLABLE", "pii": "drop"}],
}


def contract(content: Mapping[str, object], **change: object) -> Contract:
    return parse({**content, **change}, "a test")


@pytest.mark.parametrize("row", OpsRow.__subclasses__(), ids=lambda row: row.__name__)
def test_every_ops_column_has_a_type_a_mode_and_a_description(row: type[OpsRow]) -> None:
    columns = row.columns()
    assert [c.name for c in columns] == list(row.model_fields)
    assert all(len(c.description) > 5 for c in columns)
    assert [f.mode for f in fields(columns)] == [c.mode for c in columns]


def test_a_field_that_may_be_none_is_nullable() -> None:
    modes = {c.name: (c.type, c.mode) for c in TABLES["ops.runs"]}
    assert modes["run_id"] == ("STRING", "REQUIRED")
    assert modes["run_date"] == ("DATE", "NULLABLE")
    assert modes["seconds"] == ("FLOAT64", "NULLABLE")
    assert modes["finished_at"] == ("TIMESTAMP", "REQUIRED")


def test_a_bool_is_no_number() -> None:
    kinds = {c.name: c.type for c in CheckRow.columns()}
    assert (kinds["passed"], kinds["failing"]) == ("BOOL", "INT64")


def test_a_row_takes_its_own_fields_alone() -> None:
    row = {"source": "bronze.ext_orders", "run_date": "2026-11-20", "attempt": "a", "files": 1, "rows": 2}
    row |= {"read_time": "2026-11-21T01:00:00Z", "run_id": "r", "committed_at": "2026-11-21T01:00:05Z"}
    commit = Commit.model_validate(row)
    assert commit.run_date == datetime.date(2026, 11, 20)
    assert Commit.model_validate(commit.model_dump(mode="json")) == commit
    with pytest.raises(ValidationError, match="file_count"):
        Commit.model_validate(row | {"file_count": 1})


def names(found: dict[str, tuple[object, ...]]) -> set[str]:
    return set(found) - set(TABLES)


def test_the_catalog_holds_the_ops_tables_whatever_the_contracts() -> None:
    assert set(catalog([], TABLES)) == set(TABLES)


def test_a_table_stands_in_the_catalog_with_its_columns() -> None:
    table = contract(TABLE)
    assert names({**catalog([table], TABLES)}) == {"gold.fct_orders"}
    assert catalog([table], TABLES)["gold.fct_orders"] == table.columns


def test_a_table_that_rejects_has_a_table_of_rejects() -> None:
    found = catalog([contract(TABLE, rejects=True)], TABLES)
    assert found["silver.rejected_orders"] == REJECTED_COLUMNS


def test_a_source_stands_there_twice_without_what_is_dropped() -> None:
    found = catalog([contract(SOURCE)], TABLES)
    assert found["bronze.ext_orders"] == found["bronze.orders"]
    assert [c.name for c in found["bronze.orders"]] == ["id", *LANDED_METADATA, *LANDED_KEYS]


def test_the_order_of_contracts_does_not_matter() -> None:
    both = [contract(TABLE), contract(SOURCE)]
    assert catalog(both, TABLES) == catalog(reversed(both), TABLES)


def test_every_name_that_a_contract_makes_is_in_the_catalog() -> None:
    found = contracts().values()
    assert names({**catalog(found, TABLES)}) == {name for c in found for name in c.tables}
