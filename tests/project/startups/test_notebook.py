"""The developer's notebook, cell by cell in a kernel of its own, as Jupyter runs it: on a stack, and beside a stand-in.

What it is told is what a user would tell it: environment variables. `dev` is goldline.yaml's own.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from goldline.local import stack
from goldline.project import root
from goldline.spec import compiled as spec
from goldline.spec.check.given import declared_in
from goldline.spec.tables import flows
from goldline.vertex import api, environments
from goldline.vertex import image_content as image
from tests.support.standin import StandIn
from tests.support.standin_google import DIGEST, Google
from tests.support.standin_vertex import Vertex

pytestmark = pytest.mark.slow

NOTEBOOK = root() / "notebooks" / "develop.ipynb"
SECONDS = 200
ENVIRONMENT = "dev"
FLOWS = {f"run_{flow}": flow == "startups" for flow in flows()}


@dataclass
class Executed:
    """The notebook after its last cell, and what it left."""

    cells: list[Any]
    home: Path
    standin: StandIn
    vertex: Vertex
    changed: list[str]

    def shown(self, text: str) -> str:
        """What the only cell that holds a text has shown."""
        [cell] = [cell for cell in self.cells if cell.cell_type == "code" and text in cell.source]
        return "".join(_text(output) for output in cell.outputs)


def _text(output: Any) -> str:
    return str(output.text if output.output_type == "stream" else output.data["text/plain"])


def sources() -> dict[Path, bytes]:
    """What the notebook must leave as it is: SQL, graph, spec and settings."""
    files = [root() / name for name in ("pipeline.py", "pipeline.json", "goldline.yaml")]
    return {path: path.read_bytes() for path in [NOTEBOOK, *files, *sorted((root() / "sql").glob("*/*"))]}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executed]:
    folder, before = tmp_path_factory.mktemp("notebook"), sources()
    with StandIn().running() as standin, pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if "EMULATOR" in name]:
            patch.delenv(variable)
        for variable, value in {
            "GOLDLINE_HOME": folder / "home",
            "GOLDLINE_ENVIRONMENT": ENVIRONMENT,
            "GOOGLE_APPLICATION_CREDENTIALS": standin.credentials(folder),
            api.ENDPOINT: f"{standin.address}/{{service}}",
            "JUPYTER_RUNTIME_DIR": folder / "runtime",
            "IPYTHONDIR": folder / "ipython",
        }.items():
            patch.setenv(variable, str(value))
        vertex = Vertex(standin)
        hold_image(Google(standin, environment().project))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        )
        try:
            client.execute()
            changed = [path.name for path, content in sources().items() if before.get(path) != content]
            assert stack.running(folder / "home") is None
            yield Executed(notebook.cells, folder / "home", standin, vertex, changed)
        finally:
            stack.down(folder / "home")


def environment() -> environments.Environment:
    return environments.load(ENVIRONMENT, declared_in(spec.load()))


def hold_image(google: Google) -> None:
    """Artifact Registry has the image that goldline.yaml names."""
    location, project, repository, name, tag = re.split(r"-docker\.pkg\.dev/|[/:]", environment().image)
    path = f"v1/projects/{project}/locations/{location}/repositories/{repository}/packages/{name}"
    google.resources["artifactregistry", f"{path}/tags/{tag}"] = {"version": f"{path}/versions/{DIGEST}"}


def test_the_committed_notebook_holds_no_output_and_no_place_of_a_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 10
    assert [cell.source for cell in code if cell.outputs or cell.execution_count or cell.metadata] == []
    assert notebook.metadata.kernelspec.name == "python3"  # that of the environment it is opened in
    assert not re.search(r"/(home|Users|root|work|tmp|mnt)\b|[A-Z]:\\\\", NOTEBOOK.read_text(encoding="utf-8"))


def test_it_leaves_the_repository_as_it_was(executed: Executed) -> None:
    assert executed.changed == []


def test_it_runs_a_flow_and_shows_its_tables(executed: Executed) -> None:
    ran = executed.shown("run_here({**parameters")
    assert re.search(r"\nsucceeded: \d{4}-\d\d-\d\d in .*\n0$", ran), ran
    assert re.search(r"silver\.stg_startups.*\n.*gold\.dim_startup", executed.shown("pd.DataFrame("))
    assert "series_a" in executed.shown("from gold.dim_startup\n    where")


def test_the_changed_select_fails_its_tests_until_it_is_mended(executed: Executed) -> None:
    failed = executed.shown("from goldline.local.contract_tests")
    for engine in ("reference", "warehouse"):
        told = rf"✗ gold\.dim_startup: each change .*\({engine}, .*\n.*required_not_null \(valid_from\)"
        assert re.search(told, failed), failed
    assert "0 passed, 4 failed\n1" in failed
    assert "4 passed, 0 failed\n0" in executed.shown("coalesce(founded_on")


def test_components_run_alone_with_the_change_and_without(executed: Executed) -> None:
    assert re.search(r"dim_startup succeeded, .*retry-\d+\.txt\n0$", executed.shown("retry(home"))
    assert "name='gold.dim_startup'" in executed.shown("prepare_run(name")
    rows = re.findall(r"(before|changed) +(\d+) +(\d+)", executed.shown("from_the_founding"))
    counts = {name: (int(versions), int(founded)) for name, versions, founded in rows}
    assert counts["before"][0] == counts["changed"][0] == counts["changed"][1] > counts["before"][1]


def test_it_submits_once_what_it_ran_here(executed: Executed) -> None:
    told = executed.shown("for wrong in")
    for said in (
        "run_dat: no such parameter",
        "run_date: expected a date",
        "seed: expected a whole",
        "train: expected one",
    ):
        assert said in told
    submitted = executed.shown("submit(environment")
    assert ("is not of the code here" in submitted) == bool(image.difference(environment().image))
    [job] = executed.vertex.jobs.values()
    assert job["runtimeConfig"]["parameterValues"].items() >= FLOWS.items()
    assert job["name"].rsplit("/", 1)[-1] in submitted
    # The first request of all is for the token of that submit: what was wrong was refused before any.
    first, *others = [request.path for request in executed.standin.requests]
    assert (first, "v1/token" in others) == ("v1/token", False)
    followed = executed.shown("submitted.wait")
    assert re.search(r"✓ stg_startups +[\d.]+ s\n", followed)
    assert "succeeded: goldline-" in followed
