"""The model registry's part of the stand-in: uploads, versions and their aliases."""

import re
from typing import Any

from google.cloud.aiplatform_v1.types import MergeVersionAliasesRequest, Model, UploadModelRequest

from tests.support.standin import Json, Refused, Request, StandIn, invalid
from tests.support.standin_vertex import PARENT, REGION, as_told, parsed

# UploadModelRequest.model_id and Model.version_aliases, of the types' docstrings.
MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
RESPONSE = "type.googleapis.com/google.cloud.aiplatform.v1.UploadModelResponse"
ALIAS = re.compile(r"-?[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")


class Models:
    """The models that were uploaded: their versions by resource name, the first at 0."""

    def __init__(self, standin: StandIn) -> None:
        self.versions: dict[str, list[Json]] = {}
        self.slow = 0  # times that an upload is looked at before it is done
        self.refusal = ""  # what an upload fails with, after it was accepted
        self._operations: dict[str, tuple[int, Json]] = {}
        model = f"v1/({PARENT[3:]}/models/[^/:@]+)"
        for method, path, handler in (
            ("POST", f"{PARENT}/models:upload", self._upload),
            ("GET", f"v1/({PARENT[3:]}/operations/[^/:]+)", self._operation),
            ("GET", model, self._get),
            ("GET", f"{model}:listVersions", self._list),
            ("POST", f"{model}@(\\d+):mergeVersionAliases", self._merge),
        ):
            standin.route(method, REGION, path, handler)
        # The SDK's REST transport asks for operations below /ui/.
        standin.route("GET", "ui", f"({PARENT[3:]}/operations/[^/:]+)", self._operation)

    def champions(self, name: str) -> list[str]:
        """The versions with the alias champion, by their label."""
        return [v["labels"]["goldline_version"] for v in self.versions[name] if "champion" in v["versionAliases"]]

    def _upload(self, request: Request) -> Json:
        parent = request.parts[0]
        body = parsed({"parent": parent, **request.json}, UploadModelRequest)
        model = body["model"]
        if not model.get("displayName"):
            raise invalid("model.display_name is required")
        if not model.get("artifactUri", "").startswith("gs://") or not model.get("containerSpec", {}).get("imageUri"):
            raise invalid("model.artifact_uri and model.container_spec.image_uri are required")
        if not all(ALIAS.fullmatch(alias) for alias in model.get("versionAliases", [])):
            raise invalid(f"model.version_aliases: {model['versionAliases']}")
        name = body.get("parentModel") or f"{parent}/models/{body.get('modelId', len(self.versions))}"
        if "parentModel" in body and name not in self.versions:
            raise Refused(404, "NOT_FOUND", f"{name} was not found")
        if "parentModel" not in body and name in self.versions:
            raise Refused(409, "ALREADY_EXISTS", f"{name} already exists")
        if not MODEL_ID.fullmatch(name.rsplit("/", 1)[1]):
            raise invalid(f"model_id: {name}")
        operation = f"{parent}/operations/{len(self._operations) + 1}"
        if self.refusal:
            outcome: Json = {"error": {"code": 9, "message": self.refusal}}
        else:
            versions = self.versions.setdefault(name, [])
            number = str(len(versions) + 1)
            versions.append({**model, "name": name, "versionId": number})
            self._take_aliases(versions, versions[-1], model.get("versionAliases", []))
            outcome = {"response": {"@type": RESPONSE, "model": name, "modelVersionId": number}}
        self._operations[operation] = (self.slow, outcome)
        return {"name": operation}

    def _operation(self, request: Request) -> Json:
        name = request.parts[0]
        left, outcome = self._operations[name]
        self._operations[name] = (left - 1, outcome)
        return {"name": name} if left > 0 else {"name": name, "done": True, **outcome}

    def _get(self, request: Request) -> Json:
        name, _, number = request.parts[0].partition("@")
        return as_told(self._versions(name)[int(number or 0) - 1], Model)

    def _list(self, request: Request) -> Json:
        # One a page, so that whoever reads only the first page is found out.
        found, at = self._versions(request.parts[0]), int(request.one("pageToken") or 0)
        more = {"nextPageToken": str(at + 1)} if at + 1 < len(found) else {}
        return {"models": [as_told(v, Model) for v in found[at : at + 1]], **more}

    def _merge(self, request: Request) -> Json:
        name, number = request.parts[0], request.parts[-1]  # between them the parent, which the name begins with
        body = parsed({"name": f"{name}@{number}", **request.json}, MergeVersionAliasesRequest)
        if not all(ALIAS.fullmatch(alias) for alias in body["versionAliases"]):
            raise invalid(f"version_aliases: {body['versionAliases']}")
        versions = self._versions(name)
        self._take_aliases(versions, versions[int(number) - 1], body["versionAliases"])
        return as_told(versions[int(number) - 1], Model)

    def _versions(self, name: str) -> list[Json]:
        if name not in self.versions:
            raise Refused(404, "NOT_FOUND", f"{name} was not found")
        return self.versions[name]

    @staticmethod
    def _take_aliases(versions: list[Json], version: Json, aliases: list[Any]) -> None:
        """An alias is one version's at a time."""
        for alias in aliases:
            for other in versions:
                other["versionAliases"] = [a for a in other.get("versionAliases", []) if a != alias.removeprefix("-")]
            if not alias.startswith("-"):
                version["versionAliases"].append(alias)
