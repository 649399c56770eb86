"""goldline, top to bottom, as the data flows: sources, bronze, silver, gold."""

import json

from kfp import dsl

from components.evaluate_model.component import evaluate_model
from components.export_firestore.component import export_firestore
from components.finish_run.component import finish_run
from components.generate_sales.component import generate_sales
from components.predict.component import predict
from components.prepare_run.component import prepare_run
from components.register_model.component import register_model
from components.train_churn.component import train_churn
from goldline.tables import everything, flows, landed, select, source, table


@dsl.pipeline
def simulate(
    enabled: bool, run: str, run_sales: bool, collection: str, database: str, seed: int, days: int, customers: int
) -> None:
    """Stands in for the outside world, where there is none."""
    with dsl.If(enabled == True, "simulated"), dsl.If(run_sales == True, "simulated-sales"):
        generate_sales(
            run=run,
            collection=collection,
            database=database,
            seed=seed,
            days=days,
            customers=customers,
        )


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
        judged = evaluate_model.named("evaluate_churn")(
            run=run,
            flow="sales",
            floor=floor,
            model=trained.outputs["model"],
            dataset=trained.outputs["dataset"],
            simulated=collection,
        )
        with dsl.If(judged.outputs["Output"] == True, "accepted"):
            register_model.named("register_churn")(
                run=run, flow="sales", region=vertex_region, image=serving_image, model=trained.outputs["model"]
            )


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
            features=features.artifact,
        ).after(training)
        predicted.ignore_upstream_failure()  # a failed training does not stop the night's predictions with the champion


@dsl.pipeline(name="goldline", description="Raw events to gold tables to judged models, for one date.")
def goldline(
    run_date: str = "",
    run_sales: bool = True,
    collection: str = "sales",
    database: str = "(default)",
    export_mode: str = "auto",
    train: str = "auto",
    churn_floor: float = 0.6,
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
) -> None:
    """Raw events to gold tables to judged models, for one date.

    Args:
        run_date: The date to run, YYYY-MM-DD; empty: the day before the schedule's time, or before the job's creation.
        run_sales: Whether to run the flow sales.
        collection: The Firestore collection of sales.
        database: The Firestore database that holds it.
        export_mode: "auto": what changed since the last export, all of it once a week; "full": all of it.
        train: "auto": on Mondays, and where there is no model yet; "yes" or "no".
        churn_floor: ROC AUC that a churn model must reach to be used.
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
            collection=collection,
            database=database,
            seed=seed,
            days=simulated_days,
            customers=simulated_customers,
        ).set_caching_options(False)
        sales(
            enabled=run_sales,
            run=run,
            collection=collection,
            database=database,
            export_mode=export_mode,
            train=prepared.outputs["train"],
            floor=churn_floor,
            seed=seed,
            vertex_region=vertex_region,
            serving_image=serving_image,
        ).after(world).set_caching_options(False)
