"""Encoded documents to rows of a source's contract: typed, personal data treated, nothing lost, nothing let through.

A value that fits its declared type lands in its column. What drifted from its type, what nobody declared, and what is
null and not merely missing lands in the JSON column `_rest` (its form: rest.py), so that SQL can still read it or
reject the row with a reason, and restore.py make the document of it again. A personal value never lands there, whatever
its type.

There are two landings, which give the same rows: by column, decoded in Rust, and by document, in Python alone.
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
    """Lands documents of one source.

    Attributes:
        schema: of its batches: the contract's file columns.
    """

    schema: pa.Schema

    @property
    def findings(self) -> Findings:
        """What it met so far."""

    def land(self, responses: Sequence[bytes]) -> pa.RecordBatch:
        """The documents of some encoded RunQueryResponses, in their order; responses without one give no row.

        Raises:
            UndeclaredError: a field is undeclared, and the contract says `undeclared: refuse`.
            ValueError: a value is of a kind that documents did not hold when this was written.
        """


def make_landing(contract: SourceContract, key: Key) -> Landing:
    """The landing of the environment: by column, unless GOLDLINE_FIRESTORE_DECODER is `python`.

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
