"""Models in the lake: a file that runs no code when it is loaded, beside it what it expects, and who is the champion.

    models/<name>/<version>/model.skops      the fitted scikit-learn model
    models/<name>/<version>/signature.json   what it was made of and what it takes; written last, so that it commits
    models/<name>/<version>/test.parquet     the rows to judge it on: keys, features, `label`, `baseline...`
    models/<name>/champions/<date>.json      the champion from that run date on

A champion counts from the run date that it was chosen for: an earlier date that is run again never meets a model that
has seen its future. `<name>` bears the dataset prefix, so that a developer's models keep apart as the tables do.
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
    """A model and the rows to judge it on, as they lie in the lake.

    Attributes:
        floor: least main metric that it must reach to be used.
    """

    signature: Signature
    model_uri: str
    dataset_uri: str
    floor: float

    def summary(self) -> dict[str, str | float]:
        """Metadata of the model's artifact."""
        signature = self.signature
        return {
            "name": signature.name,
            "version": signature.version,
            "kind": signature.kind,
            "floor": self.floor,
        }


@dataclass(frozen=True)
class Fitted:
    """What a training made, before it has a version.

    Attributes:
        model: scikit-learn's.
        kind: of the model.
        columns: in the order in which the model takes them.
        target: what it predicts.
        trained_until: the last date that any training row or label tells of.
        train: the rows that it was fitted on.
        test: the rows to judge it on, with a column of what each baseline says.
        seed: of what was drawn at random.
        metrics: of the fitting.
        floor: least main metric to be used: ROC AUC, or for a regression its skill (see Gate).
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
    """The versions of one model in the lake."""

    def __init__(self, run: RunContext, name: str) -> None:
        self.run = run
        self.name = name
        self.folder = f"models/{run.dataset(name)}"
        self.lake = Lake(run.project, run.bucket)

    def path(self, version: str, file: str) -> str:
        """Where a file of a version lies."""
        return f"{self.folder}/{version}/{file}"

    def test_uri(self, version: str) -> str:
        """Where the rows to judge a version on lie."""
        return self.lake.uri(self.path(version, "test.parquet"))

    def add(self, fitted: Fitted) -> Trained:
        """Write a new version; the same rows, seed and libraries make the same one.

        Raises:
            ModelError: the model holds what its format cannot load without trusting it.
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
        """Write a version, its signature last; one that is there already is the same and stays.

        Raises:
            ModelError: the model holds what its format cannot load without trusting it.
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
        """A version's signature.

        Raises:
            ModelError: there is none, or it cannot be read.
        """
        try:
            return Signature.model_validate_json(self.lake.read_text(self.path(version, "signature.json")))
        except (LakeError, ValidationError) as error:
            raise ModelError(f"model {self.name} {version}: expected its signature, got: {error}") from error

    def load(self, version: str, given: Mapping[str, str]) -> Model:
        """A version, once all that its signature says was found true.

        Args:
            version: which one.
            given: types by name of the columns that it will be given.

        Raises:
            ModelError: columns, types, libraries, the file's hash or the types in it are not as they must be.
        """
        signature = self.signature(version)
        if (signature.name, signature.version) != (self.name, version):
            raise ModelError(
                f"model {self.name} {version}: its signature is that of {signature.name} {signature.version}"
            )
        signature.check_columns(given)
        return opened(signature, self._read(self.path(version, "model.skops")))

    def rows(self, path: str) -> pa.Table:
        """Rows of a Parquet file in the lake.

        Raises:
            ModelError: there is no such file.
        """
        return pq.read_table(io.BytesIO(self._read(path)))

    def champion(self) -> str | None:
        """The version that is champion on the run's date, if there is one."""
        since = sorted(p for p in self.lake.list(f"{self.folder}/champions") if p <= self._pointer)
        return str(json.loads(self.lake.read_text(since[-1]))["version"]) if since else None

    def promote(self, version: str) -> None:
        """Make a version the champion from the run's date on, by one write."""
        self.lake.write_text(self._pointer, json.dumps({"version": version, "run_id": self.run.run_id}))

    def _read(self, path: str) -> bytes:
        try:
            return self.lake.read_bytes(path)
        except LakeError as error:
            raise ModelError(f"model {self.name}: {error}") from error

    @property
    def _pointer(self) -> str:
        return f"{self.folder}/champions/{self.run.run_date}.json"
