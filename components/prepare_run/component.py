"""The face of prepare_run: what goes in, what comes out."""

from goldline.task import task


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
) -> str:
    """Resolve the date, make every contract's table and view, and give the run's card to all other tasks."""
    from components.prepare_run.prepare import Settings, prepare_run

    settings = Settings(
        project=project,
        location=location,
        bucket=bucket,
        dataset_prefix=dataset_prefix,
        full_refresh=full_refresh,
        lookback_days=lookback_days,
    )
    return prepare_run(job, created, scheduled, run_date, catalog, settings).model_dump_json()
