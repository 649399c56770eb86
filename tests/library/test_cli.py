"""The command line refuses before it starts anything, and says what it expected."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from goldline import cli, project
from goldline.local import ask
from goldline.local.runner import filled
from goldline.local.stack import Addresses
from goldline.runs import parameters
from goldline.runs.parameters import ParameterError
from goldline.spec import compiled as spec
from goldline.spec.tables import flows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run-date", "2026-02-31"], "run_date: expected a date as YYYY-MM-DD, or nothing, got '2026-02-31'"),
        (["--run-date", "20.11.2026"], "run_date: expected a date"),
        (["--lookback-days=-1"], "lookback_days: expected no negative number, got -1"),
        (["--flows", "sails"], f"--flows: no flow sails, expected some of {', '.join(flows())}"),
        (["--flows", ""], f"--flows: expected some of {', '.join(flows())}"),
        (["--bucket", "gs://lake"], "bucket: expected a name without gs://"),
        (["--dataset-prefix", "My-"], "dataset_prefix: expected lower-case letters"),
        (["--full-refresh", "stg_sails"], "full_refresh: no table stg_sails, expected some of "),
    ],
)
def test_wrong_values_are_refused_before_any_task(
    home: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not home.exists()


def test_options_that_the_pipeline_lacks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "--sede", "7"])
    assert left.value.code == 2
    with pytest.raises(SystemExit):
        cli.main(["run", "--seed", "seven"])
    assert "argument --seed: invalid int value: 'seven'" in capsys.readouterr().err


def test_every_pipeline_parameter_is_an_option_with_its_description() -> None:
    declared = spec.load()["root"]["inputDefinitions"]["parameters"]
    command = [sys.executable, "-m", "goldline.cli", "run", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, parameter in declared.items():
        if not name.startswith("run_") or parameter["parameterType"] != "BOOLEAN":
            assert f"--{name.replace('_', '-')}" in shown
            assert parameter["description"].split()[0] in shown


def test_help_answers_at_once_because_it_imports_little() -> None:
    code = "import sys; from goldline import cli, project; cli._parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"kfp", "pandas", "pyarrow", "google.cloud.bigquery", "pydantic", "sqlglot"} & set(loaded)


def test_a_wrong_contract_is_refused_before_any_task(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong() -> None:
        raise parameters.ParameterError("sql/x.yml: grian: Extra inputs are not permitted")

    monkeypatch.setattr(spec, "newer_sources", lambda: ["sql/x.yml"])
    monkeypatch.setattr(spec, "compiled", wrong)
    assert cli.main(["run"]) == 2
    assert "sql/x.yml: grian" in capsys.readouterr().err
    assert not home.exists()


def test_the_placeholders_that_kfp_lacks_are_filled_in() -> None:
    import datetime

    text = filled(project.pipeline_json().read_text(), datetime.datetime(2026, 11, 21, 2, tzinfo=datetime.UTC))
    assert '"2026-11-21T02:00:00Z"' in text
    assert "create_time_utc}}" not in text
    assert "schedule_time_utc}}" not in text


def test_a_spec_is_compiled_afresh_only_where_its_content_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = tmp_path / "pipeline.json"
    committed.write_text("{}")
    monkeypatch.setattr(project, "pipeline_json", lambda: committed)
    monkeypatch.setattr(spec, "newer_sources", lambda: ["sql/sales/stg_sales.sql"])
    monkeypatch.setattr(spec, "compiled", lambda: ('{"new": 1}', {}))
    assert spec.fresh(sys.stdout) == '{"new": 1}'
    assert "compiled afresh: pipeline.json is older than sql/sales/stg_sales.sql" in capsys.readouterr().out
    monkeypatch.setattr(spec, "compiled", lambda: ("{}", {}))
    before = committed.stat().st_mtime_ns
    time.sleep(0.01)
    assert spec.fresh(sys.stdout) == "{}"
    assert capsys.readouterr().out == ""
    assert committed.stat().st_mtime_ns > before


def test_a_query_is_shown_as_a_table_or_as_json(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "select 1 as n, date '2026-11-20' as d, [struct('x' as s)] as items, cast(null as string) as nothing"
    home = Path(stack.home)
    # The stack's owner is this very process, which the lock does not keep out of its own stack.
    assert ask.ask(home, sql, as_json=True) == 0
    assert capsys.readouterr().out == '{"n": 1, "d": "2026-11-20", "items": [{"s": "x"}], "nothing": null}\n'
    assert ask.ask(home, sql, as_json=False) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["1", "2026-11-20"]
    assert ask.ask(home, "selekt", as_json=True) == 1
    assert "Syntax error" in capsys.readouterr().err


def test_parameters_of_other_kinds_are_left_alone() -> None:
    parameters.check({"run_date": "", "simulated_size": "demo", "seed": 0, "collection": "sales"})
    with pytest.raises(ParameterError, match=r"seed: expected no negative number, got -1\nbucket"):
        parameters.check({"seed": -1, "bucket": "gs://x"})


def test_a_real_firestore_is_only_read(
    home: Path, stack: Addresses, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "FIRESTORE_EMULATOR_HOST" in stack.environment
    monkeypatch.setenv("GOLDLINE_FIRESTORE", "real")
    assert "FIRESTORE_EMULATOR_HOST" not in stack.environment
    assert stack.environment["BIGQUERY_EMULATOR_HOST"].startswith("http://127.0.0.1")
    assert cli.main(["run", "--run-date", "2026-11-20"]) == 2
    assert "GOLDLINE_FIRESTORE=real only reads: add --simulated-size none" in capsys.readouterr().err
    assert not (home / "runs").exists()
