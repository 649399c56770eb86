"""Land the files that arrived for the run's dates, as one attempt that is committed by rows of ops.commits.

The landed content of a date depends only on the files in its folder, on the contract and on the key, not on when or in
which order dates are run. A date without changes since its newest commit is not landed again.
"""

import base64
import datetime
import gzip
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import google_crc32c

from goldline.contracts.loading import parse
from goldline.contracts.source_contract import SourceContract
from goldline.lake import CHUNK, Found, Lake
from goldline.landing import attempts
from goldline.landing.json_lines import CHUNK as PIECE
from goldline.landing.json_lines import Lines
from goldline.privacy.masks import Treatment
from goldline.privacy.pseudonym import load_key
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.ops import Commit
from goldline.runs.pace import Pace
from goldline.runs.records import CheckResult, Record, now, recorded

LOG = logging.getLogger(__name__)
DAY = datetime.timedelta(days=1)
FORM = 1  # version of the landed form: another number lands everything again
FILE = re.compile(r"(^|/)[^/._][^/]*\.(jsonl|ndjson|json)(\.gz)?$")  # no hidden files: _SUCCESS, .part
ENDING = ".jsonl.gz"
FILES_AT_ONCE = 4
FASTEST = 1  # gzip's level: the files are read once or twice


class LandingError(RuntimeError):
    """Failed landing; nothing was committed."""


@dataclass
class Landed:
    """Result of landing a source.

    Attributes:
        uri: folder of all landed files of the source.
        dates: number of the run's dates that have files.
        unchanged: number of these dates that were landed before.
        files: number of files of all these dates.
        rows: number of lines of all these dates.
        found: counts of findings in the files of the dates landed now, and of files left out.
        damaged: reason by URI for each of these files that is not whole.
    """

    uri: str
    dates: int = 0
    unchanged: int = 0
    files: int = 0
    rows: int = 0
    found: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, str | int]:
        """Metadata of the artifact."""
        damaged = {"damaged": ", ".join(self.damaged)} if self.damaged else {}
        return {"rows": self.rows, "files": self.files, "format": "jsonl", **damaged}

    @property
    def counts(self) -> dict[str, int | float]:
        """Counts for the task record: dates, files, rows, and findings above 0."""
        numbers: dict[str, int | float] = {"dates": self.dates, "unchanged_dates": self.unchanged}
        numbers |= {"files": self.files, "rows": self.rows}
        return numbers | {name: n for name, n in sorted(self.found.items()) if n}


@dataclass(frozen=True)
class LandedFile:
    """Result of landing one file: number of lines, findings, reason of damage (else empty), bytes left out."""

    rows: int
    found: Counter[str]
    damage: str
    cut: int


def land_files(run: RunContext, flow: str, contract_text: str) -> Landed:
    """Land the files that arrived for the dates from the flow's `since` to the run date.

    Args:
        run: the run's context.
        flow: the flow that the source belongs to.
        contract_text: the source's contract, as JSON.

    Raises:
        LandingError: a file changed while it was read, or the key is not that of earlier landings or its successor.
        PseudonymKeyError: the contract has PII rules, and there is no key.
    """
    contract = parse(json.loads(contract_text), "the contract in the spec")
    if not isinstance(contract, SourceContract) or contract.incoming is None:
        raise TypeError(f"{next(iter(contract.tables))} is not a source of JSON Lines; land_files lands only those")
    with recorded(run, f"land_{contract.name}", flow) as record:
        landing = Landing(run, contract)
        landed = landing.land(run.since.get(flow, EPOCH))
        _report(record, contract, landed)
    return landed


