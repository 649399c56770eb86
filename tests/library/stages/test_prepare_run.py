"""prepare_run makes the run's context and every table, on the local stack."""

import io
from collections.abc import Callable
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from goldline.contracts import arrow
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake, LakeError
from goldline.landing.views import ensure_source
from goldline.local.stack import BUCKET
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.ops import Commit, RunRow
from goldline.runs.parameters import ParameterError
from goldline.runs.run_files import Catalog
from goldline.runs.settings import Settings
from goldline.spec.tables import catalog, contracts
from goldline.stages.prepare_run import prepare_run
from goldline.warehouse.jobs import JobError, Jobs
from goldline.warehouse.schema import SchemaChangeError, ensure_plain, fields
from tests.support import orders

DAY = date(2026, 11, 20)
CREATED = "2026-11-21T04:05:06Z"
NewRun = Callable[..., RunContext]


def settings(run: RunContext, **more: object) -> Settings:
    given = {"run_date": "", "project": run.project, "location": run.location, "bucket": run.bucket}
    return Settings(**{**given, "dataset_prefix": run.dataset_prefix, **more})  # type: ignore[arg-type]


def finished(run: RunContext, day: date, flow: str | None, status: str) -> dict[str, object]:
    row = RunRow(
        run_id="earlier", run_date=day, flow=flow, status=status, finished_at=datetime.now(UTC), seconds=1.0, error=None
    )
    return row.model_dump(mode="json")


def test_every_contracts_table_is_there_after_it(client: bigquery.Client, new_run: NewRun) -> None:
    run = new_run()
    context = prepare_run(run.run_id, CREATED, "", catalog().pack(), settings(run))
    assert (context.run_date, context.since) == (DAY, {})
    assert RunContext.parse(Lake(run.project, BUCKET).read_text(f"{context.records}/run.json")) == context
    for contract in contracts().values():
        if isinstance(contract, TableContract) and contract.mode.is_view:
            view = client.get_table(run.table(contract.table))
            assert [f.name for f in view.schema] == [c.name for c in contract.columns]
            assert list(client.query_and_wait(f"select * from `{run.table(contract.table)}`")) == []
        elif isinstance(contract, TableContract):
            table = client.get_table(run.table(contract.table))
            found = {(f.name, f.mode, f.description) for f in table.schema}
            assert found == {(f.name, f.mode, f.description) for f in fields(contract.columns)}
            assert (table.num_rows, table.description) == (0, f"{contract.description} {contract.grain}")
        else:  # an external table over no file at all could not be read
            assert list(client.query_and_wait(f"select * from `{run.table(contract.view)}`")) == []
    # Again, it finds all as it should be.
    assert prepare_run(run.run_id, CREATED, "", catalog().pack(), settings(run)) == context


def test_what_arrived_is_read_since_the_flows_last_finished_date(client: bigquery.Client, new_run: NewRun) -> None:
    run = new_run()
    ensure_plain(client, "ops.runs", RunRow.columns(), run)
    earlier = [
        finished(run, date(2026, 11, 15), "shop", "succeeded"),
        finished(run, date(2026, 11, 18), "shop", "failed"),
        finished(run, date(2026, 11, 25), "shop", "succeeded"),
        finished(run, date(2026, 11, 19), None, "succeeded"),
        finished(run, date(2026, 11, 25), "site", "succeeded"),
    ]
    Jobs(run, "test").append("earlier", earlier, run.table("ops.runs"), fields(RunRow.columns()))
    context = prepare_run(
        run.run_id, CREATED, "", catalog().pack(), settings(run, run_date="2026-11-20", lookback_days=2)
    )
    assert context.since == {"shop": date(2026, 11, 14), "site": EPOCH}


def test_a_missing_bucket_is_named(new_run: NewRun) -> None:
    run = new_run()
    with pytest.raises(
        LakeError, match=r"no bucket gs://nowhere\. Make it: gcloud storage buckets create gs://nowhere"
    ):
        prepare_run(run.run_id, CREATED, "", catalog().pack(), settings(run, bucket="nowhere"))


@pytest.mark.parametrize(
    ("run_date", "more", "said"),
    [
        ("20.11.2026", {}, "run_date: expected a date as YYYY-MM-DD"),
        ("", {"full_refresh": "stg_sails"}, "full_refresh: no table stg_sails, expected some of "),
        ("", {"lookback_days": -1}, "lookback_days: expected no negative number"),
    ],
)
def test_wrong_parameters_are_refused(new_run: NewRun, run_date: str, more: dict[str, object], said: str) -> None:
    run = new_run()
    with pytest.raises(ParameterError, match=said):
        prepare_run(run.run_id, CREATED, "", catalog().pack(), settings(run, run_date=run_date, **more))


