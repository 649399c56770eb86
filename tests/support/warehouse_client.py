"""What the tests of the warehouse share: Google's own clients, and a dataset and a folder for each test."""

import contextlib
import io
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.storage import Client as StorageClient

from goldline.local import processes, servers

PROJECT, BUCKET = "goldline-test", "warehouse-tests"
Field = bigquery.SchemaField
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Servers:
    """Where they listen."""

    bigquery: str
    bigquery_storage: str
    storage: str


class Warehouse:
    """The unmodified clients, pointed to the servers, and short words for what each test does."""

    def __init__(self, bigquery_url: str, storage_url: str) -> None:
        nobody = AnonymousCredentials()
        self.client = bigquery.Client(
            project=PROJECT, credentials=nobody, client_options=ClientOptions(api_endpoint=bigquery_url)
        )
        self.lake = StorageClient(
            project=PROJECT, credentials=nobody, client_options=ClientOptions(api_endpoint=storage_url)
        )
        self.dataset = f"d_{uuid.uuid4().hex[:8]}"
        self.folder = f"f_{uuid.uuid4().hex[:8]}"
        self.client.create_dataset(self.dataset)

    def close(self) -> None:
        self.client.close()
        self.lake.close()

    def name(self, table: str) -> str:
        return f"{PROJECT}.{self.dataset}.{table}"

    def uri(self, path: str) -> str:
        return f"gs://{BUCKET}/{self.folder}/{path}"

    def put(self, path: str, data: bytes | str) -> None:
        self.lake.bucket(BUCKET).blob(f"{self.folder}/{path}").upload_from_string(data)

    def remove(self, path: str) -> None:
        self.lake.bucket(BUCKET).blob(f"{self.folder}/{path}").delete()

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """Rows of a query, in which `{d}` is the test's dataset and `{uri}` its folder."""
        return [tuple(row.values()) for row in self.run(sql, **parameters).result()]

    def run(self, sql: str, destination: str | None = None, disposition: str | None = None, **parameters: Any) -> Any:
        """A finished query job."""
        config = bigquery.QueryJobConfig(query_parameters=[_parameter(*item) for item in parameters.items()])
        if destination:
            config.destination, config.write_disposition = self.name(destination), disposition
        text = sql.replace("{d}", self.dataset).replace("{uri}", self.uri("").rstrip("/"))
        job = self.client.query(text, job_config=config)
        job.result()
        return job

    def external(self, table: str, form: str, *paths: str, fields: list[Field] | None = None, **given: Any) -> Any:
        """Makes an external table by the API; `given` are attributes of its configuration."""
        config = bigquery.ExternalConfig(form)
        config.source_uris = [self.uri(path) for path in paths]
        config.autodetect = not fields
        config.schema = fields or []
        for key, value in given.items():
            setattr(config, key, value)
        resource = bigquery.Table(self.name(table))
        resource.external_data_configuration = config
        return self.client.create_table(resource)

    def hive(self, mode: str, prefix: str) -> bigquery.HivePartitioningOptions:
        options = bigquery.HivePartitioningOptions()
        options.mode, options.source_uri_prefix = mode, self.uri(prefix)
        return options

    def schema(self, table: str) -> list[Row]:
        return [shape(field) for field in self.client.get_table(self.name(table)).schema]


def shape(field: Field) -> Row:
    """What a test says of a column: name, type, mode, description and, of a record, what is in it."""
    inner = [shape(child) for child in field.fields]
    return (field.name, field.field_type, field.mode, field.description, *([inner] if inner else []))


def _parameter(name: str, value: Any) -> bigquery.ScalarQueryParameter:
    kind = {"int": "INT64", "date": "DATE", "str": "STRING"}[type(value).__name__]
    return bigquery.ScalarQueryParameter(name, kind, value)


def parquet(**columns: Any) -> bytes:
    output = io.BytesIO()
    pq.write_table(pa.table(columns), output)
    return output.getvalue()


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@contextlib.contextmanager
def warehouse_server(home: Path, storage: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A warehouse of a test's own, over the stack's lake; its address and its process."""
    plan, _ = servers.warehouse(home, int(storage.rsplit(":", 1)[1]))
    server = servers.launch(plan, home)
    server.wait()
    try:
        yield f"http://127.0.0.1:{plan.port}", server.process
    finally:
        processes.stop(server.process)
