"""The SQL around a SELECT: every statement that build_table sends, as text made from the contract.

Nothing here talks to BigQuery, so each statement can be read, analysed and run by other engines (goldline test does).
"""

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from goldline.contracts.columns import Column, quoted
from goldline.contracts.table_contract import Check, TableContract

if TYPE_CHECKING:
    from goldline.runs.records import CheckResult

REASON = "_reject_reason"
SELECT_LABEL = "goldline_select"


def create(table: str, columns: Iterable[Column], contract: TableContract | None, select: str, options: str) -> str:
    """CREATE OR REPLACE TABLE with declared columns, so that it has the contract's modes and descriptions."""
    layout = ""
    if contract and contract.partition_by:
        layout += f"\npartition by `{contract.partition_by}`"
    if contract and contract.cluster_by:
        layout += f"\ncluster by {_listed(contract.cluster_by)}"
    declared = ",\n  ".join(c.ddl() for c in columns)
    return f"create or replace table `{table}` (\n  {declared}\n){layout}\noptions ({options})\nas\n{select}"


def create_view(contract: TableContract, view: str, select: str) -> str:
    """CREATE OR REPLACE VIEW whose columns have the contract's descriptions."""
    columns = ",\n  ".join(f"`{c.name}` options(description={quoted(c.description)})" for c in contract.columns)
    labels = f'labels=[("{SELECT_LABEL}", "{select_label(contract, select)}")]'
    options = f"options(description={quoted(described(contract))}, {labels})"
    return f"create or replace view `{view}` (\n  {columns}\n)\n{options}\nas\n{select}"


def select_label(contract: TableContract, select: str) -> str:
    """Hash of a view's SELECT and contract, kept as its label: BigQuery may return the SELECT in another form."""
    return hashlib.sha256(f"{contract.model_dump_json(exclude={'tests'})}{select}".encode()).hexdigest()[:16]


def described(contract: TableContract) -> str:
    """Description of the table in BigQuery."""
    return f"{contract.description} {contract.grain}"


def profile(contract: TableContract, raw: str) -> str:
    """SELECT of one row: selected rows, rejected rows, and NULLs per REQUIRED column among the others."""
    accepted = f"{REASON} is null" if contract.rejects else "true"
    required = [c.name for c in contract.columns if c.mode == "REQUIRED"]
    nulls = "".join(f",\n  countif({accepted} and `{name}` is null) as `null_{name}`" for name in required)
    return f"select\n  count(*) as selected,\n  countif(not ({accepted})) as rejected{nulls}\nfrom `{raw}`"


def stage(contract: TableContract, raw: str) -> str:
    """SELECT of the rows to publish: all not rejected; in a merge the newest of each key, ties broken by content."""
    columns = _listed(c.name for c in contract.columns)
    accepted = f"{REASON} is null" if contract.rejects else "true"
    select = f"select {columns}\nfrom `{raw}` as r\nwhere {accepted}"
    if not contract.mode.merges:
        return select
    # Load metadata comes last: it only makes the choice between equal records deterministic.
    metadata = "".join(f", r.`{c.name}`" for c in contract.columns if c.is_load_metadata)
    order = f"r.`{contract.version}` desc, {content_hash(contract, 'r')} desc{metadata}"
    return f"{select}\nqualify row_number() over (partition by {_listed(contract.primary_key)} order by {order}) = 1"


def to_publish(contract: TableContract, raw: str, staged: str) -> str:
    """Rows to publish, for a FROM clause: the staging table if the write mode needs one, else a query of `raw`."""
    return f"`{staged}`" if contract.mode.needs_stage else f"(\n{stage(contract, raw)}\n)"


def rejects(contract: TableContract, raw: str) -> str:
    """SELECT of the rows with a reason, in the columns of the rejects table."""
    key = _record("r", contract.primary_key)
    record = _record("r", (c.name for c in contract.columns))
    return (
        f"select @run_date as run_date, {REASON} as reason, "
        f"to_json_string({key}) as key, to_json_string({record}) as record\n"
        f"from `{raw}` as r\nwhere {REASON} is not null"
    )


def audit(contract: TableContract, staged: str) -> str:
    """SELECT of one row: rows, distinct keys, rows outside the run date, partitions, failing rows of each check."""
    key = f"to_json_string(struct({_listed(contract.primary_key)}))"
    parts = ["count(*) as row_count", f"count(distinct {key}) as key_count"]
    if contract.mode.replaces_run_date:
        parts.append(f"countif(`{contract.partition_by}` != @run_date) as outside")
    if contract.mode.takes_since and contract.partition_by:
        parts.append(f"array_agg(distinct `{contract.partition_by}`) as partitions")
    parts += [f"countif({check.where}) as {check_alias(i)}" for i, check in enumerate(contract.checks)]
    return f"select\n  {',\n  '.join(parts)}\nfrom {staged}"


def profile_and_audit(contract: TableContract, raw: str) -> str:
    """SELECT of one row with the columns of both, for write modes that publish from the raw stage."""
    audited = audit(contract, to_publish(contract, raw, ""))
    return f"select *\nfrom (\n{profile(contract, raw)}\n)\ncross join (\n{audited}\n)"


