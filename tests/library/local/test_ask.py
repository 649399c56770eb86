"""What a notebook asks the local warehouse."""

import datetime
import os
from pathlib import Path

import pytest
from google.api_core.exceptions import BadRequest

from goldline.local.ask import frame
from goldline.local.stack import Addresses

ROWS = """
select 1 as n, 0.5 as share, "é" as name, date "2026-11-20" as day, timestamp "2026-11-20 02:00:00+00" as at,
  cast(null as string) as nothing
"""


def test_a_frame_has_the_rows_with_their_types(stack: Addresses) -> None:
    found = frame(Path(stack.home), ROWS)
    assert found.pop("nothing").isna().all()
    [row] = found.to_dict(orient="records")
    moment = datetime.datetime(2026, 11, 20, 2, tzinfo=datetime.UTC)
    assert row == {"n": 1, "share": 0.5, "name": "é", "day": moment.date(), "at": moment}
    assert str(found["n"].dtype) == "int64"
    assert str(found["at"].dtype) == "datetime64[us, UTC]"


def test_a_frame_without_rows_has_its_columns(stack: Addresses) -> None:
    found = frame(Path(stack.home), f"select * from ({ROWS}) where n > 1")
    assert (len(found), list(found.columns)) == (0, ["n", "share", "name", "day", "at", "nothing"])


def test_a_statement_that_is_refused_says_why(stack: Addresses) -> None:
    with pytest.raises(BadRequest, match="nowhere"):
        frame(Path(stack.home), "select nowhere from (select 1 as n)")


def test_whoever_asks_another_stack_stays_with_their_own(stack: Addresses, tmp_path: Path) -> None:
    before = dict(os.environ)
    assert frame(tmp_path, "select 1 as n")["n"].to_list() == [1]  # a stack of its own, that ends with the answer
    assert dict(os.environ) == before
    assert frame(Path(stack.home), "select 2 as n")["n"].to_list() == [2]
