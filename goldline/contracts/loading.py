"""Loading of contracts from YAML files or a compiled spec; errors name file and key.

A contract is the only definition of a table's schema. BigQuery schemas and descriptions, the catalog that ZetaSQL
resolves SQL against, audits, unit tests and documentation are all made from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from goldline.contracts.source_contract import SourceContract
from goldline.contracts.table_contract import TableContract

Contract = TableContract | SourceContract


class ContractError(ValueError):
    """An invalid contract; the message names file and key."""


def load(path: Path) -> Contract:
    """Read and check one contract file.

    Raises:
        ContractError: the file is not YAML or not a valid contract; the message names the key, or the line.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506, a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise ContractError(f"{path}: expected keys and values, got {type(content).__name__}")
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str) -> Contract:
    """Make a contract of parsed YAML.

    Args:
        content: keys and values of the contract.
        where: name of its origin for errors, such as the file's path.

    Raises:
        ContractError: the contract is invalid; the message names `where` and the key.
    """
    if ("table" in content) == ("source" in content):
        raise ContractError(f"{where}: a contract starts with `table:` or with `source:`, one of the two")
    model: type[Contract] = TableContract if "table" in content else SourceContract
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ContractError("\n".join(_explained(error, where, content))) from error


def load_all(folder: Path) -> dict[str, Contract]:
    """All contracts in `<folder>/*/*.yml`, by file path without suffix, such as `orders/stg_orders`.

    Raises:
        ContractError: a contract is invalid, its file is not named after its table, two contracts make one table
            (rejects tables and views of sources count too), or a SELECT is missing or superfluous.
    """
    found: dict[str, Contract] = {}
    names: dict[str, Path] = {}
    for path in sorted(folder.glob("*/*.yml")):
        contract = load(path)
        name, *_ = contract.tables
        for made in contract.tables:
            if made in names:
                raise ContractError(f"{path}: {made} has a contract already, {names[made]}")
        if path.stem != name.split(".")[1]:
            raise ContractError(f"{path}: a file is named after its table, {name.split('.')[1]}.yml")
        select = path.with_suffix(".sql")
        if isinstance(contract, TableContract) and contract.mode.has_select != select.exists():
            surplus, missing = f"{contract.mode} has no SELECT, but there is", "no SELECT beside it, expected"
            raise ContractError(f"{path}: {surplus if select.exists() else missing} {select.name}")
        names |= dict.fromkeys(contract.tables, path)
        found[str(path.relative_to(folder).with_suffix(""))] = contract
    return found | _published(found)


def _published(found: Mapping[str, Contract]) -> dict[str, Contract]:
    """Contracts for tables in `reads_published` that no contract of the project makes; these tables stay empty.

    Raises:
        ContractError: the table has a contract, but not with the columns that its reader needs.
    """
    built = {c.table: c for c in found.values() if isinstance(c, TableContract)}
    missing: dict[str, Contract] = {}
    for path, contract in found.items():
        for read in contract.reads_published if isinstance(contract, TableContract) else ():
            if read.table not in built:
                content = {**read.model_dump(), "write": "load", "primary_key": [read.columns[0].name]}
                content |= {"description": "No flow here builds it.", "grain": "No row."}
                missing[f"published/{read.table}"] = parse(content, f"{path}.yml: reads_published")
                continue
            there = {c.name: c.sql_type() for c in built[read.table].columns}
            if other := [c for c in read.columns if there.get(c.name) != c.sql_type()]:
                raise ContractError(
                    f"{path}.yml: reads_published: expected {read.table} with {other[0].name} {other[0].sql_type()}, "
                    f"its contract says {there.get(other[0].name, 'no such column')}"
                )
    return missing


def _explained(error: ValidationError, where: str, content: Mapping[str, Any]) -> Iterator[str]:
    for problem in error.errors():
        key = ".".join(_key(content, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        got = "" if isinstance(problem["input"], dict | list | tuple) else f", got {problem['input']!r}"
        yield f"{where}: {key + ': ' if key else ''}{message}{got}"


def _key(content: Any, location: Sequence[int | str]) -> Iterator[str]:  # noqa: ANN401, YAML holds anything
    """Path of a key; an item of a list is given by its `name` if it has one."""
    for part in location:
        known = isinstance(content, Mapping) and part in content
        content = content[part] if known or (isinstance(content, list) and isinstance(part, int)) else None
        name = content.get("name") if isinstance(part, int) and isinstance(content, Mapping) else None
        yield str(name or part)


class _UniqueKeyLoader(yaml.CSafeLoader):
    """YAML loader that refuses duplicate keys; plain YAML silently takes the last one. In C: an eighth of the time."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for i, (key, (mark, _)) in enumerate(zip(keys, node.value, strict=True)):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark.start_mark)
        return super().construct_mapping(node, deep)
