"""Sum up a run from the records that its tasks left in the lake."""

import datetime
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import bigquery
from pydantic import BaseModel

from goldline.lake import Lake, LakeError
from goldline.landing.sweep import sweep
from goldline.runs import ops
from goldline.runs.context import RunContext, RunPlace
from goldline.runs.records import ModelResult, Record, TableResult, is_partial, now, retry_marker
from goldline.runs.run_files import load_context
from goldline.runs.settings import Settings
from goldline.warehouse.jobs import JobError, Jobs
from goldline.warehouse.schema import ensure_dataset, ensure_plain, fields

LOG = logging.getLogger(__name__)
SUCCEEDED = "SUCCEEDED"
TASK_FIELDS = {"name", "flow", "status", "error", "counts"}  # of a record, copied to the summary


class TaskSummary(BaseModel):
    """Entry of a task in the summary."""

    name: str
    flow: str
    status: str
    seconds: float
    error: str | None = None
    counts: dict[str, int | float] = {}


class Summary(BaseModel):
    """Content of a run's summary.json."""

    status: Literal["succeeded", "failed"]
    run_id: str
    run_date: datetime.date | None
    seconds: float
    error: str | None
    tasks: list[TaskSummary]
    tables: list[TableResult]
    models: list[ModelResult]


def finish_run(job: str, settings: Settings, flows_text: str, state: str, error: str | None) -> Summary:
    """Write a run's summary and, once, its rows of the ops tables; sweep uncommitted attempts.

    Args:
        job: name of the pipeline job.
        settings: the pipeline's parameters, of which place and run date are used.
        flows_text: JSON object, the tables of each flow: a flow has succeeded if all its tables were built.
        state: final state of the pipeline's tasks, as KFP names it, such as `SUCCEEDED`.
        error: KFP's message of a failure; None if there is none.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    place = settings.place(job)
    lake = Lake(place.project, place.bucket)
    run = load_context(lake, job)
    records = _records(lake, place)
    summary = _summary(job, run.run_date if run else _date(settings.run_date), records, state, error)
    lake.write_text(f"{place.records}/summary.json", summary.model_dump_json(indent=1))
    _write_ops(place, run, summary, records, json.loads(flows_text))
    if run:
        _sweep(run)
    LOG.info("run %s of %s %s", job, summary.run_date, summary.status)
    return summary


def _sweep(run: RunContext) -> None:
    try:
        swept = sweep(run)
    except (GoogleAPICallError, JobError, LakeError, OSError) as error:
        # The run itself is done, and the next one tries again.
        LOG.warning("uncommitted attempts were not deleted: %s", error)
    else:
        LOG.info("%d files of uncommitted attempts were deleted", len(swept))


def _date(text: str) -> datetime.date | None:
    """Run date from the parameter; None if that is empty or no date."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


def _records(lake: Lake, place: RunPlace) -> list[Record]:
    records = [Record.model_validate_json(lake.read_text(path)) for path in lake.list(f"{place.records}/tasks")]
    return sorted(records, key=lambda r: r.started_at)


def _summary(
    job: str, run_date: datetime.date | None, records: Sequence[Record], state: str, error: str | None
) -> Summary:
    ended = [r.finished_at for r in records if r.finished_at]
    seconds = (max(ended) - records[0].started_at).total_seconds() if ended else 0.0
    messages = [f"{r.name}: {r.error}" for r in records if r.error]
    succeeded = state == SUCCEEDED
    return Summary(
        status="succeeded" if succeeded else "failed",
        run_id=job,
        run_date=run_date,
        seconds=round(seconds, 1),
        error=None if succeeded else ("\n".join(messages) or error or "a task failed without an error message"),
        tasks=[TaskSummary(seconds=round(r.seconds, 1), **r.model_dump(include=TASK_FIELDS)) for r in records],
        tables=[r.table for r in records if r.table],
        models=[m for r in records for m in r.models],
    )


def _write_ops(
    place: RunPlace,
    run: RunContext | None,
    summary: Summary,
    records: Sequence[Record],
    flows: Mapping[str, Sequence[str]],
) -> None:
    jobs = Jobs(place, "finish_run")
    rows: dict[str, Iterable[ops.OpsRow]] = {"ops.runs": _run_rows(summary, records, flows)}
    if run:
        rows |= {
            "ops.tables": [_row(ops.TableRow, run, t, table_name=t.name) for t in summary.tables],
            "ops.checks": [
                _row(ops.CheckRow, run, c, check_name=c.name, passed=not c.failing) for r in records for c in r.checks
            ],
            "ops.models": [
                _row(ops.ModelRow, run, m, model=m.name, metric=metric, value=value)
                for m in summary.models
                for metric, value in m.metrics.items()
            ],
        }
    else:
        ensure_dataset(jobs.client, place, "ops")
        ensure_plain(jobs.client, "ops.runs", ops.RunRow.columns(), place)
    for name, content in rows.items():
        known = _known(jobs, place, name, summary.run_id) if retry_marker() else []
        dumped = [row.model_dump(mode="json") for row in content if row not in known]
        jobs.append(name.replace(".", "_"), dumped, place.table(name), fields(ops.TABLES[name]))


def _known(jobs: Jobs, place: RunPlace, name: str, run_id: str) -> list[ops.OpsRow]:
    """Rows that an earlier finish of this run wrote, before it was taken up again."""
    parameter = bigquery.ScalarQueryParameter("run_id", "STRING", run_id)
    found = jobs.query(f"known_{name}", f"select * from `{place.table(name)}` where run_id = @run_id", [parameter])
    return [ops.ROWS[name].model_validate(dict(row.items())) for row in found]


def _run_rows(summary: Summary, records: Sequence[Record], flows: Mapping[str, Sequence[str]]) -> list[ops.RunRow]:
    """Rows of ops.runs: one for the run as a whole, and one for each flow that it ran."""
    succeeded = {r.name for r in records if r.status == "succeeded"}
    outcomes: dict[str | None, bool] = {None: summary.status == "succeeded"}
    for flow in sorted({r.flow for r in records if r.flow and not is_partial()}):
        outcomes[flow] = succeeded.issuperset(flows.get(flow, ()))
    common: dict[str, Any] = {"run_id": summary.run_id, "run_date": summary.run_date, "finished_at": now()}
    return [
        ops.RunRow(
            **common,
            flow=flow,
            status="succeeded" if good else "failed",
            seconds=summary.seconds if flow is None else sum(r.seconds for r in records if r.flow == flow),
            error=None if good else summary.error,
        )
        for flow, good in outcomes.items()
    ]


def _row(kind: type[ops.OpsRow], run: RunContext, result: BaseModel, **more: object) -> ops.OpsRow:
    """Row of an ops table for a result, without its name and metrics: their columns have other names."""
    content = result.model_dump(exclude={"name", "metrics"})
    return kind.model_validate({"run_id": run.run_id, "run_date": run.run_date, **content, **more})
