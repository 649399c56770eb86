"""An exported row is the document that it was, whichever landing made it: nothing is lost, and nothing is added."""

import datetime
import json
from functools import cache
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore import DocumentReference, GeoPoint
from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.vector import Vector
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goldline.contracts.loading import parse
from goldline.contracts.source_contract import SourceContract
from goldline.firestore import values
from goldline.firestore.calls import RunQueryResponse
from goldline.firestore.values import Reference
from goldline.privacy.pseudonym import Key
from goldline.stages.export_firestore.landing_columns import ColumnLanding
from goldline.stages.export_firestore.landing_rows import RowLanding
from goldline.stages.export_firestore.rest import from_json, to_json
from goldline.stages.export_firestore.restore import restore

ROOT = "projects/p/databases/(default)/documents"
NOON = datetime.datetime(2026, 11, 20, 12, 0, 5, 123456, tzinfo=datetime.UTC)
FIRST, LAST = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)


def column(name: str, kind: str = "STRING", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "description": f"The {name}.", **more}


PLAIN = [
    *(column("id"), column("pieces", "INT64"), column("price", "FLOAT64"), column("paid", "BOOL")),
    *(column("photo", "BYTES"), column("changed_at", "TIMESTAMP"), column("day", "DATE")),
    *(column("tags", mode="REPEATED"), column("prices", "FLOAT64", mode="REPEATED")),
    column("place", "STRUCT", fields=[column("town"), column("floor", "INT64"), column("tags", mode="REPEATED")]),
    column(
        "lines",
        "STRUCT",
        mode="REPEATED",
        fields=[column("sku"), column("pieces", "INT64"), column("place", "STRUCT", fields=[column("town")])],
    ),
]


@cache
def contract(personal: bool = False) -> SourceContract:
    content = {"source": "bronze.ext_orders", "description": "Orders.", "grain": "A row a document.", "key": "id"}
    columns = (
        [*PLAIN, column("made_at", "TIMESTAMP", parse="mixed"), column("owner", pii="hmac")] if personal else PLAIN
    )
    made = parse({**content, "format": "parquet", "day_first": True, "columns": columns}, "a test")
    assert isinstance(made, SourceContract)
    return made


def encoded(fields: dict[str, Any]) -> bytes:
    """The fields as Firestore has them: two documents are alike if these bytes are."""
    document = values.Document()
    values.encode_map(fields, document)
    content: bytes = document.SerializeToString(deterministic=True)
    return content


def exported(*bodies: dict[str, Any], personal: bool = False) -> list[tuple[dict[str, Any], bool]]:
    """What is restored of documents, and whether something was held back."""
    responses = []
    for i, body in enumerate(bodies):
        made = RunQueryResponse()
        made.document.name = f"{ROOT}/orders/{i}"
        values.encode_map(body, made.document)
        responses.append(made.SerializeToString())
    found = []
    for landing in (RowLanding(contract(personal), Key("1", b"k")), ColumnLanding(contract(personal), Key("1", b"k"))):
        rows = landing.land(responses).to_pylist()
        assert [row["_document"] for row in rows] == [f"orders/{i}" for i in range(len(bodies))]
        found.append([(restore(row, contract(personal)).fields, bool(+landing.findings.held_back)) for row in rows])
    by_row, by_column = found
    assert repr(by_row) == repr(by_column)
    return by_column


TAGS = ["timestampValue", "mapValue", "nullValue", "doubleValue", "geoPointValue"]
DOUBLES = st.floats().map(lambda n: n if n == n else float("nan"))  # Firestore has one NaN  # noqa: PLR0124
POINTS = st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180))
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | DOUBLES | st.text() | st.binary()
)
SCALARS |= st.datetimes(FIRST, LAST, timezones=st.just(datetime.UTC)) | POINTS | st.sampled_from(TAGS)
SCALARS |= st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1).map(
    lambda name: Reference(f"{ROOT}/orders/{name}")
)
NAMES = st.sampled_from([c["name"] for c in PLAIN] + ["town", "floor", "sku", *TAGS]) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=8)


@given(st.lists(BODIES, max_size=4))
@settings(max_examples=80, deadline=None)
@example([{"lines": [{"nullValue": None}, {"mapValue": {"nullValue": 1}}, None, {"sku": None}]}])
@example([{"place": {"timestampValue": "x"}, "tags": [None, {"nullValue": None}, "a"]}])
@example([{"place": {"mapValue": {"a": 1}}, "lines": [[{"sku": "a"}]], "tags": [["a"]]}])
@example([{"prices": [float("nan"), -0.0, 2**53 + 1, 2**63 - 1]}, {"prices": []}, {"prices": None}, {}])
def test_any_document_comes_back(bodies: list[dict[str, Any]]) -> None:
    for body, (restored, is_held_back) in zip(bodies, exported(*bodies), strict=True):
        if not is_held_back:
            assert encoded(restored) == encoded(with_doubles(body))


