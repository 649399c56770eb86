"""Display of a run's events: lines that stay, on a terminal also the tasks that run now, or JSON Lines for programs."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO

from goldline.runs.pace import Amount

Event = dict[str, Any]
Show = Callable[[Event], None]
TAIL = 16384  # bytes at the end of a log in which progress is looked for
REDRAWS = 4  # a second
AMOUNT = [field.name for field in fields(Amount)]


@contextmanager
def displayed(out: TextIO, *, as_json: bool = False) -> Iterator[Show]:
    """Yield a function that shows an event, by the means that `out` has.

    Args:
        out: a terminal is drawn on, unless NO_COLOR is set or TERM is `dumb`; anything else gets plain lines.
        as_json: whether to write each event as a JSON line instead.
    """
    if not as_json and _is_drawn_on(out):
        with _live(out) as show:
            yield show
        return

    def write(event: Event) -> None:
        if line := json.dumps(event) if as_json else lasting(event):
            out.write(f"{line}\n")
            out.flush()

    yield write


def lasting(event: Event) -> str:
    """Line that stays of an event; empty for one of the moment: a task's start or progress."""
    match event:
        case {"event": "ended", "task": task, "status": status, "seconds": seconds}:
            return f"  {'✓' if status == 'succeeded' else '✗'} {task:<28}{seconds:6.1f} s"
        case {"event": "skipped", "task": task}:
            return f"  - {task:<28}skipped, what it needs failed"
    return ""


def _is_drawn_on(out: TextIO) -> bool:
    """Whether `out` is a terminal whose user wants more than plain lines: https://no-color.org."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return out.isatty() and not is_plain


@contextmanager
def _live(out: TextIO) -> Iterator[Show]:
    """Draw the running tasks below the lines that stay: elapsed time and, where it is known, the amount of work."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    texts = [TextColumn(f"{{task.{text}}}", markup=False) for text in ("description", "fields[amount]")]
    columns = TextColumn(""), SpinnerColumn(), texts[0], TimeElapsedColumn(), texts[1]
    # Whether this is a terminal was decided before: rich would draw into a pipe too, under FORCE_COLOR.
    console = Console(file=out, force_terminal=True, highlight=False, markup=False)
    running: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True, refresh_per_second=REDRAWS) as drawn:

        def show(event: Event) -> None:
            match event:
                case {"event": "started", "task": task}:
                    running[task] = drawn.add_task(task, total=None, amount="")
                case {"event": "progress", "task": task} if task in running:
                    drawn.update(running[task], amount=str(Amount(*(event[name] for name in AMOUNT))))
                case {"event": "ended", "task": task} if task in running:
                    drawn.remove_task(running.pop(task))
                    drawn.refresh()
            if line := lasting(event):
                console.print(line, soft_wrap=True, style="red" if event.get("status") == "failed" else None)

        yield show


class Logs:
    """Logs of the tasks that run, watched for the progress that the work tells there (goldline.runs.pace)."""

    def __init__(self) -> None:
        self._running: dict[str, Path] = {}
        self._told: dict[str, Amount] = {}

    def note(self, event: Event) -> None:
        """Begin or end to watch a task."""
        if event["event"] == "started":
            self._running[event["task"]] = Path(event["folder"]) / "log.txt"
        elif event["event"] == "ended":
            self._running.pop(event["task"], None)

    def news(self) -> Iterator[Event]:
        """Events of progress since the last call."""
        for task, log in self._running.items():
            amount = last_amount(log)
            if amount and amount != self._told.get(task):
                self._told[task] = amount
                yield {"event": "progress", "task": task, **asdict(amount), "seconds_left": amount.seconds_left}


def last_amount(log: Path) -> Amount | None:
    """Newest progress among the whole lines at the end of a log; None if there is none, or no log yet."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        start = max(file.seek(0, os.SEEK_END) - TAIL, 0)
        file.seek(start)
        lines = file.read().decode(errors="replace").split("\n")
    # The first line may have lost its beginning to TAIL; the last one is still being written, or empty.
    whole = lines[1 if start else 0 : -1]
    return next(filter(None, map(Amount.of_line, reversed(whole))), None)
