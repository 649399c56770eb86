"""The judge of churn: better than recency, calibrated, and shown nothing that happens after the cut-off."""

import datetime
import io
import math
import uuid
from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from components.sales.generate_sales.oracle import WINDOW, oracle
from components.sales.generate_sales.sales_documents import churn_path, generate_sales
from components.sales.generate_sales.world import DAY, Sale, World
from goldline.lake import Lake
from goldline.runs.context import RunContext

FIRST = datetime.date(2026, 7, 24)
WORLD = World(7, 2000)


@cache
def sales() -> list[Sale]:
    return [sale for i in range(120) for sale in WORLD.sales(FIRST + DAY * i) if sale.defect != "unreadable"]


def buyers(cutoff: datetime.date) -> dict[str, int]:
    """Who has bought by the cut-off, and how many days before it they last did."""
    return {s.body["customer_id"]: (cutoff - s.made.date()).days for s in sales() if s.made.date() <= cutoff}


def churned(cutoff: datetime.date) -> dict[str, bool]:
    """Who has bought by the cut-off and has no valid purchase in the window, as its last day's documents show."""
    end = cutoff + DAY * WINDOW
    later = [sale for sale in sales() if cutoff < sale.made.date() <= end]
    stay = {s.body["customer_id"] for s in later if any(d["is_valid_transaction"] for _, d in s.documents(end))}
    return {name: name not in stay for name in buyers(cutoff)}


def test_the_judge_is_clearly_better_than_recency() -> None:
    cutoff = FIRST + DAY * 89
    label, recency, judged = churned(cutoff), buyers(cutoff), oracle(WORLD, cutoff, FIRST)
    assert judged.keys() == label.keys()
    truth = [label[name] for name in judged]
    of_judge = roc_auc_score(truth, list(judged.values()))
    of_recency = roc_auc_score(truth, [recency[name] for name in judged])
    assert of_judge > of_recency + 0.06, f"ROC AUC: judge {of_judge:.3f}, recency {of_recency:.3f}"
    assert of_judge > 0.8, f"ROC AUC: judge {of_judge:.3f}, recency {of_recency:.3f}"


def test_the_judge_is_calibrated() -> None:
    cutoffs = [FIRST + DAY * i for i in (29, 59, 89)]  # so that no day is in two windows
    judged, truth = [], []
    for cutoff in cutoffs:
        label = churned(cutoff)
        for name, probability in oracle(WORLD, cutoff, FIRST).items():
            judged.append(probability)
            truth.append(label[name])
    assert abs(np.mean(judged) - np.mean(truth)) < 0.03, (
        f"mean: judge {np.mean(judged):.3f}, truth {np.mean(truth):.3f}"
    )
    for low, high in [(0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1)]:
        pairs = [(p, t) for p, t in zip(judged, truth, strict=True) if low <= p < high]
        told, found = np.mean(pairs, axis=0)
        chance = 4 * math.sqrt(told * (1 - told) / len(pairs))
        assert abs(told - found) < chance, f"from {low} to {high}: judge {told:.3f}, truth {found:.3f}"


def test_the_judge_sees_nothing_after_the_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    world, cutoff = World(7, 200), FIRST + DAY * 30
    before = oracle(world, cutoff, FIRST)
    plain = World.bought

    def blind(self: World, day: datetime.date) -> object:
        assert FIRST <= day <= cutoff
        return plain(self, day)

    monkeypatch.setattr(World, "bought", blind)
    assert oracle(world, cutoff, FIRST) == before


def test_silence_makes_churn_likelier() -> None:
    """Of the same customers, those who have not bought for longer are the likelier to have left."""
    early, late = (oracle(WORLD, FIRST + DAY * i, FIRST) for i in (60, 67))  # the same weekdays ahead
    last = buyers(FIRST + DAY * 67)
    silent = [name for name in early if last[name] > 7]
    assert silent
    assert all(late[name] > early[name] - 0.02 for name in silent)  # the year's season moves on, a little


def test_the_judge_lies_beside_the_data(new_run: Callable[..., RunContext]) -> None:
    collection, run = f"sales-{uuid.uuid4().hex[:8]}", new_run(FIRST + DAY * 40)
    generate_sales(run, collection, "(default)", 7, 41, 100)
    [path] = Lake(run.project, run.bucket).list(f"simulated/{collection}")
    assert path == churn_path(collection, FIRST + DAY * 10)
    table = pq.read_table(io.BytesIO(Lake(run.project, run.bucket)._bucket.blob(path).download_as_bytes()))
    found = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
    assert found == oracle(World(7, 100), FIRST + DAY * 10, FIRST)
    assert table.schema.names == ["customer_id", "probability"]


def test_a_history_shorter_than_the_window_has_no_judge(new_run: Callable[..., RunContext]) -> None:
    collection, run = f"sales-{uuid.uuid4().hex[:8]}", new_run(FIRST)
    generate_sales(run, collection, "(default)", 7, 30, 20)
    assert Lake(run.project, run.bucket).list(f"simulated/{collection}") == []