def land(run: RunContext, contract: SourceContract, attempt: str, order_id: str) -> None:
    schema = arrow.schema(contract.file_columns)
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"order_id": order_id}], schema=schema), out)
    path = f"{contract.folder}/run_date={run.run_date}/attempt={attempt}/part-00000.parquet"
    Lake(run.project, run.bucket).write_bytes(path, out.getvalue())


def commit(run: RunContext, contract: SourceContract, attempt: str, minute: int) -> None:
    row = Commit(
        source=contract.source,
        run_date=run.run_date,
        attempt=attempt,
        files=1,
        rows=1,
        read_time=datetime.now(UTC),
        run_id=run.run_id,
        committed_at=datetime(2026, 11, 21, 2, minute, tzinfo=UTC),
    )
    schema = fields(Commit.columns())
    Jobs(run, "test").append(attempt, [row.model_dump(mode="json")], run.table("ops.commits"), schema)


def test_only_the_newest_commit_of_a_date_is_read(client: bigquery.Client, new_run: NewRun) -> None:
    run = new_run()
    contract = orders.source(run.dataset_prefix.strip("_"))  # a folder of the lake of its own: tests share the bucket
    ensure_plain(client, "ops.commits", Commit.columns(), run)
    ensure_source(client, Lake(run.project, BUCKET), contract, run)

    def visible() -> list[str]:
        return [row["order_id"] for row in client.query_and_wait(f"select order_id from `{run.table(contract.view)}`")]

    land(run, contract, "killed", "never committed")
    assert visible() == []
    land(run, contract, "first", "old")
    commit(run, contract, "first", 1)
    assert visible() == ["old"]
    land(run, contract, "second", "new")
    assert visible() == ["old"]
    commit(run, contract, "second", 2)
    assert visible() == ["new"]

    wider = contract.model_copy(update={"columns": contract.columns[:-1]})
    ensure_source(client, Lake(run.project, BUCKET), wider, run)
    assert contract.columns[-1].name not in [f.name for f in client.get_table(run.table(contract.view)).schema]
    assert visible() == ["new"]


def test_a_corrupt_file_is_named_by_whoever_reads_it(client: bigquery.Client, new_run: NewRun) -> None:
    run = new_run()
    contract = orders.source(run.dataset_prefix.strip("_"))
    ensure_plain(client, "ops.commits", Commit.columns(), run)
    lake = Lake(run.project, BUCKET)
    ensure_source(client, lake, contract, run)
    path = f"{contract.folder}/run_date={run.run_date}/attempt=bad/part-00000.parquet"
    lake.write_bytes(path, b"PAR1 this is no Parquet file")
    commit(run, contract, "bad", 1)
    with pytest.raises(JobError, match=r"attempt=bad/part-00000\.parquet"):
        Jobs(run, "silver_stg_x").query("raw", f"select * from `{run.table(contract.view)}`")


def test_a_view_follows_its_select(client: bigquery.Client, new_run: NewRun) -> None:
    run, view = new_run(), orders.table(orders.VIEW)

    def prepared(job: str, select: str) -> bigquery.Table:
        content = Catalog((orders.table(), view), {view.table: select})
        prepare_run(f"{run.run_id}-{job}", CREATED, "", content.pack(), settings(run))
        return client.get_table(run.table(view.table))

    made = prepared("a", orders.VIEW_SELECT)
    assert prepared("b", orders.VIEW_SELECT).modified == made.modified  # nothing changed, nothing is made anew
    changed = prepared("c", orders.VIEW_SELECT.replace("not is_deleted", "is_deleted"))
    assert changed.modified != made.modified
    assert ("not" in made.view_query.lower(), "not" in changed.view_query.lower()) == (True, False)


def test_goldlines_own_tables_get_their_new_columns(client: bigquery.Client, new_run: NewRun) -> None:
    run, columns = new_run(), RunRow.columns()
    nullable = [c for c in columns if c.mode == "NULLABLE"]
    required = [c for c in columns if c.mode == "REQUIRED"]
    ensure_plain(client, "ops.runs", required, run)
    ensure_plain(client, "ops.runs", columns, run)
    assert {f.name for f in client.get_table(run.table("ops.runs")).schema} == {c.name for c in columns}
    ensure_plain(client, "ops.models", nullable, run)
    with pytest.raises(SchemaChangeError, match=r"ops\.models: run_id is new and REQUIRED"):
        ensure_plain(client, "ops.models", columns, run)
