"""`goldline test one` runs what has changed of one table, and nothing else."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from goldline import cli
from goldline.local import contract_tests
from goldline.local.sqltest import analysis
from goldline.local.sqltest.choice import UnknownTableError
from goldline.local.stack import Addresses

CONTRACT = """
table: silver.stg_things
description: Things.
grain: One row per thing.
primary_key: [id]
write: full
columns:
  - {name: id, type: INT64, mode: REQUIRED, description: Id.}
  - {name: name, type: STRING, description: Name.}
"""
TESTS = """
tests:
  - name: names are loud
    given: {bronze.things: [{id: 1, name: a}]}
    expect: [{id: 1, name: A}]
  - name: nothing comes of nothing
    given: {}
    expect: []
"""
SOURCE = """
source: bronze.ext_things
description: Things.
grain: One row per thing.
format: parquet
key: id
columns:
  - {name: id, type: INT64, description: Id.}
  - {name: name, type: STRING, description: Name.}
"""


@pytest.fixture
def things(tmp_path: Path) -> Path:
    """A folder of one source, a table that reads it, and another that is broken."""
    folder = tmp_path / "sql" / "things"
    folder.mkdir(parents=True)
    (folder / "ext_things.yml").write_text(SOURCE)
    (folder / "stg_things.yml").write_text(CONTRACT + TESTS)
    (folder / "stg_things.sql").write_text("select id, upper(name) as name from bronze.things")
    (folder / "stg_broken.yml").write_text(CONTRACT.replace("stg_things", "stg_broken"))
    (folder / "stg_broken.sql").write_text("select nothing from bronze.things")
    return folder


@pytest.fixture
def tested(stack: Addresses, things: Path) -> Callable[..., tuple[int, list[str]]]:
    """Test a table of the folder: exit code and printed lines."""
    shutil.rmtree(Path(stack.home) / "passed", ignore_errors=True)

    def run(table: str = "stg_things") -> tuple[int, list[str]]:
        out = io.StringIO()
        code = contract_tests.run_contract_tests(Path(stack.home), table, out, things.parent)
        return code, out.getvalue().splitlines()

    return run


def test_what_has_passed_starts_nothing_again(
    tested: Callable[..., tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tested()[1][-1] == "4 passed, 0 failed"
    for name in ("analyser_of", "check_tables"):
        monkeypatch.delattr(analysis, name)
    monkeypatch.delattr(contract_tests, "_results")
    code, lines = tested("silver.stg_things")
    assert (code, lines[-1]) == (0, "0 passed, 0 failed, 2 as before")


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "last"),
    [
        pytest.param("stg_things.sql", "upper(name)", "lower(name)", 1, "2 failed", marks=pytest.mark.slow),
        ("stg_things.sql", "upper(name)", "uper(name)", 1, "Function not found: uper; Did you mean upper?"),
        ("stg_things.yml", "name: A}", "name: B}", 1, "0 passed, 2 failed, 1 as before"),
        pytest.param(
            "stg_things.yml", "name: a}", "name: b}", 1, "0 passed, 2 failed, 1 as before", marks=pytest.mark.slow
        ),
        pytest.param(
            "stg_things.yml",
            "given: {}",
            "given: {bronze.things: [{id: 7}]}",
            1,
            "0 passed, 2 failed, 1 as before",
            marks=pytest.mark.slow,
        ),
        ("ext_things.yml", "name, type: STRING", "name, type: BYTES", 1, ", in the contract STRING"),
        ("stg_broken.sql", "nothing", "anything", 0, "0 passed, 0 failed, 2 as before"),
    ],
)
def test_an_edit_counts_until_it_is_taken_back(
    tested: Callable[..., tuple[int, list[str]]], things: Path, file: str, old: str, new: str, code: int, last: str
) -> None:
    assert tested()[0] == 0
    text = (things / file).read_text()
    assert old in text
    (things / file).write_text(text.replace(old, new))
    for _ in range(2):  # what has failed fails again
        again, lines = tested()
        assert again == code
        assert last in lines[-1]
    (things / file).write_text(text)
    assert tested()[0] == 0


def test_only_the_tables_own_sql_is_analysed(tested: Callable[..., tuple[int, list[str]]]) -> None:
    assert tested("things/stg_things")[0] == 0
    code, [line] = tested("stg_broken")
    assert code == 1
    assert "stg_broken.sql:1:8: Unrecognized name: nothing" in line


def test_a_table_without_tests_says_so(tested: Callable[..., tuple[int, list[str]]], things: Path) -> None:
    (things / "stg_things.yml").write_text(CONTRACT)
    for _ in range(2):
        assert tested() == (0, ["silver.stg_things has no tests: its SELECT was analysed"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stg_thing", "no table stg_thing, did you mean stg_things?"),
        ("silver.stg_thigs", "no table silver.stg_thigs, did you mean silver.stg_things?"),
        ("things/stgthings", "no table things/stgthings, did you mean things/stg_things?"),
        ("x", "no table x, expected one of silver.stg_broken, silver.stg_things"),
    ],
)
def test_an_unknown_table_is_refused_before_anything_starts(
    home: Path, things: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    monkeypatch.setattr(contract_tests, "sql_folder", lambda: things.parent)
    assert cli.main(["test", name]) == 2
    assert capsys.readouterr().err == f"goldline: {said}\n"
    assert not home.exists()
    with pytest.raises(UnknownTableError):
        contract_tests.run_contract_tests(home, name)
