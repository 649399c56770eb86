"""Tables kept in line with their contracts: create new ones, add new nullable columns, refuse other changes."""

from collections.abc import Iterable, Sequence

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from goldline.clients import TIMEOUT
from goldline.contracts.columns import Column
from goldline.contracts.table_contract import TableContract
from goldline.runs.context import RunPlace

# BigQuery's API names the types of a schema as in its legacy SQL dialect.
LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


class SchemaChangeError(RuntimeError):
    """Difference between a table and its contract that must not be resolved silently."""


def fields(columns: Iterable[Column]) -> list[bigquery.SchemaField]:
    """Convert columns to schema fields of BigQuery's API."""
    return [
        bigquery.SchemaField(
            c.name, LEGACY.get(c.type, c.type), mode=c.mode, description=c.description, fields=fields(c.fields)
        )
        for c in columns
    ]


def table_of(contract: TableContract, run: RunPlace) -> bigquery.Table:
    """Definition of the table that a contract describes; nothing is created."""
    table = bigquery.Table(run.table(contract.table), schema=fields(contract.columns))
    table.description = f"{contract.description} {contract.grain}"
    if contract.partition_by:
        table.time_partitioning = bigquery.TimePartitioning(field=contract.partition_by)
    if contract.cluster_by:
        table.clustering_fields = list(contract.cluster_by)
    return table


def ensure_dataset(client: bigquery.Client, run: RunPlace, name: str) -> None:
    """Create a dataset if it is missing. It is looked up first: a run's account may lack the right to create one."""
    wanted = bigquery.Dataset(f"{run.project}.{run.dataset(name)}")
    wanted.location = run.location
    try:
        client.get_dataset(wanted.reference, timeout=TIMEOUT)
    except NotFound:
        client.create_dataset(wanted, exists_ok=True, timeout=TIMEOUT)


def ensure(client: bigquery.Client, contract: TableContract, run: RunPlace) -> bigquery.Table:
    """Create the contract's table, or add the contract's new nullable columns to the existing one.

    Raises:
        SchemaChangeError: there are other differences; it names each one and how to rebuild the table.
    """
    wanted = table_of(contract, run)
    try:
        found = client.get_table(wanted.reference, timeout=TIMEOUT)
    except NotFound:
        return client.create_table(wanted, exists_ok=True, timeout=TIMEOUT)
    added, refused = differences(contract, found)
    if refused:
        raise SchemaChangeError(
            f"{contract.table} is not what its contract says: {'; '.join(refused)}. Rebuild it: "
            f"goldline run --full-refresh {contract.table} (`partitions: run_date` then keeps that date alone)"
        )
    if added:
        found.schema = [*found.schema, *fields(added)]
        found = client.update_table(found, ["schema"], timeout=TIMEOUT)
    return found


def ensure_plain(
    client: bigquery.Client, name: str, columns: Sequence[Column], run: RunPlace, partition_by: str | None = None
) -> None:
    """Create a table of goldline's own (ops or rejects), or add new nullable columns to the existing one.

    Raises:
        SchemaChangeError: a new column is REQUIRED, which rows in the table cannot satisfy.
    """
    wanted = bigquery.Table(run.table(name), schema=fields(columns))
    if partition_by:
        wanted.time_partitioning = bigquery.TimePartitioning(field=partition_by)
    try:
        found = client.get_table(wanted.reference, timeout=TIMEOUT)
    except NotFound:
        client.create_table(wanted, exists_ok=True, timeout=TIMEOUT)
        return
    there = {f.name for f in found.schema}
    added = [c for c in columns if c.name not in there]
    if required := [c.name for c in added if c.mode == "REQUIRED"]:
        raise SchemaChangeError(f"{name}: {required[0]} is new and REQUIRED; a new column must be NULLABLE")
    if added:
        found.schema = [*found.schema, *fields(added)]
        client.update_table(found, ["schema"], timeout=TIMEOUT)


def differences(contract: TableContract, found: bigquery.Table) -> tuple[list[Column], list[str]]:
    """Columns to add to a table, and messages on the differences that adding columns cannot resolve."""
    there = {f.name: f for f in found.schema}
    added = [c for c in contract.columns if c.name not in there]
    refused = [f"{c.name} is new and {c.mode}" for c in added if c.mode == "REQUIRED"]
    declared = {c.name: c for c in contract.columns}
    refused += [f"{name} is no longer declared" for name in there if name not in declared]
    for name, field in there.items():
        if name in declared and shape(fields([declared[name]])[0]) != shape(field):
            refused.append(f"{name} is declared {declared[name].sql_type()} {declared[name].mode}, the table's differs")
    if not is_laid_out_alike(contract, found):
        layout = f"by {contract.partition_by}, clustered by {list(contract.cluster_by)}"
        refused.append(f"partitioned by {_partition(found)}, clustered by {found.clustering_fields}, not {layout}")
    return added, refused


def is_laid_out_alike(contract: TableContract, found: bigquery.Table) -> bool:
    """Whether a table has the contract's partitioning and clustering."""
    return (_partition(found), tuple(found.clustering_fields or ())) == (contract.partition_by, contract.cluster_by)


def in_order_of(table: bigquery.Table, contract: TableContract) -> TableContract:
    """Contract with its columns in the table's order, since copy jobs match columns by position."""
    place = {f.name: i for i, f in enumerate(table.schema)}
    return contract.model_copy(update={"columns": tuple(sorted(contract.columns, key=lambda c: place[c.name]))})


def shape(field: bigquery.SchemaField) -> tuple[object, ...]:
    """Part of a column that must not change: name, type, mode and nested fields, not the description."""
    kind = LEGACY.get(field.field_type, field.field_type)
    return (field.name, kind, field.mode, tuple(shape(f) for f in field.fields))


def _partition(table: bigquery.Table) -> str | None:
    """Column that the table is partitioned by, with the unit if that is not DAY; None if there is none."""
    found = table.time_partitioning
    if found is None:
        return None
    column = str(found.field or "the time of loading")
    return column if found.type_ in (None, bigquery.TimePartitioningType.DAY) else f"{found.type_} of {column}"
