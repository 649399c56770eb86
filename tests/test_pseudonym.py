"""Pseudonyms, and the key that they are made with."""

import hashlib
import hmac
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldline.pseudonym import KEY_FILE, Key, PseudonymKeyError, load_key, make_key_file

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
