"""One contract for both Firestore servers of the laptop: Google's emulator, and the one that needs no Java.

Google's is skipped where it is missing. Where the two differ, DIFFERENCES says how.
"""

import datetime
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1 import And, FieldFilter, Or
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.query_profile import ExplainOptions
from google.cloud.firestore_v1.types import document as messages
from google.cloud.firestore_v1.vector import Vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldline.emulators.firestore import document_store as store
from goldline.emulators.firestore import service
from goldline.emulators.firestore.grpc_errors import FirestoreError
from goldline.emulators.firestore.keys import Key
from goldline.local import processes, servers

pytestmark = pytest.mark.servers

GOOGLE, OURS = "google", "goldline"
UTC = datetime.UTC
MAX = 2**63 - 1


def start_ours(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "goldline.emulators.firestore", "--host", servers.HOST, "--port", str(port)]
    log = folder / f"{port}.log"
    process = processes.start([*command, "--data", str(folder / "firestore.sqlite")], log)
    processes.wait_until(lambda: processes.is_listening(port), process, log, 30)
    return process


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The servers that this machine can run."""
    folder = tmp_path_factory.mktemp("firestore")
    found: dict[str, str] = {}
    started = []
    try:
        if (plan := servers.firestore(folder)).is_saved_on_stop:  # Google's, where Java and the Cloud SDK are
            google = servers.launch(plan, folder)
            started.append(google.process)
            google.wait()
            found[GOOGLE] = f"{servers.HOST}:{google.plan.port}"
        port = processes.free_port()
        started.append(start_ours(folder, port))
        found[OURS] = f"{servers.HOST}:{port}"
        yield found
    finally:
        for process in started:
            processes.stop(process)


def client_of(address: str, project: str | None = None) -> firestore.Client:
    before = os.environ.get("FIRESTORE_EMULATOR_HOST")
    os.environ["FIRESTORE_EMULATOR_HOST"] = address
    try:
        return firestore.Client(project or f"p{uuid.uuid4().hex[:12]}", AnonymousCredentials())
    finally:
        del os.environ["FIRESTORE_EMULATOR_HOST"]
        if before is not None:
            os.environ["FIRESTORE_EMULATOR_HOST"] = before


@pytest.fixture(params=[GOOGLE, OURS])
def server(request: pytest.FixtureRequest, addresses: dict[str, str]) -> str:
    name: str = request.param
    if name not in addresses:
        pytest.skip("no Java, or no Cloud SDK with the Firestore emulator")
    return name


@pytest.fixture
def client(server: str, addresses: dict[str, str]) -> Iterator[firestore.Client]:
    """A client of one server, with an empty database of its own."""
    made = client_of(addresses[server])
    yield made
    made.close()


def root(client: firestore.Client) -> str:
    return f"{client._database_string}/documents"


def call(client: firestore.Client, method: str, **request: Any) -> Any:
    """A call as the wire has it; without its metadata, Google's emulator applies security rules."""
    return getattr(client._firestore_api, method)(request=request, metadata=client._rpc_metadata, retry=None)


def write(client: firestore.Client, path: str, **value: Any) -> None:
    fields = {"a": messages.Value(**value)}
    call(client, "commit", database=client._database_string, writes=[{"update": {"name": path, "fields": fields}}])


def fill(client: firestore.Client, collection: str, documents: Mapping[str, dict[str, Any]]) -> Any:
    batch = client.batch()
    for name, content in documents.items():
        batch.set(client.collection(collection).document(name), content)
    batch.commit()
    return client.collection(collection)


def ids(query: Any, **options: Any) -> list[str]:
    return [found.id for found in query.stream(**options)]


def paths(query: Any) -> list[str]:
    return [found.reference.path for found in query.stream()]


def set_document(document: Any, content: dict[str, Any], **options: Any) -> Any:
    """Set a document; its update time."""
    return document.set(content, **options).update_time


def value_of(aggregation: Any, **options: Any) -> Any:
    [[result]] = aggregation.get(**options)
    return result.value


# --- writes -----------------------------------------------------------------------------------------------------------


def test_a_document_is_made_once(client: firestore.Client) -> None:
    document = client.document("c/a")
    document.create({"n": 1})
    with pytest.raises(exceptions.AlreadyExists):
        document.create({"n": 2})
    found = document.get()
    assert found.to_dict() == {"n": 1}
    assert found.create_time == found.update_time < found.read_time
    assert not client.document("c/b").get().exists


def test_what_must_exist_must_exist(client: firestore.Client) -> None:
    missing = client.document("c/missing")
    other = client.document("c/other").set({"n": 1}).update_time
    for wrong in (
        lambda: missing.update({"n": 1}),
        lambda: missing.update({"n": firestore.Increment(1)}),
        lambda: missing.delete(option=client.write_option(exists=True)),
    ):
        with pytest.raises(exceptions.NotFound):
            wrong()
    with pytest.raises(exceptions.FailedPrecondition):
        missing.update({"n": 1}, option=client.write_option(last_update_time=other))
    missing.delete()
    assert not missing.get().exists


def test_an_update_can_ask_for_the_version_it_changes(client: firestore.Client) -> None:
    document = client.document("c/a")
    first = document.set({"n": 1}).update_time
    second = document.update({"n": 2}, option=client.write_option(last_update_time=first)).update_time
    with pytest.raises(exceptions.FailedPrecondition):
        document.update({"n": 3}, option=client.write_option(last_update_time=first))
    with pytest.raises(exceptions.FailedPrecondition):
        document.delete(option=client.write_option(last_update_time=first))
    assert document.get().to_dict() == {"n": 2}
    document.delete(option=client.write_option(last_update_time=second))
    assert not document.get().exists


def test_times(client: firestore.Client) -> None:
    document = client.document("c/a")
    written = [set_document(document, {"n": n}) for n in range(20)]
    assert sorted(set(written)) == written
    found = document.get()
    assert (found.create_time, found.update_time) == (written[0], written[-1])
    document.delete()
    again = set_document(document, {"n": 19})
    assert document.get().create_time == again > written[-1]


