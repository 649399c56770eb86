"""The drawing of a pipeline: all that is in the spec, once, and nothing upon anything else."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from google.protobuf import json_format
from kfp import dsl

from goldline.project import root
from goldline.spec.compiled import load
from goldline.spec.picture import PICTURE, picture, write
from goldline.spec.task import task

type Spec = dict[str, Any]

SVG = "{http://www.w3.org/2000/svg}"


# A spec of the size that the design has in mind: four flows, two with models.


def pipeline(function: Callable[..., None]) -> Any:
    return dsl.pipeline(function)


@task()
def prepare_run(job: str) -> str:
    return job


@task()
def finish_run(job: str, status: dsl.PipelineTaskFinalStatus) -> None:
    pass


@task()
def decide(drift: dsl.Input[dsl.Artifact]) -> bool:
    return True


@task()
def generate(run: str) -> None:
    pass


@task()
def build(
    run: str,
    made: dsl.Output[dsl.Artifact],
    contract: str = "",
    source_1: dsl.Input[dsl.Artifact] | None = None,
    source_2: dsl.Input[dsl.Artifact] | None = None,
    source_3: dsl.Input[dsl.Artifact] | None = None,
    source_4: dsl.Input[dsl.Artifact] | None = None,
) -> None:
    pass


def made(name: str, run: Any, *sources: Any, dataset: str = "") -> Any:
    """A task that makes a table, or something else if it has no dataset."""
    kind = "source" if dataset == "bronze" else "table"
    table = f"{dataset}.{name.replace('-', '_')}"
    contract = json.dumps({kind: table, "description": 'Less < "more" & such.'}) if dataset else ""
    inputs = {f"source_{i}": source for i, source in enumerate(sources, 1)}
    return build.named(name)(run=run, contract=contract, **inputs).outputs["made"]


@pipeline
def simulate(enabled: bool, run: str) -> None:
    with dsl.If(enabled == True, "simulated"):  # noqa: E712
        for flow in ("sales", "clickstream", "startups", "transit"):
            generate.named(f"generate-{flow}")(run=run)


@pipeline
def sales(enabled: bool, run: str) -> None:
    with dsl.If(enabled == True, "run-sales"):  # noqa: E712
        raw = made("export-firestore", run, dataset="bronze")
        sold = made("stg-sales", run, raw, dataset="silver")
        made("fct-sales", run, sold, made("dim-customer", run, sold, dataset="gold"), dataset="gold")
        features = made("agg-customer-features", run, sold, dataset="gold")
        with dsl.If(decide(drift=features).output == True, "train"):  # noqa: E712
            model = made("train-churn", run, features)
            verdict = made("evaluate-churn", run, model, features)
            made("fct-churn-predictions", run, verdict, model, features, dataset="gold")


@pipeline
def clickstream(enabled: bool, run: str) -> None:
    with dsl.If(enabled == True, "run-clickstream"):  # noqa: E712
        raw = made("land-files", run, dataset="bronze")
        made("fct-sessions", run, made("stg-clickstream", run, raw, dataset="silver"), dataset="gold")


@pipeline
def startups(enabled: bool, run: str) -> None:
    with dsl.If(enabled == True, "run-startups"):  # noqa: E712
        raw = made("land-files", run, dataset="bronze")
        made("dim-startup", run, made("stg-startups", run, raw, dataset="silver"), dataset="gold")


@pipeline
def transit(enabled: bool, run: str) -> None:
    with dsl.If(enabled == True, "run-transit"):  # noqa: E712
        sources = made("download-gtfs", run), made("download-history", run)
        months = made("load-month", run, *sources, dataset="bronze")
        headways = made("fct-headways", run, made("stg-arrivals", run, months, dataset="silver"), dataset="gold")
        model = made("train-headway", run, headways)
        verdict = made("evaluate-headway", run, model, headways)
        made("fct-headway-predictions", run, verdict, model, headways, dataset="gold")


@pipeline
def four_flows(enabled: bool = True, simulated: bool = False) -> None:
    with dsl.ExitHandler(finish_run(job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER), name="run"):
        run = prepare_run(job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER).output
        world = simulate(enabled=simulated, run=run)
        for flow in (sales, clickstream, startups, transit):
            flow(enabled=enabled, run=run).after(world)


@pytest.fixture(scope="session", params=["committed", "four flows"])
def spec(request: pytest.FixtureRequest) -> Spec:
    large: Spec = json_format.MessageToDict(four_flows.pipeline_spec)
    return load() if request.param == "committed" else large


@pytest.fixture(scope="session")
def large() -> "Drawing":
    return Drawing(picture(json_format.MessageToDict(four_flows.pipeline_spec)))


# The picture, read again.


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box", slack: float = 0.5) -> bool:
        apart = self.right <= other.left + slack or other.right <= self.left + slack
        return not (apart or self.bottom <= other.top + slack or other.bottom <= self.top + slack)

    def holds(self, other: "Box") -> bool:
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


class Drawing:
    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)  # noqa: S314, our own
        groups = self.root.findall(f"{SVG}g")
        self.tasks = [(g.attrib["data-task"], g) for g in groups if "data-task" in g.attrib]
        self.bands = [(g.attrib["data-band"], g) for g in groups if "data-band" in g.attrib]
        self.ways = [path for path in self.root.findall(f"{SVG}path") if "data-from" in path.attrib]
        self.edges = {(way.attrib["data-from"], way.attrib["data-to"]) for way in self.ways}

    def classes(self, name: str) -> set[str]:
        """What the box of a task or band looks like."""
        (found,) = [group for path, group in self.tasks + self.bands if path.endswith(f"/{name}")]
        return set(rect(found).attrib["class"].split()) - {"task", "band"}

    def inside(self, band: str) -> set[tuple[str, str]]:
        """The edges of a band, by the tasks' bare names."""
        names = [(a.split("/"), b.split("/")) for a, b in self.edges]
        return {(a[-1], b[-1]) for a, b in names if band in a[:-1] and band in b[:-1]}


