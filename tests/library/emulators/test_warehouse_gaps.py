"""What upstream gets wrong of GoogleSQL and of tables, mended; and what the project leans on, kept right."""

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery

from tests.support.warehouse_client import Field, Warehouse

pytestmark = pytest.mark.servers

DAY = datetime.date(2026, 11, 20)
AT = datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=datetime.UTC)
EXPRESSIONS: dict[str, Any] = {
    "safe_cast('1.5' as int64)": None,
    "safe_cast('1e3' as int64)": None,
    "safe_cast(' -12 ' as int64)": -12,
    "safe_cast(json_value(parse_json('{\"a\": \"1.5\"}'), '$.a') as int64)": None,
    "safe_cast(1.5 as int64)": 2,
    "(select array_agg(safe_cast(x as int64) ignore nulls) from unnest(['7', '1.5', 'x', '+4', null]) x)": [7, 4],
    "safe_cast('yes' as bool)": None,
    "safe_cast('1' as bool)": None,
    "safe_cast('TRUE' as bool)": True,
    "cast('false' as bool)": False,
    "cast(1 as bool)": True,
    "safe.parse_timestamp('%Y-%m-%d', 'x')": None,
    "safe.parse_timestamp('%d/%m/%Y %H:%M:%S', '20/11/2026 01:02:03')": AT,
    "safe.parse_timestamp('%Y-%m-%d %H:%M:%S', '2026-11-20 03:02:03', 'Europe/Helsinki')": AT,
    "safe.parse_timestamp('%Y-%m-%dT%H:%M:%E*S%Ez', '2026-11-20T02:02:03.5+01:00')": AT.replace(microsecond=500000),
    "parse_timestamp('%Y-%m-%dT%H:%M:%E*SZ', '2026-11-20T01:02:03Z')": AT,
    "safe.parse_date('%d/%m/%Y', '31/02/2026')": None,
    "safe.timestamp_millis(1795136523000)": AT,
    "numeric '1.123456789' * numeric '1.123456789'": Decimal("1.262155157"),
    "numeric '-0.000000001' * numeric '0.5'": Decimal("-0.000000001"),
    "cast(numeric '1.50' * 2 as string)": "3",
    "farm_fingerprint('abc')": 2640714258260161385,
    "to_hex(md5('abc'))": "900150983cd24fb0d6963f7d28e17f72",
    "substr(to_hex(sha256('abc')), 1, 8)": "ba7816bf",
    "json_value(safe.parse_json('{\"a\": 1}'), '$.a')": "1",
    "safe.parse_json('{bad')": None,
    "json_query(parse_json('{\"a\": {\"b\": [1, 2]}}'), '$.a')": {"b": [1, 2]},
    'lax_int64(parse_json(\'{"a": "12"}\').a)': 12,
    "timestamp_trunc(timestamp '2026-11-20 01:02:03.9+00', second)": AT,
    "date(timestamp '2026-11-20 23:59:59+00', 'UTC')": DAY,
    "date_diff(date '2026-11-20', date '2026-10-31', month)": 1,
    "(select approx_quantiles(x, 2) from unnest([1, 2, 3]) x)": [1, 2, 3],
    "(select array_agg(struct(x as a) order by x) from unnest([2, 1]) x)": [{"a": 1}, {"a": 2}],
    "(select sum(e.a) from unnest([struct(1 as a), struct(2)]) e)": 3,
}


