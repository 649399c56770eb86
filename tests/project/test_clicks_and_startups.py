"""The flows clickstream and startups, as functions on the real servers: what the simulators wrote, in gold."""

import io
import uuid
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from components.clickstream.generate_clickstream.click_files import generate_clickstream
from components.simulation.folder import Folder
from components.startups.generate_startups.startup_files import generate_startups
from goldline.lake import Lake
from goldline.local.servers import PROJECT, post
from goldline.local.stack import Addresses
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.records import TableResult
from goldline.runs.settings import Settings
from goldline.spec.tables import catalog, contract_json, select
from goldline.stages.build_table import build_table
from goldline.stages.land_files import land_files
from goldline.stages.prepare_run import prepare_run

DAY = date(2026, 11, 20)
SEED, EVENTS, CUSTOMERS, CHANGES = 7, 150, 40, 5


class Place:
    """A bucket and datasets of the test's own."""

    def __init__(self, client: bigquery.Client, run: RunContext) -> None:
        settings = Settings(DAY.isoformat(), run.project, run.location, run.bucket, run.dataset_prefix)
        self.client = client
        self.run = prepare_run(run.run_id, "", "", catalog().pack(), settings)
        self.lake = Lake(run.project, run.bucket)

    def night(self, day: date, since: date = EPOCH) -> RunContext:
        content = {"run_id": f"night-{uuid.uuid4().hex[:8]}", "run_date": day}
        return self.run.model_copy(update={**content, "since": {"clickstream": since, "startups": since}})

    def rows(self, table: str) -> list[dict[str, Any]]:
        rows = self.client.query_and_wait(f"select * from `{self.run.table(table)}`")
        return [dict(row.items()) for row in rows]

    def truth(self, name: str, day: date) -> list[dict[str, Any]]:
        with self.lake._bucket.blob(Folder(self.lake, name).truth(day)).open("rb") as stream:
            found: list[dict[str, Any]] = pq.read_table(io.BytesIO(stream.read())).to_pylist()
        return found


@pytest.fixture
def place(
    client: bigquery.Client,
    stack: Addresses,
    new_run: Callable[..., RunContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": bucket})
    (tmp_path / "pii.key").write_text(f"1\n{'ab' * 32}\n")
    (tmp_path / "pii.key").chmod(0o600)
    monkeypatch.setenv("GOLDLINE_PII_KEY_FILE", str(tmp_path / "pii.key"))
    return Place(client, new_run(bucket=bucket))


def build(card: RunContext, flow: str, *tables: str) -> list[TableResult]:
    return [build_table(card, flow, select(f"{flow}/{table}"), contract_json(f"{flow}/{table}")) for table in tables]


def told(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """These columns alone, the first two of which are a key."""
    return sorted(({name: row[name] for name in names} for row in rows), key=lambda row: [row[n] for n in names[:2]])


def test_clicks_become_the_sessions_that_the_simulator_knows(place: Place) -> None:
    """The second night has the late pieces of the first one's sessions; the first is run again after it."""
    yesterday = DAY - timedelta(days=1)
    planted = generate_clickstream(place.night(DAY), SEED, 2, EVENTS, CUSTOMERS)
    broken = b'{"event_id": "e1", "ip_address": "198.18.0.1", "page_url": "https://shop.example/?to=jane@mail.example'
    place.lake.write_bytes(f"bronze/clickstream/run_date={DAY}/broken.jsonl", broken)
    for day in (DAY, yesterday):
        card = place.night(day, since=day)
        landed = land_files(card, "clickstream", contract_json("clickstream/ext_clickstream"))
        staged, sessions = build(card, "clickstream", "stg_clickstream", "fct_sessions")
        assert staged.selected == landed.rows == staged.published + staged.rejected + staged.superseded
        assert staged.rejected == landed.found["malformed"]
        assert len(landed.damaged) == 1
    assert (sessions.rows, sessions.selected) == (len(place.rows("gold.fct_sessions")), sessions.rows)
    assert staged.rows == planted["events"]

    whole = {t["session_id"]: t for t in place.truth("clickstream", yesterday) + place.truth("clickstream", DAY)}
    names = [name for name in next(iter(whole.values())) if name != "complete_on"]
    whole = {session: t for session, t in whole.items() if t["complete_on"] <= DAY}
    found = [row for row in place.rows("gold.fct_sessions") if row["session_id"] in whole]
    assert told(found, names) == told(list(whole.values()), names)

    rejected = [row for row in place.rows("silver.rejected_clickstream") if "broken.jsonl.gz" in row["record"]]
    assert [(row["run_date"], row["reason"]) for row in rejected] == [(DAY, "the line is no JSON object")]
    assert '"_line":"{\\"event_id\\": \\"e1\\", \\"ip_address\\":***, \\"page_url\\"' in rejected[0]["record"]
    tables = str([place.rows(name) for name in ("silver.stg_clickstream", "silver.rejected_clickstream")])
    assert not any(mark in tables for mark in ("@example", "%40example", "@mail.example", "198.18.", "198.19."))


def test_startups_have_the_history_that_the_register_knows(place: Place) -> None:
    weeks = [DAY + timedelta(weeks=n) for n in range(4)]
    for week in weeks:
        generate_startups(place.night(week), SEED, CHANGES)
    # The third comes late, after the fourth; the first two are caught up in one night.
    for week, since in ((weeks[1], EPOCH), (weeks[3], weeks[3]), (weeks[2], weeks[2])):
        card = place.night(week, since=since)
        landed = land_files(card, "startups", contract_json("startups/ext_startups"))
        staged, history = build(card, "startups", "stg_startups", "dim_startup")
        assert staged.selected == landed.rows == staged.published + staged.rejected + staged.superseded
    truth = place.truth("startups", weeks[3])
    assert (len(truth), told(truth, list(truth[0]))) == (
        history.rows,
        told(place.rows("gold.dim_startup"), list(truth[0])),
    )
