"""External tables: what BigQuery does with them, the warehouse does. The gate for every version bump."""

import datetime
import gzip
from decimal import Decimal

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery

from tests.support.warehouse_client import PROJECT, Field, Row, Warehouse, lines, parquet

pytestmark = pytest.mark.servers

FRIDAY, SATURDAY = datetime.date(2026, 11, 20), datetime.date(2026, 11, 21)
RAW = """
    create or replace external table {d}.ext (line string)
    with partition columns (run_date date, attempt string)
    options (format = 'CSV', field_delimiter = '\\x01', quote = '', description = 'As it came.',
             uris = ['{uri}/raw/*'], hive_partition_uri_prefix = '{uri}/raw')
"""


def put_sales(warehouse: Warehouse, *days: str) -> None:
    for number, day in enumerate(days):
        warehouse.put(f"sales/run_date={day}/part-0.parquet", parquet(id=[number * 2, number * 2 + 1], v=[1.5, 2.5]))


@pytest.mark.parametrize(
    ("mode", "prefix", "kind"),
    [("AUTO", "sales", "DATE"), ("STRINGS", "sales", "STRING"), ("CUSTOM", "sales/{run_date:DATE}", "DATE")],
)
def test_hive_partitions_are_columns_and_new_files_are_seen(
    warehouse: Warehouse, mode: str, prefix: str, kind: str
) -> None:
    put_sales(warehouse, "2026-11-20", "2026-11-21")
    table = warehouse.external("ext", "PARQUET", "sales/*", hive_partitioning=warehouse.hive(mode, prefix))
    assert (table.table_type, table.external_data_configuration.source_format) == ("EXTERNAL", "PARQUET")
    assert [column[:2] for column in warehouse.schema("ext")] == [("id", "INTEGER"), ("v", "FLOAT"), ("run_date", kind)]
    literal = "'2026-11-21'" if mode == "STRINGS" else "date '2026-11-21'"
    assert warehouse.rows(f"select id from {{d}}.ext where run_date = {literal} order by 1") == [(2,), (3,)]
    put_sales(warehouse, "2026-11-20", "2026-11-21", "2026-11-22")
    assert warehouse.rows("select count(*), count(distinct run_date) from {d}.ext") == [(6, 3)]
    warehouse.remove("sales/run_date=2026-11-20/part-0.parquet")
    warehouse.put("sales/run_date=2026-11-21/part-0.parquet", parquet(id=[7, 8], v=[1.5, 2.5]))  # of the same size
    assert warehouse.rows("select sum(id) from {d}.ext") == [(7 + 8 + 4 + 5,)]


def test_raw_lines(warehouse: Warehouse) -> None:
    texts = ['{"a": 1, "b": "x, \\"q\\""}', "  leading, \"quote\" 'x' \\n tab\there", "{bad", "", "é ü 漢", "#a;b|c"]
    warehouse.put("raw/run_date=2026-11-20/attempt=a/x.jsonl.gz", gzip.compress("\n".join([*texts, ""]).encode()))
    warehouse.put("raw/run_date=2026-11-21/attempt=b/y.jsonl", "one\r\ntwo\r\n" + "v" * 5_000_000)
    warehouse.put("raw/run_date=1970-01-01/attempt=c/none.jsonl.gz", gzip.compress(b""))
    warehouse.put("raw/run_date=1970-01-01/attempt=c/none.jsonl", "")
    job = warehouse.run(RAW)
    assert (job.statement_type, job.ddl_operation_performed) == ("CREATE_EXTERNAL_TABLE", "CREATE")
    assert warehouse.run(RAW).ddl_operation_performed == "REPLACE"
    found = warehouse.rows("select line from {d}.ext where run_date = @day", day=FRIDAY)
    assert {row[0] for row in found} == {text or None for text in texts}  # a blank line is NULL
    parsed = "json_value(safe.parse_json(line), '$.b')"
    assert warehouse.rows(f"select {parsed} from {{d}}.ext where {parsed} is not null") == [('x, "q"',)]
    query = "select attempt, length(line), _file_name from {d}.ext where run_date = @day order by 2, line"
    file = warehouse.uri("raw/run_date=2026-11-21/attempt=b/y.jsonl")
    assert warehouse.rows(query, day=SATURDAY) == [("b", 3, file), ("b", 3, file), ("b", 5_000_000, file)]
    assert len(warehouse.rows("select * from {d}.ext limit 1")[0]) == 3
    assert warehouse.client.get_table(warehouse.name("ext")).description == "As it came."
    warehouse.put("raw/run_date=2026-11-22/attempt=d/z.jsonl", b"ok\n\xff\xfe\n")
    with pytest.raises(BadRequest, match=r"(?s)Error while reading table.*z\.jsonl"):
        warehouse.rows("select * from {d}.ext")
    options = bigquery.CSVOptions()
    options.field_delimiter, options.quote_character = "\x01", ""
    line = [Field("line", "STRING")]
    warehouse.external("lines", "CSV", "raw/run_date=2026-11-20/*", fields=line, csv_options=options)
    assert warehouse.rows("select count(*) from {d}.lines") == [(6,)]


