"""Download a GTFS Schedule feed, check it, and keep it in the lake as the original archive and as typed Parquet.

A feed lies in a folder named after its archive's checksum. Its manifest is written last: a folder without one does not
count. A feed that the lake has is not written again. An unusable feed is refused as a whole; the last good one stays.
"""

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from components.transit.download_gtfs import feed_rules as rules
from components.transit.download_gtfs.feed_archive import ArchiveError, FeedError, Unpacked, unpack
from components.transit.download_gtfs.feed_reading import Read, read
from components.transit.gtfs import (
    ARCHIVE,
    MANIFEST,
    FeedFile,
    FeedManifest,
    Finding,
    GtfsFile,
    current_path,
    feed_folder,
    kept_files,
    layout,
)
from components.transit.history import simulated_gtfs_url
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake, LakeError
from goldline.landing.http import Fetched, Fetcher
from goldline.runs.context import RunContext
from goldline.runs.records import CheckResult, Record, now, recorded

LOG = logging.getLogger(__name__)
Files = Mapping[str, GtfsFile]
SHOWN = 20  # most findings in a log


@dataclass(frozen=True)
class Downloaded:
    """Feed in the lake.

    Attributes:
        uri: gs:// address of its folder.
        is_new: whether this run downloaded it; if not, the lake had it already.
    """

    uri: str
    manifest: FeedManifest
    is_new: bool

    def summary(self) -> dict[str, str | int]:
        """Metadata of the artifact."""
        found = Counter(f.level for f in self.manifest.findings)
        about = {"sha256": self.manifest.sha256, "url": self.manifest.url, "fetched_at": self.manifest.fetched_at}
        return {**about, "warnings": found["warning"], "unknown_files": ", ".join(self.manifest.unknown_files)}

    @property
    def counts(self) -> dict[str, int | float]:
        """Number of bytes, rows by file, rows or values by finding; `is_new` as 0 or 1."""
        rows = {name: file.rows for name, file in self.manifest.files.items()}
        found = {f"{f.file.removesuffix('.txt')}_{f.code}": f.count for f in self.manifest.findings}
        return {"is_new": int(self.is_new), "bytes": self.manifest.bytes, **rows, **found}


def download_gtfs(
    run: RunContext,
    contracts: Mapping[str, TableContract],
    gtfs_url: str,
    simulated: bool = False,
    fetcher: Fetcher | None = None,
) -> Downloaded:
    """Download a feed into the lake, unless it is there.

    Args:
        run: the run's context.
        contracts: contracts of the tables that its files are loaded into, by table.
        gtfs_url: URL of the archive, http(s):// or gs://.
        simulated: whether to take the simulated city's feed instead.
        fetcher: HTTP client; None: one with the usual limits.

    Raises:
        FeedError: the feed cannot be used; the findings are in the task record too.
        FetchError: the download failed.
    """
    files = kept_files(contracts)
    url = simulated_gtfs_url(run.bucket) if simulated else gtfs_url
    with recorded(run, "download_gtfs", "transit") as record:
        try:
            downloaded = _download(run, files, url, fetcher or Fetcher(run.project))
        except FeedError as error:
            _report(record, error.findings)
            raise
        _report(record, downloaded.manifest.findings)
        record.checks.append(_covers(run, downloaded.manifest))
        record.counts = downloaded.counts
    LOG.info("%s: %s", downloaded.uri, ", ".join(f"{name} {n}" for name, n in downloaded.counts.items()))
    return downloaded


def _download(run: RunContext, files: Files, url: str, fetcher: Fetcher) -> Downloaded:
    lake = Lake(run.project, run.bucket)
    current = _current(lake, files, url)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = folder / ARCHIVE
        fetched = fetcher.fetch(url, archive, current.etag if current else "")
        if fetched is None and current:
            return Downloaded(lake.uri(feed_folder(current.sha256)), current, is_new=False)
        if fetched is None:
            raise AssertionError("unreachable: only a known version can be unchanged")
        manifest = _kept(lake, files, fetched.sha256)
        is_new = manifest is None
        manifest = _keep(lake, files, url, fetched, folder) if manifest is None else manifest
        manifest = manifest.model_copy(update={"etag": fetched.etag, "url": url})
    pointer = {"url": url, "sha256": manifest.sha256, "etag": manifest.etag, "checked_at": now().isoformat()}
    lake.write_text(current_path(url), json.dumps(pointer, indent=1))
    return Downloaded(lake.uri(feed_folder(manifest.sha256)), manifest, is_new)


