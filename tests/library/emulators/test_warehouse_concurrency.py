"""Tables made while others are written to: BigQuery knows no conflict between different tables."""

import io
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from tests.support.warehouse_client import Field, Warehouse

pytestmark = pytest.mark.servers

ROUNDS = 15
REQUIRED = [Field("n", "INT64", mode="REQUIRED")]


def test_tables_are_made_while_rows_are_written(warehouse: Warehouse) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"n": [1, 2]}), out)
    warehouse.put("two.parquet", out.getvalue())
    warehouse.run("create table {d}.log (n int64)")

    def load(table: str) -> None:
        config = bigquery.LoadJobConfig(
            schema=REQUIRED, source_format="PARQUET", write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE
        )
        for _ in range(ROUNDS):
            uri = warehouse.uri("two.parquet")
            warehouse.client.load_table_from_uri(uri, warehouse.name(table), job_config=config).result()

    def make(table: str) -> None:
        for _ in range(ROUNDS):
            warehouse.client.create_table(bigquery.Table(warehouse.name(table), schema=REQUIRED))
            warehouse.client.delete_table(warehouse.name(table))

    def insert() -> None:
        for number in range(ROUNDS):
            warehouse.run(f"insert into {{d}}.log (n) values ({number})")

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(load, "a"), pool.submit(load, "b"), pool.submit(make, "c"), pool.submit(insert)]:
            done.result()
    assert warehouse.rows("select count(*) from {d}.log") == [(ROUNDS,)]
    for table in ("a", "b"):
        assert warehouse.rows(f"select n from {{d}}.{table} order by n") == [(1,), (2,)]
        assert warehouse.schema(table) == [("n", "INTEGER", "REQUIRED", None)]