def test_csv_with_types(warehouse: Warehouse) -> None:
    head = "id;name;day;amount;ok;at\n"
    warehouse.put("c/1.csv", head + '1;"a;""b""\nc";2026-11-20;1.50;true;2026-11-20 01:02:03\n')
    warehouse.put("c/2.csv", head + '2;NA;NA;NA;false;2026-11-20T01:02:03Z\n3;"";2026-11-21;2;NA;NA\n')
    columns = "id int64, name string, day date, amount numeric, ok bool, at timestamp"
    options = "format = 'CSV', skip_leading_rows = 1, field_delimiter = ';', null_marker = 'NA'"
    create = f"create or replace external table {{d}}.ext ({columns}) options (uris = ['{{uri}}/c/*.csv'], {options}"
    warehouse.rows(f"{create}, allow_quoted_newlines = true)")
    at = datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=datetime.UTC)
    assert warehouse.rows("select * from {d}.ext order by id") == [
        (1, 'a;"b"\nc', FRIDAY, Decimal("1.5"), True, at),
        (2, None, None, None, False, at),
        (3, "", SATURDAY, Decimal(2), None, None),
    ]
    warehouse.put("c/3.csv", head + "1.5;x;NA;NA;NA;NA\n4;y;NA;NA;NA;NA\n")
    with pytest.raises(BadRequest, match=r"Could not parse '1.5' as INT64 for field id \(position 0\).*3\.csv"):
        warehouse.rows("select * from {d}.ext")
    warehouse.rows(f"{create}, max_bad_records = 1)")
    assert warehouse.rows("select count(*), max(id) from {d}.ext") == [(4, 4)]
    warehouse.remove("c/3.csv")
    warehouse.put("c/4.csv", head + "5;z\n")
    warehouse.rows(f"{create})")
    with pytest.raises(BadRequest, match=r"Error while reading table.*Expected Number of Columns.*4\.csv"):
        warehouse.rows("select * from {d}.ext")
    warehouse.rows(f"{create}, allow_jagged_rows = true)")
    assert warehouse.rows("select * from {d}.ext where id = 5") == [(5, "z", None, None, None, None)]
    with pytest.raises(BadRequest, match="Unknown option: nonsense"):
        warehouse.rows(f"{create}, nonsense = 1)")


def test_parquet_records_and_columns_that_come_and_go(warehouse: Warehouse) -> None:
    item = pa.struct([("sku", pa.string()), ("price", pa.decimal128(12, 2))])
    noted = pa.struct([("sku", pa.string()), ("price", pa.decimal128(12, 2)), ("note", pa.string())])
    items = [[{"sku": "x", "price": Decimal("1.50")}, {"sku": "y", "price": None}], []]
    warehouse.put("p/1.parquet", parquet(id=["a", "b"], items=pa.array(items, pa.list_(item)), extra=[1, 2]))
    warehouse.put("p/q/2.parquet", parquet(id=["c"], items=pa.array([[{"sku": "z", "note": "n"}]], pa.list_(noted))))
    fields = [
        Field("id", "STRING", description="The key."),
        Field("items", "RECORD", "REPEATED", fields=[Field("sku", "STRING"), Field("price", "NUMERIC")]),
        Field("address", "RECORD", fields=[Field("city", "STRING")]),
        Field("tags", "STRING", "REPEATED"),
    ]
    options = bigquery.ParquetOptions()
    options.enable_list_inference = True
    table = warehouse.external("ext", "PARQUET", "p/*", fields=fields, parquet_options=options)
    assert table.external_data_configuration.parquet_options.enable_list_inference
    assert warehouse.schema("ext")[0] == ("id", "STRING", "NULLABLE", "The key.")
    records = [{"sku": "x", "price": Decimal("1.5")}, {"sku": "y", "price": None}]
    assert warehouse.rows("select * from {d}.ext order by id") == [
        ("a", records, None, []),
        ("b", [], None, []),
        ("c", [{"sku": "z", "price": None}], None, []),
    ]
    assert warehouse.rows("select id, i.price * 2 from {d}.ext, unnest(items) i where i.sku = 'x'") == [("a", 3)]
    ddl = "create external table {d}.inferred options (format = 'PARQUET', uris = ['{uri}/p/1*'], enable_list_inference"
    warehouse.rows(f"{ddl} = true)")
    inner = [("sku", "STRING", "NULLABLE", None), ("price", "NUMERIC", "NULLABLE", None)]
    assert warehouse.schema("inferred")[1] == ("items", "RECORD", "REPEATED", None, inner)


