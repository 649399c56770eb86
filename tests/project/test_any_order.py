"""Tasks side by side, in whatever order they become ready, leave what they leave one after the other."""

from pathlib import Path

import pytest

from goldline.privacy.pseudonym import make_key_file
from tests.support.run_outcome import KEY, goldline, new_home, outcome

pytestmark = pytest.mark.slow
DAY = "--run-date=2026-11-20"
SMALL = "--simulated-size=small"


def test_two_flows_side_by_side_are_as_one_after_the_other(tmp_path: Path) -> None:
    make_key_file(tmp_path / KEY)
    found = []
    for way in (["--isolated"], ["--parallel=3", "--shuffle=1"]):
        home = new_home(tmp_path / way[0], (tmp_path / KEY).read_bytes())
        done = goldline(home, "run", DAY, SMALL, "--flows=clickstream,startups", *way)
        assert done.returncode == 0, done.stdout + done.stderr
        found.append(outcome(home))
    assert found[0] == found[1]
    tables, lineage = found[0]
    assert all(tables[name] for name in ("gold.fct_sessions", "gold.dim_startup", "ops.tables", "ops.runs"))
    assert "dim_startup" in lineage
