import datetime
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import wasmtime
import yaml

from goldline.contracts.columns import Column
from goldline.contracts.loading import load_all, parse
from goldline.contracts.table_contract import Case, TableContract
from goldline.contracts.write_modes import WRITE_MODES, WriteMode
from goldline.emulators.googlesql import Analyser, Executor, Field, NotOfTypeError, SqlError, SqlType, engine, normal
from goldline.emulators.googlesql.dialect import FUNCTIONS_BIGQUERY_LACKS
from goldline.local.servers import PROJECT
from goldline.local.sqltest.analysis import Problem, analyser_of, check_sql
from goldline.local.sqltest.cases import CaseError, Outcome, run_cases
from goldline.local.sqltest.choice import UnknownTableError
from goldline.local.sqltest.compare import differences
from goldline.local.sqltest.contract_fields import fields_of
from goldline.local.sqltest.reference_engine import ReferenceEngine
from goldline.local.sqltest.warehouse_engine import WarehouseEngine
from goldline.local.stack import BUCKET, Addresses

SQL = Path(__file__).parents[2] / "sql"
CONTRACTS = load_all(SQL)
TABLES = {path: c for path, c in CONTRACTS.items() if isinstance(c, TableContract)}
CASES = [(path, case.name) for path, contract in TABLES.items() for case in contract.tests]


@pytest.fixture(scope="session")
def analyser() -> Analyser:
    return analyser_of([parse(CONTRACT, "a test")])


@pytest.fixture(scope="session")
def reference() -> ReferenceEngine:
    return ReferenceEngine()


@pytest.fixture(scope="session")
def real(stack: Addresses) -> Iterator[WarehouseEngine]:
    engine = WarehouseEngine(PROJECT, BUCKET)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def problems() -> list[Problem]:
    return check_sql(SQL)


# The project's own SQL


@pytest.mark.parametrize("path", sorted(SQL.rglob("*.sql")), ids=lambda path: str(path.relative_to(SQL)))
def test_the_sql_holds(path: Path, problems: list[Problem]) -> None:
    assert [str(p) for p in problems if p.file.with_suffix(".sql") == path] == []


@pytest.mark.parametrize(("path", "case"), CASES)
def test_the_contracts_cases_pass_on_both_engines(
    path: str, case: str, reference: ReferenceEngine, real: WarehouseEngine
) -> None:
    results = run_cases(CONTRACTS, SQL, [reference, real], only=path, case_name=case)
    assert [result.engine for result in results] == ["reference", "warehouse"]
    for result in results:
        assert result.passed, f"{result.engine}: {result.message}"


# Each kind of mistake is found, with its place

CONTRACT = {
    "table": "silver.stg_things",
    "description": "Things.",
    "grain": "One row per thing.",
    "primary_key": ["id"],
    "write": "full",
    "columns": [
        {"name": "id", "type": "INT64", "mode": "REQUIRED", "description": "Id."},
        {"name": "name", "type": "STRING", "description": "Name."},
    ],
}
SOURCE = {
    "source": "bronze.ext_things",
    "description": "Things.",
    "grain": "One row per thing.",
    "format": "parquet",
    "key": "id",
    "columns": [{**column, "mode": "NULLABLE"} for column in CONTRACT["columns"] if isinstance(column, dict)],
}
DATED = {
    "partition_by": "day",
    "columns": [*CONTRACT["columns"], {"name": "day", "type": "DATE", "mode": "REQUIRED", "description": "Day."}],
}
OF_RUN_DATE = {**DATED, "write": "insert_overwrite", "partitions": "run_date"}


def found(folder: Path, sql: str, **contract: Any) -> list[str]:
    """Problems of a folder with one source and one table, as `file:line:column: message`."""
    things = folder / "things"
    things.mkdir()
    (things / "ext_things.yml").write_text(yaml.safe_dump(SOURCE))
    (things / "stg_things.yml").write_text(yaml.safe_dump({**CONTRACT, **contract}, sort_keys=False))
    (things / "stg_things.sql").write_text(sql)
    return [str(p).removeprefix(f"{things}/") for p in check_sql(folder)]


