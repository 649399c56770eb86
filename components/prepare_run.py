"""The face of prepare_run: what goes in, what comes out."""

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
) -> NamedTuple("Prepared", [("run", str), ("train_churn", bool), ("train_headway", bool)]):  # type: ignore[valid-type]
    """Resolve the date, make every contract's table and view; the run's context, and whether each model is trained."""
    from goldline.ml.store import trains
    from goldline.stages.prepare_run import Settings, prepare_run

    settings = Settings(
        project=project,
        location=location,
        bucket=bucket,
        dataset_prefix=dataset_prefix,
        full_refresh=full_refresh,
        lookback_days=lookback_days,
    )
    context = prepare_run(job, created, scheduled, run_date, catalog, settings)
    return context.model_dump_json(), trains(context, "churn", train), trains(context, "headway", train)
