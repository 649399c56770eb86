"""What may differ between a contract and its table, and what is refused."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden
from google.cloud import bigquery
from hypothesis import given
from hypothesis import strategies as st

from goldline.contracts.loading import parse
from goldline.contracts.table_contract import TableContract
from goldline.runs.context import RunContext
from goldline.runs.ops import CheckRow
from goldline.warehouse.schema import (
    LEGACY,
    differences,
    ensure_dataset,
    ensure_plain,
    fields,
    in_order_of,
    table_of,
)

RUN = RunContext.parse('{"run_id":"r","run_date":"2026-11-20","since":{},"project":"p","location":"US","bucket":"b"}')
COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "Key."},
    {"name": "day", "type": "DATE", "mode": "REQUIRED", "description": "Day."},
    {"name": "pieces", "type": "INT64", "description": "Pieces."},
    {
        "name": "lines",
        "type": "STRUCT",
        "mode": "REPEATED",
        "description": "Lines.",
        "fields": [
            {"name": "price", "type": "FLOAT64", "description": "Price."},
            {"name": "paid", "type": "BOOL", "description": "Whether it was paid."},
        ],
    },
]
NEW = {"name": "town", "type": "STRING", "description": "Town."}


def contract(columns: list[dict[str, Any]] = COLUMNS, **change: Any) -> TableContract:
    content: dict[str, Any] = {"table": "gold.fct_orders", "write": "full"}
    content |= {"description": "Orders.", "grain": "One row per order."}
    content |= {"primary_key": ["id"], "partition_by": "day", "cluster_by": ["id"], "columns": columns, **change}
    made = parse(content, "a test")
    assert isinstance(made, TableContract)
    return made


def table(schema: list[bigquery.SchemaField] | None = None) -> bigquery.Table:
    """The table as BigQuery would show it: with the type names of its first dialect."""
    made = table_of(contract(), RUN)
    if schema is not None:
        made.schema = schema
    return made


def test_columns_as_the_api_takes_them() -> None:
    found = fields(contract().columns)
    assert [(f.name, f.field_type, f.mode, f.description) for f in found] == [
        ("id", "STRING", "REQUIRED", "Key."),
        ("day", "DATE", "REQUIRED", "Day."),
        ("pieces", "INTEGER", "NULLABLE", "Pieces."),
        ("lines", "RECORD", "REPEATED", "Lines."),
    ]
    assert [(f.name, f.field_type) for f in found[3].fields] == [("price", "FLOAT"), ("paid", "BOOLEAN")]


def test_a_table_is_made_as_its_contract_says() -> None:
    made = table_of(contract(), RUN)
    assert str(made.reference) == "p.gold.fct_orders"
    assert made.description == "Orders. One row per order."
    assert (made.time_partitioning.field, made.clustering_fields) == ("day", ["id"])
    plain = table_of(contract(partition_by=None, cluster_by=[]), RUN.model_copy(update={"dataset_prefix": "dev_"}))
    assert str(plain.reference) == "p.dev_gold.fct_orders"
    assert (plain.time_partitioning, plain.clustering_fields) == (None, None)


def test_a_table_as_its_contract_says_differs_in_nothing() -> None:
    assert differences(contract(), table()) == ([], [])


def test_types_may_go_by_either_name() -> None:
    sql_names = {legacy: name for name, legacy in LEGACY.items()}
    shown = [
        bigquery.SchemaField(
            *(f.name, sql_names.get(f.field_type, f.field_type)),
            mode=f.mode,
            fields=[bigquery.SchemaField(i.name, sql_names.get(i.field_type, i.field_type)) for i in f.fields],
        )
        for f in table().schema
    ]
    assert shown[2].field_type == "INT64"
    assert differences(contract(), table(shown)) == ([], [])


def test_a_description_is_no_difference() -> None:
    described = [{**c, "description": "Said otherwise."} for c in COLUMNS]
    assert differences(contract(described), table()) == ([], [])


def test_checks_of_an_earlier_goldline_get_the_new_columns(
    client: bigquery.Client, new_run: Callable[..., RunContext]
) -> None:
    run, new = new_run(), ("observed", "threshold", "detail")
    table = run.table("ops.checks")
    ensure_plain(client, "ops.checks", [c for c in CheckRow.columns() if c.name not in new], run)
    client.query_and_wait(f"insert into `{table}` values ('r', date '2026-11-20', 't', 'n', 'warn', 1, false)")
    ensure_plain(client, "ops.checks", CheckRow.columns(), run)
    [row] = client.query_and_wait(f"select * from `{table}`")
    assert (row["check_name"], [row[name] for name in new]) == ("n", [None, None, None])


def test_a_new_nullable_column_is_added() -> None:
    wanted = contract([NEW, *COLUMNS])
    added, refused = differences(wanted, table())
    assert [c.name for c in added] == ["town"]
    assert refused == []


def without(name: str) -> list[dict[str, Any]]:
    return [c for c in COLUMNS if c["name"] != name]


def with_lines(*inner: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**c, "fields": list(inner)} if c["name"] == "lines" else c for c in COLUMNS]


PRICE_YML: dict[str, Any] = {"name": "price", "type": "FLOAT64", "description": "Price."}
PAID_YML: dict[str, Any] = {"name": "paid", "type": "BOOL", "description": "Paid."}
LAYOUT = "partitioned by day, clustered by ['id'],"
LINES = "lines is declared ARRAY<STRUCT<{}>> REPEATED, the table's differs"
PIECES = {"name": "pieces", "type": "INT64", "description": "Pieces."}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (contract([*COLUMNS, {**NEW, "mode": "REQUIRED"}]), "town is new and REQUIRED"),
        (contract(without("pieces")), "pieces is no longer declared"),
        (
            contract([*without("pieces"), {**PIECES, "type": "NUMERIC"}]),
            "pieces is declared NUMERIC NULLABLE, the table's differs",
        ),
        (
            contract([*without("pieces"), {**PIECES, "mode": "REQUIRED"}]),
            "pieces is declared INT64 REQUIRED, the table's differs",
        ),
        (
            contract([*without("pieces"), {**PIECES, "mode": "REPEATED"}]),
            "pieces is declared ARRAY<INT64> REPEATED, the table's differs",
        ),
        (contract(with_lines(PRICE_YML)), LINES.format("price FLOAT64")),
        (contract(with_lines(PRICE_YML, PAID_YML, NEW)), LINES.format("price FLOAT64, paid BOOL, town STRING")),
        (contract(with_lines(PAID_YML, PRICE_YML)), LINES.format("paid BOOL, price FLOAT64")),
        (contract(with_lines(PRICE_YML, {**PAID_YML, "type": "STRING"})), LINES.format("price FLOAT64, paid STRING")),
        (contract(partition_by=None), f"{LAYOUT} not by None, clustered by ['id']"),
        (contract(cluster_by=["pieces", "id"]), f"{LAYOUT} not by day, clustered by ['pieces', 'id']"),
        (contract(cluster_by=[]), f"{LAYOUT} not by day, clustered by []"),
    ],
    ids=lambda value: value if isinstance(value, str) else "contract",
)
def test_any_other_difference_is_refused(wanted: TableContract, expected: str) -> None:
    assert differences(wanted, table())[1] == [expected]


def test_partitions_by_the_month_are_not_those_of_days() -> None:
    found = table()
    found.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="day")
    [refused] = differences(contract(), found)[1]
    assert refused.startswith("partitioned by MONTH of day, ")


def test_partitions_by_the_time_of_loading_are_not_none() -> None:
    found = table()
    found.time_partitioning = bigquery.TimePartitioning()
    [refused] = differences(contract(partition_by=None), found)[1]
    assert refused.startswith("partitioned by the time of loading, ")


def test_all_differences_are_told_at_once() -> None:
    wanted = contract([*without("pieces"), {**NEW, "mode": "REQUIRED"}], cluster_by=[], partition_by=None)
    added, refused = differences(wanted, table())
    assert [c.name for c in added] == ["town"]
    assert len(refused) == 3


@given(st.randoms(use_true_random=False))
def test_the_order_of_columns_is_the_tables(dice: Random) -> None:
    shuffled = list(table().schema)
    dice.shuffle(shuffled)
    found = table(shuffled)
    assert differences(contract(), found) == ([], [])
    ordered = in_order_of(found, contract())
    assert [c.name for c in ordered.columns] == [f.name for f in shuffled]
    assert {c.name: c for c in ordered.columns} == {c.name: c for c in contract().columns}
    assert in_order_of(found, ordered) == ordered


def test_an_added_column_comes_last_wherever_it_is_declared() -> None:
    wanted = contract([NEW, *COLUMNS])
    added, _ = differences(wanted, table())
    found = table([*table().schema, *fields(added)])
    assert differences(wanted, found) == ([], [])
    assert [c.name for c in in_order_of(found, wanted).columns] == ["id", "day", "pieces", "lines", "town"]


def test_an_account_that_may_make_no_datasets_uses_those_that_are_there(
    client: bigquery.Client, new_run: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise Forbidden("bigquery.datasets.create")

    run = new_run()
    monkeypatch.setattr(client, "create_dataset", refused)
    ensure_dataset(client, run, "gold")
    with pytest.raises(Forbidden):
        ensure_dataset(client, run, "a_fifth")
