"""Analysis of SQL: every SELECT against the contracts, and every statement that goldline makes around it."""

import datetime
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from goldline.contracts.catalog import catalog
from goldline.contracts.columns import Column
from goldline.contracts.loading import Contract, load_all
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract
from goldline.emulators.googlesql import Analyser, Field, SqlError
from goldline.emulators.googlesql.analyse import PARAMETERS
from goldline.local.sqltest.choice import chosen, selects
from goldline.local.sqltest.contract_fields import fields_of
from goldline.runs.ops import TABLES
from goldline.warehouse import statements

# A spec carries the SELECT as an argument, in which KFP reads the first as a placeholder, and Vertex the second as a
# command to run.
NOT_IN_A_SPEC = ("{{$.", "python3")
REASON = Column(name=statements.REASON, type="STRING", description="Why the row is rejected.")
OPTIONS = 'description="for the check"'
A_DAY = datetime.date(2026, 11, 20)


@dataclass(frozen=True)
class Problem:
    """A mistake, with its file, line and column, counted from 1."""

    file: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """Text in the form of compilers, so that editors find the place: `file:line:column: message`."""
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


def check_sql(folder: Path, *, cache: Path | None = None) -> list[Problem]:
    """Mistakes in the SQL below a folder that can be found without data.

    Args:
        folder: folder of SELECTs and contracts.
        cache: folder of compiled ZetaSQL; None: .goldline/cache.

    Raises:
        ContractError: a contract is invalid, so there is nothing to check against.
    """
    contracts = load_all(folder)
    tables = chosen(contracts, None)
    alone = set(folder.rglob("*.sql")) - selects(tables, folder).keys()
    lost = [Problem(path, 1, 1, f"no contract beside it, expected {path.stem}.yml") for path in sorted(alone)]
    return lost + check_tables(tables, folder, analyser_of(contracts.values(), cache))


def check_tables(tables: Mapping[str, TableContract], folder: Path, analyser: Analyser) -> list[Problem]:
    """Mistakes in the SQL of some tables, by the path of their contract, that can be found without data."""
    problems = []
    for path in selects(tables, folder):
        contract = tables.get(str(path.relative_to(folder).with_suffix("")))
        problems += TableCheck(analyser, contract, path).problems() if contract else _rows_problems(analyser, path)
    return problems


def _rows_problems(analyser: Analyser, path: Path) -> list[Problem]:
    """Mistakes in `predict_<model>.sql`, the SELECT of the rows that a model predicts for."""
    try:
        analyser.resolve(path.read_text(encoding="utf-8"), {"run_date": PARAMETERS["run_date"], "value": "STRING"})
    except SqlError as error:
        return [Problem(path, error.line or 1, error.column or 1, error.message)]
    return []


def analyser_of(contracts: Collection[Contract], cache: Path | None = None) -> Analyser:
    """Analyser that knows the contracts' tables, the stages of their builds, and the ops tables."""
    tables = catalog(contracts, TABLES) | stages(contracts)
    return Analyser({name: fields_of(columns) for name, columns in tables.items()}, cache=cache)


def stage_name(step: str, contract: TableContract) -> str:
    """Name that a stage of the table, `raw` or `stage`, has in the analyser's catalog."""
    return f"ops.{step}_{contract.dataset}_{contract.name}"


def stages(contracts: Iterable[Contract]) -> dict[str, tuple[Column, ...]]:
    """Columns, by name, of the stages that builds write between SELECT and table."""
    found = {}
    for contract in contracts:
        if isinstance(contract, TableContract):
            found[stage_name("raw", contract)] = _selected(contract)
            found[stage_name("stage", contract)] = contract.columns
    return found


