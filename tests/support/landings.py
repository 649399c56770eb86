"""Documents as Firestore sends them, and their rows by each landing."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from goldline.contracts.source_contract import SourceContract
from goldline.firestore import values
from goldline.firestore.calls import RunQueryResponse
from goldline.privacy.pseudonym import Key
from goldline.stages.export_firestore.landed_documents import Landing
from goldline.stages.export_firestore.landing_columns import ColumnLanding
from goldline.stages.export_firestore.landing_rows import RowLanding
from goldline.stages.export_firestore.rules import Findings

ROOT = "projects/p/databases/(default)/documents"
LANDINGS: list[Callable[[SourceContract, Key], Landing]] = [RowLanding, ColumnLanding]
KEY = Key("3", b"a secret of the tests")
NOON = datetime.datetime(2026, 11, 20, 12, 0, 5, tzinfo=datetime.UTC)


def response(path: str, body: Mapping[str, Any]) -> bytes:
    """A document as Firestore sends it."""
    made = RunQueryResponse()
    made.document.name = f"{ROOT}/{path}"
    values.encode_map(body, made.document)
    for time in (made.document.create_time, made.document.update_time, made.read_time):
        values.set_moment(time, NOON)
    encoded: bytes = made.SerializeToString()
    return encoded


def both(source: SourceContract, *batches: list[bytes]) -> tuple[list[dict[str, Any]], Findings]:
    """The rows of some documents and what was found, which do not depend on the landing."""
    found = []
    for make in LANDINGS:
        landing = make(source, KEY)
        made = [landing.land(batch) for batch in batches]
        for batch in made:
            batch.validate(full=True)
            assert batch.schema == landing.schema
        found.append(([row for batch in made for row in batch.to_pylist()], landing.findings))
    (rows, findings), (others, other_findings) = found
    assert repr(others) == repr(rows)  # NaN is not equal to itself
    assert told(other_findings) == told(findings)
    return rows, findings


def told(findings: Findings) -> dict[str, dict[str, int]]:
    """What was found, without what was not."""
    return {kind: dict(+by) for kind, by in vars(findings).items() if +by}
