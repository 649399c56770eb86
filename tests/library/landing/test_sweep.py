"""What a killed or failed landing left in the lake is deleted in the end, and nothing else ever is."""

import datetime
from collections.abc import Callable

from google.cloud import bigquery

from goldline.lake import Lake
from goldline.landing.attempts import append_commits
from goldline.landing.sweep import AGE, sweep
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.runs.records import now
from goldline.warehouse.jobs import Jobs
from goldline.warehouse.schema import ensure_plain

LATER = AGE + datetime.timedelta(minutes=1)


def commit(run: RunContext, attempt: str) -> None:
    row = Commit(
        source="bronze.ext_things",
        run_date=run.run_date,
        attempt=attempt,
        files=1,
        rows=1,
        read_time=now(),
        run_id=run.run_id,
        committed_at=now(),
    )
    append_commits(Jobs(run, "test"), [row])


def test_only_old_attempts_that_nobody_committed_are_deleted(
    client: bigquery.Client, new_run: Callable[..., RunContext]
) -> None:
    mine = new_run()
    lake = Lake(mine.project, mine.bucket)
    folder = f"bronze/{mine.run_id}/run_date=2026-11-20"
    # Another prefix of datasets: its commits are not in our ops.commits, and its files are none of ours.
    foreign = mine.model_copy(update={"run_id": f"{mine.run_id}-foreign", "dataset_prefix": "another_"})
    for run in (mine, foreign):
        lake.write_text(f"{run.records}/run.json", run.model_dump_json())
    lost = [f"{folder}/attempt={mine.run_id}-0000dead/part-0000{n}.parquet" for n in (0, 1)]
    kept = [
        f"{folder}/attempt={mine.run_id}-c0ffee00/part-00000.parquet",
        f"{folder}/attempt={foreign.run_id}-0000dead/part-00000.parquet",
        f"{folder}/attempt=a-run-without-a-card-0000dead/part-00000.parquet",
        f"{folder}/attempt=none/empty.parquet",
        f"models/{mine.run_id}/attempt={mine.run_id}-0000dead/model.skops",
    ]
    for path in [*lost, *kept]:
        lake.write_text(path, "")

    ensure_plain(client, "ops.commits", Commit.columns(), mine)
    assert sweep(mine) == []  # a task may still take them up
    commit(mine, f"{mine.run_id}-c0ffee00")
    # A second try of the same run's task: it must see what is committed now.
    assert sorted(sweep(mine, now() + LATER)) == lost
    assert lake.list(f"bronze/{mine.run_id}") == sorted(path for path in kept if path.startswith("bronze/"))
    assert lake.exists(kept[-1])
