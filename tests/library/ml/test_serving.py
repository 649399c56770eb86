"""A model behind HTTP, as Vertex AI's serving asks it: health, predictions, and what is refused."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from goldline.local.servers import PROJECT
from goldline.local.stack import Addresses
from goldline.ml.serving import Server, Settings, load
from goldline.ml.signature import ModelError, libraries
from tests.support.models_shelf import GIVEN, Shelf, classifier

ROW = {"a": 3, "b": 0.5}


@pytest.fixture(scope="module")
def shelf(stack: Addresses) -> Shelf:
    assert stack
    made = Shelf()
    made.put("v1", classifier())
    return made


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)


def uri(shelf: Shelf) -> str:
    return shelf.store.lake.uri(shelf.store.path("v1", "")).rstrip("/")


@pytest.fixture
def address(shelf: Shelf) -> Iterator[str]:
    settings = Settings.of({"AIP_STORAGE_URI": uri(shelf), "AIP_HTTP_PORT": "0", "AIP_HEALTH_ROUTE": "/alive"})
    with Server(settings, load(settings.storage_uri), "127.0.0.1") as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def ask(url: str, body: bytes | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, body, timeout=10) as reply:  # noqa: S310, an address of our own
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def predict(address: str, *rows: dict[str, Any]) -> tuple[int, Any]:
    return ask(f"{address}/predict", json.dumps({"instances": rows}).encode())


def test_it_says_that_it_is_well_and_which_model_it_serves(address: str) -> None:
    assert ask(f"{address}/alive") == (200, {"model": "churn", "version": "v1"})


def test_it_predicts_as_the_pipeline_does(address: str, shelf: Shelf) -> None:
    rows = shelf.test.select(["a", "b"]).to_pylist()[:50]
    expected = shelf.store.load("v1", GIVEN).predict(shelf.test).tolist()[:50]
    assert predict(address, *rows) == (200, {"predictions": expected})


def test_null_is_filled_and_columns_that_no_model_takes_do_no_harm(address: str) -> None:
    fill = 1.5  # of the column b, as the signature says
    status, said = predict(address, {"a": 3, "b": None, "customer_id": "c1"}, {"a": 3, "b": fill})
    assert status == 200
    assert said["predictions"][0] == said["predictions"][1]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>", "expected JSON"),
        (b"[]", "instances"),
        (b'{"instances": []}', "1 to"),
        (b'{"instances": [3]}', "instances"),
        (json.dumps({"instances": [ROW, {"a": 1}]}).encode(), "instances[1]: expected the column b"),
        (json.dumps({"instances": [ROW | {"a": "many"}]}).encode(), "a: expected INT64"),
        (json.dumps({"instances": [ROW | {"b": [1]}]}).encode(), "b: expected FLOAT64"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(address: str, body: bytes, problem: str) -> None:
    status, said = ask(f"{address}/predict", body)
    assert status == 400
    assert problem in said["error"]


def test_other_routes_and_requests_that_are_too_large_are_refused(address: str) -> None:
    assert ask(f"{address}/")[0] == 404
    assert ask(f"{address}/else", b"{}")[0] == 404
    # More than the sockets hold between them: the refusal is read only if the server takes in what it refuses.
    assert ask(f"{address}/predict", b" " * 30_000_000)[0] == 413
    assert ask(f"{address}/else", b" " * 30_000_000)[0] == 404


def test_the_server_of_the_image_starts_from_vertex_ais_variables_and_ends_when_told(shelf: Shelf) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"AIP_STORAGE_URI": uri(shelf) + "/", "AIP_HTTP_PORT": str(port)}
    command = [sys.executable, "-m", "goldline.ml.serving"]
    with subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "serving churn v1" in process.stderr.readline()
        assert predict(f"http://127.0.0.1:{port}", ROW)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_model_that_is_not_what_it_says_is_not_served(shelf: Shelf) -> None:
    with pytest.raises(ModelError, match="AIP_STORAGE_URI"):
        Settings.of({})
    with pytest.raises(ModelError, match=r"no object .*/v0/signature.json"):
        load(shelf.store.lake.uri(shelf.store.path("v0", "")).rstrip("/"))
    forged = Shelf()
    forged.put("v1", classifier())
    forged.store.lake.write_bytes(forged.store.path("v1", "model.skops"), b"other")
    with pytest.raises(ModelError, match="SHA-256"):
        load(uri(forged))
    forged.rewrite("v1", libraries=libraries() | {"skops": "0.1.0"})
    with pytest.raises(ModelError, match=r"skops 0\.1"):
        load(uri(forged))