@pytest.mark.parametrize("mode", [mode for mode in WRITE_MODES.values() if mode.has_select], ids=str)
def test_a_good_table_has_no_problem(tmp_path: Path, mode: WriteMode) -> None:
    contract = {"write": mode.write, "partitions": mode.partitions} | ({"version": "id"} if mode.merges else {})
    sql = f"select id, name{', run_date as day' if mode.takes_run_date else ''} from bronze.things;\n"
    assert found(tmp_path, sql, **contract, **(DATED if mode.takes_run_date else {})) == []


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select id,\n  nam as name\nfrom bronze.things", "2:3: Unrecognized name: nam; Did you mean name?"),
        ("select id, name from bronze.things where id = 'x'", "1:42: No matching signature for operator = "),
        ("select id, uper(name) as name from bronze.things", "1:12: Function not found: uper"),
        ("select typeof(id), name from bronze.things", "1:8: Function not found: typeof"),
        ("select id, name from bronze.things where iserror(id)", "1:42: Function not found: iserror"),
        ("select max_by(id, id), name from bronze.things", "1:8: BigQuery has max_by, but it cannot be checked"),
        ("select id, name\nfrom bronze.thing", "2:6: Table not found: bronze.thing"),
        ("select id, name, 1 as extra from bronze.things", "1:23: column extra is not in the contract"),
        ("with a as (select 1 as id)\nselect id from a", "2:1: column name is missing, the contract has it"),
        ("select name, id from bronze.things", "1:8: column 1 is name, in the contract id"),
        ("select id, name, id from bronze.things", "1:18: column id stands twice"),
        ("select 'x' as id,\nname from bronze.things", "1:15: column id is STRING, in the contract INT64"),
        ("select 1 as id, 'a' as name; select 2", "1:30: Syntax error: Expected end of input"),
        ("create table silver.x as select 1 as id", "1:1: expected a query, got a statement that is none"),
        ("select id, name from bronze.things where @rundate = 1", "1:42: Query parameter 'rundate' not found"),
        (
            "select id, name from bronze.things where run_date = @run_date",
            "1:53: Query parameter 'run_date' not found; a SELECT",
        ),
        ("select id, '{{$.x}}' as name from bronze.things", "1:13: '{{$.' must not stand in a SELECT"),
        ("-- python3\nselect id, name from bronze.things", "1:4: 'python3' must not stand in a SELECT"),
        ("", "1:1: Syntax error: Unexpected end of statement"),
    ],
)
def test_a_mistake_is_found_with_its_place(tmp_path: Path, sql: str, expected: str) -> None:
    [problem] = found(tmp_path, sql)
    assert problem.startswith(f"stg_things.sql:{expected}")


def test_since_is_not_for_the_run_dates_partition(tmp_path: Path) -> None:
    sql = "select id, name, run_date as day\nfrom bronze.things\nwhere run_date between @since and @run_date"
    [problem] = found(tmp_path, sql, **OF_RUN_DATE)
    assert problem == (
        "stg_things.sql:3:24: Query parameter 'since' not found; a SELECT of "
        "`write: insert_overwrite` with `partitions: run_date` takes @run_date"
    )


@pytest.mark.parametrize(
    ("days", "where", "expected"),
    [
        (0, "@lookback_start", "3:19: Query parameter 'lookback_start' not found; a SELECT of `write: merge` takes "),
        (7, "@since", "1:1: the contract has lookback_days, but @lookback_start is not used"),
    ],
)
def test_a_lookback_stands_in_the_contract_and_in_the_select(
    tmp_path: Path, days: int, where: str, expected: str
) -> None:
    sql = f"select id, name, run_date as day\nfrom bronze.things\nwhere run_date >= {where}"
    [problem] = found(tmp_path, sql, write="merge", version="id", lookback_days=days, **DATED)
    assert problem.startswith(f"stg_things.sql:{expected}")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("id < 0 or nam is null", "check 'c': Unrecognized name: nam; Did you mean name?"),
        ("name", "check 'c': expected a condition, a BOOL, got STRING"),
    ],
)
def test_a_checks_mistake_is_found_in_the_contract(tmp_path: Path, where: str, expected: str) -> None:
    checks = [{"name": "fine", "where": "id = 0"}, {"name": "c", "where": where}]
    [problem] = found(tmp_path, "select id, name from bronze.things", checks=checks)
    place, message = problem.split(": ", 1)
    file, line, column = place.split(":")
    text = (tmp_path / "things" / file).read_text().splitlines()[int(line) - 1]
    assert file == "stg_things.yml"
    assert text[int(column) - 1 :] == where.removeprefix("id < 0 or ")
    assert message == expected


