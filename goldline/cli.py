"""Command line. A command's modules are imported when it runs, so `goldline --help` answers at once."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from goldline.spec.compiled import load

if TYPE_CHECKING:
    from goldline.local.laptop_run import How
    from goldline.vertex.cloud_run import CloudRun

TYPES: Mapping[str, Callable[[str], Any]] = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}
FLOW = "run_"  # the parameter run_orders switches the flow orders


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 success, 1 failure, 2 wrong input, 130 interrupted."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)  # stops all that was started, as after Ctrl-C
    from goldline.contracts.loading import ContractError
    from goldline.local.processes import StartError
    from goldline.local.stack import StackError
    from goldline.vertex.errors import CloudError

    try:
        options = _parser().parse_args(arguments)
        code: int = options.command(options)
    except (ValueError, ContractError) as error:
        print(f"goldline: {error}", file=sys.stderr)
        return 2
    except (StackError, StartError, CloudError) as error:
        print(f"goldline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("goldline: interrupted", file=sys.stderr)
        return 130
    return code


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="goldline", description=(__import__("goldline").__doc__))
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run the compiled pipeline on this machine")
    run.add_argument(
        "--select",
        nargs="+",
        action="extend",
        default=[],
        metavar="TASK",
        help="only these: fct_x, with all before (+fct_x) or after it (fct_x+), a flow (@x), what changed (modified+)",
    )
    _add_how(run)
    _add_parameters(run)
    run.set_defaults(command=_run)

    resume = commands.add_parser("resume", help="take up a failed run: the tasks that failed, and all after them")
    resume.add_argument("--run", default="latest", help="folder of the run below .goldline/runs (default: the latest)")
    _add_how(resume)
    resume.set_defaults(command=_resume)

    retry = commands.add_parser("retry", help="run one task of an earlier run again")
    retry.add_argument("task", help="name of the task, such as stg_orders")
    retry.add_argument("--run", default="latest", help="folder of the run below .goldline/runs (default: the latest)")
    retry.set_defaults(command=_retry)

    query = commands.add_parser("query", help="query the local warehouse: goldline query 'select ...'")
    query.add_argument("sql", help="a statement in GoogleSQL")
    query.add_argument("--json", action="store_true", help="print JSON Lines, one row a line")
    query.set_defaults(command=_query)

    test = commands.add_parser("test", help="run the unit tests of the contracts on both engines")
    test.add_argument("table", nargs="?", help="only this table, such as stg_orders")
    test.set_defaults(command=_test)

    _add_cloud_commands(commands)
    _add_cost(commands)
    for name, command, text in (
        ("rotate-key", _rotate_key, "make a new key for pseudonyms; the next export reads everything with it"),
        ("up", _up, "start the local stack and leave it running"),
        ("down", _down, "stop the local stack"),
        ("status", _status, "show whether the local stack runs, and its addresses"),
    ):
        commands.add_parser(name, help=text).set_defaults(command=command)
    return parser


def _add_how(command: argparse.ArgumentParser) -> None:
    command.add_argument("--parallel", type=int, metavar="N", help="tasks at a time, at most (default: the processors)")
    command.add_argument("--isolated", action="store_true", help="a new Python for each task, one at a time")
    command.add_argument(
        "--shuffle", type=int, metavar="SEED", help="start ready tasks in a random order: finds what nobody declared"
    )
    command.add_argument("--json", action="store_true", help="print JSON Lines: events as they come, last the summary")


def _add_cloud_commands(commands: Any) -> None:  # noqa: ANN401, argparse does not name the type
    """The commands for Vertex AI. Each takes an environment of goldline.yaml: none is the default."""
    environment = argparse.ArgumentParser(add_help=False)
    environment.add_argument("--env", required=True, metavar="NAME", help="environment in goldline.yaml")
    image = argparse.ArgumentParser(add_help=False)
    image.add_argument("--image", default="", help="image instead of the environment's, with tag or digest")

    submit = commands.add_parser("submit", parents=[environment, image], help="start a run on Vertex AI")
    submit.add_argument("--wait", action="store_true", help="follow the run to its end")
    submit.add_argument("--job-id", default="", help="id of an earlier submit with no answer: take up its run")
    _add_parameters(submit)
    submit.set_defaults(command=_submit)

    follow = commands.add_parser("follow", parents=[environment], help="follow a run on Vertex AI to its end")
    follow.add_argument("job", metavar="RUN", help="id of the run")
    follow.set_defaults(command=_follow)

    schedule = commands.add_parser(
        "schedule",
        parents=[environment, image],
        help="create, list, pause, resume or replace schedules on Vertex AI; prune deletes those that were replaced",
    )
    schedule.add_argument("verb", choices=("create", "list", "pause", "resume", "replace", "prune"))
    schedule.add_argument("names", nargs="*", metavar="name", help="schedules, such as nightly (default: all)")
    schedule.set_defaults(command=_schedule)

    backfill = commands.add_parser(
        "backfill", parents=[environment, image], help="run each date without a succeeded run, on Vertex AI"
    )
    backfill.add_argument("--from", dest="first", required=True, metavar="DATE", help="first date, YYYY-MM-DD")
    backfill.add_argument("--to", dest="last", required=True, metavar="DATE", help="last date, YYYY-MM-DD")
    backfill.add_argument("--dry-run", action="store_true", help="only show the plan")
    backfill.add_argument("--parallel", type=int, default=1, help="number of runs at a time (default: 1)")
    _add_parameters(backfill, leave_out=("run_date",))
    backfill.set_defaults(command=_backfill)

    doctor = commands.add_parser("doctor", parents=[environment], help="check an environment and show what it lacks")
    doctor.set_defaults(command=_doctor)

    replay = commands.add_parser("replay", parents=[environment], help="run a task of a Vertex AI run on this machine")
    replay.add_argument("job", metavar="RUN", help="id of the run")
    replay.add_argument("task", nargs="?", default="", help="task, such as stg_orders (default: the first failed)")
    replay.set_defaults(command=_replay)


def _add_cost(commands: Any) -> None:  # noqa: ANN401, argparse does not name the type
    cost = commands.add_parser("cost", help="estimate the cost of a month on Google Cloud, from list prices")
    cost.add_argument("--prices", type=Path, help="YAML file of prices that differ from goldline/vertex/prices.yml")
    for name, kind, text in (
        ("documents", int, "documents in the Firestore collection (default: 100000)"),
        ("changed-documents", int, "documents that change per day (default: 5000)"),
        ("scanned-gib", float, "GiB that BigQuery's queries read per night (default: 5)"),
        ("stored-gib", float, "GiB in lake and warehouse (default: 50)"),
        ("start-minutes", float, "minutes until a task's machine works (default: 1.5)"),
        ("work-minutes", float, "minutes that a task works, on average (default: 0.75)"),
    ):
        cost.add_argument(f"--{name}", type=kind, help=text, default=argparse.SUPPRESS)
    cost.set_defaults(command=_cost)


def _add_parameters(run: argparse.ArgumentParser, leave_out: Sequence[str] = ()) -> None:
    """Add an option for each pipeline parameter that the compiled spec declares."""
    declared = _declared()
    flows = [name.removeprefix(FLOW) for name in declared if _is_switch(name, declared)]
    run.add_argument("--flows", help=f"flows to run, separated by commas (default: all: {','.join(flows)})")
    for name, parameter in declared.items():
        if _is_switch(name, declared) or name in leave_out:
            continue
        option = f"--{name.replace('_', '-')}"
        text = parameter.get("description", "").replace("%", "%%")
        if parameter["parameterType"] == "BOOLEAN":
            run.add_argument(option, action=argparse.BooleanOptionalAction, help=text, default=argparse.SUPPRESS)
        else:
            kind = TYPES[parameter["parameterType"]]
            run.add_argument(option, type=kind, help=text, default=argparse.SUPPRESS)


def _declared() -> dict[str, Any]:
    declared: dict[str, Any] = load().get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    return declared


def _is_switch(name: str, declared: Mapping[str, Any]) -> bool:
    return name.startswith(FLOW) and declared[name]["parameterType"] == "BOOLEAN"


def _flow_switches(flows: str | None, declared: Mapping[str, Any]) -> dict[str, bool]:
    known = [name.removeprefix(FLOW) for name in declared if _is_switch(name, declared)]
    if flows is None:
        return {}
    asked = [flow.strip() for flow in flows.split(",") if flow.strip()]
    if unknown := [flow for flow in asked if flow not in known]:
        raise ValueError(f"--flows: no flow {unknown[0]}, expected some of {', '.join(known)}")
    if not asked:
        raise ValueError(f"--flows: expected some of {', '.join(known)}, got nothing")
    return {f"{FLOW}{flow}": flow in asked for flow in known}


def _run(options: argparse.Namespace) -> int:
    from goldline.local.laptop_run import run_here
    from goldline.local.stack import default_home
    from goldline.runs import parameters

    given = _given(options)
    parameters.check(given)
    _check_sources()
    if refreshed := given.get("full_refresh"):
        parameters.refreshed(refreshed, _tables())
    return run_here(given, default_home(), how=_how(options, options.select))


def _resume(options: argparse.Namespace) -> int:
    from goldline.local.laptop_run import resume
    from goldline.local.stack import default_home

    return resume(default_home(), options.run, how=_how(options))


def _how(options: argparse.Namespace, select: Sequence[str] = ()) -> "How":
    from goldline.local.laptop_run import How

    if options.parallel is not None and options.parallel < 1:
        raise ValueError(f"--parallel: expected at least 1, got {options.parallel}")
    return How(options.parallel, options.isolated, select, options.json, options.shuffle)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Pipeline parameters among the options."""
    declared = _declared()
    given = {name: value for name, value in vars(options).items() if name in declared}
    return given | _flow_switches(options.flows, declared)


