"""Partition decorators, `table$20261121`, in every job that takes them."""

from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery

from tests.support.warehouse_client import BUCKET, Field, Warehouse, lines

pytestmark = pytest.mark.servers

TRUNCATE = "WRITE_TRUNCATE"
SCHEMA = [
    Field("id", "STRING", "REQUIRED", description="The key."),
    Field("d", "DATE", "REQUIRED"),
    Field("n", "INT64"),
]


def make(warehouse: Warehouse, table: str, field: str | None = "d", unit: str = "DAY", schema: Any = None) -> None:
    resource = bigquery.Table(warehouse.name(table), schema=schema or SCHEMA)
    if field:
        resource.time_partitioning = bigquery.TimePartitioning(type_=unit, field=field)
    warehouse.client.create_table(resource)


def fill(warehouse: Warehouse, table: str, *days: str, n: int = 1) -> None:
    for day in days:
        warehouse.rows(f"insert {{d}}.{table} (id, d, n) select '{day}', date '{day}', {n}")


def copy(warehouse: Warehouse, source: str, destination: str, disposition: str = TRUNCATE) -> None:
    config = bigquery.CopyJobConfig(write_disposition=disposition)
    warehouse.client.copy_table(warehouse.name(source), warehouse.name(destination), job_config=config).result()


def content(warehouse: Warehouse, table: str) -> list[tuple[str, int]]:
    return [(str(day)[5:], n) for day, n in warehouse.rows(f"select d, n from {{d}}.{table} order by d, n")]


def test_a_query_replaces_its_partition_alone(warehouse: Warehouse) -> None:
    make(warehouse, "t")
    select = "select cast(@n as string) as id, @n as n, date '{}' as d"
    for n, day, disposition in [(1, 20, TRUNCATE), (2, 21, TRUNCATE), (3, 21, TRUNCATE), (4, 20, "WRITE_APPEND")]:
        job = warehouse.run(select.format(f"2026-11-{day}"), f"t$202611{day}", disposition, n=n)
        assert n in [row.n for row in job.result()]
    assert content(warehouse, "t") == [("11-20", 1), ("11-20", 4), ("11-21", 3)]
    with pytest.raises(BadRequest, match="belong to different partitions"):
        warehouse.run(select.format("2026-11-01"), "t$20261120", TRUNCATE, n=9)
    with pytest.raises(Conflict):
        warehouse.run(select.format("2026-11-20"), "t$20261120", "WRITE_EMPTY", n=9)
    with pytest.raises(BadRequest, match="NOT NULL constraint failed"):
        warehouse.run("select cast(null as string) as id, date '2026-11-20' as d, 1 as n", "t$20261120", TRUNCATE)
    with pytest.raises(BadRequest, match="cannot include decorator"):
        warehouse.rows("select * from {d}.`t$20261120`")
    warehouse.run("select * from {d}.t where false", "t$20261121", TRUNCATE)
    assert content(warehouse, "t") == [("11-20", 1), ("11-20", 4)]
    assert warehouse.schema("t")[0] == ("id", "STRING", "REQUIRED", "The key.")
    assert [table.table_id for table in warehouse.client.list_tables(warehouse.dataset)] == ["t"]


def test_copy_onto_a_partition(warehouse: Warehouse) -> None:
    make(warehouse, "t")
    fill(warehouse, "t", "2026-11-20", "2026-11-21")
    make(warehouse, "stage")
    fill(warehouse, "stage", "2026-11-21", n=7)
    for source in ("stage$20261121", "stage"):
        copy(warehouse, source, "t$20261121")
        assert content(warehouse, "t") == [("11-20", 1), ("11-21", 7)]
    assert warehouse.schema("t")[:2] == [("id", "STRING", "REQUIRED", "The key."), ("d", "DATE", "REQUIRED", None)]
    fill(warehouse, "stage", "2026-11-20", n=8)
    with pytest.raises(BadRequest, match="belong to different partitions"):
        copy(warehouse, "stage", "t$20261121")
    with pytest.raises(Conflict):
        copy(warehouse, "stage$20261121", "t$20261121", "WRITE_EMPTY")
    copy(warehouse, "stage$20261120", "t$20261120", "WRITE_APPEND")
    assert content(warehouse, "t") == [("11-20", 1), ("11-20", 8), ("11-21", 7)]
    copy(warehouse, "stage$20261119", "t$20261120")  # an empty one empties
    assert content(warehouse, "t") == [("11-21", 7)]


@pytest.mark.parametrize(
    ("layout", "schema", "message"),
    [
        ({"field": None}, SCHEMA, "Incompatible table partitioning specification"),
        ({"unit": "MONTH"}, SCHEMA, "Incompatible table partitioning specification"),
        ({}, [Field("id", "STRING"), *SCHEMA[1:]], "Field id has changed mode from REQUIRED to NULLABLE"),
        ({}, [*SCHEMA[:2], Field("n", "STRING")], "Field n has changed type from INTEGER to STRING"),
        ({}, SCHEMA[:2], "Field n is missing in new schema"),
        ({}, [*SCHEMA, Field("more", "STRING")], "Cannot add fields"),
    ],
)
def test_copy_refuses_another_shape(warehouse: Warehouse, layout: Any, schema: Any, message: str) -> None:
    make(warehouse, "t")
    make(warehouse, "stage", schema=schema, **layout)
    with pytest.raises(BadRequest, match=message):
        copy(warehouse, "stage", "t$20261121")


