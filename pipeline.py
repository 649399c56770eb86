"""The pipeline: parameters and wiring, read top to bottom as the data flows."""

import json

from kfp import dsl

from components.clickstream.flow import clickstream, simulate_clickstream
from components.finish_run import finish_run
from components.prepare_run import prepare_run
from components.sales.flow import sales, simulate_sales
from components.startups.flow import simulate_startups, startups
from components.transit.flow import simulate_transit, transit
from goldline.spec.tables import catalog, flows


@dsl.pipeline(name="goldline", description="Raw events to gold tables to evaluated models, for one run date.")
def pipeline(
    run_date: str = "",
    run_sales: bool = True,
    collection: str = "sales",
    database: str = "(default)",
    export_mode: str = "auto",
    run_clickstream: bool = True,
    run_startups: bool = True,
    run_transit: bool = True,
    gtfs_url: str = "https://rrgtfsfeeds.s3.amazonaws.com/gtfs_subway.zip",
    history_url: str = "https://subwaydata.nyc/data/subwaydatanyc_YYYY-MM-DD_csv.tar.xz",
    history_days: int = 7,
    history_range: str = "",
    transit_stop: str = "",
    train: str = "auto",
    vertex_region: str = "",
    serving_image: str = "",
    project: str = "",
    location: str = "US",
    bucket: str = "",
    dataset_prefix: str = "",
    full_refresh: str = "",
    lookback_days: int = 0,
    simulated_size: str = "none",
    seed: int = 7,
) -> None:
    """Raw events to gold tables to evaluated models, for one run date.

    Args:
        run_date: Date to run, YYYY-MM-DD, UTC; empty: the day before the schedule's time, or before the job's creation.
        run_sales: Run the flow sales.
        collection: Firestore collection of sales.
        database: Firestore database of the collection.
        export_mode: "auto": changes since the last export, and once a week the whole collection; "full": the whole.
        run_clickstream: Run the flow clickstream.
        run_startups: Run the flow startups, whose files come once a week.
        run_transit: Run the flow transit.
        gtfs_url: URL of the schedule, a GTFS archive: http(s):// or gs://.
        history_url: URL of the daily archives of observed trains; YYYY-MM-DD stands for the date.
        history_days: Number of days to ask for, up to the run date; an archive is published a day late.
        history_range: Days to ask for instead, FIRST..LAST, each YYYY-MM-DD; LAST may be left out: the run date.
        transit_stop: The only stop to learn and predict headways of, such as A32S; empty: all stops.
        train: "auto": when the run date is a Monday, and if there is no usable model; "yes"; "no".
        vertex_region: Region of Vertex AI that registers accepted models; empty: none. An environment fills in its own.
        serving_image: Image, by digest, that serves registered models; empty: none. An environment fills in its own.
        project: Project of Firestore, lake and warehouse; empty: the environment's.
        location: Location of BigQuery's datasets; an environment fills in its own.
        bucket: Bucket of the lake, without gs://; empty: the environment's, or the project's id and "-goldline".
        dataset_prefix: Prefix of each dataset's name, for a developer's own tables.
        full_refresh: Tables to rebuild from all data that ever arrived, separated by commas; "all": every table.
        lookback_days: Number of days before the first unfinished date to read again.
        simulated_size: "small", "demo" or "large": simulators fill the sources first; "none": no simulator runs.
        seed: Seed of all that is random.
    """
    # Declared first, because the handler takes it; it runs last, whatever failed.
    finish = finish_run(
        job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        flows=json.dumps(flows()),
        run_date=run_date,
        project=project,
        location=location,
        bucket=bucket,
        dataset_prefix=dataset_prefix,
    )
    with dsl.ExitHandler(finish, name="run"):
        prepared = prepare_run(
            job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
            scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
            catalog=catalog().pack(),
            run_date=run_date,
            lookback_days=lookback_days,
            project=project,
            location=location,
            bucket=bucket,
            dataset_prefix=dataset_prefix,
            full_refresh=full_refresh,
            train=train,
            seed=seed,
            simulated_size=simulated_size,
            vertex_region=vertex_region,
            serving_image=serving_image,
        )
        # run: RunContext as JSON; due: whether models are to be trained.
        run, due = prepared.outputs["run"], prepared.outputs["train"]
        with dsl.If(run_sales == True, "run-sales"):
            simulated = simulate_sales(size=simulated_size, run=run, collection=collection, database=database)
            sales(run=run, train=due, collection=collection, database=database, export_mode=export_mode).after(
                simulated
            )
        with dsl.If(run_clickstream == True, "run-clickstream"):
            simulated = simulate_clickstream(size=simulated_size, run=run)
            clickstream(run=run).after(simulated)
        with dsl.If(run_startups == True, "run-startups"):
            simulated = simulate_startups(size=simulated_size, run=run)
            startups(run=run).after(simulated)
        with dsl.If(run_transit == True, "run-transit"):
            simulated = simulate_transit(size=simulated_size, run=run)
            transit(
                run=run,
                train=due,
                gtfs_url=gtfs_url,
                history_url=history_url,
                history_days=history_days,
                history_range=history_range,
                stop=transit_stop,
            ).after(simulated)
