"""`goldline query`: run one statement on the local warehouse, its rows as a table, as JSON or as a DataFrame."""

import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from goldline.local import stack
from goldline.local.servers import PROJECT

if TYPE_CHECKING:
    import pandas as pd
    from google.cloud.bigquery.table import RowIterator

WIDTH = 60  # characters of a value in a table; longer ones are cut


def ask(home: Path, sql: str, *, as_json: bool, out: TextIO | None = None) -> int:
    """Run a statement and print its rows to `out` (None: standard output); exit code 1 if it is refused, else 0."""
    from google.api_core.exceptions import GoogleAPICallError

    out = out or sys.stdout
    with stack.using(home, needs_firestore=False) as use:
        try:
            rows = _rows(use, sql)
        except GoogleAPICallError as error:
            print(f"goldline: {error.message}", file=sys.stderr)
            return 1
        names = [field.name for field in rows.schema]
        content = [dict(row.items()) for row in rows]
    if as_json:
        out.writelines(json.dumps(row, default=_json) + "\n" for row in content)
    else:
        out.write(_table(names, [[_short(row[name]) for name in names] for row in content]))
    return 0


def frame(home: Path, sql: str) -> "pd.DataFrame":
    """Rows of a statement as a DataFrame: a DATE becomes a `datetime.date`, a TIMESTAMP keeps its zone.

    Raises:
        GoogleAPICallError: the warehouse refuses the statement.
    """
    with stack.using(home, needs_firestore=False) as use:
        found: pd.DataFrame = _rows(use, sql).to_arrow(create_bqstorage_client=False).to_pandas()
    return found


def _rows(use: stack.Use, sql: str) -> "RowIterator":
    from goldline.clients import TIMEOUT, bigquery_client

    with use.leading():
        client = bigquery_client(PROJECT, "US")
    return client.query_and_wait(sql, api_timeout=TIMEOUT)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = [names, ["-" * width for width in widths], *rows]
    shown = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*shown, f"({len(rows)} rows)"]) + "\n"


def _short(value: object) -> str:
    text = json.dumps(value, default=_json) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _json(value: Any) -> object:  # noqa: ANN401, whatever the client makes of BigQuery's types
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
