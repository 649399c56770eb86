"""Land daily history archives in the lake, in parallel, each day whole or not at all.

A day's files lie in a folder named after its archive's checksum. The last file carries the day's manifest; a day
without one does not count. So an interrupted run goes on where it stopped. A day whose files have the sizes and
checksums of its manifest is not fetched again.
"""

import datetime
import logging
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from components.transit.download_history.day_archive import ArchiveError, extract
from components.transit.download_history.days_to_fetch import BAD, DAY, STATUSES, Outcome, Status, absent, asked
from components.transit.history import (
    FOLDER,
    LAST,
    SIMULATED,
    DayManifest,
    HistoryFile,
    day_url,
    file_path,
    landed_days,
    simulated_history_url,
)
from goldline.lake import Found, Lake
from goldline.landing.http import DownloadLimits, Fetched, Fetcher, FetchError, MissingError
from goldline.runs.context import RunContext
from goldline.runs.pace import Pace
from goldline.runs.records import CheckResult, now, recorded

LOG = logging.getLogger(__name__)
WORKERS = 6  # parallel downloads, as many as a public source tolerates
ERROR_SHARE = 0.25  # of the days that may fail
PATIENCE = DownloadLimits(whole=300.0, size_max=256 << 20)  # an archive has about 1 MB


class HistoryError(RuntimeError):
    """Too many days failed, or the lake holds the history of another city."""


@dataclass(frozen=True)
class Landed:
    """Outcomes of the days that were asked for."""

    uri: str
    outcomes: list[Outcome]

    def days(self, status: Status) -> list[Outcome]:
        """Outcomes with one status."""
        return [o for o in self.outcomes if o.status == status]

    def summary(self) -> dict[str, str | int]:
        """Metadata of the artifact: first and last day, number of days by status, the bad ones by name."""
        named = {status: ", ".join(str(o.day) for o in self.days(status)) for status in BAD if self.days(status)}
        span = {"first": str(self.outcomes[0].day), "last": str(self.outcomes[-1].day)}
        return {
            **span,
            **{s.lower(): len(self.days(s)) for s in STATUSES},
            **{f"{s}_days": d for s, d in named.items()},
        }

    @property
    def counts(self) -> dict[str, int | float]:
        """Number of days by status."""
        found = Counter(o.status for o in self.outcomes)
        return {status.lower(): found[status] for status in STATUSES}


def download_history(
    run: RunContext,
    history_url: str,
    days: int,
    first: str = "",
    last: str = "",
    simulated: bool = False,
    fetcher: Fetcher | None = None,
    refetch: bool = False,
    error_share: float = ERROR_SHARE,
) -> Landed:
    """Land the days that are new.

    Args:
        run: the run's context.
        history_url: URL of an archive, with YYYY-MM-DD in the place of the date; http(s):// or gs://.
        days: number of days up to the run date to ask for.
        first: first day instead, YYYY-MM-DD; empty: by `days`.
        last: last day, YYYY-MM-DD; empty: the run date.
        simulated: whether to take the simulated city's archives instead: by default all that there are.
        fetcher: HTTP client; None: one with the usual limits.
        refetch: whether to fetch landed days again, if the source has another version of them.
        error_share: share of days; if more end as ERROR, the task fails.

    Raises:
        HistoryError: more days failed than allowed (it names them); or the lake holds simulated days where real ones
            are asked for, or the other way round.
        ValueError: there is no day from `first` to `last`, or the URL has no YYYY-MM-DD.
    """
    lake = Lake(run.project, run.bucket)
    url = simulated_history_url(run.bucket) if simulated else history_url
    if day_url(url, run.run_date) == url:
        raise ValueError(f"history_url: expected YYYY-MM-DD where the date goes, got {url}")
    with recorded(run, "download_history", "transit") as record:
        wanted = asked(run, days, first or (_first_simulated(lake, run) if simulated else ""), last)
        landing = _Landing(run, lake, url, wanted, fetcher or Fetcher(run.project, PATIENCE), refetch)
        landed = Landed(lake.uri(f"{FOLDER}/"), _in_parallel(landing.land, wanted))
        record.counts = landed.counts
        record.checks = [_check(outcome) for outcome in landed.outcomes]
        for outcome in landed.outcomes:
            if outcome.status in BAD:
                LOG.warning("%s: %s %s", outcome.day, outcome.status, outcome.reason)
        errors = landed.days("ERROR")
        if len(errors) > error_share * len(wanted):
            named = "; ".join(f"{o.day}: {o.reason}" for o in errors)
            raise HistoryError(f"{len(errors)} of {len(wanted)} days failed, more than {error_share:.0%}: {named}")
    LOG.info("%s to %s: %s", wanted[0], wanted[-1], ", ".join(f"{name} {n}" for name, n in landed.counts.items()))
    return landed


