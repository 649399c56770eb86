"""Cache of catalog lookups for one statement, whose SQL rules look up the same tables again and again.

It saves a tenth of a second for a build's SELECT; nothing changes while a statement is translated or a table described.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

from local_bigquery.catalog import metadata, row_access, tabledata, tables
from local_bigquery.engine import database
from local_bigquery.sql import rules
from sqlglot import exp

from goldline.emulators.warehouse import duckdb_catalog as catalog
from goldline.emulators.warehouse.upstream import Answer, Context, Table, replace

Rule = Callable[[exp.Expr, Context], exp.Expr]
Named = dict[str, set[tuple[str, str]]]  # dataset and table, by project


class _Cache(threading.local):
    """Answers by lookup for the statement that this thread translates; None between statements."""

    answers: dict[Any, Answer] | None = None


_cache = _Cache()


def in_one_look(steps: list[Rule]) -> Rule:
    """Combine SQL rules into one, with catalog lookups cached from the first to the last."""

    def step(tree: exp.Expr, context: Context) -> exp.Expr:
        with look(tree, context):
            for rule in steps:
                tree = rule(tree, context)
            return tree

    return step


def look(tree: exp.Expr, context: Context) -> contextlib.AbstractContextManager[None]:
    """Cache catalog lookups while a statement is translated; those certain for its tables are made at once."""
    named: Named = {}
    for table in tree.find_all(exp.Table):
        if table.name and (dataset := table.db or context.dataset_id):
            named.setdefault(table.catalog or context.project_id, set()).add((dataset, table.name))
    return _looking(named)


def in_a_look(call: Callable[..., Answer]) -> Callable[..., Answer]:
    """Wrap a call that describes one table, with its catalog lookups cached."""

    @functools.wraps(call)
    def looking(project_id: str, dataset_id: str, table_id: str, *others: Any) -> Answer:  # noqa: ANN401
        with _looking({project_id: {(dataset_id, table_id)}}):
            return call(project_id, dataset_id, table_id, *others)

    return looking


@contextlib.contextmanager
def _looking(named: Named) -> Iterator[None]:
    """Cache lookups within the block, those for some tables in advance; a nested block uses the outer cache."""
    if _cache.answers is not None:
        yield
        return
    _cache.answers = _foreseen(named)
    try:
        yield
    finally:
        _cache.answers = None


def _foreseen(named: Named) -> dict[Any, Answer]:
    answers: dict[Any, Answer] = {}
    for project, wanted in named.items():
        for (dataset, name), entry in catalog.described(project, wanted).items():
            about = (project, dataset, name)
            answers["objects", about] = entry.objects
            answers["_columns", about] = entry.names
            answers["_columns", (*about, catalog.REQUIRED)] = entry.required
            if entry.fields is not None:
                answers["columns", about] = entry.fields
        for dataset, name in wanted:
            answers["list_", (Table, project, dataset, name)] = []
        for resource in _resources(project, wanted):
            reference = resource.tableReference
            answers["list_", (Table, project, reference.datasetId, reference.tableId)].append(resource)
    return answers


def _resources(project_id: str, wanted: Collection[tuple[str, str]]) -> list[Table]:
    """Resources that upstream stores of tables, beside DuckLake's own catalog."""
    rows = database.fetch(
        "SELECT resource FROM emulator.tables WHERE project_id = ? AND list_contains(?, dataset_id || '.' || table_id)",
        [project_id, [".".join(name) for name in wanted]],
    )
    return [Table.model_validate_json(resource) for (resource,) in rows]


def once(question: Callable[..., Answer]) -> Callable[..., Answer]:
    """Wrap a catalog lookup, so that it is made once per statement."""

    @functools.wraps(question)
    def ask(*about: Any) -> Answer:  # noqa: ANN401
        if _cache.answers is None:
            return question(*about)
        key = (question.__name__, about)
        if key not in _cache.answers:
            _cache.answers[key] = question(*about)
        return _cache.answers[key]

    return ask


def install() -> None:
    """Combine all SQL rules, so install it last; cache their lookups, and those of tables.load and list_rows."""
    for owner, name in (
        (metadata, "list_"),
        (database, "objects"),
        (tables, "columns"),
        (tabledata, "columns"),
        (catalog, "_columns"),
        (row_access, "secured"),
    ):
        replace(owner, name, once(getattr(owner, name)))
    for owner, name in ((tables, "load"), (tabledata, "list_rows")):
        replace(owner, name, in_a_look(getattr(owner, name)))
    rules.STATEMENT_RULES[:] = [in_one_look([*rules.STATEMENT_RULES])]
