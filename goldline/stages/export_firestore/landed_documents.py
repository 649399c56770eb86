"""Convert encoded documents to rows of a source's contract: typed, with its rules for personal data applied.

A value that fits its declared type lands in its column. Values of other types (drifted), undeclared fields and explicit
nulls land in the JSON column `_rest` (its form: rest.py). So SQL can read them or reject the row with a reason, and
restore.py can rebuild the document. A personal value never lands in `_rest`, whatever its type.

Two implementations give the same rows: by column, decoded in Rust, and by document, in Python alone.
"""

import os
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from goldline.contracts.source_contract import SourceContract
from goldline.privacy.pseudonym import Key
from goldline.stages.export_firestore.rules import Findings

DECODER = "GOLDLINE_FIRESTORE_DECODER"


class Landing(Protocol):
    """Converter of documents of one source to rows.

    Attributes:
        schema: Arrow schema of its batches: the contract's file columns.
    """

    schema: pa.Schema

    @property
    def findings(self) -> Findings:
        """Counts of unread, ambiguous, drifted, undeclared and held-back values so far."""

    def land(self, responses: Sequence[bytes]) -> pa.RecordBatch:
        """Convert encoded RunQueryResponses to one row per document, in order; those without one give no row.

        Raises:
            UndeclaredError: a field is undeclared, and the contract says `undeclared: refuse`.
            ValueError: a value is of a kind that this version of goldline does not know.
        """


def make_landing(contract: SourceContract, key: Key) -> Landing:
    """Make the landing: by column, unless the environment's GOLDLINE_FIRESTORE_DECODER is `python`.

    Raises:
        ValueError: the variable is neither `rust` nor `python`.
    """
    match os.environ.get(DECODER, "rust"):
        case "rust":
            from goldline.stages.export_firestore.landing_columns import ColumnLanding

            return ColumnLanding(contract, key)
        case "python":
            from goldline.stages.export_firestore.landing_rows import RowLanding

            return RowLanding(contract, key)
        case other:
            raise ValueError(f"{DECODER}: expected rust or python, got {other!r}")
