"""Every way in which a contract can be wrong, and what the error says of it."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from goldline.contracts.columns import Column, quoted
from goldline.contracts.loading import ContractError, load, load_all, parse
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.table_contract import TableContract
from goldline.contracts.table_names import bare_name
from goldline.project import sql_folder

ID = {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "Key."}
DAY = {"name": "day", "type": "DATE", "mode": "REQUIRED", "description": "Day."}
CHANGED = {"name": "changed_at", "type": "TIMESTAMP", "mode": "REQUIRED", "description": "Version."}
NOTE = {"name": "note", "type": "STRING", "description": "A remark."}

TABLE = {
    "table": "silver.stg_orders",
    "description": "Orders.",
    "grain": "One row per order.",
    "primary_key": ["id"],
    "version": "changed_at",
    "write": "merge",
    "partition_by": "day",
    "cluster_by": ["id"],
    "columns": [ID, DAY, CHANGED, NOTE],
    "checks": [{"name": "no empty note", "where": "note = ''"}],
    "tests": [{"name": "nothing gives nothing", "given": {}, "expect": []}],
}
EMAIL = {"name": "email", "type": "STRING", "pii": "hmac", "description": "The customer's address."}
MADE = {"name": "made_at", "type": "TIMESTAMP", "parse": "mixed", "description": "When it was made."}
SOURCE = {
    "source": "bronze.ext_orders",
    "description": "Orders as they come.",
    "grain": "One row per document.",
    "format": "parquet",
    "key": "id",
    "change_column": "made_at",
    "day_first": True,
    "columns": [{"name": "id", "type": "STRING", "description": "Key."}, EMAIL, MADE],
}
GONE = object()


def changed(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The contract with some keys replaced, and those that are GONE left out."""
    return {k: v for k, v in {**base, **change}.items() if v is not GONE}


def written(folder: Path, content: object, name: str = "stg_orders") -> Path:
    path = folder / f"{name}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def refusal(path: Path) -> str:
    """What is said of the contract, behind the name of its file."""
    with pytest.raises(ContractError) as caught:
        load(path)
    first, message = str(caught.value)[: len(str(path))], str(caught.value)[len(str(path)) :]
    assert first == str(path)
    return message.removeprefix(": ")


def struct(*fields: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"name": "address", "type": "STRUCT", "description": "A map.", "fields": list(fields), **other}


def test_a_good_contract_is_read(tmp_path: Path) -> None:
    table, source = load(written(tmp_path, TABLE)), load(written(tmp_path, SOURCE, "ext_orders"))
    assert isinstance(table, TableContract)
    assert isinstance(source, SourceContract)
    assert (table.dataset, table.name, table.rejected_table) == ("silver", "stg_orders", "silver.rejected_orders")
    assert (source.name, source.view, source.folder) == ("orders", "bronze.orders", "bronze/orders")


