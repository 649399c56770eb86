"""Progress of long work in its log: seldom, and so that programs can read it."""

import time
from collections.abc import Callable

import pytest

from goldline.runs import pace
from goldline.runs.pace import Amount, Pace


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[float], None]:
    """Lets time pass."""
    caplog.set_level("INFO", pace.__name__)
    moment = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])

    def pass_by(seconds: float) -> None:
        moment[0] += seconds

    return pass_by


def test_work_tells_once_a_second_how_much_is_done_and_how_long_the_rest_takes(
    sleep: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    counter = Pace("p/(default)/orders", "documents", expected=100_000, done=40_000)  # those of an earlier try
    for _ in range(20):
        sleep(0.125)
        counter.add(375)
    assert caplog.messages == [
        "p/(default)/orders: 43,000 of 100,000 documents, 3,000/s, 0:19 left",
        "p/(default)/orders: 46,000 of 100,000 documents, 3,000/s, 0:18 left",
    ]


def test_the_end_is_told_at_once(sleep: Callable[[float], None], caplog: pytest.LogCaptureFixture) -> None:
    counter = Pace("history", "days", expected=2)
    sleep(0.25)
    counter.add()
    assert not caplog.records
    sleep(0.25)
    counter.add()
    assert caplog.messages == ["history: 2 of 2 days, 4.0/s"]


@pytest.mark.parametrize(
    ("amount", "text", "left"),
    [
        (Amount(12_000, 16_689, "documents", 4321.0), "12,000 of 16,689 documents, 4,321/s, 0:01 left", 1),
        (Amount(1_000_000, 10_000_000, "rows", 1000.0), "1,000,000 of 10,000,000 rows, 1,000/s, 150:00 left", 9000),
        (Amount(3, None, "files", 0.4), "3 files, 0.4/s", None),
        (Amount(0, 7, "days", 0.0), "0 of 7 days, 0.0/s", None),
        (Amount(9, 7, "days", 1.0), "9 of 7 days, 1.0/s", 0),  # more came than was counted
    ],
)
def test_a_line_is_read_back_as_it_was_meant(amount: Amount, text: str, left: int | None) -> None:
    assert str(amount) == text
    assert amount.seconds_left == left
    assert Amount.of_line(f"[KFP Executor 2026-11-20 01:02:03,004 INFO]: p/(default)/orders: {text}") == amount
