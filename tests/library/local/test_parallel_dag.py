"""Tasks side by side end as in kfp.local's own serial run: same outputs, statuses, failures, skipped tasks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl

SECONDS = 120
# Runs a spec as kfp.local does, once for each task that is to fail, and then so side by side, ready tasks shuffled.
# Tasks are functions of their inputs alone.
PROGRAM = """
import json, random, sys, threading, time
from contextlib import nullcontext
from kfp import components, local
from kfp.local import logging_utils, task_dispatcher
from kfp.local.status import Status
from goldline.local import parallel_dag
folder = sys.argv[1]
told, lock, dice = [], threading.Lock(), random.Random(7)
def tell(*event):
    with lock:
        told.append(list(event))
logging_utils.indented_print = logging_utils.local_logger_context = nullcontext
def task(component_spec, arguments, component_name, **_):
    name = component_name.removeprefix("comp-")
    given = {k: getattr(v, "metadata", v) for k, v in sorted(arguments.items())}
    time.sleep(pause * dice.random())
    if [name, given] == failing:
        tell("failed", name, given)
        return {}, Status.FAILURE
    tell("succeeded", name, given)
    return {key: f"{name}{given}" for key in component_spec.output_definitions.parameters}, Status.SUCCESS
task_dispatcher.run_single_task_implementation = task
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder, raise_on_error=False)
def run():
    told.clear()
    components.load_component_from_file(f"{folder}/spec.json")()
    return sorted(told, key=str)
pause, failing = 0, None
cases = [None, *(event[1:] for event in run())]
serial = []
for failing in cases:
    serial.append(run())
shuffled = lambda names: dice.sample(found := sorted(names), len(found))
parallel_dag.install(skipped=lambda name: tell("skipped", name), order=shuffled)
pause, beside = 0.02, []
for failing in cases:
    beside.append(run())
print("\\n" + json.dumps([serial, beside]))
"""


@dsl.component(base_image="python:3.13")
def work(text: str) -> str:
    return text


@dsl.component(base_image="python:3.13")
def join(one: str, other: str) -> str:
    return one + other


@dsl.component(base_image="python:3.13")
def last(text: str, status: dsl.PipelineTaskFinalStatus) -> None:
    print(text, status.state)


@dsl.pipeline
def inner(text: str, flag: bool) -> str:
    first = work(text=text)
    with dsl.If(flag == True, "flag"):  # noqa: E712
        work(text=first.output)
    beside = work(text=f"beside {text}")
    joined: str = join(one=first.output, other=beside.output).output
    return joined


@dsl.pipeline
def diamonds(text: str = "a", flag: bool = True, off: bool = False) -> None:
    left = inner(text=text, flag=flag)
    right = inner(text="b", flag=off)
    both = join(one=left.output, other=right.output)
    after = work(text="after").after(both)
    work(text="whatever comes").after(after).ignore_upstream_failure()
    with dsl.If(off == True, "off"):  # noqa: E712
        work(text="never")


@dsl.pipeline
def ended(text: str = "a") -> None:
    with dsl.ExitHandler(last(text=text)):
        one = work(text=text)
        two = inner(text="b", flag=True)
        join(one=one.output, other=two.output)
        work(text="alone")


@dsl.pipeline
def looped(text: str = "a") -> None:
    first = work(text=text)
    with dsl.ParallelFor(["x", "y", "z"]) as item:
        join(one=item, other=first.output)
    work(text="beside the loop")


@pytest.mark.parametrize("pipeline", [diamonds, ended, looped], ids=lambda p: p.name)
def test_any_order_ends_as_the_serial_run(pipeline: Any, tmp_path: Path) -> None:
    """Whichever task fails; kfp's own run tells of tasks that it skips in its log alone."""
    (tmp_path / "spec.json").write_text(json.dumps(json_format.MessageToDict(pipeline.pipeline_spec)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    serial, beside = json.loads(done.stdout.splitlines()[-1])
    assert len(serial) > 5
    assert any(event[0] == "failed" for told in serial for event in told)
    assert [[event for event in told if event[0] != "skipped"] for told in beside] == serial