def test_expressions(warehouse: Warehouse) -> None:
    [found] = warehouse.rows("select " + ", ".join(f"{text} as c{at}" for at, text in enumerate(EXPRESSIONS)))
    assert dict(zip(EXPRESSIONS, found, strict=True)) == EXPRESSIONS


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("cast('1.5' as int64)", "Bad int64 value: 1.5"),
        ("cast(x as bool) from unnest(['yes']) x", "Bad bool value: yes"),
        ("parse_timestamp('%Y-%m-%d', 'x')", "x"),
        ("safe.parse_timestamp('%Y', error('an argument is not covered'))", "an argument is not covered"),
    ],
)
def test_what_fails(warehouse: Warehouse, expression: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        warehouse.rows(f"select {expression}")


def test_hash_of_a_row(warehouse: Warehouse) -> None:
    row = (
        "select 'a' as a, date '2026-11-20' as d, timestamp '2026-11-20 01:02:03.4+00' as t, numeric '1.50' as n, "
        "[1, 2] as l, struct(1.0 as f, cast(null as string) as z) as s, cast(null as int64) as z, [struct(1 as q)] as q"
    )
    warehouse.rows(f"create table {{d}}.t as {row}")
    hashed = "farm_fingerprint(to_json_string(struct(a, d, t, n, l, s, z, q)))"
    query = f"select {hashed} from {{d}}.t union all select {hashed} from ({row})"
    assert len(set(warehouse.rows(query))) == 1
    doubles = "select x from unnest([1, 1, 2]) x where true qualify row_number() over (partition by x order by x) = 1"
    assert sorted(warehouse.rows(doubles)) == [(1,), (2,)]


CTAS = """
    create or replace table {d}.t (
        id string not null options (description = 'The key.'), d date not null,
        n numeric options (description = "It's."),
        items array<struct<sku string options (description = 'In it.'), qty int64>>, geo struct<city string>)
    partition by d cluster by id
    options (description = 'Made anew.', labels = [('a', 'b')],
             expiration_timestamp = timestamp '2096-12-01 00:00:00+00')
    as select 'x' as id, @run_date as d, numeric '1.5' as n, [struct('s' as sku, 1 as qty)] as items,
              struct('c' as city) as geo
    from unnest([1, 2]) where @since <= @run_date
"""


def test_create_or_replace_with_a_schema_and_parameters(warehouse: Warehouse) -> None:
    for operation in ("CREATE", "REPLACE"):
        job = warehouse.run(CTAS, run_date=DAY, since=DAY)
        assert (job.statement_type, job.ddl_operation_performed) == ("CREATE_TABLE_AS_SELECT", operation)
    table = warehouse.client.get_table(warehouse.name("t"))
    assert (table.time_partitioning.field, table.clustering_fields, table.num_rows) == ("d", ["id"], 2)
    assert (table.description, table.labels, table.expires.year) == ("Made anew.", {"a": "b"}, 2096)
    items = [("sku", "STRING", "NULLABLE", "In it."), ("qty", "INTEGER", "NULLABLE", None)]
    assert warehouse.schema("t") == [
        ("id", "STRING", "REQUIRED", "The key."),
        ("d", "DATE", "REQUIRED", None),
        ("n", "NUMERIC", "NULLABLE", "It's."),
        ("items", "RECORD", "REPEATED", None, items),
        ("geo", "RECORD", "NULLABLE", None, [("city", "STRING", "NULLABLE", None)]),
    ]
    with pytest.raises(BadRequest):
        warehouse.rows("insert {d}.t (id, d) values (null, date '2026-11-20')")


def test_a_rebuild_that_fails_leaves_the_old_table(warehouse: Warehouse) -> None:
    create = "create or replace table {d}.t (n int64 not null options (description = 'N.')) as select"
    warehouse.rows(f"{create} 1 as n")
    for select in ("error('stop') as n", "cast(null as int64) as n", "n from {d}.none"):
        with pytest.raises((BadRequest, NotFound)):
            warehouse.rows(f"{create} {select}")
        assert warehouse.rows("select n from {d}.t") == [(1,)]
    assert warehouse.run(f"{create} n + @more from {{d}}.t", more=1).num_dml_affected_rows == 1  # it reads itself
    assert warehouse.rows("select n from {d}.t") == [(2,)]
    assert warehouse.schema("t") == [("n", "INTEGER", "REQUIRED", "N.")]
    dry = bigquery.QueryJobConfig(dry_run=True)
    warehouse.client.query(f"{create} 3 as n".replace("{d}", warehouse.dataset), job_config=dry)
    assert warehouse.rows("select n from {d}.t") == [(2,)]


def test_columns_are_added_by_the_api_and_by_ddl(warehouse: Warehouse) -> None:
    client = warehouse.client
    parts = [Field("x", "INT64", "REQUIRED", description="X."), Field("y", "TIMESTAMP")]
    first = [Field("id", "STRING", "REQUIRED", description="The key."), Field("d", "DATE", "REQUIRED")]
    resource = bigquery.Table(warehouse.name("t"), schema=[*first, Field("r", "RECORD", "REPEATED", fields=parts)])
    resource.time_partitioning, resource.clustering_fields = bigquery.TimePartitioning(field="d"), ["id"]
    resource.description = "Grows."
    table = client.create_table(resource)
    before = warehouse.schema("t")
    assert before[2] == (
        "r",
        "RECORD",
        "REPEATED",
        None,
        [("x", "INTEGER", "REQUIRED", "X."), ("y", "TIMESTAMP", "NULLABLE", None)],
    )
    more = [*parts, Field("z", "NUMERIC", description="Z.")]
    table.schema = [*first, Field("r", "RECORD", "REPEATED", fields=more), Field("new", "FLOAT64", description="New.")]
    client.update_table(table, ["schema"])
    warehouse.rows("alter table {d}.t add column if not exists last string options (description = 'Last.')")
    warehouse.rows("alter table {d}.t add column if not exists last string options (description = 'Not this.')")
    after = warehouse.schema("t")
    assert after[:2] == before[:2]
    assert after[2][4] == [*before[2][4], ("z", "NUMERIC", "NULLABLE", "Z.")]
    assert after[3:] == [("new", "FLOAT", "NULLABLE", "New."), ("last", "STRING", "NULLABLE", "Last.")]
    warehouse.rows("insert {d}.t (id, d, r) select 'a', @d, [struct(1 as x, current_timestamp() as y, 2 as z)]", d=DAY)
    assert warehouse.rows("select e.z from {d}.t, unnest(r) e") == [(Decimal(2),)]
    kept = client.get_table(warehouse.name("t"))
    assert (kept.description, kept.clustering_fields, kept.time_partitioning.field) == ("Grows.", ["id"], "d")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([Field("id", "INT64", "REQUIRED")], "changed type from STRING to INTEGER"),
        ([Field("id", "STRING", "REPEATED")], "changed mode from REQUIRED to REPEATED"),
        ([Field("id", "STRING", "REQUIRED"), Field("new", "STRING", "REQUIRED")], "Cannot add required fields"),
        ([Field("other", "STRING")], "Cannot remove field"),
    ],
)
def test_other_changes_are_refused(warehouse: Warehouse, schema: list[Field], message: str) -> None:
    table = warehouse.client.create_table(
        bigquery.Table(warehouse.name("t"), schema=[Field("id", "STRING", "REQUIRED")])
    )
    table.schema = schema
    with pytest.raises(BadRequest, match=message):
        warehouse.client.update_table(table, ["schema"])


