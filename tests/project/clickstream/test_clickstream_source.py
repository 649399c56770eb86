"""The simulated tracker: the same lines whatever the machine and the files' sizes, defects and truth as told."""

import datetime
import json
import os
import re
import subprocess
import sys
import uuid
import zlib
from collections import Counter, defaultdict
from hashlib import sha256
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.clickstream.generate_clickstream import click_lines as module
from components.clickstream.generate_clickstream import site
from components.clickstream.generate_clickstream.click_files import DAY, generate_clickstream, write_day
from components.clickstream.generate_clickstream.click_lines import chunks
from components.clickstream.generate_clickstream.visits import Shop
from components.simulation import NotSimulatedError
from components.simulation.folder import Folder
from components.simulation.people import customer
from goldline.lake import Lake
from goldline.local.servers import PROJECT, post
from goldline.local.stack import Addresses
from goldline.runs.context import RunContext

FRIDAY = datetime.date(2026, 11, 20)
SHOP = Shop(7, 3000, 300)
MAIL = re.compile(rb"[a-z.0-9]+(@|%40)example\.com")
END = b'"schema_version":1}'  # of a whole line
Json = dict[str, Any]


def text(shop: Shop = SHOP, day: datetime.date = FRIDAY) -> bytes:
    return b"".join(line for chunk in chunks(shop, day) for line in chunk.text().to_pylist())


def events(day: datetime.date, shop: Shop = SHOP) -> list[Json]:
    """The events of a day's whole lines, in their order."""
    return [json.loads(line) for line in text(shop, day).split(b"\n") if line.endswith(END)]


def moment(event: Json) -> datetime.datetime:
    return datetime.datetime.fromisoformat(event["event_timestamp"])


@pytest.fixture
def lake(stack: Addresses) -> Lake:
    """A bucket of the test's own."""
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": bucket})
    return Lake(PROJECT, bucket)


def run_of(lake: Lake, day: datetime.date) -> RunContext:
    return RunContext(run_id="test", run_date=day, since={}, project=PROJECT, location="US", bucket=lake.name)


def read(lake: Lake, path: str) -> bytes:
    with lake._bucket.blob(path).open("rb") as stream:
        return bytes(stream.read())


def files(lake: Lake, day: datetime.date) -> list[bytes]:
    return [read(lake, path) for path in sorted(lake.list(f"bronze/clickstream/run_date={day}"))]


