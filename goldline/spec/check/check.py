"""Check of a compiled pipeline before it is sent, since neither KFP's compiler nor Vertex AI's SDK checks it.

The SDK posts a spec with a dangling reference like a good one; the error shows minutes later, on a machine that has to
be paid. `check` reads the spec alone, takes milliseconds, and returns all that it finds.
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


def check(spec: Json, scenarios: Sequence[Scenario] = ()) -> list[Finding]:
    """Findings against sending this spec to Vertex AI; empty if it may be sent.

    Args:
        spec: the compiled spec.
        scenarios: kinds of nights, and the most tasks of each: see `nights`.
    """
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
    if not broken:  # in a broken spec the tasks cannot be counted
        for scenario in scenarios:
            findings += Budget(pipeline, scenario).findings()
    return findings
