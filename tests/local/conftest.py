"""The two servers of the laptop's warehouse, as the stack runs them."""

from collections.abc import Iterator

import pytest
from warehouse_client import BUCKET, PROJECT, Servers, Warehouse

from goldline.local.servers import post
from goldline.local.stack import Addresses


@pytest.fixture(scope="session")
def servers(stack: Addresses) -> Servers:
    where = stack.environment
    return Servers(
        bigquery=where["BIGQUERY_EMULATOR_HOST"],
        bigquery_storage=where["BIGQUERY_STORAGE_EMULATOR_HOST"],
        storage=where["STORAGE_EMULATOR_HOST"],
        pids=(stack.pids["storage"], stack.pids["bigquery"]),
    )


@pytest.fixture(scope="session")
def bucket(stack: Addresses) -> None:
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": BUCKET})


@pytest.fixture
def warehouse(servers: Servers, bucket: None) -> Iterator[Warehouse]:
    made = Warehouse(servers.bigquery, servers.storage)
    yield made
    made.close()
