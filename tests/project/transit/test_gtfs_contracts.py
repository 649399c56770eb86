"""The contracts of bronze.gtfs_... and what the code says besides: each column that it names is there, and typed so."""

import pytest

from components.transit.download_gtfs.feed_rules import REFERENCES
from components.transit.gtfs import REQUIRED_COLUMNS, TIMES, contracts_by_file, kept_files
from goldline.contracts.table_contract import TableContract
from goldline.spec.tables import contracts

TABLES = {c.table: c for c in contracts().values() if isinstance(c, TableContract)}
FILES = kept_files(TABLES)


def test_each_column_that_a_rule_names_is_kept() -> None:
    kept = {(name, column.name) for name, file in FILES.items() for column in file.columns}
    named = {(name, column) for name, columns in REQUIRED_COLUMNS.items() for column in columns}
    named |= {*REFERENCES, *(target for targets in REFERENCES.values() for target in targets)}
    named |= {(name, column) for name, file in FILES.items() for column in file.key}
    assert named <= kept


def test_the_columns_that_are_read_as_times_are_those_whose_contracts_say_so() -> None:
    columns = [c for contract in contracts_by_file(TABLES).values() for c in contract.columns]
    told = {c.name for c in columns if c.description.endswith("seconds after noon minus 12 hours of the service day.")}
    assert told == TIMES & {c.name for c in columns}
    assert {c.type for file in FILES.values() for c in file.columns if c.name in TIMES} == {"INT64"}


def test_a_value_that_a_feed_leaves_blank_can_be_loaded() -> None:
    assert {c.mode for contract in contracts_by_file(TABLES).values() for c in contract.columns} == {"NULLABLE"}


def test_without_the_contract_of_a_file_that_rules_read_nothing_is_downloaded() -> None:
    with pytest.raises(LookupError, match=r"bronze\.gtfs_stops, bronze\.gtfs_trips lack"):
        kept_files({t: c for t, c in TABLES.items() if t not in ("bronze.gtfs_stops", "bronze.gtfs_trips")})