def test_a_select_without_a_contract_is_found(tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "stg_lost.sql").write_text("select 1 as a")
    [problem] = check_sql(tmp_path)
    assert problem.message == "no contract beside it, expected stg_lost.yml"


# Cases that must fail, and how


def contract_with(case: dict[str, Any], **update: Any) -> TableContract:
    contract = parse({**CONTRACT, **update, "tests": [{"name": "case", **case}]}, "a test")
    assert isinstance(contract, TableContract)
    return contract


def test_a_wrong_expectation_fails_with_a_readable_difference() -> None:
    contract = contract_with({"given": {}, "expect": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3}]})
    outcome = Outcome([{"id": 3, "name": "z"}, {"id": 1, "name": "A"}, {"id": 4, "name": None}])
    assert differences(contract, contract.tests[0], outcome).splitlines() == [
        "row {id: 1} differs:",
        "  name: expected 'a', got 'A'",
        "row missing: {id: 2, name: 'b'}",
        "row not expected: {id: 4, name: null}",
    ]


def test_rows_are_matched_so_that_all_fit() -> None:
    contract = contract_with({"given": {}, "expect": [{"id": 1}, {"id": 1, "name": "a"}]})
    assert differences(contract, contract.tests[0], Outcome([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])) == ""


def test_the_same_row_twice_is_not_once() -> None:
    contract = contract_with({"given": {}, "expect": [{"id": 1}]})
    assert differences(contract, contract.tests[0], Outcome([{"id": 1}, {"id": 1}])) == "row not expected: {id: 1}"


def test_what_is_rejected_is_compared_as_json() -> None:
    contract = contract_with({"given": {}, "expect": [], "rejected": [{"key": '{"id": 1}', "reason": "no"}]})
    row = {"run_date": datetime.date(2026, 11, 20), "reason": "no", "key": '{"id":1}', "record": "{}"}
    assert differences(contract, contract.tests[0], Outcome([], [row])) == ""
    assert differences(contract, contract.tests[0], Outcome([], [{**row, "reason": "other"}])) == (
        "rejected row {key: {id: 1}} differs:\n  reason: expected 'no', got 'other'"
    )


NOT_PUBLISHED = "silver.stg_things is not published: "


@pytest.mark.parametrize(
    ("rows", "update", "message"),
    [
        ([{"id": "x"}], {}, "bronze.things row 1.id: expected INT64, got 'x'"),
        ([{"idd": 1}], {}, "bronze.things row 1: idd is not one of id, name, "),
        ([{"name": "x"}], {}, f"{NOT_PUBLISHED}'required_not_null (id)': 1 rows fail"),
        ([{"id": 1}, {"id": 1}], {}, f"{NOT_PUBLISHED}'key_is_unique (id)': 1 rows fail"),
        ([{"id": 1}], {"checks": [{"name": "few", "where": "id > 0"}]}, f"{NOT_PUBLISHED}'few': 1 rows fail"),
        ([{"id": 0}], {}, "division by zero"),
    ],
)
def test_a_case_that_cannot_end_says_why(reference: ReferenceEngine, rows: Any, update: Any, message: str) -> None:
    contract = contract_with({"expect": [], "given": {"bronze.things": rows}}, **update)
    contracts = {"t": contract, "s": parse(SOURCE, "a test")}
    sql = "select div(id * id, id) as id, name from bronze.things"
    with pytest.raises(CaseError, match=re.escape(message)):
        reference.run(contract, sql, contract.tests[0], contracts)