class _Landing:
    """Landing of days; the lake is listed once for all of them."""

    def __init__(
        self, run: RunContext, lake: Lake, url: str, wanted: list[datetime.date], fetcher: Fetcher, refetch: bool
    ) -> None:
        self.run = run
        self.lake = lake
        self.url = url
        self.fetcher = fetcher
        self.refetch = refetch
        listed = lake.found(FOLDER, f"service_date={wanted[0]}", f"service_date={wanted[-1] + DAY}")
        self.there = {found.path: found for found in listed}
        self.landed = landed_days(self.there.values())

    def land(self, day: datetime.date) -> Outcome:
        """Land a day, unless it is there.

        Raises:
            HistoryError: the lake has the day of another city, simulated or real.
        """
        manifest = self._whole(day)
        if manifest and not self.refetch:
            return Outcome(day, "SKIPPED")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            archive = folder / "archive.tar.xz"
            try:
                fetched = self.fetcher.fetch(day_url(self.url, day), archive, manifest.etag if manifest else "")
                if fetched is None or (manifest and fetched.sha256 == manifest.sha256):
                    return Outcome(day, "SKIPPED")
                self._keep(day, fetched, archive, folder)
            except MissingError:
                return Outcome(day, absent(self.run, day))
            except (FetchError, ArchiveError) as error:
                return Outcome(day, "ERROR", str(error))
        return Outcome(day, "SUCCESS")

    def _whole(self, day: datetime.date) -> DayManifest | None:
        """Manifest of a day whose landed files match it; None if there is none."""
        if (manifest := self.landed.get(day)) is None:
            return None
        if _is_simulated(manifest.url, self.lake) != _is_simulated(self.url, self.lake):
            raise HistoryError(
                f"{self.lake.uri(FOLDER)} holds {day} from {manifest.url}: a lake holds the history of a "
                f"simulated city or of a real one, never both. Choose another bucket for {self.url}"
            )
        return manifest if all(_is_whole(file, self.there) for file in manifest.files.values()) else None

    def _keep(self, day: datetime.date, fetched: Fetched, archive: Path, folder: Path) -> None:
        extracted = extract(archive, day, folder)
        files = {
            name: HistoryFile(
                path=file_path(day, fetched.sha256, name),
                sha256=file.sha256,
                md5=file.md5,
                bytes=file.bytes,
                lines=file.lines,
                columns=file.columns,
            )
            for name, file in extracted.items()
        }
        manifest = DayManifest(
            service_date=day,
            url=day_url(self.url, day),
            sha256=fetched.sha256,
            etag=fetched.etag,
            bytes=fetched.bytes,
            landed_at=now(),
            run_date=self.run.run_date,
            run_id=self.run.run_id,
            files=files,
        )
        for name in sorted(files, key=lambda name: name == LAST):
            self.lake.write_file(files[name].path, extracted[name].path, manifest.metadata_of(name))


def _in_parallel(land: Callable[[datetime.date], Outcome], days: Sequence[datetime.date]) -> list[Outcome]:
    """Outcomes in the order of days; an exception of one stops the days that have not begun."""
    pace = Pace(FOLDER, "days", len(days))

    def counted(day: datetime.date) -> Outcome:
        outcome = land(day)
        pace.add()
        return outcome

    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(counted, day) for day in days]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


def _is_whole(file: HistoryFile, there: dict[str, Found]) -> bool:
    found = there.get(file.path)
    return found is not None and found.size == file.bytes and found.md5 in (None, file.md5)


def _is_simulated(url: str, lake: Lake) -> bool:
    return url.startswith(f"{lake.uri(SIMULATED)}/")


def _first_simulated(lake: Lake, run: RunContext) -> str:
    """First day up to the run date with an archive of the simulated city; empty if there is none."""
    names = " ".join(lake.list(f"{SIMULATED}/history"))
    return min((day for day in re.findall(r"\d{4}-\d\d-\d\d", names) if day <= str(run.run_date)), default="")


def _check(outcome: Outcome) -> CheckResult:
    told = f"{outcome.day} {outcome.status}"
    return CheckResult(
        subject="bronze.transit_history",
        name="day_is_landed",
        level="warn",
        failing=int(outcome.status in BAD),
        detail=f"{told}: {outcome.reason}"[:1000] if outcome.reason else told,
    )
