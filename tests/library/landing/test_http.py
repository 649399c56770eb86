"""Files come whole or not at all, whatever the server does: a real one, with faults."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from goldline.lake import Lake
from goldline.landing.http import DownloadLimits, Fetcher, FetchError, MissingError
from goldline.runs.context import RunContext
from tests.support.web_site import Answer, Site, serving

BODY = b"0123456789" * 5000
GOOD = Answer(BODY)
HASTY = DownloadLimits(tries=3, pause=0.01, pause_max=0.3, size_max=1 << 20)
QUIET, SLOW = replace(HASTY, silence=0.3), replace(HASTY, whole=0.5)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "file"


def fetch(url: str, to: Path, etag: str = "") -> object:
    return Fetcher("project", HASTY).fetch(url, to, etag)


@pytest.mark.parametrize(
    ("patience", "faults"),
    [
        (HASTY, [Answer(status=500), Answer(status=500)]),
        (HASTY, [Answer(status=429), Answer(status=503, headers={"Retry-After": "soon"})]),
        (HASTY, [Answer(BODY, cut=20_000)]),
        (HASTY, [Answer(BODY, cut=0)]),
        (QUIET, [Answer(BODY, cut=30_000, stall=True)]),
        (SLOW, [Answer(b"x" * 1000, cut=1, drip=True)]),
    ],
    ids=["500 twice", "429 and 503", "cut off", "cut off at once", "stalls", "drips"],
)
def test_what_may_pass_is_tried_again(site: Site, to: Path, patience: DownloadLimits, faults: list[Answer]) -> None:
    fetched = Fetcher("project", patience).fetch(site.put("/a", *faults, GOOD), to)
    assert fetched
    assert (fetched.sha256, fetched.bytes) == (hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert to.read_bytes() == BODY
    assert site.times("/a") == len(faults) + 1


@pytest.mark.parametrize("asked", [None, "1"], ids=["a date", "seconds"])
def test_the_server_says_how_long_to_wait(site: Site, to: Path, asked: str | None) -> None:
    later = asked or format_datetime(datetime.now(UTC) + timedelta(seconds=5), usegmt=True)
    url = site.put("/a", Answer(status=503, headers={"Retry-After": later}), GOOD)
    begun = time.monotonic()
    assert fetch(url, to)
    assert time.monotonic() - begun > HASTY.pause_max - 0.01  # and no longer than our own limit


def test_redirects_are_followed_but_not_for_ever(site: Site, to: Path) -> None:
    site.put("/whole", GOOD)
    moved = site.put("/moved", Answer(status=302, headers={"Location": "/again"}))
    site.put("/again", Answer(status=301, headers={"Location": site.url + "/whole"}))
    assert fetch(moved, to)
    assert to.read_bytes() == BODY

    loop = site.put("/loop", Answer(status=302, headers={"Location": "/loop"}))
    with pytest.raises(FetchError, match=r"/loop: TooManyRedirects: Exceeded 5 redirects"):
        fetch(loop, to)


def test_a_file_that_is_not_there_is_told_apart(site: Site, to: Path) -> None:
    with pytest.raises(MissingError, match="/none: the server answered 404 Not Found"):
        fetch(site.url + "/none", to)
    assert site.times("/none") == 1
    with pytest.raises(FetchError, match="/secret: the server answered 403 Forbidden") as caught:
        fetch(site.put("/secret", Answer(status=403)), to)
    assert not isinstance(caught.value, MissingError)


def test_tries_come_to_an_end(site: Site, to: Path) -> None:
    url = site.put("/a", Answer(status=502))
    with pytest.raises(FetchError, match="/a: the server answered 502 Bad Gateway, in each of 3 tries"):
        fetch(url, to)
    assert site.times("/a") == 3
    with pytest.raises(FetchError, match=r"ConnectionError: .* in each of 3 tries"):
        fetch("http://127.0.0.1:1/a", to)


def test_a_file_without_end_is_refused(site: Site, to: Path) -> None:
    with pytest.raises(FetchError, match="larger than 1048576 bytes"):
        fetch(site.put("/a", Answer(b"0" * (2 << 20))), to)


def test_an_unchanged_version_is_not_fetched_again(site: Site, to: Path) -> None:
    url = site.put("/a", Answer(BODY, headers={"ETag": '"v1"'}))
    first = Fetcher("project", HASTY).fetch(url, to)
    assert first
    assert fetch(url, to, first.etag) is None
    site.put("/a", Answer(b"new", headers={"ETag": '"v2"'}))
    assert fetch(url, to, first.etag)
    assert to.read_bytes() == b"new"


def test_from_cloud_storage(new_lake: Callable[..., RunContext], to: Path) -> None:
    run = new_lake()
    lake = Lake(run.project, run.bucket)
    lake.write_bytes("folder/a", BODY)
    fetcher = Fetcher(run.project, HASTY)
    first = fetcher.fetch(lake.uri("folder/a"), to)
    assert first
    assert (to.read_bytes(), first.sha256) == (BODY, hashlib.sha256(BODY).hexdigest())
    assert fetcher.fetch(lake.uri("folder/a"), to, first.etag) is None
    lake.write_bytes("folder/a", b"new")
    assert fetcher.fetch(lake.uri("folder/a"), to, first.etag)
    assert to.read_bytes() == b"new"
    with pytest.raises(MissingError, match="/folder/b: there is no such object"):
        fetcher.fetch(lake.uri("folder/b"), to)
    lake.write_bytes("folder/a", b"0" * (2 << 20))
    with pytest.raises(FetchError, match="larger than"):
        fetcher.fetch(lake.uri("folder/a"), to)
