"""Runs of the project by the command line, and all that they leave, made comparable: tables, records, lineage."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldline.clients import bigquery_client
from goldline.local import stack
from goldline.local.servers import PROJECT

# What says which run it was, or when, or how long it took.
OF_THE_RUN = {"attempt", "run_id", "fetched_at", "finished_at", "started_at", "committed_at"}
OF_THE_RUN |= {"read_time", "loaded_at", "seconds", "bytes", "created"}
RUN_NAME = re.compile(r"goldline-[\d-]{26}(-[0-9a-f]{8})?|runs/[\d-]+")

SECONDS = 300
KEY = "pii.key"  # in the folder of a stack


def goldline(home: Path, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of goldline on a stack's folder, in the project or in a copy of it."""
    copy = {"PYTHONPATH": str(folder)} if folder else {}
    return subprocess.run(
        [sys.executable, "-m", "goldline.cli", *arguments],
        cwd=folder,
        env={**os.environ, **copy, "GOLDLINE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def new_home(folder: Path, key: bytes) -> Path:
    """Make a folder for a stack whose pseudonyms have the given key."""
    folder.mkdir(parents=True)
    (folder / KEY).touch(mode=0o600)
    (folder / KEY).write_bytes(key)
    return folder


def outcome(home: Path) -> tuple[dict[str, list[str]], dict[str, list[Any]]]:
    """Tables and lineage after a run."""
    return tables(home), lineage(home)


def tables(home: Path, prefix: str = "") -> dict[str, list[str]]:
    """Rows of every table in datasets with a prefix, sorted; load metadata aside."""
    with stack.using(home, needs_firestore=False) as use, use.leading():
        client = bigquery_client(PROJECT, "US")
        datasets = [d.reference for d in client.list_datasets() if d.dataset_id.startswith(prefix)]
        names = [f"{t.dataset_id}.{t.table_id}" for dataset in datasets for t in client.list_tables(dataset)]
        return {
            name.removeprefix(prefix): sorted(
                _text(dict(row.items()), home) for row in client.query_and_wait(f"select * from `{name}`")
            )
            for name in names
        }


def lineage(home: Path) -> dict[str, list[Any]]:
    """Inputs and outputs of each task of the latest run, as kfp recorded them."""
    found: dict[str, list[Any]] = {}
    for folder in (home / "runs" / "latest" / "tasks").iterdir():
        command = json.loads((folder / "command.json").read_text(encoding="utf-8"))["command"]
        given = json.loads(command[command.index("--executor_input") + 1])
        output = Path(given["outputs"]["outputFile"])
        made = json.loads(output.read_text(encoding="utf-8"))
        found[folder.name.partition("-")[2]] = [json.loads(_text(each, home)) for each in (given["inputs"], made)]
    return found


def _text(content: Mapping[str, Any], home: Path) -> str:
    text = json.dumps(_plain(content), default=str, sort_keys=True)
    return RUN_NAME.sub("RUN", text).replace(str(home), "HOME")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if k not in OF_THE_RUN and not k.startswith("_")}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value + 0.0 if isinstance(value, float) else value  # the warehouse keeps one of 0.0 and -0.0
