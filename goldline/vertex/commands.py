"""Commands for Vertex AI, between the command line and the modules that do the work."""

import datetime
from collections.abc import Mapping, Sequence

from goldline.spec import compiled as specs
from goldline.spec.check.given import declared_in
from goldline.vertex import environments
from goldline.vertex.api import Cloud
from goldline.vertex.cloud_run import CloudRun, prepared
from goldline.vertex.environments import Scalar


def run_of(environment: str, job_id: str) -> CloudRun:
    """Run that was started before, by its id."""
    return CloudRun(environments.load(environment, declared_in(specs.load())), job_id, Cloud())


def schedule(environment: str, verb: str, names: Sequence[str], image: str) -> int:
    """Create, list, pause, resume, replace or prune the named schedules; all of the environment if `names` is empty."""
    from goldline.vertex.schedules import Schedules

    where, spec, cloud = prepared(environment, image)
    schedules = Schedules(where, spec, cloud)
    if verb == "list":
        schedules.show()
        return 0
    for name in names or sorted(where.schedules):
        getattr(schedules, verb)(name)
    return 0


def backfill(
    environment: str,
    dates: tuple[str, str],
    given: Mapping[str, Scalar],
    image: str,
    parallel: int,
    *,
    dry_run: bool,
) -> int:
    """Show the plan of a backfill and, unless `dry_run`, run it; `dates` are the first and the last, YYYY-MM-DD."""
    from goldline.vertex.backfill import Backfill

    if parallel < 1:
        raise ValueError(f"--parallel: expected at least 1, got {parallel}")
    first, last = (_date(option, text) for option, text in zip(("--from", "--to"), dates, strict=True))
    where, spec, cloud = prepared(environment, image, given)
    work = Backfill(where, spec, given, cloud)
    days = work.plan(first, last)
    work.show(days)
    return 0 if dry_run else work.run(days, parallel)


def doctor(environment: str) -> int:
    """Check an environment and show what it lacks."""
    from goldline.vertex.doctor import Doctor

    declared = declared_in(specs.load())
    where = environments.load(environment, declared)
    defaults = {name: each.get("defaultValue") for name, each in declared.items()}
    return Doctor(where, defaults | where.values(), Cloud()).look()


def template(environment: str, image: str, tags: Sequence[str]) -> tuple[str, str]:
    """Return the uploadable spec as YAML, and its address as a template; empty if there is no repository for them."""
    from goldline.vertex.templates import as_yaml, register

    where, spec, cloud = prepared(environment, image)
    text = as_yaml(spec)
    return text, register(cloud, where, text, tags) if where.templates else ""


def _date(option: str, text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{option}: expected a date as YYYY-MM-DD, got {text!r}") from None
