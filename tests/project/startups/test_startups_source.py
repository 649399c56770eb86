"""The simulated register: weekly loads that are due, defects as told, and the history that a right reader finds."""

import datetime
import hmac
import json
import uuid
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.simulation import NotSimulatedError
from components.simulation.folder import Folder
from components.startups.generate_startups import startup_lines as module
from components.startups.generate_startups.startup_files import due, generate_startups, write_load
from components.startups.generate_startups.startup_lines import BUCKETS, chunks
from components.startups.generate_startups.startup_register import STAGES, Register
from goldline.lake import Lake
from goldline.local.servers import PROJECT, post
from goldline.local.stack import Addresses
from goldline.privacy.pseudonym import Key
from goldline.runs.context import RunContext

FIRST = datetime.date(2026, 9, 3)  # a Thursday: its load is made on Friday
WEEK = datetime.timedelta(days=7)
REGISTER = Register(7, 40, FIRST)
KEY = Key("1", b"secret")
WEEKS = 60  # more than two changes of each startup
Json = dict[str, Any]


@cache
def load(week: int) -> list[bytes]:
    return [line for chunk in chunks(REGISTER, week) for line in chunk.text(KEY).to_pylist()]


def whole(lines: Sequence[bytes]) -> list[Json]:
    return [json.loads(line) for line in lines if line.endswith(b'"schema_version":1}\n')]


def moment(change: Json) -> datetime.datetime:
    return datetime.datetime.fromisoformat(change["updated_at"])


def identity(change: Json) -> tuple[str, str]:
    return change["startup_id"], change["updated_at"]


@pytest.fixture
def lake(stack: Addresses) -> Lake:
    """A bucket of the test's own."""
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": bucket})
    return Lake(PROJECT, bucket)


def generate(lake: Lake, day: datetime.date, seed: int = 7) -> dict[str, int | float]:
    run = RunContext(run_id="test", run_date=day, since={}, project=PROJECT, location="US", bucket=lake.name)
    return generate_startups(run, seed, 40)


def test_a_startup_in_full() -> None:
    startup = whole(load(0))[0]
    assert list(startup) == [
        *("startup_id", "name", "sector", "country", "city", "founded_on", "funding_stage", "funding_stage_score"),
        *("valuation_usd", "valuation_bucket", "total_funding_usd", "employees", "contact_email_cleaned", "is_active"),
        *("change_type", "effective_on", "updated_at", "source_url", "load_timestamp", "schema_version"),
    ]
    assert startup["source_url"].endswith(startup["startup_id"])


def test_derived_fields_say_what_they_are_derived_from() -> None:
    for week in range(WEEKS):
        for change in whole(load(week)):
            assert change["funding_stage_score"] == STAGES.index(change["funding_stage"]) + 1
            assert (
                change["valuation_bucket"]
                == [b for least, b in BUCKETS.items() if change["valuation_usd"] >= least][-1]
            )
            assert change["is_active"] == (change["change_type"] != "closure")
            assert change["founded_on"] < change["effective_on"] <= change["updated_at"] < change["load_timestamp"]


def test_the_contact_is_a_pseudonym_of_the_cleaned_address() -> None:
    addresses = [f"{name.lower()}@st000003.example" for name in module.CONTACTS]
    known = {hmac.new(KEY.secret, address.encode(), "sha256").hexdigest() for address in addresses}
    found = {c["contact_email_cleaned"] for c in whole(load(0)) if c["startup_id"] == "st000003"}
    assert found
    assert found <= known
    assert b"@" not in b"".join(load(0))


def test_the_full_load_holds_everybody_once_and_then_changes_come_at_the_rate_asked_for() -> None:
    first = {identity(change): change for change in whole(load(0))}
    assert len(first) == 800 == len({startup for startup, _ in first})
    assert {change["change_type"] for change in first.values()} == {"full"}
    later = [change for week in range(1, WEEKS) for change in whole(load(week))]
    assert {change["change_type"] for change in later} == {"new", "round", "closure", "correction"}
    assert len({identity(change) for change in later}) / (WEEKS - 1) == pytest.approx(40, rel=0.2)
    closed = {c["startup_id"]: moment(c) for c in later if c["change_type"] == "closure"}
    assert all(moment(c) <= closed.get(c["startup_id"], moment(c)) for c in later)


def test_what_is_planted_can_be_counted() -> None:
    seen: set[tuple[str, str]] = set()
    sums = dict.fromkeys(("late", "repeated", "out_of_order", "cut_off"), 0)
    for week in range(WEEKS):
        planted = write_counts(week)
        lines, found = load(week), whole(load(week))
        moments = [moment(change) for change in found]
        new = {identity(change) for change in found} - seen
        since = REGISTER.due(week) - WEEK
        assert planted == {
            "lines": len(lines),
            "changes": len(new),
            "repeated": len(found) - len(new),
            "late": sum(m.date() <= since for m in moments) if week else 0,
            "out_of_order": sum(later < earlier for earlier, later in pairwise(moments)),
            "cut_off": len(lines) - len(found),
        }
        seen |= new
        sums = {name: count + planted[name] for name, count in sums.items()}
    assert min(sums.values()) > 10


