"""The churn model on a small made-up shop, from its sales to the table of predictions, on the local warehouse."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery
from google_cloud_pipeline_components.types.artifact_types import BQTable
from kfp import dsl

from components.evaluate_model import evaluate_model
from components.predict import predict
from components.sales.train_churn import churn_model
from components.sales.train_churn.churn_model import FIRST_SALE, FLOOR, HORIZON, TRAINING, cutoffs, read, sampled
from components.sales.train_churn.component import train_churn
from goldline.contracts.columns import Row
from goldline.contracts.table_contract import TableContract
from goldline.local.sqltest.analysis import analyser_of
from goldline.ml.features import conformed, feature_columns, labels
from goldline.ml.signature import ModelError
from goldline.ml.store import Store
from goldline.project import sql_folder
from goldline.runs.context import RunContext
from goldline.runs.ops import Prediction
from goldline.runs.records import Record
from goldline.runs.run_files import save
from goldline.spec.tables import catalog, contract_json, contracts
from goldline.stages.build_table import build_table
from goldline.stages.predict import predict as predict_churn
from goldline.warehouse.read_rows import read_rows
from goldline.warehouse.schema import ensure, ensure_plain

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)
HISTORY = 120  # days of sales
CUSTOMERS = 150
FEATURES = "sales/agg_customer_features"
PREDICTIONS = "sales/fct_churn_predictions"
Sale = tuple[str, date]  # customer and day
NewRun = Callable[..., RunContext]


def sales(seed: int = 5) -> list[Sale]:
    """Customers who buy at a rate of their own until they leave, in the order of days."""
    dice = np.random.default_rng(seed)
    found: list[Sale] = []
    for number in range(CUSTOMERS):
        day, gap = dice.uniform(0, 60), dice.choice([2, 5, 14])
        end = min(day + dice.exponential(60) + 5, HISTORY)
        while day < end:
            found.append((f"c{number:03}", DAY - timedelta(days=HISTORY - 1 - int(day))))
            day += dice.uniform(0.5, 1.5) * gap
    return sorted(found, key=lambda sale: sale[1])


def select(name: str) -> str:
    return (sql_folder() / f"{name}.sql").read_text(encoding="utf-8")


def table_contract(name: str) -> TableContract:
    found = contracts()[name]
    assert isinstance(found, TableContract)
    return found


class Shop:
    """The flow's tables from gold.fct_sales on."""

    def __init__(self, client: bigquery.Client, new_run: NewRun) -> None:
        self.client, self.new_run = client, new_run
        self.run: RunContext = new_run()
        for name in ("sales/fct_sales", "clickstream/fct_sessions", FEATURES, PREDICTIONS):
            ensure(client, table_contract(name), self.run)
        ensure_plain(client, "ops.predictions", Prediction.columns(), self.run, partition_by="as_of")

    def sell(self, sold: Sequence[Sale]) -> None:
        """Make these all the sales that there are."""
        rows: list[Row] = []
        for i, (customer, day) in enumerate(sold):
            moment = datetime.combine(day, time(12), UTC).isoformat()
            row: Row = {"sale_id": f"s{i}", "customer_id": customer, "sale_date": f"{day}", "_loaded_date": f"{day}"}
            row |= {"status": "completed", "is_valid": True, "is_deleted": False, "quantity": 1, "discount": 0}
            row |= {"total_amount": 10 + i % 7, "channel": ("web", "app")[i % 2], "category": f"k{i % 3}"}
            rows.append({**row, "sale_timestamp": moment, "updated_at": moment})
        table = self.client.get_table(self.run.table("gold.fct_sales"))
        config = bigquery.LoadJobConfig(schema=table.schema, write_disposition="WRITE_TRUNCATE_DATA")
        self.client.load_table_from_json(rows, table, job_config=config).result()

    def train(self, run: RunContext) -> tuple[dsl.Model, dsl.Dataset]:
        """Train as a run does that was asked to, once it has built the features."""
        save(run, catalog())
        build_table(run, "sales", select(FEATURES), contract_json(FEATURES))
        model, dataset = dsl.Model(uri="", metadata={}), dsl.Dataset(uri="", metadata={})
        train_churn.component.python_func(
            run=run.model_copy(update={"train": "yes"}).model_dump_json(),
            model=model,
            dataset=dataset,
            metrics=dsl.Metrics(uri="", metadata={}),
            features=dsl.Artifact(),
        )
        return model, dataset

    def judge(
        self, run: RunContext, model: dsl.Model, dataset: dsl.Dataset, oracle: str
    ) -> tuple[bool, dict[str, Any]]:
        metrics, curves = dsl.Metrics(uri="", metadata={}), dsl.ClassificationMetrics(uri="", metadata={})
        accepted = evaluate_model.component.python_func(
            run=run.model_dump_json(),
            flow="sales",
            model=model,
            dataset=dataset,
            classification=curves,
            metrics=metrics,
            oracle=oracle,
        )
        assert {"confidenceMetrics", "confusionMatrix"} <= curves.metadata.keys()
        return accepted, metrics.metadata

    def predict(self, run: RunContext) -> list[tuple[Any, ...]]:
        """Build the features, predict, build the table; its rows of the run's date."""
        save(run, catalog())
        build_table(run, "sales", select(FEATURES), contract_json(FEATURES))
        table = BQTable()
        predict.component.python_func(
            run=run.model_dump_json(),
            flow="sales",
            model="churn",
            rows=select("sales/predict_churn"),
            select=select(PREDICTIONS),
            contract=contract_json(PREDICTIONS),
            value="",
            features=dsl.Artifact(),
            table=table,
            metrics=dsl.Metrics(uri="", metadata={}),
        )
        assert table.metadata["tableId"] == "fct_churn_predictions"
        sql = f"select * from `{run.table('gold.fct_churn_predictions')}` where as_of = '{run.run_date}' order by 2"
        return [tuple(row.values()) for row in self.client.query_and_wait(sql)]


