"""Documents to rows: what fits is typed, what drifted is kept aside, and what is personal is nowhere."""

import base64
import datetime
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from google.cloud.firestore import GeoPoint
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goldline.contracts.loading import parse
from goldline.contracts.source_contract import SourceContract
from goldline.firestore import values
from goldline.firestore.calls import RunQueryResponse
from goldline.firestore.values import Reference
from goldline.privacy.pseudonym import Key
from goldline.stages.export_firestore.landed_documents import DECODER, Landing, make_landing
from goldline.stages.export_firestore.landing_columns import ColumnLanding
from goldline.stages.export_firestore.landing_rows import RowLanding
from goldline.stages.export_firestore.rest import to_json
from goldline.stages.export_firestore.rules import Findings, UndeclaredError
from tests.support.landings import KEY, LANDINGS, NOON, ROOT, both, response, told


def column(name: str, kind: str = "STRING", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "description": f"The {name}.", **more}


COLUMNS = [
    *(column("id"), column("pieces", "INT64"), column("price", "FLOAT64"), column("paid", "BOOL")),
    *(column("photo", "BYTES"), column("changed_at", "TIMESTAMP"), column("made_at", "TIMESTAMP", parse="mixed")),
    column("tags", mode="REPEATED"),
    column("place", "STRUCT", fields=[column("town"), column("floor", "INT64")]),
    # Personal, in every shape that a contract can declare
    *(column("email", pii="hmac"), column("card", pii="last4"), column("name", pii="drop")),
    *(column("phones", mode="REPEATED", pii="hmac"), column("secret", "STRUCT", pii="drop", fields=[column("any")])),
    column(
        "shipping",
        "STRUCT",
        fields=[
            *(column("street", pii="drop"), column("phone", pii="hmac"), column("town")),
            column("door", "STRUCT", fields=[column("code", pii="last4"), column("colour")]),
        ],
    ),
    column(
        *("lines", "STRUCT"),
        mode="REPEATED",
        fields=[column("recipient", pii="hmac"), column("sku"), column("pieces", "INT64")],
    ),
]


@cache
def contract(undeclared: str = "keep") -> SourceContract:
    content = {"source": "bronze.ext_orders", "description": "Orders.", "grain": "One row per document.", "key": "id"}
    made = parse(
        {**content, "format": "parquet", "day_first": True, "undeclared": undeclared, "columns": COLUMNS}, "a test"
    )
    assert isinstance(made, SourceContract)
    return made


def responses(bodies: Iterable[Mapping[str, Any]]) -> list[bytes]:
    return [response(f"orders/{i}", body) for i, body in enumerate(bodies)]


def landed(*bodies: Mapping[str, Any], undeclared: str = "keep") -> tuple[list[dict[str, Any]], Findings]:
    """The rows of some documents, `_rest` as the JSON that it holds, and what was found."""
    rows, findings = both(contract(undeclared), responses(bodies))
    for row in rows:
        row["_rest"] = json.loads(row["_rest"], parse_constant=pytest.fail) if row["_rest"] is not None else {}
    return rows, findings


def one(body: Mapping[str, Any], undeclared: str = "keep") -> tuple[dict[str, Any], Findings]:
    [row], findings = landed(body, undeclared=undeclared)
    return row, findings


# What fits


def test_a_document_as_it_was_declared() -> None:
    row, findings = one(
        {
            "id": "a",
            "pieces": 2,
            "price": 9.5,
            "paid": True,
            "photo": b"\x00\xff",
            "changed_at": NOON,
            "made_at": "20/11/2026 12:00:05",
            "tags": ["new", "red"],
            "place": {"town": "Graz", "floor": 3},
            "lines": [{"sku": "KET", "pieces": 1}, {"sku": "LAM"}],
        }
    )
    assert {name: value for name, value in row.items() if value not in (None, {})} == {
        "id": "a",
        "pieces": 2,
        "price": 9.5,
        "paid": True,
        "photo": b"\x00\xff",
        "changed_at": NOON,
        "made_at": NOON,
        "tags": ["new", "red"],
        "place": {"town": "Graz", "floor": 3},
        "lines": [
            {"recipient": None, "sku": "KET", "pieces": 1},
            {"recipient": None, "sku": "LAM", "pieces": None},
        ],
        "_document": "orders/0",
        "_created": NOON,
        "_updated": NOON,
        "_is_deleted": False,
        "_pii_key_version": "3",
    }
    assert told(findings) == {}


