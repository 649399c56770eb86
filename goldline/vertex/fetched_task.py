"""Download of a task of a run on Vertex AI, with all that it needs to run elsewhere, into a folder.

pipeline.json    the run's spec
arguments.json   the run's parameters
task.json        the task: its container, its inputs, its declared outputs
lake/            the objects below its input artifacts, by their paths in the bucket
tables/          its input tables, and the tables that its SELECT reads, as Parquet
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from goldline import project
from goldline.contracts.loading import load_all
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.sql import reads
from goldline.runs.context import records_folder
from goldline.vertex.api import address
from goldline.vertex.cloud_run import CloudRun
from goldline.vertex.errors import CloudError
from goldline.vertex.progress import shown_name
from goldline.vertex.task_inputs import Inputs

MAX_BYTES = 2**30  # of the objects below one artifact: more is too much for a task on a laptop
MAX_ROWS = 200_000  # of a table
COMMITS = "ops.commits"


def fetch(run: CloudRun, task: str, folder: Path, out: TextIO | None = None) -> str:
    """Download a task into a folder; return its name.

    Args:
        run: the run.
        task: name of the task as in pipeline.py; empty: the first that failed.
        folder: empty folder; it is created if it is missing.
        out: stream for messages; None: stdout.

    Raises:
        ValueError: the run has no such task, or none that failed; or an input is too large or not known.
        CloudError: an API refused a request, or could not be reached.
    """
    out = out or sys.stdout
    job = run.read()
    inputs = Inputs(job)
    name = _chosen(inputs, task)
    parameters, artifacts = inputs.parameters(name), inputs.artifacts(name)
    content = {
        "task": name.replace("-", "_"),
        "container": inputs.container(name),
        "component": inputs.component(name),
        "parameters": parameters,
        "artifacts": artifacts,
        "catalog": inputs.parameters("prepare-run").get("catalog", "") if "prepare-run" in inputs.details else "",
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "pipeline.json", job["pipelineSpec"])
    _write(folder / "arguments.json", job.get("runtimeConfig", {}).get("parameterValues", {}))
    _write(folder / "task.json", content)
    uris = {a["uri"] for each in artifacts.values() for a in each if str(a.get("uri", "")).startswith("gs://")}
    if "run" in parameters:  # the run's own files: its catalog, and the records of tasks before this one
        context = json.loads(parameters["run"])
        uris.add(f"gs://{context['bucket']}/{records_folder(context['run_id'])}/")
    for uri in sorted(uris):
        _fetch_objects(run, str(uri), folder / "lake", out)
    _fetch_tables(run, tables_of(parameters, artifacts), folder / "tables", out)
    return str(content["task"])


def _chosen(inputs: Inputs, task: str) -> str:
    known = ", ".join(shown_name(each) for each in inputs.details.values())
    if task:
        name = task.replace("_", "-")
        if name not in inputs.details:
            raise ValueError(f"the run has no task {task}, expected one of {known or 'none: it has not begun'}")
        return name
    failed = [name for name, each in inputs.details.items() if each.get("state") == "FAILED"]
    if not failed:
        raise ValueError(f"no task of the run failed: name one of {known or 'none: it has not begun'}")
    return str(failed[0])


def tables_of(parameters: Mapping[str, Any], artifacts: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, str]:
    """Full names (project.dataset.table) of the tables that a task reads, by goldline's name (dataset.table)."""
    found = {}
    context = json.loads(parameters["run"]) if "run" in parameters else {}
    prefix = context.get("dataset_prefix", "")
    for metadata in (a.get("metadata", {}) for each in artifacts.values() for a in each):
        if {"projectId", "datasetId", "tableId"} <= metadata.keys():
            dataset = str(metadata["datasetId"])
            found[f"{dataset.removeprefix(prefix)}.{metadata['tableId']}"] = (
                f"{metadata['projectId']}.{dataset}.{metadata['tableId']}"
            )
    if context:
        named = reads(parameters["select"]) if "select" in parameters else set()
        # A source's view reads files, which come as an artifact, and the commits that make them count.
        wanted = {COMMITS if name in _views() else name for name in named}
        found |= {name: f"{context['project']}.{prefix}{name}" for name in sorted(wanted)}
    return found


def _views() -> set[str]:
    return {c.view for c in load_all(project.sql_folder()).values() if isinstance(c, SourceContract)}


def _fetch_objects(run: CloudRun, uri: str, folder: Path, out: TextIO) -> None:
    """Download the object of that address, or all below it."""
    bucket, _, path = uri.removeprefix("gs://").partition("/")
    listed = list(run.cloud.every("storage", f"storage/v1/b/{bucket}/o", "items", prefix=path))
    found = [o for o in listed if o["name"] == path or o["name"].startswith(f"{path.rstrip('/')}/")]
    size = sum(int(o.get("size", 0)) for o in found)
    if size > MAX_BYTES:
        raise ValueError(f"{uri} holds {size >> 20} MiB, and a replay takes {MAX_BYTES >> 20} at most")
    for each in found:
        target = folder / each["name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        answer = run.cloud.request(
            "GET", "storage", f"storage/v1/b/{bucket}/o/{quote(each['name'], safe='')}", params={"alt": "media"}
        )
        target.write_bytes(answer.content)
    out.write(f"  {uri}: {len(found)} objects, {size >> 10} KiB\n")


def _fetch_tables(run: CloudRun, tables: Mapping[str, str], folder: Path, out: TextIO) -> None:
    import google.auth
    import pyarrow.parquet as pq
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud import bigquery

    if not tables:
        return
    folder.mkdir(parents=True, exist_ok=True)
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    client = bigquery.Client(
        project=run.environment.project, credentials=credentials, client_options={"api_endpoint": address("bigquery")}
    )
    for name, full_name in tables.items():
        try:
            table = client.get_table(full_name)
            if table.table_type != "TABLE":
                out.write(f"  {name}: a view; it is made anew, over what is there\n")
                continue
            rows = client.list_rows(table, max_results=MAX_ROWS).to_arrow(create_bqstorage_client=False)
        except GoogleAPICallError as error:
            raise CloudError(f"{full_name}: {error.message}", int(error.code or 0)) from error
        pq.write_table(rows, folder / f"{name}.parquet")
        cut = f" of {table.num_rows:,}: the others are left out" if (table.num_rows or 0) > rows.num_rows else ""
        out.write(f"  {name}: {rows.num_rows:,} rows{cut}\n")


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
