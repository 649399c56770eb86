"""Static analysis of a SELECT's text: the tables that it reads, and the same text with a dataset prefix."""

from collections.abc import Container

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from goldline.contracts.table_names import DATASETS

DIALECT = "bigquery"


class SqlError(ValueError):
    """A SELECT that does not parse, or that reads a table it must not."""


def reads(select: str) -> frozenset[str]:
    """Tables that a SELECT reads, as `dataset.table`.

    Raises:
        SqlError: the text is not exactly one SELECT, a table is not in a known dataset, or a table function is read.
    """
    try:
        statements = [s for s in sqlglot.parse(select, dialect=DIALECT) if s is not None]
    except SqlglotError as error:
        raise SqlError(f"not GoogleSQL: {str(error).splitlines()[0]}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise SqlError("expected one SELECT")
    tree = statements[0]
    ctes = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    aliases = {t.alias_or_name.lower() for t in tree.find_all(exp.Table, exp.Subquery) if _is_of_rows(t)} | ctes
    found = set()
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Anonymous):
            raise SqlError(f"reads {table.sql(DIALECT)}, a table function: the tables behind it are unknown")
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name.lower() in ctes):
            continue
        first = table.parts[0].name
        if table.db and first not in DATASETS and first.lower() in aliases:
            continue  # an array in a row, `from s.items`
        if table.catalog or table.db not in DATASETS:
            raise SqlError(f"reads {table.sql(DIALECT)}, expected dataset.table with one of {', '.join(DATASETS)}")
        found.add(f"{table.db}.{table.name}")
    return frozenset(found)


def prefixed(select: str, prefix: str, tables: Container[str] | None = None) -> str:
    """The same SELECT with `silver.stg_orders` read from `<prefix>silver.stg_orders`; strings and comments stay.

    Args:
        select: text of a SELECT.
        prefix: prefix of dataset names; if empty, the text is returned without being parsed.
        tables: tables to rename, as `dataset.table`; None: all that the SELECT reads.

    Raises:
        SqlError: as for `reads`.
    """
    if not prefix:
        return select
    tables = reads(select) if tables is None else tables
    tokens = sqlglot.tokenize(select, dialect=DIALECT)
    out, end = [], 0
    for i, token in enumerate(tokens):
        if (token.token_type == TokenType.IDENTIFIER and token.text in tables) or _qualified(tokens, i) in tables:
            start = _start(select, token)
            out += [select[end:start], prefix]
            end = start
    return "".join([*out, select[end:]])


def _is_of_rows(item: exp.Expression) -> bool:
    """Whether an item of a FROM is a subquery, a CTE or a known table, whose arrays `from alias.items` may read."""
    return not isinstance(item, exp.Table) or not item.db or (item.db in DATASETS and not item.catalog)


def _qualified(tokens: list[Token], i: int) -> str | None:
    """The name `dataset.table` that begins at token i; None if there is none, or it is the end of a longer name."""
    if i + 2 >= len(tokens) or tokens[i + 1].token_type != TokenType.DOT:
        return None
    follows_dot = i > 0 and tokens[i - 1].token_type == TokenType.DOT
    return None if follows_dot else f"{tokens[i].text}.{tokens[i + 2].text}"


def _start(select: str, token: Token) -> int:
    """Position of a name's first character, after its back-tick if it has one."""
    return token.start + 1 if select[token.start] == "`" else token.start
