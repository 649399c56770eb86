"""The picture of a pipeline: all that is in the spec, once, in a text that Mermaid understands."""

import importlib
import re
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google_cloud_pipeline_components.types.artifact_types import BQTable
from kfp import dsl

from goldline.project import root
from goldline.spec.compiled import load
from goldline.spec.picture import picture, with_picture
from goldline.spec.task import task

type Spec = dict[str, Any]
type Where = tuple[str, ...]  # a task's name, after those of the dags around it
type Pairs = set[tuple[Where, Where]]

yes: Any = True
PLACE = "# Us\n<!-- pipeline -->\nold\n<!-- /pipeline -->\nMore.\n"


def pipeline(function: Callable[..., Any]) -> Any:
    return dsl.pipeline(function)


@task()
def step(source: dsl.Input[dsl.Artifact] | None = None) -> bool:
    return True


@task()
def build(contract: str, table: dsl.Output[BQTable]) -> None:
    pass


@task()
def train(features: dsl.Input[dsl.Artifact], model: dsl.Output[dsl.Model]) -> None:
    pass


@pipeline
def subgraph(asked: bool) -> dsl.Artifact:
    table = build.named("a-b")(contract='{"table":"gold.a_b"}').outputs["table"]
    with dsl.If(asked == yes, 'asked "now" & <here>'):
        model = train(features=table).outputs["model"]
        with dsl.If(step.named("end")(source=model).output == yes, "good"):
            step.named("register")(source=model)
    return table


@pipeline
def small(enabled: bool = True, asked: bool = False) -> None:
    with dsl.ExitHandler(step.named("exit")(), name="run"):
        made = subgraph(asked=asked).after(step.named("first")())
        with dsl.If(enabled == yes, "enabled"):
            step.named("reader")(source=made.output)


SMALL: Spec = json_format.MessageToDict(small.pipeline_spec)
each_spec = pytest.mark.parametrize("spec", [SMALL, load()], ids=["small", "committed"])


def dags(spec: Spec, component: Spec, around: Where = ()) -> Iterator[tuple[Where, Spec, bool]]:
    """Each task where it stands, and whether a container runs it."""
    for name, inner in component["dag"]["tasks"].items():
        called = spec["components"][inner["componentRef"]["name"]]
        yield (*around, name), inner, "dag" not in called
        if "dag" in called:
            yield from dags(spec, called, (*around, name))


def tasks(spec: Spec, *inside: str) -> list[Where]:
    return sorted(w for w, _, is_run in dags(spec, spec["root"]) if is_run and w[: len(inside)] == inside)


def at(spec: Spec, name: str) -> Where:
    """Where the task or dag stands that has this name in the picture."""
    parts = name.replace("_", "-").split("--")[1:]
    return min((w for w, _, _ in dags(spec, spec["root"]) if w[-1] == parts[-1] and {*parts} <= {*w}), key=len)


def drawn(spec: Spec, arrow: str) -> Pairs:
    found = re.findall(rf"^(\w+) {arrow} (\w+)$", picture(spec), re.MULTILINE)
    assert all(a.rpartition("__")[0] == b.rpartition("__")[0] for a, b in found), "an edge crosses a border"
    return {(at(spec, a), at(spec, b)) for a, b in found}


def order(spec: Spec, pairs: Pairs) -> Pairs:
    """Which container task runs before which, soon or later, if the tasks and dags in these pairs do."""
    before: dict[Where, set[Where]] = {each: set() for each in tasks(spec)}
    for a, b in (both for first, second in pairs for both in product(tasks(spec, *first), tasks(spec, *second))):
        before[b].add(a)
    for each in TopologicalSorter(before).static_order():
        before[each] = before[each].union(*(before[a] for a in before[each]))
    return {(a, b) for b, earlier in before.items() for a in earlier}


@each_spec
def test_each_container_task_is_one_node_and_the_exit_task_is_last(spec: Spec) -> None:
    nodes = re.findall(r"^(t__\w+)[\[({]", picture(spec), re.MULTILINE)
    assert sorted(at(spec, node) for node in nodes) == tasks(spec)
    assert len(at(spec, nodes[-1])) == 1


@each_spec
def test_solid_edges_are_the_artifacts_and_dotted_ones_what_else_tells_the_order(spec: Spec) -> None:
    waits, artifacts = set(), set()
    for where, inner, _ in dags(spec, spec["root"]):
        made = [a.get("taskOutputArtifact") for a in inner.get("inputs", {}).get("artifacts", {}).values()]
        artifacts |= {((*where[:-1], each["producerTask"]), where) for each in made if each}
        waits |= {((*where[:-1], each), where) for each in inner.get("dependentTasks", [])}
    solid, dotted = drawn(spec, "-->"), drawn(spec, "-.->")
    assert order(spec, solid) == order(spec, artifacts)
    assert order(spec, solid | dotted) == order(spec, waits)
    assert all(order(spec, solid | dotted - {edge}) != order(spec, waits) for edge in dotted)


def test_words_of_mermaid_quotes_shapes_and_conditions() -> None:
    assert {
        't__first(["first"])',
        't__subgraph__a_b[("a_b")]:::gold',
        'subgraph t__subgraph__condition_1["if asked #34;now#34; #38; #60;here#62;"]',
        "class t__subgraph__condition_1 maybe",
        't__subgraph__condition_1__train{{"train"}}:::model',
        't__subgraph__condition_1__end["end"]',
        't__subgraph__condition_1__register["register<br/>if good"]',
        't__reader(["reader"])',
    } <= set(picture(SMALL).splitlines())


def test_the_picture_is_written_anew_between_its_lines() -> None:
    written = with_picture(PLACE, SMALL)
    assert written == PLACE.replace("old\n", f"```mermaid\n{picture(SMALL)}```\n")
    assert with_picture(written, SMALL) == written


def test_another_process_drew_the_same_into_the_readme_from_keys_in_another_order() -> None:
    def turned(value: Any) -> Any:
        return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    readme = (root() / "README.md").read_text(encoding="utf-8")
    assert with_picture(readme, turned(load())) == readme


@pytest.mark.parametrize("markdown", ["", PLACE * 2, PLACE.replace("/", ""), "\n".join(PLACE.split("\n")[::-1])])
def test_a_text_without_a_place_for_it_is_refused(markdown: str) -> None:
    with pytest.raises(ValueError, match=r"^expected the lines <!-- pipeline --> and <!-- /pipeline -->, once each"):
        with_picture(markdown, SMALL)


def test_compile_py_writes_it_into_the_readme_and_says_when_it_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = importlib.import_module("compile")
    spec = load()
    for name in ("goldline.yaml", "pipeline.json", "docs/parameters.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((root() / name).read_bytes())
    monkeypatch.setattr(program, "compiled", lambda: ((root() / "pipeline.json").read_text(), spec))
    monkeypatch.chdir(tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(PLACE)
    assert program.main([]) == 0
    assert readme.read_text() == with_picture(PLACE, spec)
    readme.write_text(PLACE)
    assert program.main(["--check"]) == 1
    assert "-old\n+```mermaid\n" in capsys.readouterr().err
