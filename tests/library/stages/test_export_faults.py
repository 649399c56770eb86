"""What goes wrong on the way of an export: it ends with the documents of its read time, once each, or with an error.

Firestore is goldline's own server here, in this process, where it can be told to fail, or in one that can be killed.
"""

import http.client
import http.server
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPIError
from google.cloud.storage.retry import DEFAULT_RETRY

from goldline import lake as lake_module
from goldline.firestore.calls import Database
from goldline.firestore.writer import write
from goldline.lake import Lake
from goldline.local import processes, servers
from goldline.local.servers import PROJECT
from goldline.runs.context import RunContext
from goldline.stages.export_firestore import attempt as attempt_module
from goldline.stages.export_firestore import reader as reader_module
from goldline.stages.export_firestore.plan import ExportError
from tests.support.faulty import Faulty, serving
from tests.support.shop import DAY, OLD, ORDER, Shop, in_small_parts

pytestmark = pytest.mark.slow

NewRun = Callable[..., RunContext]
PAUSE = reader_module.PAUSE


@pytest.fixture
def firestore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_run_of_module: NewRun) -> Iterator[Faulty]:
    with serving(tmp_path) as (faulty, address):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
        monkeypatch.setattr(reader_module, "PAUSE", 0.01)
        yield faulty


@pytest.fixture
def shop(firestore: Faulty, new_run_of_module: NewRun) -> Shop:
    return Shop.open(new_run_of_module)


def names(count: int) -> list[str]:
    return [f"s{n:04d}" for n in range(count)]


def put(shop: Shop, wanted: list[str], **more: Any) -> None:
    bodies = ((name, {"order_id": name, **ORDER, "updated_at": OLD, **more}) for name in wanted)
    assert write(partial(Database, PROJECT, "(default)"), shop.documents.id, bodies) == len(wanted)


# The stream


@pytest.mark.parametrize("splits", [True, False])
def test_every_stream_is_cut(shop: Shop, firestore: Faulty, monkeypatch: pytest.MonkeyPatch, splits: bool) -> None:
    put(shop, names(600))
    in_small_parts(monkeypatch, 100)
    firestore.cut_after, firestore.splits = 90, splits
    exported = shop.export(DAY)
    assert shop.names(DAY) == names(600)
    assert len(firestore.streams) == exported.numbers["retries"] + (4 if splits else 1)


def test_a_server_that_dies_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_run_of_module: NewRun
) -> None:
    port = processes.free_port()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"{servers.HOST}:{port}")
    command = [sys.executable, "-m", "goldline.emulators.firestore", "--host", servers.HOST, "--port", str(port)]
    start = partial(processes.start, [*command, "--data", str(tmp_path / "documents.sqlite")], tmp_path / "log")
    running = [start()]
    processes.wait_until(partial(processes.is_listening, port), running[0], tmp_path / "log", 30)
    shop = Shop.open(new_run_of_module)
    wanted = names(1500)
    put(shop, wanted, note="x" * 10_000)  # more than lies in buffers
    plain = Database.stream

    def dying(self: Database, *arguments: Any) -> Iterator[bytes]:
        for number, response in enumerate(plain(self, *arguments)):
            if number == 10 and len(running) == 1:
                running[0].kill()
                running[0].wait()
                running.append(start())  # comes back while it is asked for
            yield response

    monkeypatch.setattr(Database, "stream", dying)
    try:
        exported = shop.export(DAY)
    finally:
        for process in running:
            processes.stop(process)
    assert exported.numbers["retries"] > 0
    assert shop.names(DAY) == wanted


