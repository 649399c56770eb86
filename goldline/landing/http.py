"""Download of a file over http(s) or from Cloud Storage, with limits of time and size, and with retries.

A server may answer 500 and then 200, stall, cut off, redirect, or send without end. Temporary failures are retried
after a pause (the server's own, where it gives one in Retry-After); others fail at once.
"""

import datetime
import hashlib
import io
import logging
import time
from collections.abc import Buffer, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from google.api_core.exceptions import NotFound
from google.cloud.storage import Blob, Client
from google.cloud.storage.retry import DEFAULT_RETRY

from goldline.clients import TIMEOUT, storage_client

LOG = logging.getLogger(__name__)
CHUNK = 256 * 1024
PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
REDIRECTS = 5


class FetchError(RuntimeError):
    """Failed download; the message names the URL and what came instead."""


class MissingError(FetchError):
    """Failed download of a file that the server does not have."""


class _PassingError(RuntimeError):
    """Temporary failure; `wait` is the pause that the server asks for, in seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class DownloadLimits:
    """Limits of a download: timeouts, retries, size.

    Attributes:
        connect: timeout of connecting, in seconds.
        silence: timeout of waiting for the next byte, in seconds.
        whole: timeout of one try, in seconds.
        tries: number of tries in all.
        pause: seconds before the second try, doubled before each further one.
        pause_max: longest pause in seconds, also if the server asks for more.
        size_max: largest size in bytes; a larger file is refused.
    """

    connect: float = 10.0
    silence: float = 30.0
    whole: float = 900.0
    tries: int = 4
    pause: float = 1.0
    pause_max: float = 60.0
    size_max: int = 1 << 30


@dataclass(frozen=True)
class Fetched:
    """Complete download.

    Attributes:
        etag: the server's id of this version; empty if it gives none.
    """

    sha256: str
    bytes: int
    etag: str


class Fetcher:
    """Downloader of files over http(s), or from Cloud Storage with a client of the project."""

    def __init__(self, project: str, patience: DownloadLimits | None = None) -> None:
        self.project = project
        self.patience = patience or DownloadLimits()

    def fetch(self, url: str, to: Path, etag: str = "") -> Fetched | None:
        """Download a file, unless its version is the one that is there already.

        Args:
            url: http://, https:// or gs://; redirects are followed.
            to: the local file to write.
            etag: version that is there already; empty: download in any case.

        Returns:
            The download; None if the server still has the version `etag`.

        Raises:
            MissingError: there is no such file.
            FetchError: the download failed, or the file is too large.
        """
        attempt = self._from_storage if url.startswith("gs://") else self._from_server
        for tried in range(1, self.patience.tries + 1):
            try:
                return attempt(url, to, etag)
            except _PassingError as error:
                if tried == self.patience.tries:
                    raise FetchError(f"{url}: {error}, in each of {tried} tries") from error
                wait = min(max(self.patience.pause * 2 ** (tried - 1), error.wait), self.patience.pause_max)
                LOG.warning("%s: %s; trying again in %.1f s", url, error, wait)
                time.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _from_server(self, url: str, to: Path, etag: str) -> Fetched | None:
        # No content encoding: the file is stored and hashed as it is.
        headers = {"User-Agent": "goldline", "Accept-Encoding": "identity"}
        if etag:
            headers["If-None-Match"] = etag
        with requests.Session() as session:
            session.max_redirects = REDIRECTS
            timeout = (self.patience.connect, self.patience.silence)
            try:
                with session.get(url, headers=headers, timeout=timeout, stream=True) as answer:
                    if answer.status_code == HTTPStatus.NOT_MODIFIED and etag:
                        return None
                    _check_status(url, answer)
                    return self._receive(url, answer, to)
            except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
                raise _PassingError(_format_error(error)) from error
            except requests.RequestException as error:
                raise FetchError(f"{url}: {_format_error(error)}") from error

    def _receive(self, url: str, answer: requests.Response, to: Path) -> Fetched:
        ends = time.monotonic() + self.patience.whole
        digest, size = hashlib.sha256(), 0
        with to.open("wb") as stream:
            # Not iter_content: it waits until a chunk is full, which a very slow server can delay for ever.
            while chunk := answer.raw.read1(CHUNK):
                digest.update(chunk)
                stream.write(chunk)
                size += len(chunk)
                self._check_size(url, size)
                if time.monotonic() > ends:
                    raise _PassingError(f"{size} bytes came in {self.patience.whole:g} s and it is not whole")
        return Fetched(digest.hexdigest(), size, answer.headers.get("ETag", ""))

    def _from_storage(self, url: str, to: Path, etag: str) -> Fetched | None:
        parts = urlsplit(url)
        blob = self._storage.bucket(parts.netloc).blob(parts.path.lstrip("/"))
        options = {"timeout": TIMEOUT, "retry": DEFAULT_RETRY}
        try:
            if etag:
                blob.reload(**options)
                if _version(blob) == etag:
                    return None
            with _Bounded(to, lambda size: self._check_size(url, size)) as stream:
                blob.download_to_file(stream, **options)
        except NotFound as error:
            raise MissingError(f"{url}: there is no such object") from error
        with to.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        return Fetched(digest.hexdigest(), to.stat().st_size, _version(blob))

    @cached_property
    def _storage(self) -> Client:
        return storage_client(self.project)

    def _check_size(self, url: str, size: int) -> None:
        if size > self.patience.size_max:
            raise FetchError(f"{url}: larger than {self.patience.size_max} bytes")


class _Bounded(io.BufferedWriter):
    """Local file to write, whose size is checked before each write."""

    def __init__(self, path: Path, check: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self._check = check

    def write(self, chunk: Buffer) -> int:
        """Write a chunk, or raise what the check raises."""
        self._check(self.tell() + memoryview(chunk).nbytes)
        return super().write(chunk)


def _version(blob: Blob) -> str:
    """Version of an object; a download's response gives the same one as the metadata."""
    return f"{blob.generation}-{blob.md5_hash or blob.crc32c}"


def _check_status(url: str, answer: requests.Response) -> None:
    if answer.status_code == HTTPStatus.OK:
        return
    message = f"the server answered {answer.status_code} {answer.reason}"
    if answer.status_code in GONE:
        raise MissingError(f"{url}: {message}")
    if answer.status_code in PASSING or answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _PassingError(message, _retry_after(answer.headers.get("Retry-After", "")))
    raise FetchError(f"{url}: {message}")


def _retry_after(text: str) -> float:
    """Seconds that the header Retry-After asks for, as a number or a date (RFC 9110, section 10.2.3)."""
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return (moment - datetime.datetime.now(datetime.UTC)).total_seconds() if moment.tzinfo else 0.0


def _format_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