@pytest.fixture
def shop(client: bigquery.Client, new_run: NewRun) -> Shop:
    return Shop(client, new_run)


def record(run: RunContext, task: str) -> Record:
    return Record.model_validate_json(Store(run, "churn").lake.read_text(f"{run.records}/tasks/{task}.json"))


def know_oracle(run: RunContext, dataset: dsl.Dataset) -> str:
    """Lay what one who knows the future says of the test's rows, as the simulator of a collection does; its name."""
    store = Store(run, "churn")
    test = store.rows(dataset.uri.removeprefix(f"gs://{run.bucket}/"))
    known = pa.table({"customer_id": test["customer_id"], "probability": test["label"]})
    out, collection = BytesIO(), run.dataset_prefix
    pq.write_table(known, out)
    store.lake.write_bytes(f"simulated/{collection}/churn/cutoff={run.run_date - HORIZON}.parquet", out.getvalue())
    return collection


def test_from_sales_to_predictions_and_again(shop: Shop) -> None:
    shop.sell(sales())
    run = shop.run
    assert shop.predict(run) == []  # nobody is champion yet
    assert [c.failing for c in record(run, "predict_churn").checks] == [1]

    model, dataset = shop.train(run)
    assert model.metadata["floor"] == FLOOR
    accepted, metrics = shop.judge(run, model, dataset, know_oracle(run, dataset))
    assert accepted, metrics
    assert metrics["oracle_roc_auc"] == 1 > metrics["roc_auc"] > metrics["baseline_roc_auc"] > 0.5
    signature = Store(run, "churn").signature(model.metadata["version"])
    assert [c.name for c in signature.columns] == [c.name for c in feature_columns(table_contract(FEATURES))]
    assert signature.trained_until == DAY - HORIZON

    again = shop.new_run()
    rows = shop.predict(again)
    assert {row[1] for row in rows} == {customer for customer, _ in sales()}
    assert {row[3] for row in rows} == {model.metadata["version"]}
    assert len({row[2] for row in rows}) > CUSTOMERS / 2

    # The same rows and seed: the same version, and the same predictions.
    more = shop.new_run()
    same, dataset = shop.train(more)
    assert same.metadata == model.metadata
    assert shop.judge(more, same, dataset, "")[0]
    assert shop.predict(more) == rows
    later = shop.new_run(DAY + timedelta(days=1))
    save(later, catalog())
    with pytest.raises(ModelError, match=r"expected rows of gold.agg_customer_features to predict for"):
        predict_churn(later, "sales", "churn", select("sales/predict_churn"))


def test_a_model_that_is_not_due_ends_its_task_at_once(shop: Shop) -> None:
    assert churn_model.train_churn(shop.run.model_copy(update={"train": "no"})) is None
    judged = evaluate_model.component.python_func(
        run=shop.run.model_dump_json(), flow="sales", model=dsl.Model(), dataset=None, classification=None, metrics=None
    )
    assert judged is False


