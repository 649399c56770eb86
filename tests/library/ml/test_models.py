"""Models in the lake: what is refused before it is loaded, who becomes the champion, and for which dates."""

import json
import pickle
from datetime import date, timedelta
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from goldline.contracts.columns import Column
from goldline.local.stack import Addresses
from goldline.ml import features, signature
from goldline.ml.features import types_of
from goldline.ml.scores import Curves
from goldline.ml.signature import ModelError, libraries
from goldline.ml.store import Store
from goldline.ml.training import is_due, should_train
from tests.support.models_shelf import COLUMNS, DAY, GIVEN, Shelf, classifier


@pytest.fixture
def shelf(stack: Addresses) -> Shelf:
    assert stack
    return Shelf()


def test_a_saved_model_predicts_as_it_did(shelf: Shelf) -> None:
    fitted = classifier()
    shelf.put("v1", fitted)
    loaded = shelf.store.load("v1", GIVEN)
    expected = fitted.predict_proba(features.matrix(shelf.test, COLUMNS))[:, 1]
    assert loaded.predict(shelf.test) == pytest.approx(expected, abs=1e-6)
    assert loaded.signature.model_sha256
    # The same version again is the same model: what is there stays.
    shelf.put("v1", classifier(-1))
    assert shelf.store.load("v1", GIVEN).predict(shelf.test).tolist() == loaded.predict(shelf.test).tolist()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": "INT64"}, "expected the column b FLOAT64, got none"),
        ({**GIVEN, "a": "FLOAT64"}, "expected the column a INT64, got FLOAT64"),
        ({**GIVEN, "b": "STRING"}, "expected the column b FLOAT64, got STRING"),
    ],
)
def test_other_columns_are_refused(shelf: Shelf, given: dict[str, str], said: str) -> None:
    shelf.put("v1", classifier())
    with pytest.raises(ModelError, match=said):
        shelf.store.load("v1", given)


@pytest.mark.parametrize("library", signature.LIBRARIES)
def test_other_libraries_are_refused_but_not_other_patches(shelf: Shelf, library: str) -> None:
    shelf.put("v1", classifier())
    now = libraries()
    shelf.rewrite("v1", libraries={**now, library: f"{'.'.join(now[library].split('.')[:2])}.999"})
    assert shelf.store.load("v1", GIVEN)
    shelf.rewrite("v1", libraries={**now, library: "0.1.2"})
    with pytest.raises(ModelError, match=rf"expected {library} 0.1, got {now[library]}. Train it anew"):
        shelf.store.load("v1", GIVEN)


def test_a_file_of_another_hash_is_refused(shelf: Shelf) -> None:
    shelf.put("v1", classifier())
    shelf.rewrite("v1", model_sha256="5" * 64)
    with pytest.raises(ModelError, match=r"expected a file with SHA-256 5555.*, got [0-9a-f]{64}"):
        shelf.store.load("v1", GIVEN)
    shelf.rewrite("v1", name="headway")
    with pytest.raises(ModelError, match="its signature is that of headway v1"):
        shelf.store.load("v1", GIVEN)
    shelf.store.lake.write_text(shelf.store.path("v1", "signature.json"), "{}")
    for version, said in (("v1", "Field required"), ("v0", "no object gs://")):
        with pytest.raises(ModelError, match=rf"model churn {version}: expected its signature, got: [\s\S]*{said}"):
            shelf.store.load(version, GIVEN)


