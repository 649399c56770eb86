"""KFP component `finish_run`."""

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
    """Collect the task records from the lake (an exit task gets no outputs of others); write summary and ops tables."""
    from goldline.runs.settings import Settings
    from goldline.stages.finish_run import finish_run

    settings = Settings(run_date, project, location, bucket, dataset_prefix)
    finish_run(job, settings, flows, status.state, status.error_message)
