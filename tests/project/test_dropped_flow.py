"""docs/new-flow.md, "Drop a flow": each flow of the example goes by its folders and its lines; the rest runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from goldline.spec.tables import flows
from tests.support.project_copy import copied

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# The parameters that a flow alone takes.
PARAMETERS = {
    "sales": ("run_sales", "collection", "database", "export_mode"),
    "clickstream": ("run_clickstream",),
    "startups": ("run_startups",),
    "transit": ("run_transit", "gtfs_url", "history_url", "history_days", "history_range", "transit_stop"),
}
# Benchmarks that import a flow; docs/new-flow.md names them.
BENCHES = {
    "sales": ("bench_days", "bench_firestore"),
    "clickstream": ("bench_generators", "plain_generators"),
    "startups": ("bench_generators", "plain_generators"),
    "transit": ("bench_gtfs", "bench_transit"),
}
MODELS = {"sales": "churn", "transit": "headway"}
QUICK = ("contracts", "spec", "vertex", "runs")  # tests of the library that read what the project has, and are quick
SECONDS = 400


def drop(folder: Path, flow: str) -> None:
    for place in ("components", "sql", "tests/project"):
        shutil.rmtree(folder / place / flow)
    for name in BENCHES[flow]:
        (folder / "bench" / f"{name}.py").unlink()
    text = (folder / "pipeline.py").read_text(encoding="utf-8")
    text = re.sub(rf"from components\.{flow}\.flow import .*\n", "", text)
    text = re.sub(rf"        with dsl\.If\(run_{flow} == True.*\n(            .*\n)+", "", text)
    for name in PARAMETERS[flow]:
        text = re.sub(rf"    {name}: \w+ = .*,\n", "", text)
        text = re.sub(rf"        {name}: .*\n(            .*\n)*", "", text)
    (folder / "pipeline.py").write_text(text, encoding="utf-8")
    settings = (folder / "goldline.yaml").read_text(encoding="utf-8")
    settings = re.sub(rf"run_{flow}: \w+,? ?", "", settings)
    if flow in MODELS:
        settings = re.sub(rf"(, )?evaluate-{MODELS[flow]}\.Output: \w+", "", settings)
    (folder / "goldline.yaml").write_text(settings, encoding="utf-8")


def python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "GOLDLINE_HOME": str(folder / ".goldline")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("flow", [flow for flow in sorted(PARAMETERS) if flow in flows()])
def test_a_flow_is_dropped_by_its_folders_and_its_lines_and_the_rest_runs(flow: str, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    drop(folder, flow)
    importing = [p.name for p in folder.rglob("*.py") if f"from components.{flow}." in p.read_text(encoding="utf-8")]
    assert importing == ["test_layers.py"] * (flow == "sales")  # there as a planted wrong import, a string
    assert "no findings" in python(folder, "compile.py")
    assert f'"{flow}"' not in (folder / "pipeline.json").read_text(encoding="utf-8")
    collected = python(folder, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider")
    assert "error" not in collected.splitlines()[-1]
    # With each flow it would be minutes; sales is the one with most of all that a flow can have.
    rooms = [f"tests/library/{room}" for room in QUICK] if flow == "sales" else []
    quick = ("-p", "no:cacheprovider", "-m", "not slow and not servers")
    assert "passed" in python(folder, "-m", "pytest", "-q", *quick, "tests/test_layers.py", *rooms)
    python(folder, "-m", "goldline.cli", "run", "--simulated-size", "small", "--run-date", "2026-11-20")
    summary = json.loads((folder / ".goldline" / "runs" / "latest" / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "succeeded"
    assert {task["flow"] for task in summary["tasks"]} == {"", *flows()} - {flow}
