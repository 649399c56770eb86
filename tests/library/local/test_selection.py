"""`--select` in dbt's words, on the compiled spec of a small shop with two flows."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl

from goldline.local.selection import Earlier, Tasks, earlier_results, results_of

PLACE = {"project": "local", "bucket": "lake"}


def shop(  # noqa: C901, as a pipeline reads
    select_of_facts: str = "select 1",
) -> dict[str, Any]:
    """Spec of a pipeline: prepare, then the flows orders (generate, stage, dimension and facts, marts) and visits."""

    @dsl.component(base_image="python:3.13")
    def prepare() -> str:
        return "run"

    @dsl.component(base_image="python:3.13")
    def generate_orders(run: str) -> None:
        pass

    @dsl.component(base_image="python:3.13")
    def stg_orders(run: str) -> str:
        return run

    @dsl.component(base_image="python:3.13")
    def dim_buyer(orders: str) -> str:
        return orders

    @dsl.component(base_image="python:3.13")
    def fct_orders(orders: str, select: str) -> str:
        return orders + select

    @dsl.component(base_image="python:3.13")
    def mart_orders(facts: str, buyers: str) -> str:
        return facts + buyers

    @dsl.component(base_image="python:3.13")
    def stg_visits(run: str) -> str:
        return run

    @dsl.component(base_image="python:3.13")
    def finish() -> None:
        pass

    @dsl.pipeline
    def simulate(run: str) -> None:
        generate_orders(run=run)

    @dsl.pipeline
    def orders(run: str) -> None:
        staged = stg_orders(run=run)
        buyers = dim_buyer(orders=staged.output)
        facts = fct_orders(orders=staged.output, select=select_of_facts)
        mart_orders(facts=facts.output, buyers=buyers.output)

    @dsl.pipeline(name="shop")
    def pipeline(run_orders: bool = True, run_visits: bool = True) -> None:
        done = finish()
        with dsl.ExitHandler(done, name="run"):
            prepared = prepare()
            with dsl.If(run_orders == True, "run-orders"):  # noqa: E712
                simulated = simulate(run=prepared.output)
                orders(run=prepared.output).after(simulated)
            with dsl.If(run_visits == True, "run-visits"):  # noqa: E712
                stg_visits(run=prepared.output)

    spec: dict[str, Any] = json_format.MessageToDict(pipeline.pipeline_spec)
    return spec


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fct_orders", "fct_orders"),
        ("stg_orders+", "stg_orders dim_buyer fct_orders mart_orders"),
        ("+dim_buyer", "dim_buyer stg_orders generate_orders"),
        ("stg_orders+1", "stg_orders dim_buyer fct_orders"),
        ("1+mart_orders", "mart_orders dim_buyer fct_orders"),
        ("gold.fct_orders+1", "fct_orders mart_orders"),
        ("stg-visits", "stg_visits"),
        ("@visits", "stg_visits"),
        ("@orders", "generate_orders stg_orders dim_buyer fct_orders mart_orders"),
        ("@orders,stg_orders+", "stg_orders dim_buyer fct_orders mart_orders"),
        ("stg_visits dim_buyer", "stg_visits dim_buyer"),
        ("+dim_buyer,+fct_orders", "stg_orders generate_orders"),
    ],
)
def test_words_select_tasks(words: str, expected: str) -> None:
    selected = Tasks.of(shop('{"table":"gold.fct_orders"}')).selected([words], {})
    assert {name.replace("-", "_") for name in selected} == set(expected.split())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fct_order", "no task fct_order, did you mean fct_orders?"),
        ("silver.fct_orders", "no task silver.fct_orders, did you mean fct_orders?"),
        ("x", "no task x, expected one of dim_buyer, fct_orders, generate_orders,"),
        ("@order", "no flow order, expected one of orders, visits"),
        ("stg_orders++", "expected a task such as"),
        ("finish", "no task finish"),  # it always runs
    ],
)
def test_a_word_that_selects_nothing_is_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        Tasks.of(shop()).selected([word], {})


def test_what_belongs_to_flows_that_do_not_run_is_refused_but_for_what_is_modified() -> None:
    tasks = Tasks.of(shop())
    assert tasks.selected(["stg_visits", "modified"], {}, {"visits"}) == {"stg-visits"}
    with pytest.raises(ValueError, match="fct_orders is of a flow that does not run, expected one of visits"):
        tasks.selected(["stg_visits", "fct_orders"], {}, {"visits"})


def test_what_belongs_to_no_flow_always_runs() -> None:
    assert Tasks.of(shop()).always == {"prepare", "finish"}


def keep(run: Path, spec: dict[str, Any], *succeeded: str, **arguments: str) -> None:
    """Leave a run as kfp leaves it."""
    for name in succeeded:
        (run / "artifacts" / "job-1" / name).mkdir(parents=True)
        (run / "artifacts" / "job-1" / name / "executor_output.json").write_text("{}")
    (run / "pipeline.json").write_text(json.dumps(spec))
    (run / "arguments.json").write_text(json.dumps(PLACE | arguments))


def test_modified_is_what_the_spec_has_otherwise_than_when_it_last_ran(tmp_path: Path) -> None:
    keep(tmp_path / "1", shop(), *Tasks.of(shop()).flow)
    earlier = earlier_results(tmp_path, PLACE)
    assert Tasks.of(shop()).selected(["modified+"], earlier) == set()
    assert Tasks.of(shop("select 2")).selected(["modified"], earlier) == {"fct-orders"}
    assert Tasks.of(shop("select 2")).selected(["modified+"], earlier) == {"fct-orders", "mart-orders"}


def test_what_never_ran_is_modified(tmp_path: Path) -> None:
    keep(tmp_path / "1", shop(), "stg-orders", "dim-buyer", "fct-orders", "stg-visits")
    earlier = earlier_results(tmp_path, PLACE)
    assert Tasks.of(shop()).selected(["modified"], earlier) == {"generate-orders", "mart-orders"}


def test_the_last_result_of_each_task_stands_for_it(tmp_path: Path) -> None:
    """Of the runs of the same tables, also of one that failed; not of another prefix."""
    keep(tmp_path / "1", shop(), "prepare", "stg-orders", "fct-orders")
    keep(tmp_path / "2", shop("select 2"), "prepare", "fct-orders")
    keep(tmp_path / "3", shop("select 3"), "fct-orders", dataset_prefix="dev_")
    (tmp_path / "latest").symlink_to("3")
    found = earlier_results(tmp_path, PLACE)
    assert {name: earlier.folder.parents[2].name for name, earlier in found.items()} == {
        "prepare": "2",
        "stg-orders": "1",
        "fct-orders": "2",
    }
    plan = Tasks.of(shop()).plan({"fct-orders", "prepare", "finish"}, found)
    assert plan.results == {"stg-orders": str(tmp_path / "1" / "artifacts" / "job-1" / "stg-orders")}
    assert plan.executes("comp-fct-orders")
    assert plan.executes("comp-orders")
    assert not plan.executes("comp-stg-orders")


def test_results_of_one_run(tmp_path: Path) -> None:
    keep(tmp_path, shop(), "stg-visits")
    folder = tmp_path / "artifacts" / "job-1" / "stg-visits"
    assert results_of(tmp_path) == {"stg-visits": Earlier(folder, Tasks.of(shop()).made_of["stg-visits"])}


def test_a_run_is_taken_up_where_it_failed_with_what_was_mended(tmp_path: Path) -> None:
    """A failed task, one whose SELECT is another now, all after them, and the end of each run."""
    keep(tmp_path, shop(), "prepare", "generate-orders", "stg-orders", "dim-buyer", "stg-visits")
    done = results_of(tmp_path)
    assert Tasks.of(shop()).unfinished(done) == {"fct-orders", "mart-orders", "finish"}
    (tmp_path / "artifacts" / "job-1" / "fct-orders").mkdir()
    (tmp_path / "artifacts" / "job-1" / "fct-orders" / "executor_output.json").write_text("{}")
    assert Tasks.of(shop()).unfinished(results_of(tmp_path)) == {"mart-orders", "finish"}
    assert Tasks.of(shop("select 2")).unfinished(results_of(tmp_path)) == {"fct-orders", "mart-orders", "finish"}


def test_a_run_of_selected_tasks_is_taken_up_with_these_alone(tmp_path: Path) -> None:
    keep(tmp_path, shop(), "prepare", "fct-orders")
    wanted = ["fct-orders", "mart-orders"]
    assert Tasks.of(shop()).unfinished(results_of(tmp_path), wanted) == {"mart-orders", "finish"}
