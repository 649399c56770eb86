"""KFP component `prepare_run`."""

from typing import NamedTuple

from goldline.spec.task import task


@task(memory="2G")
def prepare_run(
    job: str,
    created: str,
    scheduled: str,
    catalog: str,
    run_date: str,
    lookback_days: int,
    project: str,
    location: str,
    bucket: str,
    dataset_prefix: str,
    full_refresh: str,
    train: str,
    seed: int,
    simulated_size: str,
    vertex_region: str,
    serving_image: str,
) -> NamedTuple("Prepared", [("run", str), ("train", bool)]):  # type: ignore[valid-type]
    """Resolve the run date; make each contract's table and view; return RunContext and whether any model is due."""
    from goldline.runs.settings import Settings
    from goldline.stages.prepare_run import is_any_model_due, prepare_run

    place = (project, location, bucket, dataset_prefix)
    settings = Settings(
        run_date, *place, full_refresh, lookback_days, train, seed, simulated_size, vertex_region, serving_image
    )
    context = prepare_run(job, created, scheduled, catalog, settings)
    return context.model_dump_json(), is_any_model_due(context)
