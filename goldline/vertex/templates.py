"""Templates in Artifact Registry: the console starts runs from them with a form."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from goldline.vertex.api import Cloud
from goldline.vertex.environments import Environment


def as_yaml(spec: Mapping[str, Any]) -> str:
    """Spec as YAML with sorted keys, so that the same spec is the same version."""
    text: str = yaml.dump(dict(spec), Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True, width=2**20)
    return text


def register(cloud: Cloud, environment: Environment, text: str, tags: Iterable[str]) -> str:
    """Upload a spec as a template; return its address. The same content again is the same version, with tags moved.

    The request is that of kfp.registry.RegistryClient, which has neither timeouts nor retries.

    Raises:
        ValueError: the environment names no repository for templates.
        CloudError: the registry refused it, or could not be reached.
    """
    if not environment.templates:
        raise ValueError(f"goldline.yaml: environments.{environment.name} names no repository under `templates`")
    path = f"{environment.project}/{environment.templates}"
    answer = cloud.request(
        "POST",
        f"{environment.location}-kfp",
        path,
        data={"tags": ",".join(tags)},
        files={"content": ("pipeline.yaml", text.encode())},
    )
    package, version = answer.text.strip().split("/")
    return f"https://{environment.location}-kfp.pkg.dev/{path}/{package}/{version}"
