"""Delete the files of uncommitted attempts, which killed or failed landings left in bronze.

Nothing reads them. But their names have the same form as those of committed files, so no lifecycle rule of the bucket
can select them; only ops.commits can.
"""

import datetime
import logging
from collections import defaultdict

from goldline.lake import Lake, LakeError
from goldline.landing.attempts import attempt_of, read_attempts
from goldline.runs.context import RunContext
from goldline.runs.records import now
from goldline.warehouse.jobs import Jobs

LOG = logging.getLogger(__name__)
# Longer than an attempt can be resumed: Firestore keeps the past for seven days at most.
AGE = datetime.timedelta(days=8)


def sweep(run: RunContext, moment: datetime.datetime | None = None) -> list[str]:
    """Delete the files of uncommitted attempts whose files are all at least AGE old; return the deleted paths.

    Runs with another dataset prefix have commits of their own and may share the lake. So only attempts of runs are
    considered whose context has this run's project and prefix. The age is counted until `moment`, by default now.
    """
    lake = Lake(run.project, run.bucket)
    files: dict[tuple[str, str], list[str]] = defaultdict(list)
    young = set()
    for file in lake.found("bronze"):
        if found := attempt_of(file.path):
            files[found].append(file.path)
            if (moment or now()) - file.updated < AGE:
                young.add(found[0])
    committed = read_attempts(Jobs(run, "sweep"))
    swept = []
    for (attempt, run_id), paths in files.items():
        if attempt not in committed | young and _is_ours(lake, run, run_id):
            for path in paths:
                lake.delete(path)
            swept += paths
            LOG.info("attempt %s: %d files deleted", attempt, len(paths))
    return swept


def _is_ours(lake: Lake, run: RunContext, run_id: str) -> bool:
    """Whether a run used the same ops.commits as this one; False if it left no context."""
    try:
        other = RunContext.parse(lake.read_text(run.model_copy(update={"run_id": run_id}).records + "/run.json"))
    except LakeError:
        return False
    return (other.project, other.dataset_prefix) == (run.project, run.dataset_prefix)
