"""Reads that must see what is there now, in a run that has asked before."""

from collections.abc import Callable

import pytest
from google.cloud import bigquery

from goldline.runs.context import RunContext
from goldline.warehouse.jobs import JobError, Jobs

NewRun = Callable[..., RunContext]


def test_read_now_never_finds_an_earlier_answer(client: bigquery.Client, new_run: NewRun) -> None:
    run = new_run()
    table, jobs = run.table("silver.things"), Jobs(run, "silver_things")
    client.query_and_wait(f"create table `{table}` as select 1 as n")
    sql = f"select n from `{table}` where n < @below order by n"
    below = [bigquery.ScalarQueryParameter("below", "INT64", 3)]
    assert [row["n"] for row in jobs.read_now(sql, below)] == [1]
    jobs.query("add", f"insert into `{table}` (n) values (2), (3)")
    assert [row["n"] for row in jobs.read_now(sql, below)] == [1, 2]


def test_read_now_bears_the_labels_of_its_run(client: bigquery.Client, new_run: NewRun) -> None:
    run = new_run()
    list(Jobs(run, "Silver_things").read_now("select 1"))
    labels = [job.labels for job in client.list_jobs(max_results=50) if isinstance(job, bigquery.QueryJob)]
    wanted = {"goldline_run": run.run_id, "goldline_subject": "silver_things", "goldline_step": "read_now"}
    assert wanted in labels


def test_a_read_that_fails_names_its_subject(new_run: NewRun) -> None:
    run = new_run()
    with pytest.raises(JobError, match=r"silver_things, reading: .*nothing_here"):
        list(Jobs(run, "silver_things").read_now(f"select n from `{run.table('silver.nothing_here')}`"))
