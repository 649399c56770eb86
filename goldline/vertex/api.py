"""Client of Google's REST APIs, with the application default credentials.

It replaces google-cloud-aiplatform, which takes 7 s to import, hardly checks its requests, and looks up the project's
number, for which it waits 40 s where that is not allowed. The requests are the same; the tests compare both with each
other and with the SDK's types.
"""

import json
import logging
import os
import random
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import google.auth
import requests
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import AuthorizedSession

from goldline.vertex.errors import CloudError, CredentialsError

# Address of the APIs, with {service} for `storage` or `europe-west1-aiplatform`: for networks that reach them under
# other names (https://cloud.google.com/vpc/docs/about-accessing-google-apis-endpoints).
ENDPOINT = "GOLDLINE_API_ENDPOINT"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TIMEOUT = 60.0  # most seconds of one request
TRIES = 6
LONGEST_PAUSE = 60.0  # seconds
FIRST_PAUSE = 1.0  # seconds before a second try; twice as long before each further one
# https://cloud.google.com/apis/design/errors#handling_errors, and the answers of proxies while a server is away
PASSING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class Cloud:
    """Client of Google's APIs, for one process; CredentialsError if there are no credentials."""

    def __init__(self) -> None:
        # It warns if the credentials name no project; goldline takes that of the environment.
        logging.getLogger("google.auth._default").setLevel(logging.ERROR)
        try:
            credentials, _ = google.auth.default(scopes=[SCOPE])
        except GoogleAuthError as error:
            raise CredentialsError(
                f"no credentials for Google Cloud: gcloud auth application-default login ({error})"
            ) from error
        # The session renews an expired token, and tries again by itself on a 401.
        self._session = AuthorizedSession(credentials)

    def get(self, service: str, path: str, **query: str | int | list[str]) -> dict[str, Any]:
        """Read a resource."""
        return self.call("GET", service, path, query=query)

    def find(self, service: str, path: str, **query: str | int | list[str]) -> dict[str, Any] | None:
        """Read a resource; None if there is none (HTTP 404)."""
        try:
            return self.get(service, path, **query)
        except CloudError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def every(self, service: str, path: str, key: str, **query: str | int) -> Iterator[dict[str, Any]]:
        """All resources of a listing, page by page; `key` is their field in the answer."""
        token = ""
        while True:
            page = self.get(service, path, **query, **({"pageToken": token} if token else {}))
            yield from page.get(key, [])
            if not (token := page.get("nextPageToken", "")):
                return

    def post(
        self, service: str, path: str, body: Mapping[str, Any], *, repeatable: bool = True, **query: str
    ) -> dict[str, Any]:
        """Send a request with a JSON body; one that is not `repeatable` is not sent again after a lost answer."""
        return self.call("POST", service, path, query=query, body=body, repeatable=repeatable)

    def call(
        self,
        method: str,
        service: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Send a request and return its JSON answer; retry failures that may pass.

        Raises:
            CloudError: it was refused, or never answered.
        """
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = self.request(
            method, service, path, repeatable=repeatable, params=query or {}, data=content, headers=headers
        )
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def request(
        self,
        method: str,
        service: str,
        path: str,
        *,
        repeatable: bool = True,
        **more: Any,  # noqa: ANN401
    ) -> requests.Response:
        """Send a request of any kind; retry failures that may pass. `more` goes to requests.

        Raises:
            CloudError: it was refused, or never answered.
        """
        url = f"{address(service)}/{path}"
        for tried in range(1, TRIES + 1):
            problem, answer = self._once(method, url, more)
            if answer is not None and answer.ok:
                return answer
            # 429 is answered before anything is done; any other failure may come after the work was done.
            may_repeat = repeatable or problem.status == HTTPStatus.TOO_MANY_REQUESTS
            if tried == TRIES or not may_repeat or problem.status not in {0, *PASSING}:
                raise problem
            time.sleep(_pause(tried, answer))
        raise AssertionError("the last try returns or raises")

    def _once(self, method: str, url: str, more: Mapping[str, Any]) -> tuple[CloudError, requests.Response | None]:
        try:
            answer = self._session.request(method, url, timeout=TIMEOUT, **more)
        except TransportError as error:
            return CloudError(f"{method} {url}: the token server did not answer: {error}"), None
        except GoogleAuthError as error:
            raise CredentialsError(
                f"the credentials for Google Cloud are no longer good: gcloud auth application-default login ({error})"
            ) from error
        except requests.RequestException as error:
            return CloudError(f"{method} {url}: no answer: {error}"), None
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise CredentialsError(f"{method} {url}: credentials were refused: {_message(answer)}", answer.status_code)
        return CloudError(f"{method} {url}: {answer.status_code}: {_message(answer)}", answer.status_code), answer


def address(service: str) -> str:
    """Base URL of a service."""
    if template := os.environ.get(ENDPOINT):
        return template.format(service=service)
    domain = "pkg.dev" if service.endswith("-kfp") else "googleapis.com"
    return f"https://{service}.{domain}"


def _pause(tried: int, answer: requests.Response | None) -> float:
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    longest = FIRST_PAUSE * 2 ** (tried - 1)
    # Half of it at random, so that clients which failed together do not come back together.
    return min(float(asked), LONGEST_PAUSE) if asked.isdigit() else longest * random.uniform(0.5, 1)  # noqa: S311


def _message(answer: requests.Response) -> str:
    try:
        error = answer.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:500] or str(answer.reason)
