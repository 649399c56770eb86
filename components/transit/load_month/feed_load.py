"""Load the schedule: replace the tables bronze.gtfs_... by the files of a GTFS feed, if the feed has changed."""

import logging
from collections.abc import Mapping

import pyarrow as pa

from components.transit.gtfs import FEED, MANIFEST, FeedManifest, contracts_by_file
from components.transit.load_month.month_stages import Stages
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.warehouse.jobs import Jobs

LOG = logging.getLogger(__name__)


def load_feed(run: RunContext, contracts: Mapping[str, TableContract], feed: str) -> dict[str, int]:
    """Replace the loaded feed by another; return the number of rows by table, empty if it is loaded already.

    Args:
        run: the run's context.
        contracts: contracts of the tables to load, by table.
        feed: gs:// address of the feed's folder: its manifest, and a Parquet file for each file.

    Raises:
        LakeError: there is no such feed.
        JobError: BigQuery could not load it.
    """
    lake, jobs = Lake(run.project, run.bucket), Jobs(run, "load_month")
    folder = feed.removeprefix(f"gs://{run.bucket}/").rstrip("/")
    manifest = FeedManifest.model_validate_json(lake.read_text(f"{folder}/{MANIFEST}"))
    tables = contracts_by_file(contracts)
    is_asked = any(run.refreshes(c.table) for c in tables.values())
    if not is_asked and _is_loaded(jobs, run.table(FEED), contracts[FEED], manifest):
        return {}
    row = {
        "sha256": manifest.sha256,
        "layout": manifest.layout,
        "url": manifest.url,
        "fetched_at": manifest.fetched_at,
        "_loaded_date": run.run_date,
        "_run_id": run.run_id,
    }
    with Stages(run, jobs, lake, f"feed-{manifest.sha256[:8]}") as stages:
        for name, contract in tables.items():
            if name in manifest.files:
                stages.publish_whole(contract, f"{folder}/{name}.parquet")
            else:  # a file that the feed lacks is a table without rows
                with stages.writing(contract):
                    pass
                stages.publish_whole(contract)
        with stages.writing(contracts[FEED]) as out:  # last: from now on the feed counts as loaded
            out.write_table(pa.Table.from_pylist([row], out.schema))
        stages.publish_whole(contracts[FEED])
    rows = {c.table: manifest.files[name].rows for name, c in tables.items() if name in manifest.files}
    LOG.info("feed %s: %s", manifest.sha256[:8], ", ".join(f"{name} {count}" for name, count in rows.items()))
    return rows


def _is_loaded(jobs: Jobs, table: str, contract: TableContract, manifest: FeedManifest) -> bool:
    rows = jobs.read(table, (c for c in contract.columns if c.name in ("sha256", "layout")))
    return [(row["sha256"], row["layout"]) for row in rows] == [(manifest.sha256, manifest.layout)]
