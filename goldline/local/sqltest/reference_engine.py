"""Engine for unit tests on ZetaSQL's reference executor: a SELECT and the steps of its build, each run as SQL."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldline.contracts.loading import Contract
from goldline.contracts.table_contract import Case, TableContract
from goldline.emulators.googlesql import Analyser, Executor, NotOfTypeError, Relation, SqlError
from goldline.local.sqltest.analysis import analyser_of
from goldline.local.sqltest.cases import CaseError, Outcome
from goldline.warehouse import statements

RAW, STAGE = "ops.raw", "ops.stage"


class ReferenceEngine:
    """Engine that runs the steps of a build on ZetaSQL's reference executor.

    The executor has no MERGE, so the last step, from stage to table, is an equivalent SELECT.
    """

    name = "reference"

    def __init__(self, cache: Path | None = None, analyser: Analyser | None = None) -> None:
        """Prepare to run.

        Args:
            cache: folder of compiled ZetaSQL; None: .goldline/cache.
            analyser: analyser that knows the contracts already; None: one is made.
        """
        self._cache = cache
        self._given = analyser
        self._known: tuple[Mapping[str, Contract], Analyser] | None = None

    def run(self, contract: TableContract, select: str, case: Case, contracts: Mapping[str, Contract]) -> Outcome:
        """Build the table from the case's rows.

        Raises:
            CaseError: the SELECT, the contract or the case makes the build fail.
        """
        try:
            return _Build(self._analyser(contracts), contract, case).run(select)
        except (SqlError, NotOfTypeError) as error:
            raise CaseError(str(error)) from error

    def _analyser(self, contracts: Mapping[str, Contract]) -> Analyser:
        if self._given:
            return self._given
        if self._known is None or self._known[0] is not contracts:
            self._known = contracts, analyser_of(contracts.values(), self._cache)
        return self._known[1]


class _Build:
    def __init__(self, analyser: Analyser, contract: TableContract, case: Case) -> None:
        self._analyser = analyser
        self._executor = Executor(analyser)
        self._contract = contract
        self._case = case

    def run(self, select: str) -> Outcome:
        self._refuse_what_is_not_read(select)
        raw = self._executor.select(
            select,
            self._case.given,
            self._case.run_date if self._contract.mode.takes_run_date else None,
            self._case.since if self._contract.mode.takes_since else None,
            self._contract.lookback_start(self._case.since) if self._contract.lookback_days else None,
        )
        if self._contract.mode.is_view:
            self._audit(raw)
            return Outcome(raw.rows)
        rejects = self._profile(raw)
        staged = self._executor.run(statements.stage(self._contract, RAW), {RAW: raw})
        self._audit(staged)
        rejected = Relation(())
        if rejects:
            rejected = self._executor.run(statements.rejects(self._contract, RAW), {RAW: raw}, self._case.run_date)
        return Outcome(self._published(staged).rows, rejected.rows)

    def _refuse_what_is_not_read(self, select: str) -> None:
        _, reads = self._analyser.with_whole_names(select)
        for table in self._case.given:
            if table not in reads | {self._contract.table}:
                raise CaseError(f"given {table}: the SELECT reads {', '.join(sorted(reads))}")

    def _profile(self, raw: Relation) -> int:
        """Number of rows that the SELECT rejects; refuses NULL in a REQUIRED column of the others."""
        [found] = self._executor.run(statements.profile(self._contract, RAW), {RAW: raw}).rows
        self._stop_if_blocked(found)
        return int(found["rejected"])

    def _audit(self, staged: Relation) -> None:
        run_date = self._case.run_date if self._contract.mode.replaces_run_date else None
        [found] = self._executor.run(statements.audit(self._contract, f"`{STAGE}`"), {STAGE: staged}, run_date).rows
        self._stop_if_blocked(found)

    def _stop_if_blocked(self, found: Mapping[str, Any]) -> None:
        blocking = [c for c in statements.results(self._contract, found) if c.failing and c.level == "block"]
        if caught := [f"'{c}': {c.failing} rows fail" for c in blocking]:
            raise CaseError(f"{self._contract.table} is not published: {'; '.join(caught)}")

    def _published(self, staged: Relation) -> Relation:
        contract = self._contract
        standing = self._case.given.get(contract.table)
        if not standing or contract.mode.replaces_table:
            return staged
        fields = self._analyser.tables[contract.table]
        tables = {STAGE: staged, contract.table: Relation.of(contract.table, fields, standing)}
        if contract.mode.merges:
            return self._executor.run(_merged(contract), tables)
        if contract.mode.replaces_arrived:
            return self._executor.run(_replaced(contract, f"(select `{contract.partition_by}` from `{STAGE}`)"), tables)
        return self._executor.run(_replaced(contract, "(@run_date)"), tables, self._case.run_date)


def _merged(contract: TableContract) -> str:
    """SELECT for a MERGE: per key the newest version, among equals by content, then the row of the table."""
    columns = ", ".join(f"`{c.name}`" for c in contract.columns)
    # As in the MERGE, a row of another partition is another row.
    key = [f"b.`{name}`" for name in (*contract.primary_key, contract.partition_by) if name]
    order = f"b.`{contract.version}` desc, {statements.content_hash(contract, 'b')} desc, b._is_staged"
    return (
        f"with both_sides as (\n  select {columns}, false as _is_staged from `{contract.table}`\n  union all\n"
        f"  select {columns}, true from `{STAGE}`\n)\nselect {columns}\nfrom both_sides as b\nwhere true\n"
        f"qualify row_number() over (partition by {', '.join(dict.fromkeys(key))} order by {order}) = 1"
    )


def _replaced(contract: TableContract, days: str) -> str:
    """SELECT for a replacement of partitions: the table without those of `days`, and the stage's rows."""
    columns = ", ".join(f"`{c.name}`" for c in contract.columns)
    return (
        f"select {columns} from `{contract.table}` where `{contract.partition_by}` not in {days}\n"
        f"union all\nselect {columns} from `{STAGE}`"
    )