def _submit(options: argparse.Namespace) -> int:
    from goldline.vertex.cloud_run import submit

    run = submit(options.env, image=options.image, job_id=options.job_id, **_given(options))
    if not options.wait:
        print(f"follow it: goldline follow {run.job_id} --env {options.env}")
        return 0
    return _ended(run)


def _follow(options: argparse.Namespace) -> int:
    from goldline.vertex.commands import run_of

    return _ended(run_of(options.env, options.job))


def _ended(run: "CloudRun") -> int:
    from goldline.vertex.errors import CloudError

    try:
        return 0 if run.wait() == "succeeded" else 1
    except (KeyboardInterrupt, CloudError):
        print(f"the run goes on: goldline follow {run.job_id} --env {run.environment.name}", file=sys.stderr)
        raise


def _schedule(options: argparse.Namespace) -> int:
    from goldline.vertex.commands import schedule

    return schedule(options.env, options.verb, options.names, options.image)


def _backfill(options: argparse.Namespace) -> int:
    from goldline.vertex.commands import backfill

    dates = options.first, options.last
    return backfill(options.env, dates, _given(options), options.image, options.parallel, dry_run=options.dry_run)


def _doctor(options: argparse.Namespace) -> int:
    from goldline.vertex.commands import doctor

    return doctor(options.env)


