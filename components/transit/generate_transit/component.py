"""The face of generate_transit: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_transit(run: str, seed: int, days: int, trains: int, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Publish a simulated city's schedule and the archives of its days; refuses a folder that it did not make."""
    from components.transit.generate_transit.transit_files import generate_transit
    from goldline.runs.context import RunContext

    metrics.metadata = generate_transit(RunContext.parse(run), seed, days, trains)
