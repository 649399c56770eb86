"""What a run shows while it works: on a terminal, in a pipe, to a program."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from goldline.local.laptop_run import _own_lines
from goldline.local.run_progress import TAIL, Logs, last_amount

SECONDS = 30.0
# Shows the events that come on its standard input, as `goldline run` does.
PROGRAM = """
import json, sys
from goldline.local.run_progress import displayed
with displayed(sys.stdout, as_json=sys.argv[1:] == ["--json"]) as show:
    for line in sys.stdin:
        show(json.loads(line))
"""
AMOUNT = {"count": 12_000, "total": 16_689, "unit": "documents", "rate": 4321.0, "seconds_left": 1}
EVENTS: list[dict[str, Any]] = [
    {"event": "started", "task": "export", "folder": "/run/tasks/01-export"},
    {"event": "started", "task": "stg_orders", "folder": "/run/tasks/02-stg_orders"},
    {"event": "progress", "task": "export", **AMOUNT},
    {"event": "ended", "task": "stg_orders", "status": "succeeded", "seconds": 2.3, "folder": "/run/tasks/02"},
    {"event": "ended", "task": "export", "status": "failed", "seconds": 61.0, "folder": "/run/tasks/01"},
    {"event": "skipped", "task": "fct_orders"},
]
PLAIN = [
    "  ✓ stg_orders                     2.3 s",
    "  ✗ export                        61.0 s",
    "  - fct_orders                  skipped, what it needs failed",
]


def environment(**more: str) -> dict[str, str]:
    left_out = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS")
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, "TERM": "xterm", **more}


@dataclass
class Terminal:
    """A pseudo-terminal of 80 columns, and a process that shows events on it."""

    process: subprocess.Popen[str]
    ours: int
    text: str = ""

    def show(self, event: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(event) + "\n")
        self.process.stdin.flush()

    def wait_for(self, *patterns: str) -> None:
        """Until the screen matches each of the patterns."""
        end = time.monotonic() + SECONDS
        while not all(re.search(pattern, "\n".join(self.screen()), re.MULTILINE) for pattern in patterns):
            left = end - time.monotonic()
            assert left > 0, f"expected {patterns}, got {self.screen()}"
            if select.select([self.ours], [], [], left)[0]:
                self.text += os.read(self.ours, 65536).decode()

    def end(self) -> None:
        """Until the process has ended; what it drew last is read."""
        assert self.process.stdin
        self.process.stdin.close()
        with contextlib.suppress(OSError):  # Linux's end of a terminal
            while chunk := os.read(self.ours, 65536):
                self.text += chunk.decode()
        self.process.wait(SECONDS)

    def screen(self) -> list[str]:
        """The lines that a person sees."""
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.text):
            if part == "\r":
                column = 0
            elif part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif part == "\x1b[2K":
                lines[row] = ""
            elif up := re.fullmatch(r"\x1b\[(\d+)A", part):
                row -= int(up[1])
            elif not part.startswith("\x1b"):
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines]


@contextlib.contextmanager
def terminal(**more: str) -> Iterator[Terminal]:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    try:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(**more),
        ) as process:
            os.close(theirs)
            try:
                yield Terminal(process, ours)
            finally:
                process.kill()
    finally:
        os.close(ours)


def printed(*arguments: str, **more: str) -> str:
    """What events look like in a pipe."""
    given = "".join(f"{json.dumps(event)}\n" for event in EVENTS)
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment(**more), check=True)
    return done.stdout


# The display


def test_a_terminal_shows_the_tasks_that_run_now_below_those_that_ended() -> None:
    with terminal() as shown:
        for event in EVENTS[:3]:
            shown.show(event)
        shown.wait_for(r"export +0:00:0\d 12,000 of 16,689 documents, 4,321/s, 0:01 left$", r"stg_orders +0:00:0\d$")
        shown.wait_for(r"0:00:01 12,000")  # the time goes on where nothing happens
        shown.show(EVENTS[3])
        shown.wait_for(rf"\A{PLAIN[0]}\n \S+ export +0:00:0\d 12,000 of")
        assert "stg_orders" not in "".join(shown.screen()[1:])
        for event in EVENTS[4:]:
            shown.show(event)
        shown.end()
        assert [line for line in shown.screen() if line] == PLAIN


@pytest.mark.parametrize("ending", [None, signal.SIGINT])
def test_the_terminal_is_left_as_it_was(ending: signal.Signals | None) -> None:
    with terminal() as shown:
        shown.show(EVENTS[0])
        shown.wait_for("export")
        if ending:
            shown.process.send_signal(ending)
        shown.end()
        assert shown.text.rfind("\x1b[?25h") > shown.text.rfind("\x1b[?25l") >= 0  # the cursor is seen again
        assert not any(shown.screen())


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_is_to_be_plain_gets_the_lines_that_stay(more: dict[str, str]) -> None:
    with terminal(**more) as shown:
        for event in EVENTS:
            shown.show(event)
        shown.end()
        assert shown.text.split("\r\n") == [*PLAIN, ""]


@pytest.mark.parametrize("more", [{}, {"FORCE_COLOR": "1"}, {"NO_COLOR": ""}])
def test_a_pipe_gets_the_lines_that_stay(more: dict[str, str]) -> None:
    assert printed(**more).splitlines() == PLAIN


def test_a_program_gets_each_event_as_a_line() -> None:
    assert [json.loads(line) for line in printed("--json").splitlines()] == EVENTS


# Where amounts come from: the logs of running tasks


def started(folder: Path, task: str, text: str) -> dict[str, Any]:
    (folder / task).mkdir()
    (folder / task / "log.txt").write_text(text, encoding="utf-8")
    return {"event": "started", "task": task, "folder": str(folder / task)}


def test_the_progress_of_two_tasks_at_once_is_that_of_their_logs(tmp_path: Path) -> None:
    logs = Logs()
    logs.note(
        started(
            tmp_path, "export", "[KFP Executor 2026-11-20 01:02:03,004 INFO]: orders: 500 of 900 documents, 250/s\n"
        )
    )
    logs.note(started(tmp_path, "land_clicks", "clicks: 1,200 rows, 7.5/s\n"))
    exported = {"event": "progress", "task": "export", "count": 500, "total": 900, "unit": "documents", "rate": 250.0}
    landed = {"event": "progress", "task": "land_clicks", "count": 1200, "total": None, "unit": "rows", "rate": 7.5}
    assert list(logs.news()) == [{**exported, "seconds_left": 2}, {**landed, "seconds_left": None}]
    assert list(logs.news()) == []  # nothing new
    with (tmp_path / "export" / "log.txt").open("a") as log:
        log.write("orders: 900 of 900 documents, 300/s\n")
    logs.note({"event": "ended", "task": "land_clicks"})
    [news] = logs.news()
    assert (news["task"], news["count"], news["seconds_left"]) == ("export", 900, 0)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("orders: 1,000 documents, 10/s\norders: 2,000 documents, 1", 1000),  # the last line is still being written
        ("orders: 1,000 documents, 10/s", None),
        ("orders: 1,000 documents, 10/s\n" + "x" * (TAIL - 20) + "\n", None),  # of "1,000" only the zeros are read
        ("orders: 1,000 documents, 10/s\n" + "retrying\n" * 20, 1000),
        ("orders: 1,000 documents, 10/s\n\xff\n", 1000),
        ("2026-11: 31 days loaded, 0 refused\ngs://lake/clicks: 2093 lines of 1 files\n", None),
        ("", None),
    ],
)
def test_only_whole_lines_of_progress_count(tmp_path: Path, text: str, count: int | None) -> None:
    assert last_amount(tmp_path / "log.txt") is None  # the task has not begun to print
    (tmp_path / "log.txt").write_bytes(text.encode("latin-1"))
    amount = last_amount(tmp_path / "log.txt")
    assert (amount and amount.count) == count


def test_a_failed_tasks_last_words_are_not_its_progress(tmp_path: Path) -> None:
    lines = [f"orders: {n},000 of 90,000 documents, 900/s, 1:00 left" for n in range(1, 60)]
    (tmp_path / "log.txt").write_text("\n".join(["reads all", *lines, "ExportError: cut too often", ""]))
    assert _own_lines(tmp_path / "log.txt") == ["reads all", lines[-1], "ExportError: cut too often"]
