"""Files of JSON Lines that others wrote: read whatever state they are in, treated, and landed as one attempt."""

import gzip
import io
import json
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery
from hypothesis import given
from hypothesis import strategies as st

from goldline.contracts.loading import parse
from goldline.contracts.source_contract import SourceContract
from goldline.lake import Lake
from goldline.landing.json_lines import Lines
from goldline.landing.views import ensure_source
from goldline.privacy.masks import LINE_MAX, Treatment, masked
from goldline.privacy.pseudonym import Key
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.ops import Commit
from goldline.runs.records import Record
from goldline.stages.land_files import Landed, Landing, LandingError, land_files
from goldline.warehouse.schema import ensure_plain

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)
KEY = Key("1", b"k" * 32)
FLOW = "test"
NewRun = Callable[..., RunContext]


def column(name: str, pii: str = "none", kind: str = "STRING", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "pii": pii, "description": "A column.", **more}


def contract_of(*columns: dict[str, Any], name: str = "clicks") -> SourceContract:
    content = {"source": f"bronze.ext_{name}", "description": "Clicks.", "grain": "A line.", "format": "jsonl"}
    found = parse(
        {**content, "incoming": f"incoming/{name}", "key": "id", "columns": [column("id"), *columns]}, "a test"
    )
    assert isinstance(found, SourceContract)
    return found


CONTRACT = contract_of(
    column("ip", "hmac"),
    column("tags", "hmac", mode="REPEATED"),
    column("who", kind="STRUCT", fields=[column("phone", "last4"), column("name", "drop"), column("town")]),
)


def treated(line: str | bytes, contract: SourceContract = CONTRACT) -> str:
    treatment = Treatment(contract, KEY)
    [kept] = treatment.lines([line.encode() if isinstance(line, str) else line])
    return kept.decode()


# Reading


def read(content: bytes) -> tuple[list[bytes], Lines]:
    lines = Lines(io.BytesIO(content))
    return [line for batch in lines for line in batch], lines


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda b: gzip.compress(b[:5]) + gzip.compress(b[5:]) + b"\0\0"]
)
def test_a_file_is_read_line_by_line_packed_or_not(pack: Callable[[bytes], bytes]) -> None:
    found, lines = read(pack(b"\xef\xbb\xbf{}\n\n[1]\nlast"))
    assert (found, lines.damage) == ([b"{}", b"", b"[1]", b"last"], "")
    assert read(b"")[0] == []


def test_a_truncated_file_gives_its_whole_lines() -> None:
    content = b"".join(b'{"id": %d}\n' % n for n in range(50_000))
    packed = gzip.compress(content)
    found, lines = read(packed[: len(packed) // 2])
    assert content.startswith(b"\n".join(found) + b"\n")
    assert 1000 < len(found) < 50_000
    assert (lines.damage, lines.cut > 0) == ("it ends in mid-stream", True)


def test_a_damaged_file_gives_what_can_be_read_before_the_damage() -> None:
    content = "".join(f'{{"id": "{uuid.UUID(int=n * 12345678901234567890)}"}}\n' for n in range(5000)).encode()
    packed = bytearray(gzip.compress(content))
    packed[-8:-4] = b"\0\0\0\0"  # the checksum
    found, lines = read(bytes(packed))
    assert len(found) == 5000
    assert "incorrect data check" in lines.damage


def test_an_over_long_line_is_cut_and_the_next_ones_are_read() -> None:
    found, _ = read(b"a\n" + b"x" * (3 * LINE_MAX) + b"\nb\n")
    assert [len(line) for line in found] == [1, LINE_MAX + 1, 1]


# Treating


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_line_without_anything_personal_stays_as_it_is(value: Any) -> None:
    line = json.dumps({"id": "a", "other": value}, ensure_ascii=False)
    if "@" not in line and "%" not in line:
        assert treated(line) == line


def test_the_rest_of_a_treated_line_stays_as_it_came() -> None:
    ip = KEY.pseudonym("1.2.3.4")
    assert treated('{"z" :1.10,  "ip": "1.2.3.4","a":1E5}') == f'{{"z" :1.10,  "ip": "{ip}","a":1E5}}'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            '{"who":{"phone":"0123456789","name":"Jane","town":"Oslo"}}',
            '{"who":{"phone":"6789","name":null,"town":"Oslo"}}',
        ),
        ('{"who":{"phone":1234567,"name":{"first":["Jane"]}}}', '{"who":{"phone":"4567","name":null}}'),
        ('{"who":{"town":"phone","phone":"0123456789"}}', '{"who":{"town":"phone","phone":"6789"}}'),
        ('{"who":[{"phone":"0123456789"}],"x":{"phone":"1"}}', '{"who":[{"phone":"6789"}],"x":{"phone":"1"}}'),
        ('{"who":{"town":"Oslo"},"x":{"phone":"1"}}', '{"who":{"town":"Oslo"},"x":{"phone":"1"}}'),
        ('{"tags":["a",null]}', f'{{"tags":["{KEY.pseudonym("a")}",null]}}'),
        ('{"ip":{"v4":"1.2.3.4"}}', '{"ip":null}'),
        ('{"\\u0069p":"1.2.3.4","ip":"5"}', f'{{"\\u0069p":"{KEY.pseudonym("1.2.3.4")}","ip":"{KEY.pseudonym("5")}"}}'),
        ('{"x":"ip","who":{"ip":"a town"}}', '{"x":"ip","who":{"ip":"a town"}}'),
        ('{"q":"?e=jane%40mail.example&x=1"}', '{"q":"?e=***&x=1"}'),
        ('{"q":["to j\\u00f6rg\\u0040mail.example!"]}', '{"q":["to ***!"]}'),
        ('{"jane@mail.example":1}', '{"***":1}'),
    ],
)
def test_personal_values_are_treated_wherever_they_stand(given: str, expected: str) -> None:
    assert treated(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b'{"id":"a","ip":"1.2.3', '{"id":"a","ip":***'),
        (b'{"ip":1.2.3.4}', '{"ip":***}'),
        (b'{"who":{"name":{"first":"Ja', '{"who":{"name":***'),
        (b'{"q":"mail jane@mail.exa', '{"q":"mail ***'),
        (b'{"q":"a\x01b\x7f"', '{"q":"a\\x01b\\x7f"'),
        (b'\xff{"ip":"1.2.3.4"}', '(not UTF-8) \\xff{"ip":***}'),
        (b'{"id":NaN}', '{"id":NaN}'),
        (b'["jane@mail.example"]', '["***"]'),
    ],
)
def test_what_is_malformed_loses_what_is_personal_and_stays_malformed(given: bytes, expected: str) -> None:
    assert treated(given) == expected