def write_counts(week: int) -> dict[str, int]:
    [chunk] = chunks(REGISTER, week)
    return dict(chunk.planted(0)[0])


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, WEEKS - 1))
def test_the_truth_is_what_a_right_reader_finds_in_any_order(dice: Any, week: int) -> None:
    arrived = [change for number in range(week + 1) for change in whole(load(number))]
    dice.shuffle(arrived)
    states: dict[tuple[str, str], Json] = {}
    for change in arrived:
        place = change["startup_id"], change["effective_on"]
        if place not in states or states[place]["updated_at"] < change["updated_at"]:
            states[place] = change
    rows = [states[place] for place in sorted(states)]
    truths = pa.Table.from_batches([chunk.truth() for chunk in chunks(REGISTER, week)]).to_pylist()
    assert len(truths) == len(rows)
    for number, (truth, row) in enumerate(zip(truths, rows, strict=True)):
        following = rows[number + 1] if number + 1 < len(rows) else None
        is_current = following is None or following["startup_id"] != row["startup_id"]
        until = None if is_current or following is None else following["effective_on"]
        assert truth.pop("is_current") == is_current
        assert (truth.pop("valid_from").isoformat(), truth.pop("valid_to")) == (
            row["effective_on"],
            until and datetime.date.fromisoformat(until),
        )
        assert truth == {name: row[name] for name in truth}


def test_corrections_take_the_place_of_what_was_said() -> None:
    corrections = [c for week in range(1, WEEKS) for c in whole(load(week)) if c["change_type"] == "correction"]
    said = {(c["startup_id"], c["effective_on"]) for w in range(WEEKS) for c in whole(load(w)) if c not in corrections}
    assert corrections
    assert all((c["startup_id"], c["effective_on"]) in said for c in corrections)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 900))
def test_the_size_of_files_does_not_change_the_lines(lake: Lake, lines_a_file: int) -> None:
    folder = Folder(lake, f"split{lines_a_file}")
    counts = write_load(folder, REGISTER, 0, KEY, max(lines_a_file, 100))
    parts = [lake.read_text(path) for path in sorted(lake.list(f"bronze/split{lines_a_file}"))]
    assert len(parts) == counts["files"]
    assert "".join(parts).encode() == b"".join(load(0))


def test_how_many_startups_are_made_at_once_does_not_change_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [sorted(load(week)) for week in (0, 30)]
    monkeypatch.setattr(module, "STARTUPS_AT_ONCE", 97)
    load.cache_clear()
    assert [sorted(load(week)) for week in (0, 30)] == expected


def test_the_lines_are_those_of_every_machine() -> None:
    """Fails where another machine, or a new version of a library, makes other lines of the same seed."""
    assert sha256(b"".join(load(30))).hexdigest() == "f2d81933d4ba8810d6d8a208de737025b89ad5961ba5afee7e6101ec66491f8e"


def test_loads_are_due_each_week_and_a_missing_one_is_made_up_for() -> None:
    assert list(due(REGISTER, None, FIRST)) == [0]
    assert list(due(REGISTER, FIRST, FIRST + datetime.timedelta(days=6))) == []
    assert list(due(REGISTER, FIRST, FIRST + WEEK)) == [1]
    assert list(due(REGISTER, FIRST, FIRST + 3 * WEEK + datetime.timedelta(days=2))) == [1, 2, 3]
    assert list(due(REGISTER, FIRST + 3 * WEEK, FIRST + 2 * WEEK)) == [2]
    assert list(due(REGISTER, FIRST + 3 * WEEK, FIRST - WEEK)) == []


def test_a_run_writes_what_is_due(lake: Lake) -> None:
    first = generate(lake, FIRST)
    assert first["changes"] == 800
    assert generate(lake, FIRST + datetime.timedelta(days=1))["loads"] == 0
    assert generate(lake, FIRST + 2 * WEEK)["loads"] == 2
    path = f"bronze/startups/run_date={FIRST + WEEK}/part-00000.jsonl"
    before = lake.read_text(path)
    assert generate(lake, FIRST + WEEK)["loads"] == 1
    assert lake.read_text(path) == before
    assert lake.list("bronze/startups") == [
        f"bronze/startups/run_date={FIRST + week * WEEK}/part-00000.jsonl" for week in range(3)
    ]


def test_a_folder_that_is_not_this_simulations_is_refused(lake: Lake) -> None:
    generate(lake, FIRST)
    with pytest.raises(NotSimulatedError, match=r"expected a simulation of .*'seed': 8.*, got .*'seed': 7"):
        generate(lake, FIRST + WEEK, seed=8)
    assert len(lake.list("bronze/startups")) == 1