class Trap:
    """Unpickled, it would end the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exit, (1,))


def zipped(**files: str) -> bytes:
    out = BytesIO()
    with ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Trap()), b"", b"PK", zipped(a="1"), zipped(**{"schema.json": "{}"})],
    ids=["pickle", "empty", "cut", "another zip", "no model"],
)
def test_a_file_of_another_format_is_refused_unread(shelf: Shelf, content: bytes) -> None:
    shelf.put("v1", classifier())
    shelf.rewrite("v1", content)
    with pytest.raises(ModelError, match=r"expected a file in skops's format, got something else"):
        shelf.store.load("v1", GIVEN)


def test_types_that_nobody_trusts_are_neither_saved_nor_loaded(shelf: Shelf) -> None:
    import skops.io

    trees = DecisionTreeClassifier().fit(features.matrix(shelf.test, COLUMNS), shelf.test["label"])
    with pytest.raises(ModelError, match=r"expected only types that skops or goldline trusts, got .*_tree.Tree"):
        shelf.put("v1", trees)
    assert not shelf.store.lake.list(shelf.store.folder)
    shelf.put("v1", classifier())
    shelf.rewrite("v1", skops.io.dumps(trees))
    with pytest.raises(ModelError, match=r"expected only types that skops or goldline trusts, got .*_tree.Tree"):
        shelf.store.load("v1", GIVEN)


def boosted(shelf: Shelf) -> HistGradientBoostingRegressor:
    made = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=5)
    return made.fit(features.matrix(shelf.test, COLUMNS), shelf.test["b"].to_numpy())


def test_boosted_trees_are_loaded_as_they_were(shelf: Shelf) -> None:
    trees = boosted(shelf)
    shelf.put("v1", trees, kind="regression")
    expected = trees.predict(features.matrix(shelf.test, COLUMNS))
    assert shelf.store.load("v1", GIVEN).predict(shelf.test) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("left", 10**6, "a left child that is no node after its parent"),
        ("right", 0, "a right child that is no node after its parent"),
        ("feature_idx", 2, "a split on a column that it does not have"),
        ("feature_idx", -1, "a split on a column that it does not have"),
        ("is_categorical", 1, "a split on a column that it does not have"),
    ],
)
def test_forged_trees_are_refused_before_they_predict(shelf: Shelf, name: str, value: int, said: str) -> None:
    import skops.io

    trees = boosted(shelf)
    shelf.put("v1", trees, kind="regression")
    trees._predictors[1][0].nodes[name][0] = value
    shelf.rewrite("v1", skops.io.dumps(trees))
    with pytest.raises(ModelError, match=f"expected boosted trees that stay within their own nodes, got {said}"):
        shelf.store.load("v1", GIVEN)


def test_trees_are_refused_where_nobody_looks_for_them(shelf: Shelf) -> None:
    hidden = make_pipeline(StandardScaler(), boosted(shelf))
    with pytest.raises(ModelError, match="got trees inside of Pipeline"):
        shelf.put("v1", hidden, kind="regression")
    narrow = HistGradientBoostingRegressor(max_iter=2).fit(features.matrix(shelf.test, COLUMNS[:1]), shelf.test["b"])
    with pytest.raises(ModelError, match="got other columns than its 2 numbers"):
        shelf.put("v1", narrow, kind="regression")


def test_null_is_filled_and_types_are_those_of_bigquery() -> None:
    columns = [Column.model_validate({"name": n, "type": t, "description": "x"}) for n, t in GIVEN.items()]
    found = features.conformed(pa.table({"customer_id": ["x", "y"], "b": [None, 2.0], "a": [1, None]}), columns)
    assert types_of(found) == GIVEN
    assert features.matrix(found, COLUMNS).tolist() == [[1, 1.5], [0, 2]]
    assert [f.fill for f in features.filled(columns[:2], found)] == [1, 2]
    with pytest.raises(ModelError, match="got none named b"):
        features.conformed(found.drop_columns("b"), columns)
    with pytest.raises(ModelError, match=r"expected the columns .*'a': 'INT64'.*, got .*'a': 'STRING'"):
        features.conformed(pa.table({"customer_id": ["x"], "b": [1.0], "a": ["many"]}), columns)


def test_the_first_champion_must_pass_floor_and_baseline(shelf: Shelf) -> None:
    shelf.put("v1", classifier())
    judged = shelf.judge("v1", floor=0.99)
    assert (judged.accepted, shelf.store.champion()) == (False, None)
    floor, baseline = shelf.record().checks
    assert (floor.name, floor.failing, floor.threshold) == ("roc_auc_above_floor", 1, 0.99)
    assert (baseline.name, baseline.failing) == ("roc_auc_above_baseline", 0)
    assert floor.observed == baseline.observed == judged.metrics["roc_auc"]
    assert baseline.threshold == judged.metrics["baseline_roc_auc"]
    assert shelf.record().status == "succeeded"

    judged = shelf.judge("v1")
    assert (judged.accepted, shelf.store.champion()) == (True, "v1")
    assert judged.metrics.keys() == {f"{p}{m}" for p in ("", "baseline_") for m in ("roc_auc", "pr_auc", "brier")}
    assert judged.metrics["roc_auc"] > 0.8 > judged.metrics["baseline_roc_auc"]
    assert shelf.record().models[0].metrics == judged.metrics

    better = shelf.test.set_column(shelf.test.num_columns - 1, "baseline", shelf.test["label"])
    assert not shelf.judge(shelf.put("v2", classifier(), better)).accepted


def test_a_worse_challenger_leaves_the_champion(shelf: Shelf) -> None:
    shelf.judge(shelf.put("v1", classifier()))
    judged = shelf.judge(shelf.put("v2", classifier(-1)), floor=0.0)
    assert (judged.accepted, shelf.store.champion()) == (False, "v1")
    assert judged.metrics["champion_roc_auc"] > judged.metrics["roc_auc"]
    checks = {c.name: c for c in shelf.record().checks}
    assert [c.failing for c in checks.values()] == [0, 1, 1]
    assert checks["roc_auc_not_below_champion"].threshold == judged.metrics["champion_roc_auc"] - 0.005
    assert shelf.judge(shelf.put("v3", classifier())).accepted  # as good as the champion
    assert shelf.store.champion() == "v3"


def test_a_champion_that_does_not_fit_any_more_is_not_compared(shelf: Shelf) -> None:
    shelf.judge(shelf.put("v1", classifier()))
    shelf.rewrite("v1", libraries={**libraries(), "skops": "0.1.0"})
    judged = shelf.judge(shelf.put("v2", classifier()))
    assert judged.accepted
    assert "champion_roc_auc" not in judged.metrics


def test_an_earlier_date_never_meets_a_later_champion(shelf: Shelf) -> None:
    shelf.judge(shelf.put("v1", classifier()))
    tomorrow, yesterday = (shelf.run.model_copy(update={"run_date": DAY + timedelta(days=n)}) for n in (1, -1))
    assert shelf.judge(shelf.put("v2", classifier()), tomorrow).accepted
    found = [Store(run, "churn").champion() for run in (yesterday, shelf.run, tomorrow)]
    assert found == [None, "v1", "v2"]


def test_the_oracle_is_shown_where_it_knows(shelf: Shelf) -> None:
    shelf.put("v1", classifier())
    oracle = f"simulated/{shelf.run.dataset_prefix}/churn"
    known = pa.table({"customer_id": shelf.test["customer_id"], "probability": shelf.test["label"]})
    for table, expected in ((known.slice(1), None), (known, 1.0)):
        out = BytesIO()
        pq.write_table(table, out)
        shelf.store.lake.write_bytes(f"{oracle}/cutoff={DAY}.parquet", out.getvalue())
        assert shelf.judge("v1", oracle=oracle).metrics.get("oracle_roc_auc") == expected
    assert "oracle_roc_auc" not in shelf.judge("v1", oracle="simulated/nowhere").metrics


def test_rows_that_nobody_can_judge_on_are_refused(shelf: Shelf) -> None:
    same = shelf.test.set_column(4, "label", pa.array([1.0] * shelf.test.num_rows))
    with pytest.raises(ModelError, match=r"expected rows labelled 0 and 1 to judge on, got \[1.0\]"):
        shelf.judge(shelf.put("v1", classifier(), same))
    with pytest.raises(ModelError, match=r"expected rows with a column baseline..., got"):
        shelf.judge(shelf.put("v2", classifier(), shelf.test.drop_columns("baseline")))


def test_a_regression_is_judged_by_its_error_beside_each_baseline(shelf: Shelf) -> None:
    dice = np.random.default_rng(3)
    a, b = dice.integers(0, 10, 300), dice.normal(size=300)
    truth = 30.0 * a + 5 * b + dice.normal(size=300)
    test = pa.table({"a": a, "b": b, "label": truth, "baseline_mean": [truth.mean()] * 300, "baseline_last": truth + 9})
    fitted = LinearRegression().fit(features.matrix(test, COLUMNS), truth)
    shelf.put("v1", fitted, test, kind="regression")
    judged = shelf.judge("v1", floor=0.5)
    assert judged.accepted
    assert judged.curves is None
    assert judged.metrics["baseline_last_mae"] == pytest.approx(9)
    assert judged.metrics["mae"] < 1.5
    assert judged.metrics["skill"] == pytest.approx(1 - judged.metrics["mae"] / 9, abs=1e-5)
    assert not shelf.judge("v1", floor=0.95).accepted


def test_curves_are_thin_and_finite() -> None:
    said = np.linspace(0, 1, 5000)
    curves = Curves.of((np.random.default_rng(1).random(5000) < said).astype(float), said)
    assert all(len(side) <= 101 for side in curves.roc)
    json.dumps(curves.roc, allow_nan=False)
    assert sum(map(sum, curves.confusion)) == 5000


@pytest.mark.parametrize(
    ("train", "day", "has_champion", "expected"),
    [
        ("auto", date(2026, 11, 23), True, True),
        ("auto", DAY, True, False),
        ("auto", DAY, False, True),
        ("yes", DAY, True, True),
        ("no", date(2026, 11, 23), False, False),
    ],
)
def test_when_to_train(train: str, day: date, has_champion: bool, expected: bool) -> None:
    assert should_train(train, day, has_champion=has_champion) is expected


def test_a_run_trains_where_no_champion_can_be_used(shelf: Shelf) -> None:
    run = shelf.run
    assert is_due(run, "churn")
    shelf.judge(shelf.put("v1", classifier()))
    assert not is_due(run, "churn")
    shelf.rewrite("v1", libraries={**libraries(), "numpy": "0.1.0"})
    assert is_due(run, "churn")
