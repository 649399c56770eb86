"""Safe unpacking of an untrusted feed archive: known files only, under our own names, within a size limit."""

import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.transit.gtfs import Finding

CHUNK = 1 << 20
UNPACKED_MAX = 4 << 30  # bytes; the largest public feeds unpack to about half of that
MEMBERS_MAX = 1000
ENCRYPTED = 0x1  # flag of a member: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.4.4


class FeedError(RuntimeError):
    """The feed cannot be used; the findings say why."""

    def __init__(self, url: str, findings: list[Finding]) -> None:
        self.findings = findings
        errors = [f"{f.file + ': ' if f.file else ''}{f.text}" for f in findings if f.level == "error"]
        super().__init__(f"{url} is not a feed that can be used: {'; '.join(errors)}")


class ArchiveError(ValueError):
    """The archive is damaged, of another format, or unsafe to unpack."""


@dataclass(frozen=True)
class Unpacked:
    """Content of an archive.

    Attributes:
        files: paths of the unpacked files, by name of the GTFS file.
        unknown: names of members that were left in the archive.
    """

    files: dict[str, Path]
    unknown: list[str]


def unpack(archive: Path, folder: Path, names: Iterable[str], unpacked_max: int = UNPACKED_MAX) -> Unpacked:
    """Unpack the kept files.

    Args:
        archive: path of the .zip file.
        folder: target folder; each file becomes `<name>.txt` in it.
        names: names of the kept files, without `.txt`.
        unpacked_max: most bytes of all members, as declared and as unpacked.

    Raises:
        ArchiveError: it is no zip archive, is truncated or damaged, has a member whose name leaves the folder or that
            is a link, or unpacks to more than the limit.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [info for info in zipped.infolist() if not info.is_dir()]
            _check_members(zipped.infolist(), unpacked_max)
            known = {f"{name}.txt": name for name in names}
            found: dict[str, Path] = {}
            size = 0
            for info in (m for m in members if m.filename in known):
                path = folder / info.filename
                with path.open("wb") as stream:
                    for chunk in _chunks(zipped, info):
                        size += len(chunk)
                        if size > unpacked_max:
                            raise ArchiveError(f"it unpacks to more than {unpacked_max} bytes")
                        stream.write(chunk)
                found[known[info.filename]] = path
            return Unpacked(found, sorted(m.filename for m in members if m.filename not in known))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{_looks_like(archive)} ({error})") from error


def _chunks(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with zipped.open(info) as stream:  # at its end the checksum is compared
        while chunk := stream.read(CHUNK):
            yield chunk


def _check_members(members: list[zipfile.ZipInfo], unpacked_max: int) -> None:
    if len(members) > MEMBERS_MAX:
        raise ArchiveError(f"it has {len(members)} members, more than {MEMBERS_MAX}")
    for info in members:
        if why := _unsafe(info):
            raise ArchiveError(f"its member {info.orig_filename!r} {why}: nothing was unpacked")
    name, times = Counter(info.filename for info in members).most_common(1)[0] if members else ("", 0)
    if times > 1:
        raise ArchiveError(f"its member {name!r} is there {times} times")
    declared = sum(info.file_size for info in members)
    if declared > unpacked_max:
        raise ArchiveError(f"it unpacks to {declared} bytes, more than {unpacked_max}")


def _unsafe(info: zipfile.ZipInfo) -> str | None:
    name = info.orig_filename  # zipfile cuts and replaces in the other one
    kind = stat.S_IFMT(info.external_attr >> 16)
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leaves its folder"
    if not name.isprintable():
        return "has a name that cannot be printed"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    return None


def _looks_like(archive: Path) -> str:
    with archive.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"PK\x03\x04"):
        return "it begins as a zip archive does, but is truncated or damaged"
    return f"it is no zip archive: it begins with {start.decode('utf-8', 'replace')!r}"
