"""Signature of a model: its columns and target, the data and libraries that it was fitted with, and hashes."""

import datetime
import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

LIBRARIES = ("numpy", "scikit-learn", "skops")
Kind = Literal["classification", "regression"]


class ModelError(RuntimeError):
    """A model that cannot be made, trusted or used; the message says what was expected and what came."""


class Feature(BaseModel):
    """A column that a model takes.

    Attributes:
        type: its type in the table's contract.
        fill: value used for NULL: the median of the training rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: Literal["INT64", "FLOAT64", "NUMERIC"]
    fill: float


class Signature(BaseModel):
    """Description of a model version: its inputs, its target and its origin.

    Attributes:
        columns: features, in the order in which the model takes them.
        target: one phrase that says what is predicted.
        trained_until: last date that any training row or label covers.
        libraries: versions of the libraries that fitted it, by package name.
        model_sha256: of the model file, in hexadecimal.
        data_sha256: of the training and test rows, in hexadecimal.
        metrics: of the training; those of the evaluation are in ops.models.
        run_id: run that trained it.
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
        """Make sure that data has the model's columns in their types; more columns are allowed.

        Args:
            given: GoogleSQL types of the data's columns, by name.

        Raises:
            ModelError: a column is missing or of another type.
        """
        for column in self.columns:
            if (got := given.get(column.name)) != column.type:
                raise ModelError(f"{self.shown}: expected the column {column.name} {column.type}, got {got or 'none'}")

    def check_libraries(self) -> None:
        """Make sure that the installed libraries match those that fitted the model, in major and minor version.

        Raises:
            ModelError: one differs.
        """
        for name, got in libraries().items():
            expected = self.libraries.get(name, "none")
            if _minor(expected) != _minor(got):
                raise ModelError(f"{self.shown}: expected {name} {_minor(expected)}, got {got}. Train it anew")

    @property
    def shown(self) -> str:
        """Name of the model in errors: `model <name> <version>`."""
        return f"model {self.name} {self.version}"


def libraries() -> dict[str, str]:
    """Installed versions of the libraries that models depend on, by package name."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def sha256(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
