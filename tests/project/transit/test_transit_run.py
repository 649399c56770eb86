"""`goldline run --flows transit`, the compiled spec, whole: from a city's archives to a model that was judged."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.transit.generate_transit.simulated_archives import is_whole
from components.transit.generate_transit.transit_files import SIZES
from goldline.local import stack
from goldline.local.ask import ask

pytestmark = pytest.mark.slow

DAY, SEED = date(2026, 11, 20), 7
DAYS, TRAINS = SIZES["small"]["days"], SIZES["small"]["trains"]
SIZE = ["--simulated-size=small", f"--seed={SEED}"]
TABLES = ("silver.stg_arrivals", "gold.fct_headways", "gold.fct_headway_predictions")
SECONDS = 240


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack of this module's own, on which the flow has run once."""
    home = tmp_path_factory.mktemp("goldline")
    stack.up(home)
    done = subprocess.run(
        [sys.executable, "-m", "goldline.cli", "run", "--run-date", DAY.isoformat(), "--flows=transit", *SIZE],
        env={**os.environ, "GOLDLINE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield home
    assert stack.down(home)


def query(home: Path, sql: str) -> list[dict[str, Any]]:
    out = io.StringIO()
    assert ask(home, sql, as_json=True, out=out) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def summary(home: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / "runs" / "latest" / "summary.json").read_text())
    return content


def test_every_row_is_accounted_for(home: Path) -> None:
    told = summary(home)
    assert (told["status"], told["error"]) == ("succeeded", None)
    tables = {t["name"]: t for t in told["tables"]}
    assert set(tables) == set(TABLES)
    for name, t in tables.items():
        assert t["selected"] == t["published"] + t["rejected"] + t["superseded"]
        [found] = query(home, f"select count(*) as row_count from {name}")
        assert t["rows"] == found["row_count"] > 0
    arrivals = tables["silver.stg_arrivals"]
    [loaded] = query(home, "select count(*) as row_count from bronze.stop_times")
    assert arrivals["selected"] == loaded["row_count"]
    assert tables["gold.fct_headways"]["rows"] == arrivals["published"]


def test_all_whole_archives_are_loaded_and_the_others_named(home: Path) -> None:
    days = [DAY - timedelta(days=ago) for ago in range(1, DAYS + 1)]
    loaded = query(home, "select service_date from bronze.transit_days order by service_date")
    assert [row["service_date"] for row in loaded] == [str(d) for d in sorted(days) if is_whole(SEED, d)]
    named = query(home, "select detail from ops.checks where check_name = 'day_is_landed' and failing > 0")
    bad = {str(d) for d in days if not is_whole(SEED, d)}
    assert bad  # the city has such a day in any week
    assert bad <= {row["detail"][:10] for row in named}


def test_the_model_passed_its_gate_and_is_what_predicted(home: Path) -> None:
    [model] = summary(home)["models"]
    metrics = model["metrics"]
    assert (model["name"], model["accepted"]) == ("headway", True)
    assert metrics["mae"] < min(metrics[f"baseline_{other}_mae"] for other in ("median", "last", "schedule"))
    versions = query(home, "select distinct model_version from gold.fct_headway_predictions")
    assert versions == [{"model_version": model["version"]}]