WRONG_TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "a key nobody knows": ({"colums": []}, "colums: Extra inputs are not permitted"),
    "a key is missing": ({"grain": GONE}, "grain: Field required"),
    "a text is empty": ({"description": ""}, "description: String should have at least 1 character"),
    "a wrong type": ({"columns": [ID, DAY, CHANGED, {**NOTE, "type": "TEXT"}]}, "columns.note.type: Input should be"),
    "a wrong mode": ({"columns": [{**ID, "mode": "required"}, DAY, CHANGED]}, "columns.id.mode: Input should be"),
    "a list that is a text": ({"primary_key": "id"}, "primary_key: Input should be a valid tuple, got 'id'"),
    "a dataset nobody knows": ({"table": "copper.stg_orders"}, "table: String should match pattern"),
    "a name of three parts": ({"table": "p.silver.stg_orders"}, "table: String should match pattern"),
    "an upper-case name": ({"columns": [ID, DAY, CHANGED, {**NOTE, "name": "Note"}]}, "columns.Note.name: String"),
    "a write mode nobody knows": ({"write": "append"}, "write: Input should be"),
    "no primary key": ({"primary_key": []}, "primary_key: Tuple should have at least 1 item"),
    "the primary key is no column": ({"primary_key": ["order_id"]}, "primary_key: order_id is not one of the columns"),
    "the primary key may be NULL": ({"primary_key": ["note"]}, "primary_key: note must have mode REQUIRED"),
    "the clustering is no column": ({"cluster_by": ["town"]}, "cluster_by: town is not one of the columns id, day"),
    "five clustering columns": ({"cluster_by": ["id"] * 5}, "cluster_by: Tuple should have at most 4 items"),
    "the partition is no column": ({"partition_by": "month"}, "partition_by: month is not one of the columns"),
    "the partition is no DATE": ({"partition_by": "changed_at"}, "partition_by: changed_at must be a DATE"),
    "the partition may be NULL": (
        {"columns": [ID, {**DAY, "mode": "NULLABLE"}, CHANGED]},
        "partition_by: day must have mode REQUIRED",
    ),
    "the version is no column": ({"version": "updated"}, "version: updated is not one of the columns"),
    "the version may be NULL": ({"version": "note"}, "version: note must have mode REQUIRED"),
    "a merge without version": ({"version": GONE}, "version: required with `write: merge`"),
    "a full write with version": ({"write": "full"}, "version: required with `write: merge`, not allowed otherwise"),
    "a view with version": ({"write": "view"}, "version: required with `write: merge`, not allowed otherwise"),
    "an overwrite without partition": (
        {"write": "insert_overwrite", "partitions": "arrived", "version": GONE, "partition_by": GONE},
        "partition_by: `write: insert_overwrite` replaces whole partitions",
    ),
    "an overwrite of nobody knows which partitions": (
        {"write": "insert_overwrite", "version": GONE},
        "partitions: required with `write: insert_overwrite`, not allowed otherwise",
    ),
    "a merge of partitions": (
        {"partitions": "arrived"},
        "partitions: required with `write: insert_overwrite`, not allowed otherwise",
    ),
    "partitions nobody knows": ({"partitions": "touched"}, "partitions: Input should be 'run_date' or 'arrived'"),
    "a write mode that is a list": ({"write": ["merge"]}, "write: Input should be"),
    "the old word snapshot": (
        {"write": "snapshot", "version": GONE},
        "write: `snapshot` is now `write: insert_overwrite` with `partitions: run_date`",
    ),
    "the old word replace": (
        {"write": "replace", "version": GONE},
        "write: `replace` is now `write: insert_overwrite` with `partitions: arrived`",
    ),
    "the old word rebuild": ({"write": "rebuild", "version": GONE}, "write: `rebuild` is now `write: full`"),
    "a lookback without @since": (
        {"write": "full", "version": GONE, "lookback_days": 3},
        "lookback_days: `write: full` takes no @since to look back from",
    ),
    "a lookback into the future": ({"lookback_days": -1}, "lookback_days: Input should be greater than or equal to 0"),
    "a view with a partition": (
        {"write": "view", "version": GONE, "cluster_by": []},
        "write: a view has neither partition_by, cluster_by nor rejects",
    ),
    "a view with clustering": (
        {"write": "view", "version": GONE, "partition_by": GONE},
        "write: a view has neither partition_by, cluster_by nor rejects",
    ),
    "a view with rejects": (
        {"write": "view", "version": GONE, "partition_by": GONE, "cluster_by": [], "rejects": True},
        "write: a view has neither partition_by, cluster_by nor rejects",
    ),
    "a column twice": ({"columns": [ID, DAY, CHANGED, NOTE, NOTE]}, "column note stands twice"),
    "a check twice": ({"checks": [{"name": "c", "where": "true"}] * 2}, "check c stands twice"),
    "a test twice": ({"tests": [{"name": "t", "given": {}, "expect": []}] * 2}, "test t stands twice"),
    "a check without condition": ({"checks": [{"name": "c"}]}, "checks.c.where: Field required"),
    "a check of no known level": (
        {"checks": [{"name": "c", "where": "true", "level": "error"}]},
        "checks.c.level: Input should be",
    ),
    "a test gives rows of no table": (
        {"tests": [{"name": "t", "given": {"orders": []}, "expect": []}]},
        "tests.t.given.orders",
    ),
    "a test's date is none": (
        {"tests": [{"name": "t", "run_date": "20 November", "given": {}, "expect": []}]},
        "tests.t.run_date: Input should be a valid date",
    ),
    "a STRUCT without fields": (
        {"columns": [ID, DAY, CHANGED, struct()]},
        "columns.address: address: `fields` are required for a STRUCT, not allowed otherwise",
    ),
    "fields without a STRUCT": (
        {"columns": [ID, DAY, CHANGED, {**NOTE, "fields": [NOTE]}]},
        "columns.note: note: `fields` are required for a STRUCT, not allowed otherwise",
    ),
    "a field twice": ({"columns": [ID, DAY, CHANGED, struct(NOTE, NOTE)]}, "columns.address: field note stands twice"),
    "a field of a wrong type": (
        {"columns": [ID, DAY, CHANGED, struct({**NOTE, "type": "MAP"})]},
        "columns.address.fields.note.type: Input should be",
    ),
    "a rule for personal data in a table": (
        {"columns": [ID, DAY, CHANGED, {**NOTE, "pii": "drop"}]},
        "columns.note.pii: Extra inputs are not permitted",
    ),
    "both a table and a source": ({"source": "bronze.ext_orders"}, "a contract starts with `table:` or with `source:`"),
    "neither a table nor a source": ({"table": GONE}, "a contract starts with `table:` or with `source:`"),
}


