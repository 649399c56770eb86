"""Models in the lake: a file that runs no code when it is loaded, beside it what it expects, and who is the champion.

    models/<name>/<version>/model.skops      the fitted scikit-learn model
    models/<name>/<version>/signature.json   what it was made of and what it takes; written last, so that it commits
    models/<name>/<version>/test.parquet     the rows to judge it on: keys, features, `label`, `baseline...`
    models/<name>/champions/<date>.json      the champion from that run date on

A champion counts from the run date that it was chosen for: an earlier date that is run again never meets a model that
has seen its future. `<name>` bears the dataset prefix, so that a developer's models keep apart as the tables do.
"""

import datetime
import hashlib
import importlib.metadata
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.cloud import bigquery
from google.cloud.storage.retry import DEFAULT_RETRY
from pydantic import BaseModel, ConfigDict, ValidationError

from goldline.clients import TIMEOUT, bigquery_client, bigquery_read_client, storage_client
from goldline.contracts import arrow
from goldline.contracts.contract import Column, TableContract, parse
from goldline.lake import Lake, LakeError
from goldline.runs.context import RunContext
from goldline.warehouse.jobs import JOB_SECONDS, JobError, date_parameter, label

LOG = logging.getLogger(__name__)
# Before libgomp is loaded: threads of boosted trees that wait for each other must not spin on a machine that has other
# work; it makes a fit up to thirty times slower. https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

FEATURE_TYPES = ("INT64", "FLOAT64", "NUMERIC")
# What skops does not trust by itself, and we have read: a list of our own, never what a file asks for. TreePredictor
# (scikit-learn 1.7 to 1.9) is a plain class whose loading runs none of the file's code; but its compiled walk along the
# nodes trusts their indices, so `_check_trees` looks at each of them before the first row is predicted.
TREES = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
TRUSTED = (TREES,)
LIBRARIES = ("numpy", "scikit-learn", "skops")
LABEL = "label"
BASELINE = "baseline"
TRAINING_WEEKDAY = 0  # Monday
TRAIN_CHOICES = ("auto", "yes", "no")

Kind = Literal["classification", "regression"]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


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


@dataclass(frozen=True)
class Trained:
    """A model and the rows to judge it on, as they lie in the lake."""

    signature: Signature
    model_uri: str
    dataset_uri: str

    def summary(self) -> dict[str, str]:
        """What the model's artifact says of it."""
        return {"name": self.signature.name, "version": self.signature.version, "kind": self.signature.kind}


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
        return Trained(signature, model, self.test_uri(signature.version))

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
        return opened(signature, read_bytes(self.run, self.path(version, "model.skops")))

    def champion(self) -> str | None:
        """The version that is champion on the run's date, if there is one."""
        since = sorted(p for p in self.lake.list(f"{self.folder}/champions") if p <= self._pointer)
        return str(json.loads(self.lake.read_text(since[-1]))["version"]) if since else None

    def promote(self, version: str) -> None:
        """Make a version the champion from the run's date on, by one write."""
        self.lake.write_text(self._pointer, json.dumps({"version": version, "run_id": self.run.run_id}))

    @property
    def _pointer(self) -> str:
        return f"{self.folder}/champions/{self.run.run_date}.json"


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


def should_train(train: str, run_date: datetime.date, *, has_champion: bool) -> bool:
    """Whether a run trains: when asked to, on Mondays, and where there is no champion yet.

    Raises:
        ValueError: `train` is not one of auto, yes and no.
    """
    if train not in TRAIN_CHOICES:
        raise ValueError(f"train: expected one of {', '.join(TRAIN_CHOICES)}, got {train!r}")
    return train == "yes" or (train == "auto" and (run_date.weekday() == TRAINING_WEEKDAY or not has_champion))


def trains(run: RunContext, name: str, train: str) -> bool:
    """Whether this run trains the model of that name; a champion that cannot be loaded counts as none."""
    store = Store(run, name)
    version = store.champion()
    if version is None:
        return should_train(train, run.run_date, has_champion=False)
    try:
        store.signature(version).check_libraries()
    except ModelError:
        return should_train(train, run.run_date, has_champion=False)
    return should_train(train, run.run_date, has_champion=True)


def features_of(text: str) -> TableContract:
    """The contract of a table of features, from the text that travels in the spec.

    Raises:
        ModelError: it is a source's.
    """
    contract = parse(json.loads(text), "the contract in the spec")
    if not isinstance(contract, TableContract):
        raise ModelError(f"expected the contract of a table of features, got that of {contract.source}")
    return contract


def keys(contract: TableContract) -> list[str]:
    """The columns that identify what a row of features is of; a snapshot's date only says as of when."""
    date = contract.partition_by if contract.write == "snapshot" else None
    return [name for name in contract.primary_key if name != date]


def feature_columns(contract: TableContract) -> list[Column]:
    """The columns that models learn from: all numbers but those of the key."""
    return [
        c
        for c in contract.columns
        if c.type in FEATURE_TYPES and c.mode != "REPEATED" and c.name not in contract.primary_key
    ]


