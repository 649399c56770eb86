"""Judge a model beside baselines, the oracle and the champion, all on the same rows; promote it if it passes."""

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
MAIN = {"classification": "roc_auc", "regression": "skill"}


@dataclass(frozen=True)
class Gate:
    """What a model must reach to become the champion.

    Attributes:
        floor: least main metric: ROC AUC, or for a regression its skill, 1 - MAE / the best baseline's MAE.
        tolerance: by how much the main metric may be below the champion's: the luck of the test's rows.
    """

    floor: float
    tolerance: float = 0.0


@dataclass(frozen=True)
class Judged:
    """What came of it; `curves` are of a classification alone."""

    accepted: bool
    metrics: Mapping[str, float]
    curves: Curves | None = None


@dataclass
class _Judges:
    """What each judge says of the same rows, by the prefix of its metrics; the challenger's is empty."""

    truth: Vector
    says: dict[str, Vector] = field(default_factory=dict)

    def metrics(self, kind: str) -> dict[str, float]:
        found = {
            f"{prefix}{name}": value
            for prefix, said in self.says.items()
            for name, value in scored(kind, self.truth, said).items()
        }
        if kind == "regression":
            baseline = min(found[f"{prefix}mae"] for prefix in self.says if prefix.startswith(BASELINE))
            found |= {f"{p}skill": 1 - found[f"{p}mae"] / baseline if baseline else 0.0 for p in self.says}
        return {name: round(value, 6) for name, value in found.items()}


def evaluate_model(
    run: RunContext, flow: str, name: str, version: str, dataset: str, gate: Gate, oracle: str
) -> Judged:
    """Judge a version, record it, and promote it if it passes.

    Args:
        run: the run's context.
        flow: the flow that the model is of.
        name: the model's.
        version: the challenger.
        dataset: gs:// address of the rows to judge on: keys, features, `label`, `baseline...`, `cutoff`.
        gate: what it must reach.
        oracle: folder of the lake where a simulation keeps `cutoff=<date>.parquet`, by key the `probability` that one
            who knows how the data was made would give; empty where there is none.

    Raises:
        ModelError: the challenger or the rows are not what they must be. A champion that is not has lost.
    """
    store = Store(run, name)
    with recorded(run, f"evaluate_{name}", flow) as record:
        rows = store.rows(dataset.removeprefix(f"gs://{run.bucket}/"))
        challenger = store.load(version, types_of(rows))
        judges = _Judges(_truth(rows, challenger.signature), {"": challenger.predict(rows)})
        judges.says |= {f"{c}_": _floats(rows, c) for c in rows.column_names if c.startswith(BASELINE)}
        judges.says |= _oracle(store, rows, oracle) | _champion(store, rows, version)
        kind = challenger.signature.kind
        metrics = judges.metrics(kind)
        record.checks = _checks(name, MAIN[kind], metrics, gate)
        failed = [str(check) for check in record.checks if check.failing]
        accepted = not failed
        record.models = [ModelResult(name=name, version=version, accepted=accepted, metrics=metrics)]
        if accepted:
            store.promote(version)
        LOG.info("%s %s: %s, %s", name, version, f"refused: {'; '.join(failed)}" if failed else "accepted", metrics)
        return Judged(accepted, metrics, Curves.of(judges.truth, judges.says[""]) if kind == "classification" else None)


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
    """What the champion says; nothing if there is none, if it is the challenger, or if it cannot be used any more."""
    version = store.champion()
    if version in (None, challenger):
        return {}
    try:
        return {"champion_": store.load(str(version), types_of(rows)).predict(rows)}
    except ModelError as error:
        LOG.warning("the champion is not compared: %s", error)
        return {}


def _oracle(store: Store, rows: pa.Table, folder: str) -> dict[str, Vector]:
    """The oracle's probabilities, by row; nothing where it does not know each of them."""
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
    """The gate's conditions, each of which a refused model may fail without failing the task."""
    value = metrics[main]
    baseline = max(v for n, v in metrics.items() if n.startswith(BASELINE) and n.endswith(main))
    check = partial(CheckResult, subject=name, level="warn", observed=value)
    found = [  # `not >=`: what is no number passes none
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