@pytest.mark.parametrize("damage", [b"", b"no parquet", b"cut", b"garbled"])
def test_a_corrupt_parquet_file_is_named(warehouse: Warehouse, damage: bytes) -> None:
    good = parquet(id=list(range(100)), text=["some words to compress"] * 100)
    shapes = {b"cut": good[:-100], b"garbled": good[:20] + b"\0" * 60 + good[80:]}
    warehouse.put("x/good.parquet", good)
    warehouse.external("ext", "PARQUET", "x/*", fields=[Field("id", "INTEGER"), Field("text", "STRING")])
    warehouse.put("x/rotten.parquet", shapes.get(damage, damage))
    with pytest.raises(BadRequest, match=r"Error while reading table.*rotten\.parquet"):
        warehouse.rows("select id, text from {d}.ext")


def test_json(warehouse: Warehouse) -> None:
    first = {"id": 1, "at": "2026-11-20T01:02:03Z", "tags": ["a"], "o": {"x": 1, "b": "YWI="}, "n": "1.25"}
    warehouse.put("j/2026/a.json", lines(first))
    warehouse.put("j/2026/b.json.gz", gzip.compress(lines({"id": 2, "at": None}).encode()))
    nested = [Field("x", "INTEGER"), Field("b", "BYTES")]
    fields = [Field("id", "INTEGER"), Field("at", "TIMESTAMP"), Field("tags", "STRING", "REPEATED")]
    fields += [Field("o", "RECORD", fields=nested), Field("n", "NUMERIC")]
    warehouse.external("ext", "NEWLINE_DELIMITED_JSON", "j/*", fields=fields)
    at = datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=datetime.UTC)
    expected: list[Row] = [(1, at, ["a"], {"x": 1, "b": b"ab"}, Decimal("1.25")), (2, None, [], None, None)]
    assert warehouse.rows("select * from {d}.ext order by id") == expected
    warehouse.external("found", "NEWLINE_DELIMITED_JSON", "j/*")
    assert [column[1] for column in warehouse.schema("found")][:2] == ["INTEGER", "TIMESTAMP"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lines({"id": 1}, {"id": 2, "more": 3}), "No such field: more"),
        (lines({"id": "zz"}), "Could not convert value"),
        (lines({"id": 1.5}), "Could not convert value"),
        ('{"id": 1}\n{broken\n', "Malformed JSON"),
    ],
)
def test_bad_json(warehouse: Warehouse, text: str, message: str) -> None:
    warehouse.put("j.json", text)
    fields = [Field("id", "INTEGER")]
    warehouse.external("strict", "NEWLINE_DELIMITED_JSON", "j.json", fields=fields)
    with pytest.raises(BadRequest, match=rf"Error while reading table.*{message}.*j\.json"):
        warehouse.rows("select sum(id) from {d}.strict")
    lax = {"ignore_unknown_values": True, "max_bad_records": 5}
    warehouse.external("lax", "NEWLINE_DELIMITED_JSON", "j.json", fields=fields, **lax)
    assert len(warehouse.rows("select sum(id) from {d}.lax")) == 1


