"""A model's file: it runs no code when it is loaded, and holds only what is trusted."""

import os
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from goldline.ml.features import Vector, matrix, types_of
from goldline.ml.signature import ModelError, Signature, sha256

# Before libgomp is loaded: threads of boosted trees that wait for each other must not spin on a machine that has other
# work; it makes a fit up to thirty times slower. https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


# What skops does not trust by itself, and we have read: a list of our own, never what a file asks for. TreePredictor
# (scikit-learn 1.7 to 1.9) is a plain class whose loading runs none of the file's code; but its compiled walk along the
# nodes trusts their indices, so `_check_trees` looks at each of them before the first row is predicted.
TREES = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


TRUSTED = (TREES,)


@dataclass(frozen=True)
class Model:
    """A fitted model that was found to be what its signature says."""

    signature: Signature
    fitted: Any

    def predict(self, rows: pa.Table) -> Vector:
        """The probability of the class 1, or the value, by row; to six digits, so that no machine's last bits show.

        Raises:
            ModelError: the rows lack a column or have it in another type.
        """
        self.signature.check_columns(types_of(rows))
        features = matrix(rows, self.signature.columns)
        if self.signature.kind == "classification":
            return _rounded(self.fitted.predict_proba(features)[:, 1])
        return _rounded(self.fitted.predict(features))


def opened(signature: Signature, content: bytes) -> Model:
    """A model from its file, once libraries, hash and the types in it were found to be as they must be.

    Raises:
        ModelError: they are not, and nothing of the file was loaded; or its trees are not, and nothing is predicted.
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
    """Whether a file holds boosted trees, once there is nothing in it that nobody trusts."""
    import skops.io

    try:
        untrusted = skops.io.get_untrusted_types(data=content)
    except (BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{shown}: expected a file in skops's format, got something else: {error}") from error
    if unknown := sorted(set(untrusted) - set(TRUSTED)):
        raise ModelError(f"{shown}: expected only types that skops or goldline trusts, got {', '.join(unknown)}")
    return TREES in untrusted


def _check_trees(fitted: Any, features: int, shown: str) -> None:  # noqa: ANN401, any of scikit-learn's
    """Make sure that boosted trees stay within their nodes and features; `fitted` holds some where its file has them.

    Raises:
        ModelError: a tree would read what is not its own, or stands where nobody looks for it.
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
