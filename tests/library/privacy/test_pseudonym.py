"""Pseudonyms, and the key that they are made with."""

import hashlib
import hmac
import re
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import google_crc32c
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager as sm
from hypothesis import given
from hypothesis import strategies as st

from goldline.privacy import pseudonym as pseudonym_module
from goldline.privacy.pseudonym import KEY_FILE, Key, PseudonymKeyError, load_key, make_key_file, read_key_file
from goldline.privacy.pseudonym import SECRET as SECRET_VARIABLE
from goldline.privacy.rotate import rotate_key

SECRET = "ab" * 32


def key_file(folder: Path, content: str, mode: int = 0o600) -> Path:
    path = folder / "pii.key"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_pseudonym_is_the_hmac_of_the_value() -> None:
    expected = hmac.new(b"secret", "Zoë".encode(), hashlib.sha256).hexdigest()
    assert Key("1", b"secret").pseudonym("Zoë") == expected


@given(st.text(), st.text(), st.binary(min_size=1), st.binary(min_size=1))
def test_pseudonyms_are_equal_where_value_and_key_are(one: str, other: str, secret: bytes, second: bytes) -> None:
    key = Key("1", secret)
    assert key.pseudonym(one) == Key("2", secret).pseudonym(one)
    assert (key.pseudonym(one) == key.pseudonym(other)) == (one == other)
    if secret.rstrip(b"\x00") != second.rstrip(b"\x00"):  # HMAC fills keys up with zeros
        assert key.pseudonym(one) != Key("1", second).pseudonym(one)


def test_a_key_never_shows_its_secret() -> None:
    key = Key("7", bytes.fromhex(SECRET))
    assert repr(key) == str(key) == "Key(version='7')"


def test_a_key_is_made_once_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "pii.key"
    make_key_file(path)
    monkeypatch.setenv(KEY_FILE, str(path))
    first = load_key()
    make_key_file(path)
    assert load_key() == first
    assert first.version == "1"
    assert len(first.secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_keys_differ(tmp_path: Path) -> None:
    make_key_file(tmp_path / "one")
    make_key_file(tmp_path / "other")
    assert (tmp_path / "one").read_text() != (tmp_path / "other").read_text()


def test_the_keys_version_is_its_files_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_FILE, str(key_file(tmp_path, f"2026-11\n{SECRET}\n", 0o400)))
    assert load_key() == Key("2026-11", bytes.fromhex(SECRET))


def test_without_a_key_nothing_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_FILE, raising=False)
    with pytest.raises(PseudonymKeyError, match=f"{KEY_FILE} is not set"):
        load_key()
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "nowhere"))
    with pytest.raises(PseudonymKeyError, match=f"{KEY_FILE} names a file that is not there"):
        load_key()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    monkeypatch.setenv(KEY_FILE, str(key_file(tmp_path, f"1\n{SECRET}\n", mode)))
    with pytest.raises(PseudonymKeyError, match=f"mode {mode:04o}, expected 0600"):
        load_key()


@pytest.mark.parametrize(
    "content",
    ["", "1", SECRET, f"\n{SECRET}", f"1\n{SECRET[:-2]}", f"1\n{SECRET}00", f"1\n{SECRET.upper()}",
     f"1\n{SECRET}\nmore", "1\n" + "é" * 64],
    ids=["nothing", "a version", "a key", "no version", "short", "long", "upper", "more", "no ASCII"],
)  # fmt: skip
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv(KEY_FILE, str(key_file(tmp_path, content)))
    with pytest.raises(PseudonymKeyError, match="holds no key: expected its version") as caught:
        load_key()
    assert SECRET[:8] not in str(caught.value)


# Rotation


def test_a_key_file_keeps_its_older_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pii.key"
    make_key_file(path)
    monkeypatch.setenv(KEY_FILE, str(path))
    first = load_key()
    assert rotate_key() == "2"
    second = load_key()
    assert (second.version, second.older) == ("2", ("1",))
    assert second.fingerprint != first.fingerprint
    assert second.pseudonym("a") != first.pseudonym("a")
    assert rotate_key(key_file=path) == "3"
    assert load_key().older == ("2", "1")
    assert read_key_file(path)[1:] == [("2", second.secret.hex()), ("1", first.secret.hex())]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["pii.key"]


def test_a_named_version_is_followed_by_a_number(tmp_path: Path) -> None:
    path = key_file(tmp_path, f"2026-11\n{SECRET}\n7\n{SECRET}\n")
    assert rotate_key(key_file=path) == "8"
    assert [name for name, _ in read_key_file(path)] == ["8", "2026-11", "7"]


def test_a_file_that_holds_no_key_is_not_rotated(tmp_path: Path) -> None:
    path = key_file(tmp_path, "1\nnonsense\n")
    with pytest.raises(PseudonymKeyError, match="holds no key"):
        rotate_key(key_file=path)
    assert path.read_text() == "1\nnonsense\n"


