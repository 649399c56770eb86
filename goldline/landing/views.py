"""External table over a source's files, and the view that shows the newest commit of each date."""

import gzip
import io

import pyarrow.parquet as pq
from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from goldline.clients import TIMEOUT
from goldline.contracts import arrow
from goldline.contracts.source_contract import LANDED_KEYS, SourceContract
from goldline.lake import Lake
from goldline.landing.attempts import attempt_folder, from_newest_commits
from goldline.runs.context import EPOCH, RunContext
from goldline.warehouse.schema import fields, shape

ENDING = {"parquet": ".parquet", "jsonl": ".jsonl.gz"}  # of landed files, by format, in whatever form they came


def ensure_source(client: bigquery.Client, lake: Lake, contract: SourceContract, run: RunContext) -> None:
    """Create a source's external table and view, or recreate them if the contract has changed."""
    wanted = external_table(contract, run)
    if not _is_as_declared(client, wanted):
        # An external table without files cannot be queried: write an empty one.
        path = f"{attempt_folder(contract, EPOCH, 'none')}/empty{ENDING[contract.format]}"
        lake.write_bytes(path, empty_file(contract))
        client.delete_table(wanted.reference, not_found_ok=True, timeout=TIMEOUT)
        client.create_table(wanted, exists_ok=True, timeout=TIMEOUT)
        client.delete_table(run.table(contract.view), not_found_ok=True, timeout=TIMEOUT)
    _ensure_view(client, contract, run)


def _ensure_view(client: bigquery.Client, contract: SourceContract, run: RunContext) -> None:
    view = bigquery.Table(run.table(contract.view))
    view.view_query = newest_commits(contract, run)
    view.description = f"{contract.description} The newest commit of each run date."
    found = client.create_table(view, exists_ok=True, timeout=TIMEOUT)
    if found.view_query.strip() != view.view_query:  # of an earlier version of goldline
        client.delete_table(view, timeout=TIMEOUT)
        client.create_table(view, timeout=TIMEOUT)


def external_table(contract: SourceContract, run: RunContext) -> bigquery.Table:
    """Definition of the external table over all landed files of a source, committed or not."""
    folder = f"gs://{run.bucket}/{contract.folder}"
    config = _of_lines() if contract.format == "jsonl" else _of_parquet()
    config.source_uris = [f"{folder}/*{ENDING[contract.format]}"]
    config.schema = fields(contract.file_columns)
    hive = bigquery.HivePartitioningOptions()
    hive.mode = "CUSTOM"
    hive.source_uri_prefix = f"{folder}/{'/'.join(f'{{{key}:{kind}}}' for key, (kind, _) in LANDED_KEYS.items())}"
    config.hive_partitioning = hive
    table = bigquery.Table(run.table(contract.source), schema=config.schema)
    table.description = f"{contract.description} All attempts: read {contract.view} instead."
    table.external_data_configuration = config
    return table


def _of_parquet() -> bigquery.ExternalConfig:
    config = bigquery.ExternalConfig("PARQUET")
    # Without it an array of Parquet shows as a struct named list:
    # https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#list_logical_type
    config.parquet_options = bigquery.ParquetOptions()
    config.parquet_options.enable_list_inference = True
    return config


def _of_lines() -> bigquery.ExternalConfig:
    """Configuration to read lines as CSV of one column: no landed line holds the delimiter, and quotes are off.

    Read as JSON, one malformed line would fail the query or be dropped silently.
    """
    config = bigquery.ExternalConfig("CSV")
    config.compression = "GZIP"
    config.csv_options = bigquery.CSVOptions()
    config.csv_options.field_delimiter = "\x01"
    config.csv_options.quote_character = ""
    return config


def newest_commits(contract: SourceContract, run: RunContext) -> str:
    """SELECT of the view: files of each date's newest commit, never those of a killed or concurrent attempt."""
    return _newest_lines(contract, run) if contract.format == "jsonl" else _newest_records(contract, run)


def _newest_lines(contract: SourceContract, run: RunContext) -> str:
    return f"""select
    files.line,
    files.run_date,
    files.attempt,
    files._FILE_NAME as _file,
    commits.pii_key_version as _pii_key_version
from `{run.table(contract.source)}` as files
inner join (
    select run_date, attempt, pii_key_version
    {from_newest_commits(run, contract)}
) as commits
    on files.run_date = commits.run_date and files.attempt = commits.attempt"""


def _newest_records(contract: SourceContract, run: RunContext) -> str:
    """SELECT of the view over Parquet files.

    Living records are shown only if their pseudonyms were made with the newest commit's key. After a rotation the first
    export holds all of them again, so each would else appear twice, under two keys.
    """
    return f"""select files.*
from `{run.table(contract.source)}` as files
inner join (
    select
        run_date,
        attempt,
        first_value(pii_key_version) over (order by committed_at desc, attempt desc) as newest_key_version
    {from_newest_commits(run, contract)}
) as commits
    on files.run_date = commits.run_date and files.attempt = commits.attempt
where
    files._is_deleted
    or commits.newest_key_version is null
    or coalesce(files._pii_key_version = commits.newest_key_version, true)"""


def empty_file(contract: SourceContract) -> bytes:
    """Content of a file with the source's columns and no rows."""
    if contract.format == "jsonl":
        return gzip.compress(b"", mtime=0)
    out = io.BytesIO()
    pq.write_table(arrow.schema(contract.file_columns).empty_table(), out)
    return out.getvalue()


def _is_as_declared(client: bigquery.Client, wanted: bigquery.Table) -> bool:
    try:
        found = client.get_table(wanted.reference, timeout=TIMEOUT)
    except NotFound:
        return False
    return [shape(f) for f in found.schema if f.name not in LANDED_KEYS] == [shape(f) for f in wanted.schema]
