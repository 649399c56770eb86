"""Transactions: MERGE inside one, and BigQuery's words for one that lost to another."""

import re
from typing import Any

import duckdb
from local_bigquery import errors
from local_bigquery.jobs import merge
from local_bigquery.sql import script
from sqlglot import exp

from goldline.local.warehouse.upstream import Connection, Context, Resource, replace

# In a statement's Context.system: whether its script has begun a transaction.
OPEN = "goldline.transaction"
BOUNDARY = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK)\b", re.IGNORECASE)

_original: dict[str, Any] = {}


class InTransaction:
    """A cursor that answers BEGIN as the merge expects inside a transaction, without aborting the script's own."""

    def __init__(self, cur: Connection) -> None:
        self._cur = cur

    def __getattr__(self, name: str) -> object:  # noqa: D105
        return getattr(self._cur, name)

    def execute(self, sql: str, *args: object) -> object:
        """As the cursor's, but for BEGIN."""
        if sql == "BEGIN":
            raise duckdb.TransactionException("cannot start a transaction within a transaction")
        return self._cur.execute(sql, *args)


def run_merge(cur: Connection, tree: exp.Expr, context: Context) -> Resource:
    """Upstream tries BEGIN and goes on where it fails; in DuckDB the failure aborts the transaction."""
    return _original["merge"](InTransaction(cur) if context.system.get(OPEN) else cur, tree, context)


def run_sql(interpreter: script.Interpreter, statement: script.Statement) -> None:
    """Notes where a script's transaction begins and ends."""
    _original["sql"](interpreter, statement)
    if match := BOUNDARY.match(statement.text):
        interpreter.context.system[OPEN] = match[1].upper() == "BEGIN"


def install() -> None:
    """Replaces merge.run and script.Interpreter.sql; adds an error."""
    _original["merge"] = replace(merge, "run", run_merge)
    _original["sql"] = replace(script.Interpreter, "sql", run_sql)
    lost = re.compile(r"(?P<name>Failed to commit DuckLake) transaction|(?:Transaction|write-write) conflict")
    errors.DUCKDB_ERRORS.insert(0, (lost, "invalidQuery", "Transaction is aborted due to concurrent update"))
    # Ours, for what neither the caller nor the SQL is to blame; the client tries such a call again.
    errors.STATUSES.setdefault("backendError", (503, "UNAVAILABLE"))
