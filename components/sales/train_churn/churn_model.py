"""Train the churn model on past cut-offs: customers who will not buy again in the next 30 days.

For each cut-off, features come from the features' SELECT with `@run_date` on that day, labels from the days strictly
after it. The latest cut-off is the test set. Training uses cut-offs whose labels were known by then, so that no day is
in both.
"""

import datetime
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from goldline.contracts.columns import Column
from goldline.contracts.sql import prefixed
from goldline.contracts.table_contract import TableContract
from goldline.ml.features import (
    BASELINE,
    LABEL,
    Matrix,
    Vector,
    conformed,
    feature_columns,
    filled,
    keys,
    labels,
    matrix,
)
from goldline.ml.signature import ModelError
from goldline.ml.store import Fitted, Store, Trained
from goldline.ml.training import is_due
from goldline.runs.context import RunContext
from goldline.runs.records import CheckResult, record_of, recorded
from goldline.runs.run_files import load_catalog
from goldline.warehouse.read_rows import read_rows

LOG = logging.getLogger(__name__)
NAME = "churn"
FLOW = "sales"
FEATURES = "gold.agg_customer_features"
FLOOR = 0.6  # least ROC AUC of an accepted model
DAY = datetime.timedelta(days=1)
HORIZON = 30 * DAY  # without a valid purchase for so long, a customer has churned
STEP = 7 * DAY
CUTOFFS_MAX = 8
HISTORY_MIN = 14 * DAY  # least history of sales before a cut-off
ROWS_MAX = 30_000  # training rows of a cut-off: half a gigabyte in all; more do not improve the model
CLASS_MIN = 10  # least rows of each class, in training and in test
RECENCY = "recency_days"  # the baseline's only feature
STRENGTH = 0.01  # C of the logistic regression: a smaller one regularises more

# A customer without a valid purchase in the days after @run_date has churned.
TRAINING = f"""select features.*, buyers.customer_id is null as {LABEL}
from (
{{select}}
) as features
left join (
    select distinct customer_id
    from `{{sales}}`
    where is_valid and sale_date > @run_date and sale_date <= date_add(@run_date, interval {HORIZON.days} day)
) as buyers
    on features.customer_id = buyers.customer_id"""
FIRST_SALE = "select min(sale_date) as first_sale from `{sales}` where sale_date <= @run_date"


@dataclass(frozen=True)
class Rows:
    """Training and test rows, each with key, `cutoff`, features and label."""

    train: pa.Table
    test: pa.Table

    def check(self) -> None:
        """Refuse rows with too few of a class.

        Raises:
            ModelError: training or test has too few rows of a class.
        """
        for name, rows in {"training": self.train, "test": self.test}.items():
            churned = int(labels(rows).sum())
            if min(churned, rows.num_rows - churned) < CLASS_MIN:
                raise ModelError(
                    f"model {NAME}: expected {CLASS_MIN} {name} rows of each class, got {churned} that churned and "
                    f"{rows.num_rows - churned} that did not (cut-offs {', '.join(map(str, days(rows)))})"
                )


def train_churn(run: RunContext) -> Trained | None:
    """Train a version with the SELECT that built this run's features; None if it is not due or history is too short.

    Raises:
        LakeError: the run did not build them.
        As `train`.
    """
    if not is_due(run, NAME):
        return None
    contract = load_catalog(run).tables[FEATURES]
    built = record_of(run, contract.name)
    if built is None or built.select is None:
        raise ModelError(f"model {NAME}: expected a record of how this run built {FEATURES}, got none")
    return train(run, built.select, contract)


def train(run: RunContext, select: str, contract: TableContract) -> Trained | None:
    """Train a version and store it in the lake; None if the history is too short.

    Args:
        run: the run's context.
        select: SELECT of the features' table.
        contract: contract of the features' table.

    Raises:
        ModelError: too few rows, or of one class only, or the SELECT does not give what the contract says.
        JobError: BigQuery could not run the SELECT.
    """
    with recorded(run, f"train_{NAME}", FLOW) as record:
        first, least = first_sale(run), reach().days
        days, known = cutoffs(run.run_date, first), (run.run_date - (first or run.run_date)).days
        check = partial(CheckResult, subject=NAME, level="warn", failing=int(len(days) < 2))
        record.checks.append(check(name="history_long_enough", observed=known, threshold=least))
        if len(days) < 2:
            LOG.warning("%s is not trained: sales reach back %d days, and must %d", NAME, known, least)
            return None
        rows = read(run, select, contract, days, run.seed)
        rows.check()
        trained = Store(run, NAME).add(fit(contract, rows, run.seed))
        record.counts = dict(trained.signature.metrics)
        return trained


