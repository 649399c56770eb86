"""Metrics of what a judge says, and the curves that show it."""

from dataclasses import dataclass

import numpy as np

from goldline.ml.features import Vector

CURVE_POINTS = 101
THRESHOLD = 0.5  # of the confusion matrix


@dataclass(frozen=True)
class Curves:
    """What dsl.ClassificationMetrics takes.

    Attributes:
        roc: false positive rates, true positive rates, thresholds.
        confusion: a row for each true class, 0 and 1, with how many were taken for either.
    """

    roc: tuple[list[float], list[float], list[float]]
    confusion: list[list[int]]

    @classmethod
    def of(cls, truth: Vector, said: Vector) -> "Curves":
        """The curve of probabilities, thinned to what a screen shows."""
        from sklearn.metrics import confusion_matrix, roc_curve

        false, true, thresholds = roc_curve(truth, said)
        thresholds[0] = 1.0  # scikit-learn starts at infinity, for which JSON has no word
        kept = np.unique(np.linspace(0, len(false) - 1, CURVE_POINTS).astype(int))
        confusion = confusion_matrix(truth, said >= THRESHOLD, labels=[0, 1])
        return cls((false[kept].tolist(), true[kept].tolist(), thresholds[kept].tolist()), confusion.tolist())


def scored(kind: str, truth: Vector, said: Vector) -> dict[str, float]:
    """ROC AUC, PR AUC (average precision) and Brier score of probabilities; the mean absolute error of values."""
    from sklearn.metrics import average_precision_score, brier_score_loss, mean_absolute_error, roc_auc_score

    if kind == "regression":
        return {"mae": float(mean_absolute_error(truth, said))}
    return {
        "roc_auc": float(roc_auc_score(truth, said)),
        "pr_auc": float(average_precision_score(truth, said)),
        "brier": float(brier_score_loss(truth, said)),
    }