@pytest.mark.parametrize("make", LANDINGS)
def test_the_batches_have_the_files_columns(make: Callable[[SourceContract, Key], Landing]) -> None:
    landing = make(contract(), KEY)
    batch = landing.land(responses([{}]))
    assert batch.schema == landing.schema
    assert batch.schema.names == [c.name for c in contract().file_columns]
    assert not {"name", "secret", "street"} & set(re.findall(r"\w+", str(batch.schema)))
    assert batch.schema.field("lines").type.value_type.field("pieces").type == pa.int64()


@pytest.mark.parametrize(
    ("name", "value"),
    [("pieces", 2**63 - 1), ("pieces", -(2**63)), ("price", -0.0), ("price", 5), ("price", float("inf")), ("id", "")]
    + [("changed_at", datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)) for year in (1, 9999)],
)
def test_values_at_their_limits_land_typed(name: str, value: Any) -> None:
    row, findings = one({name: value})
    assert (row[name], row["_rest"], told(findings)) == (value, {}, {})
    assert name != "price" or isinstance(row[name], float)


def test_what_is_not_a_number_is_one_all_the_same() -> None:
    row, _ = one({"price": float("nan")})
    assert str(row["price"]) == "nan"
    assert row["_rest"] == {}


def test_what_is_null_is_noted_and_what_is_missing_is_not() -> None:
    rows, findings = landed({}, {c["name"]: None for c in COLUMNS}, {"shipping": {"phone": None, "street": None}})
    nulls = {c["name"]: None for c in COLUMNS if c.get("pii") != "drop"}
    assert [row["_rest"] for row in rows] == [{}, nulls, {"shipping": {"phone": None}}]
    assert {**rows[0], "_document": "", "_rest": {}} == {**rows[1], "_document": "", "_rest": {}}
    assert told(findings) == {}


def test_an_empty_array_or_map_is_not_a_missing_one() -> None:
    rows, _ = landed({"tags": [], "lines": [], "place": {}}, {})
    assert [(row["tags"], row["lines"], row["place"]) for row in rows] == [
        ([], [], {"town": None, "floor": None}),
        (None, None, None),
    ]


def test_a_response_without_a_document_gives_no_row() -> None:
    empty = RunQueryResponse()
    values.set_moment(empty.read_time, NOON)
    rows, _ = both(contract(), [empty.SerializeToString()], [*responses([{"id": "a"}]), empty.SerializeToString()], [])
    assert [row["id"] for row in rows] == ["a"]


@pytest.mark.parametrize("make", LANDINGS)
def test_a_value_of_a_kind_that_nobody_knows_is_an_error(make: Callable[[SourceContract, Key], Landing]) -> None:
    made = RunQueryResponse()
    made.document.name = f"{ROOT}/orders/a"
    made.document.fields["id"].SetInParent()
    with pytest.raises(ValueError, match="a value of no known kind"):
        make(contract(), KEY).land([made.SerializeToString()])


def test_the_decoder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_landing(contract(), KEY), ColumnLanding)
    monkeypatch.setenv(DECODER, "python")
    assert isinstance(make_landing(contract(), KEY), RowLanding)
    monkeypatch.setenv(DECODER, "perl")
    with pytest.raises(ValueError, match="expected rust or python, got 'perl'"):
        make_landing(contract(), KEY)


