"""The face of generate_transit: what goes in, what comes out."""

from kfp import dsl

from goldline.task import task


@task(memory="2G")
def generate_transit(run: str, seed: int, days: int, trains: int, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Publish a simulated city's schedule and the archives of its days; refuses a folder that it did not make."""
    from components.generate_transit.generate import generate_transit
    from goldline.run import Run

    metrics.metadata = generate_transit(Run.parse(run), seed, days, trains)