@pytest.mark.parametrize("merge", [False, True])
def test_a_write_that_changes_nothing_is_no_update(client: firestore.Client, merge: bool) -> None:
    content = {"a": 1, "b": [1.0, math.nan], "c": {"x": None, "y": b"1"}}
    document = client.document("c/a")
    first = set_document(document, content)
    assert set_document(document, content, merge=merge) == first
    assert document.get().update_time == first
    assert set_document(document, {**content, "a": 1.0}, merge=merge) > first


def test_merge_and_update(client: firestore.Client) -> None:
    document = client.document("c/a")

    def content() -> Any:
        return document.get().to_dict()

    document.set({"a": {"b": 1, "c": 2}, "d": 3})
    document.set({"a": {"b": 9}}, merge=True)
    assert content() == {"a": {"b": 9, "c": 2}, "d": 3}
    set_document(document, {"a": {"z": 1}}, merge=["a"])
    assert content() == {"a": {"z": 1}, "d": 3}
    document.update({"a.q": 5, "d": firestore.DELETE_FIELD, "e.f.g": 1, "`x.y`": 1, "n.o": firestore.DELETE_FIELD})
    assert content() == {"a": {"z": 1, "q": 5}, "e": {"f": {"g": 1}}, "x.y": 1}
    document.update({"e.f": firestore.DELETE_FIELD})
    assert content() == {"a": {"z": 1, "q": 5}, "e": {}, "x.y": 1}
    document.set({"d": 5})
    document.update({"d.e": firestore.DELETE_FIELD})
    assert content() == {"d": 5}
    document.update({"d.e": 1})
    assert content() == {"d": {"e": 1}}
    client.document("c/b").set({"a": {"b": 1}}, merge=True)
    assert client.document("c/b").get().to_dict() == {"a": {"b": 1}}


def test_transforms(client: firestore.Client) -> None:
    document = client.document("c/a")
    document.set({"i": 1, "f": 0.5, "s": "x", "a": [1, 2, 2], "max": MAX, "min": -MAX, "nan": math.nan, "same": 3})
    result = document.update(
        {
            "i": firestore.Increment(2),
            "f": firestore.Increment(1),
            "s": firestore.Increment(4),
            "new.deep": firestore.Increment(1.5),
            "a": firestore.ArrayUnion([2.0, 3, 3, None]),
            "b": firestore.ArrayUnion([1]),
            "c": firestore.ArrayRemove([1]),
            "max": firestore.Increment(5),
            "min": firestore.Increment(-5),
            "nan": firestore.Maximum(1),
            "same": firestore.Maximum(3.0),
            "at": firestore.SERVER_TIMESTAMP,
        }
    )
    content = document.get().to_dict() or {}
    at = content.pop("at")
    assert math.isnan(content.pop("nan"))
    assert content == {
        "i": 3,
        "f": 1.5,
        "s": 4,
        "new": {"deep": 1.5},
        "a": [1, 2, 2, 3, None],
        "b": [1],
        "c": [],
        "max": MAX,
        "min": -MAX - 1,
        "same": 3,
    }
    assert isinstance(content["same"], int)
    assert at.microsecond % 1000 == 0
    assert abs(at - result.update_time) < datetime.timedelta(seconds=1)
    assert {3, 4} < {found.integer_value for found in result.transform_results}
    assert len(result.transform_results) == 12
    document.update({"a": firestore.ArrayRemove([2.0, 9]), "i": firestore.Minimum(-1.5), "f": firestore.Maximum(1)})
    content = document.get().to_dict() or {}
    assert (content["a"], content["i"], content["f"]) == ([1, 3, None], -1.5, 1.5)


def test_a_batch_is_atomic_and_in_order(client: firestore.Client) -> None:
    a, b = client.document("c/a"), client.document("c/b")
    b.set({})
    batch = client.batch()
    batch.set(a, {"n": 1})
    batch.create(b, {})
    with pytest.raises(exceptions.AlreadyExists):
        batch.commit()
    assert not a.get().exists
    batch = client.batch()
    batch.set(a, {"n": 1})
    batch.update(a, {"m": 2})
    batch.delete(a)
    batch.create(a, {"n": 3})
    batch.update(a, {"m": 4})
    batch.delete(b)
    assert len(batch.commit()) == 6
    found = a.get()
    assert found.to_dict() == {"n": 3, "m": 4}
    assert found.create_time == found.update_time == batch.commit_time
    assert not b.get().exists


def test_more_than_500_writes(client: firestore.Client) -> None:
    fill(client, "c", {f"{n:04}": {"n": n} for n in range(600)})
    assert value_of(client.collection("c").count()) == 600


def test_batch_write_gives_a_status_each(client: firestore.Client) -> None:
    there, missing = f"{root(client)}/c/a", f"{root(client)}/c/b"
    client.document("c/a").set({})
    result = call(
        client,
        "batch_write",
        database=client._database_string,
        writes=[
            {"update": {"name": there}, "current_document": {"exists": False}},
            {"update": {"name": missing}, "current_document": {"exists": True}},
            {"update": {"name": f"{root(client)}/c/c"}},
            {"delete": f"{root(client)}/c/d"},
        ],
    )
    assert [status.code for status in result.status] == [6, 5, 0, 0]
    assert len(result.write_results) == 4
    assert ids(client.collection("c")) == ["a", "c"]
    with pytest.raises(exceptions.InvalidArgument):
        call(client, "batch_write", database=client._database_string, writes=[{"delete": there}, {"delete": there}])


def test_bulk_writer(client: firestore.Client) -> None:
    writer = client.bulk_writer()
    for n in range(45):
        writer.create(client.document(f"c/{n}"), {"n": n})
    writer.close()
    assert value_of(client.collection("c").count()) == 45


