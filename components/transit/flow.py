"""Flow transit: a schedule and daily archives of observed trains -> arrivals, headways, predicted headways."""

from kfp import dsl

from components.tasks import evaluate_and_register, table
from components.transit.download_gtfs.component import download_gtfs
from components.transit.download_history.component import download_history
from components.transit.generate_transit.component import generate_transit
from components.transit.load_month.component import load_month
from components.transit.train_headway.component import train_headway
from goldline.spec.tables import loaded_tables


@dsl.pipeline
def simulate_transit(size: str, run: str) -> None:
    """Write the schedule and archives of a simulated city into the lake, unless `size` is none."""
    with dsl.If(size != "none", "simulated"):
        generate_transit(run=run)


@dsl.pipeline
def headway(train: bool, run: str, stop: str, features: dsl.Input[dsl.Artifact]) -> None:
    """Train a model of the next headway on past ones; evaluate it; register it if it is accepted."""
    with dsl.If(train == True, "train"):
        trained = train_headway(run=run, stop=stop, features=features)
        evaluate_and_register("headway", trained, run, "transit")


@dsl.pipeline
def transit(
    run: str, train: bool, gtfs_url: str, history_url: str, history_days: int, history_range: str, stop: str
) -> None:
    """A schedule and daily archives of observed trains -> arrivals, headways, predicted headways."""
    schedule = download_gtfs(run=run, gtfs_url=gtfs_url)
    archives = download_history(
        run=run, history_url=history_url, history_days=history_days, history_range=history_range
    )
    bronze = load_month(run=run, history=archives.outputs["history"], feed=schedule.outputs["feed"])
    observed = loaded_tables("transit", bronze.outputs["tables"])
    arrivals = table("transit/stg_arrivals", run, observed)
    headways = table("transit/fct_headways", run, observed, arrivals)
    training = headway(train=train, run=run, stop=stop, features=headways.artifact)
    table("transit/fct_headway_predictions", run, headways, value=stop, after=training)
