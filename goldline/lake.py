"""The lake: objects in one bucket."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from google.api_core.exceptions import NotFound
from google.cloud.storage.retry import DEFAULT_RETRY

from goldline.clients import TIMEOUT, storage_client

CHUNK = 8 * 1024 * 1024  # bytes of an upload that are held in memory


class LakeError(RuntimeError):
    """The bucket, or an object in it, is not there."""


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

    def exists(self, path: str) -> bool:
        """Whether there is an object of that name."""
        return bool(self._bucket.blob(path).exists(timeout=TIMEOUT, retry=DEFAULT_RETRY))

    def list(self, folder: str) -> list[str]:
        """The paths of all objects below a folder."""
        blobs = self._bucket.client.list_blobs(self.name, prefix=f"{folder}/", timeout=TIMEOUT, retry=DEFAULT_RETRY)
        return [blob.name for blob in blobs]

    def files(self, folder: str) -> Iterator[tuple[str, datetime.datetime]]:
        """The paths of all objects below a folder, and when each was written."""
        blobs = self._bucket.client.list_blobs(self.name, prefix=f"{folder}/", timeout=TIMEOUT, retry=DEFAULT_RETRY)
        for blob in blobs:
            yield blob.name, blob.updated

    def delete(self, path: str) -> None:
        """Delete an object, if it is there."""
        with suppress(NotFound):
            self._bucket.blob(path).delete(timeout=TIMEOUT, retry=DEFAULT_RETRY)
