"""Decorator that turns a function into a goldline component: one image, no pip at its start, retries, resources."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kfp import dsl
from kfp.dsl.python_component import PythonComponent

# The committed spec names the bare image; the uploadable copy names registry and digest.
IMAGE = "goldline"
RETRIES = 2


@dataclass(frozen=True)
class Task:
    """KFP component, with the resources and retries of each task that is made from it."""

    component: PythonComponent
    cpu: str
    memory: str
    retries: int

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the component's inputs."""
        return frozenset(self.component.component_spec.inputs or ())

    def __call__(self, **inputs: Any) -> dsl.PipelineTask:  # noqa: ANN401, kfp's channels and constants
        """Make a task of the pipeline that is being defined."""
        task = self.component(**inputs)
        task.set_cpu_limit(self.cpu).set_memory_limit(self.memory)  # Vertex reads limits, not requests
        task.set_retry(self.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="300s")
        task.set_caching_options(enable_caching=False)  # tasks have side effects: a cached one would leave them undone
        return task.set_display_name(self.component.name)

    def named(self, name: str) -> "Task":
        """The same component under another name."""
        spec = replace(self.component.component_spec, name=name)
        return replace(self, component=PythonComponent(component_spec=spec, python_func=self.component.python_func))


def task(*, cpu: str = "1", memory: str = "4G", retries: int = RETRIES) -> Callable[[Callable[..., Any]], Task]:
    """Turn a function into a Task; its body imports its work. `cpu` (vCPUs) and `memory` (such as 4G) are limits."""

    def decorate(function: Callable[..., Any]) -> Task:
        # Without kfp's own installation there is no pip at the task's start: the image holds kfp.
        component = dsl.component(function, base_image=IMAGE, install_kfp_package=False)
        return Task(component, cpu, memory, retries)

    return decorate