def test_a_given_table_that_is_not_read_is_a_mistake(reference: ReferenceEngine) -> None:
    contract = contract_with({"expect": [], "given": {"bronze.thing": []}})
    with pytest.raises(CaseError, match=r"given bronze\.thing: the SELECT reads bronze\.things"):
        reference.run(contract, "select * from bronze.things", contract.tests[0], {"s": parse(SOURCE, "a test")})


def test_an_overwrite_replaces_its_days_rows_alone(reference: ReferenceEngine) -> None:
    standing = [{"id": 1, "day": "2026-11-19"}, {"id": 2, "day": "2026-11-20"}]
    case = {"given": {"silver.stg_things": standing, "bronze.things": [{"id": 3}]}, "expect": []}
    contract = contract_with(case, **OF_RUN_DATE)
    contracts = {"t": contract, "s": parse(SOURCE, "a test")}
    outcome = reference.run(
        contract, "select id, name, @run_date as day from bronze.things", contract.tests[0], contracts
    )
    expected = Case(name="x", given={}, expect=[{"id": 1, "day": "2026-11-19"}, {"id": 3, "day": "2026-11-20"}])
    assert differences(contract, expected, outcome) == ""


def test_only_a_known_table_is_run() -> None:
    known = ", ".join(contract.table for contract in TABLES.values())
    with pytest.raises(UnknownTableError, match=f"no table nothing, expected one of {known}"):
        run_cases(CONTRACTS, SQL, [], only="nothing")


# The executor and its values

