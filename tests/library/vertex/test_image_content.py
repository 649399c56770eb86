"""What goes into the image of the tasks, and what its tag is made of."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from goldline.project import root
from goldline.vertex import image_content as image

DOCKERFILE = (root() / image.DOCKERFILE).read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository's files that matter, in another place and of another time."""
    for path in image.content():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((root() / path).read_bytes())
    return tmp_path


def test_the_tag_is_a_matter_of_content_alone(copy: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", image.content_tag())
    assert image.content_tag(copy) == image.content_tag()


@pytest.mark.parametrize("path", ["goldline/runs/context.py", "components/build_table.py", *image.RECIPE])
def test_whatever_goes_in_changes_the_tag(copy: Path, path: str) -> None:
    with (copy / path).open("a") as file:
        file.write("\n")
    assert image.content_tag(copy) != image.content_tag()


def test_a_file_that_is_moved_changes_the_tag(copy: Path) -> None:
    (copy / "goldline/lake.py").rename(copy / "goldline/lakes.py")
    assert image.content_tag(copy) != image.content_tag()


def test_what_stays_outside_does_not(copy: Path) -> None:
    for path in ("goldline/local/stack.py", "goldline/__pycache__/run.cpython-313.pyc", "README.md", "tests/test_x.py"):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text("anything")
    assert image.content_tag(copy) == image.content_tag()


def test_the_name_is_in_a_repository_or_bare() -> None:
    tag = image.content_tag()
    assert image.name() == f"goldline:{tag}"
    assert (
        image.name("europe-west1-docker.pkg.dev/p/goldline/")
        == f"europe-west1-docker.pkg.dev/p/goldline/goldline:{tag}"
    )


def test_an_image_of_other_code_is_told() -> None:
    repository, here = "europe-west1-docker.pkg.dev/p/goldline/goldline", image.content_tag()
    assert image.difference(f"{repository}:{here}") == ""
    told = image.difference(f"{repository}:1f0c9b2d4e6a8057")
    assert told.startswith(f"the image goldline:1f0c9b2d4e6a8057 is not of the code here, which is {here}: ")
    assert "\n" not in told


@pytest.mark.parametrize(
    "name",
    [
        "goldline:1.0",
        "goldline:20261120",  # eight hexadecimal digits
        "goldline",
        f"goldline@sha256:{'1f0c9b2d4e6a8057' * 4}",
        f"goldline:1f0c9b2d4e6a8057@sha256:{'1' * 64}",
    ],
)
def test_where_no_tag_tells_of_content_nothing_is_compared(name: str) -> None:
    assert image.difference(f"europe-west1-docker.pkg.dev/p/goldline/{name}") == ""


def test_docker_is_shown_what_is_hashed() -> None:
    shown = (root() / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in shown if line.startswith("!")}
    assert let_in == {*image.PACKAGES, *image.RECIPE} - {image.DOCKERFILE, ".dockerignore"}
    assert [line for line in shown if line[0] not in "#!"] == ["*", *image.LEFT_OUT, "**/__pycache__", "**/*.pyc"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert set(" ".join(copied).split()) == let_in


def test_both_stages_stand_on_the_base_that_is_given() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE_IMAGE}", "${BASE_IMAGE}"]
    assert f"ARG BASE_IMAGE=python:{sys.version_info.major}.{sys.version_info.minor}-slim" in DOCKERFILE


def test_the_last_user_is_not_root() -> None:
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["${RUN_AS}"]
    assert "ARG RUN_AS=10001:10001\n" in DOCKERFILE


def test_nothing_is_installed_without_its_hash() -> None:
    installs = re.findall(r"\bpip install.*?(?:&&|\n[A-Z#])", DOCKERFILE.replace("\\\n", " "), re.DOTALL)
    assert len(installs) == 2
    assert all("--require-hashes" in install for install in installs)
    assert "apt-get" not in DOCKERFILE


def test_what_tasks_import_is_in_the_images_lock_file() -> None:
    """The environment of the tests has more packages: an import that only works there would fail on Vertex AI."""
    lock = (root() / "requirements.lock").read_text()
    locked = set(re.findall(r"^(\S+)==", lock, re.MULTILINE))
    tasks = [path for path in image.content() if path.endswith(".py")]
    modules = {module for path in tasks for module in imported(root() / path)}
    assert "google.cloud.bigquery_storage_v1.types" in modules  # inside a function, as most are
    assert {module: dist for module in modules if (dist := distribution(module)) and dist not in locked} == {}


def distribution(module: str) -> str | None:
    """The package that brings a module, found by its files: importing them all would take long."""
    place = module.replace(".", "/")
    for folder, name in RECORDS.items():
        if f"\n{place}.py," in folder or f"\n{place}/__init__.py," in folder:
            return name
    return None


RECORDS = {
    "\n" + (dist.read_text("RECORD") or ""): dist.name.lower().replace("_", "-")
    for dist in importlib.metadata.distributions()
}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, inside its functions too, but for those that only the type checker sees."""
    tree = ast.parse(path.read_text())
    unseen = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    skipped = {id(n) for branch in unseen for n in ast.walk(branch)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
