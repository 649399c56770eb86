"""A whole new flow, added to a copy of the repository as docs/new-flow.md tells: by its own text."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from goldline.contracts.loading import load_all
from goldline.lake import Lake
from goldline.local import stack
from goldline.local.ask import ask
from goldline.local.servers import PROJECT
from goldline.local.sqltest.analysis import check_sql
from goldline.local.sqltest.cases import run_cases
from goldline.local.sqltest.reference_engine import ReferenceEngine
from goldline.project import root

pytestmark = pytest.mark.slow

PARTS = (
    "components",
    "goldline",
    "sql",
    "docs",
    "pipeline.py",
    "compile.py",
    "pipeline.json",
    "goldline.yaml",
    "pyproject.toml",
    "tests",
    "README.md",
)
MANY = re.MULTILINE | re.DOTALL
DOCUMENT = (root() / "docs" / "new-flow.md").read_text(encoding="utf-8")
LINES = """{"review_id": "a", "product": "Lamp", "stars": 4, "author": "Jane Doe", "updated_at": "2026-11-20T10:00:00Z"}
{"review_id": "a", "product": "Lamp", "stars": 5, "author": "Jane Doe", "updated_at": "2026-11-20T11:00:00Z"}
{"review_id": "b", "product": "Lamp", "stars": 2, "updated_at": "2026-11-20T10:00:00Z", "text": "jane@doe.example"}
{"review_id": "c", "author": "Jane D"""
SECONDS = 200


@dataclass
class Copy:
    """A copy of the repository, with a stack of its own."""

    folder: Path
    home: Path

    def python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "GOLDLINE_HOME": str(self.home), "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def goldline(self, *arguments: str) -> str:
        return self.python("-m", "goldline.cli", *arguments)

    def query(self, sql: str) -> list[dict[str, Any]]:
        out = io.StringIO()
        assert ask(self.home, sql, as_json=True, out=out) == 0
        return [json.loads(line) for line in out.getvalue().splitlines()]


def add_flow(folder: Path) -> None:
    """What the document says: its files as they stand there, its lines of pipeline.py where it says."""
    for name, text in re.findall(r"^`((?:sql|components)/reviews/\S+)`\n\n```\w+\n(.*?)^```$", DOCUMENT, MANY):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    added, boolean, description, call = re.findall(r"^```text\n(.*?)^```$", DOCUMENT, MANY)
    pipeline = (folder / "pipeline.py").read_text(encoding="utf-8")
    pipeline = _before(pipeline, "from goldline.spec.tables import", added)
    pipeline = _before(pipeline, "    train: str = ", boolean)
    pipeline = _before(pipeline, "        train: ", description)
    (folder / "pipeline.py").write_text(pipeline + call, encoding="utf-8")


def _before(text: str, place: str, addition: str) -> str:
    assert text.count(place) == 1
    return text.replace(place, addition + place)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("copy")
    for part in PARTS:
        if (root() / part).is_dir():
            shutil.copytree(root() / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root() / part, folder / part)
    made = Copy(folder, tmp_path_factory.mktemp("home"))
    add_flow(folder)
    addresses = stack.up(made.home)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in addresses.environment.items():
            patch.setenv(name, value)
        yield made
    assert stack.down(made.home)


def test_a_new_flow_is_a_folder_a_function_and_a_boolean(copy: Copy) -> None:
    # The checks, of which the contract's own tests are one, and the picture
    assert "no findings" in copy.python("compile.py")
    copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_layers.py")
    picture = (copy.folder / "README.md").read_text(encoding="utf-8")
    for task in ("land_reviews", "stg_reviews", "agg_ratings"):
        assert task in picture
    # The command line
    shown = " ".join(copy.goldline("run", "--help").split())
    assert re.search(r"flows to run, separated by commas \(default: all: [a-z,]*\breviews\b", shown)

    Lake(PROJECT, stack.BUCKET).write_text("bronze/reviews/run_date=2026-11-20/today.jsonl", LINES)
    printed = copy.goldline("run", "--flows", "reviews", "--run-date", "2026-11-20")
    assert re.search(r"silver\.stg_reviews +2 +4 = +2 \+ +1 \+ +1\n", printed)
    summary = json.loads((copy.home / "runs" / "latest" / "summary.json").read_text(encoding="utf-8"))
    assert [(t["name"], t["flow"], t["status"]) for t in summary["tasks"]] == [
        ("prepare_run", "", "succeeded"),
        ("land_reviews", "reviews", "succeeded"),
        ("stg_reviews", "reviews", "succeeded"),
        ("agg_ratings", "reviews", "succeeded"),
        ("finish_run", "", "succeeded"),
    ]
    assert copy.query("select * from gold.agg_ratings") == [{"product": "Lamp", "reviews": 2, "mean_stars": 3.5}]
    assert copy.query("select flow, status from ops.runs where flow is not null") == [
        {"flow": "reviews", "status": "succeeded"}
    ]
    rows = str(copy.query("select * from silver.stg_reviews")) + str(
        copy.query("select * from silver.rejected_reviews")
    )
    assert "no review, or one without an id" in rows
    assert not re.search("Jane|jane", rows)


def test_the_new_flows_own_tests_pass(copy: Copy) -> None:
    """As `goldline test` does it; on one of its engines, for time."""
    sql = copy.folder / "sql"
    assert [str(p) for p in check_sql(sql) if "reviews" in p.file.parts] == []
    results = [
        r for only in ("stg_reviews", "agg_ratings") for r in run_cases(load_all(sql), sql, [ReferenceEngine()], only)
    ]
    assert [(r.table, r.message) for r in results] == [
        ("silver.stg_reviews", ""),
        ("gold.agg_ratings", ""),
    ]
