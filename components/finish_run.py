"""The face of finish_run: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def finish_run(
    job: str,
    flows: str,
    run_date: str,
    project: str,
    location: str,
    bucket: str,
    dataset_prefix: str,
    status: dsl.PipelineTaskFinalStatus,
) -> None:
    """Read what each task told of itself (an exit task gets nothing from others), write summary and ops tables."""
    from goldline.stages.finish_run import finish_run
    from goldline.stages.prepare_run import Settings

    settings = Settings(project=project, location=location, bucket=bucket, dataset_prefix=dataset_prefix)
    finish_run(job, run_date, settings, flows, status.state, status.error_message)
