"""Attempts of landings, and the commits that make their files visible to readers.

A landing writes its files under `run_date=D/attempt=X/` in its source's folder. Its last act is a row in ops.commits.
Of each run date of a source only the newest commit is read, so a killed or concurrent attempt never is.
"""

import datetime
import re
import secrets
from collections.abc import Iterable, Sequence

from google.cloud import bigquery

from goldline.contracts.source_contract import SourceContract
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.warehouse.jobs import Jobs
from goldline.warehouse.schema import fields

COMMITS = "ops.commits"
_DATE = re.compile(r"run_date=(\d{4}-\d\d-\d\d)/")
_ATTEMPT = re.compile(r"bronze/.+/attempt=(([^/]+)-[0-9a-f]{8})/")


def new_attempt(run: RunContext) -> str:
    """Id of a new attempt: the run's id and 8 random hexadecimal digits."""
    return f"{run.run_id}-{secrets.token_hex(4)}"


def date_folder(day: datetime.date) -> str:
    """Name of a run date's folder, within a source's: `run_date=YYYY-MM-DD`."""
    return f"run_date={day}"


def attempt_folder(contract: SourceContract, day: datetime.date, attempt: str) -> str:
    """Folder of the lake that an attempt writes the files of a run date to."""
    return f"{contract.folder}/{date_folder(day)}/attempt={attempt}"


def date_of(path: str) -> datetime.date | None:
    """Run date in the path of a file below its source's folder; None if there is none."""
    found = _DATE.match(path)
    try:
        return datetime.date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def attempt_of(path: str) -> tuple[str, str] | None:
    """Attempt and run id in the path of a file of the lake; None if no landing wrote it."""
    found = _ATTEMPT.match(path)
    return (found[1], found[2]) if found else None


def source_jobs(run: RunContext, contract: SourceContract) -> Jobs:
    """BigQuery jobs of a source in a run."""
    return Jobs(run, contract.source.replace(".", "_"))


def from_newest_commits(run: RunContext, contract: SourceContract) -> str:
    """SQL to put after a SELECT list: the newest commit of each run date of a source."""
    return f"""from `{run.table(COMMITS)}`
    where source = '{contract.source}'
    qualify row_number() over (partition by run_date order by committed_at desc, attempt desc) = 1"""


def newest_of_each_date(commits: Iterable[Commit]) -> list[Commit]:
    """Newest commit of each run date, by date: the same ones as `from_newest_commits` selects."""
    newest = {c.run_date: c for c in sorted(commits, key=lambda c: (c.run_date, c.committed_at, c.attempt))}
    return list(newest.values())


def read_commits(jobs: Jobs, contract: SourceContract) -> list[Commit]:
    """All commits of a source as of now, the oldest first.

    Raises:
        JobError: BigQuery could not read them.
    """
    columns = ", ".join(c.name for c in Commit.columns())
    sql = f"select {columns} from `{jobs.run.table(COMMITS)}` where source = @source order by committed_at, attempt"
    source = bigquery.ScalarQueryParameter("source", "STRING", contract.source)
    return [Commit(**dict(row.items())) for row in jobs.read_now(sql, [source])]


def read_attempts(jobs: Jobs) -> set[str]:
    """Ids of the committed attempts of all sources, as of now.

    Raises:
        JobError: BigQuery could not read them.
    """
    sql = f"select distinct attempt from `{jobs.run.table(COMMITS)}`"
    return {row["attempt"] for row in jobs.read_now(sql)}


def append_commits(jobs: Jobs, commits: Sequence[Commit]) -> None:
    """Commit an attempt of one or more dates: from now on readers see its files.

    Raises:
        JobError: nothing was committed.
    """
    # The attempt is in the step's name: a retry of the task may land other files than the first try.
    step = f"commit_{commits[0].attempt[-8:]}"
    rows = [c.model_dump(mode="json") for c in commits]
    jobs.append(step, rows, jobs.run.table(COMMITS), fields(Commit.columns()))
