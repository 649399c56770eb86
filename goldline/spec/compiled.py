"""The compiled spec: how it is written, where it lies, whether it is older than what it is made from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[2]
PIPELINE_JSON = ROOT / "pipeline.json"
SOURCES = ("pipeline.py", "components/*.py", "components/*/*/component.py", "goldline/spec/t*.py", "sql/*/*")


def compiled() -> tuple[str, dict[str, Any]]:
    """pipeline.py as the text and the content of a compiled spec; the same bytes wherever it is compiled."""
    from google.protobuf import json_format

    from pipeline import goldline

    spec = _with_stable_names(json_format.MessageToDict(goldline.pipeline_spec))
    return json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n", spec


def _with_stable_names(spec: dict[str, Any]) -> dict[str, Any]:
    """Components and executors renamed after the first task that uses them, tasks being visited in order.

    KFP numbers what would collide in the order of a protobuf map, which differs from process to process
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
    """The name, numbered where it is taken."""
    known, number = set(taken), 1
    while (free := name if number == 1 else f"{name}-{number}") in known:
        number += 1
    return free


def load(path: Path = PIPELINE_JSON) -> dict[str, Any]:
    """A compiled spec."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def newer_sources(path: Path = PIPELINE_JSON) -> list[str]:
    """The sources that changed after the spec was compiled."""
    compiled_at = path.stat().st_mtime if path.exists() else 0.0
    changed = [s for pattern in SOURCES for s in ROOT.glob(pattern) if s.stat().st_mtime > compiled_at]
    return sorted(str(s.relative_to(ROOT)) for s in changed)


def fresh(out: TextIO) -> str:
    """The text of the committed spec, or of one compiled afresh where a source has changed since."""
    committed = PIPELINE_JSON.read_text(encoding="utf-8") if PIPELINE_JSON.exists() else ""
    newer = newer_sources()
    if committed and not newer:
        return committed
    text, _ = compiled()
    if text == committed:
        PIPELINE_JSON.touch()  # the clock was right, the content had not changed: no need to look again
    else:
        out.write(f"compiled afresh: pipeline.json is older than {newer[0]} (`make compile` writes it anew)\n")
    return text
