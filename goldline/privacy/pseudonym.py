"""Pseudonyms: HMAC-SHA256 of a personal value under a key that never leaves the process.

BigQuery has no HMAC, so this happens before the first byte reaches the lake. The key's version is stored beside each
pseudonym, so that pseudonyms under different keys are never mixed up.

The key is the file that GOLDLINE_PII_KEY_FILE names (on a laptop), else a secret in Secret Manager. Both keep older
versions, which tell a rotation from a foreign key.
"""

import hmac
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

if TYPE_CHECKING:
    from google.cloud import secretmanager

KEY_FILE = "GOLDLINE_PII_KEY_FILE"
SECRET = "GOLDLINE_PII_SECRET"  # noqa: S105, the name of a variable
SECRET_ID = "goldline-pii-key"  # noqa: S105, the name of a secret
TIMEOUT = 60.0  # seconds per request
FORM = "its version and 64 hexadecimal digits"


class PseudonymKeyError(RuntimeError):
    """The key for pseudonyms is missing or cannot be used."""


@dataclass(frozen=True)
class Key:
    """Key for pseudonyms: a secret of 32 bytes, left out of `repr`, and its version.

    Attributes:
        older: versions that this one replaced.
    """

    version: str
    secret: bytes = field(repr=False)
    older: tuple[str, ...] = field(default=(), repr=False)

    def pseudonym(self, value: str) -> str:
        """Pseudonym of a value: 64 hexadecimal digits, the same wherever the key is the same."""
        return hmac.digest(self.secret, value.encode(), "sha256").hex()

    def follows(self, version: str | None, fingerprint: str | None) -> bool:
        """Whether this is the key of that version and fingerprint, or replaced it; True if `version` is None."""
        return version is None or version in self.older or (version, fingerprint) == (self.version, self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ between two keys of one version; they reveal nothing of the secret."""
        return self.pseudonym("goldline: which key is this?")[:16]


def load_key(project: str = "") -> Key:
    """Key from the file that GOLDLINE_PII_KEY_FILE names, else from Secret Manager (see secret_name).

    Raises:
        PseudonymKeyError: the key is missing, malformed, or a file that others can read.
    """
    if name := os.environ.get(KEY_FILE):
        return newest(read_key_file(Path(name)))
    return _load_secret(secret_name(project))


def newest(versions: Sequence[tuple[str, str]]) -> Key:
    """Key of the first of (version, secret in hexadecimal) pairs; the others are its older versions."""
    (version, secret), *older = versions
    return Key(version, bytes.fromhex(secret), tuple(name for name, _ in older))


def read_key_file(path: Path) -> list[tuple[str, str]]:
    """(version, secret in hexadecimal) pairs of a key file, newest first; the file has one line for each part.

    Raises:
        PseudonymKeyError: the file is missing, malformed, or readable by others.
    """
    try:
        mode = path.stat().st_mode & 0o777
        lines = path.read_text(encoding="ascii").strip().split("\n")
    except FileNotFoundError as error:
        raise PseudonymKeyError(f"no key for pseudonyms: {KEY_FILE} names a file that is not there") from error
    except UnicodeDecodeError:  # raised below without it as cause: it holds the file's content
        lines = []
    if mode & 0o077:
        raise PseudonymKeyError(f"the key file has mode {mode:04o}, expected 0600: others must not read it")
    versions, keys = lines[0::2], lines[1::2]
    if not keys or len(versions) != len(keys) or not (all(versions) and all(map(_is_secret, keys))):
        raise PseudonymKeyError(f"the key file holds no key: expected {FORM}, a line each")
    return list(zip(versions, keys, strict=True))


def make_key_file(path: Path) -> None:
    """Write a new key of 256 random bits with mode 0600; an existing file is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(f"1\n{new_secret()}\n")


def new_secret() -> str:
    """256 random bits as 64 hexadecimal digits."""
    return secrets.token_hex(32)


def secret_name(project: str) -> str:
    """Name of the secret in Secret Manager: GOLDLINE_PII_SECRET, else `goldline-pii-key` of the project.

    Raises:
        PseudonymKeyError: there is neither, or the lake is local (STORAGE_EMULATOR_HOST is set).
    """
    missing = f"no key for pseudonyms: {KEY_FILE} is not set"
    if "STORAGE_EMULATOR_HOST" in os.environ:
        raise PseudonymKeyError(f"{missing}, and a local lake must not use the cloud's key")
    if not (name := os.environ.get(SECRET) or (project and f"projects/{project}/secrets/{SECRET_ID}")):
        raise PseudonymKeyError(f"{missing}, and neither a project nor {SECRET} names a secret")
    return name


def secret_client() -> "secretmanager.SecretManagerServiceClient":
    """Client of Secret Manager."""
    from google.cloud import secretmanager

    return secretmanager.SecretManagerServiceClient()


def _load_secret(secret: str) -> Key:
    """Newest enabled version of a secret; `latest` would be the newest one even if it is disabled."""
    try:
        client = secret_client()
        request = {"parent": secret, "filter": "state:ENABLED"}
        enabled = [int(v.name.rsplit("/", 1)[1]) for v in client.list_secret_versions(request=request, timeout=TIMEOUT)]
        if not enabled:
            raise PseudonymKeyError(f"no key for pseudonyms: {secret} has no enabled version; run goldline rotate-key")
        version = max(enabled)
        payload = client.access_secret_version(name=f"{secret}/versions/{version}", timeout=TIMEOUT).payload
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise PseudonymKeyError(f"no key for pseudonyms: {secret} cannot be read: {error}") from error
    if payload.data_crc32c != google_crc32c.value(payload.data):
        raise PseudonymKeyError(f"{secret}, version {version}, came damaged: its checksum differs")
    text = payload.data.decode("ascii", "replace").strip()
    if not _is_secret(text):
        raise PseudonymKeyError(f"{secret}, version {version}, holds no key: expected 64 hexadecimal digits")
    # Secret Manager counts versions from 1 and never reuses a number.
    return Key(str(version), bytes.fromhex(text), tuple(str(n) for n in range(version - 1, 0, -1)))


def _is_secret(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{64}", text))
