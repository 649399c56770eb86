"""The catalog is asked each question once a statement, and anew for the next."""

import pytest
from sqlglot import exp

from goldline.emulators.warehouse import lookups
from goldline.emulators.warehouse.upstream import Context

pytestmark = pytest.mark.servers


def test_a_question_is_asked_once_a_statement() -> None:
    asked: list[str] = []

    @lookups.once
    def columns(table: str) -> int:
        asked.append(table)
        return len(asked)

    def rule(tree: exp.Expr, _: Context) -> exp.Expr:
        columns("a"), columns("b")
        return tree

    statement = lookups.in_one_look([rule, rule])
    for _ in range(2):
        statement(exp.select("x"), Context("p", None))
    assert asked == ["a", "b", "a", "b"]
    columns("a")
    columns("a")  # no statement: the table may have changed
    assert asked[4:] == ["a", "a"]
