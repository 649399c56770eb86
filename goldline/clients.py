"""Google's clients, made one way everywhere.

They obey FIRESTORE_EMULATOR_HOST, STORAGE_EMULATOR_HOST and BIGQUERY_EMULATOR_HOST by themselves. All that is added
here is that no credentials are looked for where an emulator is set, and the variable that Storage Read lacks.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc
    from google.cloud import bigquery, bigquery_storage_v1, firestore
    from google.cloud.storage import Client as StorageClient

TIMEOUT = 60.0  # seconds that one request may take


def bigquery_client(project: str, location: str) -> "bigquery.Client":
    """A BigQuery client for jobs and tables of one project and location."""
    from google.cloud import bigquery

    return bigquery.Client(project=project, location=location, **_anonymous("BIGQUERY_EMULATOR_HOST"))


def bigquery_read_client() -> "bigquery_storage_v1.BigQueryReadClient":
    """A Storage Read client, for results too large for pages of JSON."""
    from google.cloud import bigquery_storage_v1

    if not (host := os.environ.get("BIGQUERY_STORAGE_EMULATOR_HOST")):
        return bigquery_storage_v1.BigQueryReadClient()
    # Unlike the other clients this one has no variable of its own, so it is given the channel.
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
    return bigquery_storage_v1.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def firestore_client(project: str, database: str = "(default)") -> "firestore.Client":
    """A client of one Firestore database."""
    from google.cloud import firestore

    return firestore.Client(project=project, database=database)


def firestore_channel() -> "grpc.Channel":
    """A connection to Firestore for calls on encoded messages, with the credentials that the client takes.

    It is shared with nobody, and its streams are read on the thread that asks for their messages.
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
    """What calls on a database, `projects/P/databases/D`, carry besides their message, as the client's do."""
    from google.api_core.gapic_v1 import routing_header

    found = [("google-cloud-resource-prefix", database), routing_header.to_grpc_metadata([("database", database)])]
    if "FIRESTORE_EMULATOR_HOST" in os.environ:
        found.append(("authorization", "Bearer owner"))
    return found


def storage_client(project: str) -> "StorageClient":
    """A Cloud Storage client.

    By itself each client asks for its bucket in a thread of its own, for the attributes of traces, with tracing or
    without (google-cloud-storage 3.17): a request that nobody needs, tried again for two minutes where it fails. It is
    switched off unless the environment says otherwise.
    """
    from google.cloud.storage import Client as StorageClient

    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return StorageClient(project=project, **_anonymous("STORAGE_EMULATOR_HOST"))


def default_project() -> str:
    """The project of the environment.

    Raises:
        ValueError: there is none.
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
