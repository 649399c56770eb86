"""Loading of model files in skops's format, which run no code and may hold trusted types only."""

import os
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from goldline.ml.features import Vector, matrix, types_of
from goldline.ml.signature import ModelError, Signature, sha256

# Set before libgomp is loaded: threads of boosted trees that spin while they wait make a fit up to thirty times slower
# on a machine with other work. https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Types that skops does not trust by default, and whose code we have read; never a list that a file gives. TreePredictor
# (scikit-learn 1.7 to 1.9) is a plain class, and loading one runs no code of the file. But its compiled code trusts the
# indices in its nodes, so `_check_trees` checks all of them before the first prediction.
TREES = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
TRUSTED = (TREES,)


@dataclass(frozen=True)
class Model:
    """A fitted scikit-learn model that has been checked against its signature."""

    signature: Signature
    fitted: Any

    def predict(self, rows: pa.Table) -> Vector:
        """Probability of class 1, or value of a regression, per row; rounded to six digits, so that machines agree.

        Raises:
            ModelError: the rows lack a column or have it in another type.
        """
        self.signature.check_columns(types_of(rows))
        features = matrix(rows, self.signature.columns)
        if self.signature.kind == "classification":
            return _rounded(self.fitted.predict_proba(features)[:, 1])
        return _rounded(self.fitted.predict(features))


def opened(signature: Signature, content: bytes) -> Model:
    """Load a model from its file's bytes, after checking libraries, SHA-256 and the types inside.

    Raises:
        ModelError: a check fails, and nothing of the file was loaded; or the indices in its trees are invalid.
    """
    import skops.io

    shown = signature.shown
    signature.check_libraries()
    if (got := sha256(content)) != signature.model_sha256:
        raise ModelError(f"{shown}: expected a file with SHA-256 {signature.model_sha256}, got {got}")
    has_trees = _check_types(content, shown)
    fitted = skops.io.loads(content, trusted=list(TRUSTED) if has_trees else None)
    if has_trees:
        _check_trees(fitted, len(signature.columns), shown)
    return Model(signature, fitted)


def _check_types(content: bytes, shown: str) -> bool:
    """Refuse a file with untrusted types; whether it holds boosted trees."""
    import skops.io

    try:
        untrusted = skops.io.get_untrusted_types(data=content)
    except (BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{shown}: expected a file in skops's format, got something else: {error}") from error
    if unknown := sorted(set(untrusted) - set(TRUSTED)):
        raise ModelError(f"{shown}: expected only types that skops or goldline trusts, got {', '.join(unknown)}")
    return TREES in untrusted


def _check_trees(fitted: Any, features: int, shown: str) -> None:  # noqa: ANN401, any of scikit-learn's
    """Make sure that all indices in a model's boosted trees lie within their nodes and features.

    Raises:
        ModelError: an index is out of range, or the trees are inside a model of another class.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.ensemble._hist_gradient_boosting.predictor import PREDICTOR_RECORD_DTYPE, TreePredictor

    def check(*, holds: bool, what: str) -> None:
        if not holds:
            raise ModelError(f"{shown}: expected boosted trees that stay within their own nodes, got {what}")

    kinds = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    check(holds=type(fitted) in kinds, what=f"trees inside of {type(fitted).__name__}")
    is_plain = fitted._preprocessor is None and fitted.is_categorical_ is None
    check(holds=is_plain and fitted.n_features_in_ == features, what=f"other columns than its {features} numbers")
    for tree in (tree for trees in fitted._predictors for tree in trees):
        check(holds=type(tree) is TreePredictor, what=type(tree).__name__)
        nodes = tree.nodes
        check(holds=nodes.dtype == PREDICTOR_RECORD_DTYPE and nodes.ndim == 1 and nodes.size > 0, what="no nodes")
        inner, place = nodes["is_leaf"] == 0, np.arange(nodes.size)
        for side in ("left", "right"):  # a child comes after its parent, so that no walk is endless
            ahead = (nodes[side] > place) & (nodes[side] < nodes.size)
            check(holds=bool(np.all(ahead[inner])), what=f"a {side} child that is no node after its parent")
        known = (nodes["feature_idx"] >= 0) & (nodes["feature_idx"] < features) & (nodes["is_categorical"] == 0)
        check(holds=bool(np.all(known[inner])), what="a split on a column that it does not have")


def _rounded(values: Any) -> Vector:  # noqa: ANN401, scikit-learn has no types
    return np.round(np.asarray(values, dtype=np.float64), 6)