def with_doubles(body: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers in FLOAT64 columns are doubles, as long as a double holds them."""

    def double(value: object) -> object:
        is_whole = isinstance(value, int) and not isinstance(value, bool) and float(value) == value
        return float(value) if isinstance(value, int) and is_whole else value

    changed = dict(body)
    if "price" in body:
        changed["price"] = double(body["price"])
    if isinstance(prices := body.get("prices"), list):
        changed["prices"] = [double(price) for price in prices]
    return changed


@pytest.mark.parametrize("name", ["pieces", "colour"])
@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, 2**63 - 1, -(2**63), 1.0, -0.0, 5e-324, float("nan"), float("inf"), float("-inf"), "", "NaN"),
        *(b"", b"\x00\xff", NOON, FIRST.replace(tzinfo=datetime.UTC), LAST.replace(tzinfo=datetime.UTC)),
        *(Reference(f"{ROOT}/a/b/c/d"), Reference("projects/other/databases/x/documents/a/b"), GeoPoint(-90, 180)),
        *([], {}, [None], [[1], [b"x"]], {"a.b": {"`c`": [GeoPoint(0, 0)]}}, {"": 1}, {"doubleValue": "NaN"}),
        {"mapValue": {"mapValue": {}}},
    ],
    ids=repr,
)
def test_each_kind_of_value_comes_back(name: str, value: Any) -> None:
    [(restored, _)] = exported({name: value})
    assert encoded(restored) == encoded({name: value})
    assert encoded({"a": from_json(json.loads(json.dumps(to_json(value), allow_nan=False)))}) == encoded({"a": value})


def test_a_document_of_a_mebibyte_comes_back() -> None:
    body = {"id": "a", "note": "é" * 300_000, "photo": bytes(300_000), "all": [{"n": n} for n in range(9000)]}
    [(restored, _)] = exported(body)
    assert encoded(restored) == encoded(body)


def test_what_the_contract_changes_stays_changed() -> None:
    body = {"id": "a", "owner": "Ada", "made_at": "20/11/2026 12:00:05", "contact_email": "x", "colour": None}
    [(restored, is_held_back)] = exported(body, personal=True)
    assert restored == {
        "id": "a",
        "owner": Key("1", b"k").pseudonym("Ada"),
        "made_at": NOON.replace(microsecond=0),
        "colour": None,
    }
    assert is_held_back


def test_an_array_of_which_something_was_held_back_is_shorter() -> None:
    [(restored, is_held_back)] = exported({"tags": ["a", {"email": "x"}, "b"], "lines": ["a@b.example", {"sku": "A"}]})
    assert restored == {"tags": ["a", "b"], "lines": [{"sku": "A"}]}
    assert is_held_back


# Beside the client library, unmodified


@given(BODIES)
@settings(max_examples=80, deadline=None)
def test_any_document_is_decoded_as_the_client_does(body: dict[str, Any]) -> None:
    document = values.Document()
    values.encode_map(body, document)
    client = firestore.Client("p", AnonymousCredentials())
    theirs = _helpers.decode_dict(document.fields, client)
    assert repr(as_ours(theirs)) == repr(as_ours(values.decode_map(document)))


def test_a_vector_stays_the_map_that_it_is() -> None:
    vector = Vector([1.0, 2.5])
    document = values.Document()
    values.encode_map({"embedding": vector.to_map_value()}, document)
    client = firestore.Client("p", AnonymousCredentials())
    assert _helpers.decode_dict(document.fields, client) == {"embedding": vector}
    [(restored, _)] = exported(values.decode_map(document))
    assert encoded(restored) == document.SerializeToString(deterministic=True)


def as_ours(value: Any) -> Any:
    """The client's values as goldline's, all in an order that does not depend on who decoded them."""
    match value:
        case DocumentReference():
            return Reference(value._document_path)
        case GeoPoint():
            return (value.latitude, value.longitude)
        case datetime.datetime():
            return value.isoformat()
        case dict():
            return {name: as_ours(value[name]) for name in sorted(value)}
        case list():
            return [as_ours(item) for item in value]
    return value
