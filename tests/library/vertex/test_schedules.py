"""Schedules: made once, replaced without a gap and without two at a time."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from goldline import cli
from goldline.vertex.cloud_run import prepared
from goldline.vertex.environments import EnvironmentsError
from goldline.vertex.errors import CloudError
from goldline.vertex.schedules import Schedules
from tests.support.standin import Json, Refused, StandIn
from tests.support.standin_google import Google
from tests.support.standin_vertex import Vertex, check_cron, text_of

SCHEDULES = "/schedules$"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def schedules(settings: Path, google: Google, vertex: Vertex, out: io.StringIO) -> Schedules:
    where, spec, cloud = prepared("dev")
    return Schedules(where, spec, cloud, out)


def changed(schedules: Schedules, how: str = "changed") -> Schedules:
    """The same after a change of the spec."""
    spec = {**schedules.spec, "pipelineInfo": {**schedules.spec["pipelineInfo"], "description": how}}
    return Schedules(schedules.environment, spec, schedules.cloud, schedules.out)


def states(vertex: Vertex) -> list[str]:
    return [s["state"] for s in vertex.schedules.values()]


def test_a_schedule_is_created_as_goldline_yaml_says(schedules: Schedules, vertex: Vertex) -> None:
    schedules.create("training")
    [made] = vertex.schedules.values()
    assert made["displayName"] == "goldline dev training"
    assert made["cron"] == "TZ=UTC 0 3 * * 1"
    assert (made["maxConcurrentRunCount"], made["maxConcurrentActiveRunCount"]) == ("1", "1")
    assert not made.get("allowQueueing")
    request = made["createPipelineJobRequest"]
    assert request["parent"] == "projects/acme-data-dev/locations/europe-west1"
    assert "pipelineJobId" not in request  # each run gets its own
    assert request["pipelineJob"]["runtimeConfig"]["parameterValues"]["train"] == "yes"
    assert "run_date" not in request["pipelineJob"]["runtimeConfig"]["parameterValues"]


def test_a_schedule_that_exists_is_recognised(schedules: Schedules, vertex: Vertex, out: io.StringIO) -> None:
    schedules.create("nightly")
    schedules.create("nightly")
    assert states(vertex) == ["ACTIVE"]
    assert "goldline dev nightly is there already, active: 1" in out.getvalue()
    with pytest.raises(CloudError, match="goldline schedule replace --env dev nightly"):
        changed(schedules).create("nightly")


def test_a_create_whose_answer_is_lost_makes_no_second_schedule(
    schedules: Schedules, vertex: Vertex, standin: StandIn
) -> None:
    standin.fail("POST", SCHEDULES, "lost")
    schedules.create("nightly")
    assert states(vertex) == ["ACTIVE"]
    assert len(standin.sent("POST", SCHEDULES)) == 1


def test_a_create_that_was_not_done_is_told_and_done_by_the_next(
    schedules: Schedules, vertex: Vertex, standin: StandIn
) -> None:
    standin.fail("POST", SCHEDULES, 503)
    with pytest.raises(CloudError, match="no such schedule is there: run the same command again"):
        schedules.create("nightly")
    schedules.create("nightly")
    assert states(vertex) == ["ACTIVE"]


def test_a_replaced_schedule_is_paused_before_the_new_one_may_start_runs(
    schedules: Schedules, vertex: Vertex, standin: StandIn
) -> None:
    schedules.create("nightly")
    changed(schedules).replace("nightly")
    assert states(vertex) == ["PAUSED", "ACTIVE"]
    posts = [r.path.rsplit("/", 1)[1] for r in standin.requests if r.method == "POST" and "schedules" in r.path]
    assert posts == ["schedules", "schedules", "2:pause", "1:pause", "2:resume"]
    # Until it is paused it cannot start a run either: its first may come only in ten minutes.
    starting = datetime.fromisoformat(
        vertex.schedules["projects/acme-data-dev/locations/europe-west1/schedules/2"]["startTime"]
    )
    assert timedelta(minutes=9) < starting - datetime.now(UTC) < timedelta(minutes=11)


@pytest.mark.parametrize("broken_off_at", ["schedules$", "2:pause", "1:pause", "2:resume"])
def test_a_replacement_that_was_broken_off_goes_on(
    schedules: Schedules, vertex: Vertex, standin: StandIn, broken_off_at: str
) -> None:
    schedules.create("nightly")
    standin.fail("POST", broken_off_at, 403)
    with pytest.raises(CloudError):
        changed(schedules).replace("nightly")
    assert states(vertex).count("ACTIVE") <= (2 if broken_off_at == "2:pause" else 1)
    changed(schedules).replace("nightly")
    assert states(vertex) == ["PAUSED", "ACTIVE"]


def test_going_back_to_an_earlier_spec_resumes_its_schedule(schedules: Schedules, vertex: Vertex) -> None:
    schedules.create("nightly")
    changed(schedules).replace("nightly")
    schedules.replace("nightly")
    assert states(vertex) == ["ACTIVE", "PAUSED"]


def test_of_two_that_are_alike_one_stays_active(schedules: Schedules, vertex: Vertex) -> None:
    """As when somebody made a copy in the console."""
    schedules.create("nightly")
    [made] = vertex.schedules.values()
    copy = made["name"].removesuffix("1") + "2"
    vertex.schedules[copy] = {**made, "name": copy}
    schedules.replace("nightly")
    assert sorted(states(vertex)) == ["ACTIVE", "PAUSED"]


def test_lost_answers_to_pause_and_resume_do_no_harm(schedules: Schedules, vertex: Vertex, standin: StandIn) -> None:
    schedules.create("nightly")
    for path in ("2:pause", "1:pause", "2:resume"):
        standin.fail("POST", path, "lost")
    changed(schedules).replace("nightly")
    assert states(vertex) == ["PAUSED", "ACTIVE"]


def names(vertex: Vertex) -> list[str]:
    return [name.rsplit("/", 1)[-1] for name in vertex.schedules]


def twice_replaced(schedules: Schedules) -> None:
    """1 and 2 are left paused, 3 is active."""
    schedules.create("nightly")
    changed(schedules).replace("nightly")
    changed(schedules, "again").replace("nightly")


def test_pruning_deletes_what_replacements_left(schedules: Schedules, vertex: Vertex, out: io.StringIO) -> None:
    twice_replaced(schedules)
    schedules.create("training")
    schedules.pause("training")
    schedules.prune("nightly")
    assert names(vertex) == ["3", "4"]
    assert states(vertex) == ["ACTIVE", "PAUSED"]
    assert "goldline dev nightly is deleted: an old one: 2\ngoldline dev nightly is deleted: an old one: 1\n" in (
        out.getvalue()
    )
    schedules.prune("nightly")
    assert names(vertex) == ["3", "4"]
    assert "no schedule 'goldline dev nightly' is left from a replacement" in out.getvalue()


def test_pruning_deletes_nothing_where_none_is_active(
    schedules: Schedules, vertex: Vertex, standin: StandIn, out: io.StringIO
) -> None:
    twice_replaced(schedules)
    changed(schedules, "again").pause("nightly")
    schedules.prune("nightly")
    assert states(vertex) == ["PAUSED"] * 3
    assert not standin.sent("DELETE", "")
    assert "no schedule 'goldline dev nightly' is active: nothing is deleted" in out.getvalue()


def test_pruning_leaves_alone_what_goldline_did_not_make(schedules: Schedules, vertex: Vertex) -> None:
    twice_replaced(schedules)
    first, *_ = vertex.schedules.values()
    del first["createPipelineJobRequest"]["pipelineJob"]["labels"]
    schedules.prune("nightly")
    assert names(vertex) == ["1", "3"]


def test_a_lost_answer_to_a_deletion_does_no_harm(schedules: Schedules, vertex: Vertex, standin: StandIn) -> None:
    twice_replaced(schedules)
    standin.fail("DELETE", "schedules/2", "lost")
    schedules.prune("nightly")
    assert names(vertex) == ["3"]
    assert [r.path[-1] for r in standin.sent("DELETE", "")] == ["2", "2", "1"]  # the second try is told that it is gone


def test_a_deletion_that_fails_is_told(schedules: Schedules, vertex: Vertex) -> None:
    twice_replaced(schedules)
    vertex.refusal = "it is in use"
    with pytest.raises(CloudError, match="schedules/2 was not deleted: it is in use"):
        schedules.prune("nightly")


def test_no_schedule_is_replaced_shortly_before_a_run(schedules: Schedules, vertex: Vertex) -> None:
    schedules.create("nightly")
    [made] = vertex.schedules.values()
    made["nextRunTime"] = text_of(datetime.now(UTC) + timedelta(minutes=4))
    with pytest.raises(CloudError, match=r"is due at \d\d:\d\d UTC: replace it after that"):
        changed(schedules).replace("nightly")
    assert states(vertex) == ["ACTIVE"]


def test_replacing_what_is_not_there_creates_and_what_is_right_stays(
    schedules: Schedules, vertex: Vertex, out: io.StringIO
) -> None:
    schedules.replace("nightly")
    schedules.replace("nightly")
    assert states(vertex) == ["ACTIVE"]
    assert "is what it should be" in out.getvalue()


def test_the_command_line_creates_lists_pauses_and_resumes_all(
    schedules: Schedules, vertex: Vertex, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(verb: str) -> str:
        assert cli.main(["schedule", verb, "--env", "dev"]) == 0
        return capsys.readouterr().out

    assert shown("list").count("is not there: goldline schedule create --env dev") == 2
    shown("create")
    assert shown("list").count("active     TZ=UTC") == 2
    shown("pause")
    assert states(vertex) == ["PAUSED", "PAUSED"]
    assert shown("list").count("as in goldline.yaml") == 2
    shown("resume")
    assert states(vertex) == ["ACTIVE", "ACTIVE"]
    assert shown("prune").count("is left from a replacement") == 2


def test_a_schedule_that_goldline_yaml_lacks_is_refused(schedules: Schedules) -> None:
    with pytest.raises(EnvironmentsError, match="no schedule 'weekly', expected one of nightly, training"):
        schedules.create("weekly")


@pytest.mark.parametrize("text", ["", "0 2 * *", "TZ=Europe/Nowhere 0 2 * * *", "61 2 * * *", "TZ=UTC every day at 2"])
def test_the_stand_in_refuses_a_bad_cron(text: str) -> None:
    with pytest.raises(Refused):
        check_cron(text)


def test_the_stand_in_takes_only_what_is_whole(schedules: Schedules, vertex: Vertex, standin: StandIn) -> None:
    good = schedules._wanted("nightly")
    path = f"v1/{schedules.environment.parent}/schedules"
    wrong: list[Json] = [
        {k: v for k, v in good.items() if k != "cron"},
        {k: v for k, v in good.items() if k != "maxConcurrentRunCount"},
        {**good, "displayName": ""},
        {**good, "maxRuns": 1},
        {**good, "createPipelineJobRequest": {"pipelineJob": good["createPipelineJobRequest"]["pipelineJob"]}},
    ]
    for body in wrong:
        with pytest.raises(CloudError) as refused:
            schedules.cloud.post("europe-west1-aiplatform", path, body)
        assert refused.value.status == 400
    schedules.cloud.post("europe-west1-aiplatform", path, good)
