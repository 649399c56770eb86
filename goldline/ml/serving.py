"""HTTP server for one model, with the routes that Vertex AI requires of a custom serving container.

    GET  $AIP_HEALTH_ROUTE    200 once the model is loaded
    POST $AIP_PREDICT_ROUTE   {"instances": [{"recency_days": 3, ...}, ...]} -> {"predictions": [0.12, ...]}

Vertex AI sets the variables; AIP_STORAGE_URI is its copy of the model's folder:
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements

python -m goldline.ml.serving
"""

import json
import logging
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pyarrow as pa
from google.api_core.exceptions import NotFound
from google.cloud.storage import Blob
from google.cloud.storage.retry import DEFAULT_RETRY
from pydantic import ValidationError

from goldline.clients import TIMEOUT, default_project, storage_client
from goldline.contracts import arrow
from goldline.ml.model_file import Model, opened
from goldline.ml.signature import ModelError, Signature

LOG = logging.getLogger(__name__)
MOST_BYTES = 1_500_000  # of a request's body: the limit of Vertex AI
MOST_DRAINED = 64_000_000  # bytes read of a refused request, before the connection is closed
MOST_ROWS = 10_000


class RequestError(ValueError):
    """An invalid request; the message says what was expected and what came."""


@dataclass(frozen=True)
class Settings:
    """Port and routes of the server, and the gs:// folder of its model."""

    port: int
    health_route: str
    predict_route: str
    storage_uri: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Settings from the variables that Vertex AI sets, AIP_*.

        Raises:
            ModelError: AIP_STORAGE_URI does not name a gs:// folder.
        """
        if not (uri := environment.get("AIP_STORAGE_URI", "")).startswith("gs://"):
            raise ModelError(f"AIP_STORAGE_URI: expected a model's folder as gs://bucket/path, got {uri!r}")
        return cls(
            port=int(environment.get("AIP_HTTP_PORT", "8080")),
            health_route=environment.get("AIP_HEALTH_ROUTE", "/health"),
            predict_route=environment.get("AIP_PREDICT_ROUTE", "/predict"),
            storage_uri=uri.rstrip("/"),
        )


def load(storage_uri: str) -> Model:
    """Load the model from `signature.json` and `model.skops` in a gs:// folder.

    Raises:
        ModelError: a file is missing, or the model does not match its signature.
    """
    client = storage_client(default_project())

    def content(name: str) -> bytes:
        blob = Blob.from_uri(f"{storage_uri}/{name}", client=client)
        try:
            return bytes(blob.download_as_bytes(timeout=TIMEOUT, retry=DEFAULT_RETRY))
        except NotFound as error:
            raise ModelError(f"no object {storage_uri}/{name}") from error

    try:
        signature = Signature.model_validate_json(content("signature.json"))
    except ValidationError as error:
        raise ModelError(f"{storage_uri}/signature.json: expected a model's signature, got: {error}") from error
    return opened(signature, content("model.skops"))


def answer(model: Model, body: bytes) -> dict[str, list[float]]:
    """Response to a request's body: `predictions`, one number per row.

    Raises:
        RequestError: the body is not in Vertex AI's form, or a row lacks a column or has it in another type.
    """
    try:
        given = json.loads(body)
    except ValueError as error:
        raise RequestError(f"expected JSON, got something else: {error}") from error
    instances = given.get("instances") if isinstance(given, dict) else None
    if not isinstance(instances, list) or not all(isinstance(row, dict) for row in instances):
        raise RequestError('expected {"instances": [...]} with a row\'s columns by name in each')
    if not 1 <= len(instances) <= MOST_ROWS:
        raise RequestError(f"expected 1 to {MOST_ROWS} rows, got {len(instances)}")
    return {"predictions": model.predict(_rows(model.signature, instances)).tolist()}


def _rows(signature: Signature, instances: list[dict[str, Any]]) -> pa.Table:
    columns = {}
    for column in signature.columns:
        if missing := [i for i, row in enumerate(instances) if column.name not in row]:
            raise RequestError(f"instances[{missing[0]}]: expected the column {column.name} (null where it is unknown)")
        try:
            columns[column.name] = pa.array([row[column.name] for row in instances], arrow.TYPES[column.type])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise RequestError(f"{column.name}: expected {column.type}: {error}") from error
    return pa.table(columns)


class Server(ThreadingHTTPServer):
    """HTTP server for a model, started by `serve_forever`; port 0 lets the system choose one."""

    def __init__(self, settings: Settings, model: Model, host: str = "") -> None:
        super().__init__((host, settings.port), Handler)
        self.settings = settings
        self.model = model


class Handler(BaseHTTPRequestHandler):
    """Handler of one connection."""

    timeout = TIMEOUT
    server: Server

    def do_GET(self) -> None:
        """Answer the health route with name and version of the model."""
        settings, signature = self.server.settings, self.server.model.signature
        if self.path != settings.health_route:
            return self._reply(HTTPStatus.NOT_FOUND, {"error": f"expected {settings.health_route}"})
        return self._reply(HTTPStatus.OK, {"model": signature.name, "version": signature.version})

    def do_POST(self) -> None:
        """Answer the predict route with predictions; 400, 404 or 413 and an error otherwise."""
        length = self.headers.get("Content-Length", "")
        if self.path != (route := self.server.settings.predict_route):
            return self._refuse(HTTPStatus.NOT_FOUND, f"expected {route}")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            problem = f"expected a Content-Length of up to {MOST_BYTES} bytes"
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, problem)
        try:
            return self._reply(HTTPStatus.OK, answer(self.server.model, self.rfile.read(int(length))))
        except RequestError as error:
            return self._reply(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _refuse(self, status: HTTPStatus, problem: str) -> None:
        """Read and drop the body before answering: a client that is still sending would never read the error."""
        self.close_connection = True
        length = self.headers.get("Content-Length", "")
        left = min(int(length), MOST_DRAINED) if length.isdecimal() else 0
        while left > 0 and (piece := self.rfile.read(min(left, 65_536))):
            left -= len(piece)
        self._reply(status, {"error": problem})

    def _reply(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ANN401, http.server's names
        """Log no requests: rows may be personal, and Vertex AI can log requests itself."""


def main() -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = Settings.of(os.environ)
    model = load(settings.storage_uri)
    with Server(settings, model) as running:
        # shutdown() waits for serve_forever() to end, so it cannot be called from a signal's handler itself.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=running.shutdown).start())
        LOG.info("serving %s %s on port %d", model.signature.name, model.signature.version, settings.port)
        running.serve_forever()


if __name__ == "__main__":
    main()
