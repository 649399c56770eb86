"""Check of an environment before its first run: what it lacks, with the command that mends it; nothing is changed."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TextIO
from urllib.parse import quote

from goldline.contracts.table_names import DATASETS
from goldline.privacy.pseudonym import SECRET_ID
from goldline.vertex.api import Cloud
from goldline.vertex.environments import Environment
from goldline.vertex.errors import CloudError, CredentialsError
from goldline.vertex.image_digest import ImageError, by_digest

APIS = (
    "aiplatform",
    "artifactregistry",
    "bigquery",
    "bigquerystorage",
    "cloudresourcemanager",
    "firestore",
    "iam",
    "logging",
    "secretmanager",
    "storage",
)
# Needed to start runs and schedules: those of roles/aiplatform.user, and one of roles/bigquery.jobUser.
PERMISSIONS = (
    "aiplatform.pipelineJobs.create",
    "aiplatform.pipelineJobs.get",
    "aiplatform.schedules.create",
    "aiplatform.schedules.delete",
    "aiplatform.schedules.list",
    "bigquery.jobs.create",
)
ACT_AS = "iam.serviceAccounts.actAs"


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        what: text for the user, good or bad.
        mend: command that mends it; empty if it is right.
    """

    is_right: bool
    what: str
    mend: str = ""


