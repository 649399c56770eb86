"""`goldline run`: run the compiled spec on this machine, with progress, a summary and the logs of failed tasks."""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from goldline.local import processes, run_progress, servers, stack
from goldline.local.runner_process import RunnerProcess, runner_process
from goldline.local.selection import OUTPUT, Plan, Tasks, earlier_results, results_of
from goldline.local.servers import PROJECT
from goldline.runs.context import EVERYTHING, NOT_SIMULATED, RETRY
from goldline.runs.pace import Amount
from goldline.runs.parameters import listed
from goldline.spec import compiled as spec
from goldline.spec.check.given import declared_in

KFP_SAYS = ("Looking for component", "Loading KFP component", "Got executor_input", "Wrote executor output")
LATEST = "latest"  # in the folder of runs: a link to the one that started last
LAST_LINES = 15  # lines of a failed task's log that are shown
# Values on this machine of parameters whose defaults leave them to the environment.
LOCAL = {"project": PROJECT, "bucket": stack.BUCKET, "simulated_size": "demo"}


@dataclass
class Outcome:
    """Result of a run, as the process that started it sees it.

    Attributes:
        unmet: tasks that were selected and did not run, since a condition does not hold.
        error: failure outside the tasks: a server that died, a runner that crashed.
        verdict: kfp's own error message for a failed run.
    """

    run_id: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unmet: list[str] = field(default_factory=list)
    error: str | None = None
    verdict: str | None = None

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Tasks that failed."""
        return [t for t in self.tasks if t["status"] == "failed"]


@dataclass(frozen=True)
class How:
    """How a run executes its tasks.

    Attributes:
        parallel: tasks at a time, at most; None: as many as there are processors, one if they are isolated.
        is_isolated: whether each task is a new Python instead of a fork of a warm process.
        select: words that select the tasks, as goldline.local.selection says; none: all.
        as_json: whether events and, last, the summary are shown as JSON Lines, and nothing else.
        shuffle: seed of a random order of tasks that are ready; None: those first that most wait for.
    """

    parallel: int | None = None
    is_isolated: bool = False
    select: Sequence[str] = ()
    as_json: bool = False
    shuffle: int | None = None

    @property
    def options(self) -> list[str]:
        """Options of the runner's command line."""
        count = self.parallel or (1 if self.is_isolated else os.cpu_count() or 1)
        shuffle = [] if self.shuffle is None else ["--shuffle", str(self.shuffle)]
        return ["--parallel", str(count), *(["--isolated"] if self.is_isolated else []), *shuffle]


AS_USUAL = How()


def run_here(parameters: Mapping[str, Any], home: Path, out: TextIO | None = None, how: How = AS_USUAL) -> int:
    """Run the pipeline on the local stack, keep and print its summary; return 1 if it failed, else 0.

    Raises:
        ValueError: the run would write into a real Firestore, or a word of `select` names nothing.
    """
    out = out or sys.stdout
    text = spec.fresh(sys.stderr if how.as_json else out)
    declared = declared_in(json.loads(text))
    arguments = {name: value for name, value in LOCAL.items() if name in declared} | dict(parameters)
    if stack.reads_real_firestore() and arguments.get("simulated_size", NOT_SIMULATED) != NOT_SIMULATED:
        raise ValueError(
            "GOLDLINE_FIRESTORE=real only reads: add --simulated-size none, or the simulators would write into it"
        )
    plan = _selected(json.loads(text), how.select, home, arguments) if how.select else None
    if plan and not plan.components:
        nothing: dict[str, Any] = {
            "event": "summary",
            "status": "succeeded",
            "tasks": [],
            "tables": [],
            "models": [],
            "error": None,
        }
        out.write(json.dumps(nothing) + "\n" if how.as_json else "nothing is selected\n")
        return 0
    folder = _new_folder(home)
    with _locked(folder):
        (folder / "pipeline.json").write_text(text, encoding="utf-8")
        (folder / "arguments.json").write_text(json.dumps(arguments, indent=1), encoding="utf-8")
        return _run(home, folder, plan, plan.marks if plan else {}, how, out)


