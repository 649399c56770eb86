"""The lake's client does what it is asked, and nothing beside it."""

import threading

import pytest

from goldline.lake import Lake
from goldline.local.servers import PROJECT
from goldline.local.stack import BUCKET, Addresses


def test_no_thread_asks_beside_the_task(stack: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that went on trying after its bucket had gone changed the state of `random` under another test."""
    begun: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        begun.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    lake = Lake(PROJECT, BUCKET)
    lake.write_text("trials/one.json", "{}")
    assert lake.read_text("trials/one.json") == "{}"
    assert begun == []
