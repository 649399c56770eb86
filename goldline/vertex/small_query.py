"""What the command line asks of BigQuery: small results, in one request each, without the client's two seconds."""

import re
from collections.abc import Mapping
from typing import Any

from goldline.vertex.api import Cloud
from goldline.vertex.errors import CloudError

SECONDS = 55


def query(cloud: Cloud, project: str, location: str, sql: str) -> list[dict[str, Any]]:
    """The rows of a small result, all values as BigQuery's JSON has them: texts, or None.

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
    """The table of runs, for a statement."""
    prefix = str(parameters.get("dataset_prefix", ""))
    if not re.fullmatch(r"\w*", prefix):
        raise ValueError(f"dataset_prefix: expected lower-case letters, digits and _, got {prefix!r}")
    return f"`{parameters['project']}.{prefix}ops.runs`"
