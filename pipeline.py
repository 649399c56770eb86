"""goldline, top to bottom, as the data flows: sources, bronze, silver, gold."""

import json

from kfp import dsl

from components.clickstream.generate_clickstream.component import generate_clickstream
from components.evaluate_model import evaluate_model
from components.export_firestore import export_firestore
from components.finish_run import finish_run
from components.land_files import land_files
from components.predict import predict
from components.prepare_run import prepare_run
from components.register_model import register_model
from components.sales.generate_sales.component import generate_sales
from components.sales.train_churn.component import train_churn
from components.startups.generate_startups.component import generate_startups
from components.transit.download_gtfs.component import download_gtfs
from components.transit.download_history.component import download_history
from components.transit.generate_transit.component import generate_transit
from components.transit.load_month.component import load_month
from components.transit.train_headway.component import train_headway
from goldline.spec.tables import everything, flows, landed, loaded, loading, select, source, table


@dsl.pipeline
def simulate(
    enabled: bool,
    run: str,
    run_sales: bool,
    run_clickstream: bool,
    run_startups: bool,
    run_transit: bool,
    collection: str,
    database: str,
    seed: int,
    days: int,
    customers: int,
    click_days: int,
    clicks: int,
    startup_changes: int,
    transit_days: int,
    trains: int,
) -> None:
    """Stands in for the outside world, where there is none."""
    with dsl.If(enabled == True, "simulated"):
        with dsl.If(run_sales == True, "simulated-sales"):
            generate_sales(
                run=run,
                collection=collection,
                database=database,
                seed=seed,
                days=days,
                customers=customers,
            )
        with dsl.If(run_clickstream == True, "simulated-clickstream"):
            generate_clickstream(run=run, seed=seed, days=click_days, events=clicks, customers=customers)
        with dsl.If(run_startups == True, "simulated-startups"):
            generate_startups(run=run, seed=seed, changes=startup_changes)
        with dsl.If(run_transit == True, "simulated-transit"):
            generate_transit(run=run, seed=seed, days=transit_days, trains=trains)


def judge(
    name: str,
    trained: dsl.PipelineTask,
    run: str,
    flow: str,
    floor: float,
    region: str,
    image: str,
    **known: str,
) -> None:
    """Evaluate a trained model beside its baselines; register it if it was accepted."""
    model, dataset = trained.outputs["model"], trained.outputs["dataset"]
    judged = evaluate_model.named(f"evaluate_{name}")(
        run=run, flow=flow, floor=floor, model=model, dataset=dataset, **known
    )
    with dsl.If(judged.outputs["Output"] == True, "accepted"):
        register_model.named(f"register_{name}")(run=run, flow=flow, region=region, image=image, model=model)


@dsl.pipeline
def churn(
    enabled: bool,
    run: str,
    floor: float,
    seed: int,
    collection: str,
    vertex_region: str,
    serving_image: str,
    features: dsl.Input[dsl.Artifact],
) -> None:
    """Past features and what came after them -> a judged model of who leaves, registered if it was accepted."""
    with dsl.If(enabled == True, "train"):
        trained = train_churn(
            run=run,
            select=select("sales/agg_customer_features"),
            contract=source("sales/agg_customer_features"),
            seed=seed,
            features=features,
        )
        judge("churn", trained, run, "sales", floor, vertex_region, serving_image, simulated=collection)


@dsl.pipeline
def sales(
    enabled: bool,
    run: str,
    collection: str,
    database: str,
    export_mode: str,
    train: bool,
    floor: float,
    seed: int,
    vertex_region: str,
    serving_image: str,
) -> None:
    """Firestore documents -> facts, customers, and who of them is about to leave."""
    with dsl.If(enabled == True, "run-sales"):
        exported = export_firestore(
            run=run, contract=source("sales/ext_sales"), collection=collection, database=database, mode=export_mode
        )
        raw = landed("sales/ext_sales", exported.outputs["files"])
        sold = table("sales/stg_sales", run, raw)
        table("sales/dim_customer", run, sold)
        facts = table("sales/fct_sales", run, sold)
        features = table("sales/agg_customer_features", run, facts)
        training = churn(
            enabled=train,
            run=run,
            floor=floor,
            seed=seed,
            collection=collection,
            vertex_region=vertex_region,
            serving_image=serving_image,
            features=features.artifact,
        ).set_caching_options(False)
        predicted = predict.named("predict_churn")(
            run=run,
            flow="sales",
            name="churn",
            features_contract=source("sales/agg_customer_features"),
            select=select("sales/fct_churn_predictions"),
            contract=source("sales/fct_churn_predictions"),
            where="true",
            value="",
            features=features.artifact,
        ).after(training)
        predicted.ignore_upstream_failure()  # a failed training does not stop the night's predictions with the champion


