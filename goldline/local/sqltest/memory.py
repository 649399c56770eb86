"""Memory of what passed: it runs again only if something has changed that it depends on."""

import hashlib
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from goldline.contracts.loading import Contract
from goldline.contracts.table_contract import Case, TableContract
from goldline.local.fork_server import packages_changed
from goldline.local.sqltest.choice import needed, selects

FOLDER = "passed"  # in the stack's


class Memory:
    """Digests, in a file, of one table's analysis and cases that passed: of all that their result depends on.

    That is the table's SELECT and contract, the contracts of what it reads, the case with its rows, goldline's own
    code, and the packages that are installed.
    """

    def __init__(self, home: Path, contracts: Mapping[str, Contract], path: str, folder: Path) -> None:
        """Read what passed of the table at a contract's path."""
        table = contracts[path]
        if not isinstance(table, TableContract):
            raise TypeError(f"{path} is a source")
        tables = {path: table}
        self._file = home / FOLDER / f"{table.table}.json"
        known = [c.model_dump_json(exclude={"tests"}) for c in needed(contracts, tables, folder).values()]
        self._shared = _digest(_code(), *known, *selects(tables, folder).values())
        self._passed: set[str] = set(json.loads(self._file.read_text())) if self._file.exists() else set()

    @property
    def is_analysed(self) -> bool:
        """Whether the SQL, as it is now, had no mistake."""
        return self._shared in self._passed

    def has_passed(self, case: Case) -> bool:
        """Whether a case, as it is now, passed on both engines."""
        return self._of(case) in self._passed

    def keep(self, passed: Collection[Case]) -> None:
        """Keep that the analysis and some cases passed, and nothing else."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps([self._shared, *map(self._of, passed)]))
        fresh.replace(self._file)

    def _of(self, case: Case) -> str:
        return _digest(self._shared, case.model_dump_json())


def _code() -> str:
    """Digest of goldline's code, of Python's version, and of when a package was last installed or removed."""
    files = sorted(Path(__file__).parents[2].rglob("*.py"))
    return _digest(sys.version, str(packages_changed()), *(file.read_text(encoding="utf-8") for file in files))


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
