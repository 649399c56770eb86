"""The simulated city from its archives to gold: every route, direction and headway is the simulator's own."""

import io
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from components.transit.download_gtfs.feed_download import download_gtfs
from components.transit.download_history.history_download import download_history
from components.transit.generate_transit.simulated_archives import is_whole
from components.transit.generate_transit.transit_files import generate_transit, truth_path
from components.transit.load_month.month_load import load_month
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract
from goldline.contracts.table_names import DATASETS
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.spec.tables import catalog, contract_json, contracts, select
from goldline.stages.build_table import build_table
from goldline.warehouse.schema import ensure, ensure_plain

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 4)  # the clock was put back on the 1st
SEED, DAYS, TRAINS = 7, 3, 1
ONE = timedelta(days=1)
TABLES = ("transit/stg_arrivals", "transit/fct_headways")
LOADED = ("bronze.stop_times", "bronze.trips", "silver.stg_arrivals")
NewRun = Callable[..., RunContext]


class City:
    """The flow's tables, in datasets of a prefix of their own."""

    def __init__(self, client: bigquery.Client, run: RunContext) -> None:
        self.client, self.run = client, run
        for name in DATASETS:
            client.create_dataset(f"{run.project}.{run.dataset(name)}", exists_ok=True)
        for path, contract in contracts().items():
            if path.startswith("transit/") and isinstance(contract, TableContract):
                ensure(client, contract, run)
        ensure_plain(client, "silver.rejected_arrivals", REJECTED_COLUMNS, run, partition_by="run_date")

    def night(self, day: date, first: date, last: date, **more: Any) -> None:
        """One run of the flow, for a date, that asks for the archives of some days."""
        changes = {
            "run_date": day,
            "run_id": f"{self.run.run_id}-{self.run.dataset_prefix}{day}",
            "since": {"transit": day},
            **more,
        }
        run = self.run.model_copy(update=changes)
        feed = download_gtfs(run, catalog().tables, "", simulated=True)
        history = download_history(run, "", 0, str(first), str(last), simulated=True)
        load_month(run, catalog().tables, history.uri, feed.uri)
        for name in TABLES:
            build_table(run, "transit", select(name), contract_json(name))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table's rows, what tells of their loading aside, in a fixed order."""
        found = self.client.query_and_wait(f"select * from `{self.run.table(table)}`")
        kept = [{k: v for k, v in row.items() if not k.startswith("_")} for row in found]
        return sorted(kept, key=lambda r: (r["service_date"], r["trip_uid"], r.get("stop_id", "")))


@pytest.fixture
def base(new_run: NewRun, new_lake: NewRun) -> RunContext:
    run = new_run(DAY, bucket=new_lake().bucket)
    generate_transit(run, SEED, DAYS, TRAINS)
    return run


def truth(run: RunContext) -> dict[tuple[date, str, str], tuple[Any, ...]]:
    """By arrival: route, direction, the train before and the seconds since, unless it came too long ago."""
    found = {}
    for day in (DAY - ONE * n for n in range(1, DAYS + 1) if is_whole(SEED, DAY - ONE * n)):
        content = Lake(run.project, run.bucket).read_bytes(truth_path(day))
        for row in pq.read_table(io.BytesIO(content)).to_pylist():
            seconds = row["headway_seconds"]
            before = (row["previous_trip_uid"], seconds) if seconds is not None and seconds <= 5400 else (None, None)
            if row["arrival_time"] is not None:
                key = (row["service_date"], row["trip_uid"], row["stop_id"])
                found[key] = (row["route_id"], row["direction_id"], *before)
    return found


def test_gold_is_the_truth_and_days_may_come_in_any_order(client: bigquery.Client, base: RunContext) -> None:
    at_once = City(client, base)
    at_once.night(DAY, DAY - ONE * DAYS, DAY - ONE, since={})
    expected = truth(base)
    assert len({key[0] for key in expected}) == DAYS
    got = {
        (r["service_date"], r["trip_uid"], r["stop_id"]): (
            r["route_id"],
            r["direction_id"],
            r["previous_trip_uid"],
            None if r["headway_minutes"] is None else round(r["headway_minutes"] * 60),
        )
        for r in at_once.rows("gold.fct_headways")
    }
    assert got == expected
    # Another warehouse, whose days come one by one, the last one first. The lake is shared: what has not come yet is
    # taken out of it.
    other = City(client, base.model_copy(update={"dataset_prefix": f"{base.dataset_prefix}other_"}))
    hidden = _hide(base)
    for number, day in enumerate(DAY - ONE * n for n in (1, 3, 2)):
        _show(base, hidden, day)
        other.night(DAY + ONE * number, day, day)
    for table in LOADED:
        assert other.rows(table) == at_once.rows(table), table
    # The dates that a late day touched were built again by its own night.
    assert other.rows("gold.fct_headways") == at_once.rows("gold.fct_headways")
    for name in DATASETS:
        client.delete_dataset(f"{base.project}.{other.run.dataset(name)}", delete_contents=True)


def _hide(run: RunContext) -> dict[str, bytes]:
    """Take the landed days out of the lake."""
    lake = Lake(run.project, run.bucket)
    found = {path: lake.read_bytes(path) for path in lake.list("bronze/transit_history")}
    for path in found:
        if "service_date=" in path:
            lake.delete(path)
    return found


def _show(run: RunContext, hidden: dict[str, bytes], day: date) -> None:
    for path, content in hidden.items():
        if f"service_date={day}/" in path:
            Lake(run.project, run.bucket).write_bytes(path, content)
