"""Exports by increments and in full: what they read, what they find, and how they end when something is in the way."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud import bigquery

from goldline.clients import firestore_client
from goldline.firestore.calls import Database
from goldline.lake import Lake
from goldline.landing.views import ensure_source
from goldline.local.servers import PROJECT
from goldline.privacy.pseudonym import KEY_FILE, Key, make_key_file
from goldline.privacy.rotate import rotate_key
from goldline.runs.context import RunContext
from goldline.runs.ops import Commit
from goldline.stages.export_firestore import reader as reader_module
from goldline.stages.export_firestore.plan import ExportError, Plan, WrongKeyError, make_plan
from tests.support import orders
from tests.support.shop import DAY, NOW, OLD, SUNDAY, Shop, cut_after, in_small_parts

NewRun = Callable[..., RunContext]


@pytest.fixture
def shop(new_run_of_module: NewRun, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(reader_module, "PAUSE", 0.0)
    return Shop.open(new_run_of_module)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_parts(monkeypatch)


# What is read


def test_an_increment_holds_what_changed(shop: Shop) -> None:
    shop.put("old", OLD)
    shop.put("just before", NOW - timedelta(minutes=30))
    first = shop.export(DAY)
    assert (first.mode, first.rows) == ("full", 2)
    shop.put("new", datetime.now(UTC))
    second = shop.export(DAY + timedelta(days=1))
    assert second.mode == "incremental"
    # The overlap brings "just before" again.
    assert set(shop.landed(DAY + timedelta(days=1))) == {"just before", "new"}
    full, increment = shop.commits()
    assert (full["mode"], full["watermark"], full["documents"], full["rows"]) == ("full", None, 2, 2)
    assert (increment["mode"], increment["documents"], increment["rows"]) == ("incremental", 3, 2)
    assert increment["watermark"] == full["read_time"] - timedelta(hours=1)
    assert second.numbers["unexplained"] == 0


def test_mode_full_reads_everything(shop: Shop) -> None:
    shop.put("old", OLD)
    shop.export(DAY)
    assert shop.export(DAY + timedelta(days=1)).rows == 0
    assert shop.export(DAY + timedelta(days=1), "full").rows == 1
    with pytest.raises(ValueError, match="mode: expected auto or full, got 'fast'"):
        shop.export(DAY, "fast")


def test_an_empty_collection_is_no_error(shop: Shop) -> None:
    assert shop.export(DAY).rows == 0
    assert shop.export(DAY + timedelta(days=1)).rows == 0
    assert [(c["rows"], c["files"]) for c in shop.commits()] == [(0, 1), (0, 1)]


def test_drift_and_dotted_names_go_to_the_rest(shop: Shop) -> None:
    shop.put_fields("a", NOW, {"quantity": "3", "a.b": 1, "`tick`": {"c.d": 2}})
    shop.export(DAY)
    [row] = shop.landed(DAY).values()
    assert json.loads(row["_rest"]) == {"quantity": "3", "a.b": 1, "`tick`": {"c.d": 2}}


def test_the_collections_size_tells_of_what_an_increment_cannot_see(shop: Shop) -> None:
    for name in ("a", "b", "c"):
        shop.put(name, OLD)
    shop.export(DAY)
    shop.documents.document("a").delete()
    shop.documents.document("b").delete()
    shop.put("backdated", OLD)
    shop.put("seen", datetime.now(UTC))
    assert shop.export(DAY + timedelta(days=1)).numbers["unexplained"] == -1


# What a sweep finds


def test_a_sweep_finds_deletions(new_run: NewRun) -> None:
    shop = Shop.open(new_run)
    shop.put("stays", OLD)
    shop.put("goes", OLD, total_amount="7.5")
    shop.put("clock ahead", NOW + timedelta(hours=2))
    shop.export(DAY)
    shop.documents.document("goes").delete()
    shop.documents.document("clock ahead").delete()
    assert shop.export(SUNDAY - timedelta(days=1)).numbers["deleted"] == 0
    swept = shop.export(SUNDAY)
    shop.build(SUNDAY, since=DAY)
    assert (swept.mode, swept.rows) == ("full", 3)
    assert (swept.numbers["documents"], swept.numbers["deleted"]) == (1, 2)
    silver = shop.silver()
    assert {name: row["is_deleted"] for name, row in silver.items()} == {
        "stays": False,
        "goes": True,
        "clock ahead": True,
    }
    # All else is what was last known, also what had drifted.
    assert silver["goes"]["total_amount"] == 7.5
    assert silver["goes"]["updated_at"] == swept.read_time
    assert silver["clock ahead"]["updated_at"] == NOW + timedelta(hours=2, microseconds=1)

    # Told once; told again by the same date, whose newest attempt replaces the earlier one.
    assert shop.export(SUNDAY + timedelta(days=1)).mode == "incremental"
    assert shop.export(SUNDAY + timedelta(days=7)).numbers["deleted"] == 0
    again = shop.export(SUNDAY)
    assert (again.numbers["deleted"], again.numbers["carried"]) == (0, 2)
    assert {name for name, row in shop.landed(SUNDAY).items() if row["_is_deleted"]} == {"goes", "clock ahead"}
    shop.build(SUNDAY, refresh="silver.stg_orders")
    assert shop.silver() == silver


def test_a_deleted_record_that_comes_back_lives(shop: Shop) -> None:
    shop.put("a", OLD)
    shop.export(DAY)
    shop.documents.document("a").delete()
    shop.export(DAY + timedelta(days=1), "full")
    assert shop.landed(DAY + timedelta(days=1))["a"]["_is_deleted"]
    shop.put("a", datetime.now(UTC))
    shop.export(DAY + timedelta(days=2))
    assert not shop.newest()["a"]["_is_deleted"]


def test_a_document_that_moved_is_not_deleted(shop: Shop) -> None:
    shop.put("a", OLD)
    shop.put("b", OLD, order_id=7)  # the key itself has drifted
    shop.export(DAY)
    shop.documents.document("a").delete()
    shop.put("elsewhere", OLD, order_id="a")
    assert shop.export(SUNDAY).numbers["deleted"] == 0
    assert {name: row["_is_deleted"] for name, row in shop.newest().items()} == {"a": False, "7": False}


def test_a_sweep_finds_documents_without_a_time_of_change(shop: Shop) -> None:
    shop.put("a")
    shop.export(DAY)
    shop.put("no time", None)
    shop.put("text", "yesterday")
    missed = shop.export(DAY + timedelta(days=1))
    assert (missed.numbers["read"], missed.numbers["unexplained"]) == (1, 2)
    swept = shop.export(SUNDAY)
    assert (swept.numbers["read"], swept.numbers["undated"]) == (3, 2)
    record = Lake(PROJECT, shop.new_run().bucket)
    [path] = [p for p in record.list(f"ops/runs/{shop.commits()[-1]['run_id']}") if "/tasks/" in p]
    checks = [(c["name"], c["detail"], c["failing"]) for c in json.loads(record.read_text(path))["checks"]]
    assert ("change_time_is_set", "updated_at", 2) in checks


# Dates in any order, and again


def test_a_date_that_is_run_again_loses_nothing(shop: Shop) -> None:
    shop.put("old", OLD)
    shop.export(DAY)
    shop.put("a", datetime.now(UTC))
    shop.put("short-lived", datetime.now(UTC))
    tomorrow = DAY + timedelta(days=1)
    shop.export(tomorrow)
    shop.documents.document("short-lived").delete()
    shop.put("b", datetime.now(UTC))
    shop.export(tomorrow + timedelta(days=1))
    again = shop.export(tomorrow)
    assert (again.mode, again.numbers["carried"]) == ("incremental", 1)
    assert set(shop.landed(tomorrow)) == {"a", "b", "short-lived"}
    _, first, _, second = shop.commits()
    assert second["watermark"] == first["watermark"]
    # So that the sweep still knows what it has to miss.
    assert shop.export(SUNDAY).numbers["deleted"] == 1
    assert {name for name, row in shop.newest().items() if row["_is_deleted"]} == {"short-lived"}


@pytest.mark.parametrize("order", [(0, 1, 0), (2, 0, 1)], ids=str)
def test_dates_in_any_order_tell_the_same(shop: Shop, order: tuple[int, ...]) -> None:
    for name, changed in {"old": OLD, "a": NOW, "b": NOW - timedelta(hours=3)}.items():
        shop.put(name, changed)
    for i, step in enumerate(order):
        shop.export(DAY + timedelta(days=step))
        if i == len(order) // 2:
            shop.put("c", datetime.now(UTC))
            shop.put("a", datetime.now(UTC), status="refunded")
    newest = shop.newest()
    expected = {document.id: document.to_dict() or {} for document in shop.documents.stream()}
    for name, body in expected.items():
        assert (newest[name]["updated_at"], newest[name]["status"]) == (body["updated_at"], body["status"])
    assert newest.keys() == expected.keys()


# Faults


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_stream_that_is_cut_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    if mode == "incremental":
        shop.put("before", OLD)
        shop.export(DAY - timedelta(days=1))
    names = [f"s{n}" for n in range(9)]
    for i, name in enumerate(names):
        shop.put(name, datetime.now(UTC) - timedelta(seconds=i // 3))  # ties, too
    given = cut_after(monkeypatch, 0, 3, 0, 4)
    exported = shop.export(DAY)
    assert (exported.mode, given) == (mode, [0, 3, 0, 4, 2])
    assert shop.names(DAY) == names
    assert exported.numbers["retries"] == 4


def test_a_stream_that_gets_nowhere_is_an_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("a")
    shop.put("b")
    cut_after(monkeypatch, 1, *[0] * 20)
    with pytest.raises(ExportError, match=r"the stream was cut 8 times after .*/a: the line is down"):
        shop.export(DAY)
    assert shop.commits() == []


@pytest.mark.usefixtures("small_parts")
def test_an_attempt_that_died_is_taken_up_by_the_next_try(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{n}" for n in range(7)]
    for name in names:
        shop.put(name, OLD, quantity="1")
    run = shop.new_run(DAY)
    with monkeypatch.context() as patch:
        cut_after(patch, 5, error=RuntimeError("killed"))
        with pytest.raises(RuntimeError, match="killed"):
            shop.export(DAY, run=run)
    shop.put("later")
    given = cut_after(monkeypatch)
    exported = shop.export(DAY, run=run)
    assert given == [3]  # four were in two whole parts
    assert (exported.rows, exported.findings.drifted["quantity"]) == (7, 7)
    assert sorted(shop.landed(DAY)) == names
    [commit] = shop.commits()
    assert (commit["rows"], commit["files"]) == (7, 4)
    # The answer was lost, and the task is tried again: nothing is done twice.
    assert shop.export(DAY, run=run) == exported
    assert len(given) == len(shop.commits()) == 1


@pytest.mark.usefixtures("small_parts")
def test_a_read_time_that_is_gone_means_a_fresh_start(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        shop.put(name, OLD)
    run = shop.new_run(DAY)
    with monkeypatch.context() as patch:
        cut_after(patch, 2, error=RuntimeError("killed"))
        with pytest.raises(RuntimeError, match="killed"):
            shop.export(DAY, run=run)
    shop.put("later")
    monkeypatch.setattr(reader_module, "READ_TIME_LIFE", timedelta(0))
    with caplog.at_level("WARNING"):
        assert shop.export(DAY, run=run).rows == 4
    assert "an earlier try of this run got to 2 rows, but its read time" in caplog.text


def test_a_read_time_that_goes_in_mid_stream_is_explained(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("a")
    monkeypatch.setattr(reader_module, "READ_TIME_LIFE", timedelta(0))
    cut_after(monkeypatch, 0, error=FailedPrecondition("The requested 'read_time' is too old"))
    with pytest.raises(ExportError, match="took longer than Firestore keeps the past"):
        shop.export(DAY)


@pytest.mark.usefixtures("small_parts")
def test_an_increment_that_falls_short_commits_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("a")
    shop.export(DAY)
    for name in ("b", "c"):
        shop.put(name)
    plain = Database.stream
    monkeypatch.setattr(Database, "stream", lambda *given: itertools.islice(plain(*given), 2))
    run = shop.new_run(DAY + timedelta(days=1))
    with pytest.raises(ExportError, match=r"Firestore counted 3 documents at .*, but the stream gave 2"):
        shop.export(run.run_date, run=run)
    assert len(shop.commits()) == 1
    monkeypatch.setattr(Database, "stream", plain)
    assert shop.export(run.run_date, run=run).rows == 3


def test_another_kind_of_document_is_refused(shop: Shop) -> None:
    shop.documents.document("a").set({"user": "u1", "name": "no order"})
    with pytest.raises(ExportError, match=r"none of its 1 documents has order_id, the key of bronze.ext_"):
        shop.export(DAY)
    assert shop.commits() == []


def test_another_collection_is_refused_until_it_is_asked_for_in_full(shop: Shop) -> None:
    shop.put("a")
    shop.export(DAY)
    shop.documents = firestore_client(PROJECT).collection(f"{shop.documents.id}-other")
    shop.put("b")
    with pytest.raises(ExportError, match=r"was of .*, this would be of .*-other"):
        shop.export(DAY + timedelta(days=1))
    shop.export(DAY + timedelta(days=1), "full")
    landed = shop.landed(DAY + timedelta(days=1))
    assert {name: row["_is_deleted"] for name, row in landed.items()} == {"a": True, "b": False}


# The key


@pytest.fixture
def key_file(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pii.key"
    make_key_file(path)
    monkeypatch.setenv(KEY_FILE, str(path))
    return path


def test_after_a_rotation_everything_is_exported_anew(shop: Shop, key_file: Path) -> None:
    names = [f"s{n}" for n in range(8)]
    for name in [*names, "goes"]:
        shop.put(name, OLD, email="hash")
    shop.export(DAY)
    before = shop.newest()["s1"]["email"]
    shop.documents.document("goes").delete()
    assert rotate_key() == "2"
    tomorrow = DAY + timedelta(days=1)
    assert shop.export(tomorrow).mode == "full"
    newest = shop.newest()
    assert {row["_pii_key_version"] for row in newest.values() if not row["_is_deleted"]} == {"2"}
    assert newest["s1"]["email"] != before
    assert newest["goes"]["_is_deleted"]
    assert set(newest) == {*names, "goes"}
    assert shop.export(tomorrow + timedelta(days=1)).mode == "incremental"


def test_a_wrong_key_is_refused(shop: Shop, key_file: Path) -> None:
    shop.put("a")
    shop.export(DAY)
    key_file.unlink()
    make_key_file(key_file)
    with pytest.raises(WrongKeyError, match="with key version 1; this environment has version 1, another key of the"):
        shop.export(DAY + timedelta(days=1), "full")
    rotate_key()  # the way out where the key is lost
    shop.export(DAY + timedelta(days=1))
    secret = key_file.read_text().split("\n")[1]
    key_file.write_text(f"other\n{secret}\n")
    with pytest.raises(WrongKeyError, match="with key version 2; this environment has version other"):
        shop.export(DAY + timedelta(days=2))
    assert len(shop.commits()) == 2


# The plan


def planned(*commits: tuple[int, str, int], day: int = 5, key: str = "1") -> Plan:
    """The plan for a day, after commits of (day, mode, hour of reading)."""
    contract = orders.source()
    made = [
        Commit(
            source=contract.source,
            run_date=DAY + timedelta(days=at),
            attempt=f"a{i}",
            files=1,
            rows=1,
            mode=mode,
            watermark=NOW + timedelta(hours=hour - 5) if mode == "incremental" else None,
            documents=1,
            origin="o",
            pii_key_version="1",
            pii_key_check=Key("1", b"s").fingerprint,
            read_time=NOW + timedelta(hours=hour),
            run_id="r",
            committed_at=NOW + timedelta(hours=hour, minutes=1),
        )
        for i, (at, mode, hour) in enumerate(commits)
    ]
    return make_plan(DAY + timedelta(days=day), contract, made, Key(key, b"s", ("1",)), "auto", "o")


def test_a_dates_first_export_reads_from_the_first_read_time_of_the_date_before_it() -> None:
    plan = planned((0, "full", 1), (1, "incremental", 2), (3, "incremental", 4), (1, "incremental", 9), day=2)
    assert (plan.mode, plan.watermark) == ("incremental", NOW + timedelta(hours=1))
    assert plan.known_dates == ()


def test_a_date_that_is_run_late_reads_all_that_is_dated_on_it() -> None:
    years = 24 * 365 * 100
    plan = planned((0, "full", years), (3, "incremental", years + 1), day=2)
    assert plan.watermark == datetime(2099, 11, 17, 23, tzinfo=UTC)  # the end of the date before it, less the overlap


def test_a_date_reads_again_from_where_it_first_read() -> None:
    plan = planned((0, "full", 1), (2, "incremental", 2), (1, "incremental", 8), (2, "incremental", 9), day=2)
    assert (plan.mode, plan.watermark) == ("incremental", NOW + timedelta(hours=-3))
    assert plan.known_dates == (DAY + timedelta(days=2),)


@pytest.mark.parametrize(
    ("commits", "day", "key", "why"),
    [
        ([], 0, "1", "nothing was exported for an earlier date"),
        ([(3, "full", 1)], 2, "1", "nothing was exported for an earlier date"),
        ([(0, "full", 1), (1, "full", 2), (1, "incremental", 3)], 1, "1", "this date was exported in full before"),
        ([(0, "full", 1), (4, "incremental", 2)], 5, "1", "sweep is due since sunday, 2099-11-22"),
        ([(0, "full", 1), (4, "incremental", 2)], 7, "1", "sweep is due since sunday, 2099-11-22"),
        ([(0, "full", 1)], 1, "2", "the key changed from version 1 to 2"),
    ],
)
def test_everything_is_read_when_it_must_be(commits: Any, day: int, key: str, why: str) -> None:
    plan = planned(*commits, day=day, key=key)
    assert plan.mode == "full"
    assert why in plan.why


def test_a_sweep_looks_no_further_back_than_the_last_one() -> None:
    plan = planned(
        (0, "full", 1), (1, "incremental", 2), (5, "full", 3), (6, "incremental", 4), (1, "incremental", 5), day=12
    )
    assert [(d - DAY).days for d in plan.known_dates] == [1, 5, 6]


def test_the_view_of_an_earlier_goldline_is_made_anew(shop: Shop) -> None:
    run = shop.new_run()
    name = run.table(shop.contract.view)
    query = shop.client.get_table(name).view_query
    stale = bigquery.Table(name)
    stale.view_query = f"select * from `{run.table(shop.contract.source)}`"
    shop.client.delete_table(name)
    shop.client.create_table(stale)
    ensure_source(shop.client, Lake(run.project, run.bucket), shop.contract, run)
    assert shop.client.get_table(name).view_query == query != stale.view_query