def test_an_over_long_line_is_kept_in_short() -> None:
    kept = treated(b'{"ip":"1.2.3.4","text":"' + b"x" * LINE_MAX + b'"}')
    assert kept.startswith('(over-long) {"ip":***,"text":"xxx')
    assert len(kept) < 10_000


def test_blank_lines_are_left_out_and_returns_are_no_part_of_a_line() -> None:
    treatment = Treatment(CONTRACT, KEY)
    assert treatment.lines([b"", b" \t", b'{"id":"a"}\r', b'{"id":\r"b"}']) == [b'{"id":"a"}', b'{"id": "b"}']
    assert treatment.found["blank"] == 2


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["@", "%40", "%2540"]), st.text())
def test_no_email_address_is_left_in_any_text(before: str, at: str, after: str) -> None:
    assert f"jane.doe{at}mail.example" not in masked(f"{before} jane.doe{at}mail.example {after}")


def test_masking_takes_no_time_that_grows_with_the_square_of_a_text() -> None:
    assert masked("a" * 500_000 + "@") == "a" * 500_000 + "@"
    assert masked("a." * 200_000 + "b@" + "c." * 100_000) is not None


# Landing


class Place:
    """A source of the test's own: its incoming folder, and what was landed of it."""

    def __init__(self, client: bigquery.Client, new_run: NewRun) -> None:
        self.client = client
        self.run = new_run()
        self.new_run = new_run
        self.contract = contract_of(column("ip", "hmac"), name=f"t{uuid.uuid4().hex[:8]}")
        self.lake = Lake(self.run.project, self.run.bucket)
        ensure_plain(client, "ops.commits", Commit.columns(), self.run)
        ensure_source(client, self.lake, self.contract, self.run)

    def bring(self, name: str, content: bytes | str, day: date = DAY) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.lake.write_bytes(f"{self.contract.incoming}/run_date={day}/{name}", data)

    def land(self, day: date = DAY, since: date = EPOCH) -> Landed:
        run = self.new_run(day).model_copy(update={"since": {FLOW: since}})
        return land_files(run, FLOW, self.contract.model_dump_json())

    def rows(self) -> list[tuple[str, str, date]]:
        sql = f"select line, _file, run_date from `{self.run.table(self.contract.view)}` order by run_date, _file, line"
        return [(r.line, Path(r._file).name, r.run_date) for r in self.client.query_and_wait(sql)]

    def checks(self, name: str) -> list[tuple[str | None, int]]:
        """Detail and failures of a check in the records of all that was landed."""
        texts = [
            self.lake.read_text(path) for path in self.lake.list("ops/runs") if f"land_{self.contract.name}" in path
        ]
        found = [check for text in texts for check in Record.model_validate_json(text).checks]
        return [(check.detail, check.failing) for check in found if check.name == name]

    def commits(self) -> int:
        sql = f"select count(*) as n from `{self.run.table('ops.commits')}` where source = '{self.contract.source}'"
        [row] = self.client.query_and_wait(sql)
        return int(row.n)


