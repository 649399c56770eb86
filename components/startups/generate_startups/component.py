"""The face of generate_startups: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_startups(run: str, seed: int, changes: int, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Write the weekly loads of a simulated register that are due; refuses a folder that it did not make."""
    from components.startups.generate_startups.startup_files import generate_startups
    from goldline.runs.context import RunContext

    metrics.metadata = generate_startups(RunContext.parse(run), seed, changes)
