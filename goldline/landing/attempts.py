"""Attempts of landings, and the commits that make them count.

A landing writes its files under `run_date=D/attempt=X/` of its source's folder, and as its last act a row of
ops.commits. Of each run date of a source the newest commit counts, so no killed or rival attempt is ever read.
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
    """Id of a new attempt: the run's, and 8 hexadecimal digits of its own."""
    return f"{run.run_id}-{secrets.token_hex(4)}"


def date_folder(day: datetime.date) -> str:
    """Name of the folder of a run date, below a source's."""
    return f"run_date={day}"


def attempt_folder(contract: SourceContract, day: datetime.date, attempt: str) -> str:
    """Folder of the lake that an attempt to land a run date writes to."""
    return f"{contract.folder}/{date_folder(day)}/attempt={attempt}"


def date_of(path: str) -> datetime.date | None:
    """Run date of a file by its path below the source's folder; None where there is none."""
    found = _DATE.match(path)
    try:
        return datetime.date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def attempt_of(path: str) -> tuple[str, str] | None:
    """Attempt that wrote a file of the lake, and the id of its run; None where no landing wrote it."""
    found = _ATTEMPT.match(path)
    return (found[1], found[2]) if found else None


def source_jobs(run: RunContext, contract: SourceContract) -> Jobs:
    """The jobs of a source in a run."""
    return Jobs(run, contract.source.replace(".", "_"))


def from_newest_commits(run: RunContext, contract: SourceContract) -> str:
    """SQL to put after a SELECT list: the newest commit of each run date of a source."""
    return f"""from `{run.table(COMMITS)}`
    where source = '{contract.source}'
    qualify row_number() over (partition by run_date order by committed_at desc, attempt desc) = 1"""


def newest_of_each_date(commits: Iterable[Commit]) -> list[Commit]:
    """The commits that count, by run date: the same ones as `from_newest_commits` selects."""
    newest = {c.run_date: c for c in sorted(commits, key=lambda c: (c.run_date, c.committed_at, c.attempt))}
    return list(newest.values())


def read_commits(jobs: Jobs, contract: SourceContract) -> list[Commit]:
    """All commits of a source as of now, the oldest first.

    Raises:
        JobError: they cannot be read.
    """
    columns = ", ".join(c.name for c in Commit.columns())
    sql = f"select {columns} from `{jobs.run.table(COMMITS)}` where source = @source order by committed_at, attempt"
    source = bigquery.ScalarQueryParameter("source", "STRING", contract.source)
    return [Commit(**dict(row.items())) for row in jobs.read_now(sql, [source])]


def read_attempts(jobs: Jobs) -> set[str]:
    """Ids of all attempts that are committed as of now, of whatever source.

    Raises:
        JobError: they cannot be read.
    """
    sql = f"select distinct attempt from `{jobs.run.table(COMMITS)}`"
    return {row["attempt"] for row in jobs.read_now(sql)}


def append_commits(jobs: Jobs, commits: Sequence[Commit]) -> None:
    """Commit one attempt, of one date or several: from now on its files count.

    Raises:
        JobError: nothing was committed.
    """
    # The attempt is in the step's name: a second try of the task may land other files than the first one.
    step = f"commit_{commits[0].attempt[-8:]}"
    rows = [c.model_dump(mode="json") for c in commits]
    jobs.append(step, rows, jobs.run.table(COMMITS), fields(Commit.columns()))
