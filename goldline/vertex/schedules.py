"""Schedules on Vertex AI, made from goldline.yaml.

A schedule keeps the spec and the parameters that it was made with, so a new spec needs a new schedule. `replace` makes
the new one with a later start, pauses it, pauses the old one, and resumes the new one; it refuses to begin shortly
before a run is due. So no run is lost, and none starts twice. If it is interrupted, run it again.
"""

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal, TextIO

from goldline.spec.check.given import complete, declared_in
from goldline.vertex.api import Cloud
from goldline.vertex.cloud_run import fingerprint, pipeline_job, service
from goldline.vertex.environments import Environment, EnvironmentsError
from goldline.vertex.errors import CloudError
from goldline.warehouse.jobs import label

CONTENT = "goldline_schedule"  # label of a schedule's runs: the fingerprint of its spec, parameters and cron
# Longer than a replacement takes, with all retries of its requests.
SWITCH = timedelta(minutes=10)
POLL_SECONDS = 1.0  # between two looks at a deletion
DELETE_SECONDS = 120.0  # most seconds of a deletion


@dataclass(frozen=True)
class Found:
    """Schedule on Vertex AI; `resource` is its JSON."""

    resource: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Resource name of the schedule."""
        return str(self.resource["name"])

    @property
    def title(self) -> str:
        """Display name of the schedule."""
        return str(self.resource["displayName"])

    @property
    def state(self) -> str:
        """ACTIVE, PAUSED or COMPLETED."""
        return str(self.resource.get("state", ""))

    @property
    def content(self) -> str:
        """Fingerprint of the spec, parameters and cron that it was made from; see CONTENT."""
        job = self.resource.get("createPipelineJobRequest", {}).get("pipelineJob", {})
        return str(job.get("labels", {}).get(CONTENT, ""))

    @property
    def next_run(self) -> datetime | None:
        """Time of its next run; None if there is none."""
        text = self.resource.get("nextRunTime")
        return datetime.fromisoformat(text) if text else None


class Schedules:
    """Schedules of an environment."""

    def __init__(
        self, environment: Environment, spec: Mapping[str, Any], cloud: Cloud, out: TextIO | None = None
    ) -> None:
        """Take the environment, the uploadable spec for new schedules, the client, and the stream for messages."""
        self.environment = environment
        self.spec = spec
        self.cloud = cloud
        self.out = out or sys.stdout

    def create(self, name: str) -> None:
        """Create a schedule, unless one with the same content exists.

        Raises:
            EnvironmentsError: the environment has no schedule of that name.
            CloudError: one of that name has another content, or an API refused a request.
        """
        wanted = self._wanted(name)
        there = [s for s in self._found(name) if s.state != "COMPLETED"]
        if same := [s for s in there if s.content == _content(wanted)]:
            self._print(name, f"is there already, {same[0].state.lower()}", same[0])
        elif there:
            raise CloudError(
                f"there is a schedule {self._title(name)!r} of another spec or goldline.yaml ({there[0].name}): "
                f"goldline schedule replace --env {self.environment.name} {name}"
            )
        else:
            self._print(name, "was created", self._make(name, wanted))

    def replace(self, name: str) -> None:
        """Replace a schedule by one with the present spec, parameters and cron; create it if there is none.

        Raises:
            EnvironmentsError: the environment has no schedule of that name.
            CloudError: a run is due too soon, or an API refused a request.
        """
        wanted = self._wanted(name)
        there = [s for s in self._found(name) if s.state != "COMPLETED"]
        if not there:
            self.create(name)
            return
        # An active one first, so that a schedule that is right already stays as it is.
        same = sorted((s for s in there if s.content == _content(wanted)), key=lambda s: s.state != "ACTIVE")
        old = [s for s in there if s.state == "ACTIVE" and s not in same[:1]]
        if same and same[0].state == "ACTIVE" and not old:
            self._print(name, "is what it should be", same[0])
            return
        self._refuse_shortly_before(name, there)
        fresh = same[0] if same else self._make(name, wanted, starting=datetime.now(UTC) + SWITCH)
        if fresh.state == "ACTIVE":
            self._order(fresh, "pause")
        for each in old:
            self._order(each, "pause")
            self._print(name, "is paused: the old one", each)
        self._order(fresh, "resume")
        self._print(name, "took its place", fresh)

    def pause(self, name: str) -> None:
        """Pause a schedule: it starts no more runs; those under way go on."""
        for each in self._those(name, "ACTIVE"):
            self._order(each, "pause")
            self._print(name, "is paused", each)

    def resume(self, name: str) -> None:
        """Resume a schedule from its next time on; the next run catches up on missed dates.

        If several are paused, as after replacements, the newest is resumed.
        """
        if any(s.state == "ACTIVE" for s in self._found(name)):
            self.out.write(f"{self._title(name)} is active\n")
            return
        paused = self._those(name, "PAUSED")
        if len(paused) > 1:  # the listing has the newest first
            self.out.write(f"{len(paused)} are paused: the newest is resumed\n")
        for each in paused[:1]:
            self._order(each, "resume")
            self._print(name, "is resumed", each)

    def prune(self, name: str) -> None:
        """Delete paused schedules that replacements left: those made by goldline, while another one is active.

        If none is active, nothing is deleted: somebody paused it, and may want it again. Runs of deleted ones stay.

        Raises:
            CloudError: an API refused a request, or a deletion failed.
        """
        found = self._found(name)
        if not any(s.state == "ACTIVE" for s in found):
            self.out.write(f"no schedule {self._title(name)!r} is active: nothing is deleted\n")
            return
        old = [s for s in found if s.state == "PAUSED" and s.content]
        for each in old:
            self._delete(each)
            self._print(name, "is deleted: an old one", each)
        if not old:
            self.out.write(f"no schedule {self._title(name)!r} is left from a replacement\n")

    def show(self) -> None:
        """Show the schedules of goldline.yaml, and whether those on Vertex AI are the same."""
        for name in self.environment.schedules:
            content = _content(self._wanted(name))
            found = self._found(name)
            if not found:
                self.out.write(
                    f"  {name:<12}is not there: goldline schedule create --env {self.environment.name} {name}\n"
                )
            for each in found:
                is_as = "as in goldline.yaml" if each.content == content else "of an earlier spec or goldline.yaml"
                next_run = f"{each.next_run:%Y-%m-%d %H:%M} UTC" if each.next_run else "-"
                cron, identity = str(each.resource.get("cron", "")), each.name.rsplit("/", 1)[-1]
                self.out.write(
                    f"  {name:<12}{each.state.lower():<11}{cron:<24}next {next_run:<22}{is_as}, {identity}\n"
                )

    def _wanted(self, name: str) -> dict[str, Any]:
        if name not in self.environment.schedules:
            known = ", ".join(sorted(self.environment.schedules)) or "none"
            where = f"goldline.yaml: environments.{self.environment.name}"
            raise EnvironmentsError(f"{where} has no schedule {name!r}, expected one of {known}")
        plan = self.environment.schedules[name]
        values = complete(self.environment.values(plan.parameters), declared_in(self.spec))
        job = pipeline_job(self.spec, self.environment, values, {"goldline_schedule_name": label(name)})
        schedule = {
            "displayName": self._title(name),
            "cron": f"TZ=UTC {plan.cron}",
            # The first limits how many runs are started at once, the second how many may be under way.
            "maxConcurrentRunCount": "1",
            "maxConcurrentActiveRunCount": "1",
            # A night that is still running skips the next one, which the one after catches up on.
            "allowQueueing": False,
            "createPipelineJobRequest": {"parent": self.environment.parent, "pipelineJob": job},
        }
        job["labels"][CONTENT] = fingerprint(schedule)
        return schedule

    def _make(self, name: str, wanted: Mapping[str, Any], starting: datetime | None = None) -> Found:
        """Create a schedule; Vertex AI chooses its name, so after a lost answer it is looked up in the listing."""
        body = dict(wanted)
        if starting:
            body["startTime"] = starting.strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"v1/{self.environment.parent}/schedules"
        try:
            return Found(self.cloud.post(service(self.environment), path, body, repeatable=False))
        except CloudError as error:
            if error.status not in {0, 500, 502, 503, 504}:
                raise
            if made := [s for s in self._found(name) if s.content == _content(wanted) and s.state != "COMPLETED"]:
                return made[0]
            raise CloudError(f"{error}\nno such schedule is there: run the same command again", error.status) from error

    def _found(self, name: str) -> list[Found]:
        title = self._title(name).replace('"', "")
        path = f"v1/{self.environment.parent}/schedules"
        listed = self.cloud.every(
            service(self.environment), path, "schedules", filter=f'display_name="{title}"', orderBy="create_time desc"
        )
        return [found for each in listed if (found := Found(each)).title == title]

    def _those(self, name: str, state: str) -> list[Found]:
        if found := [s for s in self._found(name) if s.state == state]:
            return found
        self.out.write(f"no schedule {self._title(name)!r} is {state.lower()}\n")
        return []

    def _order(self, schedule: Found, verb: Literal["pause", "resume"]) -> None:
        # Without catching up: the next run itself catches up on the dates that were due meanwhile.
        body, wanted = ({}, "PAUSED") if verb == "pause" else ({"catchUp": False}, "ACTIVE")
        try:
            self.cloud.post(service(self.environment), f"v1/{schedule.name}:{verb}", body)
        except CloudError:
            # A second try, after a lost answer to the first, may be refused because the first was done.
            if self.cloud.get(service(self.environment), f"v1/{schedule.name}").get("state") != wanted:
                raise

    def _delete(self, schedule: Found) -> None:
        try:
            operation = self.cloud.call("DELETE", service(self.environment), f"v1/{schedule.name}")
        except CloudError as error:
            if error.status == HTTPStatus.NOT_FOUND:  # a second try, after a lost answer to the first
                return
            raise
        until = time.monotonic() + DELETE_SECONDS
        while not operation.get("done"):
            if time.monotonic() > until:
                raise CloudError(f"{schedule.name}: {operation['name']} is not done after {DELETE_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
            operation = self.cloud.get(service(self.environment), f"v1/{operation['name']}")
        if failed := operation.get("error"):
            raise CloudError(f"{schedule.name} was not deleted: {failed.get('message')}")

    def _refuse_shortly_before(self, name: str, there: Iterable[Found]) -> None:
        now = datetime.now(UTC)
        for each in there:
            if each.state == "ACTIVE" and each.next_run and each.next_run < now + SWITCH:
                raise CloudError(
                    f"a run of {self._title(name)!r} is due at {each.next_run:%H:%M} UTC: replace it after that, so "
                    f"that none is lost or started twice"
                )

    def _title(self, name: str) -> str:
        return f"{self.spec['pipelineInfo']['name']} {self.environment.name} {name}"

    def _print(self, name: str, what: str, schedule: Found) -> None:
        self.out.write(f"{self._title(name)} {what}: {schedule.name.rsplit('/', 1)[-1]}\n")


def _content(wanted: Mapping[str, Any]) -> str:
    return str(wanted["createPipelineJobRequest"]["pipelineJob"]["labels"][CONTENT])
