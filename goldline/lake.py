"""The lake: reading, writing and listing objects in one bucket."""

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

CHUNK = 8 * 1024 * 1024  # bytes of a streamed object that are held in memory


class LakeError(RuntimeError):
    """The bucket or an object does not exist."""


@dataclass(frozen=True)
class Found:
    """An object as a listing shows it.

    Attributes:
        path: its name in the bucket.
        size: in bytes.
        md5: of its bytes, in base64; None for an object composed of others.
        crc32c: of its bytes, in base64.
        updated: time of its last change.
        metadata: custom metadata set by its writer.
    """

    path: str
    size: int
    md5: str | None
    crc32c: str
    updated: datetime.datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


class Lake:
    """The bucket of bronze files, models and the runs' own files; paths are object names in it."""

    def __init__(self, project: str, bucket: str) -> None:
        self.name = bucket
        self._bucket = storage_client(project).bucket(bucket)

    def uri(self, path: str) -> str:
        """gs:// address of an object."""
        return f"gs://{self.name}/{path}"

    def check(self) -> None:
        """Make sure that the bucket exists.

        Raises:
            LakeError: it does not.
        """
        if not self._bucket.exists(timeout=TIMEOUT, retry=DEFAULT_RETRY):
            raise LakeError(
                f"no bucket gs://{self.name}. Make it: gcloud storage buckets create gs://{self.name} "
                f"(on a laptop: it lies in .goldline/, `goldline up` makes it)"
            )

    def read_text(self, path: str) -> str:
        """Content of an object as text.

        Raises:
            LakeError: the object does not exist.
        """
        try:
            return str(self._bucket.blob(path).download_as_text(timeout=TIMEOUT, retry=DEFAULT_RETRY))
        except NotFound as error:
            raise LakeError(f"no object {self.uri(path)}") from error

    def write_text(self, path: str, text: str) -> None:
        """Write text in one request, as application/json; an existing object is replaced."""
        self.write_bytes(path, text.encode(), "application/json")

    def write_bytes(self, path: str, content: bytes, content_type: str = "application/octet-stream") -> None:
        """Write bytes in one request; an existing object is replaced."""
        # Unconditional writes of the same content may be repeated, so the retry needs no precondition.
        self._bucket.blob(path).upload_from_string(content, content_type, timeout=TIMEOUT, retry=DEFAULT_RETRY)

    def write_file(self, path: str, file: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
        """Upload a local file; an existing object is replaced, whole and with its metadata, or not at all.

        All metadata of an object may take 8 KiB: https://cloud.google.com/storage/quotas#objects
        """
        blob = self._bucket.blob(path)
        blob.metadata = dict(metadata) or None
        blob.upload_from_filename(str(file), timeout=TIMEOUT, retry=DEFAULT_RETRY)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Stream into a new object; it appears whole when the block ends well, and not at all when it fails."""
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
        """Stream the bytes of an object as stored, without decompression; one over 8 MiB is read in chunks.

        Raises:
            LakeError: the object does not exist.
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
        """Buffer a new object of some megabytes in memory; it is written in one request when the block ends well."""
        stream = io.BytesIO()
        yield stream
        self.write_bytes(path, stream.getvalue())

    def read_bytes(self, path: str) -> bytes:
        """Content of an object as bytes.

        Raises:
            LakeError: the object does not exist.
        """
        try:
            return bytes(self._bucket.blob(path).download_as_bytes(timeout=TIMEOUT, retry=DEFAULT_RETRY))
        except NotFound as error:
            raise LakeError(f"no object {self.uri(path)}") from error

    def delete(self, path: str) -> None:
        """Delete an object; a missing one is ignored."""
        with suppress(NotFound):
            self._bucket.blob(path).delete(timeout=TIMEOUT, retry=DEFAULT_RETRY)

    def exists(self, path: str) -> bool:
        """Whether an object exists."""
        return bool(self._bucket.blob(path).exists(timeout=TIMEOUT, retry=DEFAULT_RETRY))

    def holds(self, folder: str) -> bool:
        """Whether there is any object below a folder, which is given without a slash at its end."""
        blobs = self._bucket.client.list_blobs(
            self.name, prefix=f"{folder}/", max_results=1, timeout=TIMEOUT, retry=DEFAULT_RETRY
        )
        return any(True for _ in blobs)

    def list(self, folder: str) -> list[str]:
        """Paths of all objects below a folder."""
        blobs = self._bucket.client.list_blobs(self.name, prefix=f"{folder}/", timeout=TIMEOUT, retry=DEFAULT_RETRY)
        return [blob.name for blob in blobs]

    def found(self, folder: str, start: str = "", end: str = "") -> Iterator[Found]:
        """Objects below a folder in name order, from `start` up to but without `end`, both relative to the folder."""
        bounds = {"start_offset": f"{folder}/{start}"} | ({"end_offset": f"{folder}/{end}"} if end else {})
        for blob in self._bucket.client.list_blobs(
            self.name, prefix=f"{folder}/", timeout=TIMEOUT, retry=DEFAULT_RETRY, **bounds
        ):
            yield Found(blob.name, blob.size, blob.md5_hash, blob.crc32c, blob.updated, blob.metadata or {})