@pytest.mark.parametrize(("change", "expected"), WRONG_TABLES.values(), ids=WRONG_TABLES.keys())
def test_a_wrong_table_contract_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    assert refusal(written(tmp_path, changed(TABLE, change))).startswith(expected)


KEY = SOURCE["columns"][0]  # type: ignore[index]
WRONG_SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "no external table's name": ({"source": "bronze.orders"}, "source: String should match pattern"),
    "not in bronze": ({"source": "silver.ext_orders"}, "source: String should match pattern"),
    "a format nobody knows": ({"format": "csv"}, "format: Input should be 'parquet' or 'jsonl', got 'csv'"),
    "the key is no column": ({"key": "order_id"}, "key: order_id is not one of the columns id, email, made_at"),
    "the key is dropped": ({"columns": [{**KEY, "pii": "drop"}, MADE]}, "key: id is dropped by its `pii` rule"),
    "the change column is no column": ({"change_column": "updated_at"}, "change_column: updated_at is not one of"),
    "what to do with undeclared fields": ({"undeclared": "ignore"}, "undeclared: Input should be"),
    "mixed timestamps, no order of day and month": ({"day_first": GONE}, "day_first: needed where a timestamp"),
    "mixed, but no timestamp": (
        {"columns": [KEY, {**MADE, "type": "DATE"}]},
        "columns.made_at: made_at: `parse: mixed` is for a TIMESTAMP, this is DATE",
    ),
    "mixed in an array": (
        {"columns": [KEY, {**MADE, "mode": "REPEATED"}]},
        "columns.made_at: made_at: `parse: mixed` is for top-level columns",
    ),
    "mixed in a struct": (
        {"columns": [KEY, struct(MADE), {**MADE, "parse": "exact"}]},
        "columns.address: address: `parse: mixed` is for top-level columns",
    ),
    "a pseudonym of a number": (
        {"columns": [KEY, MADE, {**EMAIL, "type": "INT64"}]},
        "columns.email: email: `pii: hmac` gives a STRING, this is INT64",
    ),
    "four characters of a BOOL in a struct": (
        {"columns": [KEY, MADE, struct({**EMAIL, "pii": "last4", "type": "BOOL"})]},
        "columns.address.fields.email: email: `pii: last4` gives a STRING, this is BOOL",
    ),
    "a rule nobody knows": ({"columns": [KEY, MADE, {**EMAIL, "pii": "mask"}]}, "columns.email.pii: Input should be"),
    "goldline's own name": (
        {"columns": [KEY, MADE, {**NOTE, "name": "_rest"}]},
        "columns: _rest: names that start with `_` are goldline's own",
    ),
    "the name of a folder's key": (
        {"columns": [KEY, MADE, {**NOTE, "name": "run_date"}]},
        "columns: run_date: reserved for the partition key",
    ),
    "a column twice": ({"columns": [KEY, KEY, MADE]}, "columns: column id stands twice"),
    "a table's key": ({"write": "merge"}, "write: Extra inputs are not permitted"),
}


@pytest.mark.parametrize(("change", "expected"), WRONG_SOURCES.values(), ids=WRONG_SOURCES.keys())
def test_a_wrong_source_contract_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    assert refusal(written(tmp_path, changed(SOURCE, change), "ext_orders")).startswith(expected)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, changed(TABLE, {"grain": GONE, "write": "append", "extra": 1}))
    with pytest.raises(ContractError) as caught:
        load(path)
    said = [line.removeprefix(f"{path}: ").split(":")[0] for line in str(caught.value).splitlines()]
    assert said == ["grain", "write", "extra"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("table: [silver", "not YAML: while parsing a flow sequence"),
        ("table: silver.a\nkey: !!python/object:os.system {}", "not YAML: could not determine a constructor"),
        ("table: silver.a\ngrain: One.\ntable: gold.b", "not YAML: the key 'table' stands twice"),
        ("table: silver.a\ncolumns:\n  - {name: a, type: DATE, name: b}", "not YAML: the key 'name' stands twice"),
        ("- table: silver.a", "expected keys and values, got list"),
        ("silver.a", "expected keys and values, got str"),
        ("", "expected keys and values, got NoneType"),
    ],
)
def test_what_is_no_mapping_in_yaml_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert refusal(written(tmp_path, text)).startswith(expected)


