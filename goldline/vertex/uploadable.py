"""Uploadable spec: the committed one, with the image by digest and an environment's values as defaults."""

import copy
from collections.abc import Mapping
from typing import Any

from goldline.spec.check.budget import nights
from goldline.spec.check.check import check
from goldline.spec.check.given import checked, declared_in
from goldline.spec.task import IMAGE
from goldline.vertex.environments import Environment, Scalar


class SpecError(ValueError):
    """The spec must not be sent: the message lists the findings against it."""


def uploadable(spec: Mapping[str, Any], environment: Environment, image: str) -> dict[str, Any]:
    """Spec for one environment; the console's form is filled in with the environment's values.

    Args:
        spec: the compiled spec.
        environment: environment whose values become defaults.
        image: name of the image by digest.

    Raises:
        SpecError: the check of the spec finds something.
        ParameterError: a value is wrong.
    """
    found = copy.deepcopy(dict(spec))
    for executor in found["deploymentSpec"]["executors"].values():
        if executor.get("container", {}).get("image") == IMAGE:
            executor["container"]["image"] = image
    declared = declared_in(found)
    here: dict[str, Scalar] = {"vertex_region": environment.location, "serving_image": image}
    for name, value in checked(here | environment.values(), declared).items():
        declared[name]["defaultValue"] = value
    if findings := check(found, nights()):
        raise SpecError("the spec is not sent:\n" + "\n".join(f"  {finding}" for finding in findings))
    return found