def test_what_cannot_be_stored(client: firestore.Client) -> None:
    name = f"{root(client)}/c/a"
    nested = {"values": [messages.Value(array_value={"values": []})]}
    for value in (
        {"array_value": nested},
        {"map_value": {"fields": {"x": messages.Value(array_value=nested)}}},
        {"map_value": {"fields": {"__x__": messages.Value(null_value=0)}}},
        {"map_value": {"fields": {"": messages.Value(null_value=0)}}},
        {"timestamp_value": {"seconds": -62135596801}},
        {"string_value": "x" * 1_048_577},
        {},
    ):
        with pytest.raises(exceptions.InvalidArgument):
            write(client, name, **value)
    for bad in ("c", "c/a/d", "c/.", "c/..", "c/__x__", "c/__id07__", f"c/{'x' * 1501}", "c//d/e"):
        with pytest.raises(exceptions.InvalidArgument):
            write(client, f"{root(client)}/{bad}", null_value=0)
    assert ids(client.collection("c")) == []


def test_timestamps_have_microseconds(client: firestore.Client) -> None:
    precise = {"timestamp_value": {"seconds": 5, "nanos": 123456789}}
    inner = messages.Value(**precise)
    write(client, f"{root(client)}/c/a", **precise)
    write(client, f"{root(client)}/c/b", array_value={"values": [inner]})
    write(client, f"{root(client)}/c/c", map_value={"fields": {"x": inner}})
    a, b, c = (found.get("a") for found in client.collection("c").stream())
    assert a == b[0] == c["x"] == datetime.datetime(1970, 1, 1, 0, 0, 5, 123456, UTC)
    assert a.nanosecond == 0  # none below the microseconds


# --- reads ------------------------------------------------------------------------------------------------------------


def test_get_all(client: firestore.Client) -> None:
    fill(client, "c", {"a": {"a": {"b": 1, "c": 2}, "d": 3, "x.y": 4}, "b": {}})
    asked = [client.document(f"c/{name}") for name in "bza"]
    found = list(client.get_all([*asked, asked[0]], field_paths=["a.b", "zz", "`x.y`"]))
    assert [(one.id, one.exists, one.to_dict()) for one in found] == [
        ("b", True, {}),
        ("z", False, None),
        ("a", True, {"a": {"b": 1}, "x.y": 4}),
    ]
    assert len({one.read_time for one in found}) == 1


def test_reads_as_of_a_moment(client: firestore.Client) -> None:
    c = fill(client, "c", {"a": {"n": 1}, "b": {"n": 1}})
    [[counted]] = c.count().get()
    then = counted.read_time
    c.document("a").set({"n": 2})
    c.document("b").delete()
    c.document("c").set({"n": 3})
    for _ in range(2):
        assert [found.to_dict() for found in c.stream(read_time=then)] == [{"n": 1}, {"n": 1}]
        assert [found.read_time for found in c.stream(read_time=then)] == [then, then]
        assert ids(c.where(filter=FieldFilter("n", "==", 1)), read_time=then) == ["a", "b"]
        assert value_of(c.count(), read_time=then) == counted.value == 2
        assert value_of(c.sum("n"), read_time=then) == 2
        assert c.document("a").get(read_time=then).to_dict() == {"n": 1}
        assert not c.document("c").get(read_time=then).exists
        assert [one.exists for one in client.get_all([c.document("b"), c.document("c")], read_time=then)] == [
            True,
            False,
        ]
        assert [one.id for one in c.list_documents(read_time=then)] == ["a", "b"]
    assert ids(c) == ["a", "c"]
    assert ids(c, read_time=then - datetime.timedelta(minutes=50)) == []
    with pytest.raises(exceptions.InvalidArgument):
        ids(c, read_time=datetime.datetime.now(UTC) + datetime.timedelta(hours=1))


def test_a_moment_stays_the_same_while_others_write(client: firestore.Client, server: str) -> None:
    c = client.collection("c")
    names = [f"{n}" for n in range(20)]
    fill(client, "c", {name: {"n": 0} for name in names})
    stop = threading.Event()

    def writing() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            fill(client, "c", {name: {"n": n} for name in names})

    writer = threading.Thread(target=writing)
    writer.start()
    try:
        for _ in range(15):
            if server == OURS:  # a stream of Google's emulator that asks for no moment may see half of a commit
                assert len({found.get("n") for found in c.stream()}) == 1
            [[counted]] = c.count().get()
            seen, again = ([(d.id, d.to_dict()) for d in c.stream(read_time=counted.read_time)] for _ in range(2))
            assert seen == again
            assert len({str(content) for _, content in seen}) == 1
    finally:
        stop.set()
        writer.join()


IDS = [
    "__id-3__",
    "__id7__",
    "__id10__",
    "10",
    "9",
    "A",
    "Z",
    "_",
    "a",
    "a\x01",
    "a b",
    "ab",
    "~",
    "é",
    "ﬀ",
    "\uffff",
    "😀",
]


def test_names_sort_by_their_bytes(client: firestore.Client) -> None:
    c = fill(client, "c", {name: {"n": 1} for name in reversed(IDS)})
    assert ids(c) == IDS
    assert [one.id for one in c.list_documents(page_size=5)] == IDS
    assert ids(c.order_by("n", direction="DESCENDING")) == IDS[::-1]
    assert ids(c.where(filter=FieldFilter("__name__", "<", c.document("10")))) == IDS[:3]


