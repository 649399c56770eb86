"""The process: where it listens, how it ends, what it remembers."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import GoogleAPIError
from google.cloud import bigquery_storage_v1 as bigquery_storage
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from goldline.local.stack import Addresses
from tests.support.warehouse_client import PROJECT, Servers, Warehouse, warehouse_server

pytestmark = pytest.mark.servers

SLOW = """
    select count(*) from unnest(generate_array(1, 1000000)) a, unnest(generate_array(1, 1000000)) b
    where mod(a * b, 7) = 1
"""


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens, as /proc tells."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets |= set(re.findall(r"socket:\[(\d+)\]", str(entry.readlink())))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in sockets:
                found.add(columns[1].split(":")[0])
    return found


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux's /proc")
def test_only_this_machine_can_reach_the_servers(stack: Addresses) -> None:
    local = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, and the same as IPv6 writes it
    for pid in stack.pids.values():
        assert listening(pid) <= local
        assert listening(pid)


def test_a_table_is_read_as_arrow(servers: Servers, warehouse: Warehouse) -> None:
    warehouse.rows("create table {d}.t as select n, cast(n as string) as s from unnest(generate_array(1, 100000)) n")
    # The client that Google builds allows messages of any size; so must one with a channel of its own.
    channel = grpc.insecure_channel(servers.bigquery_storage, options=[("grpc.max_receive_message_length", -1)])
    client = bigquery_storage.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
    wanted = bigquery_storage.types.ReadSession(
        table=f"projects/{PROJECT}/datasets/{warehouse.dataset}/tables/t",
        data_format=bigquery_storage.types.DataFormat.ARROW,
        read_options={"selected_fields": ["n"], "row_restriction": "n > 10"},
    )
    session = client.create_read_session(parent=f"projects/{PROJECT}", read_session=wanted, max_stream_count=1)
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    # Not the stream's to_arrow(): it warns that it is to be deprecated.
    batches = [
        pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema)
        for message in client.read_rows(session.streams[0].name)
    ]
    table = pa.Table.from_batches(batches)
    assert (table.num_rows, table.column_names) == (99_990, ["n"])
    assert sum(table["n"].to_pylist()) == 100_000 * 100_001 // 2 - 55
    channel.close()


def test_a_killed_server_forgets_nothing_that_it_acknowledged(servers: Servers, tmp_path: Path) -> None:
    with warehouse_server(tmp_path, servers.storage) as (url, process):
        warehouse = Warehouse(url, servers.storage)
        warehouse.rows("create table {d}.t (n int64)")
        for n in range(3):
            warehouse.rows("insert {d}.t values (@n)", n=n)
        left = warehouse.client.query(SLOW)
        assert left.state == "RUNNING"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        warehouse.close()
    with warehouse_server(tmp_path, servers.storage) as (url, process):
        again = Warehouse(url, servers.storage)
        assert again.rows(f"select count(*), max(n) from {warehouse.dataset}.t") == [(3, 2)]
        assert list(again.client.list_jobs(state_filter="running")) == []
        job = again.client.get_job(left.job_id)
        assert job.state == "DONE"
        assert "stopped while the job ran" in job.error_result["message"]

        # Neither an idle connection nor a query holds up its end.
        running = again.client.query(SLOW)
        address = urlsplit(url)
        with socket.create_connection((str(address.hostname), int(address.port or 0))):
            process.terminate()
            assert process.wait(timeout=10) == 0
        with contextlib.suppress(GoogleAPIError, OSError):
            running.cancel(retry=None, timeout=1)
        again.close()
    assert "Traceback" not in (tmp_path / "logs" / "bigquery.log").read_text()


def test_a_tables_row_groups_leave_no_core_idle(servers: Servers, tmp_path: Path) -> None:
    with warehouse_server(tmp_path, servers.storage) as (url, _):
        warehouse = Warehouse(url, servers.storage)
        warehouse.rows("create table {d}.t as select n from unnest(generate_array(1, 200000)) n")
        [file] = (tmp_path / "warehouse").rglob("*.parquet")
        stored = pq.ParquetFile(file).metadata
        assert (stored.num_rows, stored.num_row_groups) == (200_000, 4)
        warehouse.close()


def test_a_taken_port_is_an_error(servers: Servers, tmp_path: Path) -> None:
    port = servers.bigquery_storage.rsplit(":", 1)[1]
    command = ["--host", "127.0.0.1", "--port", "0", "--grpc-port", port, "--data-dir", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-m", "goldline.emulators.warehouse", *command], capture_output=True, timeout=30, check=False
    )
    assert result.returncode != 0
    assert b"Failed to bind" in result.stderr


def test_the_next_start_has_no_log_to_read_again(servers: Servers, tmp_path: Path) -> None:
    """A write-ahead log that is left is replayed at the next start: two seconds after a day of runs."""
    with warehouse_server(tmp_path, servers.storage) as (url, process):
        warehouse = Warehouse(url, servers.storage)
        warehouse.rows("create table {d}.t as select 1 as n")
        assert [file for file in (tmp_path / "warehouse").rglob("*.wal") if file.stat().st_size]
        process.terminate()
        assert process.wait(timeout=10) == 0
        warehouse.close()
    assert [file.name for file in (tmp_path / "warehouse").rglob("*.wal") if file.stat().st_size] == []
