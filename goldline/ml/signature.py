"""Signature of a model: what it was made of, what it takes, and the libraries that fitted it."""

import datetime
import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

LIBRARIES = ("numpy", "scikit-learn", "skops")


Kind = Literal["classification", "regression"]


class ModelError(RuntimeError):
    """A model cannot be made, trusted or used: the message says what was expected and what came."""


class Feature(BaseModel):
    """A column that a model takes.

    Attributes:
        type: as in the table's contract.
        fill: what stands in for NULL: the training rows' median.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: Literal["INT64", "FLOAT64", "NUMERIC"]
    fill: float


class Signature(BaseModel):
    """What a model was made of, and what it takes.

    Attributes:
        columns: in the order in which the model takes them.
        target: what it predicts.
        trained_until: the last date that any of its training rows or labels tells of.
        libraries: versions of what fitted it.
        model_sha256: of the file.
        data_sha256: of the rows that it was fitted and is judged on.
        metrics: of the fitting; how it was judged stands in ops.models.
        run_id: the run that made it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    kind: Kind
    columns: tuple[Feature, ...]
    target: str
    trained_until: datetime.date
    libraries: dict[str, str]
    model_sha256: str
    data_sha256: str
    metrics: dict[str, float]
    run_id: str

    def check_columns(self, given: Mapping[str, str]) -> None:
        """Make sure that data has what the model takes; further columns do no harm.

        Args:
            given: types by name.

        Raises:
            ModelError: a column is missing or of another type.
        """
        for column in self.columns:
            if (got := given.get(column.name)) != column.type:
                raise ModelError(f"{self.shown}: expected the column {column.name} {column.type}, got {got or 'none'}")

    def check_libraries(self) -> None:
        """Make sure that the libraries are those that fitted the model, by major and minor version.

        Raises:
            ModelError: one is not.
        """
        for name, got in libraries().items():
            expected = self.libraries.get(name, "none")
            if _minor(expected) != _minor(got):
                raise ModelError(f"{self.shown}: expected {name} {_minor(expected)}, got {got}. Train it anew")

    @property
    def shown(self) -> str:
        """What errors call the model."""
        return f"model {self.name} {self.version}"


def libraries() -> dict[str, str]:
    """Versions of the libraries that models depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def sha256(content: bytes) -> str:
    """A content's SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
