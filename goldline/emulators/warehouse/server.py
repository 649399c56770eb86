"""The two servers, REST and gRPC: how they listen, and how they end."""

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
from local_bigquery.grpc import server as grpc_server
from local_bigquery.jobs import runner

from goldline.emulators.warehouse.upstream import replace, require

# For requests that run on when the server is told to stop.
GRACE_SECONDS = 1

_log = logging.getLogger(__name__)


def start_grpc(host: str, port: int) -> tuple[grpc.Server, int]:
    """As upstream's, but a taken port is an error: gRPC would share it, and each server answer every other call."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
    handlers = grpc_server.SERVICES.items()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers])
    port = server.add_insecure_port(f"{host}:{port}")
    server.start()
    return server, port


class Server(uvicorn.Server):
    """Ends running queries at the signal; uvicorn would give their requests the grace time first."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What uvicorn does to end, and our own; again and again, as a job may just be about to start its query."""

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
    """As uvicorn.run, once the database is open: who gets an answer gets it from a warehouse that is ready."""
    database.connection()
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # warns of each PARTITION BY that it leaves out
    config = uvicorn.Config(app, host, port, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
    try:
        Server(config).run()
    finally:
        close()


def interrupt() -> None:
    """Stops the jobs that run."""
    for running in list(runner._running.values()):
        running.cancelled = True
        if running.cursor:
            with contextlib.suppress(duckdb.Error):  # ended by itself
                running.cursor.interrupt()


def close() -> None:
    """Writes out what is written ahead."""
    interrupt()
    try:
        database.execute("CHECKPOINT emulator")
    except duckdb.Error as error:  # someone still writes; the next start reads the write-ahead log
        _log.warning("no checkpoint: %s", error)


def stop(signum: int, frame: FrameType | None) -> None:
    """What SIGTERM and SIGINT do once uvicorn has ended, which raises them again."""
    raise SystemExit(0)


def leave(code: int) -> None:
    """Ends the process at once: idle worker threads of both servers would be waited for."""
    logging.shutdown()
    os._exit(code)


def install() -> None:
    """Replaces grpc.server.start and uvicorn.run; sets what the signals do."""
    require(runner, "_running")
    replace(grpc_server, "start", start_grpc)
    replace(uvicorn, "run", serve)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
