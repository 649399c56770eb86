"""`goldline run`, as a user types it: the compiled spec, whole, from Firestore documents to gold facts."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud import firestore

from components.sales.generate_sales.sales_documents import SIZES
from components.sales.generate_sales.world import World
from goldline.local import stack
from goldline.local.ask import ask
from goldline.local.processes import command_line
from goldline.local.servers import PROJECT
from goldline.spec.tables import catalog
from tests.project.sales.personal_scan import found, lake_texts
from tests.support.check_names import STABLE

DAY, SEED = date(2026, 11, 20), 7
DAYS, CUSTOMERS = SIZES["small"]["days"], SIZES["small"]["customers"]
SIZE = ["--flows=sales", "--simulated-size=small", f"--seed={SEED}"]
TABLES = ["silver.stg_sales", "silver.rejected_sales", "gold.dim_customer", "gold.fct_sales"]
TABLES += ["gold.agg_customer_features", "gold.mart_sales", "gold.fct_churn_predictions"]
SECONDS = 120


@dataclass
class Place:
    """A stack of this module's own, and the command line that runs on it."""

    home: Path
    addresses: stack.Addresses

    def goldline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "goldline.cli", *arguments],
            env={**os.environ, "GOLDLINE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """A run under way, ended with the block."""
        process = subprocess.Popen(
            [sys.executable, "-m", "goldline.cli", "run", "--run-date", DAY.isoformat(), *SIZE],
            env={**os.environ, "GOLDLINE_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def wait_for_task(self, process: subprocess.Popen[str], task: str) -> Path:
        """The folder of the run, once the task has started in it."""
        found: list[Path] = []

        def has_started() -> bool:
            assert process.poll() is None, process.communicate()
            found[:] = (self.home / "runs").glob(f"*-{process.pid}/tasks/*-{task}/log.txt")
            return bool(found)

        wait_until(has_started)
        return found[0].parents[2]

    def pids(self) -> dict[str, int]:
        found = stack.running(self.home)
        assert found
        return found.pids

    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.home / "runs" / "latest" / "summary.json").read_text())
        return content

    def query(self, sql: str) -> list[dict[str, Any]]:
        out = io.StringIO()
        assert ask(self.home, sql, as_json=True, out=out) == 0
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def content(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of all tables; the time of loading aside."""
        return {table: sorted(map(_without_load, self.query(f"select * from {table}")), key=str) for table in TABLES}


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def _without_load(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("goldline")
    yield Place(home, stack.up(home))
    assert stack.down(home)


@pytest.fixture(scope="module")
def first(place: Place) -> subprocess.CompletedProcess[str]:
    """The one real run of the compiled spec that the other tests look at."""
    return place.goldline("run", "--run-date", DAY.isoformat(), *SIZE)


@pytest.fixture(scope="module")
def published(place: Place, first: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """What the tables hold after the first run: no later one may change it."""
    content = place.content()
    assert all(content.values())
    return content


def test_a_run_succeeds_and_says_what_it_did(place: Place, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"succeeded: {DAY}" in first.stdout
    assert "✓ stg_sales " in first.stdout  # each task as it ends, also where no terminal is
    summary = place.summary()
    assert (summary["status"], summary["run_date"], summary["error"]) == ("succeeded", DAY.isoformat(), None)
    assert {(t["name"], t["flow"]) for t in summary["tasks"] if t["status"] == "succeeded"} == {
        ("prepare_run", ""),
        ("generate_sales", "sales"),
        ("export_firestore", "sales"),
        ("stg_sales", "sales"),
        ("dim_customer", "sales"),
        ("fct_sales", "sales"),
        ("agg_customer_features", "sales"),
        ("train_churn", "sales"),
        ("evaluate_churn", "sales"),
        ("register_churn", "sales"),
        ("fct_churn_predictions", "sales"),
        ("finish_run", ""),
    }
    runs = place.query("select flow, status, error from ops.runs order by flow")
    assert runs == [{"flow": f, "status": "succeeded", "error": None} for f in (None, "sales")]


def test_every_row_is_accounted_for(place: Place, first: subprocess.CompletedProcess[str]) -> None:
    tables = {t["name"]: t for t in place.summary()["tables"]}
    for t in tables.values():
        assert t["selected"] == t["published"] + t["rejected"] + t["superseded"]
        assert t["rows"] == place.query(f"select count(*) as n from {t['name']}")[0]["n"]
    [planted] = [t["counts"] for t in place.summary()["tasks"] if t["name"] == "generate_sales"]
    sales = tables["silver.stg_sales"]
    assert sales["selected"] == planted["documents"]
    assert sales["rejected"] == planted["unreadable"] > 0
    assert tables["gold.fct_sales"]["rows"] == sales["rows"] > 0
    recorded = place.query("select table_name, selected from ops.tables")
    assert {r["table_name"]: r["selected"] for r in recorded} == {n: t["selected"] for n, t in tables.items()}


def test_checks_have_names_to_group_by(place: Place, first: subprocess.CompletedProcess[str]) -> None:
    checks = place.query("select * from ops.checks")
    declared = {(c.table, check.name) for c in catalog().tables.values() for check in c.checks}
    own = [c for c in checks if (c["subject"], c["check_name"]) not in declared]
    assert len(own) < len(checks)
    assert all(STABLE.fullmatch(c["check_name"]) for c in own)
    assert len({(c["run_id"], c["subject"], c["check_name"], c["detail"]) for c in checks}) == len(checks)
    measured = {c["check_name"]: c for c in own if c["threshold"] is not None}
    assert measured.keys() >= {"history_long_enough", "roc_auc_above_floor", "roc_auc_above_baseline"}
    [model] = place.summary()["models"]
    assert measured["roc_auc_above_floor"]["observed"] == model["metrics"]["roc_auc"]
    assert (measured["history_long_enough"]["observed"], measured["history_long_enough"]["failing"]) == (DAYS - 1, 0)


def test_the_warehouse_holds_what_the_shop_sold(place: Place, first: subprocess.CompletedProcess[str]) -> None:
    """Every sale that is not spoilt, in the state that it has when the day ends, its money to the cent."""
    world, expected = World(SEED, CUSTOMERS), {}
    for ago in range(DAYS):
        for sale in world.sales(DAY - timedelta(days=ago)):
            if sale.defect != "unreadable" and (documents := [d for _, d in sale.documents(DAY)]):
                latest = max(documents, key=lambda d: d["updated_at"])
                expected[sale.sale_id] = (latest["status"], round(float(latest["total_amount"]), 2), sale.made)
    sold = place.query("select sale_id, status, total_amount, sale_timestamp from gold.fct_sales")
    assert {s["sale_id"]: (s["status"], float(s["total_amount"]), s["sale_timestamp"]) for s in sold} == {
        name: (status, amount, made.isoformat()) for name, (status, amount, made) in expected.items()
    }


def test_nothing_personal_leaves_the_source(place: Place, first: subprocess.CompletedProcess[str]) -> None:
    """The same scan finds what the documents tell when the rules are taken away: see test_personal_data.py."""
    texts = list(_texts(place))
    assert len(texts) > 20
    assert found(World(SEED, CUSTOMERS), texts) == {}


def _texts(place: Place) -> Iterator[tuple[str, str]]:
    """All that a run leaves behind: tables, lake, artifacts, logs, spec; not the source database."""
    for table in [*TABLES, "bronze.ext_sales", "ops.runs", "ops.tables", "ops.checks", "ops.commits"]:
        yield table, json.dumps(place.query(f"select * from {table}"), ensure_ascii=False)
    yield from lake_texts(stack.BUCKET)
    for folder in (place.home / "runs", place.home / "logs"):
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_text(errors="replace")


def test_the_same_date_again_gives_the_same_rows_and_tells_a_program_so(
    place: Place, published: dict[str, list[dict[str, Any]]]
) -> None:
    again = place.goldline("run", "--json", "--run-date", DAY.isoformat(), "--export-mode=full", *SIZE)
    assert again.returncode == 0, again.stderr
    assert place.content() == published
    *events, last = map(json.loads, again.stdout.splitlines())
    assert last == {"event": "summary", **place.summary()}
    names = [t["name"] for t in last["tasks"]]
    assert [e["task"] for e in events if e["event"] == "ended"] == names
    assert sorted(e["task"] for e in events if e["event"] == "started") == sorted(names)
    [exported] = [t["counts"]["documents"] for t in last["tasks"] if t["name"] == "export_firestore"]
    told = [e for e in events if e["event"] == "progress" and e["task"] == "export_firestore"][-1]
    assert (told["count"], told["total"], told["unit"]) == (exported, exported, "documents")


@pytest.mark.slow
def test_a_model_is_trained_from_what_earlier_runs_built(
    place: Place, published: dict[str, list[dict[str, Any]]]
) -> None:
    run = ["run", "--run-date", DAY.isoformat(), *SIZE, "--select", "train_churn"]
    trained = place.goldline(*run, "evaluate_churn", "--train=yes")
    assert trained.returncode == 0, trained.stdout
    assert [model["name"] for model in place.summary()["models"]] == ["churn"]
    assert {task["name"] for task in place.summary()["tasks"]} >= {"train_churn", "evaluate_churn", "finish_run"}
    assert "not run, since a condition does not hold: train_churn\n" in place.goldline(*run, "--train=no").stdout
    assert place.content() == published


def test_a_failing_task_is_shown_and_the_run_recorded(place: Place, published: dict[str, list[dict[str, Any]]]) -> None:
    client = firestore.Client(project=PROJECT)
    client.document("orders/real").set({"customer": "somebody"})
    failed = place.goldline("run", "--run-date", DAY.isoformat(), "--collection", "orders", *SIZE)
    assert failed.returncode == 1
    assert "generate_sales failed. Its last words" in failed.stdout
    assert "NotSimulatedError: the collection orders holds documents that no simulation made" in failed.stdout
    assert 'collection = "orders"' in failed.stdout
    summary = place.summary()
    assert summary["status"] == "failed"
    assert [t["name"] for t in summary["tasks"]] == ["prepare_run", "generate_sales", "finish_run"]
    assert "generate_sales: NotSimulatedError" in summary["error"]
    [row] = place.query(f"select status, error from ops.runs where flow is null and run_id = '{summary['run_id']}'")
    assert (row["status"], "NotSimulatedError" in row["error"]) == ("failed", True)
    assert place.content() == published

    # The command that it names runs the task again, with the inputs that it had.
    client.document("orders/real").delete()
    [command] = [line for line in failed.stdout.splitlines() if "Run it again: goldline " in line]
    again = place.goldline(*command.split("goldline ")[1].split())
    assert again.returncode == 0, again.stdout
    assert "generate_sales succeeded" in again.stdout
    assert len(list(client.collection("orders").stream())) > 0


@pytest.fixture(autouse=True)
def _environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in place.addresses.environment.items():
        monkeypatch.setenv(name, value)


def test_a_server_that_dies_in_mid_run_is_named_and_the_run_recorded(
    place: Place, published: dict[str, list[dict[str, Any]]]
) -> None:
    with place.running() as process:
        place.wait_for_task(process, "stg_sales")
        os.kill(place.pids()["bigquery"], signal.SIGKILL)
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "the local stack's server died in mid-run: bigquery (its log: " in out
    summary = place.summary()
    assert (summary["status"], "died in mid-run: bigquery" in summary["error"]) == ("failed", True)
    assert summary["tasks"][-1]["name"] == "finish_run"
    runs = place.query(f"select status from ops.runs where flow is null and run_id = '{summary['run_id']}'")
    assert runs == [{"status": "failed"}]
    assert place.content() == published


def _writes_into(folder: Path, process: Path) -> bool:
    """Whether a process of /proc, a fork perhaps, whose command line is its server's, logs into a run's folder."""
    try:
        return str(folder) in f"{(process / 'fd' / '2').readlink()} {command_line(int(process.name))}"
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_task_outlives_a_run_that_is_ended(
    place: Place, first: subprocess.CompletedProcess[str], ending: signal.Signals
) -> None:
    with place.running() as process:
        folder = place.wait_for_task(process, "export_firestore" if ending == signal.SIGKILL else "prepare_run")
        wait_until(lambda: any(_writes_into(folder, p) for p in Path("/proc").glob("[0-9]*")))
        process.send_signal(ending)
        process.communicate(timeout=SECONDS)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[ending]
    wait_until(lambda: not any(_writes_into(folder, p) for p in Path("/proc").glob("[0-9]*")))
    assert stack.running(place.home)  # the stack was not this run's own
