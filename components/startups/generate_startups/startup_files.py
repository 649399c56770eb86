"""Write the simulated register's loads up to the run date: a full load, then one of changes a week.

A load depends only on seed, size, the full load's date, its own date and the key of its pseudonyms. So the next run
adds a week that was left out, and a week that is written again is the same.
"""

import datetime
import logging
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import pyarrow.parquet as pq

from components.simulation.folder import Folder
from components.simulation.text import split
from components.startups.generate_startups.startup_lines import TRUTH, chunks
from components.startups.generate_startups.startup_register import Register
from goldline.lake import Lake
from goldline.privacy.pseudonym import Key, load_key
from goldline.runs.context import RunContext
from goldline.runs.records import recorded

LOG = logging.getLogger(__name__)
SOURCE = "startups"
LINES_A_FILE = 100_000
SIZES = {"small": {"changes": 100}, "demo": {"changes": 100}, "large": {"changes": 10_000}}


def generate_startups(run: RunContext, seed: int, changes: int) -> dict[str, int | float]:
    """Write the loads that are due by the run date, and the true history of the startups beside them.

    The first run's date is that of the full load; a load of changes is due each seventh day after it, and lies in
    that day's folder. A run on any other day, with nothing missing, writes nothing.

    Args:
        run: the run's context.
        seed: seed of all that is random.
        changes: number of changes a week, about; the full load has twenty times as many startups.

    Returns:
        Number of loads, files, lines, distinct changes and defects that this run wrote: see `Chunk.planted`.

    Raises:
        NotSimulatedError: the folder holds real files, or another simulation.
        PseudonymKeyError: there is no key for pseudonyms.
    """
    with recorded(run, "generate_startups", SOURCE) as record:
        key = load_key(run.project)
        folder = Folder(Lake(run.project, run.bucket), SOURCE)
        mark = folder.claim({"seed": seed, "changes": changes}, run.run_date)
        register = Register(seed, changes, mark.first)
        counts: Counter[str] = Counter(loads=0, files=0, lines=0)
        for week in due(register, mark.last, run.run_date):
            counts.update(write_load(folder, register, week, key, LINES_A_FILE), loads=1)
            folder.wrote(mark, register.due(week))
        record.counts = dict(counts)
    LOG.info("%s: %s", SOURCE, ", ".join(f"{name} {count}" for name, count in record.counts.items()))
    return record.counts


def due(register: Register, last: datetime.date | None, day: datetime.date) -> range:
    """Weeks whose loads a run writes: those after the last one, and again the week that is due on its own date."""
    newest = register.week(day)
    missing = 0 if last is None else register.week(last) + 1
    if newest >= 0 and register.due(newest) == day:
        missing = min(missing, newest)
    return range(missing, newest + 1)


def write_load(folder: Folder, register: Register, week: int, key: Key, lines_a_file: int) -> Counter[str]:
    """Write a week's files and the truth beside them; return the number of lines, changes and defects by kind."""
    counts: Counter[str] = Counter()
    day = register.due(week)
    with (
        folder.lake.writing(folder.truth(day)) as beside,
        pq.ParquetWriter(beside, TRUTH, compression="zstd") as truth,
    ):
        texts = _texts(register, week, key, lines_a_file, truth, counts)
        for file, some in groupby(texts, key=lambda portion: portion[0]):
            with folder.lake.writing(folder.data(day, f"part-{file:05d}.jsonl")) as stream:
                for _, text in some:
                    stream.write(text)
            counts["files"] += 1
    return counts


def _texts(
    register: Register, week: int, key: Key, lines_a_file: int, truth: pq.ParquetWriter, counts: Counter[str]
) -> Iterator[tuple[int, memoryview]]:
    """Lines of the load, file by file; writes `truth` and updates `counts` on the way."""
    written = moment = 0
    for chunk in chunks(register, week):
        truth.write_batch(chunk.truth())
        planted, moment = chunk.planted(moment)
        counts.update(planted)
        lines = chunk.text(key)
        yield from split(lines, written, lines_a_file)
        written += len(lines)
