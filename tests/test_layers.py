"""What may import what: docs/architecture.md shows it, this keeps it. And the library knows no flow of the example."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from goldline.project import root

# Low to high: a module imports its own package and what stands to the left of it. `emulators` stands apart.
LAYERS = (
    *("contracts", "privacy", "project", "clients", "lake", "runs", "warehouse", "firestore", "landing"),
    *("ml", "stages", "spec", "vertex", "local", "cli"),
)
FLOWS = ("sales", "clickstream", "startups", "transit")
FLOW_WORDS = re.compile("sales|clickstream|startups|transit|churn|headway|gtfs", re.IGNORECASE)
# (file, import): reason. Four at most.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def modules() -> dict[str, str]:
    """Text of all modules of library and project, by path below the repository's folder."""
    found = [*(root() / "goldline").rglob("*.py"), *(root() / "components").rglob("*.py"), root() / "pipeline.py"]
    return {p.relative_to(root()).as_posix(): p.read_text(encoding="utf-8") for p in sorted(found)}


def imports(text: str) -> Iterator[str]:
    """Full names of all that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def wrong_imports(here: str, text: str) -> list[tuple[str, str]]:
    """Imports of a module across a border: its path and the name."""
    ours = (name for name in imports(text) if name.split(".")[0] in ("goldline", "components", "pipeline"))
    return [(here, name) for name in ours if not may_import(here, name)]


def may_import(here: str, name: str) -> bool:
    parts, there = here.removesuffix(".py").split("/"), name.split(".")
    if parts[0] == "goldline":
        return there[0] == "goldline" and _library_may(parts, there)
    if there[0] == "goldline":  # the project: all of the library but the laptop's and the command line
        is_vertex = there[1] == "vertex" and parts[-1] != "register_model"
        return there[1] not in ("local", "emulators", "cli") and not is_vertex
    if parts[0] == "pipeline" or parts[-1] in ("flow", "tasks"):
        return there[0] == "components"
    # A stage of a flow: its own flow, and what the simulators share.
    return there[0] == "components" and len(parts) > 2 and there[1] in (parts[1], "simulation")


def _library_may(parts: list[str], there: list[str]) -> bool:
    if len(parts) == 2 and parts[1] in ("__init__", "__main__"):
        return True
    mine, other = parts[1], there[1]
    if "emulators" in (mine, other):
        return mine in (other, "local")
    return other in LAYERS and LAYERS.index(other) <= LAYERS.index(mine)


def test_every_import_keeps_the_layers() -> None:
    found = [wrong for here, text in modules().items() for wrong in wrong_imports(here, text)]
    assert [wrong for wrong in found if wrong not in EXCEPTIONS] == []


def test_exceptions_are_few_and_all_needed() -> None:
    assert len(EXCEPTIONS) <= 4
    for here, name in EXCEPTIONS:
        assert (here, name) in wrong_imports(here, modules()[here])


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("goldline/contracts/catalog.py", "from goldline.runs.ops import TABLES"),
        ("goldline/spec/tables.py", "from components.build_table import build_table"),
        ("goldline/spec/compiled.py", "from pipeline import pipeline"),
        ("goldline/local/replay.py", "from components.prepare_run import prepare_run"),
        ("goldline/emulators/googlesql/sql_types.py", "from goldline.contracts import catalog"),
        ("goldline/stages/build_table.py", "from goldline.spec import tables"),
        ("goldline/warehouse/jobs.py", "    from goldline.landing import views"),
        ("goldline/vertex/api.py", "from goldline.local import stack"),
        ("goldline/stages/predict.py", "from goldline.emulators import googlesql"),
        ("components/clickstream/generate_clickstream/site.py", "from components.sales.generate_sales import world"),
        ("components/transit/load_month/month_load.py", "from components.build_table import build_table"),
        ("components/build_table.py", "    from goldline.local.stack import BUCKET"),
        ("components/evaluate_model.py", "    from goldline.vertex.api import Cloud"),
        ("pipeline.py", "from goldline.emulators.firestore import service"),
    ],
)
def test_an_import_across_a_border_is_found(file: str, line: str) -> None:
    planted = f"if True:\n{line}\n" if line.startswith(" ") else f"{line}\n"
    text = modules().get(file, "")  # a flow that was dropped has none
    assert len(wrong_imports(file, text + planted)) == len(wrong_imports(file, text)) + 1


# The library knows no flow


def library_files(folder: Path) -> list[Path]:
    """The library's files, those beside the code too; templates write a project, so they may name what they write."""
    found = (p for p in sorted((folder / "goldline").rglob("*")) if p.is_file() and "__pycache__" not in p.parts)
    return [p for p in found if not p.is_relative_to(folder / "goldline" / "templates")]


def flow_words(folder: Path) -> list[str]:
    found = []
    for path in library_files(folder):
        name = path.relative_to(folder).as_posix()
        found += [name] if FLOW_WORDS.search(name) else []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found += [f"{name}:{number}: {line.strip()}"] if FLOW_WORDS.search(line) else []
    return found


def test_the_library_names_no_flow() -> None:
    assert flow_words(root()) == []


def test_a_flows_word_is_found_in_each_room(tmp_path: Path) -> None:
    rooms = {p.parent.relative_to(root()) for p in library_files(root())}
    assert len(rooms) > 15
    for room in sorted(rooms):
        (tmp_path / room).mkdir(parents=True, exist_ok=True)
        (tmp_path / room / "planted.py").write_text("def train_churn() -> None: ...\n", encoding="utf-8")
    assert len(flow_words(tmp_path)) == len(rooms)


def test_the_librarys_tests_need_no_flow() -> None:
    """They may use a flow's word for a thing of their own, but neither its code nor its contracts."""
    flows = "|".join(FLOWS)
    needed = re.compile(rf"components\.({flows})\b|[\"']({flows})/(ext|stg|fct|dim|agg|mart)_")
    files = [p for room in ("library", "support") for p in sorted((root() / "tests" / room).rglob("*.py"))]
    assert len(files) > 50
    assert [str(p.relative_to(root())) for p in files if needed.search(p.read_text(encoding="utf-8"))] == []


# Names


def test_no_two_files_have_one_name_for_different_things() -> None:
    """Faces and graphs are named by their folder; a library's stage is named like its face."""
    places: dict[str, list[str]] = {}
    for where in modules():
        name = Path(where).stem
        if name in ("__init__", "__main__", "component", "flow"):
            continue
        places.setdefault(name, []).append(where)
    faces = {p.stem for p in (root() / "components").glob("*.py")}
    allowed = {name for name in faces if any(w.startswith("goldline/") for w in places.get(name, ()))}
    assert {name: where for name, where in places.items() if len(where) > 1 and name not in allowed} == {}


def test_a_docstring_begins_with_a_noun_or_an_imperative() -> None:
    found = []
    for where, text in modules().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node) or ""
                found += [f"{where}: {docstring[:80]}"] if re.match(r"What\b", docstring) else []
    assert found == []
