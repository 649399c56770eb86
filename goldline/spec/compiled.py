"""Compiled spec of the project's pipeline: compile it, load it, compare it, find sources that are newer than it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from goldline import project

# Files that a spec is made from, below the project's folder.
SOURCES = ("pipeline.py", "components/*.py", "components/*/*.py", "components/*/*/component.py", "sql/*/*")


def compiled() -> tuple[str, dict[str, Any]]:
    """Compile the project's pipeline; return the spec as text and as JSON; the same bytes on any machine."""
    from google.protobuf import json_format

    spec = _with_stable_names(json_format.MessageToDict(project.pipeline().pipeline_spec))
    for task in _tasks(spec):
        task.get("cachingOptions", {}).pop("enableCache", None)  # tasks have side effects, sub-pipelines too
    return json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n", spec


def is_same(text: str, other: str) -> bool:
    """Whether two texts are the same spec: other versions of the compressing library may pack the catalog otherwise."""
    return text == other or bool(text and other and _expanded(json.loads(text)) == _expanded(json.loads(other)))


def _expanded(spec: dict[str, Any]) -> dict[str, Any]:
    from goldline.runs.run_files import Catalog

    for constant in _catalogs(spec):
        constant["constant"] = Catalog.unpack(constant["constant"]).json()
    return spec


def _catalogs(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for task in _tasks(spec):
        constant = task.get("inputs", {}).get("parameters", {}).get("catalog", {}).get("runtimeValue", {})
        if constant.get("constant"):
            yield constant


def _tasks(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All tasks of a spec, of its sub-pipelines too."""
    for component in (spec.get("root", {}), *spec.get("components", {}).values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


def _with_stable_names(spec: dict[str, Any]) -> dict[str, Any]:
    """Rename components and executors after the first task that uses them, in the order of tasks.

    KFP numbers colliding names in the order of a protobuf map, which differs from process to process
    (kfp.compiler.pipeline_spec_builder._merge_component_spec).
    """
    components, executors = spec["components"], spec["deploymentSpec"]["executors"]
    renamed: dict[str, str] = {}  # by old name
    labels: dict[str, str] = {}
    waiting = [spec["root"]]
    while waiting:
        for task, content in sorted(waiting.pop(0)["dag"]["tasks"].items()):
            old = content["componentRef"]["name"]
            if old not in renamed:
                renamed[old] = _free(f"comp-{task}", renamed.values())
                component = components[old]
                if "dag" in component:
                    waiting.append(component)
                else:
                    label = component["executorLabel"]
                    component["executorLabel"] = labels[label] = _free(f"exec-{task}", labels.values())
            content["componentRef"]["name"] = renamed[old]
    spec["components"] = {renamed[old]: component for old, component in components.items()}
    spec["deploymentSpec"]["executors"] = {labels[old]: executor for old, executor in executors.items()}
    return spec


def _free(name: str, taken: Iterable[str]) -> str:
    """The name, with a number if it is taken."""
    known, number = set(taken), 1
    while (free := name if number == 1 else f"{name}-{number}") in known:
        number += 1
    return free


def load() -> dict[str, Any]:
    """Committed spec as JSON; empty if there is none yet."""
    path = project.pipeline_json()
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def newer_sources() -> list[str]:
    """Paths, below the project's folder, of the sources that changed after the committed spec; the newest first."""
    root, path = project.root(), project.pipeline_json()
    compiled_at = path.stat().st_mtime if path.exists() else 0.0
    library = Path(__file__).parent
    found = [*(s for pattern in SOURCES for s in root.glob(pattern)), library / "task.py", library / "tables.py"]
    changed = sorted(((s.stat().st_mtime, s) for s in found if s.stat().st_mtime > compiled_at), reverse=True)
    return [str(s.relative_to(root, walk_up=True)) for _, s in changed]


def fresh(out: TextIO) -> str:
    """Text of the committed spec, or of one compiled afresh if a source has changed since, with a notice to `out`."""
    path = project.pipeline_json()
    committed = path.read_text(encoding="utf-8") if path.exists() else ""
    newer = newer_sources()
    if committed and not newer:
        return committed
    text, _ = compiled()
    if is_same(text, committed):
        path.touch()  # a source is newer, but the spec is the same: the next call need not compile
    else:
        out.write(f"compiled afresh: pipeline.json is older than {newer[0]} (`make compile` writes it anew)\n")
    return text
