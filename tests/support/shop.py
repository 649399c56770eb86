"""A shop's collection, exported into a lake and a warehouse: what the tests of exports share."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.cloud import bigquery, firestore

from goldline.clients import bigquery_client, firestore_client
from goldline.contracts.source_contract import SourceContract
from goldline.firestore.calls import Database
from goldline.firestore.values import Proto
from goldline.lake import Lake
from goldline.landing.views import ensure_source
from goldline.local.servers import PROJECT
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.runs.run_files import travelling
from goldline.stages.build_table import build_table
from goldline.stages.export_firestore import attempt, reader
from goldline.stages.export_firestore.export import Exported, export_firestore
from goldline.warehouse.schema import ensure_plain
from tests.support import orders

# A Tuesday that is not over, so that read times and not the ends of dates say from when on increments read.
DAY = date(2099, 11, 17)
SUNDAY = date(2099, 11, 22)
NOW = datetime.now(UTC).replace(microsecond=0)
OLD = NOW - timedelta(days=30)
ORDER = {"ordered_at": OLD, "quantity": 1, "total_amount": 5.0, "status": "completed"}


@dataclass
class Shop:
    """A collection, and a warehouse that it is exported to."""

    new_run: Callable[..., RunContext]
    contract: SourceContract
    documents: firestore.CollectionReference = field(
        default_factory=lambda: firestore_client(PROJECT).collection(f"orders-{uuid.uuid4().hex[:8]}")
    )

    @classmethod
    def open(cls, new_run: Callable[..., RunContext]) -> "Shop":
        """A shop with a collection of its own and a folder of the lake of its own: a query lists all files of both."""
        source = orders.source(f"o{uuid.uuid4().hex[:8]}")
        shop, run = cls(new_run, source), new_run()
        ensure_plain(shop.client, "ops.commits", Commit.columns(), run)
        ensure_source(shop.client, Lake(run.project, run.bucket), source, run)
        return shop

    @property
    def client(self) -> bigquery.Client:
        return bigquery_client(PROJECT, self.new_run().location)

    def put(self, name: str, changed: datetime | str | None = NOW, **more: Any) -> None:
        self.put_fields(name, changed, more)

    def put_fields(self, name: str, changed: datetime | str | None, more: dict[str, Any]) -> None:
        dated = {} if changed is None else {"updated_at": changed}
        self.documents.document(name).set({"order_id": name, **ORDER, **dated, **more})

    def put_many(self, names: list[str], changed: datetime = OLD) -> None:
        batch = self.documents._client.batch()
        for name in names:
            batch.set(self.documents.document(name), {"order_id": name, **ORDER, "updated_at": changed})
        batch.commit()

    def export(self, day: date, mode: str = "auto", run: RunContext | None = None) -> Exported:
        run = run or self.new_run(day)
        return export_firestore(run, self.contract.model_dump_json(), self.documents.id, "(default)", mode)

    def build(self, day: date, since: date | None = None, refresh: str = "") -> None:
        run = self.new_run(day, full_refresh=(refresh,) if refresh else ())
        run = run.model_copy(update={"since": {"shop": since or day}})
        select = orders.SELECT.replace("bronze.orders", self.contract.view)
        build_table(run, "shop", select, travelling(orders.table()))

    def rows(self, sql: str) -> list[dict[str, Any]]:
        run = self.new_run()
        for table in ("ops.commits", "bronze.orders", "silver.stg_orders"):
            sql = sql.replace(table, f"`{run.table(table.replace('bronze.orders', self.contract.view))}`")
        return [dict(row.items()) for row in self.client.query_and_wait(sql)]

    def silver(self) -> dict[str, dict[str, Any]]:
        return {row["order_id"]: row for row in self.rows("select * except (_loaded_date) from silver.stg_orders")}

    def newest(self) -> dict[str, dict[str, Any]]:
        """What all exports tell of each order, the newest version, as silver takes it."""
        key = "coalesce(order_id, json_value(_rest, '$.order_id'))"
        newest = f"row_number() over (partition by {key} order by updated_at desc, _updated desc, run_date desc) = 1"
        select = f"select *, {key} as name from bronze.orders where updated_at is not null qualify {newest}"
        return {row["name"]: row for row in self.rows(select)}

    def landed(self, day: date) -> dict[str, dict[str, Any]]:
        return {row["order_id"]: row for row in self.rows(f"select * from bronze.orders where run_date = '{day}'")}

    def names(self, day: date) -> list[str]:
        """The names of all rows of a date, in order, also of those that came twice."""
        names = [row["order_id"] for row in self.rows(f"select order_id from bronze.orders where run_date = '{day}'")]
        return sorted(names)

    def commits(self) -> list[dict[str, Any]]:
        return self.rows(f"select * from ops.commits where source = '{self.contract.source}' order by committed_at")


def in_small_parts(monkeypatch: pytest.MonkeyPatch, size: int = 2) -> None:
    """A part file every few documents."""
    monkeypatch.setattr(reader, "BATCH", size)
    monkeypatch.setattr(attempt, "PART_ROWS", size)


def cut_after(monkeypatch: pytest.MonkeyPatch, *lengths: int, error: Exception | None = None) -> list[int]:
    """Streams that are cut after so many documents, each in its turn; then whole ones. How many each gave."""
    plain, plan, given = Database.stream, iter(lengths), []

    def cut(self: Database, parent: str, query: Proto, moment: datetime) -> Iterator[bytes]:
        given.append(0)
        length = next(plan, None)
        for response in itertools.islice(plain(self, parent, query, moment), length):
            given[-1] += 1
            yield response
        if length is not None:
            raise error or ServiceUnavailable("the line is down")

    monkeypatch.setattr(Database, "stream", cut)
    return given