def test_jobs_are_counted_labelled_and_done_once(warehouse: Warehouse) -> None:
    warehouse.rows("create table {d}.t (k int64 not null, v string, d date) partition by d")
    job = warehouse.run("insert {d}.t select x, 'a', @d from unnest([1, 2, 3]) x", d=DAY)
    assert (job.num_dml_affected_rows, job.dml_stats.inserted_row_count) == (3, 3)
    merge = """
        merge {d}.t t using (select x as k, 'b' as v from unnest([3, 4, 5, 6]) x) s on t.k = s.k and t.d = @d
        when matched then update set v = s.v when not matched then insert (k, v, d) values (s.k, s.v, @d)
    """
    job = warehouse.run(merge, d=DAY)
    assert (job.num_dml_affected_rows, job.dml_stats.updated_row_count, job.dml_stats.inserted_row_count) == (4, 1, 3)

    name, schema = f"job_{uuid.uuid4().hex}", [Field("id", "STRING", "REQUIRED"), Field("l", "STRING", "REPEATED")]
    config = bigquery.LoadJobConfig(schema=schema, labels={"step": "stage"}, write_disposition="WRITE_TRUNCATE")
    client = warehouse.client
    records: list[dict[str, Any]] = [{"id": "1", "l": ["x"]}, {"id": "2"}]
    for _ in range(2):
        loaded = client.load_table_from_json(records, warehouse.name("loaded"), job_config=config)
        loaded.result()
        assert [column[:3] for column in warehouse.schema("loaded")] == [
            ("id", "STRING", "REQUIRED"),
            ("l", "STRING", "REPEATED"),
        ]
    job = client.load_table_from_json(records, warehouse.name("loaded"), job_id=name, job_config=config)
    job.result()
    assert (job.output_rows, client.get_job(name).labels) == (2, {"step": "stage"})
    with pytest.raises(Conflict):
        client.load_table_from_json(records[:1], warehouse.name("loaded"), job_id=name, job_config=config)
    with pytest.raises(BadRequest, match="Missing required field: id"):
        client.load_table_from_json([{"l": []}], warehouse.name("x"), job_config=config).result()
    assert warehouse.rows("select count(*) from {d}.loaded") == [(2,)]
    query = f"query_{uuid.uuid4().hex}"
    client.query("select 1", job_id=query, job_retry=None).result()
    with pytest.raises(Conflict):
        client.query("select 2", job_id=query, job_retry=None)
    first = client.get_job(query)
    assert isinstance(first, bigquery.QueryJob)
    assert first.query == "select 1"