def filled(columns: Sequence[Column], rows: pa.Table) -> tuple[Feature, ...]:
    """Columns as a signature has them, with the rows' medians for NULL; 0 where all is NULL."""
    found = []
    for column in columns:
        values = _floats(rows, column.name)
        known = values[~np.isnan(values)]
        fill = float(np.median(known)) if known.size else 0.0
        found.append(Feature.model_validate({"name": column.name, "type": column.type, "fill": fill}))
    return tuple(found)


def matrix(rows: pa.Table, columns: Sequence[Feature]) -> Matrix:
    """The rows' features in order, without NULLs.

    Values go through single precision: sums that the warehouse added up in another order come out the same.
    """
    made = np.empty((rows.num_rows, len(columns)))
    for i, column in enumerate(columns):
        values = _floats(rows, column.name)
        made[:, i] = np.where(np.isnan(values), column.fill, values).astype(np.float32)
    return made


def conformed(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Rows with the contract's columns, in their declared types.

    Raises:
        ModelError: a column is missing, or its values do not fit.
    """
    if missing := [c.name for c in columns if c.name not in rows.column_names]:
        raise ModelError(f"expected the columns {', '.join(c.name for c in columns)}, got none named {missing[0]}")
    schema = arrow.schema(columns)
    try:
        return rows.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        expected = {c.name: c.type for c in columns}
        raise ModelError(f"expected the columns {expected}, got {types_of(rows)}: {error}") from error


def labels(rows: pa.Table) -> Vector:
    """What is to be predicted, by row."""
    return np.asarray(rows.column(LABEL).to_numpy(), dtype=np.float64)


def fingerprint(columns: Sequence[Feature], *tables: pa.Table) -> str:
    """SHA-256 of rows and labels as the model sees them."""
    parts = [part for rows in tables for part in (matrix(rows, columns), labels(rows))]
    return sha256(b"".join([repr(columns).encode(), *(part.tobytes() for part in parts)]))


def types_of(rows: pa.Table) -> dict[str, str]:
    """GoogleSQL's types of Arrow columns, as far as goldline writes them."""
    names = {kind: name for name, kind in reversed(arrow.TYPES.items())}
    return {field.name: names.get(field.type, str(field.type)) for field in rows.schema}


def read_rows(
    run: RunContext,
    subject: str,
    sql: str,
    run_date: datetime.date,
    more: Sequence[bigquery.ScalarQueryParameter] = (),
) -> pa.Table:
    """What a SELECT of `@run_date`, and of more, gives, by Storage Read: for results too large for pages of JSON.

    It changes nothing, so unlike the statements of Jobs it may be sent twice and needs no id of its own.

    Raises:
        JobError: the SELECT failed.
    """
    labels = {"goldline_run": run.run_id, "goldline_subject": subject, "goldline_step": "read"}
    config = bigquery.QueryJobConfig(query_parameters=[date_parameter("run_date", run_date), *more])
    config.labels = {key: label(value) for key, value in labels.items()}
    client = bigquery_client(run.project, run.location)
    try:
        job = client.query(sql, config, timeout=TIMEOUT)
        job.result(timeout=JOB_SECONDS)
        return _downloaded(job.destination)
    except GoogleAPICallError as error:
        raise JobError(f"{subject}, reading as of {run_date}: {error.message}") from error


def _downloaded(table: bigquery.TableReference) -> pa.Table:
    """A table's rows, in whatever order; as to_arrow() does it, which warns that it will move to another package."""
    from google.cloud.bigquery_storage_v1.types import DataFormat, ReadSession

    wanted = ReadSession(table=table.path.removeprefix("/"), data_format=DataFormat.ARROW)
    reader = bigquery_read_client()
    with reader:
        session = reader.create_read_session(
            parent=f"projects/{table.project}", read_session=wanted, max_stream_count=1, timeout=TIMEOUT
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        batches = [
            pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema)
            for stream in session.streams
            for message in reader.read_rows(stream.name, timeout=JOB_SECONDS)
        ]
    return pa.Table.from_batches(batches, schema)


def read_parquet(run: RunContext, path: str) -> pa.Table:
    """The rows of a Parquet file in the lake.

    Raises:
        ModelError: there is no such file.
    """
    return pq.read_table(io.BytesIO(read_bytes(run, path)))


def read_bytes(run: RunContext, path: str) -> bytes:
    """The content of an object of the lake.

    Raises:
        ModelError: there is no such object.
    """
    blob = storage_client(run.project).bucket(run.bucket).blob(path)
    try:
        return bytes(blob.download_as_bytes(timeout=TIMEOUT, retry=DEFAULT_RETRY))
    except NotFound as error:
        raise ModelError(f"no object gs://{run.bucket}/{path}") from error


def libraries() -> dict[str, str]:
    """Versions of the libraries that models depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def sha256(content: bytes) -> str:
    """A content's SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


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


def _floats(rows: pa.Table, name: str) -> Vector:
    column = rows.column(name).cast(pa.float64()).combine_chunks()
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _rounded(values: Any) -> Vector:  # noqa: ANN401, scikit-learn has no types
    return np.round(np.asarray(values, dtype=np.float64), 6)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