def rect(group: ElementTree.Element) -> ElementTree.Element:
    found = group.find(f"{SVG}rect")
    assert found is not None
    return found


def box(group: ElementTree.Element) -> Box:
    x, y, width, height = (float(rect(group).attrib[name]) for name in ("x", "y", "width", "height"))
    return Box(x, y, x + width, y + height)


def segments(way: ElementTree.Element) -> Iterator[Box]:
    """The level and upright parts of an edge, as boxes without an inside."""
    numbers = [float(n) for n in re.findall(r"[\d.]+", way.attrib["d"])]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    for (x1, y1), (x2, y2) in pairwise(points):
        yield Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def dags(spec: Spec, component: Spec, path: str = "") -> Iterator[tuple[str, Spec]]:
    """Each task of the spec by its path, in whatever dag, with its dag's path before the last slash."""
    for name, inner in component["dag"]["tasks"].items():
        here = f"{path}/{name}".strip("/")
        yield here, inner
        called = spec["components"][inner["componentRef"]["name"]]
        if "dag" in called:
            yield from dags(spec, called, here)


def producers(inner: Spec) -> set[str]:
    given = inner.get("inputs", {})
    sources = [*given.get("parameters", {}).values(), *given.get("artifacts", {}).values()]
    made = [s.get("taskOutputParameter") or s.get("taskOutputArtifact") for s in sources]
    return {m["producerTask"] for m in made if m} | set(inner.get("dependentTasks", []))


# What holds for any spec.


def test_each_container_task_appears_exactly_once(spec: Spec) -> None:
    is_container = {name: "executorLabel" in component for name, component in spec["components"].items()}
    expected = [path for path, inner in dags(spec, spec["root"]) if is_container[inner["componentRef"]["name"]]]
    assert sorted(path for path, _ in Drawing(picture(spec)).tasks) == sorted(expected)


def test_each_dependency_is_an_edge(spec: Spec) -> None:
    edges = Drawing(picture(spec)).edges
    for path, inner in dags(spec, spec["root"]):
        for producer in producers(inner):
            before = f"{path.rpartition('/')[0]}/{producer}".strip("/")
            assert any(within(a, before) and within(b, path) for a, b in edges), (before, path)


def test_boxes_do_not_overlap_and_lie_in_their_bands(spec: Spec) -> None:
    drawing = Drawing(picture(spec))
    for (a, group), (b, other) in combinations(drawing.tasks + drawing.bands, 2):
        if within(a, b):
            assert box(other).holds(box(group)), (a, b)
        elif within(b, a):  # a sub-pipeline's band in that of the one around it
            assert box(group).holds(box(other)), (a, b)
        else:
            assert not box(group).meets(box(other)), (a, b)


def test_edges_cross_no_box_and_no_foreign_band(spec: Spec) -> None:
    drawing = Drawing(picture(spec))
    for way in drawing.ways:
        ends = way.attrib["data-from"], way.attrib["data-to"]
        foreign = [g for path, g in drawing.bands if ends[0] == path or not all(within(e, path) for e in ends)]
        boxes = [box(group) for _, group in drawing.tasks] + [box(group) for group in foreign]
        assert not [b for b in boxes for s in segments(way) if b.meets(s)], ends


def test_all_is_on_the_page_and_the_page_is_not_too_wide(spec: Spec) -> None:
    drawing = Drawing(picture(spec))
    width, height = (float(n) for n in drawing.root.attrib["viewBox"].split()[2:])
    page = Box(0, 0, width, height)
    assert all(page.holds(box(group)) for _, group in drawing.tasks + drawing.bands)
    assert all(page.holds(s) for way in drawing.ways for s in segments(way))
    assert float(drawing.root.attrib["width"]) <= 1100


def test_names_are_whole(spec: Spec) -> None:
    for path, group in Drawing(picture(spec)).tasks:
        lines = [text.text or "" for text in group.findall(f"{SVG}text")]
        assert "".join(lines) == path.rpartition("/")[2].replace("-", "_")


def test_the_picture_has_a_name_for_those_who_do_not_see_it(spec: Spec) -> None:
    root = Drawing(picture(spec)).root
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == root.findtext(f"{SVG}title")
    assert spec["pipelineInfo"]["name"] in root.attrib["aria-label"]


