"""Predict with the champion for each row of a SELECT.

Predictions go to ops.predictions; of each model and date only those loaded last are valid. The same task then builds
the model's own table from them, like any other table, so that one machine less starts each night.
"""

import datetime
import json
import logging
from collections.abc import Iterator

import pyarrow as pa
from google.cloud import bigquery

from goldline.contracts.columns import Column, Row
from goldline.contracts.sql import prefixed, reads
from goldline.contracts.table_contract import TableContract
from goldline.ml.features import conformed, keys
from goldline.ml.signature import ModelError
from goldline.ml.store import Store
from goldline.runs.context import RunContext
from goldline.runs.ops import Prediction
from goldline.runs.records import CheckResult, now, recorded
from goldline.runs.run_files import load_catalog
from goldline.warehouse.jobs import Jobs
from goldline.warehouse.read_rows import read_rows
from goldline.warehouse.schema import fields

LOG = logging.getLogger(__name__)
TABLE = "ops.predictions"


def predict(run: RunContext, flow: str, name: str, select: str, value: str = "") -> int:
    """Predict, and load the predictions into ops.predictions.

    Args:
        run: the run's context.
        flow: the flow that the model belongs to.
        name: the model's name.
        select: SELECT of the rows to predict for, from one table of features; it may use `@run_date` and `@value`.
        value: query parameter `@value`, a STRING.

    Returns:
        Number of predictions; 0 if there is no champion on the run date.

    Raises:
        ModelError: the champion does not match its signature, the table or the libraries; or the SELECT gave no rows,
            as when the features' own task failed.
        JobError: BigQuery could not read the features or load the predictions.
    """
    contract = _features_contract(run, name, select)
    store = Store(run, name)
    with recorded(run, f"predict_{name}", flow) as record:
        version = store.champion()
        failing = int(version is None)
        record.checks = [CheckResult(subject=name, name="champion_exists", level="warn", failing=failing)]
        if version is None:
            LOG.warning("%s is not predicted: it has no champion on %s", name, run.run_date)
            return 0
        champion = store.load(version, {c.name: c.type for c in contract.columns})
        key = keys(contract)
        columns = [contract.column(n) for n in dict.fromkeys([*key, *(c.name for c in champion.signature.columns)])]
        rows = _rows(run, name, select, columns, value)
        if not rows.num_rows:
            raise ModelError(f"model {name}: expected rows of {contract.table} to predict for, the SELECT gave none")
        rows = rows.sort_by([(column, "ascending") for column in key])
        values = champion.predict(rows).tolist()
        common = {"model": name, "model_version": version, "as_of": run.run_date, "run_id": run.run_id}
        _load(run, name, list(_predictions(rows, key, values, common)))
        record.counts = {"predictions": len(values)}
        LOG.info("%s: %d predictions by %s", name, len(values), version)
        return len(values)


def _features_contract(run: RunContext, name: str, select: str) -> TableContract:
    """Contract of the one table that the SELECT reads."""
    read = sorted(reads(select))
    if len(read) != 1:
        raise ModelError(f"model {name}: expected a SELECT of one table of features, got one of {', '.join(read)}")
    return load_catalog(run).tables[read[0]]


def _rows(run: RunContext, name: str, select: str, columns: list[Column], value: str) -> pa.Table:
    """Rows with only the columns that the model needs, so that BigQuery reads no others."""
    listed = ", ".join(f"`{c.name}`" for c in columns)
    sql = f"select {listed} from (\n{prefixed(select.rstrip().rstrip(';'), run.dataset_prefix)}\n)"
    given = [bigquery.ScalarQueryParameter("value", "STRING", value)] if "@value" in select else []
    return conformed(read_rows(run, name, sql, run.run_date, given), columns)


def _predictions(rows: pa.Table, key: list[str], values: list[float], common: Row) -> Iterator[Row]:
    loaded_at: datetime.datetime = now()
    for parts, value in zip(zip(*(rows.column(k).to_pylist() for k in key), strict=True), values, strict=True):
        text = str(parts[0]) if len(parts) == 1 else json.dumps(parts, default=str)
        yield Prediction(**common, key=text, value=value, loaded_at=loaded_at).model_dump(mode="json")


def _load(run: RunContext, name: str, rows: list[Row]) -> None:
    jobs = Jobs(run, f"predict_{name}")
    jobs.append("load", rows, run.table(TABLE), fields(Prediction.columns()))
