"""Fetch a file over http(s) or from Cloud Storage into a local one: with limits of time and size, and with patience.

A server may answer 500 and then 200, stall, cut off, redirect, or send without end. What may pass by itself is tried
again after a pause (the server's own, where it gives one in Retry-After); what will not fails at once.
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
    """The file could not be had: the message names the URL and what came instead."""


class MissingError(FetchError):
    """The server says that there is no such file."""


class _PassingError(RuntimeError):
    """Something that another try may not meet; `wait` is what the server asks for, in seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class DownloadLimits:
    """How long a server is waited for, and how much is taken from it.

    Attributes:
        connect: seconds until a connection must stand.
        silence: seconds that may pass without a byte.
        whole: seconds that one try may take.
        tries: how often in all.
        pause: seconds before the second try, doubled before each further one.
        pause_max: the longest of them, also if the server asks for more.
        size_max: bytes; a larger file is refused.
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
    """A file that came whole.

    Attributes:
        etag: what the server calls this version; empty if it does not say.
    """

    sha256: str
    bytes: int
    etag: str


class Fetcher:
    """Fetches files, over http(s) or as a client of the project's Cloud Storage."""

    def __init__(self, project: str, patience: DownloadLimits | None = None) -> None:
        self.project = project
        self.patience = patience or DownloadLimits()

    def fetch(self, url: str, to: Path, etag: str = "") -> Fetched | None:
        """Fetch a file.

        Args:
            url: http://, https:// or gs://; redirects are followed.
            to: the local file to write.
            etag: of the version that is there already.

        Returns:
            What came; None if the server says that the version is still the same.

        Raises:
            MissingError: there is no such file.
            FetchError: it could not be had, or is too large.
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
        # Not unpacked on the way: what is kept and summed is the file itself.
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
                raise _PassingError(_said(error)) from error
            except requests.RequestException as error:
                raise FetchError(f"{url}: {_said(error)}") from error

    def _receive(self, url: str, answer: requests.Response, to: Path) -> Fetched:
        ends = time.monotonic() + self.patience.whole
        digest, size = hashlib.sha256(), 0
        with to.open("wb") as stream:
            # Not iter_content: it waits until a chunk is full, which a server that drips can put off for ever.
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
    """A local file to write, whose size is checked before it grows."""

    def __init__(self, path: Path, check: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self._check = check

    def write(self, chunk: Buffer) -> int:
        """Write a chunk, or raise what the check raises."""
        self._check(self.tell() + memoryview(chunk).nbytes)
        return super().write(chunk)


def _version(blob: Blob) -> str:
    """What tells versions of an object apart; a download's answer says it as well as the metadata."""
    return f"{blob.generation}-{blob.md5_hash or blob.crc32c}"


def _check_status(url: str, answer: requests.Response) -> None:
    if answer.status_code == HTTPStatus.OK:
        return
    said = f"the server answered {answer.status_code} {answer.reason}"
    if answer.status_code in GONE:
        raise MissingError(f"{url}: {said}")
    if answer.status_code in PASSING or answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _PassingError(said, _retry_after(answer.headers.get("Retry-After", "")))
    raise FetchError(f"{url}: {said}")


def _retry_after(text: str) -> float:
    """Seconds that the header Retry-After asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return (moment - datetime.datetime.now(datetime.UTC)).total_seconds() if moment.tzinfo else 0.0


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
