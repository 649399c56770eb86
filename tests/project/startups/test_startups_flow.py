"""The flow startups, as functions on the real servers: what the simulator wrote, in gold."""

from datetime import timedelta

import pytest

from components.startups.generate_startups.startup_files import generate_startups
from goldline.runs.context import EPOCH
from goldline.spec.tables import contract_json
from goldline.stages.land_files import land_files
from tests.support.landed_flow import DAY, Place, build, told

pytestmark = pytest.mark.slow
SEED, CHANGES = 7, 5


def test_startups_have_the_history_that_the_register_knows(landed_flow: Place) -> None:
    weeks = [DAY + timedelta(weeks=n) for n in range(4)]
    for week in weeks:
        generate_startups(landed_flow.night(week), SEED, CHANGES)
    # The third comes late, after the fourth; the first two are caught up in one night.
    for week, since in ((weeks[1], EPOCH), (weeks[3], weeks[3]), (weeks[2], weeks[2])):
        context = landed_flow.night(week, since=since)
        landed = land_files(context, "startups", contract_json("startups/ext_startups"))
        staged, history = build(context, "startups", "stg_startups", "dim_startup")
        assert staged.selected == landed.rows == staged.published + staged.rejected + staged.superseded
    truth = landed_flow.truth("startups", weeks[3])
    assert (len(truth), told(truth, list(truth[0]))) == (
        history.rows,
        told(landed_flow.rows("gold.dim_startup"), list(truth[0])),
    )