def check_alias(position: int) -> str:
    """Audit's column for the check at a position in the contract, from 0."""
    return f"check_{position}"


def results(contract: TableContract, found: Mapping[str, Any]) -> "Iterator[CheckResult]":
    """Check results from a row of `profile`, `audit` or both; built-in checks only where they failed."""
    from goldline.runs.records import CheckResult  # late: it imports the lake's client, and analysing SQL needs none

    result = partial(CheckResult, subject=contract.table)
    for column in contract.columns:
        if nulls := found.get(f"null_{column.name}"):
            yield result(name="required_not_null", level="block", failing=nulls, detail=column.name)
    if "row_count" not in found:
        return
    if doubles := found["row_count"] - found["key_count"]:
        yield result(name="key_is_unique", level="block", failing=doubles, detail=", ".join(contract.primary_key))
    if outside := found.get("outside"):
        yield result(name="rows_are_of_run_date", level="block", failing=outside)
    for i, check in enumerate(contract.checks):
        yield result(name=check.name, level=check.level, failing=found[check_alias(i)])


def failing_rows(check: Check, staged: str) -> str:
    """Query of the rows that fail a check, for debugging; `staged` as in `audit`."""
    return f"select * from {staged} where {check.where}"


def merge(contract: TableContract, target: str, staged: str, partitions: Sequence[datetime.date]) -> str:
    """MERGE of the stage into the table: in `partitions`, newer versions replace older ones, new keys are added."""
    columns = [c.name for c in contract.columns]
    updates = ", ".join(f"`{c}` = s.`{c}`" for c in columns)
    return (
        f"merge `{target}` as t\nusing `{staged}` as s\non {_same_key(contract, partitions)}\n"
        f"when matched and {_newer(contract, 's', 't')} then update set {updates}\n"
        f"when not matched then insert ({_listed(columns)}) values ({', '.join(f's.`{c}`' for c in columns)})"
    )


def replace(table: str, columns: Iterable[str], rows: str, partition_by: str, days: Iterable[datetime.date]) -> str:
    """MERGE that replaces whole partitions by `rows`: a table in backticks, or a query in parentheses.

    A condition that is the constant FALSE makes BigQuery skip the join:
    https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax#omitting_conditions
    """
    names = list(columns)
    return (
        f"merge `{table}` as t\nusing {rows} as s\non false\n"
        f"when not matched by source and t.`{partition_by}` in ({_dates(days)}) then delete\n"
        f"when not matched then insert ({_listed(names)}) values ({', '.join(f's.`{name}`' for name in names)})"
    )


def remove(table: str, partition_by: str, days: Iterable[datetime.date]) -> str:
    """DELETE of whole partitions, for which BigQuery reads no bytes.

    https://cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables#using_dml_delete_to_delete_partitions
    """
    return f"delete from `{table}` where `{partition_by}` in ({_dates(days)})"


def in_partitions(contract: TableContract, days: Iterable[datetime.date]) -> str:
    """Condition that a row lies in one of the partitions."""
    return f"`{contract.partition_by}` in ({_dates(days)})"


def merged(contract: TableContract, target: str, staged: str, partitions: Sequence[datetime.date]) -> str:
    """SELECT of one row after a merge: staged rows that the target holds, and that lost to newer versions there."""
    return (
        f"select\n  countif({content_hash(contract, 's')} = {content_hash(contract, 't')}) as published,\n"
        f"  countif({_newer(contract, 't', 's')}) as outdated\n"
        f"from `{target}` as t\ninner join `{staged}` as s\non {_same_key(contract, partitions)}"
    )


def content_hash(contract: TableContract, alias: str) -> str:
    """Expression for a hash of a row's content, without load metadata: a record loaded twice is one version."""
    record = _record(alias, (c.name for c in contract.columns if not c.is_load_metadata))
    return f"to_hex(md5(to_json_string({record})))"


def _same_key(contract: TableContract, partitions: Sequence[datetime.date]) -> str:
    key = " and ".join(f"t.`{name}` = s.`{name}`" for name in contract.primary_key)
    if not contract.partition_by:
        return key
    # Constants, not the stage's values: else BigQuery would read all partitions.
    # https://cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables#pruning_partitions_when_using_a_merge_statement
    return f"{key} and t.`{contract.partition_by}` in ({_dates(partitions)})"


def _dates(days: Iterable[datetime.date]) -> str:
    return ", ".join(f"date '{day}'" for day in sorted(days))


def _newer(contract: TableContract, one: str, other: str) -> str:
    v, a, b = f"`{contract.version}`", content_hash(contract, one), content_hash(contract, other)
    return f"({one}.{v} > {other}.{v} or ({one}.{v} = {other}.{v} and {a} > {b}))"


def _record(alias: str, names: Iterable[str]) -> str:
    return f"struct({', '.join(f'{alias}.`{name}` as `{name}`' for name in names)})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