@dsl.pipeline
def clickstream(enabled: bool, run: str) -> None:
    """Lines of JSON that a tracker writes into the lake each day -> sessions."""
    with dsl.If(enabled == True, "run-clickstream"):
        files = land_files.named("land_clickstream")(
            run=run, flow="clickstream", contract=source("clickstream/ext_clickstream")
        )
        clicked = table(
            "clickstream/stg_clickstream", run, landed("clickstream/ext_clickstream", files.outputs["files"])
        )
        table("clickstream/fct_sessions", run, clicked)


@dsl.pipeline
def startups(enabled: bool, run: str) -> None:
    """Lines of JSON that a crawler writes into the lake, a full load, then each week's changes -> their history."""
    with dsl.If(enabled == True, "run-startups"):
        files = land_files.named("land_startups")(run=run, flow="startups", contract=source("startups/ext_startups"))
        changed = table("startups/stg_startups", run, landed("startups/ext_startups", files.outputs["files"]))
        table("startups/dim_startup", run, changed)


@dsl.pipeline
def headway(
    enabled: bool,
    run: str,
    floor: float,
    seed: int,
    stop: str,
    vertex_region: str,
    serving_image: str,
    features: dsl.Input[dsl.Artifact],
) -> None:
    """Past headways -> a judged model of the next one, registered if it was accepted."""
    with dsl.If(enabled == True, "train"):
        trained = train_headway(
            run=run, contract=source("transit/fct_headways"), stop=stop, seed=seed, features=features
        )
        judge("headway", trained, run, "transit", floor, vertex_region, serving_image)


@dsl.pipeline
def transit(
    enabled: bool,
    run: str,
    gtfs_url: str,
    history_url: str,
    history_days: int,
    history_from: str,
    history_to: str,
    simulated: bool,
    stop: str,
    train: bool,
    floor: float,
    seed: int,
    vertex_region: str,
    serving_image: str,
) -> None:
    """A schedule and daily archives of observed trains -> arrivals, headways, and how long the next train takes."""
    with dsl.If(enabled == True, "run-transit"):
        schedule = download_gtfs(run=run, gtfs_url=gtfs_url, simulated=simulated)
        archives = download_history(
            run=run,
            history_url=history_url,
            history_days=history_days,
            history_from=history_from,
            history_to=history_to,
            simulated=simulated,
        )
        bronze = load_month(
            run=run,
            contracts=loading("transit"),
            history=archives.outputs["history"],
            feed=schedule.outputs["feed"],
        )
        observed = loaded("transit", bronze.outputs["tables"])
        arrivals = table("transit/stg_arrivals", run, observed)
        headways = table("transit/fct_headways", run, observed, arrivals)
        training = headway(
            enabled=train,
            run=run,
            floor=floor,
            seed=seed,
            stop=stop,
            vertex_region=vertex_region,
            serving_image=serving_image,
            features=headways.artifact,
        ).set_caching_options(False)
        predicted = predict.named("predict_headway")(
            run=run,
            flow="transit",
            name="headway",
            features_contract=source("transit/fct_headways"),
            select=select("transit/fct_headway_predictions"),
            contract=source("transit/fct_headway_predictions"),
            where="known_at is not null and (@value = '' or stop_id = @value)",
            value=stop,
            features=headways.artifact,
        ).after(training)
        predicted.ignore_upstream_failure()  # as above


