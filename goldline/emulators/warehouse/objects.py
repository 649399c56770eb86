"""Objects that match gs:// URIs, by the storage emulator's own listing."""

import http.client
import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import load
from local_bigquery.jobs.storage import literal
from local_bigquery.settings import settings

from goldline.emulators.warehouse.upstream import Connection, replace

TIMEOUT = 10.0  # seconds per request


def endpoint() -> urllib.parse.SplitResult | None:
    """Address in STORAGE_EMULATOR_HOST; None if it is not set."""
    host: str | None = settings.storage_emulator_host
    if not host:
        return None
    return urllib.parse.urlsplit(host if "://" in host else f"http://{host}")


def secret() -> str | None:
    """SQL that leads DuckDB's reader of gs:// to the emulator; None if there is none."""
    if (server := endpoint()) is None:
        return None
    return (
        "CREATE SECRET gcs_emulator (TYPE gcs, KEY_ID '', SECRET '', URL_STYLE 'path', "
        f"ENDPOINT {literal(server.netloc)}, USE_SSL {str(server.scheme == 'https').lower()})"
    )


def matching(uri: str) -> list[str]:
    """URIs of the objects that match, sorted; as in BigQuery, and unlike in DuckDB, `*` crosses "/"."""
    if not uri.startswith("gs://"):
        raise BigQueryError("invalid", f"Unsupported URI: {uri}. A source starts with gs://")
    bucket, _, pattern = uri.removeprefix("gs://").partition("/")
    prefix, *rest = pattern.split("*")
    matches = re.compile(".*".join(map(re.escape, [prefix, *rest])), re.DOTALL)
    return sorted(
        f"gs://{bucket}/{name}"
        for name in _names(bucket, prefix)
        if matches.fullmatch(name) and not name.endswith("/")  # "a/" is what consoles make for an empty folder
    )


def _names(bucket: str, prefix: str) -> Iterator[str]:
    token = ""
    while True:
        page = _page(bucket, {"prefix": prefix, "pageToken": token})
        for item in page.get("items", []):
            yield item["name"]
        if not (token := page.get("nextPageToken", "")):
            return


def _page(bucket: str, parameters: dict[str, str]) -> dict[str, Any]:
    path = f"/storage/v1/b/{urllib.parse.quote(bucket)}/o?{urllib.parse.urlencode(parameters)}"
    try:
        status, body = _get(path)
    except (OSError, http.client.HTTPException) as error:
        raise BigQueryError("backendError", f"No answer from the storage emulator, listing {bucket}: {error}") from None
    if status == http.HTTPStatus.NOT_FOUND:
        return {}  # no such bucket: no object matches
    if status != http.HTTPStatus.OK:
        raise BigQueryError("backendError", f"The storage emulator answered {status}, listing {bucket}: {body[:200]!r}")
    page: dict[str, Any] = json.loads(body)
    return page


def _get(path: str) -> tuple[int, bytes]:
    if (server := endpoint()) is None:
        raise BigQueryError("invalid", "gs:// needs STORAGE_EMULATOR_HOST to be set where the warehouse is started")
    # Not urllib.request: it would go through HTTP_PROXY.
    kind = http.client.HTTPSConnection if server.scheme == "https" else http.client.HTTPConnection
    connection = kind(server.netloc, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def load_paths(cur: Connection, uri: str) -> list[str]:
    """URIs of the objects that a load job reads; an error if there are none."""
    if not (found := matching(uri)):
        raise BigQueryError("notFound", f"Not found: URI {uri}")
    return found


def install() -> None:
    """Replace load.paths, which leaves `*` to DuckDB and makes the secret again in each job."""
    replace(load, "paths", load_paths)
