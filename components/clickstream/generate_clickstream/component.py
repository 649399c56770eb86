"""KFP component `generate_clickstream`."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_clickstream(run: str, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Write the clicks of a simulated web shop up to the run date; refuse a folder that it did not make."""
    from components.clickstream.generate_clickstream.click_files import SIZES, generate_clickstream
    from goldline.runs.context import RunContext

    context = RunContext.parse(run)
    metrics.metadata = generate_clickstream(context, context.seed, **SIZES[context.simulated_size])
