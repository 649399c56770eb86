"""Choice of the tasks that a run on this machine executes; tables that are not selected are read as last published.

Words like dbt's, https://docs.getdbt.com/reference/node-selection/syntax: `x` is a task, `+x` it and all before it,
`x+` it and all after it, `1+x` and `x+1` as many steps. goldline's own: `@flow` all of a flow, `modified` the tasks
that have changed since they last succeeded. Several are joined; with a comma between two, only what both name.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from goldline.runs.context import PARTIAL

PLAN = "plan.json"  # in the folder of a run that does not execute all of its tasks
WORD = re.compile(r"(?:(?P<before>\d*)\+)?(?P<name>@?[\w.-]+)(?:\+(?P<after>\d*))?")
SWITCH = re.compile(r"--run_(\w+)'\] == true")  # condition that a flow runs under, as kfp writes it
PREFIX = "comp-"  # of a component's name in a spec; its folder is named without it
OUTPUT = "executor_output.json"  # in a task's folder of outputs: kfp writes it as the last act of one that succeeds
OUTPUTS = f"artifacts/*/*/{OUTPUT}"  # of a run
PLACE = ("project", "bucket", "dataset_prefix")  # parameters that say whose tables a run writes


@dataclass
class Tasks:
    """Tasks of a compiled spec, by name as kfp writes them (with hyphens).

    Attributes:
        flow: the flow that a task belongs to; None: it belongs to all, and always runs.
        before: tasks that must have ended before a task starts.
        made_of: what decides what a task does: its container, and the constants among its inputs.
        components: names of its component, and of the sub-pipelines around it.
    """

    flow: dict[str, str | None] = field(default_factory=dict)
    before: dict[str, set[str]] = field(default_factory=dict)
    made_of: dict[str, str] = field(default_factory=dict)
    components: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Tasks":
        """Tasks of a spec, those of its sub-pipelines, conditions and loops among them."""
        tasks = cls()
        tasks._add(spec, spec["root"], frozenset(), None, ())
        return tasks

    @property
    def always(self) -> set[str]:
        """Tasks that belong to no flow: they prepare and finish each run."""
        return {name for name, flow in self.flow.items() if flow is None}

    def plan(self, run: set[str], earlier: "Mapping[str, Earlier]", wanted: Collection[str] = ()) -> "Plan":
        """Plan of a run that executes some tasks, those among them that were asked for by name."""
        results = {n: str(earlier[n].folder) for n in self.flow.keys() - run if n in earlier}
        return Plan(sorted({c for name in run for c in self.components[name]}), results, sorted(wanted))

    def selected(
        self, words: Iterable[str], earlier: "Mapping[str, Earlier]", flows: Collection[str] | None = None
    ) -> set[str]:
        """Tasks that the words select; none if nothing was modified.

        Args:
            words: as the module's text has them; one string may hold several.
            earlier: last result of each task.
            flows: those that run; None: all.

        Raises:
            ValueError: a word names no task, no flow, or only what belongs to flows that do not run.
        """
        found: set[str] = set()
        for word in " ".join(words).split():
            named = set.intersection(*(self._named(part, earlier) for part in word.split(","))) - self.always
            running = {name for name in named if flows is None or self.flow[name] in flows}
            if named and not running and "modified" not in word:
                raise ValueError(
                    f"--select: {word} is of a flow that does not run, expected one of {', '.join(flows or ())}"
                )
            found |= running
        return found

    def unfinished(self, done: "Mapping[str, Earlier]", wanted: Collection[str] = ()) -> set[str]:
        """Tasks that a run has not done as they are now, all that come after those, and those that end each run.

        Args:
            done: results that the run has.
            wanted: the tasks that were selected for it; none: all.
        """
        own = {*wanted, *self.always} if wanted else set(self.flow)
        stale = {name for name in own if name not in done or done[name].made_of != self.made_of[name]}
        return (stale | _reached(stale, self._after(), "") | {n for n in self.always if self.before[n]}) & own

    def _after(self) -> dict[str, set[str]]:
        return {name: {n for n, before in self.before.items() if name in before} for name in self.before}

    def _named(self, word: str, earlier: "Mapping[str, Earlier]") -> set[str]:
        if (match := WORD.fullmatch(word)) is None:
            raise ValueError(f"--select: expected a task such as fct_x, +fct_x, fct_x+ or @flow, got {word!r}")
        found = self._start(match["name"], earlier)
        earlier_ones = _reached(found, self.before, match["before"])
        return found | earlier_ones | _reached(found, self._after(), match["after"])

    def _start(self, name: str, earlier: "Mapping[str, Earlier]") -> set[str]:
        own = {n for n, flow in self.flow.items() if flow}
        if name == "modified":
            return {n for n in own if n not in earlier or earlier[n].made_of != self.made_of[n]}
        if name.startswith("@"):
            flows = {str(self.flow[n]) for n in own}
            if name[1:] not in flows:
                raise ValueError(f"--select: no flow {name[1:]}, expected one of {', '.join(sorted(flows))}")
            return {n for n in own if self.flow[n] == name[1:]}
        dataset, _, task = name.rpartition(".")
        task = task.replace("_", "-")
        if task not in own or (dataset and name not in self.made_of[task]):  # a table's contract is among its constants
            known = sorted(n.replace("-", "_") for n in own)
            near = difflib.get_close_matches(task.replace("-", "_"), known, 1)
            said = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise ValueError(f"--select: no task {name}, {said}")
        return {task}

    def _add(
        self,
        spec: Mapping[str, Any],
        component: Mapping[str, Any],
        before: frozenset[str],
        flow: str | None,
        around: tuple[str, ...],
    ) -> None:
        tasks = component["dag"]["tasks"]
        inside: dict[str, set[str]] = {}

        def leaves(name: str) -> set[str]:
            """Tasks in a task of the dag, itself if it is no sub-pipeline; they are noted on the way."""
            if name not in inside:
                task = tasks[name]
                earlier = task.get("dependentTasks", ())
                needed = frozenset[str]().union(*map(leaves, earlier)) if earlier else before
                component_name = task["componentRef"]["name"]
                own = spec["components"][component_name]
                switch = SWITCH.search(task.get("triggerPolicy", {}).get("condition", ""))
                known = set(self.flow)
                if "dag" in own:
                    self._add(spec, own, needed, switch[1] if switch else flow, (*around, component_name))
                else:
                    self.components[name] = (*around, component_name)
                    self.flow[name], self.before[name] = flow, set(needed)
                    self.made_of[name] = _made_of(spec, own, task)
                inside[name] = set(self.flow) - known
            return inside[name]

        for name in tasks:
            leaves(name)


@dataclass(frozen=True)
class Plan:
    """Components that a run executes of its spec, and the results that stand for those it leaves out.

    Attributes:
        components: names of the components to execute, and of the sub-pipelines around them.
        results: folder of the earlier results of each task that is left out, if there are any.
        wanted: names of the tasks that the user selected.
    """

    components: list[str] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, run: Path) -> "Plan":
        """Plan in a run's folder; an empty one where the run executes all tasks."""
        return cls(**json.loads((run / PLAN).read_text(encoding="utf-8"))) if (run / PLAN).exists() else cls()

    def keep(self, run: Path) -> None:
        """Write it into a run's folder."""
        (run / PLAN).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @property
    def marks(self) -> dict[str, str]:
        """Variables that tell the tasks of a run of selected ones so, with the runs that stand for the others."""
        names = {name.replace("-", "_"): Path(folder).parent.name for name, folder in self.results.items()}
        return {PARTIAL: json.dumps(names)}

    @property
    def earlier(self) -> "dict[str, Earlier]":
        """The results, for another plan."""
        return {name: Earlier(Path(folder), "") for name, folder in self.results.items()}

    def executes(self, component: str) -> bool:
        """Whether a component, or one inside it, is executed."""
        return not self.components or component in self.components


