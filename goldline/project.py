"""The user's project: the nearest folder upward with a goldline.yaml, and the files that the library reads there.

goldline.yaml   environments and nights
pipeline.py     the graph: one function `pipeline`
pipeline.json   the compiled graph
sql/            a SELECT and a contract for each table
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import yaml

SETTINGS = "goldline.yaml"
SECTIONS = ("environments", "nights")


class ProjectError(ValueError):
    """There is no project here, or its goldline.yaml is wrong: the message says what was expected."""


def root() -> Path:
    """Path of the project's folder.

    Raises:
        ProjectError: neither the current folder nor one above it holds a goldline.yaml.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SETTINGS).is_file():
            return folder
    raise ProjectError(f"no {SETTINGS} in {here} or in a folder above it: goldline works inside a project")


def sql_folder() -> Path:
    """Path of the folder of SELECTs and contracts, with one folder per flow."""
    return root() / "sql"


def pipeline_json() -> Path:
    """Path of the committed spec."""
    return root() / "pipeline.json"


def settings_file() -> Path:
    """Path of the project's goldline.yaml."""
    return root() / SETTINGS


def settings(section: str, file: Path | None = None) -> dict[str, Any]:
    """Content of a section (`environments` or `nights`) of goldline.yaml or of `file`, by name; empty if it is missing.

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
    """Function `pipeline` of the project's pipeline.py, compiled on import."""
    folder = str(root())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("pipeline").pipeline
