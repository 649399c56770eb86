"""The counterpart of the scan in test_run.py: it finds what the contract's rules keep out, once they are taken away."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.cloud import bigquery, firestore

from components.sales.generate_sales.sales_documents import generate_sales
from components.sales.generate_sales.world import World
from goldline.clients import firestore_client
from goldline.contracts.loading import parse
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract
from goldline.lake import Lake
from goldline.landing.views import ensure_source
from goldline.local.servers import PROJECT, post
from goldline.local.stack import Addresses
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.spec.tables import contract_json, contracts, select
from goldline.stages.build_table import build_table
from goldline.stages.export_firestore.export import export_firestore
from goldline.warehouse.schema import ensure, ensure_plain
from tests.project.sales.personal_scan import found, kinds, lake_texts

SEED, DAYS, CUSTOMERS = 7, 10, 120
WORLD = World(SEED, CUSTOMERS)
DATABASE = "(default)"
SILVER = "sales/stg_sales"


def without_rules(columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns as if nobody had said what of them is personal."""
    bare = [{name: value for name, value in c.items() if name != "pii"} for c in columns]
    return [{**c, "fields": without_rules(c["fields"])} if c.get("fields") else c for c in bare]


@pytest.fixture
def documents(stack: Addresses) -> firestore.CollectionReference:
    """A simulated shop's collection."""
    return firestore_client(PROJECT).collection(f"sales-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def run(new_run: Callable[..., RunContext], stack: Addresses) -> RunContext:
    """A run with a lake of its own."""
    bucket = f"scan-{uuid.uuid4().hex[:8]}"
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": bucket})
    made = new_run(bucket=bucket)
    return made.model_copy(update={"since": {"sales": made.run_date}})


def export_and_build(
    run: RunContext, client: bigquery.Client, contract: SourceContract, documents: firestore.CollectionReference
) -> dict[str, str]:
    """Documents to silver; what then stands in the lake and in the warehouse, by name."""
    table = contracts()[SILVER]
    assert isinstance(table, TableContract)
    ensure(client, table, run)
    ensure_plain(client, "ops.commits", Commit.columns(), run)
    ensure_plain(client, table.rejected_table, REJECTED_COLUMNS, run, partition_by="run_date")
    ensure_source(client, Lake(run.project, run.bucket), contract, run)
    generate_sales(run, documents.id, DATABASE, SEED, DAYS, CUSTOMERS)
    exported = export_firestore(run, contract.model_dump_json(), documents.id, DATABASE)
    built = build_table(run, "sales", select(SILVER), contract_json(SILVER))
    assert built.selected == exported.rows > 0
    return dict(texts(run, client, contract.source, contract.view, table.table, table.rejected_table))


def texts(run: RunContext, client: bigquery.Client, *tables: str) -> Iterator[tuple[str, str]]:
    for name in tables:
        rows = [dict(row.items()) for row in client.query_and_wait(f"select * from `{run.table(name)}`")]
        assert rows
        yield name, json.dumps(rows, default=str, ensure_ascii=False)
    yield from lake_texts(run.bucket)


def test_without_the_rules_the_same_scan_finds_what_the_documents_tell(
    run: RunContext, client: bigquery.Client, documents: firestore.CollectionReference
) -> None:
    declared = json.loads(contract_json("sales/ext_sales"))
    bare = parse({**declared, "columns": without_rules(declared["columns"])}, "ext_sales without its rules")
    assert isinstance(bare, SourceContract)
    there = found(WORLD, export_and_build(run, client, bare, documents).items())

    told = found(WORLD, [("documents", str([d.to_dict() for d in documents.stream()]))])["documents"]
    assert told == {"name", "street", "phone", "e-mail, hashed"}  # addresses and card numbers stay in the application
    files = {name: of for name, of in there.items() if name.endswith(".parquet")}
    assert list(files.values()) == [told]
    assert (there["bronze.ext_sales"], there["bronze.sales"]) == (told, told)
    assert there["silver.stg_sales"] == {"phone", "e-mail, hashed"}  # names and streets are not selected
    assert there["silver.rejected_sales"] == {"phone", "e-mail, hashed"}


def test_the_scan_finds_each_kind() -> None:
    for kind, values in kinds(WORLD).items():
        assert values
        assert all(found(WORLD, [("here", f"a {value}.")])["here"] == {kind} for value in values)
