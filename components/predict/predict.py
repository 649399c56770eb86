"""Predict with the champion, for each row that a features' table has of the run's date.

The predictions go to ops.predictions, where those of a model and date that were loaded last count; a table of the
model's own is then built from them like any other, by the same task: a machine less to start each night.
"""

import datetime
import json
import logging
from collections.abc import Iterator

import pyarrow as pa

from goldline.contract import Row, TableContract
from goldline.jobs import Jobs
from goldline.models import ModelError, Store, conformed, feature_columns, features_of, keys, read_rows
from goldline.ops import Prediction
from goldline.record import CheckResult, now, recorded
from goldline.run import Run
from goldline.schema import fields

LOG = logging.getLogger(__name__)
TABLE = "ops.predictions"


def predict(run: Run, flow: str, name: str, contract_text: str) -> int:
    """Predict, and how many rows that made; none where there is no champion on the run's date.

    Args:
        run: the run's card.
        flow: the flow that the model is of.
        name: the model's.
        contract_text: the contract of the features' table.

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
        rows = _features(run, name, contract)
        champion = store.load(version, {c.name: c.type for c in contract.columns})
        values = champion.predict(rows).tolist()
        common = {"model": name, "model_version": version, "as_of": run.run_date, "run_id": run.run_id}
        _load(run, name, list(_predictions(rows, keys(contract), values, common)))
        record.counts = {"predictions": len(values)}
        LOG.info("%s: %d predictions by %s", name, len(values), version)
        return len(values)


def _features(run: Run, name: str, contract: TableContract) -> pa.Table:
    """The features' rows of the run's date, keys first, in the keys' order."""
    columns = [contract.column(key) for key in keys(contract)] + feature_columns(contract)
    listed = ", ".join(f"`{c.name}`" for c in columns)
    sql = f"select {listed} from `{run.table(contract.table)}` where `{contract.partition_by}` = @run_date"
    rows = conformed(read_rows(run, name, sql, run.run_date), columns)
    if not rows.num_rows:
        raise ModelError(f"model {name}: expected rows of {run.run_date} in {contract.table}, got none")
    return rows.sort_by([(key, "ascending") for key in keys(contract)])


def _predictions(rows: pa.Table, key: list[str], values: list[float], common: Row) -> Iterator[Row]:
    loaded_at: datetime.datetime = now()
    for parts, value in zip(zip(*(rows.column(k).to_pylist() for k in key), strict=True), values, strict=True):
        text = str(parts[0]) if len(parts) == 1 else json.dumps(parts, default=str)
        yield Prediction(**common, key=text, value=value, loaded_at=loaded_at).model_dump(mode="json")


def _load(run: Run, name: str, rows: list[Row]) -> None:
    jobs = Jobs(run, f"predict_{name}")
    jobs.append("load", rows, run.table(TABLE), fields(Prediction.columns()))