def resume(home: Path, run: str = LATEST, out: TextIO | None = None, how: How = AS_USUAL) -> int:
    """Take up a failed run: the tasks that failed or have changed since, and all after them; exit code 0 or 1.

    The spec is the project's as it is now, so that a SELECT that was mended counts; the parameters are the run's.

    Args:
        home: folder of the stack.
        run: name of the run's folder in `home`/runs.
        out: stream for progress and summary; None: standard output.
        how: how tasks are executed; `select` is not used.

    Raises:
        ValueError: there is no such run, or all its tasks succeeded.
    """
    out = out or sys.stdout
    folder = _folder_of(home, run)
    with _locked(folder):
        summary = folder / "summary.json"
        if summary.exists() and json.loads(summary.read_text(encoding="utf-8"))["status"] == "succeeded":
            raise ValueError(f"the run {folder.name} succeeded: there is nothing to resume")
        text = spec.fresh(sys.stderr if how.as_json else out)
        tasks, done, before = Tasks.of(json.loads(text)), results_of(folder), Plan.of(folder)
        again = tasks.unfinished(done, before.wanted)
        for name in again & done.keys():
            (done[name].folder / OUTPUT).unlink()
        (folder / "pipeline.json").write_text(text, encoding="utf-8")
        plan = tasks.plan(again, before.earlier | done, before.wanted)
        marks = {RETRY: datetime.now(UTC).isoformat()} | (plan.marks if before.wanted else {})
        return _run(home, folder, plan, marks, how, out)