def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path: Path) -> None:
    assert "line 3, column 1" in refusal(written(tmp_path, "table: silver.a\ngrain: One.\ntable: gold.b"))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stg_orders.yml"
    path.write_bytes(b"table: \xff\xfe")
    assert refusal(path).startswith("not YAML: ")


def test_a_date_without_quotes_is_a_date_of_a_test(tmp_path: Path) -> None:
    text = yaml.safe_dump({**TABLE, "tests": []}).replace("tests: []", "") + (
        "tests:\n- {name: t, run_date: 2026-11-20, since: '2026-11-18', given: {}, expect: []}\n"
    )
    contract = load(written(tmp_path, text))
    assert isinstance(contract, TableContract)
    assert (contract.tests[0].run_date, contract.tests[0].since) == (date(2026, 11, 20), date(2026, 11, 18))


# A folder of contracts


def good_folder(folder: Path) -> Path:
    written(folder / "orders", TABLE)
    (folder / "orders" / "stg_orders.sql").write_text("select 1")
    written(folder / "orders", SOURCE, "ext_orders")
    return folder


def test_contracts_are_found_by_their_path(tmp_path: Path) -> None:
    assert list(load_all(good_folder(tmp_path))) == ["orders/ext_orders", "orders/stg_orders"]


def wrong_folder(folder: Path) -> str:
    with pytest.raises(ContractError) as caught:
        load_all(folder)
    return str(caught.value).removeprefix(f"{folder}/")


def test_a_table_has_its_select_beside_it(tmp_path: Path) -> None:
    (good_folder(tmp_path) / "orders" / "stg_orders.sql").unlink()
    assert wrong_folder(tmp_path) == "orders/stg_orders.yml: no SELECT beside it, expected stg_orders.sql"


def test_a_table_that_a_component_loads_has_no_select_beside_it(tmp_path: Path) -> None:
    written(
        good_folder(tmp_path) / "orders",
        changed(TABLE, {"write": "load", "version": GONE, "checks": GONE, "tests": GONE}),
    )
    assert wrong_folder(tmp_path) == ("orders/stg_orders.yml: `write: load` has no SELECT, but there is stg_orders.sql")


def test_a_file_is_named_after_its_table(tmp_path: Path) -> None:
    written(good_folder(tmp_path) / "orders", {**TABLE, "table": "gold.fct_orders"}, "orders")
    assert wrong_folder(tmp_path) == "orders/orders.yml: a file is named after its table, fct_orders.yml"


@pytest.mark.parametrize(
    ("other", "twice"),
    [
        (TABLE, "silver.stg_orders"),
        ({**TABLE, "table": "bronze.orders"}, "bronze.orders"),
        ({**TABLE, "table": "gold.fct_orders", "rejects": True}, "silver.rejected_orders"),
    ],
    ids=["a table", "a source's view", "a table of rejects"],
)
def test_two_files_never_make_one_table(tmp_path: Path, other: dict[str, Any], twice: str) -> None:
    written(good_folder(tmp_path) / "orders", {**TABLE, "rejects": True})
    name = other["table"].split(".")[1]
    written(tmp_path / "wares", other, name)
    (tmp_path / "wares" / f"{name}.sql").write_text("select 1")
    assert f"{twice} has a contract already, " in wrong_folder(tmp_path)
    assert wrong_folder(tmp_path).startswith(f"wares/{name}.yml: ")


READ = {"table": "gold.fct_visits", "columns": [ID, NOTE]}


def test_a_table_that_no_flow_builds_is_made_of_what_its_reader_needs(tmp_path: Path) -> None:
    written(good_folder(tmp_path) / "orders", {**TABLE, "reads_published": [READ]})
    made = load_all(tmp_path)["published/gold.fct_visits"]
    assert isinstance(made, TableContract)
    assert (made.table, made.write, [c.name for c in made.columns]) == ("gold.fct_visits", "load", ["id", "note"])


def test_a_table_that_a_flow_builds_must_have_what_its_reader_needs(tmp_path: Path) -> None:
    written(good_folder(tmp_path) / "orders", {**TABLE, "reads_published": [READ]})
    built = changed(TABLE, {"table": "gold.fct_visits", "columns": [ID, DAY, CHANGED, {**NOTE, "type": "INT64"}]})
    written(tmp_path / "visits", built, "fct_visits")
    (tmp_path / "visits" / "fct_visits.sql").write_text("select 1")
    assert wrong_folder(tmp_path) == (
        "orders/stg_orders.yml: reads_published: expected gold.fct_visits with note STRING, its contract says INT64"
    )


