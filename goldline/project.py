"""The user's project: the nearest folder upward that holds a goldline.yaml, and the files that the library reads there.

goldline.yaml   environments and nights
pipeline.py     the graph: one function `pipeline`
pipeline.json   the graph as it was compiled
sql/            a SELECT and a contract a table
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import yaml

SETTINGS = "goldline.yaml"
SECTIONS = ("environments", "nights")


class ProjectError(ValueError):
    """There is no project here, or its goldline.yaml cannot be used: the message says what was expected."""


def root() -> Path:
    """The project's folder.

    Raises:
        ProjectError: neither the current folder nor one above it holds a goldline.yaml.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SETTINGS).is_file():
            return folder
    raise ProjectError(f"no {SETTINGS} in {here} or in a folder above it: goldline works inside a project")


def sql_folder() -> Path:
    """The folder of SELECTs and contracts, one folder a flow."""
    return root() / "sql"


def pipeline_json() -> Path:
    """The committed spec."""
    return root() / "pipeline.json"


def settings_file() -> Path:
    """The project's goldline.yaml."""
    return root() / SETTINGS


def settings(section: str, file: Path | None = None) -> dict[str, Any]:
    """One section of goldline.yaml, by name; empty where the file has none.

    Raises:
        ProjectError: the file is missing, is no YAML, or has a section that goldline does not know.
    """
    file = file or settings_file()
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"there is no {file}, which names the environments") from None
    except yaml.YAMLError as error:
        raise ProjectError(f"{file.name} is no YAML: {error}") from None
    if not isinstance(content, dict) or not content.keys() <= set(SECTIONS):
        raise ProjectError(f"{file.name}: expected only the keys {' and '.join(SECTIONS)}")
    found = content.get(section) or {}
    if not isinstance(found, dict):
        raise ProjectError(f"{file.name}: expected {section} by name, got {found!r}")
    return found


def pipeline() -> Any:  # noqa: ANN401, kfp's GraphComponent
    """The function `pipeline` of the project's pipeline.py, which compiles it on import."""
    folder = str(root())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("pipeline").pipeline
