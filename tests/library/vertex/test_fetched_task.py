"""Which tables of a cloud run's project a task needs, so that it can be replayed."""

import json
from pathlib import Path

import pytest

from goldline import project
from goldline.vertex.fetched_task import tables_of
from tests.support import orders

CARD = json.dumps({"project": "p", "dataset_prefix": "dev_"})


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        # bronze.orders is a view of the landed files: those come as an artifact, with the commits that count them in.
        (orders.SELECT, {"ops.commits"}),
        # No source's view: tables that a component has filled.
        ("select * from bronze.parcels join bronze.stamps using (id)", {"bronze.parcels", "bronze.stamps"}),
    ],
    ids=["a view", "loaded tables"],
)
def test_a_builds_tables_are_those_that_its_select_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: str, expected: set[str]
) -> None:
    orders.write(tmp_path)
    monkeypatch.setattr(project, "sql_folder", lambda: tmp_path)
    found = tables_of({"run": CARD, "select": select}, {})
    assert found == {name: f"p.dev_{name}" for name in expected}


def test_tables_that_came_as_artifacts_are_known_by_their_metadata() -> None:
    metadata = {"projectId": "p", "datasetId": "dev_gold", "tableId": "fct_sales"}
    assert tables_of({"run": CARD}, {"sold": [{"metadata": metadata}]}) == {"gold.fct_sales": "p.dev_gold.fct_sales"}
