"""The face of land_files: what goes in, what comes out."""

from kfp import dsl

from goldline.task import task


@task(memory="2G")
def land_files(
    run: str, flow: str, contract: str, files: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]
) -> None:
    """Take in the files that arrived for the run's dates, personal data treated as the source's contract says."""
    from components.land_files.land import land_files
    from goldline.run import Run

    landed = land_files(Run.parse(run), flow, contract)
    files.uri, files.metadata = landed.uri, landed.summary()
    metrics.metadata = landed.counts
