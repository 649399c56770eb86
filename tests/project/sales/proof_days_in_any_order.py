"""Fourteen days of sales in order, in a random order, and with three of them run twice: the same rows in every table.

`make proof-days` runs it: it takes some minutes, so it is no part of `make test`. Tasks are called as functions, on the
real servers; each way has datasets and a collection of its own.
"""

import json
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from google.cloud import bigquery

from components.sales.generate_sales.sales_documents import generate_sales
from goldline.contracts.table_contract import TableContract
from goldline.contracts.table_names import DATASETS
from goldline.runs.context import RunContext
from goldline.runs.settings import Settings
from goldline.spec.tables import catalog, contract_json, contracts, select
from goldline.stages.build_table import build_table
from goldline.stages.export_firestore.export import export_firestore
from goldline.stages.prepare_run import prepare_run

FIRST, DAYS, CUSTOMERS, SEED, HISTORY = date(2026, 11, 7), 14, 300, 7, 10
TABLES = ["sales/stg_sales", "sales/dim_customer", "sales/fct_sales"]
DATABASE = "(default)"


def run_day(run: RunContext, day: date, collection: str) -> None:
    """What the pipeline does for one date."""
    settings = Settings(day.isoformat(), run.project, run.location, run.bucket, run.dataset_prefix)
    job = f"{run.run_id}-{uuid.uuid4().hex[:8]}"
    context = prepare_run(job, "", "", catalog().pack(), settings)
    generate_sales(context, collection, DATABASE, SEED, HISTORY, CUSTOMERS)
    export_firestore(context, contract_json("sales/ext_sales"), collection, DATABASE)
    for table in TABLES:
        build_table(context, "sales", select(table), contract_json(table))


def content(client: bigquery.Client, run: RunContext) -> dict[str, list[str]]:
    """All rows, load metadata aside."""
    found = {}
    for path in TABLES:
        contract = contracts()[path]
        assert isinstance(contract, TableContract)
        rows = client.query_and_wait(f"select * from `{run.table(contract.table)}`")
        found[path] = sorted(json.dumps(_content(dict(row.items())), default=str) for row in rows)
    return found


def _content(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


@pytest.mark.timeout(1500)
def test_fourteen_days_in_any_order_give_the_same_rows(
    client: bigquery.Client, new_run: Callable[..., RunContext]
) -> None:
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    dice = random.Random(SEED)
    shuffled = dice.sample(days[1:], DAYS - 1)
    # The first day writes the history; whatever comes first would else begin another one.
    ways: dict[str, Sequence[date]] = {
        "in order": days,
        "in random order": [days[0], *shuffled],
        "three of them twice": [*days, *dice.sample(days, 3)],
    }
    outcomes = {}
    base = new_run()
    for number, (way, order) in enumerate(ways.items()):
        run = base.model_copy(update={"dataset_prefix": f"{base.dataset_prefix}{number}_"})
        collection = f"proof-{uuid.uuid4().hex[:8]}"
        for day in order:
            run_day(run, day, collection)
        outcomes[way] = content(client, run)
        for dataset in DATASETS:
            client.delete_dataset(f"{run.project}.{run.dataset(dataset)}", delete_contents=True)
    for way, outcome in outcomes.items():
        for table, rows in outcome.items():
            assert rows == outcomes["in order"][table], f"{table} differs {way}"
