"""Pseudonyms: HMAC-SHA256 of a personal value under a key that never leaves the process.

BigQuery has no HMAC, so this happens before the first byte reaches the lake. The key's version stands beside each
pseudonym, so that pseudonyms of different keys are never taken for one another.

The key is a file where GOLDLINE_PII_KEY_FILE names one (a laptop), and a secret in Secret Manager elsewhere. Both keep
older versions, which say that a changed version is a rotation and not somebody else's key.
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
TIMEOUT = 60.0  # seconds that one request may take
FORM = "its version and 64 hexadecimal digits"


class PseudonymKeyError(RuntimeError):
    """There is no key, or it cannot be used."""


@dataclass(frozen=True)
class Key:
    """A secret and its version; the secret is never shown.

    Attributes:
        older: the versions that this one took the place of.
    """

    version: str
    secret: bytes = field(repr=False)
    older: tuple[str, ...] = field(default=(), repr=False)

    def pseudonym(self, value: str) -> str:
        """The value's pseudonym: 64 hexadecimal digits, the same wherever the key is the same."""
        return hmac.digest(self.secret, value.encode(), "sha256").hex()

    def follows(self, version: str | None, fingerprint: str | None) -> bool:
        """Whether this is the key of that version and fingerprint, or took its place; any key follows none."""
        return version is None or version in self.older or (version, fingerprint) == (self.version, self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """Tells two keys of one version apart; like any pseudonym it tells nothing of the secret."""
        return self.pseudonym("goldline: which key is this?")[:16]


def load_key(project: str = "") -> Key:
    """The key of the environment: the file that is named there, else the project's secret.

    Raises:
        PseudonymKeyError: it is not there, others can read it, or it is not of that form.
    """
    if name := os.environ.get(KEY_FILE):
        return newest(read_key_file(Path(name)))
    return _load_secret(secret_name(project))


def newest(versions: Sequence[tuple[str, str]]) -> Key:
    """The key of the first of some versions."""
    (version, secret), *older = versions
    return Key(version, bytes.fromhex(secret), tuple(name for name, _ in older))


def read_key_file(path: Path) -> list[tuple[str, str]]:
    """The versions in a key file and their secrets, the newest first: a line each, in turn.

    Raises:
        PseudonymKeyError: it is not there, others can read it, or it is not of that form.
    """
    try:
        mode = path.stat().st_mode & 0o777
        lines = path.read_text(encoding="ascii").strip().split("\n")
    except FileNotFoundError as error:
        raise PseudonymKeyError(f"no key for pseudonyms: {KEY_FILE} names a file that is not there") from error
    except UnicodeDecodeError:  # no cause is named: this one carries the file along
        lines = []
    if mode & 0o077:
        raise PseudonymKeyError(f"the key file has mode {mode:04o}, expected 0600: others must not read it")
    versions, keys = lines[0::2], lines[1::2]
    if not keys or len(versions) != len(keys) or not (all(versions) and all(map(_is_secret, keys))):
        raise PseudonymKeyError(f"the key file holds no key: expected {FORM}, a line each")
    return list(zip(versions, keys, strict=True))


def make_key_file(path: Path) -> None:
    """Make a key of 256 random bits, readable by its owner alone, where there is none yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(f"1\n{new_secret()}\n")


def new_secret() -> str:
    """256 random bits, as hexadecimal digits."""
    return secrets.token_hex(32)


def secret_name(project: str) -> str:
    """The secret in Secret Manager: the environment's, or the project's own.

    Raises:
        PseudonymKeyError: there is neither, or this is no place for a secret of the cloud.
    """
    missing = f"no key for pseudonyms: {KEY_FILE} is not set"
    if "STORAGE_EMULATOR_HOST" in os.environ:
        raise PseudonymKeyError(f"{missing}, and a lake on this machine takes no key of the cloud")
    if not (name := os.environ.get(SECRET) or (project and f"projects/{project}/secrets/{SECRET_ID}")):
        raise PseudonymKeyError(f"{missing}, and neither a project nor {SECRET} names a secret")
    return name


def secret_client() -> "secretmanager.SecretManagerServiceClient":
    """A client of Secret Manager."""
    from google.cloud import secretmanager

    return secretmanager.SecretManagerServiceClient()


def _load_secret(secret: str) -> Key:
    """The newest enabled version: `latest` would be the newest one, enabled or not."""
    try:
        client = secret_client()
        request = {"parent": secret, "filter": "state:ENABLED"}
        enabled = [int(v.name.rsplit("/", 1)[1]) for v in client.list_secret_versions(request=request, timeout=TIMEOUT)]
        if not enabled:
            raise PseudonymKeyError(f"no key for pseudonyms: {secret} has no enabled version; goldline rotate-key")
        version = max(enabled)
        payload = client.access_secret_version(name=f"{secret}/versions/{version}", timeout=TIMEOUT).payload
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise PseudonymKeyError(f"no key for pseudonyms: {secret} cannot be read: {error}") from error
    if payload.data_crc32c != google_crc32c.value(payload.data):
        raise PseudonymKeyError(f"{secret}, version {version}, came damaged: its checksum differs")
    text = payload.data.decode("ascii", "replace").strip()
    if not _is_secret(text):
        raise PseudonymKeyError(f"{secret}, version {version}, holds no key: expected 64 hexadecimal digits")
    # Secret Manager counts versions from 1, and gives no number twice.
    return Key(str(version), bytes.fromhex(text), tuple(str(n) for n in range(version - 1, 0, -1)))


def _is_secret(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{64}", text))
