"""Transactions: MERGE inside one, MERGE of whole partitions, and BigQuery's error for a conflict of two."""

import contextlib
import re
from typing import Any

import duckdb
from local_bigquery import errors
from local_bigquery.catalog import names, tables
from local_bigquery.engine import database
from local_bigquery.jobs import merge
from local_bigquery.models import JobStatistics2
from local_bigquery.sql import script
from local_bigquery.sql.rules.tables import resolve
from local_bigquery.sql.translate import translate
from sqlglot import exp

from goldline.emulators.warehouse.external import TEMPORARY
from goldline.emulators.warehouse.lookups import look
from goldline.emulators.warehouse.upstream import Connection, Context, Reference, Resource, replace, require

# Key in a statement's Context.system: whether its script has begun a transaction.
OPEN = "goldline.transaction"
BOUNDARY = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK)\b", re.IGNORECASE)

_original: dict[str, Any] = {}


class InTransaction:
    """Cursor that refuses BEGIN, as the merge expects inside a transaction, without aborting the script's own."""

    def __init__(self, cur: Connection) -> None:
        self._cur = cur

    def __getattr__(self, name: str) -> object:  # noqa: D105
        return getattr(self._cur, name)

    def execute(self, sql: str, *args: object) -> object:
        """Execute a statement; BEGIN is refused before it reaches DuckDB."""
        if sql == "BEGIN":
            raise duckdb.TransactionException("cannot start a transaction within a transaction")
        return self._cur.execute(sql, *args)


def run_merge(cur: Connection, tree: exp.Expr, context: Context) -> Resource:
    """Run a MERGE; upstream tries BEGIN and goes on if it fails, but in DuckDB the failure aborts the transaction."""
    if not context.system.get(OPEN):
        with look(tree, context):
            replacing = _replacing(tree, context)
            translated = [translate(statement, context) for statement in replacing or ()]
            is_empty = bool(translated) and not _rows(tree.this, context)
        if translated:
            return _replace_rows(cur, translated, is_empty)
    return _original["merge"](InTransaction(cur) if context.system.get(OPEN) else cur, tree, context)


def _replacing(tree: exp.Expr, context: Context) -> tuple[exp.Delete, exp.Insert] | None:
    """DELETE and INSERT that replace a MERGE ... ON FALSE; None for another MERGE, or one that reads its target.

    Upstream would number all rows of the source and of the table, and look each up four times.
    """
    clauses = [when.copy() for when in tree.args["whens"].expressions]
    if not (isinstance(tree.args["on"], exp.Boolean) and not tree.args["on"].this) or len(clauses) != 2:
        return None
    delete, insert = sorted(clauses, key=lambda when: not when.args.get("source"))
    is_delete = bool(delete.args.get("source")) and delete.args["then"].name.upper() == "DELETE"
    if not is_delete or insert.args.get("matched") or insert.args.get("source") or insert.args.get("condition"):
        return None
    values = insert.args["then"]
    if not isinstance(values, exp.Insert) or not isinstance(values.expression, exp.Tuple):
        return None
    target, source = tree.this, tree.args["using"].copy()
    if not _are_other_tables(source, target, context):
        return None
    bare = target.copy()
    bare.set("alias", None)
    rows = exp.select(*values.expression.expressions).from_(source)
    return (
        exp.Delete(this=target.copy(), where=exp.Where(this=delete.args.get("condition") or exp.true())),
        exp.Insert(this=exp.Schema(this=bare, expressions=values.this.expressions), expression=rows),
    )


def _are_other_tables(source: exp.Expr, target: exp.Table, context: Context) -> bool:
    """Whether a source reads only tables other than the target; False for views, which may read anything."""
    own = names.reference(target, context.project_id, context.dataset_id)
    for table in source.find_all(exp.Table):
        if not table.db and table.name in context.system.get(TEMPORARY, {}):
            continue
        reference: Reference | None = resolve(table, context, set())
        kinds = [row[1] for row in database.objects(*tables.physical(*reference))] if reference else []
        if kinds != ["TABLE"] or reference == own:
            return False
    return True


def _rows(table: exp.Table, context: Context) -> int:
    reference = names.reference(table, context.project_id, context.dataset_id)
    return sum(rows for *_, rows in database.objects(*tables.physical(*reference)))


def _replace_rows(cur: Connection, translated: list[tuple[str, Resource]], is_empty: bool) -> Resource:
    counts = {"deletedRowCount": 0, "insertedRowCount": 0}
    cur.execute("BEGIN")
    try:
        for name, (sql, bound) in zip(counts, translated, strict=True):
            # By its files DuckLake knows fast that a partition has no rows; in a table without files it is slow.
            if not (is_empty and name == "deletedRowCount"):
                [(counts[name],)] = cur.execute(sql, bound).fetchall()
        cur.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # a failed COMMIT has ended it
            cur.execute("ROLLBACK")
        raise
    stats = {"updatedRowCount": 0, **counts}
    return JobStatistics2(
        numDmlAffectedRows=str(sum(counts.values())), dmlStats={name: str(count) for name, count in stats.items()}
    )


def run_sql(interpreter: script.Interpreter, statement: script.Statement) -> None:
    """Run a statement of a script, and note whether it begins or ends a transaction."""
    _original["sql"](interpreter, statement)
    if match := BOUNDARY.match(statement.text):
        interpreter.context.system[OPEN] = match[1].upper() == "BEGIN"


def install() -> None:
    """Replace merge.run and script.Interpreter.sql; add errors."""
    require(tables, "physical")
    _original["merge"] = replace(merge, "run", run_merge)
    _original["sql"] = replace(script.Interpreter, "sql", run_sql)
    lost = re.compile(r"(?P<name>Failed to commit DuckLake) transaction|(?:Transaction|write-write) conflict")
    errors.DUCKDB_ERRORS.insert(0, (lost, "invalidQuery", "Transaction is aborted due to concurrent update"))
    # goldline's own, for faults of neither the caller nor the SQL; the client retries such a call.
    errors.STATUSES.setdefault("backendError", (503, "UNAVAILABLE"))
