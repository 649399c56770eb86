"""A backfill plans first, runs the oldest first, a few at a time, and goes on where it was broken off."""

import io
import re
from datetime import date
from pathlib import Path

import pytest

from goldline import cli
from goldline.vertex.backfill import Backfill
from goldline.vertex.cloud_run import prepared
from goldline.vertex.errors import CloudError
from tests.support.some_flow import ALONE, FLOW, NAME, TASK
from tests.support.standin import Json, Refused, Request, StandIn
from tests.support.standin_google import Google
from tests.support.standin_vertex import Script, Vertex, cancelled, failing, succeeding

FIRST, LAST = date(2026, 11, 1), date(2026, 11, 4)
JOBS = "/pipelineJobs$"


class OpsRuns:
    """The answers of BigQuery to the one statement that a backfill asks."""

    def __init__(self, standin: StandIn) -> None:
        self.succeeded: list[tuple[str, str]] | None = []
        standin.route("POST", "bigquery", "bigquery/v2/projects/[^/]+/queries", self._answer)

    def _answer(self, request: Request) -> Json:
        assert re.search(r"from `acme-data-dev\.ops\.runs` where status = 'succeeded'", request.json["query"])
        assert request.json["location"] == "europe-west1"
        assert request.json["useLegacySql"] is False
        if self.succeeded is None:
            raise Refused(404, "notFound", "Not found: Table acme-data-dev:ops.runs")
        fields = [{"name": name, "type": "STRING"} for name in ("run_date", "flow")]
        rows = [{"f": [{"v": day}, {"v": flow}]} for day, flow in self.succeeded]
        return {"jobComplete": True, "schema": {"fields": fields}, "rows": rows, "totalRows": str(len(rows))}


@pytest.fixture
def ops_runs(standin: StandIn) -> OpsRuns:
    return OpsRuns(standin)


@pytest.fixture
def backfill(settings: Path, google: Google, vertex: Vertex, ops_runs: OpsRuns) -> Backfill:
    where, spec, cloud = prepared("dev")
    return Backfill(where, spec, ALONE, cloud, io.StringIO())


def dates(vertex: Vertex) -> list[str]:
    """The dates of the jobs, in the order in which they were sent."""
    return [job["runtimeConfig"]["parameterValues"]["run_date"] for job in vertex.jobs.values()]


def test_the_plan_skips_what_succeeded_and_starts_nothing(
    backfill: Backfill, vertex: Vertex, ops_runs: OpsRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    ops_runs.succeeded = [("2026-11-02", FLOW), ("2026-11-03", "another")]
    span = ["--from", str(FIRST), "--to", str(LAST)]
    code = cli.main(["backfill", "--env", "dev", *span, "--flows", FLOW, "--dry-run"])
    assert code == 0
    shown = capsys.readouterr().out
    assert [line.split()[:3] for line in shown.splitlines()[:-1]] == [
        ["2026-11-01", "to", "run"],
        ["2026-11-02", "is", "done"],
        ["2026-11-03", "to", "run"],  # another flow's success is not this one's
        ["2026-11-04", "to", "run"],
    ]
    assert shown.endswith(f"4 dates of {FLOW}: 3 to run, the rest is done\n")
    assert not vertex.jobs


def test_dates_run_the_oldest_first_and_few_at_a_time(backfill: Backfill, vertex: Vertex) -> None:
    at_once: list[int] = []

    def watched(job: Json) -> Script:
        under_way = [
            j for j in vertex.jobs.values() if j["state"] in {"PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"}
        ]
        at_once.append(len(under_way))
        yield from succeeding(job)

    vertex.script = watched
    assert backfill.run(backfill.plan(FIRST, LAST), parallel=2) == 0
    assert dates(vertex) == ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"]
    assert max(at_once) <= 2
    assert all(job["labels"]["goldline_backfill"] == backfill.identity for job in vertex.jobs.values())


def test_before_the_first_run_there_is_no_table_to_ask(backfill: Backfill, ops_runs: OpsRuns) -> None:
    ops_runs.succeeded = None
    assert not any(day.done for day in backfill.plan(FIRST, LAST))


def test_after_a_failure_no_more_are_started_and_the_same_command_goes_on(
    backfill: Backfill, vertex: Vertex, ops_runs: OpsRuns
) -> None:
    scripts = iter([succeeding, failing(TASK, "no"), succeeding, succeeding, succeeding])

    def one_after_another(job: Json) -> Script:
        return next(scripts)(job)

    vertex.script = one_after_another
    out = backfill.out
    assert isinstance(out, io.StringIO)
    assert backfill.run(backfill.plan(FIRST, LAST), parallel=1) == 1
    assert dates(vertex) == ["2026-11-01", "2026-11-02"]
    assert f"{NAME} failed: no" in out.getvalue()
    assert out.getvalue().endswith("1 failed, 2 were not started; the same command goes on from there\n")

    ops_runs.succeeded = [("2026-11-01", FLOW)]
    again = backfill.plan(FIRST, LAST)
    assert again[1].action == "to run, try 2"
    assert backfill.run(again, parallel=1) == 0
    assert dates(vertex)[2:] == ["2026-11-02", "2026-11-03", "2026-11-04"]
    tries = sorted(name.rsplit("/", 1)[1] for name in vertex.jobs if "20261102" in name)
    assert [name[-2:] for name in tries] == ["-0", "-1"]


def test_runs_under_way_are_followed_and_not_started_again(backfill: Backfill, vertex: Vertex) -> None:
    """As after a broken connection, or a laptop that was closed."""
    backfill._start(backfill.plan(FIRST, FIRST)[0])
    [day] = backfill.plan(FIRST, FIRST)
    assert day.action.startswith("is under way: goldline-20261101-backfill-")
    assert backfill.run([day], parallel=1) == 0
    assert len(vertex.jobs) == 1


def test_a_lost_answer_makes_no_second_run(backfill: Backfill, vertex: Vertex, standin: StandIn) -> None:
    standin.fail("POST", JOBS, "lost")
    assert backfill.run(backfill.plan(FIRST, FIRST), parallel=1) == 0
    assert dates(vertex) == ["2026-11-01"]


def test_a_cancelled_date_counts_as_failed(backfill: Backfill, vertex: Vertex) -> None:
    vertex.script = cancelled
    assert backfill.run(backfill.plan(FIRST, FIRST), parallel=1) == 1


def test_other_parameters_are_another_backfill(backfill: Backfill) -> None:
    other = Backfill(backfill.environment, backfill.spec, ALONE | {"train": "yes"}, backfill.cloud)
    assert other.identity != backfill.identity


def test_wrong_orders_are_refused(
    backfill: Backfill, vertex: Vertex, standin: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, said in (
        (["--from", "2026-11-04", "--to", "2026-11-01"], "--to 2026-11-01 is before --from 2026-11-04"),
        (["--from", "yesterday", "--to", "2026-11-01"], "--from: expected a date as YYYY-MM-DD, got 'yesterday'"),
        (["--from", "2026-11-01", "--to", "2026-11-04", "--parallel", "0"], "--parallel: expected at least 1"),
        (["--from", "2026-11-01", "--to", "2026-11-04", "--train", "often"], "train: expected one of auto, yes, no"),
    ):
        assert cli.main(["backfill", "--env", "dev", *wrong]) == 2
        assert said in capsys.readouterr().err
    standin.fail("POST", "queries", 403)
    with pytest.raises(CloudError, match="403"):
        backfill.plan(FIRST, LAST)
    assert not vertex.jobs