def test_ranges_of_names(client: firestore.Client) -> None:
    c = fill(client, "c", {f"{n:02}": {"n": n} for n in range(20)})

    def name(n: int) -> dict[str, Any]:
        return {"__name__": c.document(f"{n:02}")}

    def by(operator: str, n: int) -> FieldFilter:
        return FieldFilter("__name__", operator, c.document(f"{n:02}"))

    ordered = c.order_by("__name__")
    assert ids(ordered.start_at(name(5)).end_at(name(7))) == ["05", "06", "07"]
    assert ids(ordered.start_after(name(5)).end_before(name(8))) == ["06", "07"]
    assert ids(ordered.start_after(name(5)).limit(2)) == ["06", "07"]
    assert ids(c.where(filter=by(">=", 17)).where(filter=by("<", 19))) == ["17", "18"]
    assert ids(c.where(filter=by(">", 17)).where(filter=by("<=", 19)).order_by("__name__")) == ["18", "19"]
    assert ids(c.where(filter=by(">", 3)).start_after(c.document("04").get()).limit(1)) == ["05"]
    assert ids(c.where(filter=by("==", 3))) == ["03"]
    assert ids(c.where(filter=FieldFilter("__name__", "in", [c.document("04"), c.document("03")]))) == ["03", "04"]
    assert len(ids(c.where(filter=by("!=", 3)))) == 19
    assert ids(c.where(filter=by(">", 3)).where(filter=FieldFilter("n", "in", [2, 4, 6]))) == ["04", "06"]
    assert [one.id for one in c.order_by("n").limit_to_last(2).get()] == ["18", "19"]
    with pytest.raises(exceptions.InvalidArgument):
        ids(c.where(filter=FieldFilter("__name__", ">", "text")))


def place(latitude: float, longitude: float) -> firestore.GeoPoint:
    return firestore.GeoPoint(latitude, longitude)


# In Firestore's order; values in one group are equal.
VALUES: list[list[Any]] = [
    *([None], [False], [True], [math.nan], [-math.inf], [-MAX - 1], [-1.5], [-0.0, 0, 0.0], [1, 1.0], [1.5]),
    *([2**53, 2.0**53], [2**53 + 1], [2**53 + 2], [MAX - 1], [MAX], [2.0**63], [math.inf]),
    *([datetime.datetime(1, 1, 1, tzinfo=UTC)], [datetime.datetime(2020, 1, 1, tzinfo=UTC)]),
    *([datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)],),
    *([""], ["B"], ["a"], ["a\0"], ["ab"], ["é"], ["ﬀ"], ["😀"], [b""], [b"\0"], [b"a"], [b"\xff"]),
    *(["ref:a/b"], ["ref:a/b/c/d"], ["ref:a/c"], [place(-1, 5)], [place(1, -2)], [place(1, 2)]),
    *([[]], [[None]], [[1]], [[1, 2]], [["a"]], [Vector([3.0])], [Vector([1.0, 1.0])], [Vector([1.0, 2.0])]),
    *([{}], [{"a": 1}], [{"a": 1, "b": 0}], [{"a": 2}], [{"aa": 1}], [{"b": 0}]),
]


def values_of(client: firestore.Client) -> tuple[Any, list[str]]:
    """A collection of all values, and their ids in order."""
    documents: dict[str, dict[str, Any]] = {}
    for rank, group in enumerate(VALUES):
        for part, value in enumerate(group):
            reference = isinstance(value, str) and value.startswith("ref:")
            documents[f"{rank:02}{part}"] = {"v": client.document(value[4:]) if reference else value, "rank": rank}
    in_order = list(documents)
    c = fill(client, "values", {name: documents[name] for name in sorted(documents, key=hash)})
    c.document("none").set({"rank": 999})
    return c, in_order


def test_values_sort_across_types(client: firestore.Client) -> None:
    c, in_order = values_of(client)
    assert ids(c.order_by("v")) == in_order
    assert ids(c.order_by("v", direction="DESCENDING")) == in_order[::-1]
    assert value_of(c.order_by("v").count()) == len(in_order)


KINDS = [
    1,
    2,
    1,
    13,
    3,
    8,
    4,
    3,
    3,
    5,
    3,
    6,
]  # groups of VALUES that are of one kind: null, booleans, NaN, numbers, ...


@pytest.mark.parametrize("rank", [2, 7, 8, 11, 14, 18, 22, 30, 32, 37, 40, 43, 46])
def test_ranges_stay_within_a_type(client: firestore.Client, rank: int) -> None:
    c, in_order = values_of(client)
    kind = next(range(end - size, end) for size, end in zip(KINDS, _running(KINDS), strict=True) if rank < end)
    value = next(found.get("v") for found in c.where(filter=FieldFilter("rank", "==", rank)).stream())

    def expected(test: Callable[[int], bool]) -> list[str]:
        return [name for name in in_order if int(name[:2]) in kind and test(int(name[:2]))]

    for operator, test in (
        ("<", rank.__gt__),
        ("<=", rank.__ge__),
        (">", rank.__lt__),
        (">=", rank.__le__),
        ("==", rank.__eq__),
    ):
        assert ids(c.where(filter=FieldFilter("v", operator, value))) == expected(test), operator
    others = [name for name in in_order if int(name[:2]) not in (0, rank)]
    assert ids(c.where(filter=FieldFilter("v", "!=", value))) == others


def _running(sizes: list[int]) -> list[int]:
    return [sum(sizes[: n + 1]) for n in range(len(sizes))]


def test_unary_filters(client: firestore.Client) -> None:
    c, in_order = values_of(client)
    null, nan, known = in_order[0], in_order[3], in_order[1:]
    assert ids(c.where(filter=FieldFilter("v", "==", None))) == [null]
    assert ids(c.where(filter=FieldFilter("v", "!=", None))) == known
    assert ids(c.where(filter=FieldFilter("v", "==", math.nan))) == [nan]
    assert ids(c.where(filter=FieldFilter("v", "!=", math.nan))) == [name for name in known if name != nan]


def test_filters_with_lists(client: firestore.Client) -> None:
    c, in_order = values_of(client)

    def found(operator: str, wanted: Any) -> list[str]:
        return ids(c.where(filter=FieldFilter("v", operator, wanted)))

    ones, text = ["080", "081"], ["220"]
    assert found("in", ["a", 1, None, math.nan]) == ones + text  # neither null nor NaN is in a list
    assert found("not-in", ["a", 1, math.nan]) == [name for name in in_order[1:] if name not in ones + text]
    assert found("not-in", [1, None]) == []
    assert found("array_contains", 1.0) == ["400", "410"]
    assert found("array_contains_any", [2, "a", None]) == ["410", "420"]
    descending = c.where(filter=FieldFilter("v", "in", ["a", 1])).order_by("rank", direction="DESCENDING")
    assert ids(descending) == [*text, *reversed(ones)]
    for operator, wanted in (("in", []), ("in", list(range(31))), ("not-in", list(range(11)))):
        with pytest.raises(exceptions.InvalidArgument):
            found(operator, wanted)


