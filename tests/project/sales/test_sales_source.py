"""The simulated shop and the export of its collection, on Google's Firestore emulator."""

import io
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery, firestore

from components.sales.generate_sales.sales_documents import generate_sales
from components.sales.generate_sales.world import World
from components.simulation import NotSimulatedError
from goldline.clients import firestore_client
from goldline.contracts.source_contract import SourceContract
from goldline.firestore.calls import Database
from goldline.lake import Lake
from goldline.local.servers import PROJECT
from goldline.privacy.pseudonym import PseudonymKeyError, load_key
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.spec.tables import contract_json, contracts
from goldline.stages.export_firestore.export import ExportError, export_firestore
from goldline.warehouse.schema import ensure_plain
from tests.support.landings import both, response

DAY = date(2026, 11, 20)
DATABASE = "(default)"
SEED, DAYS, CUSTOMERS = 7, 4, 400
NewRun = Callable[..., RunContext]


@pytest.fixture
def documents(client: bigquery.Client) -> firestore.CollectionReference:
    """A collection of the test's own."""
    return firestore_client(PROJECT).collection(f"sales-{uuid.uuid4().hex[:8]}")


def generate(run: RunContext, documents: firestore.CollectionReference, **more: int) -> dict[str, int | float]:
    given = {"seed": SEED, "days": DAYS, "customers": CUSTOMERS, **more}
    return generate_sales(run, documents.id, DATABASE, given["seed"], given["days"], given["customers"])


def content(documents: firestore.CollectionReference) -> dict[str, dict[str, Any]]:
    return {d.id: d.to_dict() or {} for d in documents.stream()}


def test_a_first_run_writes_a_history_and_later_ones_a_day(
    new_run: NewRun, documents: firestore.CollectionReference
) -> None:
    first = generate(new_run(DAY), documents)
    there = content(documents)
    assert first["written"] == first["documents"] == len(there)
    assert Counter(d["status"] for d in there.values())["completed"] > 0
    assert generate(new_run(DAY), documents)["written"] == 0

    tomorrow = generate(new_run(DAY + timedelta(days=1)), documents)
    changed = {name for name, d in content(documents).items() if there.get(name) != d}
    assert tomorrow["written"] == len(changed) > 0
    assert tomorrow["documents"] == len(content(documents))


def test_days_in_any_order_give_the_same_collection(new_run: NewRun, documents: firestore.CollectionReference) -> None:
    other = firestore_client(PROJECT).collection(f"{documents.id}-other")
    for day in (0, 1, 2):
        generate(new_run(DAY + timedelta(days=day)), documents)
    # The same history, the last day before the middle one.
    for day in (0, 2, 1, 0):
        generate(new_run(DAY + timedelta(days=day)), other)
    assert content(documents) == content(other)


def test_a_collection_that_it_did_not_make_is_refused(
    new_run: NewRun, documents: firestore.CollectionReference
) -> None:
    documents.document("real").set({"customer": "somebody"})
    with pytest.raises(NotSimulatedError, match="holds documents that no simulation made: nothing was written"):
        generate(new_run(), documents)
    assert content(documents) == {"real": {"customer": "somebody"}}


def test_another_simulations_collection_is_refused(new_run: NewRun, documents: firestore.CollectionReference) -> None:
    generate(new_run(), documents)
    before = content(documents)
    with pytest.raises(NotSimulatedError, match="simulates seed 7 with 400 customers, not seed 8 with 400"):
        generate(new_run(), documents, seed=8)
    assert content(documents) == before


def export(
    run: RunContext, documents: firestore.CollectionReference, client: bigquery.Client
) -> tuple[Any, list[dict[str, Any]]]:
    ensure_plain(client, "ops.commits", Commit.columns(), run)
    exported = export_firestore(run, contract_json("sales/ext_sales"), documents.id, DATABASE)
    lake = Lake(run.project, run.bucket)
    [path] = lake.list(exported.uri.removeprefix(f"gs://{run.bucket}/"))
    table = pq.read_table(io.BytesIO(lake._bucket.blob(path).download_as_bytes()))
    return exported, table.to_pylist()


def commits(run: RunContext, client: bigquery.Client) -> list[Any]:
    return list(client.query_and_wait(f"select * from `{run.table('ops.commits')}`"))


