"""KFP component `land_files`."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def land_files(
    run: str, flow: str, contract: str, files: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]
) -> None:
    """Land the files that arrived for the run's dates, with personal data treated by the source contract's rules."""
    from goldline.runs.context import RunContext
    from goldline.stages.land_files import land_files

    landed = land_files(RunContext.parse(run), flow, contract)
    files.uri, files.metadata = landed.uri, landed.summary()
    metrics.metadata = landed.counts
