"""Backfills: a run for each date without a succeeded run in ops.runs, the oldest first, a few at a time.

The id of a date's run depends on the date and the parameters alone. So an interrupted backfill goes on where it
stopped: runs that are under way are found by their ids and followed, not started again.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, TextIO

from goldline.spec.check.given import complete, declared_in
from goldline.vertex.api import Cloud
from goldline.vertex.cloud_run import CloudRun, create, fingerprint, pipeline_job, service
from goldline.vertex.environments import Environment, Scalar
from goldline.vertex.errors import CloudError
from goldline.vertex.progress import failures
from goldline.vertex.small_query import ops_runs, query
from goldline.warehouse.jobs import label

LABEL = "goldline_backfill"
POLL_SECONDS = 30.0
_UNDER_WAY = {"QUEUED", "PENDING", "RUNNING", "CANCELLING"}


@dataclass
class Day:
    """Date of the plan.

    Attributes:
        done: whether ops.runs has it as succeeded, for all flows of the backfill.
        tries: ids of the runs that this backfill has started for it.
        running: id of the run that is under way; None if there is none.
    """

    date: date
    done: bool = False
    tries: list[str] = field(default_factory=list)
    running: str | None = None

    @property
    def action(self) -> str:
        """Text of what the backfill will do for the date."""
        if self.done:
            return "is done"
        if self.running:
            return f"is under way: {self.running}"
        return f"to run, try {len(self.tries) + 1}" if self.tries else "to run"


class Backfill:
    """Backfill with one set of parameters."""

    def __init__(
        self,
        environment: Environment,
        spec: Mapping[str, Any],
        given: Mapping[str, Scalar],
        cloud: Cloud,
        out: TextIO | None = None,
    ) -> None:
        """Take the uploadable spec and the parameters of all its runs, without run_date.

        Raises:
            ValueError: a parameter is wrong.
        """
        declared = declared_in(spec)
        self.environment = environment
        self.spec = spec
        self.cloud = cloud
        self.out = out or sys.stdout
        self.values = complete(environment.values(given), declared)
        if self.values.get("run_date"):
            raise ValueError("run_date: a backfill gives it to each run; use --from and --to")
        self.identity = fingerprint({"environment": environment.name, **self.values})[:8]
        # The pipeline's defaults count: in the uploadable spec they are the environment's.
        every = {name: each.get("defaultValue") for name, each in declared.items()} | self.values
        self.flows = [name.removeprefix("run_") for name, on in every.items() if name.startswith("run_") and on is True]

    def plan(self, first: date, last: date) -> list[Day]:
        """Dates from `first` to `last`, the oldest first, each with its state.

        Raises:
            ValueError: `last` is before `first`.
        """
        if last < first:
            raise ValueError(f"--to {last} is before --from {first}")
        days = [Day(first + timedelta(days=n)) for n in range((last - first).days + 1)]
        done, started = self._done(first, last), self._started()
        for day in days:
            day.done = day.date in done
            prefix = f"{self._id(day.date)}-"
            day.tries = sorted((i for i in started if i.startswith(prefix)), key=lambda i: int(i.rsplit("-", 1)[1]))
            day.running = next((i for i in day.tries if started[i] in _UNDER_WAY), None)
        return days

    def show(self, days: Sequence[Day]) -> None:
        """Show the plan."""
        for day in days:
            self.out.write(f"  {day.date}  {day.action}\n")
        left = [day for day in days if not day.done]
        self.out.write(f"{len(days)} dates of {', '.join(self.flows)}: {len(left)} to run, the rest is done\n")

    def run(self, days: Sequence[Day], parallel: int, every: float | None = None) -> int:
        """Run the dates that are not done; return 1 if a run failed, else 0.

        Args:
            days: plan; after a failure those under way are followed to their end, and no more are started.
            parallel: most runs at a time.
            every: seconds between two looks at them; None: POLL_SECONDS.
        """
        waiting = [day for day in days if not day.done]
        running: list[tuple[Day, CloudRun]] = []
        failed = 0
        while running or (waiting and not failed):
            while waiting and len(running) < parallel and not failed:
                day = waiting.pop(0)
                running.append((day, self._start(day)))
            still: list[tuple[Day, CloudRun]] = []
            for day, run in running:
                job = run.read()
                state = str(job.get("state", "")).removeprefix("PIPELINE_STATE_")
                if state in _UNDER_WAY or not state:
                    still.append((day, run))
                    continue
                failed += state != "SUCCEEDED"
                self.out.write(f"  {day.date}  {state.lower()}: {run.address}\n{failures(job, self.environment)}")
            running = still
            if running:
                time.sleep(POLL_SECONDS if every is None else every)
        if failed:
            self.out.write(f"{failed} failed, {len(waiting)} were not started; the same command goes on from there\n")
        return 1 if failed else 0

    def _start(self, day: Day) -> CloudRun:
        if day.running:
            self.out.write(f"  {day.date}  is under way: {day.running}\n")
            return CloudRun(self.environment, day.running, self.cloud)
        number = int(day.tries[-1].rsplit("-", 1)[1]) + 1 if day.tries else 0
        values = {**self.values, "run_date": day.date.isoformat()}
        body = pipeline_job(self.spec, self.environment, values, {LABEL: label(self.identity)})
        run = create(self.cloud, self.environment, f"{self._id(day.date)}-{number}", body)
        self.out.write(f"  {day.date}  started: {run.address}\n")
        self.out.flush()
        return run

    def _id(self, day: date) -> str:
        return f"{self.spec['pipelineInfo']['name']}-{day:%Y%m%d}-backfill-{self.identity}"

    def _done(self, first: date, last: date) -> set[date]:
        """Dates that every flow of the backfill has finished."""
        sql = (
            f"select cast(run_date as string) as run_date, flow from {ops_runs(self.values)} "
            f"where status = 'succeeded' and flow is not null "
            f"and run_date between date '{first}' and date '{last}' group by run_date, flow"
        )
        location = str(self.values["location"])
        try:
            rows = query(self.cloud, str(self.values["project"]), location, sql)
        except CloudError as error:
            if error.status == 404:  # before the first run there is no such table
                return set()
            raise
        finished: dict[date, set[str]] = {}
        for row in rows:
            finished.setdefault(date.fromisoformat(row["run_date"]), set()).add(row["flow"])
        return {day for day, flows in finished.items() if flows.issuperset(self.flows)}

    def _started(self) -> dict[str, str]:
        """States of this backfill's runs, by id."""
        listed = self.cloud.every(
            service(self.environment),
            f"v1/{self.environment.parent}/pipelineJobs",
            "pipelineJobs",
            filter=f'labels.{LABEL}="{self.identity}"',
            readMask="name,state,labels",  # without it every run comes with its spec
        )
        return {
            str(job["name"]).rsplit("/", 1)[-1]: str(job.get("state", "")).removeprefix("PIPELINE_STATE_")
            for job in listed
            if job.get("labels", {}).get(LABEL) == self.identity
        }
