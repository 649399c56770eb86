"""A small model of who leaves, and a shelf of the lake for its versions: what the tests of models share."""

import uuid
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from goldline.local.servers import PROJECT
from goldline.local.stack import BUCKET
from goldline.ml import features
from goldline.ml.signature import Feature, Signature, libraries, sha256
from goldline.ml.store import Store
from goldline.runs.context import RunContext
from goldline.runs.records import Record
from goldline.stages.evaluate_model import Gate, Judged, evaluate_model

DAY = date(2026, 11, 20)  # a Friday
COLUMNS = (Feature(name="a", type="INT64", fill=0), Feature(name="b", type="FLOAT64", fill=1.5))
GIVEN = {"a": "INT64", "b": "FLOAT64", "customer_id": "STRING"}


def rows(count: int = 400, seed: int = 1) -> pa.Table:
    dice = np.random.default_rng(seed)
    a, b = dice.integers(0, 10, count), dice.normal(size=count)
    chance = 1 / (1 + np.exp(4 - a + b))
    return pa.table(
        {
            "customer_id": [f"c{i}" for i in range(count)],
            "cutoff": pa.array([DAY] * count, pa.date32()),
            "a": a,
            "b": b,
            "label": (dice.random(count) < chance).astype(float),
            "baseline": np.clip(b / 10 + 0.5, 0, 1),
        }
    )


def signature(version: str = "v1", **changes: Any) -> Signature:
    made = Signature(
        name="churn",
        version=version,
        kind="classification",
        columns=COLUMNS,
        target="leaving",
        trained_until=DAY,
        libraries=libraries(),
        model_sha256="",
        data_sha256="0",
        metrics={"train_rows": 400},
        run_id="test",
    )
    return made.model_copy(update=changes)


def classifier(sign: float = 1.0) -> LogisticRegression:
    """A fitted one; with sign -1 it says the contrary."""
    train = rows(seed=2)
    fitted = LogisticRegression().fit(features.matrix(train, COLUMNS), train.column("label").to_numpy())
    fitted.coef_ *= sign
    return fitted


class Shelf:
    """The models of one test; nothing here needs a warehouse."""

    def __init__(self) -> None:
        self.run = RunContext(
            run_id=f"test-{uuid.uuid4().hex[:8]}",
            run_date=DAY,
            since={},
            project=PROJECT,
            location="US",
            bucket=BUCKET,
            dataset_prefix=f"t{uuid.uuid4().hex[:8]}_",
        )
        self.store = Store(self.run, "churn")
        self.test = rows()

    def put(self, version: str, fitted: Any, test: pa.Table | None = None, **changes: Any) -> str:
        self.store.save(fitted, signature(version, **changes), self.test if test is None else test)
        return version

    def rewrite(self, version: str, content: bytes | None = None, **changes: Any) -> None:
        """Forge a version: its file, its signature, or both."""
        if content is not None:
            self.store.lake.write_bytes(self.store.path(version, "model.skops"), content)
            changes["model_sha256"] = sha256(content)
        forged = self.store.signature(version).model_copy(update=changes)
        self.store.lake.write_text(self.store.path(version, "signature.json"), forged.model_dump_json())

    def judge(self, version: str, run: RunContext | None = None, *, floor: float = 0.6, oracle: str = "") -> Judged:
        run = run or self.run
        return evaluate_model(run, "sales", "churn", version, self.store.test_uri(version), Gate(floor, 0.005), oracle)

    def record(self) -> Record:
        run = self.run
        return Record.model_validate_json(self.store.lake.read_text(f"{run.records}/tasks/evaluate_churn.json"))