def _folder_of(home: Path, run: str) -> Path:
    folder = (home / "runs" / run).resolve()
    if not (folder / "arguments.json").exists():
        raise ValueError(
            f"nothing has run in {home} yet" if run == LATEST else f"there is no run {run} in {home / 'runs'}"
        )
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder; the kernel lets it go when this process ends."""
    with (folder / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"the run {folder.name} is still running") from None
        yield


def _selected(content: Mapping[str, Any], words: Sequence[str], home: Path, arguments: Mapping[str, Any]) -> Plan:
    tasks = Tasks.of(content)
    earlier = earlier_results(home / "runs", arguments)
    defaults = {name: each.get("defaultValue") for name, each in declared_in(content).items()}
    runs = {**defaults, **arguments}
    flows = {str(flow) for flow in tasks.flow.values() if flow and runs.get(f"run_{flow}", True)}
    chosen = tasks.selected(words, earlier, flows)
    for table in listed(arguments.get("full_refresh", "")):
        if table != EVERYTHING and table.rpartition(".")[2].replace("_", "-") not in chosen:
            raise ValueError(f"--full-refresh {table}: it is not among what --select names")
    return tasks.plan(chosen | tasks.always if chosen else chosen, earlier, chosen)


def _run(home: Path, folder: Path, plan: Plan | None, marks: Mapping[str, str], how: How, out: TextIO) -> int:
    if plan:
        plan.keep(folder)
    arguments = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
    start = time.monotonic()
    _point_to(folder)
    try:
        # It imports while the stack starts.
        with runner_process(home, folder, how.options) as process, stack.using(home) as use:
            with run_progress.displayed(out, as_json=how.as_json) as show:
                outcome = _follow(process, folder, use, show, marks)
            _judge_selection(plan, outcome)
            summary = _summary(use.addresses, outcome, round(time.monotonic() - start, 1), str(arguments["bucket"]))
    except (KeyboardInterrupt, SystemExit):
        print(f"goldline: go on from there with: goldline resume --run {shlex.quote(folder.name)}", file=sys.stderr)
        raise
    (folder / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    if how.as_json:
        out.write(json.dumps({"event": "summary", **summary}) + "\n")
    else:
        _show(summary, outcome, folder, out)
    return 0 if summary["status"] == "succeeded" else 1


def retry(home: Path, task: str, run: str = LATEST) -> int:
    """Run one task of an earlier run again, with the inputs that it had; returns its exit code.

    Args:
        home: folder of the stack.
        task: name of the task, as the run showed it.
        run: name of the run's folder in `home`/runs.

    Raises:
        ValueError: the run has no such task.
    """
    folder, name = _folder_of(home, run), task.rpartition(".")[2].replace("-", "_")
    if not (found := sorted((folder / "tasks").glob(f"*-{name}"))):
        known = dict.fromkeys(p.name.split("-", 1)[1] for p in sorted((folder / "tasks").glob("*")))
        raise ValueError(f"the run {folder.name} ran no task {task}, only {', '.join(known) or 'none'}")
    content = json.loads((found[-1] / "command.json").read_text(encoding="utf-8"))
    with stack.using(home) as use:
        environment = {**os.environ, **use.environment, **content["environment"]}
        environment[RETRY] = datetime.now(UTC).isoformat()
        environment["TMPDIR"] = str(found[-1] / "tmp")
        (found[-1] / "tmp").mkdir(exist_ok=True)
        log = found[-1] / f"retry-{datetime.now(UTC):%H%M%S}.txt"
        with log.open("wb") as file:
            done = subprocess.run(
                content["command"], env=environment, check=False, stdout=file, stderr=subprocess.STDOUT
            )
    if not done.returncode:
        shutil.rmtree(found[-1] / "tmp")
    print("\n".join(_own_lines(log)))
    print(f"{name} {'failed' if done.returncode else 'succeeded'}, {os.path.relpath(log)}")
    return done.returncode


def _follow(
    process: RunnerProcess, folder: Path, use: stack.Use, show: run_progress.Show, marks: Mapping[str, str]
) -> Outcome:
    """Let the runner begin, and follow it to its end."""
    outcome, logs = Outcome(), run_progress.Logs()

    def meanwhile() -> None:
        _abort_if_dead(use, process, outcome)
        for news in logs.news():
            show(news)

    process.order(begin={**use.environment, **marks})
    for event in process.events(meanwhile):
        for news in logs.news():  # the last of a task that ended, too
            show(news)
        logs.note(event)
        _note(event, outcome, show)
        if event.get("status") == "failed":
            _revive_dead(use, outcome)
            process.order(go_on=True)
    code = process.wait()
    outcome.run_id = next((p.name for p in sorted((folder / "artifacts").glob("*"))), folder.name)
    if code and not outcome.failed and not outcome.verdict:
        outcome.error = f"the runner ended with {code}:\n{processes.last_lines(folder / 'runner.log')}"
    return outcome


def _abort_if_dead(use: stack.Use, process: RunnerProcess, outcome: Outcome) -> None:
    """End the running tasks if a server died, and name the server; they would retry for minutes."""
    if _dead(use, outcome):
        process.order(abort=str(outcome.error))


def _revive_dead(use: stack.Use, outcome: Outcome) -> None:
    """Restart servers that died, so that finish_run can record the run."""
    if _dead(use, outcome):
        use.revive()


def _dead(use: stack.Use, outcome: Outcome) -> list[str]:
    if dead := use.dead():
        logs = ", ".join(os.path.relpath(use.home / "logs" / f"{name}.log") for name in dead)
        outcome.error = f"the local stack's server died in mid-run: {', '.join(dead)} (its log: {logs})"
    return dead


def _note(event: run_progress.Event, outcome: Outcome, show: run_progress.Show) -> None:
    match event["event"]:
        case "skipped":
            outcome.skipped.append(event["task"])
        case "failed":
            outcome.verdict = event["error"]
            return
        case "ended":
            outcome.tasks.append(event)
    show(event)


def _summary(addresses: stack.Addresses, outcome: Outcome, seconds: float, bucket: str) -> dict[str, Any]:
    """Summary written by finish_run, with status, seconds and tasks as seen here; only the latter if there is none."""
    summary = _from_lake(addresses, outcome.run_id, bucket)
    failed = bool(outcome.failed or outcome.error or outcome.verdict)
    inner = {t["name"]: t for t in summary.get("tasks", [])}
    tasks = [
        {**inner.get(t["task"], {"name": t["task"], "flow": ""}), "status": t["status"], "seconds": t["seconds"]}
        for t in outcome.tasks
    ]
    missing: dict[str, Any] = {"run_date": None, "tables": [], "models": []}
    status = "failed" if failed or summary.get("status") != "succeeded" else "succeeded"
    error = None if status == "succeeded" else outcome.error or summary.get("error") or outcome.verdict
    outside = {"status": status, "run_id": outcome.run_id, "seconds": seconds, "tasks": tasks, "error": error}
    return {**missing, **summary, **outside}


def _from_lake(addresses: stack.Addresses, run_id: str, bucket: str) -> dict[str, Any]:
    try:
        text = servers.read_object(addresses.storage, bucket, f"ops/runs/{run_id}/summary.json")
    except OSError:  # the lake may be what failed
        return {}
    content: dict[str, Any] = json.loads(text) if text else {}
    return content


def _point_to(folder: Path) -> None:
    """Make `latest` name a run that starts, so that one that is killed can be taken up."""
    fresh = folder.parent / f"{LATEST}.{os.getpid()}"
    fresh.symlink_to(folder.name)
    fresh.replace(folder.parent / LATEST)


def _judge_selection(plan: Plan | None, outcome: Outcome) -> None:
    """Note selected tasks that did not run: a condition does not hold, or what they read is not there."""
    if plan is None:
        return
    ended = {t["task"] for t in outcome.tasks} | set(outcome.skipped)
    outcome.unmet = [n for name in plan.wanted if (n := name.replace("-", "_")) not in ended]
    if outcome.skipped and not outcome.failed:
        first, needy = outcome.skipped[0], ", ".join(outcome.skipped)
        outcome.error = f"nothing is there yet for {needy} to read: select what comes before as well, +{first}"


def _show(summary: dict[str, Any], outcome: Outcome, folder: Path, out: TextIO) -> None:
    if summary["tables"]:
        head = (
            f"\n  {'table':<28}{'rows':>10}{'selected':>10} = {'published':>9} + {'rejected':>8} + {'superseded':>10}\n"
        )
        out.write(head)
    for t in summary["tables"]:
        out.write(
            f"  {t['name']:<28}{t['rows']:>10,}{t['selected']:>10,} = {t['published']:>9,} + {t['rejected']:>8,} + "
            f"{t['superseded']:>10,}\n"
        )
    for m in summary["models"]:
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in m["metrics"].items())
        out.write(f"  model {m['name']}: {'accepted' if m['accepted'] else 'refused'}, {metrics}\n")
    for task in outcome.failed:
        _show_failure(task, folder, out)
    if outcome.unmet and not outcome.failed:
        out.write(f"\nnot run, since a condition does not hold: {', '.join(outcome.unmet)}\n")
    if outcome.failed:
        out.write("  Go on from there, with what you have mended: goldline resume\n")
    if not outcome.failed and summary["error"]:
        out.write(f"\n{summary['error']}\n")
    where = os.path.relpath(folder / "summary.json")
    out.write(f"\n{summary['status']}: {summary['run_date']} in {summary['seconds']} s, {where}\n")


def _show_failure(task: dict[str, Any], folder: Path, out: TextIO) -> None:
    """Show the end of a failed task's log, its inputs, and the command that runs it again."""
    inside = Path(task["folder"])
    out.write(f"\n{task['task']} failed. Its last words ({os.path.relpath(inside / 'log.txt')}):\n")
    out.write("".join(f"    {line}\n" for line in _own_lines(inside / "log.txt")[-LAST_LINES:]))
    if inputs := _inputs(inside / "command.json"):
        out.write("  Its inputs:\n")
        out.write("".join(f"    {name} = {_shortened(value)}\n" for name, value in inputs.items()))
    out.write(f"  Run it again: goldline retry {task['task']} --run {shlex.quote(folder.name)}\n")


def _own_lines(log: Path) -> list[str]:
    """Lines that a task itself printed: its log without those of kfp's executor, above all the long input.

    Of lines of progress that follow each other, the last one.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    words: list[str] = []
    is_input = False
    for line in lines:
        message = re.sub(r"^\[KFP Executor [\d\-:, ]+\w+\]: ", "", line)
        is_input = is_input or message == "Got executor_input:"
        if not is_input and message.strip() and not message.startswith(KFP_SAYS):
            if words and Amount.of_line(message) and Amount.of_line(words[-1]):
                words.pop()
            words.append(message)
        is_input = is_input and message != "}"
    return words


def _inputs(command: Path) -> dict[str, Any]:
    if not command.exists():
        return {}
    words = json.loads(command.read_text(encoding="utf-8"))["command"]
    executor_input = json.loads(words[words.index("--executor_input") + 1])
    found: dict[str, Any] = executor_input.get("inputs", {}).get("parameterValues", {})
    return found


def _shortened(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _new_folder(home: Path) -> Path:
    moment = datetime.now(UTC)
    folder = home / "runs" / f"{moment:%Y%m%d-%H%M%S}-{moment.microsecond // 1000:03d}-{os.getpid()}"
    folder.mkdir(parents=True)
    return folder