def unpacked(file: bytes) -> tuple[bytes, bool]:
    """What can be read of a file of gzip, and whether it is whole."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    return inflate.decompress(file), inflate.eof


def test_an_event_in_full() -> None:
    event = next(e for e in events(FRIDAY) if e["event_type"] == "purchase")
    assert list(event) == [
        *("event_id", "event_timestamp", "visitor_id", "session_id", "customer_id", "event_type", "page_url"),
        *("page_path", "referrer_url", "referrer_domain", "utm_source", "utm_medium", "utm_campaign", "is_bounce"),
        *("device", "device_type_category", "geo", "ip_address", "properties", "load_timestamp", "schema_version"),
    ]
    assert set(event["device"]) == {"type", "os", "browser", "user_agent"}
    order = event["properties"]
    assert order["quantity"] == sum(line["quantity"] for line in order["cart"])
    assert order["value"] == pytest.approx(sum(line["quantity"] * line["unit_price"] for line in order["cart"]))


def test_derived_fields_say_what_they_are_derived_from() -> None:
    found = events(FRIDAY)
    for event in found:
        host = urlsplit(event["referrer_url"] or "").hostname
        assert event["referrer_domain"] == (host and host.removeprefix("www."))
        assert event["device_type_category"] == site.CATEGORIES_OF_DEVICES.get(event["device"]["type"], "other")
        assert event["page_path"] == urlsplit(event["page_url"]).path
        assert event["load_timestamp"] > event["event_timestamp"]
        assert event["load_timestamp"].startswith(f"{FRIDAY}T")
    assert {e["event_type"] for e in found} == {"page_view", "search", "add_to_cart", "login", "purchase"}


def test_some_visitors_are_customers_of_the_sales_flow() -> None:
    known = {customer(7, number).customer_id for number in range(300)}
    found = Counter(e["customer_id"] for e in events(FRIDAY))
    assert set(found) - {None} < known
    assert min(found[None], found.total() - found[None]) > 100


@pytest.mark.parametrize("day", [FRIDAY, FRIDAY + DAY])
def test_what_is_planted_can_be_counted(lake: Lake, day: datetime.date) -> None:
    folder = Folder(lake, "clickstream")
    counts = write_day(folder, SHOP, day, 900)
    read_files = [unpacked(file) for file in files(lake, day)]
    lines = [line for content, _ in read_files for line in content.split(b"\n")[:-1]]
    whole = [line for line in lines if line.endswith(END)]
    found = [json.loads(line) for line in whole]
    moments = [moment(e) for e in found]
    assert counts == {
        "files": len(read_files),
        "truncated_files": sum(not is_whole for _, is_whole in read_files),
        "lines": len(lines),
        "events": len({e["event_id"] for e in found}),
        "repeated": len(found) - len({e["event_id"] for e in found}),
        "cut_off": len(lines) - len(whole),
        "late": sum(m.date() < day for m in moments),
        "out_of_order": sum(later < earlier for earlier, later in pairwise(moments)),
        "with_email": sum(bool(MAIL.search(line)) for line in whole),
    }
    assert min(counts.values()) >= 1
    assert counts["truncated_files"] == 1
    ends = [content.endswith(b"\n") for content, _ in read_files]
    assert ends == [is_whole for _, is_whole in read_files]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(15, 400))
def test_the_size_of_files_does_not_change_the_lines(lake: Lake, lines_a_file: int) -> None:
    shop = Shop(7, 200, 300)
    write_day(Folder(lake, f"split{lines_a_file}"), shop, FRIDAY, lines_a_file)
    paths = sorted(lake.list(f"bronze/split{lines_a_file}"))
    parts = [unpacked(read(lake, path))[0] for path in paths]
    assert all(part.count(b"\n") == lines_a_file for part in parts[:-1])
    assert b"".join(part[: part.rindex(b"\n") + 1] for part in parts) == text(shop)


def test_how_many_sessions_are_made_at_once_does_not_change_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sorted(text().splitlines())
    monkeypatch.setattr(module, "SESSIONS_AT_ONCE", 64)
    assert sorted(text().splitlines()) == expected


def test_every_process_makes_the_same_lines() -> None:
    code = (
        "import datetime, hashlib; from components.clickstream.generate_clickstream.click_lines import chunks;"
        "from components.clickstream.generate_clickstream.visits import Shop;"
        "shop, day = Shop(7, 3000, 300), datetime.date(2026, 11, 20);"
        "print(hashlib.sha256(b''.join(x for c in chunks(shop, day) for x in c.text().to_pylist())).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "99", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == sha256(text()).hexdigest()
    assert text(Shop(8, 3000, 300)) != text()


def test_the_lines_are_those_of_every_machine() -> None:
    """Fails where another machine, or a new version of a library, makes other lines of the same seed."""
    assert sha256(text()).hexdigest() == "d8dc8a4cdb0ec62b478748239caf9c2a982f7bc04292986e5a0f03655f97c7ba"


def test_the_truth_is_what_a_right_reader_finds() -> None:
    sessions: dict[str, dict[str, Json]] = defaultdict(dict)
    for day in (FRIDAY, FRIDAY + DAY):
        for event in events(day):
            sessions[event["session_id"]][event["event_id"]] = event
    truths = pa.Table.from_batches([chunk.truth() for chunk in chunks(SHOP, FRIDAY)]).to_pylist()
    assert len(truths) == SHOP.sessions
    for truth in truths:
        found = sorted(sessions[truth["session_id"]].values(), key=moment)
        moments = [moment(event) for event in found]
        assert (moments[0], moments[-1], len(found)) == (truth["started_at"], truth["ended_at"], truth["events"])
        assert all(later - earlier < datetime.timedelta(minutes=30) for earlier, later in pairwise(moments))
        assert {event["visitor_id"] for event in found} == {truth["visitor_id"]}
        assert {event["customer_id"] for event in found} - {None} == {truth["customer_id"]} - {None}
        assert (found[0]["page_path"], found[-1]["page_path"]) == (truth["entry_page"], truth["exit_page"])
        assert sum(event["event_type"] == "page_view" for event in found) == truth["pages"]
        assert any(event["event_type"] == "purchase" for event in found) == truth["converted"]
        assert {event["is_bounce"] for event in found} == {truth["is_bounce"]} == {len(found) == 1}
        arrived = max(datetime.datetime.fromisoformat(event["load_timestamp"]).date() for event in found)
        assert arrived == truth["complete_on"]
    crossing = [truth for truth in truths if truth["started_at"].date() < truth["ended_at"].date()]
    assert min(len(crossing), sum(truth["complete_on"] > FRIDAY for truth in truths) - len(crossing)) > 1


def test_a_first_run_writes_a_history_and_the_next_what_is_missing(lake: Lake) -> None:
    first = generate_clickstream(run_of(lake, FRIDAY), 7, 2, 200, 300)
    written = files(lake, FRIDAY)
    later = generate_clickstream(run_of(lake, FRIDAY + 2 * DAY), 7, 2, 200, 300)
    assert first["files"] == len(files(lake, FRIDAY - DAY)) + len(written)
    assert later["files"] == len(files(lake, FRIDAY + DAY)) + len(files(lake, FRIDAY + 2 * DAY))
    assert 300 < later["events"] < 500
    generate_clickstream(run_of(lake, FRIDAY), 7, 2, 200, 300)
    assert files(lake, FRIDAY) == written
    assert len(lake.list("bronze/clickstream")) == first["files"] + later["files"]
    truth = pq.read_table(pa.py_buffer(read(lake, f"simulated/clickstream/truth/run_date={FRIDAY}/truth.parquet")))
    assert truth.num_rows == Shop(7, 200, 300).sessions


def test_a_folder_that_no_simulation_made_is_refused(lake: Lake) -> None:
    lake.write_text("bronze/clickstream/run_date=2026-11-20/real.jsonl", "{}\n")
    with pytest.raises(NotSimulatedError, match="files that no simulation made: nothing was written"):
        generate_clickstream(run_of(lake, FRIDAY), 7, 2, 200, 300)
    assert lake.list("bronze") == ["bronze/clickstream/run_date=2026-11-20/real.jsonl"]


def test_the_folder_of_another_simulation_is_refused(lake: Lake) -> None:
    generate_clickstream(run_of(lake, FRIDAY), 7, 1, 200, 300)
    with pytest.raises(NotSimulatedError, match=r"expected a simulation of .*'seed': 8.*, got .*'seed': 7"):
        generate_clickstream(run_of(lake, FRIDAY + DAY), 8, 1, 200, 300)
    assert files(lake, FRIDAY + DAY) == []
