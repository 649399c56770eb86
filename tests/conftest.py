"""What all tests share: one local stack, started once, with its data in a temporary folder."""

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import bigquery

from goldline.clients import bigquery_client
from goldline.contracts.table_names import DATASETS
from goldline.local.servers import PROJECT, post
from goldline.local.stack import BUCKET, Addresses, Stack
from goldline.runs.context import RunContext
from tests.support.warehouse_client import BUCKET as WAREHOUSE_BUCKET
from tests.support.warehouse_client import PROJECT as WAREHOUSE_PROJECT
from tests.support.warehouse_client import Servers, Warehouse

if TYPE_CHECKING:
    from tests.support.landed_flow import Place

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
    datasets = [f"{PROJECT}.{prefix}{name}" for name in DATASETS]
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


@pytest.fixture
def landed_flow(
    client: bigquery.Client,
    stack: Addresses,
    new_run: NewRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> "Place":
    """A bucket and datasets of the test's own, with a key for pseudonyms."""
    from tests.support.landed_flow import Place

    bucket = f"test-{uuid.uuid4().hex[:8]}"
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": bucket})
    (tmp_path / "pii.key").write_text(f"1\n{'ab' * 32}\n")
    (tmp_path / "pii.key").chmod(0o600)
    monkeypatch.setenv("GOLDLINE_PII_KEY_FILE", str(tmp_path / "pii.key"))
    return Place(client, new_run(bucket=bucket))


LEFT_OUT: Counter[str] = Counter()  # tests by the marker for which they were left out


def pytest_deselected(items: list[pytest.Item]) -> None:
    LEFT_OUT.update(mark.name for item in items for mark in item.iter_markers() if mark.name in ("slow", "servers"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of xdist tells the process that shows the results
        session.config.workeroutput["left_out"] = dict(LEFT_OUT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    LEFT_OUT.update(Counter(getattr(node, "workeroutput", {}).get("left_out", {})) - LEFT_OUT)  # all collect the same


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LEFT_OUT:
        named = ", ".join(f"{count} marked {name}" for name, count in sorted(LEFT_OUT.items()))
        terminalreporter.write_line(f"left out: {named} (make test-all runs them too)")