class TableCheck:
    """Check of one table: its SELECT, its contract's checks, and goldline's statements made of them."""

    def __init__(self, analyser: Analyser, contract: TableContract, sql: Path) -> None:
        self._analyser = analyser
        self._contract = contract
        self._sql = sql
        self._select = sql.read_text(encoding="utf-8")

    def problems(self) -> list[Problem]:
        """Mistakes of the table; goldline's statements are analysed only if SELECT and checks have none."""
        found = [*self._forbidden_text(), *self._select_problems(), *self._check_problems()]
        return found or list(self._machine_problems())

    def _forbidden_text(self) -> Iterator[Problem]:
        for text in NOT_IN_A_SPEC:
            if (start := self._select.find(text)) >= 0:
                yield self._at(start, f"{text!r} must not stand in a SELECT: the pipeline's spec carries it")

    def _select_problems(self) -> list[Problem]:
        try:
            given = self._analyser.resolve(self._select, {name: PARAMETERS[name] for name in self._contract.parameters})
        except SqlError as error:
            return [Problem(self._sql, error.line or 1, error.column or 1, self._explained(error))]
        unused = self._contract.lookback_days and "@lookback_start" not in self._select
        found = [self._at(0, "the contract has lookback_days, but @lookback_start is not used")] if unused else []
        return [*found, *self._output_problems(given)]

    def _explained(self, error: SqlError) -> str:
        if not error.message.startswith("Query parameter"):
            return error.message
        names = " and ".join(f"@{name}" for name in self._contract.parameters) or "no parameter"
        return f"{error.message}; a SELECT of {self._contract.mode} takes {names}"

    def _output_problems(self, given: list[Field]) -> Iterator[Problem]:
        wanted = fields_of(_selected(self._contract))
        yield from self._name_problems([f.name for f in given], [f.name for f in wanted])
        types = {f.name: f.type for f in wanted}
        for field in given:
            if field.type != types.get(field.name, field.type):
                message = f"column {field.name} is {field.type}, in the contract {types[field.name]}"
                yield self._at(self._last(field.name), message)

    def _name_problems(self, names: list[str], wanted: list[str]) -> Iterator[Problem]:
        for name in wanted:
            if name not in names:
                yield self._at(self._last("select"), f"column {name} is missing, the contract has it")
        for i, name in enumerate(names):
            if name not in wanted:
                yield self._at(self._last(name), f"column {name} is not in the contract")
            elif name in names[:i]:
                yield self._at(self._last(name), f"column {name} stands twice")
        if sorted(names) == sorted(wanted) and names != wanted:
            i = next(i for i, name in enumerate(names) if name != wanted[i])
            yield self._at(self._last(names[i]), f"column {i + 1} is {names[i]}, in the contract {wanted[i]}")

    def _check_problems(self) -> Iterator[Problem]:
        for i, check in enumerate(self._contract.checks):
            # The condition begins a line, so that a column in it is a column of that line.
            probe = f"select\n{check.where}\nas caught from `{stage_name('stage', self._contract)}`"
            line, column = 2, 1
            try:
                kind = str(self._analyser.resolve(probe, {})[0].type)
                message = "" if kind == "BOOL" else f"expected a condition, a BOOL, got {kind}"
            except SqlError as error:
                message, line, column = error.message, error.line or line, error.column or column
            if message:
                path = self._sql.with_suffix(".yml")
                yield Problem(path, *_place(path, i, line - 2, column), f"check {check.name!r}: {message}")

    def _machine_problems(self) -> Iterator[Problem]:
        for name, sql in machine_statements(self._contract, self._select):
            try:
                self._analyser.statement(sql)
            except SqlError as error:
                message = f"goldline's own statement {name!r} does not hold for this contract: {error}\n{sql}"
                yield Problem(self._sql.with_suffix(".yml"), 1, 1, message)

    def _last(self, name: str) -> int:
        """Position where a column most likely gets its name: the last occurrence of the name in the SELECT."""
        found = list(re.finditer(rf"\b{re.escape(name)}\b", self._select, re.IGNORECASE))
        return found[-1].start() if found else 0

    def _at(self, start: int, message: str) -> Problem:
        before = self._select[:start]
        return Problem(self._sql, before.count("\n") + 1, start - before.rfind("\n"), message)


def _selected(contract: TableContract) -> tuple[Column, ...]:
    """Columns that the contract's SELECT must give."""
    return contract.columns + ((REASON,) if contract.rejects else ())


def machine_statements(contract: TableContract, select: str) -> Iterator[tuple[str, str]]:
    """Every statement that a build sends for a contract and its SELECT, with sample dates: pairs of step and SQL."""
    select = select.rstrip().rstrip(";")
    raw, stage = stage_name("raw", contract), stage_name("stage", contract)
    audited = f"(\n{select}\n)" if contract.mode.is_view else statements.to_publish(contract, raw, stage)
    for check in contract.checks:
        yield f"failing rows of {check.name}", statements.failing_rows(check, audited)
    if contract.mode.is_view:
        yield "create_view", statements.create_view(contract, contract.table, select)
        yield "audit", statements.audit(contract, audited)
        return
    yield "raw", f"create or replace table `{raw}` options ({OPTIONS}) as\n{select}"
    if contract.mode.needs_stage:
        yield "profile", statements.profile(contract, raw)
        staged = statements.stage(contract, raw)
        yield "stage", statements.create(stage, contract.columns, contract, staged, OPTIONS)
        yield "audit", statements.audit(contract, audited)
    else:
        yield "audit", statements.profile_and_audit(contract, raw)
    if contract.rejects:
        columns, rows = (c.name for c in REJECTED_COLUMNS), f"(\n{statements.rejects(contract, raw)}\n)"
        yield "rejects", statements.replace(contract.rejected_table, columns, rows, "run_date", [A_DAY])
    if contract.mode.replaces_table:
        rows = f"select * from {audited}"
        yield "publish", statements.create(contract.table, contract.columns, contract, rows, OPTIONS)
    if contract.mode.merges:
        days = [datetime.date(2026, 11, 19), A_DAY]
        yield "merge", statements.merge(contract, contract.table, stage, days)
        yield "merged", statements.merged(contract, contract.table, stage, days)
    if contract.mode.replaces_arrived:
        names, day = [c.name for c in contract.columns], str(contract.partition_by)
        yield "replace", statements.replace(contract.table, names, audited, day, [A_DAY])


def _place(path: Path, check: int, line: int, column: int) -> tuple[int, int]:
    """Line and column in a contract's file of a position in the condition of its i-th check."""
    root: Any = yaml.compose(path.read_text(encoding="utf-8"))
    condition = _node(_node(root, "checks").value[check], "where")
    if line or condition.style in ("|", ">"):
        return condition.start_mark.line + 1 + line, column
    quote = 1 if condition.style else 0
    return condition.start_mark.line + 1, condition.start_mark.column + quote + column


def _node(mapping: Any, key: str) -> Any:  # noqa: ANN401, yaml's nodes are untyped
    nodes: Mapping[str, Any] = {name.value: value for name, value in mapping.value}
    return nodes[key]
