"""Filters of queries, turned into predicates of a document.

https://firebase.google.com/docs/firestore/query-data/queries
"""

import operator
from collections.abc import Callable, Sequence

from goldline.emulators.firestore import document_values as values
from goldline.emulators.firestore import fields
from goldline.emulators.firestore.fields import NAME, Path
from goldline.emulators.firestore.grpc_errors import invalid
from goldline.emulators.firestore.keys import AFTER, reference
from goldline.emulators.firestore.messages import Proto

type Predicate = Callable[[Proto], bool]

# Numbers in StructuredQuery.FieldFilter.Operator, UnaryFilter.Operator and CompositeFilter.Operator.
_LESS, _LESS_OR_EQUAL, _GREATER, _GREATER_OR_EQUAL, _EQUAL, _NOT_EQUAL = 1, 2, 3, 4, 5, 6
_ARRAY_CONTAINS, _IN, _ARRAY_CONTAINS_ANY, _NOT_IN = 7, 8, 9, 10
_IS_NAN, _IS_NULL, _IS_NOT_NAN, _IS_NOT_NULL = 2, 3, 4, 5
_AND, _OR = 1, 2
_RANGES = {
    _LESS: operator.lt,
    _LESS_OR_EQUAL: operator.le,
    _GREATER: operator.gt,
    _GREATER_OR_EQUAL: operator.ge,
}
_NEGATIONS = {_NOT_EQUAL, _NOT_IN}
_UNARY_NEGATIONS = {_IS_NOT_NAN, _IS_NOT_NULL}
# https://firebase.google.com/docs/firestore/query-data/queries#limits_on_or_queries
_LIST_MAX = {_IN: 30, _ARRAY_CONTAINS_ANY: 30, _NOT_IN: 10}
_UNKNOWN = frozenset((values.NULL, values.NAN))  # in a list of values these equal nothing


def field_value(document: Proto, path: Path) -> bytes | None:
    """Encoded value of a document's field, or of its name; None if it lacks the field."""
    if path == NAME:
        return values.encode_reference(document.name)
    value = fields.find(document.fields, path)
    return None if value is None else values.encode(value)


def conjuncts(where: Proto) -> list[Proto]:
    """Filters that must all hold: a conjunction's parts, else the filter itself."""
    match where.WhichOneof("filter_type"):
        case None:
            return []
        case "composite_filter" if where.composite_filter.op == _AND:
            return [inner for part in where.composite_filter.filters for inner in conjuncts(part)]
    return [where]


def name_range(where: Proto) -> tuple[bytes, bytes] | None:
    """Range of paths, low (inclusive) to high (exclusive), that a filter on the name passes; None for other filters."""
    wanted = where.field_filter
    if where.WhichOneof("filter_type") != "field_filter" or fields.parse(wanted.field.field_path) != NAME:
        return None
    if wanted.op not in _RANGES.keys() | {_EQUAL}:
        return None
    path = reference(checked_reference(wanted.value))
    return {
        _LESS: (b"", path),
        _LESS_OR_EQUAL: (b"", path + AFTER),
        _GREATER: (path + AFTER, AFTER),
        _GREATER_OR_EQUAL: (path, AFTER),
        _EQUAL: (path, path + AFTER),
    }[wanted.op]


def inequality_fields(where: Proto) -> set[str]:
    """Fields in range filters and negations, by which Firestore sorts implicitly."""
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            return {path for part in where.composite_filter.filters for path in inequality_fields(part)}
        case "field_filter" if where.field_filter.op in _RANGES.keys() | _NEGATIONS:
            return {where.field_filter.field.field_path}
        case "unary_filter" if where.unary_filter.op in _UNARY_NEGATIONS:
            return {where.unary_filter.field.field_path}
    return set()


def check(where: Proto) -> None:
    """Check a filter as a whole.

    Raises:
        FirestoreError: it has more than one negation.
    """
    if _negations(where) > 1:
        raise invalid("only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query")


def predicate(wanted: Sequence[Proto]) -> Predicate:
    """Predicate that is true for documents that pass all of the filters.

    Raises:
        FirestoreError: a filter is invalid.
    """
    tests = [_predicate(part) for part in wanted]
    return lambda document: all(test(document) for test in tests)


