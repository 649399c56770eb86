"""A developer's day in a project: one table alone after an edit, a run taken up after a failure, the same in any order.

The flow startups runs here from a copy of the project, since its SELECTs are edited.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from goldline.local import stack
from tests.support.project_copy import copied
from tests.support.run_outcome import goldline

pytestmark = pytest.mark.slow
DAY = date(2026, 11, 13)
ALWAYS = {"prepare_run", "finish_run"}
FLOW = {"generate_startups", "land_startups", "stg_startups", "dim_startup"}
SECONDS = 120


@dataclass
class Project:
    """A copy of the project, with a stack of its own."""

    folder: Path
    home: Path

    def goldline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return goldline(self.home, *arguments, folder=self.folder)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.goldline("run", f"--run-date={DAY}", "--flows=startups", *arguments)

    @contextmanager
    def begun(self) -> Iterator[subprocess.Popen[str]]:
        """A run under way, ended with the block; events come on its standard output."""
        with subprocess.Popen(
            [sys.executable, "-m", "goldline.cli", "run", "--json", f"--run-date={DAY}", "--flows=startups"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "GOLDLINE_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def query(self, sql: str) -> list[dict[str, Any]]:
        done = self.goldline("query", "--json", sql)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def edit(self, old: str, new: str, file: str = "dim_startup.sql") -> None:
        path = self.folder / "sql" / "startups" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    @property
    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.home / "runs" / "latest" / "summary.json").read_text())
        return content

    @property
    def ran(self) -> set[str]:
        """Names of the latest run's tasks that were executed."""
        return {task["name"] for task in self.summary["tasks"]}

    def countries(self) -> set[str]:
        return {row["country"] for row in self.query("select distinct country from gold.dim_startup")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(copied(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("home"))
    stack.up(made.home)
    try:
        first = made.run()
        assert first.returncode == 0, first.stdout + first.stderr
        assert made.ran == ALWAYS | FLOW
        yield made
    finally:
        assert stack.down(made.home)


def test_one_table_after_an_edit_of_its_select_has_the_new_answer(project: Project) -> None:
    before = project.query("select flow from ops.runs where flow is not null")
    project.edit("    country,\n", "    lower(country) as country,\n")
    done = project.run("--select", "dim_startup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.ran == ALWAYS | {"dim_startup"}
    assert all(name.islower() for name in project.countries())
    # The flow has no new row: its watermark stays where its own last run left it.
    assert project.query("select flow from ops.runs where flow is not null") == before
    project.edit("    lower(country) as country,\n", "    country,\n")
    assert project.run("--select", "modified+").returncode == 0
    assert project.ran == ALWAYS | {"dim_startup"}
    assert not all(name.islower() for name in project.countries())
    assert "nothing is selected" in project.run("--select", "modified+").stdout
    refused = project.run("--select", "dim_startup", "--full-refresh", "stg_startups")
    assert refused.returncode == 2
    assert "--full-refresh stg_startups: it is not among what --select names" in refused.stderr


def test_a_failed_run_is_taken_up_with_the_select_that_was_mended(project: Project) -> None:
    project.edit("    startup_id,\n    version,", "    cast(error('planted') as string) as startup_id,\n    version,")
    failed = project.run()
    assert failed.returncode == 1
    assert "planted" in failed.stdout
    assert "goldline resume" in failed.stdout
    run = project.summary["run_id"]
    assert project.goldline("resume").returncode == 1  # it is still so
    assert project.ran == {"dim_startup", "finish_run"}
    project.edit("cast(error('planted') as string) as startup_id", "startup_id")
    done = project.goldline("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.summary["run_id"] == run
    of_run = f"where run_id = '{run}'"
    ended = project.query(f"select flow, status from ops.runs {of_run} order by flow nulls first, finished_at")
    assert ended == [  # each attempt is told, and the last of them counts
        {"flow": flow, "status": status} for flow in (None, "startups") for status in ("failed", "failed", "succeeded")
    ]
    tables = project.query(f"select table_name from ops.tables {of_run} order by table_name")
    assert [row["table_name"] for row in tables] == ["gold.dim_startup", "silver.stg_startups"]
    again = project.goldline("resume")
    assert again.returncode == 2
    assert "nothing to resume" in again.stderr


def test_a_failed_run_of_selected_tasks_stays_one_of_these(project: Project) -> None:
    project.edit("    startup_id,\n    version,", "    cast(error('planted') as string) as startup_id,\n    version,")
    assert project.run("--select", "stg_startups+").returncode == 1
    finished = project.query("select flow from ops.runs where flow is not null")
    project.edit("cast(error('planted') as string) as startup_id", "startup_id")
    done = project.goldline("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.ran == {"dim_startup", "finish_run"}
    assert project.query("select flow from ops.runs where flow is not null") == finished


def test_an_interrupted_run_is_the_one_to_take_up_and_leaves_no_temporary_files(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with project.begun() as process:
        events = map(json.loads, process.stdout or ())
        next(e for e in events if (e["event"], e.get("task")) == ("started", "stg_startups"))
        running = (project.home / "runs" / "latest").resolve()
        refused = project.goldline("resume")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert (refused.returncode, refused.stderr) == (2, f"goldline: the run {running.name} is still running\n")
    assert process.returncode == 130
    assert f"goldline resume --run {running.name}\n" in said
    done = project.goldline("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.home / "runs" / "latest").resolve() == running
    assert project.ran >= {"stg_startups", "dim_startup", "finish_run"}
    assert project.goldline("retry", "dim-startup").returncode == 0
    assert list(tmp_path.iterdir()) == []