def test_a_whole_copy_keeps_the_schema_and_the_layout(warehouse: Warehouse) -> None:
    make(warehouse, "t")
    fill(warehouse, "t", "2026-11-20")
    for _ in range(2):
        copy(warehouse, "t", "again")
        assert warehouse.schema("again") == warehouse.schema("t")
        assert warehouse.client.get_table(warehouse.name("again")).time_partitioning.field == "d"


def test_rows_of_a_partition_are_read_extracted_and_deleted(warehouse: Warehouse) -> None:
    make(warehouse, "t")
    fill(warehouse, "t", "2026-11-20", "2026-11-21")
    client, name = warehouse.client, warehouse.name("t$20261121")
    assert [row.id for row in client.list_rows(name, selected_fields=SCHEMA)] == ["2026-11-21"]
    assert (client.get_table(name).num_rows, client.get_table(warehouse.name("t")).num_rows) == (1, 2)
    client.extract_table(name, warehouse.uri("out.csv")).result()
    text = warehouse.lake.bucket(BUCKET).blob(f"{warehouse.folder}/out.csv").download_as_bytes()
    assert text.decode().splitlines()[1:] == ["2026-11-21,2026-11-21,1"]
    with pytest.raises(BadRequest, match="decorators cannot be used"):
        client.insert_rows_json(name, [{"id": "x", "d": "2026-11-20"}])
    client.delete_table(name)
    assert content(warehouse, "t") == [("11-20", 1)]
    for missing in ("none$20261121", "t$202611"):
        with pytest.raises((BadRequest, NotFound)):
            client.delete_table(warehouse.name(missing))


def test_load_into_a_partition(warehouse: Warehouse) -> None:
    make(warehouse, "t")
    fill(warehouse, "t", "2026-11-20")
    warehouse.put("x.json", lines({"id": "a", "n": 7, "d": "2026-11-23"}))
    options: dict[str, Any] = {"source_format": "NEWLINE_DELIMITED_JSON", "write_disposition": TRUNCATE}
    config = bigquery.LoadJobConfig(schema=SCHEMA, **options)
    for _ in range(2):
        job = warehouse.client.load_table_from_uri(
            warehouse.uri("x.json"), warehouse.name("t$20261123"), job_config=config
        )
        job.result()
        assert job.output_rows == 1
    assert content(warehouse, "t") == [("11-20", 1), ("11-23", 7)]
    assert warehouse.schema("t")[0][2] == "REQUIRED"
    with pytest.raises(BadRequest, match="belong to different partitions"):
        warehouse.client.load_table_from_uri(
            warehouse.uri("x.json"), warehouse.name("t$20261122"), job_config=config
        ).result()


@pytest.mark.parametrize(
    ("unit", "moment", "decorator"),
    [
        ("HOUR", "2026-11-30 23:59:59", "2026113023"),
        ("MONTH", "2026-11-30 23:59:59", "202611"),
        ("YEAR", "2026-01-01 00:00:00", "2026"),
    ],
)
def test_other_units(warehouse: Warehouse, unit: str, moment: str, decorator: str) -> None:
    make(warehouse, "t", "at", unit, [Field("n", "INT64"), Field("at", "TIMESTAMP")])
    for n in (1, 2):
        warehouse.run(f"select {n} as n, timestamp '{moment}+00' as at", f"t${decorator}", TRUNCATE)
    assert warehouse.rows("select n from {d}.t") == [(2,)]
    with pytest.raises(BadRequest, match="Invalid partition decorator"):
        warehouse.run("select 1 as n, current_timestamp() as at", "t$20261130", TRUNCATE)


def test_ingestion_time_and_tables_made_by_a_decorated_job(warehouse: Warehouse) -> None:
    warehouse.rows("create table {d}.t (n int64) partition by _PARTITIONDATE")
    for n in (1, 2):
        warehouse.run(f"select {n} as n", "t$20261120", TRUNCATE)
    assert warehouse.rows("select n, cast(_PARTITIONDATE as string) from {d}.t") == [(2, "2026-11-20")]
    config = bigquery.QueryJobConfig(destination=warehouse.name("made$20261120"), write_disposition=TRUNCATE)
    config.time_partitioning = bigquery.TimePartitioning(field="d")
    warehouse.client.query("select 1 as n, date '2026-11-20' as d", job_config=config).result()
    assert warehouse.client.get_table(warehouse.name("made")).time_partitioning.field == "d"
    assert content(warehouse, "made") == [("11-20", 1)]