# Secret Manager: its own client against a server of the test's, which reads requests into the client's own types


class FakeSecrets(BaseHTTPRequestHandler):
    """Versions of one secret by number: state and payload."""

    versions: ClassVar[dict[int, tuple[str, bytes]]] = {}
    damaged: ClassVar[bool] = False
    name: ClassVar[str] = "projects/p/secrets/goldline-pii-key"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == f"/v1/{self.name}/versions":
            asked = sm.ListSecretVersionsRequest(parent=self.name, filter=parse_qs(url.query)["filter"][0])
            assert asked.filter == "state:ENABLED"
            listed = [self._version(n) for n, (state, _) in self.versions.items() if state == "ENABLED"]
            self._answer(sm.ListSecretVersionsResponse(versions=listed))
        elif match := re.fullmatch(rf"/v1/{self.name}/versions/(\d+):access", url.path):
            data = self.versions[int(match[1])][1]
            payload = sm.SecretPayload(data=data, data_crc32c=google_crc32c.value(data) + self.damaged)
            self._answer(sm.AccessSecretVersionResponse(name=url.path, payload=payload))
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        assert self.path.split("?")[0] == f"/v1/{self.name}:addVersion"
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = sm.AddSecretVersionRequest.from_json(body)
        assert asked.payload.data_crc32c == google_crc32c.value(asked.payload.data)
        number = max(self.versions, default=0) + 1
        self.versions[number] = ("ENABLED", asked.payload.data)
        self._answer(self._version(number))

    def _version(self, number: int) -> sm.SecretVersion:
        return sm.SecretVersion(name=f"{self.name}/versions/{number}", state=sm.SecretVersion.State.ENABLED)

    def _answer(self, message: Any) -> None:
        body = type(message).to_json(message).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def secret_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeSecrets]]:
    """A project whose secret has no version yet, as a task on the cloud finds it."""
    for name in (KEY_FILE, SECRET_VARIABLE, "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(FakeSecrets, "versions", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeSecrets)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    client = sm.SecretManagerServiceClient(
        credentials=AnonymousCredentials(),
        transport="rest",
        client_options={"api_endpoint": f"http://127.0.0.1:{server.server_port}"},
    )
    monkeypatch.setattr(pseudonym_module, "secret_client", lambda: client)
    yield FakeSecrets
    client.transport.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_key_is_the_secrets_newest_enabled_version(secret_manager: type[FakeSecrets]) -> None:
    for n, state in enumerate(("DESTROYED", "ENABLED", "ENABLED", "DISABLED"), 1):
        secret_manager.versions[n] = (state, f"{n}{n}".encode() * 32)
    key = load_key("p")
    assert key == Key("3", bytes.fromhex("33" * 32), ("2", "1"))


def test_the_environment_may_name_the_secret(
    secret_manager: type[FakeSecrets], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_manager.versions[1] = ("ENABLED", SECRET.encode() + b"\n")
    monkeypatch.setenv(SECRET_VARIABLE, "projects/p/secrets/goldline-pii-key")
    assert load_key("another").secret.hex() == SECRET
    monkeypatch.setenv(SECRET_VARIABLE, "projects/p/secrets/nothing")
    with pytest.raises(PseudonymKeyError, match="projects/p/secrets/nothing cannot be read: 404"):
        load_key("p")


def test_a_secret_is_rotated_by_a_version_more(secret_manager: type[FakeSecrets]) -> None:
    with pytest.raises(PseudonymKeyError, match="has no enabled version; run goldline rotate-key"):
        load_key("p")
    assert rotate_key("p") == "1"
    first = load_key("p")
    assert rotate_key("p") == "2"
    second = load_key("p")
    assert (second.version, second.older) == ("2", ("1",))
    assert first.secret != second.secret
    assert len(secret_manager.versions) == 2


def test_a_damaged_or_wrong_secret_is_refused_and_not_shown(
    secret_manager: type[FakeSecrets], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_manager.versions[1] = ("ENABLED", SECRET[:-1].encode())
    with pytest.raises(PseudonymKeyError, match="version 1, holds no key") as caught:
        load_key("p")
    assert SECRET[:8] not in str(caught.value)
    monkeypatch.setattr(secret_manager, "damaged", True)
    with pytest.raises(PseudonymKeyError, match="came damaged"):
        load_key("p")


def test_a_laptop_asks_for_no_key_of_the_cloud(
    secret_manager: type[FakeSecrets], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_manager.versions[1] = ("ENABLED", SECRET.encode())
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    for call in (load_key, rotate_key):
        with pytest.raises(PseudonymKeyError, match=f"{KEY_FILE} is not set, and a local lake must not use"):
            call("p")
