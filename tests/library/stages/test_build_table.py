"""Write, audit, publish: what build_table does with a SELECT and a contract, on the local warehouse."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import permutations
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from goldline.contracts.loading import parse
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.runs.records import Record, TableResult
from goldline.stages import build_table as build_module
from goldline.stages.build_table import AuditError, build_table
from goldline.warehouse.jobs import JobError, Jobs
from goldline.warehouse.schema import SchemaChangeError, ensure_plain, fields

DAY = date(2026, 11, 20)
NewRun = Callable[..., RunContext]

SOURCE = [
    bigquery.SchemaField("id", "STRING"),
    bigquery.SchemaField("day", "DATE"),
    bigquery.SchemaField("amount", "INTEGER"),
    bigquery.SchemaField("version", "INTEGER"),
    bigquery.SchemaField("arrived", "DATE"),
]
MERGE_SELECT = """
select id, day, amount, version, arrived as _loaded_date,
    case when amount is null then 'amount is missing' end as _reject_reason
from bronze.things where arrived between @since and @run_date
"""
COLUMNS = [
    {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "The thing."},
    {"name": "day", "type": "DATE", "mode": "REQUIRED", "description": "Its day."},
    {"name": "amount", "type": "INT64", "mode": "REQUIRED", "description": "How much."},
    {"name": "version", "type": "INT64", "mode": "REQUIRED", "description": "Its version."},
    {"name": "_loaded_date", "type": "DATE", "mode": "REQUIRED", "description": "When it arrived."},
]
MERGE = {
    "table": "silver.stg_things",
    "description": "Things.",
    "grain": "One row per thing.",
    "primary_key": ["id"],
    "version": "version",
    "write": "merge",
    "partition_by": "day",
    "cluster_by": ["id"],
    "rejects": True,
    "columns": COLUMNS,
    "checks": [{"name": "amounts are not negative", "where": "amount < 0"}],
}
OVERWRITE = {
    "table": "gold.agg_things",
    "description": "Things as of a day.",
    "grain": "One row per thing and day.",
    "primary_key": ["as_of", "id"],
    "write": "insert_overwrite",
    "partitions": "run_date",
    "partition_by": "as_of",
    "columns": [
        {"name": "as_of", "type": "DATE", "mode": "REQUIRED", "description": "The day."},
        COLUMNS[0],
        COLUMNS[2],
    ],
}
OVERWRITE_SELECT = (
    "select @run_date as as_of, id, max(amount) as amount from bronze.things where arrived <= @run_date group by id"
)
FULL = {
    "table": "gold.dim_thing",
    "description": "Things.",
    "grain": "One row per thing.",
    "primary_key": ["id"],
    "write": "full",
    "columns": [COLUMNS[0], COLUMNS[2]],
}
FULL_SELECT = "select id, max(amount) as amount from bronze.things group by id"


def contract(base: dict[str, Any], **changes: Any) -> TableContract:
    made = parse({**base, **changes}, "test")
    assert isinstance(made, TableContract)
    return made


class Shop:
    """One table's source, builds and content."""

    def __init__(self, client: bigquery.Client, new_run: NewRun) -> None:
        self.client = client
        self.new_run = new_run
        self.run = new_run()
        client.create_table(bigquery.Table(self.run.table("bronze.things"), SOURCE))
        ensure_plain(client, "silver.rejected_things", REJECTED_COLUMNS, self.run, partition_by="run_date")

    def give(self, *rows: tuple[str, str, int | None, int, str]) -> None:
        content = [dict(zip(("id", "day", "amount", "version", "arrived"), row, strict=True)) for row in rows]
        config = bigquery.LoadJobConfig(schema=SOURCE)
        self.client.load_table_from_json(content, self.run.table("bronze.things"), job_config=config).result()

    def build(self, made: TableContract, select: str, run: RunContext | None = None) -> TableResult:
        return build_table(run or self.new_run(), "test", select, made.model_dump_json(exclude={"tests"}))

    def rows(self, table: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        sql = f"select {columns} from `{self.run.table(table)}` order by {order}"
        return [tuple(row.values()) for row in self.client.query_and_wait(sql)]


@pytest.fixture
def shop(client: bigquery.Client, new_run: NewRun) -> Shop:
    return Shop(client, new_run)


def counts(result: TableResult) -> tuple[int, int, int, int]:
    return result.selected, result.published, result.rejected, result.superseded


def test_a_merge_keeps_the_newest_version_and_tells_where_every_row_went(shop: Shop) -> None:
    shop.give(
        ("a", "2026-11-18", 1, 1, "2026-11-20"),
        ("a", "2026-11-18", 2, 2, "2026-11-20"),
        ("b", "2026-11-19", 5, 1, "2026-11-20"),
        ("c", "2026-11-19", None, 1, "2026-11-20"),
    )
    first = shop.build(contract(MERGE), MERGE_SELECT)
    assert counts(first) == (4, 2, 1, 1)
    assert shop.rows("silver.stg_things", "id, amount, version") == [("a", 2, 2), ("b", 5, 1)]
    assert shop.rows("silver.rejected_things", "run_date, reason, key") == [(DAY, "amount is missing", '{"id":"c"}')]

    shop.give(("a", "2026-11-18", 3, 3, "2026-11-21"), ("b", "2026-11-19", 4, 0, "2026-11-21"))
    second = shop.build(contract(MERGE), MERGE_SELECT, shop.new_run(DAY + timedelta(days=1)))
    assert counts(second) == (2, 1, 0, 1)
    assert (second.rows, shop.rows("silver.stg_things", "id, amount")) == (2, [("a", 3), ("b", 5)])
    # Each date has its own rejects; building one again replaces them.
    assert len(shop.rows("silver.rejected_things")) == 1
    again = shop.build(contract(MERGE), MERGE_SELECT)
    assert counts(again) == (4, 1, 1, 2)
    assert len(shop.rows("silver.rejected_things")) == 1


def test_a_merge_gives_the_same_rows_whatever_the_order_of_dates(shop: Shop) -> None:
    arrivals = {
        DAY: [("a", "2026-11-18", 1, 1, "2026-11-20"), ("tie", "2026-11-18", 7, 5, "2026-11-20")],
        DAY + timedelta(days=1): [("a", "2026-11-18", 2, 2, "2026-11-21"), ("tie", "2026-11-18", 9, 5, "2026-11-21")],
        DAY + timedelta(days=2): [("a", "2026-11-18", 3, 0, "2026-11-22"), ("tie", "2026-11-18", 8, 5, "2026-11-22")],
    }
    for rows in arrivals.values():
        shop.give(*rows)
    outcomes = []
    for order in list(permutations(arrivals))[::3]:
        for day in (*order, order[0]):
            shop.build(contract(MERGE), MERGE_SELECT, shop.new_run(day))
        outcomes.append(shop.rows("silver.stg_things", "id, amount, version"))
        shop.client.delete_table(shop.run.table("silver.stg_things"))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0][0] == ("a", 2, 2)