@dsl.pipeline(name="goldline", description="Raw events to gold tables to judged models, for one date.")
def goldline(
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
    history_from: str = "",
    history_to: str = "",
    transit_stop: str = "",
    train: str = "auto",
    churn_floor: float = 0.6,
    headway_floor: float = 0.05,
    vertex_region: str = "",
    serving_image: str = "",
    project: str = "",
    location: str = "US",
    bucket: str = "",
    dataset_prefix: str = "",
    full_refresh: str = "",
    lookback_days: int = 0,
    simulated: bool = False,
    seed: int = 7,
    simulated_days: int = 120,
    simulated_customers: int = 2000,
    simulated_click_days: int = 14,
    simulated_clicks: int = 1000,
    simulated_startup_changes: int = 100,
    simulated_transit_days: int = 14,
    simulated_trains: int = 6,
) -> None:
    """Raw events to gold tables to judged models, for one date.

    Args:
        run_date: The date to run, YYYY-MM-DD; empty: the day before the schedule's time, or before the job's creation.
        run_sales: Whether to run the flow sales.
        collection: The Firestore collection of sales.
        database: The Firestore database that holds it.
        export_mode: "auto": what changed since the last export, all of it once a week; "full": all of it.
        run_clickstream: Whether to run the flow clickstream.
        run_startups: Whether to run the flow startups, whose files come once a week.
        run_transit: Whether to run the flow transit.
        gtfs_url: The schedule, a GTFS archive: http(s):// or gs://.
        history_url: The daily archives of observed trains; YYYY-MM-DD stands for the day, which comes a day late.
        history_days: Days up to the run's date that are asked for.
        history_from: First day to ask for instead, YYYY-MM-DD; empty: as many days as history_days says.
        history_to: Last day to ask for instead; empty: the run's date.
        transit_stop: The only stop whose headways are learnt and predicted, such as A32S; empty: all.
        train: "auto": on Mondays, and where there is no model yet; "yes" or "no".
        churn_floor: ROC AUC that a churn model must reach to be used.
        headway_floor: Share by which a headway model's mean absolute error must be below that of the best guess.
        vertex_region: Region of Vertex AI where accepted models are registered; empty: nowhere.
        serving_image: The image that serves them, by digest; empty: they are not registered.
        project: Project of Firestore, lake and warehouse; empty: the environment's.
        location: Where BigQuery's datasets lie.
        bucket: The lake, without gs://; empty: the project's name and "-goldline".
        dataset_prefix: Put before each dataset's name, for a developer's own tables.
        full_refresh: Tables to make anew from all that ever arrived, with commas between; "all" for every one.
        lookback_days: Days before the first unfinished date that are read again.
        simulated: Whether to fill the sources from simulators first; they refuse what they did not make.
        seed: Seed of all that is random.
        simulated_days: Days of history that a first simulated run writes.
        simulated_customers: Customers that the simulated shop has.
        simulated_click_days: Days of clicks that a first simulated run writes.
        simulated_clicks: Events a day on the simulated shop's site, about.
        simulated_startup_changes: Changes a week in the simulated register of startups, about.
        simulated_transit_days: Days before the run's date that the simulated city has archives of.
        simulated_trains: Trains an hour that a route of the simulated city has at the busiest.
    """
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
            catalog=everything(),
            run_date=run_date,
            lookback_days=lookback_days,
            project=project,
            location=location,
            bucket=bucket,
            dataset_prefix=dataset_prefix,
            full_refresh=full_refresh,
            train=train,
        )
        run = prepared.outputs["run"]
        world = simulate(
            enabled=simulated,
            run=run,
            run_sales=run_sales,
            run_clickstream=run_clickstream,
            run_startups=run_startups,
            run_transit=run_transit,
            collection=collection,
            database=database,
            seed=seed,
            days=simulated_days,
            customers=simulated_customers,
            click_days=simulated_click_days,
            clicks=simulated_clicks,
            startup_changes=simulated_startup_changes,
            transit_days=simulated_transit_days,
            trains=simulated_trains,
        ).set_caching_options(False)
        sales(
            enabled=run_sales,
            run=run,
            collection=collection,
            database=database,
            export_mode=export_mode,
            train=prepared.outputs["train_churn"],
            floor=churn_floor,
            seed=seed,
            vertex_region=vertex_region,
            serving_image=serving_image,
        ).after(world).set_caching_options(False)
        clickstream(enabled=run_clickstream, run=run).after(world).set_caching_options(False)
        startups(enabled=run_startups, run=run).after(world).set_caching_options(False)
        transit(
            enabled=run_transit,
            run=run,
            gtfs_url=gtfs_url,
            history_url=history_url,
            history_days=history_days,
            history_from=history_from,
            history_to=history_to,
            simulated=simulated,
            stop=transit_stop,
            train=prepared.outputs["train_headway"],
            floor=headway_floor,
            seed=seed,
            vertex_region=vertex_region,
            serving_image=serving_image,
        ).after(world).set_caching_options(False)
