"""The spec as it is sent: the committed one, with the image by digest and an environment's values as defaults."""

import copy
from collections.abc import Mapping
from typing import Any

from goldline.spec.check.budget import nights
from goldline.spec.check.check import check
from goldline.spec.check.given import checked, declared_in
from goldline.spec.task import IMAGE
from goldline.vertex.environments import Environment, Scalar


class SpecError(ValueError):
    """The spec must not be sent: the message lists what speaks against it."""


def uploadable(spec: Mapping[str, Any], environment: Environment, image: str) -> dict[str, Any]:
    """The spec for one environment. Whoever starts it from the console finds the form filled in with its values.

    Args:
        spec: as compiled.
        environment: whose values become defaults.
        image: by digest.

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
