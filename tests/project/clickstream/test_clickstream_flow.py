"""The flow clickstream, as functions on the real servers: what the simulator wrote, in gold."""

from datetime import timedelta

import pytest

from components.clickstream.generate_clickstream.click_files import generate_clickstream
from goldline.spec.tables import contract_json
from goldline.stages.land_files import land_files
from tests.support.landed_flow import DAY, Place, build, told

pytestmark = pytest.mark.slow
SEED, EVENTS, CUSTOMERS = 7, 150, 40


def test_clicks_become_the_sessions_that_the_simulator_knows(landed_flow: Place) -> None:
    """The second night has the late pieces of the first one's sessions; the first is run again after it."""
    yesterday = DAY - timedelta(days=1)
    planted = generate_clickstream(landed_flow.night(DAY), SEED, 2, EVENTS, CUSTOMERS)
    broken = b'{"event_id": "e1", "ip_address": "198.18.0.1", "page_url": "https://shop.example/?to=jane@mail.example'
    landed_flow.lake.write_bytes(f"bronze/clickstream/run_date={DAY}/broken.jsonl", broken)
    for day in (DAY, yesterday):
        context = landed_flow.night(day, since=day)
        landed = land_files(context, "clickstream", contract_json("clickstream/ext_clickstream"))
        staged, sessions = build(context, "clickstream", "stg_clickstream", "fct_sessions")
        assert staged.selected == landed.rows == staged.published + staged.rejected + staged.superseded
        assert staged.rejected == landed.found["malformed"]
        assert len(landed.damaged) == 1
    assert (sessions.rows, sessions.selected) == (len(landed_flow.rows("gold.fct_sessions")), sessions.rows)
    assert staged.rows == planted["events"]

    whole = {
        t["session_id"]: t for t in landed_flow.truth("clickstream", yesterday) + landed_flow.truth("clickstream", DAY)
    }
    names = [name for name in next(iter(whole.values())) if name != "complete_on"]
    whole = {session: t for session, t in whole.items() if t["complete_on"] <= DAY}
    found = [row for row in landed_flow.rows("gold.fct_sessions") if row["session_id"] in whole]
    assert told(found, names) == told(list(whole.values()), names)

    rejected = [row for row in landed_flow.rows("silver.rejected_clickstream") if "broken.jsonl.gz" in row["record"]]
    assert [(row["run_date"], row["reason"]) for row in rejected] == [(DAY, "the line is no JSON object")]
    assert '"_line":"{\\"event_id\\": \\"e1\\", \\"ip_address\\":***, \\"page_url\\"' in rejected[0]["record"]
    tables = str([landed_flow.rows(name) for name in ("silver.stg_clickstream", "silver.rejected_clickstream")])
    assert not any(mark in tables for mark in ("@example", "%40example", "@mail.example", "198.18.", "198.19."))