def _predicate(where: Proto) -> Predicate:
    match where.WhichOneof("filter_type"):
        case "composite_filter" if where.composite_filter.op in (_AND, _OR) and where.composite_filter.filters:
            holds = all if where.composite_filter.op == _AND else any
            tests = [_predicate(part) for part in where.composite_filter.filters]
            return lambda document: holds(test(document) for test in tests)
        case "field_filter":
            return _field_predicate(where.field_filter)
        case "unary_filter":
            return _unary_predicate(where.unary_filter)
    raise invalid("a filter without a type, or a composite filter without filters or operator")


def _field_predicate(wanted: Proto) -> Predicate:
    path = fields.parse(wanted.field.field_path)
    if wanted.op in (_ARRAY_CONTAINS, _ARRAY_CONTAINS_ANY):
        return _array_predicate(path, wanted)
    return _value_predicate(path, _comparison(path, wanted))


def _value_predicate(path: Path, test: Callable[[bytes], bool]) -> Predicate:
    def passes(document: Proto) -> bool:
        found = field_value(document, path)
        return found is not None and test(found)

    return passes


def _comparison(path: Path, wanted: Proto) -> Callable[[bytes], bool]:
    if wanted.op in (_IN, _NOT_IN):
        listed = _list(path, wanted)
        known = listed - _UNKNOWN
        if wanted.op == _IN:
            return lambda found: found in known
        return lambda found: values.NULL not in listed and found != values.NULL and found not in known
    other = _name(wanted.value) if path == NAME else values.encode(wanted.value)
    if wanted.op == _EQUAL:
        return lambda found: found == other
    if wanted.op == _NOT_EQUAL:
        return lambda found: found not in (other, values.NULL)
    if (compare := _RANGES.get(wanted.op)) is None:
        raise invalid("a field filter without an operator")
    return lambda found: values.same_kind(found, other) and compare(found, other)


def _array_predicate(path: Path, wanted: Proto) -> Predicate:
    listed = {values.encode(wanted.value)} if wanted.op == _ARRAY_CONTAINS else _list(path, wanted) - _UNKNOWN

    def passes(document: Proto) -> bool:
        found = fields.find(document.fields, path)
        return found is not None and any(values.encode(element) in listed for element in found.array_value.values)

    return passes


def _unary_predicate(wanted: Proto) -> Predicate:
    path = fields.parse(wanted.field.field_path)
    accept: dict[int, Callable[[bytes], bool]] = {
        _IS_NAN: lambda found: found == values.NAN,
        _IS_NULL: lambda found: found == values.NULL,
        _IS_NOT_NAN: lambda found: found not in _UNKNOWN,
        _IS_NOT_NULL: lambda found: found != values.NULL,
    }
    if (test := accept.get(wanted.op)) is None:
        raise invalid("a unary filter without an operator")
    return _value_predicate(path, test)


def _list(path: Path, wanted: Proto) -> set[bytes]:
    listed = wanted.value.array_value.values
    if not listed:
        raise invalid("'IN', 'NOT_IN' and 'ARRAY_CONTAINS_ANY' require a non-empty ArrayValue")
    if len(listed) > _LIST_MAX[wanted.op]:
        raise invalid(f"'IN', 'NOT_IN' or 'ARRAY_CONTAINS_ANY' supports up to {_LIST_MAX[wanted.op]} comparison values")
    return {_name(value) if path == NAME else values.encode(value) for value in listed}


def _name(value: Proto) -> bytes:
    return values.encode_reference(checked_reference(value))


def checked_reference(value: Proto) -> str:
    """Document name in the value of a filter or cursor on __name__.

    Raises:
        FirestoreError: the value is not a reference.
    """
    if not value.HasField("reference_value"):
        raise invalid("a filter or cursor on __name__ takes a reference to a document")
    return str(value.reference_value)


def _negations(where: Proto) -> int:
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            return sum(map(_negations, where.composite_filter.filters))
        case "field_filter":
            return int(where.field_filter.op in _NEGATIONS)
        case "unary_filter":
            return int(where.unary_filter.op in _UNARY_NEGATIONS)
    return 0