# What drifted


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("id", 7, 7),
        ("id", ["a"], ["a"]),
        ("pieces", "3", "3"),
        ("pieces", 3.0, 3.0),
        ("pieces", True, True),
        ("price", "9.50", "9.50"),
        ("price", False, False),
        ("paid", 1, 1),
        ("paid", "yes", "yes"),
        ("photo", "text", "text"),
        ("changed_at", "2026-11-20T12:00:05Z", "2026-11-20T12:00:05Z"),
        ("made_at", {"seconds": 5}, {"seconds": 5}),
        ("made_at", True, True),
        ("place", "Graz", "Graz"),
        ("place", ["Graz"], ["Graz"]),
        ("price", 2**53 + 1, 2**53 + 1),
        ("pieces", NOON, {"timestampValue": "2026-11-20T12:00:05Z"}),
        ("pieces", b"\x00\xff", {"bytesValue": "AP8="}),
        ("pieces", float("nan"), {"doubleValue": "NaN"}),
        ("pieces", [1, {"a": float("-inf")}], [1, {"a": {"doubleValue": "-Infinity"}}]),
        ("pieces", Reference(f"{ROOT}/orders/b"), {"referenceValue": f"{ROOT}/orders/b"}),
        ("pieces", GeoPoint(1.5, 2), {"geoPointValue": {"latitude": 1.5, "longitude": 2.0}}),
        ("pieces", {"bytesValue": "no bytes"}, {"mapValue": {"bytesValue": "no bytes"}}),
    ],
)
def test_what_drifted_is_kept_aside(name: str, value: Any, kept: Any) -> None:
    row, findings = one({name: value})
    assert (row[name], row["_rest"]) == (None, {name: kept})
    assert told(findings) == {"drifted": {name: 1}}


def test_what_drifted_within_a_struct_is_kept_in_its_place() -> None:
    row, findings = one({"place": {"town": 5, "floor": 3}})
    assert (row["place"], row["_rest"]) == ({"town": None, "floor": 3}, {"place": {"town": 5}})
    assert told(findings) == {"drifted": {"place.town": 1}}


def test_what_drifted_within_an_array_is_kept_at_its_place() -> None:
    row, findings = one({"tags": ["a", 1, "b"], "lines": [{"sku": "A"}, {"pieces": "2"}]})
    assert row["tags"] == ["a", "b"]
    assert [line["pieces"] for line in row["lines"]] == [None, None]
    assert row["_rest"] == {"tags": [None, 1, None], "lines": [None, {"pieces": "2"}]}
    assert told(findings) == {"drifted": {"tags": 1, "lines.pieces": 1}}


def test_null_within_an_array_is_kept_at_its_place() -> None:
    row, findings = one({"tags": [None, "b"], "lines": [{"sku": "A"}, None]})
    assert (row["tags"], [line["sku"] for line in row["lines"]]) == (["b"], ["A"])
    assert row["_rest"] == {"tags": [{"nullValue": None}, None], "lines": [None, {"nullValue": None}]}
    assert told(findings) == {}


def test_what_is_no_array_is_kept_aside() -> None:
    row, findings = one({"tags": "a, b"})
    assert (row["tags"], row["_rest"]) == ([], {"tags": "a, b"})
    assert told(findings) == {"drifted": {"tags": 1}}


@pytest.mark.parametrize(
    "value", ["a@b.example", {"email": "x"}, {"contact": {"Street": "x"}}, [["a@b.example"]], {"a@b.example": 1}]
)
@pytest.mark.parametrize("name", ["pieces", "made_at", "place", "tags"])
def test_what_looks_personal_is_held_back_where_it_drifted(name: str, value: Any) -> None:
    row, findings = one({name: [value] if name == "place" else value})
    assert "@" not in str(row)
    assert row["_rest"] == {}
    assert told(findings)["held_back"] == {name: 1}


# Timestamps of mixed form


def test_timestamps_are_read_from_all_their_forms() -> None:
    forms = [NOON, "2026-11-20T12:00:05Z", 1795176005, 1795176005000, 1795176005.0, "20/11/2026 12:00:05"]
    rows, findings = landed(*[{"made_at": form} for form in forms])
    assert [row["made_at"] for row in rows] == [NOON] * len(forms)
    assert all(row["_rest"] == {} for row in rows)
    assert told(findings) == {}


