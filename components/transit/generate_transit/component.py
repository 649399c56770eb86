"""KFP component `generate_transit`."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_transit(run: str, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Publish a simulated city's schedule, and archives of the days before; refuse a folder that it did not make."""
    from components.transit.generate_transit.transit_files import SIZES, generate_transit
    from goldline.runs.context import RunContext

    context = RunContext.parse(run)
    metrics.metadata = generate_transit(context, context.seed, **SIZES[context.simulated_size])