class Doctor:
    """Checks of an environment."""

    def __init__(self, environment: Environment, parameters: Mapping[str, Any], cloud: Cloud) -> None:
        """Take the environment, the parameters of its runs, and the client."""
        self.environment = environment
        self.project = environment.project
        self.cloud = cloud
        self.datasets_location = str(parameters["location"])
        self.database = str(parameters.get("database", "(default)"))
        self.prefix = str(parameters.get("dataset_prefix", ""))

    def look(self, out: TextIO | None = None) -> int:
        """Show what is right and what is missing; return 1 if something is missing, else 0.

        Raises:
            CredentialsError: there are no credentials to look with.
        """
        out = out or sys.stdout
        missing = 0
        for check in (
            self._apis,
            self._permissions,
            self._bucket,
            self._datasets,
            self._firestore,
            self._image,
            self._templates,
            self._service_account,
            self._secret,
        ):
            for result in self._results(check):
                missing += not result.is_right
                out.write(f"  {'✓' if result.is_right else '✗'} {result.what}\n")
                if result.mend:
                    out.write(f"      {result.mend}\n")
                out.flush()
        out.write(f"{missing} to mend\n" if missing else f"{self.environment.name} has what a run needs\n")
        return 1 if missing else 0

    def _results(self, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
        try:
            yield from check()
        except CredentialsError:
            raise
        except CloudError as error:  # a check that fails must not hide the others
            topic = check.__name__.strip("_").replace("_", " ")
            mend = "ask for the permission that the message names" if error.status == HTTPStatus.FORBIDDEN else ""
            yield Check(is_right=False, what=f"{topic}: could not be checked: {error}", mend=mend)

    def _apis(self) -> Iterator[Check]:
        names = [f"projects/{self.project}/services/{api}.googleapis.com" for api in APIS]
        # batchGet also answers for APIs that were never enabled
        # (https://cloud.google.com/service-usage/docs/reference/rest/v1/services/batchGet).
        answer = self.cloud.get("serviceusage", f"v1/projects/{self.project}/services:batchGet", names=names)
        states = {s["name"].rsplit("/", 1)[1].split(".")[0]: s.get("state") for s in answer.get("services", [])}
        if off := [api for api in APIS if states.get(api) != "ENABLED"]:
            apis = " ".join(f"{api}.googleapis.com" for api in off)
            yield Check(
                False, f"APIs that are disabled: {', '.join(off)}", f"gcloud services enable {apis} {self._in_project}"
            )
        else:
            yield Check(True, f"APIs are enabled: {', '.join(APIS)}")

    def _permissions(self) -> Iterator[Check]:
        path = f"v1/projects/{self.project}:testIamPermissions"
        answer = self.cloud.post("cloudresourcemanager", path, {"permissions": list(PERMISSIONS)})
        if lacking := [p for p in PERMISSIONS if p not in answer.get("permissions", [])]:
            mend = (
                f"gcloud projects add-iam-policy-binding {self.project} --member user:YOU --role roles/aiplatform.user"
            )
            if "bigquery.jobs.create" in lacking:
                mend += "; and the same with --role roles/bigquery.jobUser"
            yield Check(False, f"you lack {', '.join(lacking)}", mend)
        else:
            yield Check(True, "you may start runs and schedules")

    def _bucket(self) -> Iterator[Check]:
        name, where = self.environment.bucket, self.datasets_location
        found = self.cloud.find("storage", f"storage/v1/b/{name}")
        if found is None:
            mend = f"gcloud storage buckets create gs://{name} --location {where} --uniform-bucket-level-access"
            yield Check(False, f"there is no bucket gs://{name}", f"{mend} {self._in_project}")
        elif not may_read(where, str(found["location"])):
            yield Check(
                False,
                f"regions: gs://{name} lies in {found['location']}, and datasets in {where} cannot read files there",
                f"set `parameters: {{location: {found['location']}}}` in goldline.yaml before the first run, or take "
                f"another bucket",
            )
        else:
            yield Check(True, f"bucket gs://{name} in {found['location']}")

    def _datasets(self) -> Iterator[Check]:
        there, where = [], self.datasets_location
        for dataset in (f"{self.prefix}{name}" for name in DATASETS):
            found = self.cloud.find("bigquery", f"bigquery/v2/projects/{self.project}/datasets/{dataset}")
            if found and found["location"].lower() != where.lower():
                yield Check(
                    False,
                    f"regions: the dataset {dataset} lies in {found['location']}, runs look for it in {where}",
                    f"set `parameters: {{location: {found['location']}}}` in goldline.yaml",
                )
            elif found:
                there.append(dataset)
        yield Check(True, f"datasets in {where}: {', '.join(there) or 'none yet'}; a run makes those that are missing")

    def _firestore(self) -> Iterator[Check]:
        path = f"v1/projects/{self.project}/databases/{quote(self.database, safe='()')}"
        found = self.cloud.find("firestore", path)
        of = f"--database='{self.database}' {self._in_project}"
        if found is None:
            mend = f"gcloud firestore databases create --location {self.environment.location} --enable-pitr {of}"
            yield Check(False, f"there is no Firestore database {self.database}", mend)
        elif found.get("type") != "FIRESTORE_NATIVE":
            mend = "name one in Native mode: the parameter `database` in goldline.yaml"
            yield Check(False, f"the database {self.database} is {found.get('type')}, expected FIRESTORE_NATIVE", mend)
        elif found.get("pointInTimeRecoveryEnablement") != "POINT_IN_TIME_RECOVERY_ENABLED":
            yield Check(
                False,
                "Firestore's point-in-time recovery is off: an export may then read no further back than an hour",
                f"gcloud firestore databases update --enable-pitr {of}",
            )
        else:
            yield Check(True, f"Firestore {self.database} in {found.get('locationId')}, with point-in-time recovery")

    def _image(self) -> Iterator[Check]:
        image = self.environment.image
        try:
            yield Check(True, f"image {by_digest(self.cloud, image)}")
        except ImageError:
            yield Check(False, f"there is no image {image}", f"make image, then: docker push {image}")

    def _templates(self) -> Iterator[Check]:
        if not (name := self.environment.templates):
            yield Check(True, "no repository for the console's templates is configured")
            return
        found = self.cloud.find("artifactregistry", f"v1/{self.environment.parent}/repositories/{name}")
        mend = f"gcloud artifacts repositories create {name} --repository-format kfp"
        if found is None:
            mend = f"{mend} --location {self.environment.location} {self._in_project}"
            yield Check(False, f"there is no repository {name} for the console's templates", mend)
        elif found.get("format") != "KFP":
            yield Check(
                False, f"the repository {name} is {found.get('format')}, templates need KFP", "take another name"
            )
        else:
            yield Check(True, f"repository {name} for the console's templates")

    def _service_account(self) -> Iterator[Check]:
        account = self.environment.service_account
        path = f"v1/projects/-/serviceAccounts/{account}"
        found = self.cloud.find("iam", path)
        if found is None:
            mend = f"gcloud iam service-accounts create {account.split('@')[0]} {self._in_project}"
            yield Check(False, f"there is no service account {account}", mend)
            return
        if found.get("disabled"):
            mend = f"gcloud iam service-accounts enable {account} {self._in_project}"
            yield Check(False, f"the service account {account} is disabled", mend)
        else:
            yield Check(True, f"service account {account}")
        # https://cloud.google.com/iam/docs/service-account-permissions
        answer = self.cloud.post("iam", f"{path}:testIamPermissions", {"permissions": [ACT_AS]})
        if ACT_AS in answer.get("permissions", []):
            yield Check(True, "you can act as it")
        else:
            mend = f"gcloud iam service-accounts add-iam-policy-binding {account} --member user:YOU"
            yield Check(False, "you cannot act as it", f"{mend} --role roles/iam.serviceAccountUser {self._in_project}")

    def _secret(self) -> Iterator[Check]:
        name = f"projects/{self.project}/secrets/{SECRET_ID}"
        if self.cloud.find("secretmanager", f"v1/{name}") is None:
            mend = f"gcloud secrets create {SECRET_ID} --replication-policy automatic {self._in_project}"
            yield Check(False, f"there is no secret {SECRET_ID}, the key for pseudonyms", f"{mend}; {_first_key(name)}")
        elif not list(self.cloud.every("secretmanager", f"v1/{name}/versions", "versions", filter="state:ENABLED")):
            yield Check(False, f"the secret {SECRET_ID} has no enabled version", _first_key(name))
        else:
            yield Check(True, f"secret {SECRET_ID}")

    @property
    def _in_project(self) -> str:
        return f"--project {self.project}"


def may_read(datasets: str, bucket: str) -> bool:
    """Whether datasets of one location may read the files of a bucket in another.

    https://cloud.google.com/bigquery/docs/external-data-cloud-storage#location-considerations: the same location; or a
    multi-region of datasets and a region inside it. London and Zurich are not in the EU's
    (https://cloud.google.com/bigquery/docs/locations). Dual-regions count as not readable.
    """
    datasets, bucket = datasets.lower(), bucket.lower()
    inside = {"us": "us-", "eu": "europe-"}
    outside = {"europe-west2", "europe-west6"}
    return datasets == bucket or (datasets in inside and bucket.startswith(inside[datasets]) and bucket not in outside)


def _first_key(secret: str) -> str:
    return f"GOLDLINE_PII_SECRET={secret} goldline rotate-key"