def test_an_export_is_typed_pseudonymised_and_committed(
    new_run: NewRun, documents: firestore.CollectionReference, client: bigquery.Client
) -> None:
    run = new_run()
    planted = generate(run, documents)
    exported, rows = export(run, documents, client)
    assert exported.rows == len(rows) == planted["documents"]
    [commit] = commits(run, client)
    assert (commit["rows"], commit["run_date"], commit["read_time"]) == (len(rows), DAY, exported.read_time)
    assert exported.uri.endswith(f"attempt={commit['attempt']}")

    # Every timestamp of whatever form means the second that the shop knows.
    made = {
        sale.sale_id: sale.made for d in range(DAYS) for sale in World(SEED, CUSTOMERS).sales(DAY - timedelta(days=d))
    }
    read = [row for row in rows if row["sale_timestamp"]]
    assert [row["sale_timestamp"] for row in read] == [made[row["sale_id"]] for row in read]
    unread = exported.findings.unread["sale_timestamp"]
    unreadable_amounts = sum('"free"' in (row["_rest"] or "") for row in rows)
    assert (len(rows) - len(read), unread + unreadable_amounts) == (unread, planted["unreadable"])

    [known] = [c for c in World(SEED, CUSTOMERS).customers if c.customer_id == rows[0]["customer_id"]]
    assert rows[0]["shipping"]["phone"] == load_key().pseudonym(known.phone)
    assert rows[0]["credit_card_last4"] == known.card[-4:]
    assert "name" not in rows[0]["shipping"]
    everything = json.dumps(rows, default=str)
    for customer in World(SEED, CUSTOMERS).customers:
        for personal in customer.personal:
            assert personal not in everything


def test_an_empty_collection_is_committed_as_empty(
    new_run: NewRun, documents: firestore.CollectionReference, client: bigquery.Client
) -> None:
    exported, rows = export(new_run(), documents, client)
    assert (exported.rows, rows) == (0, [])


def test_a_short_stream_is_an_error_and_commits_nothing(
    new_run: NewRun, documents: firestore.CollectionReference, client: bigquery.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    for name in ("a", "b", "c"):
        documents.document(name).set({"sale_id": name, "updated_at": datetime.now(UTC)})
    plain = Database.stream

    def short(*arguments: Any) -> Iterator[Any]:
        yield from list(plain(*arguments))[:-1]

    monkeypatch.setattr(Database, "stream", short)
    with pytest.raises(ExportError, match=r"Firestore counted 3 documents at .*, but the stream gave 2"):
        export(run, documents, client)
    assert commits(run, client) == []


def test_documents_written_meanwhile_are_not_of_this_export(
    new_run: NewRun, documents: firestore.CollectionReference, client: bigquery.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents.document("a").set({"sale_id": "a"})
    plain = Database.stream

    def disturbed(*arguments: Any) -> Iterator[Any]:
        documents.document("b").set({"sale_id": "b"})
        yield from plain(*arguments)

    monkeypatch.setattr(Database, "stream", disturbed)
    _, rows = export(new_run(), documents, client)
    assert [row["sale_id"] for row in rows] == ["a"]


def test_without_a_key_nothing_is_exported(
    new_run: NewRun, documents: firestore.CollectionReference, client: bigquery.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOLDLINE_PII_KEY_FILE")
    run = new_run()
    with pytest.raises(PseudonymKeyError, match="GOLDLINE_PII_KEY_FILE is not set"):
        export(run, documents, client)
    assert commits(run, client) == []


def test_the_simulated_shop_is_landed_as_it_was_planted() -> None:
    source = contracts()["sales/ext_sales"]
    assert isinstance(source, SourceContract)
    world = World(7, 500)
    made = [sale for back in range(20) for sale in world.sales(DAY - timedelta(days=back))]
    held = {name: body for sale in made for name, body in sale.documents(DAY)}
    rows, findings = both(source, [response(f"sales/{name}", body) for name, body in held.items()])

    junk = sum(isinstance(b["sale_timestamp"], str) and row["sale_timestamp"] is None
               for b, row in zip(held.values(), rows, strict=True))  # fmt: skip
    texts = {name: sum(isinstance(b[name], str) for b in held.values()) for name in ("quantity", "total_amount")}
    assert findings.unread["sale_timestamp"] == junk > 0
    assert +findings.drifted == Counter(texts)
    assert set(findings.undeclared) == {"loyalty_tier"}
    assert +findings.held_back == Counter()

    text = str(rows)
    for body in held.values():
        assert body["contact_email_hashed"] not in text
        assert not any(body["shipping"][name] in text for name in ("name", "street", "phone"))