@pytest.fixture
def place(client: bigquery.Client, new_run: NewRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    secret = tmp_path / "pii.key"
    secret.write_text(f"1\n{KEY.secret.hex()}\n")
    secret.chmod(0o600)
    monkeypatch.setenv("GOLDLINE_PII_KEY_FILE", str(secret))
    return Place(client, new_run)


def test_what_arrived_is_landed_once_and_read_line_by_line(place: Place) -> None:
    ip = KEY.pseudonym("1.2.3.4")
    whole = gzip.compress(b'{"id":"c", "ip":"1.2.3.4"}\n\n{"id":"d", "q":"1,2;\\"3\\"\t"}\n' + b'{"id":"e"}\n' * 2)
    place.bring("a.jsonl", '{"id":"a","ip":"1.2.3.4"}\n{"id":"b","ip":"1.2.')
    place.bring("hour=7/a.jsonl.gz", whole)
    place.bring("again.jsonl.gz", whole)
    place.bring("broken.json.gz", gzip.compress(b'{"id":"f"}\n{"id":"g"}\n', mtime=0)[:-12])
    place.bring("_SUCCESS", "")
    place.bring("empty.jsonl", "")
    place.bring("odd.ndjson", b"\xff\xfe\x00\n" + b"x" * (LINE_MAX + 1))
    place.bring("later.jsonl", '{"id":"later"}\n', DAY + timedelta(days=1))
    place.lake.write_text(f"{place.contract.incoming}/run_date=soon/a.jsonl", "{}")
    landed = place.land()
    rows = place.rows()
    assert [(line, name) for line, name, _ in rows if name not in {"odd.jsonl.gz", "broken.jsonl.gz"}] == [
        (f'{{"id":"a","ip":"{ip}"}}', "a.jsonl.gz"),
        ('{"id":"b","ip":***', "a.jsonl.gz"),
        (f'{{"id":"c", "ip":"{ip}"}}', "again.jsonl.gz"),
        ('{"id":"d", "q":"1,2;\\"3\\"\t"}', "again.jsonl.gz"),
        ('{"id":"e"}', "again.jsonl.gz"),
        ('{"id":"e"}', "again.jsonl.gz"),
    ]
    assert [line[:13] for line, name, _ in rows if name == "odd.jsonl.gz"] == ["(not UTF-8) \\", "(over-long) x"]
    assert (landed.dates, landed.files, landed.rows) == (1, 5, len(rows))
    assert (landed.found["identical_files"], landed.found["other_files"]) == (1, 1)
    assert [uri.rsplit("/", 1)[1] for uri in landed.damaged] == ["broken.json.gz"]
    assert place.checks("files_are_whole") == [(uri, 1) for uri in landed.damaged]
    assert place.checks("files_come_once") == [(None, 1)]


def test_a_date_is_landed_again_only_when_something_has_changed(place: Place) -> None:
    place.bring("a.jsonl", '{"id":"a"}\n')
    place.bring("b.jsonl", '{"id":"b"}\n', DAY - timedelta(days=1))
    first, rows = place.land(), place.rows()
    assert (first.dates, first.unchanged, first.rows, place.commits()) == (2, 0, 2, 2)
    assert place.checks("files_are_whole") == [(None, 0)]
    again = place.land()
    assert (again.dates, again.unchanged, again.rows, place.rows(), place.commits()) == (2, 2, 2, rows, 2)
    place.bring("c.jsonl", '{"id":"c"}\n')
    more = place.land()
    assert (more.unchanged, more.rows, place.commits()) == (1, 3, 3)
    assert [line for line, *_ in place.rows()] == ['{"id":"b"}', '{"id":"a"}', '{"id":"c"}']
    only = place.land(since=DAY)  # the days before are none of its business
    assert (only.dates, only.unchanged, only.rows) == (1, 1, 2)


def test_no_file_and_no_folder_are_fine(place: Place) -> None:
    assert (place.land().rows, place.rows(), place.commits()) == (0, [], 0)
    place.bring("a.jsonl", "\n\n")
    assert (place.land().found["blank"], place.rows(), place.commits()) == (2, [], 1)


def test_a_file_that_changes_while_it_is_read_is_not_landed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.bring("a.jsonl", '{"id":"a"}\n')
    arrived = Landing._arrived

    def then_changed(self: Landing, since: date) -> Any:
        found = arrived(self, since)
        place.bring("a.jsonl", '{"id":"b"}\n')
        return found

    monkeypatch.setattr(Landing, "_arrived", then_changed)
    with pytest.raises(LandingError, match=r"a\.jsonl changed while it was read; nothing was committed"):
        place.land()
    assert place.commits() == 0


def test_another_key_of_the_same_version_lands_nothing(place: Place, tmp_path: Path) -> None:
    place.bring("a.jsonl", '{"id":"a","ip":"1.2.3.4"}\n')
    place.land()
    (tmp_path / "pii.key").write_text(f"1\n{'ab' * 32}\n")
    with pytest.raises(
        LandingError, match="key version 1; expected that key or its successor, got another of version 1"
    ):
        place.land()
    (tmp_path / "pii.key").write_text(f"2\n{'ab' * 32}\n1\n{KEY.secret.hex()}\n")
    place.land()
    assert [line for line, *_ in place.rows()] == [
        f'{{"id":"a","ip":"{Key("2", bytes.fromhex("ab" * 32)).pseudonym("1.2.3.4")}"}}'
    ]