class Landing:
    """Attempt to land the files of some dates."""

    def __init__(self, run: RunContext, contract: SourceContract) -> None:
        self.run = run
        self.contract = contract
        self.lake = Lake(run.project, run.bucket)
        self.key = load_key(run.project) if contract.has_pii else None
        self.jobs = attempts.source_jobs(run, contract)
        self.attempt = attempts.new_attempt(run)
        self.landed = Landed(self.lake.uri(contract.folder))
        self.pace = Pace(contract.source, "rows")

    def land(self, since: datetime.date) -> Landed:
        """Land and commit new and changed dates from `since` to the run date."""
        read_time = now()
        commits = self._newest_commits(since)
        arrived = self._arrived(since)
        new: list[Commit] = []
        for day in sorted(arrived | {d: [] for d, commit in commits.items() if commit.files}):
            files = arrived.get(day, [])
            content = self._content(files)
            commit = commits.get(day)
            self.landed.dates += 1
            if commit and commit.content == content:
                self.landed.unchanged += 1
            else:
                commit = self._land_date(day, files, content, read_time)
                new.append(commit)
            self.landed.files += commit.files
            self.landed.rows += commit.rows
        if new:
            attempts.append_commits(self.jobs, new)
        return self.landed

    def _newest_commits(self, since: datetime.date) -> dict[datetime.date, Commit]:
        """Newest commit of each date from `since` to the run date."""
        commits = attempts.read_commits(self.jobs, self.contract)
        commits = [c for c in commits if c.run_date <= self.run.run_date]
        if commits and self.key and not self.key.follows(commits[-1].pii_key_version, commits[-1].pii_key_check):
            raise LandingError(
                f"{self.contract.source}: pseudonyms of {commits[-1].run_date} were made with key version "
                f"{commits[-1].pii_key_version}; expected that key or its successor, got another of version "
                f"{self.key.version}. Nothing was landed"
            )
        return {c.run_date: c for c in attempts.newest_of_each_date(commits) if c.run_date >= since}

    def _arrived(self, since: datetime.date) -> dict[datetime.date, list[Found]]:
        """Files of each date, each content once; copies and files of other kinds are only counted."""
        incoming, until = self.contract.incoming or "", self.run.run_date + DAY
        found: dict[datetime.date, dict[str, Found]] = {}
        for file in self.lake.found(incoming, attempts.date_folder(since), attempts.date_folder(until)):
            name = file.path.removeprefix(f"{incoming}/")
            day = attempts.date_of(name)
            if day is None or not since <= day <= self.run.run_date or name.endswith("/"):
                continue
            if not FILE.search(name):
                self.landed.found["other_files"] += 1
                LOG.warning("%s is left out: its name is not that of JSON Lines", self.lake.uri(file.path))
                continue
            same = found.setdefault(day, {}).setdefault(file.md5 or file.path, file)
            if same is not file:
                self.landed.found["identical_files"] += 1
                LOG.warning("%s is left out: it is %s again", self.lake.uri(file.path), self.lake.uri(same.path))
        return {day: list(files.values()) for day, files in found.items()}

    def _content(self, files: Sequence[Found]) -> str:
        """Hash of a date's files and of everything that decides how they are landed."""
        how = [FORM, self.contract.model_dump_json(), self.key and (self.key.version, self.key.fingerprint)]
        return hashlib.sha256(json.dumps([how, [(f.path, f.size, f.crc32c) for f in files]]).encode()).hexdigest()

    def _land_date(
        self, day: datetime.date, files: Sequence[Found], content: str, read_time: datetime.datetime
    ) -> Commit:
        folder = attempts.attempt_folder(self.contract, day, self.attempt)
        before = f"{self.contract.incoming}/{attempts.date_folder(day)}/"
        names = _names([f.path.removeprefix(before) for f in files])
        targets = [f"{folder}/{names[f.path.removeprefix(before)]}" for f in files]
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:  # small files mostly wait for responses
            landed = list(pool.map(self._land_file, files, targets))
        for file, one in zip(files, landed, strict=True):
            self._note(file, one)
        rows = sum(one.rows for one in landed)
        LOG.info("%s: %d lines of %d files", self.lake.uri(folder), rows, len(files))
        return Commit(
            source=self.contract.source,
            run_date=day,
            attempt=self.attempt,
            files=len(files),
            rows=rows,
            origin=self.lake.uri(before),
            pii_key_version=self.key.version if self.key else None,
            pii_key_check=self.key.fingerprint if self.key else None,
            content=content,
            read_time=read_time,
            run_id=self.run.run_id,
            committed_at=now(),
        )

    def _land_file(self, file: Found, target: str) -> LandedFile:
        treatment, rows = Treatment(self.contract, self.key), 0
        writing = self.lake.writing_whole if file.size <= CHUNK else self.lake.writing
        with self.lake.reading(file) as raw:
            stream = Checked(raw)
            lines = Lines(stream)
            with writing(target) as out, gzip.GzipFile("", "wb", FASTEST, out, mtime=0) as packed:
                for batch in lines:
                    kept = treatment.lines(batch)
                    rows += len(kept)
                    self.pace.add(len(kept))
                    packed.write(b"".join(line + b"\n" for line in kept))
                if stream.crc32c != file.crc32c:
                    raise LandingError(f"{self.lake.uri(file.path)} changed while it was read; nothing was committed")
        return LandedFile(rows, treatment.found, lines.damage, lines.cut)

    def _note(self, file: Found, one: LandedFile) -> None:
        """Add the findings of a file to those of all."""
        self.landed.found.update(one.found)
        if one.damage:
            self.landed.found.update(damaged_files=1, cut_bytes=one.cut)
            self.landed.damaged[self.lake.uri(file.path)] = one.damage
            LOG.warning(
                "%s is not whole (%s): its %d whole lines are landed, %d bytes after them are not",
                *(self.lake.uri(file.path), one.damage, one.rows, one.cut),
            )


class Checked:
    """Stream that computes the CRC32C of its bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._checksum = 0

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; empty at the end."""
        data = self._stream.read(size)
        self._checksum = google_crc32c.extend(self._checksum, data)
        return data

    @property
    def crc32c(self) -> str:
        """CRC32C of the whole stream, as Cloud Storage writes it (base64); reads what is left."""
        while self.read(PIECE):
            pass
        return base64.b64encode(self._checksum.to_bytes(4)).decode()


def _names(came: Sequence[str]) -> Mapping[str, str]:
    """Names of landed files, by original name: unique in one folder, all with the same ending."""
    names: dict[str, str] = {}
    for name in came:
        plain = re.sub(r"\.(jsonl|ndjson|json)(\.gz)?$", "", name.replace("/", "_"))
        free = (f"{plain}{f'-{n}' if n else ''}{ENDING}" for n in range(len(came)))
        names[name] = next(each for each in free if each not in names.values())
    return names


def _report(record: Record, contract: SourceContract, landed: Landed) -> None:
    record.counts = landed.counts
    check, found = partial(CheckResult, subject=contract.source, level="warn"), landed.found
    damaged = [check(name="files_are_whole", failing=1, detail=uri) for uri in landed.damaged]
    malformed = found["malformed"] + found["not_utf8"] + found["over_long"]
    record.checks = [
        *(damaged or [check(name="files_are_whole", failing=0)]),
        check(name="lines_are_json_objects", failing=malformed),
        check(name="files_come_once", failing=found["identical_files"]),
        check(name="files_are_json_lines", failing=found["other_files"]),
        check(name="values_fit_pii_rules", failing=found["held_back"]),
    ]
    LOG.info("%s: %s", landed.uri, ", ".join(f"{name} {n}" for name, n in landed.counts.items()))
