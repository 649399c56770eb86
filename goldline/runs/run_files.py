"""Files of one run in the lake, shared by its tasks: the context, and the catalog of contracts.

ops/runs/<run id>/run.json       the RunContext
ops/runs/<run id>/catalog.json   all contracts, and the SELECTs of views
ops/runs/<run id>/tasks/         one record per task (records.py)
"""

import base64
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass

from goldline.contracts.loading import Contract, parse
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake, LakeError
from goldline.runs.context import RunContext, records_folder


@dataclass(frozen=True)
class Catalog:
    """All contracts of a project, and the SELECTs of its views by table."""

    contracts: tuple[Contract, ...]
    views: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "Catalog":
        """Read a catalog from JSON.

        Raises:
            ContractError: a contract in it is invalid.
        """
        content = json.loads(text)
        return cls(tuple(parse(c, "a contract in the spec") for c in content["contracts"]), content["views"])

    @classmethod
    def unpack(cls, text: str) -> "Catalog":
        """Read a catalog that `pack` wrote."""
        return cls.parse(lzma.decompress(base64.b64decode(text)).decode())

    def json(self) -> str:
        """Catalog as JSON; contracts without their tests and default values."""
        contracts = [json.loads(travelling(c)) for c in self.contracts]
        return json.dumps({"contracts": contracts, "views": self.views}, separators=(",", ":"))

    def pack(self) -> str:
        """Catalog as one task argument: JSON, compressed, as base64; KFP limits the size of arguments."""
        return base64.b64encode(lzma.compress(self.json().encode(), preset=9)).decode()

    @property
    def tables(self) -> dict[str, TableContract]:
        """Contracts of tables by the table's name, such as `silver.stg_orders`."""
        return {c.table: c for c in self.contracts if isinstance(c, TableContract)}


def travelling(contract: Contract) -> str:
    """Contract as JSON for the compiled spec: without its tests and default values."""
    return contract.model_dump_json(exclude={"tests"}, exclude_defaults=True)


def save(run: RunContext, catalog: Catalog) -> None:
    """Write a run's context and catalog, which its tasks find by the run's id."""
    lake = Lake(run.project, run.bucket)
    lake.write_text(f"{run.records}/catalog.json", catalog.json())
    lake.write_text(f"{run.records}/run.json", run.model_dump_json())


def load_context(lake: Lake, run_id: str) -> RunContext | None:
    """Context of a run; None if prepare_run has not written it."""
    try:
        return RunContext.parse(lake.read_text(f"{records_folder(run_id)}/run.json"))
    except LakeError:
        return None


def load_catalog(run: RunContext) -> Catalog:
    """Catalog that the run was prepared with.

    Raises:
        LakeError: prepare_run has not written it.
    """
    return Catalog.parse(Lake(run.project, run.bucket).read_text(f"{run.records}/catalog.json"))
