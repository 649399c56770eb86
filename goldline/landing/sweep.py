"""Delete the files of attempts that nobody committed: what a killed or failed landing left in bronze.

Nothing reads them, but they lie beside the committed ones under names of the same form, so no rule of a bucket could
tell them apart; only ops.commits can.
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
# Longer than any task can take up an attempt: Firestore keeps the past for seven days at most.
AGE = datetime.timedelta(days=8)


def sweep(run: RunContext, moment: datetime.datetime | None = None) -> list[str]:
    """Delete what is old enough and was never committed; the paths that were deleted.

    Runs with other prefixes of datasets have commits of their own and may share the lake: an attempt is judged only if
    the context of its run has this run's project and prefix.
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
    """Whether a run had the same commits as this one; one that left no context is left alone."""
    try:
        other = RunContext.parse(lake.read_text(run.model_copy(update={"run_id": run_id}).records + "/run.json"))
    except LakeError:
        return False
    return (other.project, other.dataset_prefix) == (run.project, run.dataset_prefix)
