"""URIs and metadata of artifacts, in one form for all tasks, so that lineage is readable."""

from pydantic import BaseModel

from goldline.runs.context import RunContext


def bigquery_table(run: RunContext, table: str) -> tuple[str, dict[str, str]]:
    """URI and metadata of a google.BQTable artifact for a table such as `silver.stg_orders`.

    The form is that of google-cloud-pipeline-components (types.artifact_types.BQTable), with its three keys alone.
    """
    project, dataset, name = run.table(table).split(".")
    uri = f"https://www.googleapis.com/bigquery/v2/projects/{project}/datasets/{dataset}/tables/{name}"
    return uri, {"projectId": project, "datasetId": dataset, "tableId": name}


def numbers(result: BaseModel) -> dict[str, str | int | float]:
    """Metadata of a Metrics artifact: all fields of a result that are not None."""
    return {key: value for key, value in result.model_dump(mode="json").items() if value is not None}