def test_filters_together(client: firestore.Client) -> None:
    c = fill(client, "c", {f"{n:02}": {"n": n, "m": n % 3, "deep": {"x.y": n % 2}} for n in range(12)})

    def n(operator: str, value: int) -> FieldFilter:
        return FieldFilter("n", operator, value)

    def m(value: int) -> FieldFilter:
        return FieldFilter("m", "==", value)

    assert ids(c.where(filter=m(1)).where(filter=n(">", 4))) == ["07", "10"]
    assert ids(c.where(filter=And([m(1), n(">", 4), n("<=", 7)]))) == ["07"]
    assert ids(c.where(filter=Or([n("==", 3), n("==", 1)]))) == ["01", "03"]
    assert ids(c.where(filter=Or([n("==", 11), And([m(0), n("<", 4)])]))) == ["00", "03", "11"]
    assert ids(c.where(filter=n(">", 8)).where(filter=FieldFilter("m", ">=", 1))) == ["10", "11"]
    assert ids(c.where(filter=n(">", 8)).order_by("m")) == ["09", "10", "11"]
    assert ids(c.where(filter=n(">", 8)).order_by("m", direction="DESCENDING")) == ["11", "10", "09"]
    assert ids(c.where(filter=FieldFilter("deep.`x.y`", "==", 1)).limit(2)) == ["01", "03"]
    with pytest.raises(exceptions.InvalidArgument):
        ids(c.where(filter=n("!=", 1)).where(filter=FieldFilter("m", "not-in", [1])))