def test_the_projects_own_contracts_are_good() -> None:
    files = {str(p.relative_to(sql_folder()).with_suffix("")) for p in sql_folder().rglob("*.yml")}
    assert files
    assert files <= load_all(sql_folder()).keys()


# What becomes of columns


def source_of(*columns: dict[str, Any]) -> SourceContract:
    contract = parse({**SOURCE, "columns": [KEY, *columns], "change_column": None}, "a test")
    assert isinstance(contract, SourceContract)
    return contract


def test_nothing_of_a_dropped_field_is_in_the_files() -> None:
    street = {"name": "street", "type": "STRING", "pii": "drop", "description": "Street."}
    town = {"name": "town", "type": "STRING", "description": "Town."}
    contract = source_of(
        {**EMAIL, "pii": "drop"},
        struct(street, town, {**struct(street), "name": "nested"}),
        {**struct(street), "name": "only_personal"},
        {**struct(town), "name": "whole", "pii": "drop"},
    )
    declared = [c for c in contract.file_columns if not c.is_load_metadata]
    assert [(c.name, c.sql_type()) for c in declared] == [("id", "STRING"), ("address", "STRUCT<town STRING>")]
    assert "street" not in str(contract.view_columns)


def test_a_views_columns_are_the_files_and_the_folders_keys() -> None:
    contract = source_of(EMAIL)
    assert [c.name for c in contract.view_columns] == [
        *("id", "email", "_document", "_created", "_updated", "_rest", "_is_deleted", "_pii_key_version"),
        *("run_date", "attempt"),
    ]


def lines_of(**more: Any) -> SourceContract:
    content = {**SOURCE, "format": "jsonl", "incoming": "bronze/orders", "columns": [KEY, EMAIL], "change_column": None}
    contract = parse({**content, "day_first": None, **more}, "a test")
    assert isinstance(contract, SourceContract)
    return contract


def test_a_source_of_lines_has_one_column_whatever_is_in_a_line() -> None:
    contract = lines_of()
    assert [c.name for c in contract.table_columns] == ["line", "run_date", "attempt"]
    assert [c.name for c in contract.view_columns] == ["line", "run_date", "attempt", "_file", "_pii_key_version"]
    assert contract.folder != contract.incoming  # what arrives is never read before it is landed
    assert lines_of(columns=[KEY, {**EMAIL, "pii": "hmac"}]).has_pii
    assert not lines_of(columns=[KEY, {**EMAIL, "pii": "none"}]).has_pii


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"incoming": None}, "incoming: required with `format: jsonl`, not allowed otherwise"),
        ({"format": "parquet"}, "incoming: required with `format: jsonl`, not allowed otherwise"),
        ({"undeclared": "drop"}, "undeclared: lines are kept as they came"),
        ({"incoming": "bronze/orders/"}, "incoming: String should match pattern"),
    ],
)
def test_a_source_of_lines_that_cannot_be(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError, match=re.escape(said)):
        lines_of(**more)


def test_a_column_as_ddl() -> None:
    column = Column.model_validate(struct(NOTE, mode="REPEATED"))
    assert column.sql_type() == "ARRAY<STRUCT<note STRING>>"
    assert column.ddl() == (
        '`address` ARRAY<STRUCT<`note` STRING OPTIONS(description="A remark.")>> OPTIONS(description="A map.")'
    )
    assert Column.model_validate(ID).ddl() == '`id` STRING NOT NULL OPTIONS(description="Key.")'


@pytest.mark.parametrize("name", ["stg_orders", "fct_orders", "dim_orders", "agg_orders", "ext_orders", "orders"])
def test_a_bare_name_has_no_layer(name: str) -> None:
    assert bare_name(name) == "orders"


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('"\\\r\n')))
def test_a_quoted_text_is_one_line_and_reads_back(text: str) -> None:
    literal = quoted(text)
    assert not {"\n", "\r"} & set(literal)
    inner = literal.removeprefix('"').removesuffix('"')
    marks = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "\\r": "\r"}
    read, i = "", 0
    while i < len(inner):
        width = 2 if inner[i] == "\\" else 1
        assert inner[i] != '"'
        read += marks[inner[i : i + 2]] if width == 2 else inner[i]
        i += width
    assert read == text
