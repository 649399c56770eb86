"""Atomic `CREATE OR REPLACE TABLE t (columns) AS SELECT`: if the SELECT fails, the old table stays."""

import contextlib
from collections.abc import Callable
from typing import Any

import duckdb
from local_bigquery.catalog import names, tables
from local_bigquery.jobs import query
from local_bigquery.sql.rules import ddl
from local_bigquery.sql.translate import translate
from sqlglot import exp

from goldline.emulators.warehouse.transactions import OPEN
from goldline.emulators.warehouse.upstream import Answer, Connection, Context, replace

STAGE = "__rebuild"
# Key in a statement's meta: whether there is an old table.
REPLACES = "goldline.replaces"

_original: dict[str, Callable[..., Any]] = {}


def run(cur: Connection, tree: exp.Expr, context: Context, *others: object) -> Answer:
    """Run the SELECT first, into a stage; upstream empties the table before, even if the SELECT reads it."""
    _, _, dry_run, _ = others
    if dry_run or not _has_both(tree) or context.system.get(OPEN):
        return _original["run"](cur, tree, context, *others)
    sql, bound = translate(tree.expression, context)
    cur.execute(f"CREATE OR REPLACE TEMP TABLE {STAGE} AS {sql}", bound)
    context.temporary.add(STAGE)
    staged = tree.copy()
    staged.set("expression", exp.select("*").from_(STAGE))
    reference = names.reference(tree.find(exp.Table), context.project_id, context.dataset_id)
    # The INSERT looks for its table on another connection, which does not see one that is not committed.
    staged.meta[REPLACES] = tables.exists(*reference)
    try:
        return _original["run"](cur, staged, context, *others)
    except BaseException:
        with contextlib.suppress(duckdb.Error):
            cur.execute("ROLLBACK" if staged.meta[REPLACES] else f"DROP TABLE IF EXISTS {tables.name(*reference)}")
        raise
    finally:
        cur.execute(f"DROP TABLE IF EXISTS temp.main.{STAGE}")


def _has_both(tree: exp.Expr) -> bool:
    """Whether a statement is a CREATE TABLE with columns and a SELECT, not temporary, without IF NOT EXISTS."""
    if not isinstance(tree, exp.Create) or tree.args.get("kind") != "TABLE" or tree.args.get("exists"):
        return False
    return isinstance(tree.this, exp.Schema) and bool(tree.expression) and not tree.find(exp.TemporaryProperty)


def split(tree: exp.Expr) -> list[exp.Expr]:
    """Put the CREATE and INSERT that upstream makes of such a statement into one transaction."""
    parts: list[exp.Expr] = _original["split"](tree)
    if len(parts) == 2 and tree.meta.get(REPLACES):
        return [exp.Transaction(), *parts, exp.Commit()]
    return parts


def install() -> None:
    """Replace query._run and sql.rules.ddl.split."""
    _original["run"] = replace(query, "_run", run)
    _original["split"] = replace(ddl, "split", split)
