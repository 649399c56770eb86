"""What a month costs: prices and load go in, dollars come out; the machines are counted in the compiled pipeline."""

from pathlib import Path

import pytest

from goldline import cli
from goldline.spec.check.budget import nights
from goldline.spec.compiled import load
from goldline.vertex.cost import NIGHTS, WEEKS, Load, Machines, Prices, bare_workflow, machines, month

FREE = dict.fromkeys(Prices.model_fields, 0.0)
COUNT = Machines(runs=30, tasks=600)


def test_each_price_moves_its_own_line() -> None:
    load = Load(documents=1_000_000, changed_documents=10_000, scanned_gib=1024, stored_gib=100)
    expected = {
        "pipeline_run": 30,
        "machine_hour": 600 * 2.25 / 60,
        "query_tib": 30,
        "stored_gib_month": 100,
        "document_reads_100k": (30 * 10_000 + WEEKS * 1_000_000) / 100_000,
        "image_gib_month": 0.9,
        "secret_version_month": 2,
    }
    for price, dollars in expected.items():
        prices = Prices(**(FREE | {price: 1.0}))
        assert sum(month(prices, load, COUNT).values()) == pytest.approx(dollars), price


def test_what_is_free_is_not_paid() -> None:
    prices = Prices(**(FREE | {"query_tib": 1.0, "query_free_tib": 1.0}))
    assert sum(month(prices, Load(scanned_gib=30), COUNT).values()) == 0


def test_machines_are_those_of_the_compiled_pipeline_and_within_its_budget() -> None:
    counted = machines(load())
    most = {s.name: s.max_tasks for s in nights()}
    assert counted.runs == pytest.approx(NIGHTS + NIGHTS / 7)  # each night one, each week one for startups
    assert NIGHTS * 5 < counted.tasks <= NIGHTS * most["plain night"] + WEEKS * 2 * most["training night"]


def test_jobs_without_start_up_cost_their_seconds() -> None:
    prices = Prices(**(FREE | {"run_vcpu_second": 0.001, "scheduler_job_month": 0.1}))
    assert bare_workflow(prices, Load(work_minutes=1.0), COUNT) == pytest.approx(600 * 60 * 0.001 + 0.1)


def test_own_prices_take_the_place_of_list_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prices.yml"
    file.write_text("pipeline_run: 10\ncomposer_month: 777")
    assert cli.main(["cost", "--prices", str(file), "--stored-gib", "0"]) == 0
    shown = capsys.readouterr().out
    assert "34 pipeline runs" in shown
    assert "342.86" in shown
    assert "777.00" in shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [("pipeline_runs: 1", "pipeline_runs"), ("pipeline_run: cheap", "pipeline_run"), ("- 1", "prices by key")],
)
def test_what_is_no_price_is_refused(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prices.yml"
    file.write_text(text)
    assert cli.main(["cost", "--prices", str(file)]) == 2
    assert problem in capsys.readouterr().err


def test_a_negative_load_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", "--documents", "-1"]) == 2
    assert "--documents" in capsys.readouterr().err
