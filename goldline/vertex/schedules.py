"""Schedules on Vertex AI, as goldline.yaml has them. They are made here and nowhere else.

A schedule keeps the spec and the parameters that it was made with, so a new spec means a new schedule. `replace` makes
the new one such that it does not fire yet, pauses it, pauses the old one, and resumes the new one; it refuses to begin
shortly before a run is due. So no run is lost, and none starts twice. Broken off anywhere, it is simply run again.
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

CONTENT = "goldline_schedule"  # the label, on a schedule's runs, that says what it was made from
# Longer than the requests of a replacement take with all their retries.
SWITCH = timedelta(minutes=10)
POLL_SECONDS = 1.0  # how often a deletion is looked after
DELETE_SECONDS = 120.0


@dataclass(frozen=True)
class Found:
    """A schedule on Vertex AI."""

    resource: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its resource name."""
        return str(self.resource["name"])

    @property
    def title(self) -> str:
        """Its display name."""
        return str(self.resource["displayName"])

    @property
    def state(self) -> str:
        """ACTIVE, PAUSED or COMPLETED."""
        return str(self.resource.get("state", ""))

    @property
    def content(self) -> str:
        """What it was made from, as `Schedules` fingerprints it."""
        job = self.resource.get("createPipelineJobRequest", {}).get("pipelineJob", {})
        return str(job.get("labels", {}).get(CONTENT, ""))

    @property
    def next_run(self) -> datetime | None:
        """When it fires next."""
        text = self.resource.get("nextRunTime")
        return datetime.fromisoformat(text) if text else None


class Schedules:
    """The schedules of an environment."""

    def __init__(
        self, environment: Environment, spec: Mapping[str, Any], cloud: Cloud, out: TextIO | None = None
    ) -> None:
        """Take the uploadable spec that new schedules are made with."""
        self.environment = environment
        self.spec = spec
        self.cloud = cloud
        self.out = out or sys.stdout

    def create(self, name: str) -> None:
        """Make a schedule; one that is there is recognised.

        Raises:
            CloudError: there is one of that name with another content, or an API refused.
        """
        wanted = self._wanted(name)
        there = [s for s in self._found(name) if s.state != "COMPLETED"]
        if same := [s for s in there if s.content == _content(wanted)]:
            self._tell(name, f"is there already, {same[0].state.lower()}", same[0])
        elif there:
            raise CloudError(
                f"there is a schedule {self._title(name)!r} made from something else ({there[0].name}): "
                f"goldline schedule replace --env {self.environment.name} {name}"
            )
        else:
            self._tell(name, "was created", self._make(name, wanted))

    def replace(self, name: str) -> None:
        """Put a schedule of the present spec, parameters and cron in the place of what is there.

        Raises:
            CloudError: a run is due too soon, or an API refused.
        """
        wanted = self._wanted(name)
        there = [s for s in self._found(name) if s.state != "COMPLETED"]
        if not there:
            self.create(name)
            return
        # An active one first, so that what is right already is left alone.
        same = sorted((s for s in there if s.content == _content(wanted)), key=lambda s: s.state != "ACTIVE")
        old = [s for s in there if s.state == "ACTIVE" and s not in same[:1]]
        if same and same[0].state == "ACTIVE" and not old:
            self._tell(name, "is what it should be", same[0])
            return
        self._refuse_shortly_before(name, there)
        fresh = same[0] if same else self._make(name, wanted, starting=datetime.now(UTC) + SWITCH)
        if fresh.state == "ACTIVE":
            self._order(fresh, "pause")
        for each in old:
            self._order(each, "pause")
            self._tell(name, "is paused: the old one", each)
        self._order(fresh, "resume")
        self._tell(name, "took its place", fresh)

    def pause(self, name: str) -> None:
        """Let a schedule start no more runs; those that run go on."""
        for each in self._those(name, "ACTIVE"):
            self._order(each, "pause")
            self._tell(name, "is paused", each)

    def resume(self, name: str) -> None:
        """Let a schedule start runs again, from its next time on; the next run catches up on what was missed.

        Of several that are paused, as after replacements, it is the newest.
        """
        if any(s.state == "ACTIVE" for s in self._found(name)):
            self.out.write(f"{self._title(name)} is active\n")
            return
        paused = self._those(name, "PAUSED")
        if len(paused) > 1:  # the listing has the newest first
            self.out.write(f"{len(paused)} are paused: the newest is resumed\n")
        for each in paused[:1]:
            self._order(each, "resume")
            self._tell(name, "is resumed", each)

    def prune(self, name: str) -> None:
        """Delete the schedules that replacements left paused: those made by goldline, while another one is active.

        Where none is active nothing is deleted: somebody paused it, and may want it again. The runs that a deleted one
        started stay.

        Raises:
            CloudError: an API refused, or a deletion failed.
        """
        found = self._found(name)
        if not any(s.state == "ACTIVE" for s in found):
            self.out.write(f"no schedule {self._title(name)!r} is active: nothing is deleted\n")
            return
        old = [s for s in found if s.state == "PAUSED" and s.content]
        for each in old:
            self._delete(each)
            self._tell(name, "is deleted: an old one", each)
        if not old:
            self.out.write(f"no schedule {self._title(name)!r} is left from a replacement\n")

    def show(self) -> None:
        """Show what there is, and whether it is what goldline.yaml and the spec say."""
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
        """Create a schedule. Its name is Vertex AI's to give, so after a lost answer the listing is looked through."""
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
        # Without catching up: what was due meanwhile is in what the next run catches up on.
        body, wanted = ({}, "PAUSED") if verb == "pause" else ({"catchUp": False}, "ACTIVE")
        try:
            self.cloud.post(service(self.environment), f"v1/{schedule.name}:{verb}", body)
        except CloudError:
            # A second try, after a lost answer to the first, may be refused for what the first did.
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

    def _tell(self, name: str, what: str, schedule: Found) -> None:
        self.out.write(f"{self._title(name)} {what}: {schedule.name.rsplit('/', 1)[-1]}\n")


def _content(wanted: Mapping[str, Any]) -> str:
    return str(wanted["createPipelineJobRequest"]["pipelineJob"]["labels"][CONTENT])
