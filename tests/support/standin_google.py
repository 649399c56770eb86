"""The other services of the stand-in: resources by path, permissions by name, a registry of templates."""

import hashlib

import yaml

from tests.support.standin import Json, Refused, Request, StandIn, form, invalid
from tests.support.standin_vertex import check_spec

DIGEST = "sha256:" + "1" * 64


class Google:
    """Resources that are there, by service and path; a test takes some away or changes them."""

    def __init__(self, standin: StandIn, project: str) -> None:
        self.project = project
        self.apis_off: set[str] = set()
        self.permissions_lacking: set[str] = set()
        self.templates: dict[str, Json] = {}  # by version
        self.tags: dict[str, str] = {}  # the version of each
        account = f"goldline-pipeline@{project}.iam.gserviceaccount.com"
        parent = f"v1/projects/{project}"
        registry = f"{parent}/locations/europe-west1/repositories"
        secret = f"{parent}/secrets/goldline-pii-key"
        self.resources: dict[tuple[str, str], Json] = {
            ("storage", f"storage/v1/b/{project}-goldline"): {"location": "EUROPE-WEST1"},
            ("bigquery", f"bigquery/v2/projects/{project}/datasets/silver"): {"location": "europe-west1"},
            ("firestore", f"{parent}/databases/(default)"): {
                "type": "FIRESTORE_NATIVE",
                "locationId": "eur3",
                "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_ENABLED",
            },
            ("artifactregistry", f"{registry}/goldline/packages/goldline/tags/1.0"): {
                "version": f"{registry}/goldline/packages/goldline/versions/{DIGEST}"
            },
            ("artifactregistry", f"{registry}/goldline-pipelines"): {"format": "KFP"},
            ("iam", f"v1/projects/-/serviceAccounts/{account}"): {"email": account},
            ("secretmanager", secret): {"name": secret},
            ("secretmanager", f"{secret}/versions"): {"versions": [{"name": f"{secret}/versions/1"}]},
        }
        standin.route("GET", "serviceusage", "v1/projects/[^/]+/services:batchGet", self._services)
        standin.route("POST", "cloudresourcemanager|iam", ".*:testIamPermissions", self._permissions)
        standin.route("POST", "europe-west1-kfp", "([^/]+)/([^/]+)", self._template)
        standin.route("GET", "storage|bigquery|firestore|artifactregistry|iam|secretmanager", ".*", self._resource)

    def _resource(self, request: Request) -> Json:
        if (found := self.resources.get((request.service, request.path))) is None:
            raise Refused(404, "NOT_FOUND", f"{request.path} was not found")
        return found

    def _services(self, request: Request) -> Json:
        names = request.query.get("names", [])
        if not 0 < len(names) <= 30:
            raise invalid("names: from 1 to 30")
        return {
            "services": [
                {"name": name, "state": "DISABLED" if name.rsplit("/", 1)[1] in self.apis_off else "ENABLED"}
                for name in names
            ]
        }

    def _permissions(self, request: Request) -> Json:
        asked = request.json["permissions"]
        return {"permissions": [p for p in asked if p not in self.permissions_lacking]}

    def _template(self, request: Request) -> bytes:
        """https://cloud.google.com/vertex-ai/docs/pipelines/create-pipeline-template, as kfp.registry sends it."""
        fields = form(request)
        spec = yaml.safe_load(fields["content"])
        check_spec(spec)
        version = f"sha256:{hashlib.sha256(fields['content']).hexdigest()}"
        self.templates[version] = spec
        self.tags |= dict.fromkeys(fields["tags"].decode().split(","), version)
        return f"{spec['pipelineInfo']['name']}/{version}".encode()
