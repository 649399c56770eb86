"""Checks a compiled pipeline before it is sent, since neither KFP's compiler nor Vertex AI's SDK does.

The SDK posts a spec with a dangling reference as gladly as a good one; what is wrong shows minutes later, on a machine
that has to be paid. `check` reads the spec alone, takes milliseconds, and returns all that it finds.
"""

from collections.abc import Sequence

from goldline.spec.check.budget import Budget, Scenario
from goldline.spec.check.limits import (
    check_arguments,
    check_defaults,
    check_machines,
    check_names,
    check_root_parameters,
    check_sources,
    check_topology,
)
from goldline.spec.check.tree import Finding, Json, parse_spec
from goldline.spec.check.wiring import check_components, check_wiring

_NIGHT = {"run_sales": True, "run_clickstream": True, "run_startups": False, "run_transit": True, "simulated": False}
_TRAINS = ("prepare-run.train_churn", "prepare-run.train_headway")
_ACCEPTED = ("evaluate-churn.Output", "evaluate-headway.Output")
_OPTIONAL = frozenset({"run_clickstream", "run_startups", "run_transit", "simulated", *_TRAINS, *_ACCEPTED})

# The budgets are the design's. Startups come weekly: they do not count on other nights, and with them a night may cost
# what one with training does.
SCENARIOS = (
    Scenario("plain night", _NIGHT, 18, 8, dict.fromkeys(_TRAINS, False), _OPTIONAL),
    Scenario("training night", _NIGHT, 26, 11, dict.fromkeys(_TRAINS + _ACCEPTED, True), _OPTIONAL),
    Scenario(
        "Friday",
        _NIGHT | {"run_startups": True},
        26,
        11,
        dict.fromkeys(_TRAINS, False),
        _OPTIONAL,
    ),
)


def check(spec: Json, scenarios: Sequence[Scenario] = SCENARIOS) -> list[Finding]:
    """All that speaks against sending this spec to Vertex AI; nothing, if it may go."""
    parsed = parse_spec(spec)
    if isinstance(parsed, Finding):
        return [parsed]
    pipeline, findings = parsed
    broken = list(check_components(pipeline))
    for dag in pipeline.dags:
        broken += check_wiring(pipeline, dag)
    findings += broken
    for rule in (
        check_topology,
        check_machines,
        check_names,
        check_arguments,
        check_defaults,
        check_sources,
        check_root_parameters,
    ):
        findings += rule(pipeline)
    if not broken:  # or the tasks cannot be counted
        for scenario in scenarios:
            findings += Budget(pipeline, scenario).findings()
    return findings
