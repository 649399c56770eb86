"""Small BigQuery queries of the command line: one request each, without the client library's 2 s."""

import re
from collections.abc import Mapping
from typing import Any

from goldline.vertex.api import Cloud
from goldline.vertex.errors import CloudError

SECONDS = 55  # most seconds of a query


def query(cloud: Cloud, project: str, location: str, sql: str) -> list[dict[str, Any]]:
    """Run a query and return its rows; values are texts or None, as in BigQuery's JSON.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query

    Raises:
        CloudError: BigQuery refused it, or took too long.
    """
    body = {"query": sql, "useLegacySql": False, "location": location, "timeoutMs": SECONDS * 1000, "maxResults": 10000}
    answer = cloud.post("bigquery", f"bigquery/v2/projects/{project}/queries", body)
    if not answer.get("jobComplete", True) or answer.get("pageToken"):
        raise CloudError(f"expected a small result within {SECONDS} s of: {sql}")
    names = [field["name"] for field in answer.get("schema", {}).get("fields", [])]
    return [dict(zip(names, (cell["v"] for cell in row["f"]), strict=True)) for row in answer.get("rows", [])]


def ops_runs(parameters: Mapping[str, Any]) -> str:
    """Quoted full name of the table ops.runs, by the parameters `project` and `dataset_prefix`."""
    prefix = str(parameters.get("dataset_prefix", ""))
    if not re.fullmatch(r"\w*", prefix):
        raise ValueError(f"dataset_prefix: expected lower-case letters, digits and _, got {prefix!r}")
    return f"`{parameters['project']}.{prefix}ops.runs`"
