"""Models in the lake: the versions of a model, with their signatures and test rows, and its champions.

    models/<name>/<version>/model.skops      the fitted scikit-learn model, in a format that runs no code when loaded
    models/<name>/<version>/signature.json   its inputs, target and origin; written last, which commits the version
    models/<name>/<version>/test.parquet     test rows to evaluate it on: keys, features, `label`, `baseline...`
    models/<name>/champions/<date>.json      the champion from that run date on

A champion counts from the run date of its promotion on: when an earlier date is run again, no model that was trained on
later data predicts for it. `<name>` begins with the dataset prefix, which keeps a developer's models apart.
"""

import datetime
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from goldline.lake import Lake, LakeError
from goldline.ml.features import fingerprint
from goldline.ml.model_file import Model, _check_trees, _check_types, opened
from goldline.ml.signature import Feature, Kind, ModelError, Signature, libraries, sha256
from goldline.runs.context import RunContext

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A model version in the lake.

    Attributes:
        model_uri: gs:// address of the model file.
        dataset_uri: gs:// address of the test rows.
        floor: least main metric with which it is accepted.
    """

    signature: Signature
    model_uri: str
    dataset_uri: str
    floor: float

    def summary(self) -> dict[str, str | float]:
        """Metadata of the model's artifact."""
        s = self.signature
        return {"name": s.name, "version": s.version, "kind": s.kind, "floor": self.floor}


@dataclass(frozen=True)
class Fitted:
    """Result of a training, before it has a version.

    Attributes:
        model: fitted scikit-learn estimator.
        columns: features, in the order in which the model takes them.
        target: one phrase that says what is predicted.
        trained_until: last date that any training row or label covers.
        train: rows that it was fitted on.
        test: rows to evaluate it on, with one column of predictions per baseline.
        seed: of all that was drawn at random.
        metrics: of the training.
        floor: least main metric with which it is accepted: ROC AUC, or the skill of a regression.
    """

    model: Any
    kind: Kind
    columns: tuple[Feature, ...]
    target: str
    trained_until: datetime.date
    train: pa.Table
    test: pa.Table
    seed: int
    metrics: dict[str, float]
    floor: float


class Store:
    """Versions and champions of one model in the lake, as of a run's date."""

    def __init__(self, run: RunContext, name: str) -> None:
        self.run = run
        self.name = name
        self.folder = f"models/{run.dataset(name)}"
        self.lake = Lake(run.project, run.bucket)

    def path(self, version: str, file: str) -> str:
        """Path in the bucket of a version's file."""
        return f"{self.folder}/{version}/{file}"

    def test_uri(self, version: str) -> str:
        """gs:// address of a version's test rows."""
        return self.lake.uri(self.path(version, "test.parquet"))

    def add(self, fitted: Fitted) -> Trained:
        """Write a new version; the same rows, seed and libraries give the same version.

        Raises:
            ModelError: the model holds a type that is not trusted, or trees with invalid indices.
        """
        data = fingerprint(fitted.columns, fitted.train, fitted.test)
        made_of = f"{data} {fitted.seed} {libraries()} {fitted.model!r}"
        signature = Signature(
            name=self.name,
            version=f"{self.run.run_date:%Y%m%d}-{sha256(made_of.encode())[:8]}",
            kind=fitted.kind,
            columns=fitted.columns,
            target=fitted.target,
            trained_until=fitted.trained_until,
            libraries=libraries(),
            model_sha256="",
            data_sha256=data,
            metrics=fitted.metrics,
            run_id=self.run.run_id,
        )
        self.save(fitted.model, signature, fitted.test)
        LOG.info("%s: trained on %d rows up to %s", signature.shown, fitted.train.num_rows, fitted.trained_until)
        model = self.lake.uri(self.path(signature.version, "model.skops"))
        return Trained(signature, model, self.test_uri(signature.version), fitted.floor)

    def save(self, fitted: Any, signature: Signature, test: pa.Table) -> None:  # noqa: ANN401, any of scikit-learn's
        """Write a version, its signature last and with the file's SHA-256; an existing version is the same and stays.

        Raises:
            ModelError: the model holds a type that is not trusted, or trees with invalid indices.
        """
        import skops.io

        if self.lake.exists(self.path(signature.version, "signature.json")):
            return
        content = skops.io.dumps(fitted)
        if _check_types(content, signature.shown):
            _check_trees(fitted, len(signature.columns), signature.shown)
        signature = signature.model_copy(update={"model_sha256": sha256(content)})
        rows = io.BytesIO()
        pq.write_table(test, rows)
        self.lake.write_bytes(self.path(signature.version, "test.parquet"), rows.getvalue())
        self.lake.write_bytes(self.path(signature.version, "model.skops"), content)
        self.lake.write_text(self.path(signature.version, "signature.json"), signature.model_dump_json(indent=1))

    def signature(self, version: str) -> Signature:
        """Signature of a version.

        Raises:
            ModelError: it is missing or invalid.
        """
        try:
            return Signature.model_validate_json(self.lake.read_text(self.path(version, "signature.json")))
        except (LakeError, ValidationError) as error:
            raise ModelError(f"model {self.name} {version}: expected its signature, got: {error}") from error

    def load(self, version: str, given: Mapping[str, str]) -> Model:
        """Load a version after checking it against its signature and the data to predict for.

        Args:
            version: name of the version.
            given: GoogleSQL types of the data's columns, by name.

        Raises:
            ModelError: columns, types, libraries, the file's SHA-256 or the types in it do not match.
        """
        signature = self.signature(version)
        if (signature.name, signature.version) != (self.name, version):
            raise ModelError(
                f"model {self.name} {version}: its signature is that of {signature.name} {signature.version}"
            )
        signature.check_columns(given)
        return opened(signature, self._read(self.path(version, "model.skops")))

    def rows(self, path: str) -> pa.Table:
        """Rows of a Parquet file at a path in the bucket.

        Raises:
            ModelError: the file does not exist.
        """
        return pq.read_table(io.BytesIO(self._read(path)))

    def champion(self) -> str | None:
        """Version of the champion on the run date; None if there is none."""
        since = sorted(p for p in self.lake.list(f"{self.folder}/champions") if p <= self._pointer)
        return str(json.loads(self.lake.read_text(since[-1]))["version"]) if since else None

    def promote(self, version: str) -> None:
        """Make a version the champion from the run date on, in one write."""
        self.lake.write_text(self._pointer, json.dumps({"version": version, "run_id": self.run.run_id}))

    def _read(self, path: str) -> bytes:
        try:
            return self.lake.read_bytes(path)
        except LakeError as error:
            raise ModelError(f"model {self.name}: {error}") from error

    @property
    def _pointer(self) -> str:
        return f"{self.folder}/champions/{self.run.run_date}.json"
