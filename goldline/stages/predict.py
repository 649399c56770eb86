"""Predict with the champion, for each row that a features' table has of the run's date.

Of a table that is no snapshot, whose days come late, the newest day up to the run's date is taken.

The predictions go to ops.predictions, where those of a model and date that were loaded last count; a table of the
model's own is then built from them like any other, by the same task: a machine less to start each night.
"""

import datetime
import json
import logging
from collections.abc import Iterator

import pyarrow as pa
from google.cloud import bigquery

from goldline.contracts.contract import Column, Row, TableContract
from goldline.ml.store import ModelError, Store, conformed, features_of, keys, read_rows
from goldline.runs.context import RunContext
from goldline.runs.ops import Prediction
from goldline.runs.records import CheckResult, now, recorded
from goldline.warehouse.jobs import Jobs
from goldline.warehouse.schema import fields

LOG = logging.getLogger(__name__)
TABLE = "ops.predictions"
LATE_DAYS = 14  # that the newest day of a table may lie before the run's date


def predict(run: RunContext, flow: str, name: str, contract_text: str, where: str = "true", value: str = "") -> int:
    """Predict, and how many rows that made; none where there is no champion on the run's date.

    Args:
        run: the run's context.
        flow: the flow that the model is of.
        name: the model's.
        contract_text: the contract of the features' table.
        where: a condition in SQL, written in pipeline.py, on the rows to predict for; it may ask for `@value`.
        value: a parameter of the run.

    Raises:
        ModelError: the champion is not what its signature says, or does not fit the table or the libraries; or there
            is nothing to predict from, as when the features' own task failed.
        JobError: BigQuery could not read the features or load the predictions.
    """
    contract = features_of(contract_text)
    store = Store(run, name)
    with recorded(run, f"predict_{name}", flow) as record:
        version = store.champion()
        check = {"subject": name, "name": "there is a champion", "level": "warn", "failing": int(version is None)}
        record.checks.append(CheckResult.model_validate(check))
        if version is None:
            LOG.warning("%s is not predicted: it has no champion on %s", name, run.run_date)
            return 0
        champion = store.load(version, {c.name: c.type for c in contract.columns})
        columns = [contract.column(key) for key in keys(contract)]
        columns += [contract.column(c.name) for c in champion.signature.columns if c.name not in keys(contract)]
        rows = _features(run, name, contract, columns, (where, value))
        values = champion.predict(rows).tolist()
        common = {"model": name, "model_version": version, "as_of": run.run_date, "run_id": run.run_id}
        _load(run, name, list(_predictions(rows, keys(contract), values, common)))
        record.counts = {"predictions": len(values)}
        LOG.info("%s: %d predictions by %s", name, len(values), version)
        return len(values)


def _features(
    run: RunContext, name: str, contract: TableContract, columns: list[Column], which: tuple[str, str]
) -> pa.Table:
    """The features' rows of the date, keys first, in the keys' order."""
    day = run.run_date if contract.write == "snapshot" else _newest(run, name, contract)
    listed = ", ".join(f"`{c.name}`" for c in columns)
    where, value = which
    sql = (
        f"select {listed} from `{run.table(contract.table)}` where `{contract.partition_by}` = @run_date and ({where})"
    )
    given = [bigquery.ScalarQueryParameter("value", "STRING", value)] if "@value" in where else []
    rows = conformed(read_rows(run, name, sql, day, given), columns)
    if not rows.num_rows:
        raise ModelError(f"model {name}: expected rows of {day} in {contract.table}, got none")
    return rows.sort_by([(key, "ascending") for key in keys(contract)])


def _newest(run: RunContext, name: str, contract: TableContract) -> datetime.date:
    """The newest day that a table has, of the two weeks up to the run's date."""
    day = f"`{contract.partition_by}`"
    sql = (
        f"select max({day}) as newest from `{run.table(contract.table)}` "
        f"where {day} between date_sub(@run_date, interval {LATE_DAYS} day) and @run_date"
    )
    found: datetime.date | None = read_rows(run, name, sql, run.run_date).column("newest")[0].as_py()
    if found is None:
        since = run.run_date - datetime.timedelta(days=LATE_DAYS)
        raise ModelError(f"model {name}: expected rows of {since} to {run.run_date} in {contract.table}, got none")
    return found


def _predictions(rows: pa.Table, key: list[str], values: list[float], common: Row) -> Iterator[Row]:
    loaded_at: datetime.datetime = now()
    for parts, value in zip(zip(*(rows.column(k).to_pylist() for k in key), strict=True), values, strict=True):
        text = str(parts[0]) if len(parts) == 1 else json.dumps(parts, default=str)
        yield Prediction(**common, key=text, value=value, loaded_at=loaded_at).model_dump(mode="json")


def _load(run: RunContext, name: str, rows: list[Row]) -> None:
    jobs = Jobs(run, f"predict_{name}")
    jobs.append("load", rows, run.table(TABLE), fields(Prediction.columns()))