def test_a_timestamp_that_cannot_be_read_is_kept_as_it_came() -> None:
    rows, findings = landed({"made_at": "yesterday"}, {"made_at": NOON}, {"made_at": float("nan")}, {"made_at": 5})
    assert [row["made_at"] for row in rows] == [None, NOON, None, None]
    assert [row["_rest"].get("made_at") for row in rows] == ["yesterday", None, {"doubleValue": "NaN"}, 5]
    assert told(findings) == {"unread": {"made_at": 3}}


def test_ambiguous_timestamps_are_counted() -> None:
    _, findings = landed({"made_at": "03/04/2026"}, {"made_at": "20/11/2026"}, {"made_at": "2026-04-03"})
    assert told(findings) == {"ambiguous": {"made_at": 1}}


# What nobody declared


def test_undeclared_fields_are_kept_with_their_structure() -> None:
    body = {"colour": "red", "size": {"w": 1, "h": [2, None]}, "place": {"town": "Graz", "lift": True}, "nothing": None}
    row, findings = one(body)
    assert row["place"] == {"town": "Graz", "floor": None}
    assert row["_rest"] == {"colour": "red", "size": {"w": 1, "h": [2, None]}, "place": {"lift": True}} | {
        "nothing": None
    }
    assert told(findings) == {"undeclared": {"colour": 1, "size": 1, "place.lift": 1, "nothing": 1}}


def test_undeclared_fields_may_be_dropped() -> None:
    row, findings = one({"pieces": "3", "colour": "red", "lines": [{"gift": True}]}, undeclared="drop")
    assert row["_rest"] == {"pieces": "3"}
    assert told(findings) == {"drifted": {"pieces": 1}, "undeclared": {"colour": 1, "lines.gift": 1}}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"colour": "red"}, "colour"),
        ({"place": {"lift": "red"}}, "place.lift"),
        ({"lines": [{"gift": "red"}]}, "lines.gift"),
        ({"shipping": {"a@b.example": "red"}}, "(a personal value)"),
    ],
)
def test_undeclared_fields_may_be_refused(body: dict[str, Any], path: str) -> None:
    with pytest.raises(UndeclaredError) as caught:
        one(body, undeclared="refuse")
    assert str(caught.value) == f"bronze.ext_orders: the field {path} is not declared (`undeclared: refuse`)"


def test_a_field_that_bears_goldlines_own_name_is_undeclared() -> None:
    row, _ = one({"_document": "mine", "_rest": "mine", "_pii_key_version": "mine"})
    assert (row["_document"], row["_pii_key_version"]) == ("orders/0", "3")
    assert row["_rest"] == {"_document": "mine", "_rest": "mine", "_pii_key_version": "mine"}


@pytest.mark.parametrize(
    "field",
    [
        *({"contact_email": "x"}, {"E-Mail": "x"}, {"mobilePhone": 5}, {"firstName": "Ada"}, {"last_name": "x"}),
        *({"birthday": NOON}, {"IBAN": ["x"]}, {"home": {"street": "x"}}, {"people": [{"surname": "x"}]}),
        *({"note": "write to ada@mail.example"}, {"notes": {"a": ["x", "ada@mail.example"]}}),
        {"by": {"ada@mail.example": 1}},
    ],
)  # fmt: skip
def test_undeclared_fields_that_look_personal_are_held_back(field: dict[str, Any]) -> None:
    [name] = field
    rows, findings = landed(field, {"place": field}, {"lines": [field]})
    assert [row["_rest"] for row in rows] == [{}, {}, {}]
    counted = {name: 1, f"place.{name}": 1, f"lines.{name}": 1}
    assert told(findings) == {"undeclared": counted, "held_back": counted}