DAY = datetime.date(2026, 11, 20)
MOMENT = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=datetime.UTC)
CIVIL = datetime.datetime(2026, 11, 20, 10, 30, 59, 123456)
VALUES: list[tuple[str, Any, Any]] = [
    ("STRING", "naïve 'quoted' \\ text\n", "naïve 'quoted' \\ text\n"),
    ("BYTES", b"\x00\xff", b"\x00\xff"),
    ("BYTES", "AP8=", b"\x00\xff"),
    ("INT64", -(2**63), -(2**63)),
    ("INT64", "7", 7),
    ("FLOAT64", 0.1, 0.1),
    ("FLOAT64", 3, 3.0),
    ("NUMERIC", 10, Decimal(10)),
    ("NUMERIC", "10.00", Decimal(10)),
    ("NUMERIC", 29.97, Decimal("29.97")),
    ("NUMERIC", "-0.000000001", Decimal("-0.000000001")),
    ("NUMERIC", "99999999999999999999999999999.999999999", Decimal("99999999999999999999999999999.999999999")),
    ("BOOL", False, False),
    ("DATE", "1900-02-28", datetime.date(1900, 2, 28)),
    ("DATE", DAY, DAY),
    ("DATETIME", "2026-11-20T10:30:59.123456", CIVIL),
    ("TIMESTAMP", "1969-12-31T23:59:59.999999Z", MOMENT),
    ("TIMESTAMP", "1970-01-01 01:59:59.999999+02:00", MOMENT),
    ("TIMESTAMP", MOMENT, MOMENT),
    ("JSON", '{"a": [1, null, "x"]}', {"a": [1, None, "x"]}),
    ("JSON", {"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
]


@pytest.fixture(scope="session")
def typed() -> Executor:
    """An executor over one table with a column, an array and a struct of every type."""
    kinds = sorted({kind for kind, _, _ in VALUES})
    columns = []
    for kind in kinds:
        inner = {"name": "inner_value", "type": kind, "description": "Value."}
        columns += [
            {"name": kind.lower(), "type": kind, "description": "Value."},
            {"name": f"{kind.lower()}_list", "type": kind, "mode": "REPEATED", "description": "Values."},
            {"name": f"{kind.lower()}_struct", "type": "STRUCT", "fields": [inner], "description": "Value."},
        ]
    return Executor(Analyser({"silver.typed": fields_of(Column.model_validate(c) for c in columns)}))


@pytest.mark.parametrize(("kind", "given", "expected"), VALUES)
def test_values_come_back_as_they_went(typed: Executor, kind: str, given: Any, expected: Any) -> None:
    name = kind.lower()
    row = {name: given, f"{name}_list": [given, given], f"{name}_struct": {"inner_value": given}}
    sql = f"select `{name}` as v, {name}_list as l, {name}_struct as s from silver.typed"
    result = typed.select(sql, {"silver.typed": [row, {}]})
    assert list(result.rows) == [
        {"v": expected, "l": [expected, expected], "s": {"inner_value": expected}},
        {"v": None, "l": [], "s": None},
    ]
    assert [str(f) for f in result.fields] == [f"v {kind}", f"l ARRAY<{kind}>", f"s STRUCT<inner_value {kind}>"]


def test_arrays_of_structs_come_back_in_their_order() -> None:
    sku = Column(name="sku", type="STRING", description="Sku.")
    tags = Column(name="tags", type="STRING", mode="REPEATED", description="Tags.")
    items = Column(name="items", type="STRUCT", mode="REPEATED", fields=(sku, tags), description="Items.")
    executor = Executor(Analyser({"silver.t": fields_of([items])}))
    given = [{"items": [{"sku": "z", "tags": ["b", "a"]}, {"sku": None}]}]
    [row] = executor.select("select * from silver.t", {"silver.t": given}).rows
    assert row == {"items": [{"sku": "z", "tags": ["b", "a"]}, {"sku": None, "tags": []}]}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("INT64", 1.5), ("INT64", True), ("NUMERIC", "1.0000000001"), ("NUMERIC", "x"), ("BOOL", "true"), ("STRING", 1),
     ("DATE", MOMENT), ("DATE", "20-11-2026"), ("DATETIME", MOMENT), ("TIMESTAMP", 5), ("JSON", "{"), ("BYTES", "?")],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(NotOfTypeError, match=f"^v: expected {kind}, got "):
        normal(value, SqlType(kind), "v")


def test_tables_go_by_all_their_names(analyser: Analyser) -> None:
    short = "silver.stg_things"
    for name in (short, f"`{short}`", f"project.{short}", f"`project.{short}`"):
        assert analyser.resolve(f"select id from {name}") == [Field("id", SqlType("INT64"))]


def test_rewritten_names_keep_their_aliases(analyser: Analyser) -> None:
    sql = "select 'é', stg_things.id, s.id from silver.stg_things, silver.stg_things as s"
    whole, reads = analyser.with_whole_names(sql)
    assert whole.endswith("from `silver.stg_things` as `stg_things`, `silver.stg_things` as s")
    assert reads == {"silver.stg_things"}


def test_after_a_crash_of_zetasql_the_next_statement_is_judged(
    analyser: Analyser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trap(*_: object) -> bytes:
        raise wasmtime.Trap("wasm trap: call stack exhausted")

    with monkeypatch.context() as patch:
        patch.setattr(analyser.session._engine, "_exchange", trap)
        with pytest.raises(SqlError, match="ZetaSQL itself failed on it: wasm trap: call stack exhausted"):
            analyser.resolve("select 1 as one")
    assert analyser.resolve("select 1 as one") == [Field("one", SqlType("INT64"))]


def test_the_module_is_compiled_once_and_anew_where_the_cache_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_module = engine._module.__wrapped__
    small = tmp_path / "small.wasm"
    small.write_bytes(wasmtime.wat2wasm("(module)"))
    monkeypatch.setattr(engine, "get_wasm_path", lambda: small)
    compile_module(tmp_path / "cache")
    [compiled] = (tmp_path / "cache").glob("*.cwasm")
    content = compiled.read_bytes()
    small.unlink()
    compile_module(tmp_path / "cache")  # nothing is left that it could compile
    small.write_bytes(wasmtime.wat2wasm("(module)"))
    compiled.write_bytes(b"damaged")
    compile_module(tmp_path / "cache")
    assert compiled.read_bytes() == content
    assert [p.suffix for p in (tmp_path / "cache").iterdir() if p.suffix == ".part"] == []


def test_every_named_feature_and_function_is_known_to_zetasql(analyser: Analyser) -> None:
    assert len(set(analyser.session.functions.exclude_function_ids)) >= len(FUNCTIONS_BIGQUERY_LACKS.split())
