"""The checks that library and example make have names that hold neither numbers nor data."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.check_names import STABLE

ROOT = Path(__file__).parents[2]
MAKERS = ("CheckResult", "check", "result")  # the class, and what a partial of it is called
ELSEWHERE = {"check.name", "finding.code"}  # a contract's own text; rules of feeds: see test_download_gtfs.py


def importers() -> list[Path]:
    files = [path for room in ("goldline", "components") for path in sorted((ROOT / room).rglob("*.py"))]
    return [path for path in files if "import CheckResult" in path.read_text(encoding="utf-8")]


def made() -> Iterator[tuple[Path, ast.expr]]:
    """Each place where the name of a check is written, and the expression that gives it."""
    for path in importers():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (*MAKERS, "partial"):
                yield from ((path, k.value) for k in node.keywords if k.arg == "name")


def stable(name: ast.expr) -> bool:
    match name:
        case ast.Constant(value=str(text)):
            return bool(STABLE.fullmatch(text))
        case ast.JoinedStr():  # of a model's main metric, one of the two
            text = ast.unparse(name).removeprefix("f").strip("'\"")
            return all(STABLE.fullmatch(text.replace("{main}", metric)) for metric in ("roc_auc", "skill"))
        case _:
            return ast.unparse(name) in ELSEWHERE


def test_names_hold_neither_numbers_nor_data() -> None:
    found = list(made())
    assert [f"{path.name}: {ast.unparse(name)}" for path, name in found if not stable(name)] == []
    names = {ast.unparse(name).strip("'") for _, name in found}
    assert {"files_are_whole", "key_is_unique", "champion_exists"} <= names
    assert set(importers()) == {path for path, _ in found}
