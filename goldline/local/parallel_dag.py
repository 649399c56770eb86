"""Dags of a compiled spec with tasks side by side: the one seam at which kfp.local's orchestration is changed.

kfp.local runs independent tasks strictly one after another (kfp 2.17). `run_dag` takes the place of its
`run_enhanced_dag` and keeps its rules: inputs, conditions, loops and outputs are resolved by kfp's own functions, a
failed task skips those that need it unless they ignore failures, exit tasks come last. Only the order differs: a task
starts once all tasks that it depends on have ended, as on Vertex AI.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kfp.local import io, status
from kfp.local.orchestrator import enhanced_dag_orchestrator as kfp_dag
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineTaskSpec

COMPLETED = PipelineTaskSpec.TriggerPolicy.TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED

type Result = tuple[dict[str, Any], status.Status]


@dataclass
class ParallelDag:
    """One dag, sub-pipeline or condition under way.

    Attributes:
        tasks: its tasks by name, in kfp's messages.
        store: values and artifacts that its tasks have given.
        common: the arguments that kfp hands on to each task.
        skipped: called with the name of a task that is not run, since one before it failed.
        order: of tasks that are ready at once.
        executes: whether a component, or one inside it, is to be executed at all.
    """

    tasks: dict[str, Any]
    store: io.IOStore
    common: dict[str, Any]
    skipped: Callable[[str], None]
    order: Callable[[Iterable[str]], list[str]] = sorted
    executes: Callable[[str], bool] = lambda _: True
    failed: set[str] = field(default_factory=set)

    def run(self) -> bool:
        """Run the body's tasks, then the exit tasks; whether all of them succeeded."""
        exits = [name for name in self.tasks if self._is_exit(name)]
        self._run_body({name for name in self.tasks if name not in exits})
        for name in self.order(exits):
            self._end(name, self._execute(name))
        return not self.failed

    def _run_body(self, names: set[str]) -> None:
        waiting = {name: set(self.tasks[name].dependent_tasks) & names for name in names}
        running: dict[Future[Result | None], str] = {}
        with ThreadPoolExecutor(max(len(names), 1)) as pool:
            while waiting or running:
                for name in self.order(n for n, before in waiting.items() if not before):
                    del waiting[name]
                    if self._must_skip(name):
                        self._end(name, None)
                        _release(waiting, name)
                        break  # others may have become ready, or must be skipped too
                    running[pool.submit(self._execute, name)] = name
                else:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        name = running.pop(future)
                        self._end(name, future.result())
                        _release(waiting, name)

    def _execute(self, name: str) -> Result | None:
        """Run a task, a sub-pipeline, or nothing where its condition does not hold; None: it has nothing to work on."""
        task = self.tasks[name]
        if _lacks_inputs(task, self.store):
            if self.executes(task.component_ref.name):
                return None
            return {}, status.Status.SUCCESS
        condition = task.trigger_policy.condition
        if condition and not kfp_dag.ConditionEvaluator.evaluate_condition(condition, self.store):
            return {}, status.Status.SUCCESS
        if kfp_dag._has_valid_iterator(task):
            looped = kfp_dag._run_parallel_for_task(
                task_name=name,
                task_spec=task,
                io_store=self.store,
                parallel_executor=kfp_dag.ParallelExecutor(),
                **self.common,
            )
            return {}, status.Status.FAILURE if looped else status.Status.SUCCESS
        found: Result = kfp_dag.execute_task(task_name=name, task_spec=task, io_store=self.store, **self.common)
        return found

    def _must_skip(self, name: str) -> bool:
        task = self.tasks[name]
        return bool(self.failed.intersection(task.dependent_tasks)) and task.trigger_policy.strategy != COMPLETED

    def _end(self, name: str, result: Result | None) -> None:
        """Keep what a task gave; None: it was skipped."""
        outputs, ended = result or ({}, status.Status.FAILURE)
        if result is None:
            self.skipped(name)
        self.store.put_task_status(name, "SUCCEEDED" if ended == status.Status.SUCCESS else "FAILED")
        if ended != status.Status.SUCCESS:
            self.failed.add(name)
            self.common["fail_stack"].append(name)
        for key, value in outputs.items():
            self.store.put_task_output(name, key, value)

    def _is_exit(self, name: str) -> bool:
        task = self.tasks[name]
        return bool(task.trigger_policy.strategy == COMPLETED and kfp_dag._has_task_final_status_input(task))


def install(**settings: Any) -> None:  # noqa: ANN401
    """Put `run_dag` in the place of kfp's own, for the rest of this process; the settings are ParallelDag's."""
    kfp_dag.run_enhanced_dag = partial(run_dag, settings)


def run_dag(
    settings: Mapping[str, Any],
    *,
    dag_component_spec: Any,  # noqa: ANN401, kfp has no types
    dag_arguments: dict[str, Any],
    parent_io_store: Any = None,  # noqa: ANN401
    **common: Any,  # noqa: ANN401
) -> Result:
    """Run one dag, as kfp.local calls it; its outputs, none where it failed."""
    values = OrchestratorUtils.join_user_inputs_and_defaults(
        dag_arguments=dag_arguments, dag_inputs_spec=dag_component_spec.input_definitions
    )
    store = io.IOStore(parent=parent_io_store)
    for key, value in values.items():
        store.put_parent_input(key, value)
    if not ParallelDag(dict(dag_component_spec.dag.tasks), store, common, **settings).run():
        return {}, status.Status.FAILURE
    try:
        outputs = OrchestratorUtils.get_dag_outputs(dag_outputs_spec=dag_component_spec.dag.outputs, io_store=store)
    except ValueError:  # of a task that was left out, and has no earlier results; who needs them says so
        outputs = {}
    return outputs, status.Status.SUCCESS


def _lacks_inputs(task: Any, store: io.IOStore) -> bool:  # noqa: ANN401
    """Whether a task needs what an earlier one did not make.

    That one failed, and the task ignores failures before it (`.ignore_upstream_failure()`); or it was left out.
    kfp.local starts the task all the same, and crashes where it looks for it.
    """
    made = [i.task_output_artifact for i in task.inputs.artifacts.values() if i.HasField("task_output_artifact")]
    given = [i.task_output_parameter for i in task.inputs.parameters.values() if i.HasField("task_output_parameter")]
    wanted = [(m.producer_task, m.output_artifact_key) for m in made]
    wanted += [(g.producer_task, g.output_parameter_key) for g in given]
    try:
        for producer, key in wanted:
            store.get_task_output(producer, key)
    except ValueError:
        return True
    return False


def _release(waiting: dict[str, set[str]], ended: str) -> None:
    for before in waiting.values():
        before.discard(ended)
