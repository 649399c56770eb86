"""goldline, top to bottom, as the data flows: sources, bronze, silver, gold."""

import json

from kfp import dsl

from components.export_firestore.component import export_firestore
from components.finish_run.component import finish_run
from components.generate_sales.component import generate_sales
from components.prepare_run.component import prepare_run
from goldline.tables import everything, flows, landed, source, table


@dsl.pipeline
def simulate(
    enabled: bool, run: str, run_sales: bool, collection: str, database: str, seed: int, days: int, sales_per_day: int
) -> None:
    """Stands in for the outside world, where there is none."""
    with dsl.If(enabled == True, "simulated"), dsl.If(run_sales == True, "simulated-sales"):
        generate_sales(
            run=run,
            collection=collection,
            database=database,
            seed=seed,
            days=days,
            sales_per_day=sales_per_day,
        )


@dsl.pipeline
def sales(enabled: bool, run: str, collection: str, database: str) -> None:
    """Firestore documents -> facts and customers."""
    with dsl.If(enabled == True, "run-sales"):
        exported = export_firestore(
            run=run, contract=source("sales/ext_sales"), collection=collection, database=database
        )
        raw = landed("sales/ext_sales", exported.outputs["files"])
        sold = table("sales/stg_sales", run, raw)
        table("sales/dim_customer", run, sold)
        facts = table("sales/fct_sales", run, sold)
        table("sales/agg_customer_features", run, facts)


@dsl.pipeline(name="goldline", description="Raw events to gold tables to judged models, for one date.")
def goldline(
    run_date: str = "",
    run_sales: bool = True,
    collection: str = "sales",
    database: str = "(default)",
    project: str = "",
    location: str = "US",
    bucket: str = "",
    dataset_prefix: str = "",
    full_refresh: str = "",
    lookback_days: int = 0,
    simulated: bool = False,
    seed: int = 7,
    simulated_days: int = 30,
    simulated_sales_per_day: int = 150,
) -> None:
    """Raw events to gold tables to judged models, for one date.

    Args:
        run_date: The date to run, YYYY-MM-DD; empty: the day before the schedule's time, or before the job's creation.
        run_sales: Whether to run the flow sales.
        collection: The Firestore collection of sales.
        database: The Firestore database that holds it.
        project: Project of Firestore, lake and warehouse; empty: the environment's.
        location: Where BigQuery's datasets lie.
        bucket: The lake, without gs://; empty: the project's name and "-goldline".
        dataset_prefix: Put before each dataset's name, for a developer's own tables.
        full_refresh: Tables to make anew from all that ever arrived, with commas between; "all" for every one.
        lookback_days: Days before the first unfinished date that are read again.
        simulated: Whether to fill the sources from simulators first; they refuse what they did not make.
        seed: Seed of all that is random.
        simulated_days: Days of history that a first simulated run writes.
        simulated_sales_per_day: Sales that are simulated a day.
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
        run = prepare_run(
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
        ).output
        world = simulate(
            enabled=simulated,
            run=run,
            run_sales=run_sales,
            collection=collection,
            database=database,
            seed=seed,
            days=simulated_days,
            sales_per_day=simulated_sales_per_day,
        ).set_caching_options(False)
        sales(enabled=run_sales, run=run, collection=collection, database=database).after(world).set_caching_options(
            False
        )
