"""Write the simulated tracker's files up to the run date.

The files of a date depend on seed, size and date alone, so dates may be written in any order, and twice. The lines are
the same on any machine; the compressed bytes too, if ISA-L finds the same matches on both processors.
"""

import datetime
import logging
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

import numpy as np
import pyarrow.parquet as pq
from isal import isal_zlib

from components.clickstream.generate_clickstream.click_lines import CUT_OFF, TRUTH, chunks
from components.clickstream.generate_clickstream.visits import Shop
from components.simulation import CUSTOMERS
from components.simulation.folder import Folder
from components.simulation.text import split
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.runs.records import recorded

LOG = logging.getLogger(__name__)
DAY = datetime.timedelta(days=1)
SIZES = {
    "small": {"days": 3, "events": 1_000, "customers": CUSTOMERS["small"]},
    "demo": {"days": 14, "events": 1_000, "customers": CUSTOMERS["demo"]},
    "large": {"days": 60, "events": 1_000_000, "customers": CUSTOMERS["large"]},
}
SOURCE = "clickstream"
FILES, LINES_A_FILE_MAX = 4, 250_000  # files of a small day, about; most lines per file of a large one
LEVEL = 1  # of compression: lines are so alike that a higher level costs time and saves little
# RFC 1952: deflate, no flags, no time, the fastest compression, written under Unix.
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03"


@dataclass(frozen=True)
class Portion:
    """Lines of file number `file`; or, with `is_last_words`, the line in which its upload broke off."""

    file: int
    text: memoryview
    is_last_words: bool = False


def generate_clickstream(run: RunContext, seed: int, days: int, events: int, customers: int) -> dict[str, int | float]:
    """Write the tracker's files up to the run date, and the true sessions beside them.

    Args:
        run: the run's context.
        seed: seed of all that is random.
        days: number of days that a first run writes; later runs continue after the last day written.
        events: number of events a day, about.
        customers: number of customers of generate_sales, some of whom are among the visitors.

    Returns:
        Number of files, lines, distinct events and planted defects that this run wrote: see `Chunk.planted`.

    Raises:
        NotSimulatedError: the folder holds real files, or another simulation.
    """
    with recorded(run, "generate_clickstream", SOURCE) as record:
        folder = Folder(Lake(run.project, run.bucket), SOURCE)
        shop = Shop(seed, events, customers)
        made_with = {"seed": seed, "events": events, "customers": customers}
        mark = folder.claim(made_with, run.run_date - DAY * max(days - 1, 0))
        day = min(mark.last + DAY if mark.last else mark.first, run.run_date)
        counts: Counter[str] = Counter()
        while day <= run.run_date:
            counts.update(write_day(folder, shop, day, min(events // FILES + 1, LINES_A_FILE_MAX)))
            folder.wrote(mark, day)
            day += DAY
        record.counts = dict(counts)
    LOG.info("%s: %s", SOURCE, ", ".join(f"{name} {count}" for name, count in record.counts.items()))
    return record.counts


def write_day(folder: Folder, shop: Shop, day: datetime.date, lines_a_file: int) -> Counter[str]:
    """Write a date's files and the truth beside them; return the number of lines, events and defects by kind."""
    counts: Counter[str] = Counter()
    with (
        folder.lake.writing(folder.truth(day)) as beside,
        pq.ParquetWriter(beside, TRUTH, compression="zstd") as truth,
    ):
        for file, portions in groupby(_portions(shop, day, lines_a_file, truth, counts), key=lambda p: p.file):
            with folder.lake.writing(folder.data(day, f"part-{file:05d}.jsonl.gz")) as stream:
                _pack(portions, stream)
            counts["files"] += 1
    return counts


def _portions(
    shop: Shop, day: datetime.date, lines_a_file: int, truth: pq.ParquetWriter, counts: Counter[str]
) -> Iterator[Portion]:
    """Lines of the day, file by file; writes `truth` and updates `counts` on the way."""
    written, moment, last = 0, 0, memoryview(b"")
    for chunk in chunks(shop, day):
        truth.write_batch(chunk.truth())
        planted, moment = chunk.planted(moment)
        counts.update(planted)
        lines = chunk.text()
        for file, text in split(lines, written, lines_a_file):
            yield Portion(file, text)
        written += len(lines)
        for whole in np.flatnonzero(chunk.lines.kind != CUT_OFF)[-1:].tolist():
            last = memoryview(lines[whole].as_buffer())
    counts.update(lines=written, truncated_files=1)
    yield Portion(max(written - 1, 0) // lines_a_file, last, is_last_words=True)


def _pack(portions: Iterable[Portion], stream: BinaryIO) -> None:
    """Write a gzip file; one with last words ends in the middle of them, like a broken upload."""
    deflate = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    stream.write(HEADER)
    checksum = length = 0
    for portion in portions:
        if portion.is_last_words:
            # An uncompressed block without its second half: so it is certain how much of the file can be read.
            said = len(portion.text)
            stream.write(deflate.flush(isal_zlib.Z_SYNC_FLUSH) + struct.pack("<BHH", 0, said, said ^ 0xFFFF))
            stream.write(portion.text[: said // 2])
            return
        stream.write(deflate.compress(portion.text))
        checksum, length = isal_zlib.crc32(portion.text, checksum), length + len(portion.text)
    stream.write(deflate.flush() + struct.pack("<II", checksum, length & 0xFFFFFFFF))
