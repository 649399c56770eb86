"""Templates in Artifact Registry, from which the console starts runs with a form."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from goldline.vertex.api import Cloud
from goldline.vertex.environments import Environment


def as_yaml(spec: Mapping[str, Any]) -> str:
    """A spec as the registry takes it, its keys in order: the same spec is the same version."""
    text: str = yaml.dump(dict(spec), Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True, width=2**20)
    return text


def register(cloud: Cloud, environment: Environment, text: str, tags: Iterable[str]) -> str:
    """Upload a spec as a template; its address. The same content again is the same version, with its tags moved.

    The request is that of kfp.registry.RegistryClient, which knows neither timeouts nor retries.

    Raises:
        ValueError: the environment names no repository for templates.
        CloudError: the registry refused it.
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
