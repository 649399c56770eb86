"""Rotation of the key for pseudonyms; the next export notices it and reads the whole source again."""

import os
from pathlib import Path

import google_crc32c
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from goldline.privacy import pseudonym
from goldline.privacy.pseudonym import KEY_FILE, TIMEOUT, PseudonymKeyError


def rotate_key(project: str = "", key_file: Path | None = None) -> str:
    """Add a new version of the key and return its name; older versions are kept.

    Args:
        project: project of the secret, used if there is no key file.
        key_file: path of the key file; None: the one that GOLDLINE_PII_KEY_FILE names, if it is set.

    Raises:
        PseudonymKeyError: there is neither a key file nor a secret, or it cannot be read or extended.
    """
    named = os.environ.get(KEY_FILE)
    if path := key_file or (Path(named) if named else None):
        return _rotate_file(path)
    return _rotate_secret(pseudonym.secret_name(project))


def _rotate_file(path: Path) -> str:
    versions = pseudonym.read_key_file(path)
    taken = [name for name, _ in versions]
    version = str(max([len(taken), *(int(name) for name in taken if name.isdecimal())]) + 1)
    lines = [line for pair in [(version, pseudonym.new_secret()), *versions] for line in pair]
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # left by a rotation that was killed
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)  # atomic: a lost key cannot be made again
    return version


def _rotate_secret(secret: str) -> str:
    data = pseudonym.new_secret().encode("ascii")
    request = {"parent": secret, "payload": {"data": data, "data_crc32c": google_crc32c.value(data)}}
    try:
        # No retry: after a lost answer it would add a second version.
        made = pseudonym.secret_client().add_secret_version(request=request, retry=None, timeout=TIMEOUT)
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise PseudonymKeyError(f"no new version of {secret}: {error}") from error
    return str(made.name.rsplit("/", 1)[1])
