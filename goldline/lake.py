"""The lake: objects in one bucket."""

import datetime
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, cast

from google.api_core.exceptions import NotFound
from google.cloud.storage.retry import DEFAULT_RETRY

from goldline.clients import TIMEOUT, storage_client

CHUNK = 8 * 1024 * 1024  # bytes of an upload that are held in memory


class LakeError(RuntimeError):
    """The bucket, or an object in it, is not there."""


@dataclass(frozen=True)
class Found:
    """An object as a listing tells of it.

    Attributes:
        md5: of its bytes, in base64; an object that was put together of others has none.
        updated: when it was written.
        metadata: what its writer said of it.
    """

    path: str
    size: int
    md5: str | None
    crc32c: str
    updated: datetime.datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


class Lake:
    """The bucket that holds bronze files and what runs tell of themselves."""

    def __init__(self, project: str, bucket: str) -> None:
        self.name = bucket
        self._bucket = storage_client(project).bucket(bucket)

    def uri(self, path: str) -> str:
        """The gs:// address of an object."""
        return f"gs://{self.name}/{path}"

    def check(self) -> None:
        """Make sure that the bucket is there.

        Raises:
            LakeError: it is not.
        """
        if not self._bucket.exists(timeout=TIMEOUT, retry=DEFAULT_RETRY):
            raise LakeError(
                f"no bucket gs://{self.name}. Make it: gcloud storage buckets create gs://{self.name} "
                f"(on a laptop: it lies in .goldline/, `goldline up` makes it)"
            )

    def read_text(self, path: str) -> str:
        """The content of an object.

        Raises:
            LakeError: there is no such object.
        """
        try:
            return str(self._bucket.blob(path).download_as_text(timeout=TIMEOUT, retry=DEFAULT_RETRY))
        except NotFound as error:
            raise LakeError(f"no object {self.uri(path)}") from error

    def write_text(self, path: str, text: str) -> None:
        """Write an object in one request, over what was there."""
        self.write_bytes(path, text.encode(), "application/json")

    def write_bytes(self, path: str, content: bytes, content_type: str = "application/octet-stream") -> None:
        """Write an object in one request, over what was there."""
        # Unconditional writes of the same content may be repeated, so the retry needs no precondition.
        self._bucket.blob(path).upload_from_string(content, content_type, timeout=TIMEOUT, retry=DEFAULT_RETRY)

    def write_file(self, path: str, file: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write an object from a local file, over what was there; it appears whole, with its metadata, or not at all.

        All of the metadata may take 8 KiB: https://cloud.google.com/storage/quotas#objects
        """
        blob = self._bucket.blob(path)
        blob.metadata = dict(metadata) or None
        blob.upload_from_filename(str(file), timeout=TIMEOUT, retry=DEFAULT_RETRY)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """A new object to stream into; it appears whole when the block ends well, and not at all when it fails."""
        blob = self._bucket.blob(path)
        stream = cast("BinaryIO", blob.open("wb", chunk_size=CHUNK, timeout=TIMEOUT, retry=DEFAULT_RETRY))
        try:
            yield stream
        except BaseException:
            stream.terminate()  # type: ignore[attr-defined]
            raise
        stream.close()

    @contextmanager
    def reading(self, file: Found) -> Iterator[BinaryIO]:
        """An object's bytes as they are stored; of a large one a piece at a time.

        Raises:
            LakeError: there is no such object.
        """
        # Raw: else one whose metadata says `Content-Encoding: gzip` may or may not come decompressed.
        blob, options = self._bucket.blob(file.path), {"raw_download": True, "timeout": TIMEOUT, "retry": DEFAULT_RETRY}
        try:
            if file.size <= CHUNK:
                yield io.BytesIO(blob.download_as_bytes(**options))
                return
            with blob.open("rb", chunk_size=CHUNK, **options) as stream:
                yield cast("BinaryIO", stream)
        except NotFound as error:
            raise LakeError(f"no object {self.uri(file.path)}") from error

    @contextmanager
    def writing_whole(self, path: str) -> Iterator[BinaryIO]:
        """A new object of some megabytes, held in memory and written in one request when the block ends well."""
        stream = io.BytesIO()
        yield stream
        self.write_bytes(path, stream.getvalue())

    def read_bytes(self, path: str) -> bytes:
        """The content of an object.

        Raises:
            LakeError: there is no such object.
        """
        try:
            return bytes(self._bucket.blob(path).download_as_bytes(timeout=TIMEOUT, retry=DEFAULT_RETRY))
        except NotFound as error:
            raise LakeError(f"no object {self.uri(path)}") from error

    def delete(self, path: str) -> None:
        """Delete an object; one that is not there is none too many."""
        with suppress(NotFound):
            self._bucket.blob(path).delete(timeout=TIMEOUT, retry=DEFAULT_RETRY)

    def exists(self, path: str) -> bool:
        """Whether there is an object of that name."""
        return bool(self._bucket.blob(path).exists(timeout=TIMEOUT, retry=DEFAULT_RETRY))

    def holds(self, folder: str) -> bool:
        """Whether there is any object below a folder."""
        blobs = self._bucket.client.list_blobs(
            self.name, prefix=f"{folder}/", max_results=1, timeout=TIMEOUT, retry=DEFAULT_RETRY
        )
        return any(True for _ in blobs)

    def list(self, folder: str) -> list[str]:
        """The paths of all objects below a folder."""
        blobs = self._bucket.client.list_blobs(self.name, prefix=f"{folder}/", timeout=TIMEOUT, retry=DEFAULT_RETRY)
        return [blob.name for blob in blobs]

    def found(self, folder: str, start: str = "", end: str = "") -> Iterator[Found]:
        """All objects below a folder, by name, from one that begins with `start` until before `end`."""
        bounds = {"start_offset": f"{folder}/{start}"} | ({"end_offset": f"{folder}/{end}"} if end else {})
        for blob in self._bucket.client.list_blobs(
            self.name, prefix=f"{folder}/", timeout=TIMEOUT, retry=DEFAULT_RETRY, **bounds
        ):
            yield Found(blob.name, blob.size, blob.md5_hash, blob.crc32c, blob.updated, blob.metadata or {})