def test_a_merge_inside_a_transaction_is_undone_with_it(warehouse: Warehouse) -> None:
    warehouse.rows("create table {d}.t (d date, n int64) partition by d")
    warehouse.rows("insert {d}.t values (date '2026-11-20', 5)")
    merge = """
        merge {d}.t t using (select @d as d, 6 as n) s on t.d = s.d and t.d = @d
        when matched then update set n = s.n when not matched then insert row
    """
    script = "begin transaction; {}; commit transaction;"
    for broken in (f"{merge}; select error('stop')", f"{merge}; assert false as 'quality'"):
        with pytest.raises(BadRequest):
            warehouse.rows(script.format(broken).replace("{d}", warehouse.dataset), d=DAY)
        assert warehouse.rows("select n from {d}.t") == [(5,)]
    warehouse.rows(script.format(merge).replace("{{d}}", "{d}"), d=DAY)
    assert warehouse.rows("select n from {d}.t") == [(6,)]


def test_a_merge_on_false_replaces_partitions_whole_or_not_at_all(warehouse: Warehouse) -> None:
    warehouse.rows("create table {d}.t (d date not null, n int64 not null) partition by d")
    warehouse.rows("insert {d}.t select date_add(date '2026-11-20', interval x day), x from unnest([0, 0, 1, 2]) x")
    warehouse.rows(
        "create table {d}.new as select date '2026-11-20' as d, 7 as n union all select date '2026-11-23', 8"
    )
    replacing = """
        merge {{d}}.t as t using {} as s on false
        when not matched by source and t.`d` in (@d, date '2026-11-23') then delete
        when not matched then insert (`d`, `n`) values (s.`d`, {})
    """
    for broken in ("if(s.n = 8, null, s.n)", "if(s.n = 8, error('stop'), s.n)"):
        with pytest.raises(BadRequest):
            warehouse.rows(replacing.format("{d}.new", broken), d=DAY)
        assert warehouse.rows("select n from {d}.t order by n") == [(0,), (0,), (1,), (2,)]
    job = warehouse.run(replacing.format("(select d, n from {d}.new as r where n > 0)", "s.n"), d=DAY)
    assert (job.dml_stats.deleted_row_count, job.dml_stats.inserted_row_count, job.num_dml_affected_rows) == (2, 2, 4)
    assert warehouse.rows("select d, n from {d}.t order by n") == [
        (datetime.date(2026, 11, day), n) for day, n in ((21, 1), (22, 2), (20, 7), (23, 8))
    ]
    # A source that reads the target is read before anything is deleted.
    warehouse.rows("create view {d}.seen as select d, n + 1 as n from {d}.t")
    for source in ("(select d, n + 1 as n from {d}.t)", "{d}.seen"):
        kept = warehouse.rows("select n from {d}.t where d not in (date '2026-11-20', date '2026-11-23') order by n")
        read = warehouse.rows("select n + 1 from {d}.t")
        warehouse.rows(replacing.format(source, "s.n"), d=DAY)
        assert sorted(warehouse.rows("select n from {d}.t")) == sorted(kept + read)


def test_two_transactions_on_one_table(warehouse: Warehouse) -> None:
    warehouse.rows("create table {d}.t as select 0 as n")
    script = f"""
        begin transaction; update {warehouse.dataset}.t set n = n + 1 where true;
        create temp table slow as select count(*) as c from unnest(generate_array(1, 3000000)) x;
        commit transaction;
    """
    jobs = [warehouse.client.query(script, job_retry=None) for _ in range(2)]
    errors = [error for job in jobs if (error := job.exception())]
    assert [warehouse.rows("select n from {d}.t"), len(errors)] == [[(2 - len(errors),)], len(errors)]
    for error in errors:
        assert "Transaction is aborted due to concurrent update" in str(error)


def test_rows_are_counted_after_a_merge(warehouse: Warehouse) -> None:
    warehouse.rows("create table {d}.t as select n, 'old' as x from unnest(generate_array(1, 100)) as n")
    warehouse.rows(
        "merge {d}.t as t using (select n from unnest(generate_array(91, 110)) as n) as s on t.n = s.n "
        "when matched then update set x = 'new' when not matched then insert (n, x) values (n, 'new')"
    )
    assert warehouse.client.get_table(warehouse.name("t")).num_rows == 110
