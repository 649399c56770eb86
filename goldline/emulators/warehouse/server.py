"""Start and end of the two servers, REST and gRPC."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import signal
import socket
from types import FrameType

import duckdb
import grpc
import uvicorn
from local_bigquery.engine import database
from local_bigquery.engine.database import quote
from local_bigquery.grpc import server as grpc_server
from local_bigquery.jobs import runner

from goldline.emulators.warehouse.upstream import replace, require

# For requests that still run when the server is told to stop.
GRACE_SECONDS = 1

_log = logging.getLogger(__name__)


def start_grpc(host: str, port: int) -> tuple[grpc.Server, int]:
    """Start the gRPC server; a taken port is an error, where upstream's would share it and answer every other call."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
    handlers = grpc_server.SERVICES.items()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers])
    port = server.add_insecure_port(f"{host}:{port}")
    server.start()
    return server, port


class Server(uvicorn.Server):
    """HTTP server that ends running queries at the signal; uvicorn would give their requests the grace time first."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down as uvicorn does, and interrupt queries again and again: a job may be about to start one."""

        async def keep_interrupting() -> None:
            while True:
                interrupt()
                await asyncio.sleep(0.1)

        task = asyncio.create_task(keep_interrupting())
        try:
            await super().shutdown(sockets)
        finally:
            task.cancel()


def serve(app: str, host: str, port: int) -> None:
    """Serve like uvicorn.run, after opening the database: an answer then means that the warehouse is ready."""
    database.connection()
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # warns of each PARTITION BY that it leaves out
    config = uvicorn.Config(app, host, port, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
    try:
        Server(config).run()
    finally:
        close()


def interrupt() -> None:
    """Interrupt all running jobs."""
    for running in list(runner._running.values()):
        running.cancelled = True
        if running.cursor:
            with contextlib.suppress(duckdb.Error):  # ended by itself
                running.cursor.interrupt()


def close() -> None:
    """Interrupt all jobs, and write the write-ahead logs into the databases: that of jobs and each lake's catalog."""
    interrupt()
    for name in ("emulator", *(f"__ducklake_metadata_{project_id}" for project_id in list(database._attached))):
        try:
            database.execute(f"CHECKPOINT {quote(name)}")
        except duckdb.Error as error:  # a job still writes; the next start reads the write-ahead log
            _log.warning("no checkpoint: %s", error)


def stop(signum: int, frame: FrameType | None) -> None:
    """Exit on SIGTERM and SIGINT, which uvicorn raises again after its shutdown."""
    raise SystemExit(0)


def leave(code: int) -> None:
    """End the process at once, without waiting for idle worker threads of both servers."""
    logging.shutdown()
    os._exit(code)


def install() -> None:
    """Replace grpc.server.start and uvicorn.run; set the signal handlers."""
    require(runner, "_running")
    require(database, "_attached")
    replace(grpc_server, "start", start_grpc)
    replace(uvicorn, "run", serve)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