@dataclass(frozen=True)
class Earlier:
    """Result of a task in an earlier run: its folder of outputs, and what the task was made of then."""

    folder: Path
    made_of: str


def earlier_results(runs: Path, arguments: Mapping[str, Any]) -> dict[str, Earlier]:
    """Last result of each task that succeeded in any run of the same tables.

    Args:
        runs: folder of all runs on the stack.
        arguments: parameters of the run to come.
    """
    found: dict[str, Earlier] = {}
    seen: set[str] = set()  # names of folders: most runs have no others, and need not be read
    for run in sorted((p for p in runs.glob("*") if not p.is_symlink()), reverse=True):
        if (folders := {output.parent.name for output in run.glob(OUTPUTS)}) <= seen:
            continue
        earlier = json.loads((run / "arguments.json").read_text(encoding="utf-8"))
        if all(earlier.get(name) == arguments.get(name) for name in PLACE):
            seen |= folders
            found = results_of(run) | found
    return found


def results_of(run: Path) -> dict[str, Earlier]:
    """Results of the tasks that succeeded in a run."""
    tasks = Tasks.of(json.loads((run / "pipeline.json").read_text(encoding="utf-8")))
    by_folder = {components[-1].removeprefix(PREFIX): name for name, components in tasks.components.items()}
    folders = {by_folder[output.parent.name]: output.parent for output in run.glob(OUTPUTS)}
    return {name: Earlier(folder, tasks.made_of[name]) for name, folder in folders.items()}


def _reached(start: set[str], steps: Mapping[str, set[str]], distance: str | None) -> set[str]:
    """Tasks reached from a start in `distance` steps; empty: in any number; None: in none."""
    found: set[str] = set()
    edge, left = start, int(distance) if distance else len(steps)
    while distance is not None and edge and left > 0:
        edge = set().union(*(steps[name] for name in edge)) - found
        found |= edge
        left -= 1
    return found


def _made_of(spec: Mapping[str, Any], component: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
    inputs = task.get("inputs", {}).get("parameters", {})
    constants = {name: value for name, value in inputs.items() if "runtimeValue" in value}
    return json.dumps([executor, constants], sort_keys=True)