def test_everything_that_reads(warehouse: Warehouse) -> None:
    put_sales(warehouse, "2026-11-20", "2026-11-21")
    warehouse.external("ext", "PARQUET", "sales/*", hive_partitioning=warehouse.hive("AUTO", "sales"))
    cte = "with x as (select * from {d}.ext as t where t.run_date = @day) select count(*), max(a.v) from x a"
    assert warehouse.rows(f"{cte} join {{d}}.ext b using (id)", day=SATURDAY) == [(2, 2.5)]
    warehouse.rows("create table {d}.native partition by run_date as select * from {d}.ext")
    inserted = "insert {d}.native (id, v, run_date) select id, v, run_date from {d}.ext where run_date = @day"
    assert warehouse.run(inserted, day=SATURDAY).num_dml_affected_rows == 2
    merged = "merge {d}.native t using (select * from {d}.ext) s on t.id = s.id and t.run_date = s.run_date "
    put_sales(warehouse, "2026-11-20", "2026-11-21", "2026-11-22")
    assert warehouse.run(merged + "when not matched then insert row").num_dml_affected_rows == 2
    warehouse.run("select * from {d}.ext", "out", "WRITE_TRUNCATE")
    assert warehouse.client.get_table(warehouse.name("out")).num_rows == 6
    dry = bigquery.QueryJobConfig(dry_run=True)
    fields = warehouse.client.query(f"select * from {warehouse.dataset}.ext", job_config=dry).schema
    assert [field.field_type for field in fields or []] == ["INTEGER", "FLOAT", "DATE"]


def test_a_table_that_is_one_jobs_alone(warehouse: Warehouse) -> None:
    put_sales(warehouse, "2026-11-20", "2026-11-21")
    config = bigquery.ExternalConfig("PARQUET")
    config.source_uris, config.schema = [warehouse.uri("sales/*")], [Field("id", "INTEGER"), Field("v", "FLOAT")]

    def run(sql: str) -> list[Row]:
        given = {"default_dataset": f"{PROJECT}.{warehouse.dataset}", "table_definitions": {"Landed": config}}
        found = warehouse.client.query_and_wait(sql, job_config=bigquery.QueryJobConfig(**given))
        return [tuple(row.values()) for row in found]

    warehouse.rows("create table {d}.Landed as select 9 as id")  # not meant where the job has one of that name
    assert run("select l.id, n.v from `Landed` as l join (select id, v from Landed) as n using (id) where id > 2") == [
        (3, 2.5)
    ]
    assert run("select distinct _FILE_NAME from Landed limit 1")[0][0].startswith(warehouse.uri("sales/run_date="))
    run("create table native as select *, 'old' as s from Landed")
    run("delete native where id = 3")
    replace = "merge native t using Landed s on false when not matched by source and t.id in (0, 1) then delete"
    run(f"{replace} when not matched then insert (id, v) values (id, v)")
    run("merge native t using Landed s on t.id = s.id and t.s is not null when matched then update set s = 'new'")
    assert warehouse.rows("select id, s from {d}.native order by 1, 2") == [
        (0, None),
        (1, None),
        (2, None),
        (2, "new"),
        (3, None),
    ]
    assert warehouse.rows("select * from {d}.Landed") == [(9,)]
    with pytest.raises(BadRequest, match="DML over external table Landed"):
        run("delete Landed where true")
    warehouse.put("sales/run_date=2026-11-22/part-0.parquet", b"no Parquet")
    with pytest.raises(BadRequest, match=r"reading table: Landed, error message: .*run_date=2026-11-22"):
        run("select count(v) from Landed")
    config.source_uris = [warehouse.uri("none/*")]
    with pytest.raises(BadRequest, match="matched no files"):
        run("select * from Landed")


def test_views_over_views(warehouse: Warehouse) -> None:
    put_sales(warehouse, "2026-11-20")
    ddl = "options (format = 'PARQUET', uris = ['{uri}/sales/*'], hive_partition_uri_prefix = '{uri}/sales')"
    warehouse.rows(f"create external table {{d}}.ext with partition columns (run_date date) {ddl}")
    warehouse.rows("create view {d}.v1 options (description = 'One.') as select e.*, e._FILE_NAME as f from {d}.ext e")
    view = bigquery.Table(warehouse.name("v2"))
    view.view_query = f"select * except (v) from `{warehouse.dataset}.v1` join {warehouse.dataset}.newest using (id)"
    warehouse.rows("create table {d}.newest as select 1 as id union all select 2")
    warehouse.client.create_table(view)
    assert [column[0] for column in warehouse.schema("v2")] == ["id", "run_date", "f"]
    file = warehouse.uri("sales/run_date=2026-11-20/part-0.parquet")
    assert warehouse.rows("select * from {d}.v2") == [(1, FRIDAY, file)]
    put_sales(warehouse, "2026-11-20", "2026-11-21")
    assert warehouse.rows("with v1 as (select id from {d}.v2) select count(*) from v1") == [(2,)]
    warehouse.rows("create or replace view {d}.v1 options (description = 'Two.') as select *, 'x' as f from {d}.ext")
    assert warehouse.rows("select distinct f from {d}.v2") == [("x",)]
    assert warehouse.client.get_table(warehouse.name("v1")).description == "Two."


