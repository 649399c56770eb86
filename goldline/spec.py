"""The compiled spec: how it is written, where it lies, whether it is older than what it is made from."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PIPELINE_JSON = ROOT / "pipeline.json"
SOURCES = ("pipeline.py", "components/*/component.py", "goldline/task.py", "goldline/tables.py", "sql/*/*")


def compiled() -> tuple[str, dict[str, Any]]:
    """pipeline.py as the text and the content of a compiled spec; the same bytes wherever it is compiled."""
    from google.protobuf import json_format

    from pipeline import goldline

    spec = json_format.MessageToDict(goldline.pipeline_spec)
    return json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n", spec


def load(path: Path = PIPELINE_JSON) -> dict[str, Any]:
    """A compiled spec."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def newer_sources(path: Path = PIPELINE_JSON) -> list[str]:
    """The sources that changed after the spec was compiled."""
    compiled_at = path.stat().st_mtime if path.exists() else 0.0
    changed = [s for pattern in SOURCES for s in ROOT.glob(pattern) if s.stat().st_mtime > compiled_at]
    return sorted(str(s.relative_to(ROOT)) for s in changed)
