"""The rules that pipeline parameters keep."""

import datetime
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldline import project
from goldline.runs.parameters import ParameterError, check, refreshed


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"run_date": "", "dataset_prefix": "", "bucket": "", "seed": 0, "simulated_size": "none"},
        {"run_date": "2024-02-29", "dataset_prefix": "dev_ana_2", "bucket": "my-lake", "lookback_days": 3},
        {"anything": -1.5, "else": None},  # names and types are the signature's affair
    ],
)
def test_good_values_pass(parameters: dict[str, object]) -> None:
    check(parameters)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("run_date", "2026-02-29", "run_date: expected a date as YYYY-MM-DD, or nothing, got '2026-02-29'"),
        ("run_date", "20261120", "run_date: expected a date as YYYY-MM-DD"),
        ("run_date", "2026-W47-5", "run_date: expected a date as YYYY-MM-DD"),
        ("run_date", "2026-11-20T00:00:00", "run_date: expected a date as YYYY-MM-DD"),
        ("run_date", "2026-11-20\n", "run_date: expected a date as YYYY-MM-DD"),
        ("run_date", "0000-01-01", "run_date: expected a date as YYYY-MM-DD"),
        ("run_date", "yesterday", "run_date: expected a date as YYYY-MM-DD"),
        ("lookback_days", -1, "lookback_days: expected no negative number, got -1"),
        ("dataset_prefix", "Dev_", "dataset_prefix: expected lower-case letters, digits and _, got 'Dev_'"),
        ("dataset_prefix", "dev-", "dataset_prefix: expected lower-case letters"),
        ("dataset_prefix", "_dev", "dataset_prefix: expected lower-case letters"),
        ("dataset_prefix", "1dev", "dataset_prefix: expected lower-case letters"),
        ("dataset_prefix", "dev_\n", "dataset_prefix: expected lower-case letters"),
        ("bucket", "gs://lake", "bucket: expected a name without gs://, got 'gs://lake'"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(name: str, value: object, expected: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check({name: value})
    assert str(caught.value).startswith(expected)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(ParameterError) as caught:
        check({"run_date": "x", "seed": -1, "bucket": "gs://b", "days": 3, "dataset_prefix": "X"})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        *("run_date", "seed", "bucket", "dataset_prefix")
    ]


@given(st.dates())
def test_any_date_passes(date: datetime.date) -> None:
    check({"run_date": date.isoformat()})


@given(st.text(min_size=1))
def test_a_text_passes_as_a_date_only_if_it_is_one(text: str) -> None:
    try:
        is_date = datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        is_date = False
    try:
        check({"run_date": text})
    except ParameterError:
        assert not is_date
    else:
        assert is_date


def test_the_pipelines_defaults_are_good() -> None:
    signature = inspect.signature(project.pipeline().pipeline_func)
    check({name: parameter.default for name, parameter in signature.parameters.items()})


@pytest.mark.parametrize(
    ("names", "expected"),
    [("", ()), (" , ", ()), ("all", ("all",)), ("stg_a, gold.fct_b,", ("stg_a", "gold.fct_b"))],
)
def test_the_tables_that_are_made_anew(names: str, expected: tuple[str, ...]) -> None:
    assert refreshed(names, ["silver.stg_a", "gold.fct_b"]) == expected


@pytest.mark.parametrize("names", ["stg_b", "gold.stg_a", "stg_a, ALL", "stg_a fct_b"])
def test_an_unknown_table_is_named_with_those_that_are_known(names: str) -> None:
    with pytest.raises(ParameterError, match=r"full_refresh: no table .*, expected some of all, .*silver\.stg_a"):
        refreshed(names, ["silver.stg_a", "gold.fct_b"])
