"""KFP component `generate_startups`."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_startups(run: str, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Write the weekly loads of a simulated register that are due; refuse a folder that it did not make."""
    from components.startups.generate_startups.startup_files import SIZES, generate_startups
    from goldline.runs.context import RunContext

    context = RunContext.parse(run)
    metrics.metadata = generate_startups(context, context.seed, **SIZES[context.simulated_size])
