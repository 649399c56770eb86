"""Train the headway model: minutes until the next train, from what is known when the previous one leaves.

Rows are split by time: the last fifth of the days is the test set; each training headway ended before the test's first
one began. There are three baselines: the median of such hours, the headway before, and the schedule.
"""

import datetime
import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.cloud import bigquery

from goldline.contracts.columns import Column
from goldline.contracts.table_contract import TableContract
from goldline.ml.features import BASELINE, LABEL, Vector, conformed, filled, keys, labels, matrix
from goldline.ml.store import Fitted, Store, Trained
from goldline.ml.training import is_due
from goldline.runs.context import RunContext
from goldline.runs.records import CheckResult, recorded
from goldline.runs.run_files import load_catalog
from goldline.warehouse.read_rows import read_rows

LOG = logging.getLogger(__name__)
NAME = "headway"
FLOW = "transit"
TABLE = "gold.fct_headways"
# Least skill of an accepted model: share by which its mean absolute error is below that of the best baseline.
FLOOR = 0.05
TARGET = "headway_minutes"
# All of them are known when the previous train leaves; tests/project/transit/test_headways.py changes what comes after.
FEATURES = (
    "direction_id",
    "previous_headway_minutes",
    "is_previous_same_route",
    "previous_gap_minutes",
    "upstream_gap_minutes",
    "is_next_upstream",
    "upstream_minutes",
    "scheduled_headway_minutes",
    "median_headway_minutes",
    "hour_sin",
    "hour_cos",
    "weekday",
    "month_sin",
    "month_cos",
)
BASELINES = {
    "median": "median_headway_minutes",
    "last": "previous_headway_minutes",
    "schedule": "scheduled_headway_minutes",
}
DAYS = 60  # before the run date, for training and test
DAYS_MIN = 5  # least number of days with headways, for training and test
TEST_SHARE = 0.2  # of the days
ROWS_MAX = 400_000  # of training and test: a quarter of a gigabyte; more do not improve the model
ROWS_MIN = 100  # of each of them

# Of more rows than ROWS_MAX, THINNED takes those that arrive in every n-th second.
ROWS = f"""select {{columns}}
from `{{headways}}`
where
    service_date between date_sub(@run_date, interval {DAYS} day) and @run_date
    and known_at is not null
    and {TARGET} > 0.5 and {TARGET} < 120
    and (@stop = '' or stop_id = @stop)"""
THINNED = "\n    and mod(unix_seconds(arrived_at), @every) = 0"


@dataclass(frozen=True)
class Rows:
    """Training and test rows, each with key, features and label."""

    train: pa.Table
    test: pa.Table


def train_headway(run: RunContext, stop: str) -> Trained | None:
    """Train a version if it is due, on the table of headways; None if it is not, or the history is too short."""
    return train(run, load_catalog(run).tables[TABLE], stop) if is_due(run, NAME) else None


def train(run: RunContext, contract: TableContract, stop: str) -> Trained | None:
    """Train a version and store it in the lake; None if the history is too short.

    Args:
        run: the run's context.
        contract: contract of gold.fct_headways.
        stop: id of the only stop to learn from; empty: all.

    Raises:
        ModelError: the table is not what its contract says.
        JobError: BigQuery could not read it.
    """
    with recorded(run, f"train_{NAME}", FLOW) as record:
        table = read(run, contract, stop)
        rows, days = split(table), pc.count_distinct(table["service_date"]).as_py()
        check = partial(CheckResult, subject=NAME, level="warn", failing=int(rows is None))
        record.checks.append(check(name="history_long_enough", observed=days, threshold=DAYS_MIN))
        if rows is None:
            least = f"{DAYS_MIN} days, and {ROWS_MIN} headways to learn from and to judge on"
            LOG.warning("%s is not trained: %d days have headways; it takes %s", NAME, days, least)
            return None
        trained = Store(run, NAME).add(fit(contract, rows, run.seed))
        record.counts = dict(trained.signature.metrics)
        return trained


def read(run: RunContext, contract: TableContract, stop: str) -> pa.Table:
    """Headways of the last DAYS days: key, features, `known_at`, `arrived_at` and label, in the order of time."""
    given = [bigquery.ScalarQueryParameter("stop", "STRING", stop)]
    sql = ROWS.format(columns="count(*) as row_count", headways=run.table(contract.table))
    count = read_rows(run, NAME, sql, run.run_date, given).column("row_count")[0].as_py()
    columns = _columns(contract)
    sql = ROWS.format(columns=", ".join(f"`{c.name}`" for c in columns), headways=run.table(contract.table))
    if (every := math.ceil(count / ROWS_MAX)) > 1:
        sql += THINNED
        given.append(bigquery.ScalarQueryParameter("every", "INT64", every))
    rows = conformed(read_rows(run, NAME, sql, run.run_date, given), columns)
    rows = rows.append_column(LABEL, rows.column(TARGET)).drop_columns([TARGET])
    return rows.sort_by([(name, "ascending") for name in ("known_at", *keys(contract))])


def split(rows: pa.Table) -> Rows | None:
    """Split by time: test rows of the last days, training rows that ended before these began; None if too few."""
    days = sorted(rows.column("service_date").unique().to_pylist())
    if len(days) < DAYS_MIN:
        return None
    first: datetime.date = days[-max(round(len(days) * TEST_SHARE), 1)]
    test = rows.filter(pc.greater_equal(rows["service_date"], first))
    begun = pc.min(test["known_at"])
    train = rows.filter(pc.and_(pc.less(rows["service_date"], first), pc.less(rows["arrived_at"], begun)))
    return Rows(train, test) if min(train.num_rows, test.num_rows) >= ROWS_MIN else None


def fit(contract: TableContract, rows: Rows, seed: int) -> Fitted:
    """Fit the model on the training rows; add the baselines' predictions to the test rows."""
    columns = filled([contract.column(name) for name in FEATURES], rows.train)
    return Fitted(
        model=regressor(seed).fit(matrix(rows.train, columns), labels(rows.train)),
        kind="regression",
        columns=columns,
        target="minutes from one train of a route and direction at a stop to the next",
        trained_until=max(rows.train.column("service_date").to_pylist()),
        train=rows.train,
        test=_test_rows(rows),
        seed=seed,
        metrics={"train_rows": rows.train.num_rows, "test_rows": rows.test.num_rows},
        floor=FLOOR,
    )


def regressor(seed: int) -> Any:  # noqa: ANN401, scikit-learn has no types
    """Boosted trees fitted to the absolute error, the error that they are evaluated by."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss="absolute_error",
        learning_rate=0.1,
        max_iter=150,
        min_samples_leaf=40,
        early_stopping=False,
        random_state=seed,
    )


def _columns(contract: TableContract) -> list[Column]:
    names = dict.fromkeys((*keys(contract), "known_at", "arrived_at", *FEATURES, TARGET))
    return [contract.column(name) for name in names]


def _test_rows(rows: Rows) -> pa.Table:
    """Test rows with the prediction of each baseline: its column, or where that is NULL the training median."""
    middle = float(np.median(labels(rows.train)))
    test = rows.test.drop_columns(["known_at", "arrived_at"])
    for name, column in BASELINES.items():
        guess: Vector = np.asarray(pc.fill_null(test[column], middle).to_numpy(), dtype=np.float64)
        test = test.append_column(f"{BASELINE}_{name}", pa.array(guess))
    return test
