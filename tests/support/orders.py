"""A shop's orders: a source, a table over it, a view; for tests that need some contracts and not those of a flow."""

from pathlib import Path

import yaml

from goldline.contracts.loading import parse
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.table_contract import TableContract

SOURCE = """
source: bronze.ext_orders
description: Orders as a shop writes them into Firestore.
grain: One row per document.
format: parquet
key: order_id
change_column: updated_at
overlap_minutes: 60
sweep_on: sunday
day_first: true
columns:
  - {name: order_id, type: STRING, description: Id of the order.}
  - {name: ordered_at, type: TIMESTAMP, parse: mixed, description: When it was made.}
  - {name: quantity, type: INT64, description: Pieces ordered.}
  - {name: total_amount, type: FLOAT64, description: What the customer pays.}
  - {name: status, type: STRING, description: Whether it is paid.}
  - {name: email, type: STRING, pii: hmac, description: The customer's address.}
  - name: items
    type: STRUCT
    mode: REPEATED
    description: Its lines.
    fields:
      - {name: sku, type: STRING, description: Stock keeping unit.}
      - {name: gift_for, type: STRING, pii: drop, description: Name of a person.}
  - {name: updated_at, type: TIMESTAMP, description: When it was last changed.}
"""
TABLE = """
table: silver.stg_orders
description: Orders, typed.
grain: One row per order, its latest version.
primary_key: [order_id]
version: updated_at
write: merge
columns:
  - {name: order_id, type: STRING, mode: REQUIRED, description: Id of the order.}
  - {name: total_amount, type: FLOAT64, mode: REQUIRED, description: What the customer pays.}
  - {name: updated_at, type: TIMESTAMP, mode: REQUIRED, description: When it was last changed.}
  - {name: is_deleted, type: BOOL, mode: REQUIRED, description: Whether the document is gone.}
  - {name: _loaded_date, type: DATE, mode: REQUIRED, description: Run date of the export.}
"""
SELECT = """
select
    coalesce(order_id, json_value(safe.parse_json(_rest), '$.order_id')) as order_id,
    coalesce(total_amount, safe_cast(json_value(safe.parse_json(_rest), '$.total_amount') as float64)) as total_amount,
    updated_at,
    _is_deleted as is_deleted,
    run_date as _loaded_date
from bronze.orders
where run_date between @since and @run_date
"""
VIEW = """
table: gold.mart_orders
description: Orders that stand.
grain: One row per order.
primary_key: [order_id]
write: view
columns:
  - {name: order_id, type: STRING, mode: REQUIRED, description: Id of the order.}
"""
VIEW_SELECT = "select order_id from silver.stg_orders where not is_deleted"


def source(name: str = "orders") -> SourceContract:
    """The source, under another name where tests share a lake."""
    made = parse({**yaml.safe_load(SOURCE), "source": f"bronze.ext_{name}"}, "a test")
    assert isinstance(made, SourceContract)
    return made


def table(text: str = TABLE) -> TableContract:
    made = parse(yaml.safe_load(text), "a test")
    assert isinstance(made, TableContract)
    return made


def write(sql: Path) -> None:
    """The flow `shop` in a project's folder `sql`."""
    files = {"ext_orders.yml": SOURCE, "stg_orders.yml": TABLE, "stg_orders.sql": SELECT}
    files |= {"mart_orders.yml": VIEW, "mart_orders.sql": VIEW_SELECT}
    (sql / "shop").mkdir()
    for name, text in files.items():
        (sql / "shop" / name).write_text(text, encoding="utf-8")
