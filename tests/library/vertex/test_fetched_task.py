"""Which tables of a cloud run's project a task needs, so that it can be replayed."""

import json

import pytest

from goldline.spec.tables import select
from goldline.vertex.fetched_task import tables_of

CARD = json.dumps({"project": "p", "dataset_prefix": "dev_"})


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # bronze.sales is a view of the landed files: those come as an artifact, with the commits that count them in.
        ("sales/stg_sales", {"ops.commits"}),
        # bronze.stop_times is a table that load_month has filled.
        ("transit/stg_arrivals", {"bronze.stop_times", "bronze.trips"}),
    ],
)
def test_a_builds_tables_are_those_that_its_select_reads(table: str, expected: set[str]) -> None:
    found = tables_of({"run": CARD, "select": select(table)}, {})
    assert expected <= found.keys()
    assert all(full == f"p.dev_{name}" for name, full in found.items())
    assert ("ops.commits" in found) == ("ops.commits" in expected)


def test_tables_that_came_as_artifacts_are_known_by_their_metadata() -> None:
    metadata = {"projectId": "p", "datasetId": "dev_gold", "tableId": "fct_sales"}
    assert tables_of({"run": CARD}, {"sold": [{"metadata": metadata}]}) == {"gold.fct_sales": "p.dev_gold.fct_sales"}
