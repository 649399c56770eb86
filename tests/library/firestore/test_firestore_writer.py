"""Documents written in raw commits: all of them, as they were given, however often a commit is sent."""

import datetime
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud.firestore import CollectionReference, GeoPoint

from goldline.clients import firestore_client
from goldline.firestore import writer
from goldline.firestore.calls import Database
from goldline.firestore.writer import WriteError, write
from tests.support.faulty import Faulty, serving

NOON = datetime.datetime(2026, 11, 20, 12, 0, 5, 123456, tzinfo=datetime.UTC)
connect = partial(Database, "p", "(default)")


@pytest.fixture
def firestore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    monkeypatch.setattr(writer, "PAUSE", 0.01)
    with serving(tmp_path) as (faulty, address):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
        yield faulty


@pytest.fixture
def collection(firestore: Faulty) -> CollectionReference:
    return firestore_client("p").collection("things")


def numbered(count: int, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(f"n{number:04d}", {"number": number, **more}) for number in range(count)]


def content(collection: CollectionReference) -> list[tuple[str, dict[str, Any]]]:
    return [(d.id, d.to_dict() or {}) for d in collection.stream()]


def test_documents_are_read_as_they_were_written(collection: CollectionReference) -> None:
    body: dict[str, Any] = {
        "a": None,
        "b": [1, {"c.d": b"x"}],
        "at": NOON,
        "where": GeoPoint(1, 2),
        "n": -0.0,
        "empty": {},
        "none": [],
    }
    assert write(connect, "things", [("a b", body), ("c", {})]) == 2
    assert content(collection) == [("a b", body), ("c", {})]
    assert Database("p", "(default)").get(
        ["projects/p/databases/(default)/documents/things/a b", "projects/p/databases/(default)/documents/things/no"],
        ["at"],
    ) == {"projects/p/databases/(default)/documents/things/a b": {"at": NOON}}


def test_a_commit_has_at_most_500_writes(collection: CollectionReference, firestore: Faulty) -> None:
    assert write(connect, "things", numbered(1203)) == 1203
    assert sorted(firestore.commits) == [203, 500, 500]
    assert content(collection) == numbered(1203)
    assert write(connect, "things", []) == 0


def test_a_commit_is_smaller_than_a_request_may_be(collection: CollectionReference, firestore: Faulty) -> None:
    large = numbered(25, note="x" * 900_000)
    assert write(connect, "things", large) == 25
    assert sorted(firestore.commits) == [5, 10, 10]
    assert content(collection) == large


@pytest.mark.parametrize(
    "refusal", [grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, None]
)
def test_a_commit_that_was_not_taken_or_not_answered_is_sent_again(
    collection: CollectionReference, firestore: Faulty, refusal: grpc.StatusCode | None
) -> None:
    firestore.refusals = (refusal,) * 3
    assert write(connect, "things", numbered(700)) == 700
    assert len(firestore.commits) > 2
    assert content(collection) == numbered(700)


def test_what_is_written_again_changes_nothing(collection: CollectionReference) -> None:
    write(connect, "things", numbered(20))
    times = [d.update_time for d in collection.stream()]
    write(connect, "things", numbered(20))
    assert [d.update_time for d in collection.stream()] == times


def test_of_a_document_that_comes_twice_the_last_one_stands(
    collection: CollectionReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_WRITES", 3)
    documents = [(f"n{number % 5}", {"number": number}) for number in range(200)]
    write(connect, "things", documents)
    assert content(collection) == [(f"n{number}", {"number": 195 + number}) for number in range(5)]


def test_a_firestore_that_stays_busy_is_an_error(firestore: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.1)
    firestore.refusals = (grpc.StatusCode.RESOURCE_EXHAUSTED,) * 1000
    with pytest.raises(WriteError, match=r"Firestore did not take a commit, tried for 0 s: .*too busy"):
        write(connect, "things", numbered(3))


def test_what_firestore_refuses_is_not_tried_again(firestore: Faulty) -> None:
    with pytest.raises(InvalidArgument):
        write(connect, "things", [("..", {})])
    assert len(firestore.commits) == 1


def test_what_no_document_holds_is_an_error(firestore: Faulty) -> None:
    with pytest.raises(TypeError, match="Firestore holds no value of type set"):
        write(connect, "things", [("a", {"set": {1}})])