def test_a_server_that_refuses_for_a_while(shop: Shop, firestore: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    """For 20 seconds, in a fiftieth of the time."""
    put(shop, names(20))
    firestore.cut_after, firestore.away = 7, 20 / 50
    monkeypatch.setattr(reader_module, "PAUSE", PAUSE / 50)
    exported = shop.export(DAY)
    assert len(firestore.streams) == 3
    assert exported.numbers["retries"] > 4
    assert shop.names(DAY) == names(20)


def test_a_server_that_stays_away_is_an_error(shop: Shop, firestore: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shop, names(300))
    in_small_parts(monkeypatch, 100)
    monkeypatch.setattr(reader_module, "PAUSE", 0.0)
    firestore.cut_after = 0
    with pytest.raises(ExportError, match="the stream was cut 8 times before its first document: the line is down"):
        shop.export(DAY)
    assert shop.commits() == []


# The documents


def test_an_absent_collection_is_exported_as_an_empty_one(shop: Shop) -> None:
    assert shop.export(DAY).rows == 0
    assert [(commit["rows"], commit["files"]) for commit in shop.commits()] == [(0, 1)]


def test_what_is_deleted_after_the_split_is_still_of_the_read_time(
    shop: Shop, firestore: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shop, names(600))
    in_small_parts(monkeypatch, 150)
    plain = reader_module.split
    ranges: list[Any] = []

    def then_deleted(*arguments: Any) -> list[Any]:
        ranges.extend(plain(*arguments))
        for part in ranges:
            if part.start:
                shop.documents.document(part.start.rsplit("/", 1)[1]).delete()
        shop.documents.document("s0003").delete()
        shop.documents.document("later").set({"order_id": "later"})
        return ranges

    monkeypatch.setattr(reader_module, "split", then_deleted)
    shop.export(DAY)
    assert len(ranges) == 4
    assert shop.names(DAY) == names(600)
    assert len(list(shop.documents.list_documents())) == 600 - 4 + 1


def test_collections_of_the_same_name_elsewhere_are_not_of_the_export(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_parts(monkeypatch, 100)
    put(shop, ["__id-7__", "__id7__", "__id10__", *names(150)])
    for path in (
        f"{shop.documents.id}/s0060/{shop.documents.id}",
        f"a/b/{shop.documents.id}",
        f"zz/b/{shop.documents.id}",
    ):
        bodies = ((name, {"order_id": f"foreign {name}"}) for name in names(200))
        write(partial(Database, PROJECT, "(default)"), path, bodies)
    shop.export(DAY)
    assert shop.names(DAY) == sorted(["__id-7__", "__id7__", "__id10__", *names(150)])


def test_two_exports_of_one_date_at_once(shop: Shop, firestore: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shop, names(300))
    in_small_parts(monkeypatch, 100)
    firestore.pause = 0.001
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(shop.export, DAY) for _ in range(2)]
        assert [one.result().rows for one in both] == [300, 300]
    assert len(shop.commits()) == 2
    assert shop.names(DAY) == names(300)


# The lake


def test_a_full_disk_is_an_error_and_the_next_try_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shop, names(300))
    in_small_parts(monkeypatch, 100)
    run, plain = shop.new_run(DAY), Lake.writing
    files: list[str] = []

    @contextmanager
    def full(self: Lake, path: str) -> Iterator[Any]:
        files.append(path)
        if len(files) <= 1:
            with plain(self, path) as stream:
                yield stream
        else:
            with open("/dev/full", "wb", buffering=0) as stream:  # noqa: PTH123
                yield stream

    monkeypatch.setattr(attempt_module, "READERS", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "writing", full)
        with pytest.raises(OSError, match="No space left on device"):
            shop.export(DAY, run=run)
    assert shop.commits() == []
    assert shop.export(DAY, run=run).rows == 300
    assert shop.names(DAY) == names(300)


@contextmanager
def faulty_bucket(address: str, failures: int) -> Iterator[str]:
    """The lake behind a proxy that answers 503 to so many requests before it passes them on."""
    left = [failures]
    host = address.removeprefix("http://")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if left[0]:
                left[0] -= 1
                status, headers, content = 503, [], b"the bucket is busy"
            else:
                connection = http.client.HTTPConnection(host)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                status, headers, content = answer.status, answer.getheaders(), answer.read()
                connection.close()
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer((servers.HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{servers.HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("failures", [3, 10_000])
def test_a_bucket_that_answers_503(shop: Shop, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    put(shop, names(5))
    run = shop.new_run(DAY)
    quick = DEFAULT_RETRY.with_delay(0.01, 0.02).with_timeout(20 if failures < 10 else 0.2)
    monkeypatch.setattr(lake_module, "DEFAULT_RETRY", quick)
    with faulty_bucket(os.environ["STORAGE_EMULATOR_HOST"], failures) as proxy, monkeypatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", proxy)
        if failures < 10:
            shop.export(DAY, run=run)
        else:
            with pytest.raises(GoogleAPIError, match=r"busy|503"):
                shop.export(DAY, run=run)
    assert len(shop.commits()) == (failures < 10)
    if failures >= 10:
        shop.export(DAY, run=run)
    assert shop.names(DAY) == names(5)


# The export itself

EXPORT = """
import sys
from goldline.stages.export_firestore import attempt, reader
from goldline.stages.export_firestore.export import export_firestore
from goldline.runs.context import RunContext
reader.BATCH = attempt.PART_ROWS = 100
print("begins", flush=True)
export_firestore(RunContext.parse(sys.argv[1]), sys.argv[2], sys.argv[3], "(default)")
"""


def test_an_export_that_is_killed_at_any_moment_and_run_again(shop: Shop, firestore: Faulty) -> None:
    put(shop, names(1000))
    run, dice = shop.new_run(DAY), random.Random(7)
    given = [run.model_dump_json(), shop.contract.model_dump_json(), shop.documents.id]
    firestore.pause = 0.001
    for _ in range(3):
        killed = subprocess.Popen(
            [sys.executable, "-c", EXPORT, *given], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert killed.stdout
        assert killed.stdout.readline() == b"begins\n"
        time.sleep(dice.uniform(0.0, 2.0))
        killed.kill()
        killed.communicate()
    put(shop, ["later"])
    firestore.pause = 0.0
    exported = shop.export(DAY, run=run)
    [commit] = shop.commits()
    assert commit["rows"] == exported.rows
    assert set(shop.names(DAY)) - {"later"} == set(names(1000))
    assert len(shop.names(DAY)) == exported.rows == commit["documents"]
