"""What all tests share: one local stack, started once, with its data in a temporary folder."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from google.cloud import bigquery

from goldline.clients import bigquery_client
from goldline.local.servers import PROJECT, post
from goldline.local.stack import BUCKET, Addresses, Stack
from goldline.runs.context import RunContext
from tests.support.warehouse_client import BUCKET as WAREHOUSE_BUCKET
from tests.support.warehouse_client import PROJECT as WAREHOUSE_PROJECT
from tests.support.warehouse_client import Servers, Warehouse

pytest_plugins = ["tests.support.cloud_fixtures"]

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as goldline.ml.store does, before a test loads scikit-learn
RUN_DATE = date(2026, 11, 20)
LOCATION = "US"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """The stack's addresses; the environment leads Google's clients to it, as it does in a task."""
    running = Stack.start(tmp_path_factory.mktemp("stack"))
    assert running
    before = dict(os.environ)
    os.environ.update(running.addresses.environment)
    yield running.addresses
    os.environ.clear()
    os.environ.update(before)
    running.stop()


@pytest.fixture
def client(stack: Addresses) -> bigquery.Client:
    """A client of the stack's warehouse."""
    return bigquery_client(PROJECT, LOCATION)


NewRun = Callable[..., RunContext]


@contextmanager
def runs(client: bigquery.Client) -> Iterator[NewRun]:
    """Makes runs that share datasets of their own."""
    prefix = f"t{uuid.uuid4().hex[:8]}_"
    datasets = [f"{PROJECT}.{prefix}{name}" for name in ("bronze", "silver", "gold", "ops")]
    for dataset in datasets:
        client.create_dataset(dataset)

    def make(day: date = RUN_DATE, since: date | None = None, **more: object) -> RunContext:
        run = RunContext(
            run_id=f"test-{uuid.uuid4().hex[:8]}",
            run_date=day,
            since={"test": since or day},
            project=PROJECT,
            location=LOCATION,
            bucket=BUCKET,
            dataset_prefix=prefix,
        )
        return run.model_copy(update=more)

    yield make
    for dataset in datasets:
        client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)


@pytest.fixture
def new_lake(stack: Addresses) -> Callable[..., RunContext]:
    """Makes runs that share a bucket of this test's own."""
    bucket = f"lake-{uuid.uuid4().hex[:8]}"
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": bucket})

    def make(day: date = RUN_DATE, **more: object) -> RunContext:
        run_id = f"test-{uuid.uuid4().hex[:8]}"
        run = RunContext(run_id=run_id, run_date=day, since={}, project=PROJECT, location=LOCATION, bucket=bucket)
        return run.model_copy(update=more)

    return make


@pytest.fixture
def new_run(client: bigquery.Client) -> Iterator[NewRun]:
    """Makes runs that share datasets of this test's own."""
    with runs(client) as make:
        yield make


@pytest.fixture(scope="module")
def new_run_of_module(stack: Addresses) -> Iterator[NewRun]:
    """Makes runs that share the datasets of all tests of a file."""
    with runs(bigquery_client(PROJECT, LOCATION)) as make:
        yield make


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data and state for a stack of the test's own, as the command line finds it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GOLDLINE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def servers(stack: Addresses) -> Servers:
    """The stack's warehouse and lake, for the tests of the warehouse itself."""
    where = stack.environment
    post(stack.storage, f"/storage/v1/b?project={WAREHOUSE_PROJECT}", {"name": WAREHOUSE_BUCKET})
    return Servers(
        bigquery=where["BIGQUERY_EMULATOR_HOST"],
        bigquery_storage=where["BIGQUERY_STORAGE_EMULATOR_HOST"],
        storage=where["STORAGE_EMULATOR_HOST"],
    )


@pytest.fixture
def warehouse(servers: Servers) -> Iterator[Warehouse]:
    """A dataset and a folder of the test's own, and clients for them."""
    made = Warehouse(servers.bigquery, servers.storage)
    yield made
    made.close()