def test_cursors_limits_and_offsets(client: firestore.Client) -> None:
    c = fill(client, "c", {f"{n}": {"n": n // 2, "m": -n} for n in range(8)})
    by_n = c.order_by("n")
    assert ids(by_n.start_at({"n": 1}).end_before({"n": 3})) == ["2", "3", "4", "5"]
    assert ids(by_n.start_after({"n": 1}).end_at({"n": 2})) == ["4", "5"]
    assert ids(by_n.start_after(c.document("2").get()).limit(2)) == ["3", "4"]
    assert ids(by_n.order_by("m").start_at({"n": 1, "m": -2})) == ["2", "5", "4", "7", "6"]
    down = c.order_by("n", direction="DESCENDING")
    assert ids(down) == ["7", "6", "5", "4", "3", "2", "1", "0"]
    assert ids(down.start_after({"n": 2}).end_at({"n": 1})) == ["3", "2"]
    assert ids(down.order_by("m").start_at({"n": 2, "m": -4}).limit(2)) == ["4", "3"]
    # The client turns the query itself round for limit_to_last, so that it serves once only.
    assert [found.id for found in c.order_by("n").limit_to_last(3).get()] == ["5", "6", "7"]
    assert ids(by_n.offset(3).limit(2)) == ["3", "4"]
    assert ids(c.offset(6)) == ["6", "7"]
    assert ids(c.limit(0)) == ids(c.offset(9)) == []


@pytest.mark.parametrize(
    "query",
    [
        {"limit": -1},
        {"offset": -1},
        {"start_at": {"values": [messages.Value(integer_value=1)]}},
        {"order_by": [{"field": {"field_path": "a..b"}}]},
        {"order_by": [{"field": {"field_path": "__name__"}}, {"field": {"field_path": "a"}}]},
    ],
)
def test_queries_that_are_wrong(client: firestore.Client, query: dict[str, Any]) -> None:
    wrong = {"from_": [{"collection_id": "c"}], **query}
    with pytest.raises(exceptions.InvalidArgument):
        list(call(client, "run_query", parent=root(client), structured_query=wrong))


def test_select(client: firestore.Client) -> None:
    c = fill(client, "c", {"a": {"a": {"b": 1, "c": 2}, "d": 3, "x.y": 4}, "b": {"d": 5}})
    assert [found.to_dict() for found in c.select(["a.b", "`x.y`", "zz"]).stream()] == [{"a": {"b": 1}, "x.y": 4}, {}]
    assert [found.to_dict() for found in c.select([]).stream()] == [{}, {}]
    assert [found.to_dict() for found in c.order_by("d").select(["__name__"]).stream()] == [{}, {}]
    assert next(c.select(["d"]).stream()).update_time == c.document("a").get().update_time


GROUP = ["g/a", "g/a/g/b", "g/a/h/z", "g/b", "h/x/g/c", "h/x/y/z/g/q"]


def test_collection_groups_and_listings(client: firestore.Client) -> None:
    for n, path in enumerate(GROUP):
        client.document(path).set({"n": n})
    group = client.collection_group("g")
    in_group = [path for path in GROUP if "/h/" not in path]
    assert paths(group) == in_group
    assert paths(group.where(filter=FieldFilter("n", ">=", 2))) == in_group[2:]
    assert paths(group.order_by("n", direction="DESCENDING").limit(2)) == in_group[:-3:-1]
    after = group.order_by("__name__").start_after({"__name__": client.document("g/a")})
    assert paths(after) == in_group[1:]
    assert value_of(group.count()) == len(in_group)
    assert paths(client.collection("g")) == ["g/a", "g/b"]
    assert paths(client.document("h/x").collection("g")) == ["h/x/g/c"]
    assert paths(client.collection("g").recursive()) == GROUP[:4]
    assert [found.id for found in client.collections()] == ["g", "h"]
    assert [found.id for found in client.document("g/a").collections()] == ["g", "h"]
    assert [found.id for found in client.document("h/x").collections()] == ["g", "y"]
    assert [found.id for found in client.collection("h").list_documents()] == ["x"]  # it has descendants only
    assert client.recursive_delete(client.collection("g")) == 4
    assert [found.id for found in client.collections()] == ["h"]


def test_many_documents_are_listed(client: firestore.Client) -> None:
    names = [f"{n:03}" for n in range(320)]
    c = fill(client, "c", {name: {} for name in names})
    assert [found.id for found in c.list_documents()] == names
    page = call(client, "list_documents", parent=root(client), collection_id="c", page_size=7)
    assert len(page.documents) == 7


def test_aggregations(client: firestore.Client) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": 1}, {"a": 2, "b": 1.5}, {"a": "x", "b": 2}, {"b": 3}, {"a": None}]
    c = fill(client, "c", {str(n): row for n, row in enumerate(rows)})
    assert (value_of(c.count()), value_of(c.sum("a")), value_of(c.avg("a"))) == (5, 3, 1.5)
    assert value_of(c.sum("b")) == 7.5
    assert value_of(c.limit(2).count()) == 2
    assert value_of(c.where(filter=FieldFilter("b", ">", 1)).count()) == 3
    assert value_of(c.order_by("a").count()) == 4
    [results] = c.count(alias="n").sum("a", alias="s").avg("b", alias="v").get()
    # Only documents that have all the fields count: https://firebase.google.com/docs/firestore/query-data/aggregation-queries
    assert {found.alias: found.value for found in results} == {"n": 3, "s": 3, "v": 1.5}
    [results] = c.count().sum("b").count(alias="x").get()
    assert {found.alias for found in results} == {"field_1", "field_2", "x"}
    assert value_of(c.sum("zz")) == 0
    c.document("9").set({"a": MAX})
    assert value_of(c.sum("a")) == float(MAX)
    c.document("10").set({"a": -5})
    assert value_of(c.sum("a")) == MAX - 2
    c.document("9").set({"a": math.nan})
    assert math.isnan(value_of(c.sum("a")))


# --- transactions -----------------------------------------------------------------------------------------------------


def test_transactions_count_well_together(client: firestore.Client) -> None:
    document = client.document("c/a")
    document.set({"n": 0})

    @firestore.transactional
    def increment(transaction: firestore.Transaction) -> None:
        n = document.get(transaction=transaction).get("n")
        transaction.update(document, {"n": n + 1})

    def once() -> None:
        increment(client.transaction(max_attempts=40))

    # Few: Google's emulator locks, and two that wait for each other wait for seconds.
    threads = [threading.Thread(target=once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    once()
    assert document.get().get("n") == 3


def test_transactions_that_query(client: firestore.Client) -> None:
    c = fill(client, "c", {"a": {"n": 1}})

    @firestore.transactional
    def total(transaction: firestore.Transaction) -> int:
        n: int = sum(found.get("n") for found in c.stream(transaction=transaction))
        transaction.set(c.document("total"), {"n": n})
        return n

    assert total(client.transaction()) == 1
    assert total(client.transaction()) == 2

    @firestore.transactional
    def names(transaction: firestore.Transaction) -> list[str]:
        return ids(c, transaction=transaction)

    assert names(client.transaction(read_only=True)) == ["a", "total"]


def test_a_failed_transaction_leaves_nothing(client: firestore.Client) -> None:
    document = client.document("c/a")

    @firestore.transactional
    def failing(transaction: firestore.Transaction) -> None:
        document.get(transaction=transaction)
        transaction.set(document, {})
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        failing(client.transaction())
    assert not document.get().exists


def test_transactions_that_are_not_open(client: firestore.Client) -> None:
    database, name = client._database_string, f"{root(client)}/c/a"
    done = call(client, "begin_transaction", database=database).transaction
    call(client, "commit", database=database, transaction=done)
    readonly = call(client, "begin_transaction", database=database, options={"read_only": {}}).transaction
    for method, request in (
        ("commit", {"transaction": b"none"}),
        ("commit", {"transaction": done}),
        ("commit", {"transaction": readonly, "writes": [{"delete": name}]}),
        ("rollback", {"transaction": b"none"}),
    ):
        with pytest.raises(exceptions.InvalidArgument):
            call(client, method, database=database, **request)
    with pytest.raises(exceptions.InvalidArgument):
        list(call(client, "batch_get_documents", database=database, documents=[name], transaction=b"none"))


# --- where the two differ ---------------------------------------------------------------------------------------------


def an_hour_old(client: firestore.Client) -> None:
    ids(client.collection("c"), read_time=datetime.datetime.now(UTC) - datetime.timedelta(hours=2))


def vector_search(client: firestore.Client) -> None:
    list(client.collection("c").find_nearest("v", Vector([1.0]), 1, DistanceMeasure.EUCLIDEAN).stream())


def new_transaction(client: firestore.Client) -> None:
    request = {"documents": [f"{root(client)}/c/a"], "new_transaction": {"read_only": {}}}
    list(call(client, "batch_get_documents", database=client._database_string, **request))


def update_document(client: firestore.Client) -> None:
    call(client, "update_document", document={"name": f"{root(client)}/c/b"})


def list_in_order(client: firestore.Client) -> None:
    call(client, "list_documents", parent=root(client), collection_id="c", order_by="n")


NO = exceptions.MethodNotImplemented
# What is asked, and how each server fails at it, if it does: first Google's emulator, then ours.
DIFFERENCES: list[tuple[str, Callable[[firestore.Client], object], type | None, type | None]] = [
    ("partitions", lambda c: list(c.collection_group("c").get_partitions(2)), NO, None),
    (
        "names downwards",
        lambda c: ids(c.collection("c").order_by("__name__", direction="DESCENDING")),
        exceptions.FailedPrecondition,
        None,
    ),
    ("read_time two hours back", an_hour_old, None, exceptions.FailedPrecondition),
    ("explain", lambda c: list(c.collection("c").stream(explain_options=ExplainOptions(analyze=True))), None, NO),
    ("vector search", vector_search, None, NO),
    ("new_transaction", new_transaction, None, NO),
    ("GetDocument", lambda c: call(c, "get_document", name=f"{root(c)}/c/a"), None, NO),
    ("CreateDocument", lambda c: call(c, "create_document", parent=root(c), collection_id="c"), None, NO),
    ("UpdateDocument", update_document, None, NO),
    ("DeleteDocument", lambda c: call(c, "delete_document", name=f"{root(c)}/c/a"), None, NO),
    ("ListDocuments in an order", list_in_order, None, NO),
    ("pipelines", lambda c: list(c.pipeline().collection("c").stream()), exceptions.Unknown, NO),
]


@pytest.mark.parametrize(
    ("ask", "google", "ours"), [row[1:] for row in DIFFERENCES], ids=[row[0] for row in DIFFERENCES]
)
def test_differences(
    client: firestore.Client,
    server: str,
    ask: Callable[[firestore.Client], object],
    google: type[Exception] | None,
    ours: type[Exception] | None,
) -> None:
    client.document("c/a").set({"n": 1})
    error = google if server == GOOGLE else ours
    if error is None:
        ask(client)
    else:
        with pytest.raises(error):
            ask(client)


# --- any document -----------------------------------------------------------------------------------------------------

INTEGERS = st.integers(-MAX - 1, MAX)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.datetimes(timezones=st.just(UTC))
POINTS = st.builds(place, st.floats(-90, 90), st.floats(-180, 180))
IDS_OF_ANY_KIND = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/."), min_size=1, max_size=8
).filter(lambda name: not (name.startswith("__") and name.endswith("__")))
NAMES = TEXTS.filter(lambda name: name and not (name.startswith("__") and name.endswith("__")))
REFERENCES = st.builds(lambda *parts: Reference("/".join(parts)), IDS_OF_ANY_KIND, IDS_OF_ANY_KIND)
SCALARS = st.one_of(
    *(st.none(), st.booleans(), INTEGERS, st.floats(), TIMES, TEXTS, st.binary(max_size=8), POINTS, REFERENCES),
    st.sampled_from([MAX, -MAX - 1, 0.0, -0.0, math.nan, 2.0**53, 2**53 + 1]),
)
MAPS: st.SearchStrategy[Any] = st.deferred(lambda: st.dictionaries(NAMES, ANY, max_size=3))
ARRAYS = st.lists(SCALARS | MAPS, max_size=3)  # Firestore holds no array directly in an array
ANY: st.SearchStrategy[Any] = SCALARS | MAPS | ARRAYS
SETTINGS = settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


LIST_OPERATORS = ["in", "not-in", "array_contains_any"]
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "array_contains", *LIST_OPERATORS]


def allowed(operator: str, value: Any) -> bool:
    """Whether the client sends such a filter."""
    return operator in ("==", "!=") or not (value is None or (isinstance(value, float) and math.isnan(value)))


class Reference(str):
    """A path that is to become a reference of some client."""

    __slots__ = ()


def bound(value: Any, client: firestore.Client) -> Any:
    """A value with references of a client."""
    if isinstance(value, Reference):
        return client.document(*value.split("/"))
    if isinstance(value, dict):
        return {name: bound(inner, client) for name, inner in value.items()}
    return [bound(inner, client) for inner in value] if isinstance(value, list) else value


def exact(value: Any) -> Any:
    """A value so that what is equal is the same, type, sign of zero and NaN included."""
    if isinstance(value, dict):
        return {name: exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(exact, value))
    if isinstance(value, datetime.datetime):
        return "datetime", value.replace(tzinfo=None).isoformat()
    if isinstance(value, firestore.DocumentReference):
        return Reference(value.path)
    if isinstance(value, firestore.GeoPoint):
        return "point", value.latitude, value.longitude
    return type(value).__name__, repr(value)


@SETTINGS
@given(content=st.dictionaries(NAMES, ANY, max_size=6), name=IDS_OF_ANY_KIND)
def test_any_document_comes_back(client: firestore.Client, content: dict[str, Any], name: str) -> None:
    document = client.collection("any").document(name)
    document.set(bound(content, client))
    assert exact(document.get().to_dict()) == exact(bound(content, client))
    [streamed] = client.collection("any").stream()
    assert streamed.id == name
    assert exact(streamed.to_dict()) == exact(bound(content, client))
    document.delete()


@pytest.fixture
def both(addresses: dict[str, str]) -> Iterator[list[firestore.Client]]:
    if GOOGLE not in addresses:
        pytest.skip("no Java, or no Cloud SDK with the Firestore emulator")
    clients = [client_of(address, f"both{uuid.uuid4().hex[:8]}") for address in addresses.values()]
    yield clients
    for made in clients:
        made.close()


@SETTINGS
@given(values=st.lists(ANY, max_size=12), descending=st.booleans(), data=st.data())
def test_any_values_sort_alike(
    both: list[firestore.Client], values: list[Any], descending: bool, data: st.DataObject
) -> None:
    collection = uuid.uuid4().hex
    direction = "DESCENDING" if descending else "ASCENDING"
    cursor = data.draw(st.sampled_from(values)) if values else None
    operator = data.draw(st.sampled_from(OPERATORS))
    listed = data.draw(st.lists(st.sampled_from([*values, None]), min_size=1, max_size=5))
    wanted = listed if operator in LIST_OPERATORS else cursor
    found = []
    for client in both:
        c = fill(client, collection, {f"{n:02}": {"v": bound(value, client)} for n, value in enumerate(values)})
        ordered = c.order_by("v", direction=direction)
        started = ids(ordered.start_after({"v": bound(cursor, client)}))
        filtered = (
            ids(c.where(filter=FieldFilter("v", operator, bound(wanted, client)))) if allowed(operator, wanted) else []
        )
        found.append((ids(ordered), started, filtered))
    assert found[0] == found[1]


# --- ours alone -------------------------------------------------------------------------------------------------------


def test_partitions_cover_a_collection_group(addresses: dict[str, str]) -> None:
    client = client_of(addresses[OURS])
    for parent in ("c", "x/y/c"):
        fill(client, parent, {f"{n:04}": {} for n in range(300)})
    group = client.collection_group("c")
    everything = paths(group)
    partitions = list(group.get_partitions(3))
    assert len(partitions) == 600 // service.PARTITION_MIN
    assert [path for part in partitions for path in paths(part.query())] == everything
    assert len(list(group.get_partitions(100))) == 4
    assert len(list(group.get_partitions(1))) == 2
    first = call(
        client,
        "partition_query",
        parent=root(client),
        structured_query=group.order_by("__name__")._to_protobuf(),
        partition_count=3,
        page_size=2,
    )
    assert [page.partitions and len(page.partitions) for page in first.pages] == [2, 1]
    assert ids(client.collection("c").order_by("__name__", direction="DESCENDING").limit(2)) == ["0299", "0298"]
    down = client.collection("c").order_by("__name__", direction="DESCENDING").start_after({"__name__": "0005"})
    assert ids(down) == ["0004", "0003", "0002", "0001", "0000"]
    assert ids(down.end_before({"__name__": "0002"})) == ["0004", "0003"]
    client.close()


def test_a_commit_is_refused_if_what_it_read_has_changed(addresses: dict[str, str]) -> None:
    client = client_of(addresses[OURS])
    c = fill(client, "c", {"a": {"n": 1}, "b": {"n": 1}})
    database, a = client._database_string, f"{root(client)}/c/a"
    query = c.where(filter=FieldFilter("n", "==", 1))._to_protobuf()
    for change in (lambda: c.document("a").set({"n": 2}), c.document("a").delete, lambda: c.document("a").create({})):
        opened = [call(client, "begin_transaction", database=database).transaction for _ in range(3)]
        list(call(client, "batch_get_documents", database=database, documents=[a], transaction=opened[0]))
        list(call(client, "run_query", parent=root(client), structured_query=query, transaction=opened[1]))
        change()
        for transaction in opened[:2]:
            with pytest.raises(exceptions.Aborted):
                call(client, "commit", database=database, transaction=transaction)
            call(client, "rollback", database=database, transaction=transaction)
        call(client, "commit", database=database, transaction=opened[2])  # it has read nothing
    client.close()


def test_what_is_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    port = processes.free_port()
    process = start_ours(tmp_path, port)
    client = client_of(f"{servers.HOST}:{port}", "killed")
    acknowledged: list[Any] = []

    def writing() -> None:
        for n in range(100_000):
            batch = client.batch()
            for part in range(50):
                batch.set(client.document(f"c/{n:06}-{part:02}"), {"n": n})
            try:
                batch.commit(retry=None, timeout=20)
            except exceptions.GoogleAPICallError:
                return
            acknowledged.append(batch.commit_time)

    writer = threading.Thread(target=writing)
    writer.start()
    while len(acknowledged) < 20:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    writer.join()
    client.close()
    process = start_ours(tmp_path, port)
    client = client_of(f"{servers.HOST}:{port}", "killed")
    try:
        written = value_of(client.collection("c").count())
        # The last batch may be there without its acknowledgement, but whole.
        assert written in (50 * len(acknowledged), 50 * len(acknowledged) + 50)
        assert client.document("c/000000-00").get().update_time == acknowledged[0]
        assert client.document("c/000000-00").set({"n": -1}).update_time > acknowledged[-1]
    finally:
        client.close()
        processes.stop(process)


def test_the_command(tmp_path: Path) -> None:
    port = processes.free_port()
    process = start_ours(tmp_path, port)
    client = client_of(f"{servers.HOST}:{port}")
    try:
        fill(client, "c", {f"{n:04}": {"text": "x" * 2000} for n in range(2000)})
        stream = client.collection("c").stream()
        next(stream)
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex(("127.0.0.2", port)) != 0  # it listens on the host that was asked for alone
        for wanted, data in ((port, tmp_path / "other.sqlite"), (processes.free_port(), tmp_path / "firestore.sqlite")):
            command = [sys.executable, "-m", "goldline.emulators.firestore", "--port", str(wanted), "--data", str(data)]
            second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
            assert second.returncode == 1
            assert "is taken" in second.stderr or "is open in another server" in second.stderr
        began = time.monotonic()
        process.terminate()
        assert process.wait(10) == 0
        assert time.monotonic() - began < 2  # under 1 s on an idle machine
        assert (tmp_path / f"{port}.log").read_text() == "ready\n"
    finally:
        client.close()
        processes.stop(process)


def test_old_versions_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_700_000_000]
    monkeypatch.setattr(time, "time_ns", lambda: clock[0] * 1_000_000_000)
    kept = store.Store(tmp_path / "db.sqlite")
    key = Key("c", b"\x02c", 7)

    def put(body: bytes) -> int:
        with kept.changing() as change:
            return change.put(key, body, change.current(key))

    def body(at: int) -> bytes | None:
        with kept.reading() as connection:
            return kept.get(connection, key, at)

    first, second = put(b"1"), put(b"2")
    assert (body(first - 1), (body(first) or b"")[:1], (body(second) or b"")[:1]) == (None, b"1", b"2")
    clock[0] += 3590
    assert kept.as_of(first) == first
    put(b"3")
    assert (body(first) or b"")[:1] == b"1"
    clock[0] += 7200
    with pytest.raises(FirestoreError, match="too old"):
        kept.as_of(first)
    put(b"4")
    put(b"5")
    clock[0] -= 100_000  # a clock that goes back does not take the times with it
    assert put(b"6") > second
    with sqlite3.connect(tmp_path / "db.sqlite") as connection:
        [[versions]] = connection.execute("select count(*) from versions")
    connection.close()
    assert versions == 4  # those of the past hour
    kept.close()


def test_the_google_half_is_not_skipped_by_mistake(addresses: dict[str, str]) -> None:
    there = shutil.which("java") and servers._emulator_jar()
    assert (GOOGLE in addresses) == bool(there)
