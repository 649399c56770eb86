"""The face of generate_clickstream: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_clickstream(
    run: str, seed: int, days: int, events: int, customers: int, metrics: dsl.Output[dsl.Metrics]
) -> None:
    """Write the clicks of a simulated web shop up to the run's date; refuses a folder that it did not make."""
    from components.clickstream.generate_clickstream.click_files import generate_clickstream
    from goldline.runs.context import RunContext

    metrics.metadata = generate_clickstream(RunContext.parse(run), seed, days, events, customers)