def test_a_fields_name_that_is_personal_is_not_even_counted_by_name() -> None:
    row, findings = one({"ada@mail.example": True, "place": {"bob@mail.example": 1}})
    assert row["_rest"] == {}
    assert told(findings) == {"undeclared": {"(a personal value)": 2}, "held_back": {"(a personal value)": 2}}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", ["x" * 1_000_000, "@" * 1_000_000, "x@" * 500_000, "a@" + "b." * 500_000])
def test_a_long_text_is_looked_through_in_time(text: str) -> None:
    row, _ = one({"note": text})
    assert row["_rest"] == {"note": text}


# What is personal


def test_each_rule_for_personal_data() -> None:
    row, findings = one(
        {
            "email": "ada@mail.example",
            "card": "4999123412341234",
            "name": "Ada",
            "phones": ["1", "2"],
            "secret": {"any": "thing"},
            "shipping": {"street": "Mill Lane 1", "phone": "1", "town": "Graz", "door": {"code": "987654"}},
            "lines": [{"recipient": "Ada", "sku": "KET"}],
        }
    )
    assert row["email"] == KEY.pseudonym("ada@mail.example")
    assert row["card"] == "1234"
    assert row["phones"] == [KEY.pseudonym("1"), KEY.pseudonym("2")]
    assert row["shipping"] == {
        "phone": KEY.pseudonym("1"),
        "town": "Graz",
        "door": {"code": "7654", "colour": None},
    }
    assert row["lines"] == [{"recipient": KEY.pseudonym("Ada"), "sku": "KET", "pieces": None}]
    assert not {"name", "secret"} & row.keys()
    assert row["_rest"] == {}
    assert told(findings) == {}


def test_a_number_is_pseudonymised_as_its_text() -> None:
    row, _ = one({"email": 12345, "card": 4999123412341234})
    assert (row["email"], row["card"]) == (KEY.pseudonym("12345"), "1234")


@pytest.mark.parametrize("value", [{"a": "b"}, ["a"], b"a", GeoPoint(1, 2), Reference(f"{ROOT}/people/ada")])
@pytest.mark.parametrize("name", ["email", "card"])
def test_what_cannot_be_pseudonymised_is_held_back(name: str, value: Any) -> None:
    row, findings = one({name: value})
    assert (row[name], row["_rest"]) == (None, {})
    assert told(findings) == {"held_back": {name: 1}}


@pytest.mark.parametrize(
    ("body", "path"),
    [({"shipping": "Ada, Mill Lane"}, "shipping"), ({"shipping": [{"street": "Mill Lane"}]}, "shipping"),
     ({"shipping": {"door": "987654"}}, "shipping.door"), ({"lines": {"recipient": "Ada"}}, "lines"),
     ({"lines": ["Ada"]}, "lines"), ({"phones": "1, 2"}, "phones")],
)  # fmt: skip
def test_a_struct_that_is_none_is_held_back_if_it_could_hold_what_is_personal(body: dict[str, Any], path: str) -> None:
    row, findings = one(body)
    assert row["_rest"] == {}
    assert told(findings) == {"drifted": {path: 1}, "held_back": {path: 1}}


TOKEN = "Zq7Xv9KwTokenOfAPerson"
LEAVES: list[Any] = [TOKEN, f"  {TOKEN}", f"{TOKEN}@mail.example", TOKEN.encode(), [TOKEN], {TOKEN: 1}, {"k": TOKEN}]
LEAVES += [Reference(f"{ROOT}/people/{TOKEN}")]
SHAPES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from(["k", "any", "sku", "town", TOKEN]), inner, min_size=1, max_size=2)
    ),
    max_leaves=4,
)
# Where a struct with personal fields should be: it, something else instead, or it with something else inside.
NO_MAPS = SHAPES.filter(lambda shape: not isinstance(shape, dict))
DOORS = NO_MAPS | st.fixed_dictionaries({}, optional={"code": SHAPES, "colour": st.just("red")})
SHIPPINGS = NO_MAPS | st.fixed_dictionaries(
    {}, optional={"street": SHAPES, "phone": SHAPES, "door": DOORS, "town": st.just("Graz")}
)
LINES = SHAPES.filter(lambda shape: not isinstance(shape, list)) | st.lists(
    st.none() | NO_MAPS | st.fixed_dictionaries({"recipient": SHAPES}, optional={"pieces": st.just("2")})
)
PERSONAL = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["email", "card", "name", "phones", "secret"], SHAPES),
        "shipping": SHIPPINGS,
        "lines": LINES,
        "id": st.just("a"),
        "colour": st.just("red"),
    },
)


