"""Metrics of predictions, and the curves that Vertex AI shows of them."""

from dataclasses import dataclass

import numpy as np

from goldline.ml.features import Vector

CURVE_POINTS = 101
THRESHOLD = 0.5  # of the confusion matrix


@dataclass(frozen=True)
class Curves:
    """ROC curve and confusion matrix, as dsl.ClassificationMetrics takes them.

    Attributes:
        roc: false positive rates, true positive rates, thresholds, each a list of up to 101 points.
        confusion: 2 x 2 counts: a row per true class 0 and 1, a column per predicted class 0 and 1.
    """

    roc: tuple[list[float], list[float], list[float]]
    confusion: list[list[int]]

    @classmethod
    def of(cls, truth: Vector, said: Vector) -> "Curves":
        """Curves of predicted probabilities `said` against true classes `truth`; the ROC curve is thinned."""
        from sklearn.metrics import confusion_matrix, roc_curve

        false, true, thresholds = roc_curve(truth, said)
        thresholds[0] = 1.0  # scikit-learn starts at infinity, which JSON cannot hold
        kept = np.unique(np.linspace(0, len(false) - 1, CURVE_POINTS).astype(int))
        confusion = confusion_matrix(truth, said >= THRESHOLD, labels=[0, 1])
        return cls((false[kept].tolist(), true[kept].tolist(), thresholds[kept].tolist()), confusion.tolist())


def scored(kind: str, truth: Vector, said: Vector) -> dict[str, float]:
    """Metrics of predictions `said` against `truth`: the mean absolute error of a regression, in the target's unit.

    For classification ROC AUC, PR AUC (average precision) and Brier score; `said` then holds probabilities.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, mean_absolute_error, roc_auc_score

    if kind == "regression":
        return {"mae": float(mean_absolute_error(truth, said))}
    return {
        "roc_auc": float(roc_auc_score(truth, said)),
        "pr_auc": float(average_precision_score(truth, said)),
        "brier": float(brier_score_loss(truth, said)),
    }