def test_what_bigquery_refuses(warehouse: Warehouse) -> None:
    fields = [Field("id", "INTEGER")]
    warehouse.external("ext", "PARQUET", "none/*.parquet", fields=fields)
    with pytest.raises(BadRequest, match="matched no files"):
        warehouse.rows("select * from {d}.ext")
    warehouse.external("one", "PARQUET", "none.parquet", fields=fields)
    with pytest.raises(NotFound, match="Not found: Files"):
        warehouse.rows("select * from {d}.one")
    with pytest.raises(BadRequest, match="matched no files"):
        warehouse.external("unknown", "PARQUET", "none/*")
    for dml in ("delete {d}.ext where true", "merge {d}.ext t using {d}.one s on false when matched then delete"):
        with pytest.raises(BadRequest, match="DML over external table"):
            warehouse.rows(dml)
    client, name = warehouse.client, warehouse.name("ext")
    with pytest.raises(BadRequest, match="EXTERNAL"):
        list(client.list_rows(name, selected_fields=fields))
    with pytest.raises(BadRequest, match="EXTERNAL"):
        client.copy_table(name, warehouse.name("copy")).result()
    with pytest.raises(BadRequest, match="EXTERNAL"):
        client.extract_table(name, warehouse.uri("x.csv")).result()
    with pytest.raises(BadRequest, match="EXTERNAL"):
        warehouse.run("select 1 as id", "ext", "WRITE_TRUNCATE")
    with pytest.raises(BadRequest, match="EXTERNAL"):
        client.insert_rows_json(name, [{"id": 1}])
    with pytest.raises(Conflict):
        warehouse.external("ext", "PARQUET", "none/*.parquet", fields=fields)
    with pytest.raises(BadRequest, match="not an external table"):
        warehouse.rows("create table {d}.native (x int64); drop external table {d}.native")


def test_ddl_of_existing_tables(warehouse: Warehouse) -> None:
    put_sales(warehouse, "2026-11-20", "2026-11-21")
    options = "options (format = 'PARQUET', uris = ['{uri}/sales/*'], hive_partition_uri_prefix = '{uri}/sales'"
    create = f"external table {{d}}.ext with partition columns {options}, require_hive_partition_filter = true)"
    warehouse.rows(f"create {create}")
    with pytest.raises(BadRequest, match="without a filter over column"):
        warehouse.rows("select * from {d}.ext")
    assert warehouse.rows("select count(*) from {d}.ext where run_date = '2026-11-20'") == [(2,)]
    with pytest.raises(Conflict):
        warehouse.rows(f"create {create}")
    warehouse.rows(f"create {create.replace('table', 'table if not exists')}")
    found = warehouse.rows("select table_type from {d}.INFORMATION_SCHEMA.TABLES where table_name = 'ext'")
    assert found == [("EXTERNAL",)]
    assert [table.table_type for table in warehouse.client.list_tables(warehouse.dataset)] == ["EXTERNAL"]
    warehouse.rows("drop external table {d}.ext")
    warehouse.rows("drop external table if exists {d}.ext")
    with pytest.raises(NotFound):
        warehouse.client.get_table(warehouse.name("ext"))


def test_load_jobs_read_across_folders(warehouse: Warehouse) -> None:
    put_sales(warehouse, "2026-11-20", "2026-11-21")
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
    for path, count in [("*", 4), ("sales/*21/*.parquet", 2)]:
        config.hive_partitioning = warehouse.hive("AUTO", "sales")
        job = warehouse.client.load_table_from_uri(warehouse.uri(path), warehouse.name("loaded"), job_config=config)
        job.result()
        assert job.output_rows == count
    with pytest.raises(NotFound):
        warehouse.client.load_table_from_uri(warehouse.uri("none/*"), warehouse.name("x"), job_config=config).result()
