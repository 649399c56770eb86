"""Compare a model with baselines, the oracle and the champion on the same rows; promote it if it passes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from goldline.ml.features import BASELINE, LABEL, Vector, types_of
from goldline.ml.scores import Curves, scored
from goldline.ml.signature import ModelError, Signature
from goldline.ml.store import Store
from goldline.runs.context import RunContext
from goldline.runs.records import CheckResult, ModelResult, recorded

LOG = logging.getLogger(__name__)
MAIN = {"classification": "roc_auc", "regression": "skill"}  # the main metric, by kind of model


@dataclass(frozen=True)
class Gate:
    """Conditions that a model must meet to become the champion.

    Attributes:
        floor: minimum of the main metric: ROC AUC, or of a regression its skill, 1 - MAE / the best baseline's MAE.
        tolerance: how far the main metric may be below the champion's, for the sampling noise of the test rows.
    """

    floor: float
    tolerance: float = 0.0


@dataclass(frozen=True)
class Judged:
    """Result of an evaluation; `curves` are None for a regression."""

    accepted: bool
    metrics: Mapping[str, float]
    curves: Curves | None = None


@dataclass
class _Predictions:
    """Predictions of all models for the same rows, by the prefix of their metrics; the challenger's is empty."""

    truth: Vector
    by_prefix: dict[str, Vector] = field(default_factory=dict)

    def metrics(self, kind: str) -> dict[str, float]:
        found = {
            f"{prefix}{name}": value
            for prefix, predicted in self.by_prefix.items()
            for name, value in scored(kind, self.truth, predicted).items()
        }
        if kind == "regression":
            baseline = min(found[f"{prefix}mae"] for prefix in self.by_prefix if prefix.startswith(BASELINE))
            found |= {f"{p}skill": 1 - found[f"{p}mae"] / baseline if baseline else 0.0 for p in self.by_prefix}
        return {name: round(value, 6) for name, value in found.items()}


def evaluate_model(
    run: RunContext, flow: str, name: str, version: str, dataset: str, gate: Gate, oracle: str
) -> Judged:
    """Evaluate a model version, record its metrics, and promote it if it passes the gate.

    Args:
        run: the run's context.
        flow: the flow that the model belongs to.
        name: the model's name.
        version: version of the challenger.
        dataset: gs:// URI of the test rows: keys, features, `label`, `baseline...`, `cutoff`.
        gate: conditions to meet.
        oracle: folder of the lake with a simulation's `cutoff=<date>.parquet`: keys, and the `probability` that follows
            from how the data was made; empty if there is none.

    Raises:
        ModelError: the challenger or the rows are invalid. An invalid champion is only left out.
    """
    store = Store(run, name)
    with recorded(run, f"evaluate_{name}", flow) as record:
        rows = store.rows(dataset.removeprefix(f"gs://{run.bucket}/"))
        challenger = store.load(version, types_of(rows))
        predictions = _Predictions(_truth(rows, challenger.signature), {"": challenger.predict(rows)})
        predictions.by_prefix |= {f"{c}_": _floats(rows, c) for c in rows.column_names if c.startswith(BASELINE)}
        predictions.by_prefix |= _oracle(store, rows, oracle) | _champion(store, rows, version)
        kind = challenger.signature.kind
        metrics = predictions.metrics(kind)
        record.checks = _checks(name, MAIN[kind], metrics, gate)
        failed = [str(check) for check in record.checks if check.failing]
        accepted = not failed
        record.models = [ModelResult(name=name, version=version, accepted=accepted, metrics=metrics)]
        if accepted:
            store.promote(version)
        LOG.info("%s %s: %s, %s", name, version, f"refused: {'; '.join(failed)}" if failed else "accepted", metrics)
        curves = Curves.of(predictions.truth, predictions.by_prefix[""]) if kind == "classification" else None
        return Judged(accepted, metrics, curves)


def _truth(rows: pa.Table, signature: Signature) -> Vector:
    if not any(name.startswith(BASELINE) for name in rows.column_names):
        raise ModelError(f"model {signature.name}: expected rows with a column {BASELINE}..., got {rows.column_names}")
    truth = _floats(rows, LABEL)
    if signature.kind == "classification" and set(np.unique(truth)) != {0.0, 1.0}:
        raise ModelError(
            f"model {signature.name}: expected rows labelled 0 and 1 to judge on, got {np.unique(truth)[:5].tolist()}"
        )
    return truth


def _champion(store: Store, rows: pa.Table, challenger: str) -> dict[str, Vector]:
    """Champion's predictions; empty if there is none, if it is the challenger, or if it can no longer be used."""
    version = store.champion()
    if version in (None, challenger):
        return {}
    try:
        return {"champion_": store.load(str(version), types_of(rows)).predict(rows)}
    except ModelError as error:
        LOG.warning("the champion is not compared: %s", error)
        return {}


def _oracle(store: Store, rows: pa.Table, folder: str) -> dict[str, Vector]:
    """Oracle's probabilities, one per row; empty if it lacks one of them."""
    path = f"{folder}/cutoff={rows.column('cutoff')[0]}.parquet" if folder and "cutoff" in rows.column_names else ""
    if not path or not store.lake.exists(path):
        return {}
    known = store.rows(path)
    key = [name for name in known.column_names if name != "probability"]
    by_key = dict(zip(_keys(known, key), known.column("probability").to_pylist(), strict=True))
    found = [by_key.get(k) for k in _keys(rows, key)]
    if missing := found.count(None):
        LOG.warning("the oracle is not compared: it lacks %d of %d rows", missing, len(found))
        return {}
    return {"oracle_": np.asarray(found, dtype=np.float64)}


def _checks(name: str, main: str, metrics: Mapping[str, float], gate: Gate) -> list[CheckResult]:
    """Checks of the gate's conditions, at level `warn`: a refused model does not fail the task."""
    value = metrics[main]
    baseline = max(v for n, v in metrics.items() if n.startswith(BASELINE) and n.endswith(main))
    check = partial(CheckResult, subject=name, level="warn", observed=value)
    found = [  # `not >=`, so that NaN fails each of them
        check(name=f"{main}_above_floor", failing=int(not value >= gate.floor), threshold=gate.floor),
        check(name=f"{main}_above_baseline", failing=int(not value > baseline), threshold=baseline),
    ]
    if (champion := metrics.get(f"champion_{main}")) is not None:
        least = champion - gate.tolerance
        found.append(check(name=f"{main}_not_below_champion", failing=int(not value >= least), threshold=least))
    return found


def _keys(rows: pa.Table, names: list[str]) -> list[tuple[object, ...]]:
    return list(zip(*(rows.column(name).to_pylist() for name in names), strict=True))


def _floats(rows: pa.Table, name: str) -> Vector:
    return np.asarray(rows.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)