def test_the_same_record_loaded_again_is_no_new_version(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"), ("a", "2026-11-18", 1, 1, "2026-11-21"))
    shop.build(contract(MERGE), MERGE_SELECT)
    result = shop.build(contract(MERGE), MERGE_SELECT, shop.new_run(DAY + timedelta(days=1)))
    assert counts(result) == (1, 1, 0, 0)
    assert shop.rows("silver.stg_things", "id, _loaded_date") == [("a", DAY)]


def test_a_failing_check_leaves_the_published_table_as_it_was(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    shop.build(contract(MERGE), MERGE_SELECT)
    shop.give(("a", "2026-11-18", 2, 2, "2026-11-20"), ("b", "2026-11-18", -1, 1, "2026-11-20"))
    run = shop.new_run()
    with pytest.raises(
        AuditError, match=r"silver.stg_things was not published.*'amounts are not negative': 1 rows fail"
    ):
        shop.build(contract(MERGE), MERGE_SELECT, run)
    assert shop.rows("silver.stg_things", "id, amount") == [("a", 1)]
    record = Record.model_validate_json(Lake(run.project, run.bucket).read_text(f"{run.records}/tasks/stg_things.json"))
    assert (record.status, record.checks[0].failing) == ("failed", 1)
    assert "amounts are not negative" in (record.error or "")


def test_a_warning_is_recorded_and_publishes(shop: Shop) -> None:
    shop.give(("b", "2026-11-18", -1, 1, "2026-11-20"))
    warns = contract(MERGE, checks=[{"name": "no debts", "where": "amount < 0", "level": "warn"}])
    run = shop.new_run()
    assert counts(shop.build(warns, MERGE_SELECT, run)) == (1, 1, 0, 0)
    record = Record.model_validate_json(Lake(run.project, run.bucket).read_text(f"{run.records}/tasks/stg_things.json"))
    assert [(c.name, c.level, c.failing) for c in record.checks] == [("no debts", "warn", 1)]


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (
            "select id, amount from bronze.things union all select id, amount from bronze.things",
            r"'key_is_unique \(id\)': 1 rows",
        ),
        ("select cast(null as string) as id, amount from bronze.things", r"'required_not_null \(id\)': 1 rows"),
    ],
)
def test_what_goes_without_saying_is_checked_too(shop: Shop, select: str, said: str) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    with pytest.raises(AuditError, match=said):
        shop.build(contract(FULL), select)
    with pytest.raises(NotFound):
        shop.client.get_table(shop.run.table("gold.dim_thing"))