def test_features_end_with_the_cutoff_and_labels_begin_after_it(shop: Shop) -> None:
    shop.sell(sales())
    contract, days = table_contract(FEATURES), cutoffs(DAY, DAY - timedelta(days=HISTORY))
    before = read(shop.run, select(FEATURES), contract, days, 7).test
    dice = np.random.default_rng(1)
    changed = [
        (customer if day <= days[0] else f"c{dice.integers(0, 400):03}", day)
        for customer, day in sales()
        if day <= days[0] or dice.random() < 0.6
    ]
    shop.sell(changed)
    # Some of those that stood at the cut-off are refunded or deleted after it.
    fact = shop.run.table("gold.fct_sales")
    fate = "status = if(mod(cast(substr(sale_id, 2) as int64), 7) = 0, 'refunded', status)"
    fate += ", is_deleted = mod(cast(substr(sale_id, 2) as int64), 7) = 1, is_valid = false"
    fated = f"sale_date <= '{days[0]}' and mod(cast(substr(sale_id, 2) as int64), 7) < 2"
    sql = f"update `{fact}` set {fate}, updated_at = timestamp '{days[0] + timedelta(days=3)}' where {fated}"
    assert (shop.client.query_and_wait(sql).num_dml_affected_rows or 0) > CUSTOMERS
    after = read(shop.run, select(FEATURES), contract, days, 7).test
    assert before.drop_columns("label").equals(after.drop_columns("label"))
    bought = {c for c, day in changed if days[0] < day <= days[0] + HORIZON}
    assert labels(after).tolist() == [float(c not in bought) for c in after["customer_id"].to_pylist()]
    assert labels(before).tolist() != labels(after).tolist()


def test_a_short_history_trains_nothing_and_says_so(shop: Shop) -> None:
    shop.sell([(c, d) for c, d in sales() if d > DAY - timedelta(days=60)])
    model, _ = shop.train(shop.run)
    assert model.metadata == {}
    told = record(shop.run, "train_churn")
    [check] = told.checks
    assert (check.name, check.failing, check.observed, check.threshold) == ("history_long_enough", 1, 59, 74)
    shop.sell([("c1", DAY + timedelta(days=9))])
    assert not shop.train(shop.new_run())[0].metadata


def test_labels_of_one_class_are_refused_with_their_counts(shop: Shop) -> None:
    every = [DAY - timedelta(days=i * 20) for i in range(6)]
    shop.sell([(f"c{i}", day) for i in range(20) for day in every])
    with pytest.raises(ModelError, match=r"expected 10 training rows of each class, got 0 that churned and \d+ that"):
        shop.train(shop.run)
    assert record(shop.run, "train_churn").status == "failed"


def test_a_select_that_gives_other_columns_is_refused(shop: Shop) -> None:
    shop.sell(sales()[:20])
    rows = read_rows(shop.run, "test", f"select customer_id from `{shop.run.table('gold.fct_sales')}`", DAY)
    with pytest.raises(ModelError, match="got none named recency_days"):
        conformed(rows, feature_columns(table_contract(FEATURES)))


def test_the_sql_around_the_features_holds() -> None:
    analyser = analyser_of(contracts().values())
    found = analyser.resolve(TRAINING.format(select=select(FEATURES), sales="gold.fct_sales"))
    assert [(f.name, str(f.type)) for f in found][-1] == ("label", "BOOL")
    assert [f.name for f in analyser.resolve(FIRST_SALE.format(sales="gold.fct_sales"))] == ["first_sale"]


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    rows = pa.table({"n": range(1000)})
    first, again, other = (sampled(rows, 100, seed)["n"].to_pylist() for seed in (1, 1, 2))
    assert first == again == sorted(set(first)) != other
    assert len(first) == 100
    assert sampled(rows, 1000, 1).equals(rows)


def test_no_label_that_is_learnt_from_reaches_into_the_test() -> None:
    found = cutoffs(DAY, DAY - timedelta(days=400))
    assert len(found) == 8
    test, *learnt = found
    assert test + HORIZON == DAY
    assert all(day + HORIZON <= test for day in learnt)
    assert cutoffs(DAY, DAY - timedelta(days=74)) == [test, learnt[0]]
    assert cutoffs(DAY, DAY - timedelta(days=73)) == [test]
    assert cutoffs(DAY, None) == []