@given(st.lists(PERSONAL, max_size=4), st.sampled_from(["keep", "drop"]))
@settings(max_examples=80, deadline=None)
@example([{"phones": [TOKEN, [TOKEN]]}], "keep")
@example([{"shipping": {"door": TOKEN}, "lines": [TOKEN]}], "keep")
def test_nothing_personal_is_ever_in_a_row(bodies: list[dict[str, Any]], undeclared: str) -> None:
    rows, findings = both(contract(undeclared), responses(bodies))
    encoded = base64.b64encode(TOKEN.encode()).decode().rstrip("=")
    for text in (str(rows), repr(findings)):
        assert TOKEN not in text
        assert TOKEN[:12] not in text
        assert encoded[:16] not in text
    for body, row in zip(bodies, rows, strict=True):
        if isinstance(email := body.get("email"), str):
            assert row["email"] == KEY.pseudonym(email)


def test_the_token_would_be_seen_if_it_stood_in_a_row() -> None:
    row, findings = one({"colour": TOKEN, "place": {TOKEN: 1}})
    assert TOKEN in str(row)
    assert TOKEN in repr(findings)


# Any document


SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary()
)
SCALARS |= st.datetimes(timezones=st.just(datetime.UTC)) | st.sampled_from(["2026-11-20", "20/11/2026", "x@y.example"])
NAMES = st.sampled_from([c["name"] for c in COLUMNS] + ["town", "street", "recipient", "sku", "colour"]) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=8)


def everything(bodies: list[dict[str, Any]], size: int) -> tuple[str, Findings]:
    """All rows in one text (NaN is not equal to itself), landed in batches of a size."""
    rows, findings = both(contract(), *map(list, itertools.batched(responses(bodies), size, strict=False)))
    return repr(rows), findings


@given(st.lists(BODIES, max_size=4))
@settings(max_examples=80, deadline=None)
def test_any_document_is_landed_and_nothing_of_it_is_lost(bodies: list[dict[str, Any]]) -> None:
    rows, findings = landed(*bodies)
    assert len(rows) == len(bodies)
    held = findings.held_back
    for row, body in zip(rows, bodies, strict=True):
        for name in ("id", "pieces", "price", "paid", "photo", "changed_at", "made_at", "place"):
            if body.get(name) is not None:
                assert row[name] is not None or row["_rest"].get(name) == to_json(body[name]) or held[name]
        for name in body.keys() - {c["name"] for c in COLUMNS}:
            assert row["_rest"].get(name) == to_json(body[name]) or held[name] or held["(a personal value)"]


@given(st.lists(BODIES, max_size=6), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
@example([{"made_at": "03/04/2026", "pieces": "2", "email": [], "colour": "red"}, {"made_at": "-"}] * 3, 1)
def test_splitting_into_batches_does_not_matter(bodies: list[dict[str, Any]], size: int) -> None:
    whole, findings = everything(bodies, 1000)
    split, split_findings = everything(bodies, size)
    assert split == whole
    assert told(split_findings) == told(findings)


@given(st.lists(BODIES, min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_documents_and_of_their_fields_does_not_matter(bodies: list[dict[str, Any]], dice: Random) -> None:
    order = list(range(len(bodies)))
    dice.shuffle(order)
    rows, findings = landed(*bodies)
    turned = [dict(reversed(bodies[i].items())) for i in order]
    other, other_findings = landed(*turned)
    for place, i in enumerate(order):
        assert repr({**other[place], "_document": ""}) == repr({**rows[i], "_document": ""})
    assert told(other_findings) == told(findings)
