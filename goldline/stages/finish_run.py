"""Sum up a run from the records that its tasks left in the lake."""

import datetime
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from google.api_core.exceptions import GoogleAPICallError
from pydantic import BaseModel

from goldline.lake import Lake, LakeError
from goldline.landing.sweep import sweep
from goldline.runs import ops
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.records import ModelResult, Record, TableResult, now
from goldline.stages.prepare_run import Settings
from goldline.warehouse.jobs import JobError, Jobs
from goldline.warehouse.schema import ensure_dataset, ensure_plain, fields

LOG = logging.getLogger(__name__)
SUCCEEDED = "SUCCEEDED"


class TaskSummary(BaseModel):
    """A task as the summary shows it."""

    name: str
    flow: str
    status: str
    seconds: float
    error: str | None = None
    counts: dict[str, int | float] = {}


class Summary(BaseModel):
    """What a run leaves behind as summary.json."""

    status: Literal["succeeded", "failed"]
    run_id: str
    run_date: datetime.date | None
    seconds: float
    error: str | None
    tasks: list[TaskSummary]
    tables: list[TableResult]
    models: list[ModelResult]


def finish_run(job: str, run_date: str, settings: Settings, flows_text: str, state: str, error: str | None) -> Summary:
    """Write the summary and, once, the rows of the ops tables.

    Args:
        job: name of the pipeline job.
        run_date: as it was asked for; the context knows better, if prepare_run came so far.
        settings: where the run read and wrote.
        flows_text: JSON of the tables of each flow: a flow is finished when all its tables are built.
        state: how the pipeline's tasks ended, as KFP tells it.
        error: what KFP says of a failure.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    lake = Lake(settings.resolved_project(), settings.resolved_bucket())
    run, is_prepared = _card(lake, job, run_date, settings)
    records = _records(lake, run)
    summary = _summary(run, is_prepared, records, state, error)
    lake.write_text(f"{run.records}/summary.json", summary.model_dump_json(indent=1))
    _write_ops(run, is_prepared, summary, records, json.loads(flows_text))
    if is_prepared:
        _sweep(run)
    LOG.info("run %s of %s %s", run.run_id, summary.run_date, summary.status)
    return summary


def _sweep(run: RunContext) -> None:
    try:
        swept = sweep(run)
    except (
        GoogleAPICallError,
        JobError,
        LakeError,
        OSError,
    ) as error:  # the run itself is done, and the next one tries again
        LOG.warning("attempts that nobody committed were left where they are: %s", error)
    else:
        LOG.info("%d files of attempts that nobody committed were deleted", len(swept))


def _card(lake: Lake, job: str, run_date: str, settings: Settings) -> tuple[RunContext, bool]:
    """The run's context, or one made up from the parameters where prepare_run failed."""
    made_up = RunContext(
        run_id=job,
        run_date=datetime.date.fromisoformat(run_date) if run_date else EPOCH,
        since={},
        project=settings.resolved_project(),
        location=settings.location,
        bucket=settings.resolved_bucket(),
        dataset_prefix=settings.dataset_prefix,
    )
    try:
        return RunContext.parse(lake.read_text(f"{made_up.records}/run.json")), True
    except LakeError:
        return made_up, False


def _records(lake: Lake, run: RunContext) -> list[Record]:
    records = [Record.model_validate_json(lake.read_text(path)) for path in lake.list(f"{run.records}/tasks")]
    return sorted(records, key=lambda r: r.started_at)


def _summary(run: RunContext, is_prepared: bool, records: Sequence[Record], state: str, error: str | None) -> Summary:
    ended = [r.finished_at for r in records if r.finished_at]
    seconds = (max(ended) - records[0].started_at).total_seconds() if ended else 0.0
    said = [f"{r.name}: {r.error}" for r in records if r.error]
    succeeded = state == SUCCEEDED
    return Summary(
        status="succeeded" if succeeded else "failed",
        run_id=run.run_id,
        run_date=run.run_date if is_prepared or run.run_date != EPOCH else None,
        seconds=round(seconds, 1),
        error=None if succeeded else ("\n".join(said) or error or "a task failed before it could say why"),
        tasks=[
            TaskSummary(
                name=r.name, flow=r.flow, status=r.status, seconds=round(r.seconds, 1), error=r.error, counts=r.counts
            )
            for r in records
        ],
        tables=[r.table for r in records if r.table],
        models=[m for r in records for m in r.models],
    )


def _write_ops(
    run: RunContext, is_prepared: bool, summary: Summary, records: Sequence[Record], flows: Mapping[str, Sequence[str]]
) -> None:
    jobs = Jobs(run, "finish_run")
    rows: dict[str, Iterable[ops.OpsRow]] = {"ops.runs": _run_rows(run, summary, records, flows)}
    if is_prepared:
        rows |= {
            "ops.tables": [_table_row(run, t) for t in summary.tables],
            "ops.checks": list(_check_rows(run, records)),
            "ops.models": list(_model_rows(run, summary.models)),
        }
    else:
        ensure_dataset(jobs.client, run, "ops")
        ensure_plain(jobs.client, "ops.runs", ops.RunRow.columns(), run)
    for name, content in rows.items():
        dumped = [row.model_dump(mode="json") for row in content]
        jobs.append(name.replace(".", "_"), dumped, run.table(name), fields(ops.TABLES[name].columns()))


def _run_rows(
    run: RunContext, summary: Summary, records: Sequence[Record], flows: Mapping[str, Sequence[str]]
) -> list[ops.RunRow]:
    """A row for the run as a whole, and one for each flow that it ran."""
    succeeded = {r.name for r in records if r.status == "succeeded"}
    outcomes: dict[str | None, bool] = {None: summary.status == "succeeded"}
    for flow in sorted({r.flow for r in records if r.flow}):
        outcomes[flow] = succeeded.issuperset(flows.get(flow, ()))
    common: dict[str, Any] = {"run_id": run.run_id, "run_date": summary.run_date, "finished_at": now()}
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


def _table_row(run: RunContext, table: TableResult) -> ops.TableRow:
    content = table.model_dump()
    return ops.TableRow(run_id=run.run_id, run_date=run.run_date, table_name=content.pop("name"), **content)


def _check_rows(run: RunContext, records: Sequence[Record]) -> Iterable[ops.CheckRow]:
    for check in (c for r in records for c in r.checks):
        yield ops.CheckRow(
            run_id=run.run_id,
            run_date=run.run_date,
            subject=check.subject,
            check_name=check.name,
            level=check.level,
            failing=check.failing,
            passed=not check.failing,
        )


def _model_rows(run: RunContext, models: Sequence[ModelResult]) -> Iterable[ops.ModelRow]:
    for model in models:
        for metric, value in model.metrics.items():
            yield ops.ModelRow(
                run_id=run.run_id,
                run_date=run.run_date,
                model=model.name,
                version=model.version,
                accepted=model.accepted,
                metric=metric,
                value=value,
            )
