"""The contracts of bronze.gtfs_... say what goldline/gtfs.py says: it writes the files that are loaded into them."""

import pytest

from components.transit.gtfs import FILES
from goldline.contracts.table_contract import TableContract
from goldline.spec.tables import contracts

FEED = "bronze.gtfs_feed"  # of the feed as a whole, no file of it
TABLES = {
    c.table: c for c in contracts().values() if isinstance(c, TableContract) and c.table.startswith("bronze.gtfs_")
}


def test_each_table_is_a_file_that_goldline_knows() -> None:
    assert set(TABLES) - {FEED} <= {file.table for file in FILES.values()}
    # What the SQL of the flow reads, and what a feed must have.
    assert {"bronze.gtfs_agency", "bronze.gtfs_stops", "bronze.gtfs_stop_times", FEED} <= set(TABLES)


@pytest.mark.parametrize("name", sorted(set(TABLES) - {FEED}))
def test_columns_types_and_key_are_those_of_the_file(name: str) -> None:
    contract, file = TABLES[name], FILES[name.removeprefix("bronze.gtfs_")]
    # A required column must be in the header; its values may be blank, so no table has a REQUIRED one.
    assert contract.columns == file.columns
    assert contract.primary_key == file.key
    assert contract.description.startswith(file.description.removesuffix("."))