def test_an_overwrite_of_the_run_date_replaces_that_date_alone(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    shop.build(contract(OVERWRITE), OVERWRITE_SELECT)
    shop.build(contract(OVERWRITE), OVERWRITE_SELECT, shop.new_run(DAY + timedelta(days=1)))
    shop.give(("a", "2026-11-18", 9, 2, "2026-11-20"), ("b", "2026-11-18", 4, 1, "2026-11-20"))
    result = shop.build(contract(OVERWRITE), OVERWRITE_SELECT)
    assert counts(result) == (2, 2, 0, 0)
    assert shop.rows("gold.agg_things", order="1, 2") == [
        (DAY, "a", 9),
        (DAY, "b", 4),
        (DAY + timedelta(days=1), "a", 1),
    ]
    # A date without rows leaves none.
    shop.build(contract(OVERWRITE), f"{OVERWRITE_SELECT} having max(amount) > 100")
    assert shop.rows("gold.agg_things") == [(DAY + timedelta(days=1), "a", 1)]
    with pytest.raises(AuditError, match="rows_are_of_run_date"):
        shop.build(contract(OVERWRITE), OVERWRITE_SELECT.replace("@run_date as as_of", "date '2026-01-01' as as_of"))


def test_a_lookback_is_counted_from_since(shop: Shop) -> None:
    shop.give(*((day, f"2026-11-{day}", 1, 1, "2026-11-20") for day in ("12", "13", "14")))
    select = f"{MERGE_SELECT} and day >= @lookback_start"
    run = shop.new_run(since=DAY - timedelta(days=2))
    shop.build(contract(MERGE, lookback_days=5), select, run)
    assert shop.rows("silver.stg_things", "id") == [("13",), ("14",)]
    # What is made anew reads all that ever arrived.
    shop.build(contract(MERGE, lookback_days=5), select, shop.new_run(full_refresh=("stg_things",)))
    assert shop.rows("silver.stg_things", "id") == [("12",), ("13",), ("14",)]


def test_a_table_made_anew_keeps_modes_and_descriptions(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    for _ in range(2):
        assert counts(shop.build(contract(FULL), FULL_SELECT)) == (1, 1, 0, 0)
    table = shop.client.get_table(shop.run.table("gold.dim_thing"))
    assert table.description == "Things. One row per thing."
    found = [(f.name, f.mode, f.description) for f in table.schema]
    assert found == [("id", "REQUIRED", "The thing."), ("amount", "REQUIRED", "How much.")]


def test_a_table_made_anew_takes_any_change_of_its_contract(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    shop.build(contract(FULL), FULL_SELECT)
    changed = contract(FULL, columns=[COLUMNS[0], {**COLUMNS[2], "type": "STRING"}], cluster_by=["id"])
    shop.build(changed, "select id, cast(max(amount) as string) as amount from bronze.things group by id")
    assert shop.rows("gold.dim_thing") == [("a", "1")]
    assert shop.client.get_table(shop.run.table("gold.dim_thing")).clustering_fields == ["id"]


def test_a_view_is_checked_and_made(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    view = contract(FULL, write="view", checks=[{"name": "small", "where": "amount > 5"}])
    assert counts(shop.build(view, FULL_SELECT)) == (1, 1, 0, 0)
    shop.give(("b", "2026-11-18", 3, 1, "2026-11-20"))
    assert shop.rows("gold.dim_thing") == [("a", 1), ("b", 3)]
    shop.give(("c", "2026-11-18", 30, 1, "2026-11-20"))
    with pytest.raises(AuditError, match="'small': 1 rows fail") as failed:
        shop.build(view, FULL_SELECT)
    hint = str(failed.value).split("See them: ")[1]
    assert [row["id"] for row in shop.client.query_and_wait(hint)] == ["c"]


def test_a_new_nullable_column_is_added(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    shop.build(contract(MERGE), MERGE_SELECT)
    new = {"name": "colour", "type": "STRING", "description": "Its colour."}
    wider = contract(MERGE, columns=[COLUMNS[0], new, *COLUMNS[1:]])
    shop.give(("b", "2026-11-18", 2, 1, "2026-11-20"))
    shop.build(wider, MERGE_SELECT.replace("select id,", "select id, 'red' as colour,"))
    found = dict(shop.rows("silver.stg_things", "id, colour"))
    assert found["b"] == "red"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": [*COLUMNS[:2], {**COLUMNS[2], "type": "FLOAT64"}, *COLUMNS[3:]]}, "amount is declared FLOAT64"),
        ({"columns": [*COLUMNS, {**COLUMNS[2], "name": "more"}]}, "more is new and REQUIRED"),
        ({"cluster_by": []}, "clustered by"),
    ],
)
def test_any_other_change_is_refused_until_the_table_is_made_anew(
    shop: Shop, changes: dict[str, Any], said: str
) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    shop.build(contract(MERGE), MERGE_SELECT)
    changed = contract(MERGE, **changes)
    select = MERGE_SELECT.replace("version,", "version, amount as more,") if "more" in said else MERGE_SELECT
    if "FLOAT64" in said:
        select = select.replace("amount, version", "cast(amount as float64) as amount, version")
    with pytest.raises(SchemaChangeError, match=said) as refused:
        shop.build(changed, select)
    assert "goldline run --full-refresh silver.stg_things" in str(refused.value)

    shop.give(("z", "2026-11-01", 1, 1, "2026-11-01"))  # arrived long before: a refresh reads all that ever arrived
    shop.build(changed, select, shop.new_run(full_refresh=("stg_things",)))
    assert shop.rows("silver.stg_things", "id") == [("a",), ("z",)]
    table = shop.client.get_table(shop.run.table("silver.stg_things"))
    assert [(f.name, f.mode) for f in table.schema] == [(f.name, f.mode) for f in fields(changed.columns)]


def test_a_prefix_keeps_a_developers_tables_apart(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    shop.build(contract(FULL), FULL_SELECT)
    assert shop.run.table("gold.dim_thing").split(".")[1].startswith(shop.run.dataset_prefix)
    with pytest.raises(NotFound):
        shop.client.get_table(f"{shop.run.project}.gold.dim_thing_{shop.run.dataset_prefix}")


def test_stages_are_gone_after_a_build_and_stay_after_a_failure(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", -1, 1, "2026-11-20"))
    ops = f"{shop.run.project}.{shop.run.dataset('ops')}"
    with pytest.raises(AuditError) as failed:
        shop.build(contract(MERGE), MERGE_SELECT)
    left = [table.table_id for table in shop.client.list_tables(ops)]
    assert any("stage_silver_stg_things" in name for name in left)
    hint = str(failed.value).split("See them: ")[1]
    assert [row["id"] for row in shop.client.query_and_wait(hint)] == ["a"]
    shop.build(contract(FULL), FULL_SELECT)
    assert not any("dim_thing" in table.table_id for table in shop.client.list_tables(ops))


def test_a_retried_task_does_its_work_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    run = shop.new_run()
    result = shop.build(contract(MERGE), MERGE_SELECT, run)
    before = len(list(shop.client.list_jobs(max_results=1000)))
    assert shop.build(contract(MERGE), MERGE_SELECT, run) == result
    assert len(list(shop.client.list_jobs(max_results=1000))) == before
    # By hand it is done again.
    monkeypatch.setenv("GOLDLINE_RETRY", "now")
    shop.build(contract(MERGE), MERGE_SELECT, run)
    assert len(list(shop.client.list_jobs(max_results=1000))) > before


@pytest.mark.parametrize(
    "mode", [{"write": "merge"}, {"write": "insert_overwrite", "partitions": "arrived", "version": None}], ids=str
)
def test_a_try_that_died_after_publishing_is_finished_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any]
) -> None:
    made = contract(MERGE, **mode)
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"), ("b", "2026-11-18", None, 1, "2026-11-20"))
    run = shop.new_run()

    class PowerCutError(Exception):
        pass

    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(build_module.Builder, "_result", cut)
        with pytest.raises(PowerCutError):
            shop.build(made, MERGE_SELECT, run)
    assert counts(shop.build(made, MERGE_SELECT, run)) == (2, 1, 1, 0)
    assert shop.rows("silver.stg_things", "id") == [("a",)]


def test_a_lost_answer_makes_no_second_job(shop: Shop) -> None:
    run = shop.new_run()
    jobs = Jobs(run, "subject")
    sql = f"create table `{run.table('ops.once')}` as select 1 as n"
    plain = jobs.client.query
    sent = []

    def lose_the_answer(*args: Any, **kwargs: Any) -> Any:
        sent.append(kwargs["job_id"])
        plain(*args, **kwargs)
        return plain(*args, **kwargs)  # what the transport does when no answer came: it sends the same again

    jobs.client.query = lose_the_answer  # type: ignore[method-assign]
    jobs.query("step", sql)
    assert [job.job_id for job in jobs.client.list_jobs() if job.job_id == sent[0]] == sent
    assert run.run_id in sent[0]
    with pytest.raises(JobError, match=r"subject, step other: Syntax error"):
        Jobs(run, "subject").query("other", "selekt 1")


def test_a_select_that_fails_leaves_the_published_table_as_it_was(shop: Shop) -> None:
    shop.give(("a", "2026-11-18", 1, 1, "2026-11-20"))
    shop.build(contract(MERGE), MERGE_SELECT)
    with pytest.raises(JobError, match=r"silver_stg_things, step raw: .*no such thing"):
        shop.build(contract(MERGE), MERGE_SELECT.replace("select id", "select error('no such thing') as id"))
    assert shop.rows("silver.stg_things", "id") == [("a",)]