def test_the_order_of_keys_does_not_matter(spec: Spec) -> None:
    def reversed_(value: Any) -> Any:
        return {k: reversed_(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    assert picture(reversed_(spec)) == picture(spec)


# The committed picture.


def test_the_committed_picture_is_that_of_the_committed_spec() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(load()), "run python -m goldline.spec.picture"


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_order_of_sets_does_not_matter(seed: str) -> None:
    program = "from goldline import graph, spec; print(graph.picture(spec.load()), end='')"
    command = [sys.executable, "-c", program]
    ran = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": seed}, cwd=root(), capture_output=True, check=True
    )
    assert ran.stdout.decode() == picture(load())


def test_write_tells_whether_the_file_changed(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "pipeline.svg"
    assert write(load(), path)
    assert path.read_text(encoding="utf-8") == picture(load())
    assert not write(load(), path)


# Four flows.


def test_bands_are_the_sub_pipelines(large: Drawing) -> None:
    names = {path.rpartition("/")[2]: group.findtext(f"{SVG}text") for path, group in large.bands}
    assert names == {name: name for name in ("simulate", "sales", "clickstream", "startups", "transit")}


def test_a_run_goes_from_prepare_run_by_the_flows_to_finish_run(large: Drawing) -> None:
    run, flows = "exit-handler-1", ("clickstream", "sales", "startups", "transit")
    expected = {(f"{run}/prepare-run", f"{run}/{flow}") for flow in (*flows, "simulate")}
    expected |= {(f"{run}/simulate", f"{run}/{flow}") for flow in flows}
    expected |= {(f"{run}/{flow}", "finish-run") for flow in flows}
    assert {edge for edge in large.edges if edge[0].count("/") < 2} == expected


def test_edges_go_through_conditions_to_the_tasks_that_read(large: Drawing) -> None:
    assert large.inside("sales") == {
        ("export-firestore", "stg-sales"),
        ("stg-sales", "dim-customer"),
        ("stg-sales", "fct-sales"),
        ("dim-customer", "fct-sales"),
        ("stg-sales", "agg-customer-features"),
        ("agg-customer-features", "decide"),
        ("decide", "train-churn"),
        ("agg-customer-features", "train-churn"),
        ("train-churn", "evaluate-churn"),
        ("agg-customer-features", "evaluate-churn"),
        ("evaluate-churn", "fct-churn-predictions"),
        ("train-churn", "fct-churn-predictions"),
        ("agg-customer-features", "fct-churn-predictions"),
    }


def test_edges_go_from_left_to_right(spec: Spec) -> None:
    drawing = Drawing(picture(spec))
    boxes = {path: box(group) for path, group in drawing.tasks + drawing.bands}
    assert all(boxes[a].right < boxes[b].left for a, b in drawing.edges)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("export-firestore", {"bronze"}),
        ("stg-sales", {"silver"}),
        ("fct-headways", {"gold"}),
        ("fct-churn-predictions", {"gold"}),
        ("train-churn", set()),
        ("prepare-run", set()),
        ("sales", set()),
        ("generate-sales", {"off"}),
        ("simulate", {"off"}),
    ],
)
def test_looks_tell_the_dataset_and_what_is_off_by_default(large: Drawing, name: str, classes: set[str]) -> None:
    assert large.classes(name) == classes


def test_a_table_says_what_it_is(large: Drawing) -> None:
    (staged,) = [group for path, group in large.tasks if path.endswith("/stg-sales")]
    assert staged.findtext(f"{SVG}title") == 'silver.stg_sales: Less < "more" & such.'


# Conditions.

TRAIN, SIZE = "inputs.parameter_values['train']", "int(inputs.parameter_values['size'])"


@pytest.mark.parametrize(
    ("condition", "off"),
    [
        (f"{TRAIN} == true", True),
        (f"{TRAIN} == false", False),
        (f"!({TRAIN} == true)", False),
        (f"!({TRAIN} == false)", True),
        (f"!({SIZE} > 3) && {TRAIN} == true", True),
        (f"{SIZE} == 3", False),
        ("inputs.parameter_values['unknown'] == true", False),
    ],
)
def test_a_task_is_off_if_the_default_of_a_switch_says_so(condition: str, off: bool) -> None:
    def reference(name: str) -> Spec:
        inputs = {"parameters": {key: {"componentInputParameter": key} for key in ("train", "size")}}
        return {"componentRef": {"name": name}, "inputs": inputs}

    branch = reference("comp-condition-1") | {"triggerPolicy": {"condition": condition}}
    declared = {"train": {"defaultValue": False}, "size": {"defaultValue": 4.0}}
    spec = {
        "pipelineInfo": {"name": "small"},
        "root": {"dag": {"tasks": {"condition-1": branch}}, "inputDefinitions": {"parameters": declared}},
        "components": {
            "comp-condition-1": {"dag": {"tasks": {"task": reference("comp-task")}}},
            "comp-task": {"executorLabel": "exec-task"},
        },
    }
    assert Drawing(picture(spec)).classes("task") == ({"off"} if off else set())
