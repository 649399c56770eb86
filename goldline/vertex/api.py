"""Google's REST APIs, asked with the credentials of the environment.

Not google-cloud-aiplatform: importing it takes 7 s, it checks next to nothing of what it sends, and it looks up the
project's number, for which it waits 40 s where that is not allowed. What is sent here is what it would send; the tests
hold both against each other and against its types.
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

# Where the APIs answer, with {service} for `storage` or `europe-west1-aiplatform`: for networks that reach them under
# names of their own (https://cloud.google.com/vpc/docs/about-accessing-google-apis-endpoints).
ENDPOINT = "GOLDLINE_API_ENDPOINT"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TIMEOUT = 60.0  # seconds that one request may take
TRIES = 6
LONGEST_PAUSE = 60.0
FIRST_PAUSE = 1.0  # seconds before a second try; twice as long before each further one
# https://cloud.google.com/apis/design/errors#handling_errors, and what proxies answer while a server is away
PASSING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class Cloud:
    """Google's APIs, for one process."""

    def __init__(self) -> None:
        # It warns where the credentials name no project. Ours is the environment's.
        logging.getLogger("google.auth._default").setLevel(logging.ERROR)
        try:
            credentials, _ = google.auth.default(scopes=[SCOPE])
        except GoogleAuthError as error:
            raise CredentialsError(
                f"no credentials for Google Cloud: gcloud auth application-default login ({error})"
            ) from error
        # It takes a new token where one has expired, and tries again by itself on a 401.
        self._session = AuthorizedSession(credentials)

    def get(self, service: str, path: str, **query: str | int | list[str]) -> dict[str, Any]:
        """Read a resource."""
        return self.call("GET", service, path, query=query)

    def find(self, service: str, path: str, **query: str | int | list[str]) -> dict[str, Any] | None:
        """Read a resource; None if there is none."""
        try:
            return self.get(service, path, **query)
        except CloudError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def every(self, service: str, path: str, key: str, **query: str | int) -> Iterator[dict[str, Any]]:
        """All resources of a listing, page by page."""
        token = ""
        while True:
            page = self.get(service, path, **query, **({"pageToken": token} if token else {}))
            yield from page.get(key, [])
            if not (token := page.get("nextPageToken", "")):
                return

    def post(
        self, service: str, path: str, body: Mapping[str, Any], *, repeatable: bool = True, **query: str
    ) -> dict[str, Any]:
        """Send a request with a body; one that would do its work twice is sent once."""
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
        """One request, tried again while that may help.

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
        """One request of any kind, tried again while that may help.

        Raises:
            CloudError: it was refused, or never answered.
        """
        url = f"{address(service)}/{path}"
        for tried in range(1, TRIES + 1):
            problem, answer = self._once(method, url, more)
            if answer is not None and answer.ok:
                return answer
            # Too many requests is said before anything is done; any other failure may have come after it was.
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
            raise CredentialsError(f"{method} {url}: the credentials were refused: {_said(answer)}", answer.status_code)
        return CloudError(f"{method} {url}: {answer.status_code}: {_said(answer)}", answer.status_code), answer


def address(service: str) -> str:
    """Where a service answers."""
    if template := os.environ.get(ENDPOINT):
        return template.format(service=service)
    domain = "pkg.dev" if service.endswith("-kfp") else "googleapis.com"
    return f"https://{service}.{domain}"


def _pause(tried: int, answer: requests.Response | None) -> float:
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    longest = FIRST_PAUSE * 2 ** (tried - 1)
    # Half of it by chance, so that clients which failed together do not come back together.
    return min(float(asked), LONGEST_PAUSE) if asked.isdigit() else longest * random.uniform(0.5, 1)  # noqa: S311


def _said(answer: requests.Response) -> str:
    try:
        error = answer.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:500] or str(answer.reason)
