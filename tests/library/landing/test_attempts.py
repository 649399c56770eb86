"""Attempts and commits: how folders are named and read back, and which commit counts."""

import datetime
from collections.abc import Callable
from itertools import product

import pytest
from google.cloud import bigquery

from goldline.contracts.source_contract import SourceContract
from goldline.landing.attempts import (
    append_commits,
    attempt_folder,
    attempt_of,
    date_of,
    from_newest_commits,
    new_attempt,
    newest_of_each_date,
    read_attempts,
    read_commits,
    source_jobs,
)
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.warehouse.schema import ensure_plain

NewRun = Callable[..., RunContext]
DAY = datetime.date(2026, 11, 20)
CONTRACT = SourceContract.model_validate(
    {
        "source": "bronze.ext_things",
        "description": "Things.",
        "grain": "One row per thing.",
        "format": "parquet",
        "key": "id",
        "columns": [{"name": "id", "type": "STRING", "description": "Id."}],
    }
)


def commit_of(run: RunContext, day: int, attempt: str, minute: int) -> Commit:
    moment = datetime.datetime(2026, 11, 21, 2, minute, tzinfo=datetime.UTC)
    return Commit(
        source=CONTRACT.source,
        run_date=DAY + datetime.timedelta(days=day),
        attempt=f"{run.run_id}-{attempt}",
        files=1,
        rows=1,
        read_time=moment,
        run_id=run.run_id,
        committed_at=moment,
    )


def test_a_folder_tells_its_date_and_attempt(new_run: NewRun) -> None:
    run = new_run()
    attempt = new_attempt(run)
    path = f"{attempt_folder(CONTRACT, DAY, attempt)}/part-00000.parquet"
    assert attempt_of(path) == (attempt, run.run_id)
    assert date_of(path.removeprefix(f"{CONTRACT.folder}/")) == DAY


@pytest.mark.parametrize("path", ["run_date=2026-11-31/a", "run_date=soon/a", "a", "hour=7/run_date=2026-11-20/a"])
def test_what_lies_in_no_date_has_none(path: str) -> None:
    assert date_of(path) is None


@pytest.mark.parametrize("path", ["bronze/things/run_date=1970-01-01/attempt=none/a", "models/attempt=r-0000dead/a"])
def test_what_no_landing_wrote_is_no_attempt(path: str) -> None:
    assert attempt_of(path) is None


def test_the_newest_commit_of_each_date_counts_in_sql_as_in_python(client: bigquery.Client, new_run: NewRun) -> None:
    run = new_run()
    ensure_plain(client, "ops.commits", Commit.columns(), run)
    jobs = source_jobs(run, CONTRACT)
    assert read_commits(jobs, CONTRACT) == []
    # Two dates, each committed by four attempts in no order of time, and two of them at the same moment.
    written = [
        commit_of(run, day, f"000000{day}{i}", minute) for day, (i, minute) in product((1, 0), enumerate((5, 9, 9, 7)))
    ]
    for commit in written:
        append_commits(jobs, [commit])
    other = commit_of(run, 2, "000000ff", 30).model_copy(update={"source": "bronze.ext_others"})
    append_commits(jobs, [other])
    # Asked by the same run as before: what is there now, not what the first question found.
    commits = read_commits(jobs, CONTRACT)
    assert commits == sorted(written, key=lambda c: (c.committed_at, c.attempt))
    counting = newest_of_each_date(reversed(commits))
    assert [c.attempt[-8:] for c in counting] == ["00000002", "00000012"]
    sql = f"select run_date, attempt {from_newest_commits(run, CONTRACT)} order by run_date"
    assert [(r["run_date"], r["attempt"]) for r in jobs.read_now(sql)] == [(c.run_date, c.attempt) for c in counting]
    assert read_attempts(jobs) == {c.attempt for c in (*written, other)}
