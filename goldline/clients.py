"""Constructors of Google's clients, the same on a laptop and on Google Cloud.

The clients themselves read FIRESTORE_EMULATOR_HOST, STORAGE_EMULATOR_HOST and BIGQUERY_EMULATOR_HOST. Added here are
anonymous credentials where an emulator is set, and BIGQUERY_STORAGE_EMULATOR_HOST for the Storage Read client.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc
    from google.cloud import bigquery, bigquery_storage_v1, firestore
    from google.cloud.storage import Client as StorageClient

TIMEOUT = 60.0  # seconds per request


def bigquery_client(project: str, location: str) -> "bigquery.Client":
    """BigQuery client for jobs and tables of one project and location."""
    from google.cloud import bigquery

    return bigquery.Client(project=project, location=location, **_anonymous("BIGQUERY_EMULATOR_HOST"))


def bigquery_read_client() -> "bigquery_storage_v1.BigQueryReadClient":
    """BigQuery Storage Read client, for results too large for pages of JSON."""
    from google.cloud import bigquery_storage_v1

    if not (host := os.environ.get("BIGQUERY_STORAGE_EMULATOR_HOST")):
        return bigquery_storage_v1.BigQueryReadClient()
    # Unlike the other clients this one reads no emulator variable, so it gets a channel.
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
    return bigquery_storage_v1.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def firestore_client(project: str, database: str = "(default)") -> "firestore.Client":
    """Client of one Firestore database."""
    from google.cloud import firestore

    return firestore.Client(project=project, database=database)


def firestore_channel() -> "grpc.Channel":
    """gRPC channel to Firestore for calls on encoded messages, with the client's default credentials.

    It shares its connection with no other channel, and its streams are read on the consumer's thread.
    """
    import grpc
    from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
    from grpc.experimental import ChannelOptions

    options = [
        (ChannelOptions.SingleThreadedUnaryStream, 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share a connection
    ]
    if host := os.environ.get("FIRESTORE_EMULATOR_HOST"):
        return grpc.insecure_channel(host, options)
    return FirestoreGrpcTransport.create_channel(options=options)


def firestore_metadata(database: str) -> list[tuple[str, str]]:
    """gRPC metadata of calls on a database, `projects/P/databases/D`, as the client sends it."""
    from google.api_core.gapic_v1 import routing_header

    found = [("google-cloud-resource-prefix", database), routing_header.to_grpc_metadata([("database", database)])]
    if "FIRESTORE_EMULATOR_HOST" in os.environ:
        found.append(("authorization", "Bearer owner"))
    return found


def storage_client(project: str) -> "StorageClient":
    """Cloud Storage client.

    google-cloud-storage 3.17 requests each bucket's metadata in a thread of its own, for attributes of traces, even
    without tracing; if that fails it retries for two minutes. This is switched off unless the environment sets it.
    """
    from google.cloud.storage import Client as StorageClient

    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return StorageClient(project=project, **_anonymous("STORAGE_EMULATOR_HOST"))


def default_project() -> str:
    """Project id: GOOGLE_CLOUD_PROJECT, else that of the default credentials.

    Raises:
        ValueError: neither names a project.
    """
    if project := os.environ.get("GOOGLE_CLOUD_PROJECT"):
        return project
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        _, found = google.auth.default()
    except DefaultCredentialsError as error:
        raise ValueError("no project: give the parameter `project` or set GOOGLE_CLOUD_PROJECT") from error
    if not found:
        raise ValueError("the credentials name no project: give the parameter `project` or set GOOGLE_CLOUD_PROJECT")
    return str(found)


def _anonymous(variable: str) -> dict[str, Any]:
    if variable not in os.environ:
        return {}
    from google.auth.credentials import AnonymousCredentials

    return {"credentials": AnonymousCredentials()}
