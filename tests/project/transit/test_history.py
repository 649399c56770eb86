"""The days that a listing of the lake tells of."""

from dataclasses import replace
from datetime import UTC, date, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.transit.history import DAY_MANIFEST, LAST, DayManifest, file_path, landed_days
from goldline.lake import Found

FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)


def listed(day: date, archive: str, hour: int) -> list[Found]:
    """The objects of a landed day, as the lake lists them."""
    manifest = DayManifest(
        service_date=day,
        url="u",
        sha256=archive * 64,
        etag="",
        bytes=1,
        landed_at=datetime(2026, 11, 20, hour, tzinfo=UTC),
        run_date=date(2026, 11, 20),
        run_id="r",
        files={},
    )
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return [
        Found(file_path(day, manifest.sha256, name), 1, None, "", at, metadata=manifest.metadata_of(name))
        for name in ("stop_times", LAST)
    ]


@given(st.lists(st.tuples(st.sampled_from([FIRST, SECOND]), st.integers(0, 23)), unique=True), st.randoms())
def test_of_several_archives_of_a_day_the_last_counts_in_whatever_order_they_are_listed(
    landings: list[tuple[date, int]], dice: Random
) -> None:
    objects = [found for day, hour in landings for found in listed(day, f"{hour % 16:x}", hour)]
    dice.shuffle(objects)
    days = landed_days(objects)
    assert list(days) == sorted({day for day, _ in landings})
    for day, manifest in days.items():
        assert manifest.landed_at.hour == max(hour for other, hour in landings if other == day)


def test_a_day_counts_once_its_last_file_is_there(caplog: pytest.LogCaptureFixture) -> None:
    first, last = listed(FIRST, "a", 1)
    assert landed_days([first]) == {}
    assert list(landed_days([first, last])) == [FIRST]
    assert not caplog.records
    # Copied by something that loses metadata, or changed by hand: it is landed anew.
    for metadata in ({}, {DAY_MANIFEST: "{}"}):
        assert landed_days([first, replace(last, metadata=metadata)]) == {}
        assert f"{last.path} does not count" in caplog.text


def test_what_else_lies_in_the_folder_is_no_day() -> None:
    last = listed(FIRST, "a", 1)[1]
    assert landed_days([replace(last, path="bronze/transit_history/trips.csv.gz")]) == {}