def _replay(options: argparse.Namespace) -> int:
    from goldline.local.replay import empty_folder, replay
    from goldline.local.stack import default_home
    from goldline.vertex.commands import run_of
    from goldline.vertex.fetched_task import fetch

    folder = empty_folder(default_home(), options.job)
    return replay(default_home(), folder, fetch(run_of(options.env, options.job), options.task, folder))


def _tables() -> list[str]:
    """Names of all tables."""
    from goldline.contracts.loading import load_all
    from goldline.contracts.table_contract import TableContract
    from goldline.project import sql_folder

    return [c.table for c in load_all(sql_folder()).values() if isinstance(c, TableContract)]


def _check_sources() -> None:
    """Refuse a wrong graph, contract or SELECT before any task starts."""
    from goldline.spec.compiled import newer_sources

    if newer_sources():
        from goldline.spec.compiled import compiled

        compiled()


def _retry(options: argparse.Namespace) -> int:
    from goldline.local.laptop_run import retry
    from goldline.local.stack import default_home

    return retry(default_home(), options.task, options.run)


def _query(options: argparse.Namespace) -> int:
    from goldline.local.ask import ask
    from goldline.local.stack import default_home

    return ask(default_home(), options.sql, as_json=options.json)


def _test(options: argparse.Namespace) -> int:
    from goldline.local.contract_tests import run_contract_tests
    from goldline.local.stack import default_home

    return run_contract_tests(default_home(), options.table)


def _cost(options: argparse.Namespace) -> int:
    from goldline.vertex.cost import Load, Prices, machines, report

    given = {name: value for name, value in vars(options).items() if name in Load.__dataclass_fields__}
    if negative := [name for name, value in given.items() if value < 0]:
        raise ValueError(f"--{negative[0].replace('_', '-')}: expected no negative number, got {given[negative[0]]}")
    print("\n".join(report(Prices.load(options.prices), Load(**given), machines(load()))))
    return 0


def _rotate_key(_: argparse.Namespace) -> int:
    from goldline.local.stack import default_home
    from goldline.privacy.pseudonym import make_key_file
    from goldline.privacy.rotate import rotate_key

    # A variable names the cloud's secret or a key file; without one it is the stack's file.
    if {"GOLDLINE_PII_KEY_FILE", "GOLDLINE_PII_SECRET"} & os.environ.keys():
        version = rotate_key()
    else:
        make_key_file(default_home() / "pii.key")
        version = rotate_key(key_file=default_home() / "pii.key")
    print(f"the key for pseudonyms is now version {version}; the next export reads everything and uses it")
    return 0


def _up(_: argparse.Namespace) -> int:
    from goldline.local.stack import default_home, up

    for name, value in up(default_home()).environment.items():
        print(f"export {name}={value}")
    return 0


def _down(_: argparse.Namespace) -> int:
    from goldline.local.stack import default_home, down

    print("the stack is stopped" if down(default_home()) else "no stack was running")
    return 0


def _status(_: argparse.Namespace) -> int:
    from goldline.local.stack import default_home, running

    if (found := running(default_home())) is None:
        print("no stack is running; `goldline up` starts it, `goldline run` brings its own")
        return 1
    print(json.dumps({"home": found.home, "owner": found.owner, **found.environment}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
