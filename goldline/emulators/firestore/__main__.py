"""Command of the server: `python -m goldline.emulators.firestore --host 127.0.0.1 --port 8080 --data FILE`.

It prints `ready` once it listens, and ends on SIGTERM or SIGINT.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from goldline.emulators.firestore import service
from goldline.emulators.firestore.document_store import InUseError, Store

CALLS_AT_ONCE = 32
STOP_SECONDS = 0.3  # for running calls to end
OPTIONS = [
    ("grpc.so_reuseport", 0),  # else a second server would share the port and get some of the calls
    ("grpc.max_receive_message_length", -1),
    # The client pings every 30 s, also during a long sort; gRPC drops clients that do so more than every 5 minutes.
    ("grpc.http2.max_ping_strikes", 0),
]


def serve(host: str, port: int, file: Path) -> None:
    """Serve the database in a file until SIGTERM or SIGINT.

    Raises:
        InUseError: another server has the file open.
        OSError: the port is taken.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before there are threads, which inherit it
    store = Store(file)
    server = grpc.server(ThreadPoolExecutor(CALLS_AT_ONCE), options=OPTIONS)
    calls = service.Service(store).handlers()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.NAME, calls),))
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"{host}:{port} is taken") from error
    server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.sigwait(signals)
    stopped = server.stop(STOP_SECONDS)
    stopped.wait(STOP_SECONDS)
    store.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; exit code 1 if the server cannot start, else 0."""
    parser = argparse.ArgumentParser(prog="python -m goldline.emulators.firestore", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="file of the database, created if it is missing")
    wanted = parser.parse_args(arguments)
    try:
        serve(wanted.host, wanted.port, wanted.data)
    except (InUseError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
