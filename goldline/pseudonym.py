"""Pseudonyms: HMAC-SHA256 of a personal value under a key that never leaves the process.

BigQuery has no HMAC, so this happens before the first byte reaches the lake. The key's version stands beside each
pseudonym, so that pseudonyms of different keys are never taken for one another.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

KEY_FILE = "GOLDLINE_PII_KEY_FILE"


class PseudonymKeyError(RuntimeError):
    """There is no key, or it cannot be used."""


@dataclass(frozen=True)
class Key:
    """A secret and its version; the secret is never shown."""

    version: str
    secret: bytes = field(repr=False)

    def pseudonym(self, value: str) -> str:
        """The value's pseudonym: 64 hexadecimal digits, the same wherever the key is the same."""
        return hmac.new(self.secret, value.encode(), hashlib.sha256).hexdigest()


def load_key() -> Key:
    """The key of the environment: a file that only its owner can read, its version on the first line.

    Raises:
        PseudonymKeyError: it is not there, others can read it, or it is not of that form.
    """
    if not (name := os.environ.get(KEY_FILE)):
        raise PseudonymKeyError(f"no key for pseudonyms: {KEY_FILE} is not set")
    path = Path(name)
    try:
        mode = path.stat().st_mode & 0o777
        version, _, secret = path.read_text(encoding="ascii").strip().partition("\n")
    except FileNotFoundError as error:
        raise PseudonymKeyError(f"no key for pseudonyms: {KEY_FILE} names a file that is not there") from error
    except UnicodeDecodeError:  # no cause is named: this one carries the file along
        version, secret = "", ""
    if mode & 0o077:
        raise PseudonymKeyError(f"the key file has mode {mode:04o}, expected 0600: others must not read it")
    if not re.fullmatch(r"[0-9a-f]{64}", secret):
        raise PseudonymKeyError(
            "the key file holds no key: expected its version and 64 hexadecimal digits, a line each"
        )
    return Key(version, bytes.fromhex(secret))


def make_key_file(path: Path) -> None:
    """Make a key of 256 random bits, readable by its owner alone, where there is none yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(f"1\n{secrets.token_hex(32)}\n")