def _current(lake: Lake, files: Files, url: str) -> FeedManifest | None:
    """Manifest of the feed that the URL gave last, with the etag of that answer; None if there is none."""
    try:
        pointer = json.loads(lake.read_text(current_path(url)))
    except LakeError:
        return None
    manifest = _kept(lake, files, pointer["sha256"])
    return manifest and manifest.model_copy(update={"etag": pointer["etag"]})


def _kept(lake: Lake, files: Files, sha256: str) -> FeedManifest | None:
    """Manifest of a feed, if the lake has it complete and under the present schemas."""
    try:
        content = json.loads(lake.read_text(f"{feed_folder(sha256)}/{MANIFEST}"))
    except LakeError:
        return None
    is_present = (content["sha256"], content["layout"]) == (sha256, layout(files))
    return FeedManifest.model_validate(content) if is_present else None


def _keep(lake: Lake, files: Files, url: str, fetched: Fetched, folder: Path) -> FeedManifest:
    """Check a feed and write its folder, the manifest last."""
    archive = folder / ARCHIVE
    try:
        unpacked = unpack(archive, folder, files)
    except ArchiveError as error:
        raise FeedError(url, [Finding(level="error", code="archive", file="", text=str(error), count=1)]) from error
    feed = {name: read(files[name], path) for name, path in unpacked.files.items()}
    findings = _findings(feed, unpacked)
    dates = rules.dates(feed) if not any(f.level == "error" for f in findings) else None
    if dates is None:
        raise FeedError(url, findings)
    to = feed_folder(fetched.sha256)
    lake.write_file(f"{to}/{ARCHIVE}", archive)
    for name, content in feed.items():
        path = folder / f"{name}.parquet"
        pq.write_table(content.table, path, compression="zstd")
        lake.write_file(f"{to}/{path.name}", path)
    manifest = FeedManifest(
        sha256=fetched.sha256,
        url=url,
        etag=fetched.etag,
        fetched_at=now().isoformat(),
        bytes=fetched.bytes,
        files={name: FeedFile(rows=r.table.num_rows, columns=r.columns) for name, r in feed.items()},
        unknown_files=unpacked.unknown,
        unknown_columns={name: r.unknown for name, r in feed.items() if r.unknown},
        findings=findings,
        service_from=dates.first,
        service_to=dates.last,
        layout=layout(files),
    )
    lake.write_text(f"{to}/{MANIFEST}", manifest.model_dump_json(indent=1))
    return manifest


def _findings(feed: dict[str, Read], unpacked: Unpacked) -> list[Finding]:
    """Findings of a feed; rules across files run only if each file is there and can be read."""
    found = [f for content in feed.values() for f in content.findings]
    found += rules.missing_files(feed, unpacked.unknown)
    if not any(f.level == "error" for f in found):
        found += rules.check(feed)
        if not rules.dates(feed):
            text = "expected service on at least one date, got none"
            found.append(Finding(level="error", code="no_service", file="calendar.txt", text=text, count=1))
    return [f for f in found if f.count]


def _covers(run: RunContext, manifest: FeedManifest) -> CheckResult:
    """Check that the schedule covers the run date: an old feed, or one that is published early, does not."""
    is_covered = manifest.service_from <= run.run_date <= manifest.service_to
    span = f"{manifest.service_from} to {manifest.service_to}"
    if not is_covered:
        LOG.warning("the schedule runs from %s, which leaves out %s", span, run.run_date)
    failing = int(not is_covered)
    return CheckResult(
        subject="bronze.gtfs", name="schedule_covers_run_date", level="warn", failing=failing, detail=span
    )


def _report(record: Record, findings: list[Finding]) -> None:
    level: Literal["block", "warn"] = "block" if any(f.level == "error" for f in findings) else "warn"
    whole = CheckResult(subject="bronze.gtfs", name="feed_keeps_gtfs_rules", level=level, failing=len(findings))
    record.checks.append(whole)
    for finding in findings:
        record.checks.append(
            CheckResult(
                subject=f"bronze.gtfs_{finding.file.removesuffix('.txt')}" if finding.file else "bronze.gtfs",
                name=finding.code,
                level="block" if finding.level == "error" else "warn",
                failing=finding.count,
                detail=finding.text[:1000],
            )
        )
    for finding in findings[:SHOWN]:
        where = f"{finding.file}, line {finding.line}" if finding.line else finding.file or "feed"
        LOG.warning("%s: %s (%d): %s", where, finding.code, finding.count, finding.text)