def cutoffs(run_date: datetime.date, first: datetime.date | None) -> list[datetime.date]:
    """Cut-offs: the test's, then those of training, whose labels all end on or before it; empty without sales."""
    if first is None:
        return []
    test = run_date - HORIZON
    learnt = [test - HORIZON - i * STEP for i in range(CUTOFFS_MAX - 1)]
    return [day for day in (test, *learnt) if day - first >= HISTORY_MIN]


def reach() -> datetime.timedelta:
    """Least history of sales for a test and one training cut-off."""
    return HORIZON + HORIZON + HISTORY_MIN


def first_sale(run: RunContext) -> datetime.date | None:
    """Date of the first sale up to the run date; None without sales."""
    found = read_rows(run, NAME, FIRST_SALE.format(sales=run.table("gold.fct_sales")), run.run_date)
    first: datetime.date | None = found.column("first_sale")[0].as_py()
    return first


def read(run: RunContext, select: str, contract: TableContract, days: Sequence[datetime.date], seed: int) -> Rows:
    """Read the rows of all cut-offs `days`; those of the first are the test."""
    text = prefixed(select.rstrip().rstrip(";"), run.dataset_prefix)
    sql = TRAINING.format(select=text, sales=run.table("gold.fct_sales"))
    test, *learnt = days
    parts = [sampled(_of(day, read_rows(run, NAME, sql, day), contract), ROWS_MAX, seed) for day in learnt]
    return Rows(pa.concat_tables(parts), _of(test, read_rows(run, NAME, sql, test), contract))


def sampled(rows: pa.Table, most: int, seed: int) -> pa.Table:
    """Random sample of at most `most` rows, in their order."""
    if rows.num_rows <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(rows.num_rows, most, replace=False)))


def _of(day: datetime.date, rows: pa.Table, contract: TableContract) -> pa.Table:
    """Rows of a cut-off sorted by key, with the columns key, cut-off, features, label."""
    key = keys(contract)
    columns = [contract.column(name) for name in key] + feature_columns(contract)
    kept = conformed(rows, columns)
    kept = kept.add_column(len(key), "cutoff", pa.array([day] * rows.num_rows, pa.date32()))
    kept = kept.append_column(LABEL, rows.column(LABEL).cast(pa.float64()))
    return kept.sort_by([(name, "ascending") for name in key])


def fit(contract: TableContract, rows: Rows, seed: int) -> Fitted:
    """Fit the model and the baseline on the training rows; add the baseline's predictions to the test rows."""
    columns = filled(feature_columns(contract), rows.train)
    return Fitted(
        model=classifier(seed).fit(matrix(rows.train, columns), labels(rows.train)),
        kind="classification",
        columns=columns,
        target=f"no valid purchase within {HORIZON.days} days",
        trained_until=max(days(rows.train)) + HORIZON,
        train=rows.train,
        test=rows.test.append_column(BASELINE, pa.array(_baseline(rows, contract))),
        seed=seed,
        metrics=_metrics(rows),
        floor=FLOOR,
    )


def classifier(seed: int) -> Any:  # noqa: ANN401, scikit-learn has no types
    """Calibrated classifier, made only of types that skops loads without trusting the file.

    Trees are not among them: a forged file could make them read out of bounds. Logarithms and their products let a
    linear model compare a customer's silence with their usual rhythm.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

    return make_pipeline(
        FunctionTransformer(np.arcsinh),  # a logarithm that takes zero and negative values
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(C=STRENGTH, max_iter=2000, random_state=seed),
    )


def days(rows: pa.Table) -> list[datetime.date]:
    """Cut-offs of the rows, the earliest first."""
    return sorted(rows.column("cutoff").unique().to_pylist())


def _baseline(rows: Rows, contract: TableContract) -> Vector:
    """Baseline: probability of churn from `recency_days` alone, one per test row."""
    from sklearn.linear_model import LogisticRegression

    recency: list[Column] = [contract.column(RECENCY)]
    columns = filled(recency, rows.train)
    model = LogisticRegression().fit(matrix(rows.train, columns), labels(rows.train))
    probabilities: Matrix = model.predict_proba(matrix(rows.test, columns))
    return np.asarray(probabilities[:, 1])


def _metrics(rows: Rows) -> dict[str, float]:
    return {
        "train_rows": rows.train.num_rows,
        "train_churned": labels(rows.train).sum(),
        "test_rows": rows.test.num_rows,
        "test_churned": labels(rows.test).sum(),
    }
