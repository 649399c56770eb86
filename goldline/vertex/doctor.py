"""What an environment lacks before its first run, each with the command that mends it. Nothing is changed here."""

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
# To start runs and schedules: what roles/aiplatform.user holds of it.
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
class Told:
    """One thing that was looked at.

    Attributes:
        mend: the command that mends it; empty where it is right.
    """

    is_right: bool
    what: str
    mend: str = ""


class Doctor:
    """Looks at an environment."""

    def __init__(self, environment: Environment, parameters: Mapping[str, Any], cloud: Cloud) -> None:
        """Take the parameters that runs will have there."""
        self.environment = environment
        self.project = environment.project
        self.cloud = cloud
        self.datasets_location = str(parameters["location"])
        self.database = str(parameters.get("database", "(default)"))
        self.prefix = str(parameters.get("dataset_prefix", ""))

    def look(self, out: TextIO | None = None) -> int:
        """Show what is right and what is missing; 1 if something is.

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
            for told in self._told(check):
                missing += not told.is_right
                out.write(f"  {'✓' if told.is_right else '✗'} {told.what}\n")
                if told.mend:
                    out.write(f"      {told.mend}\n")
                out.flush()
        out.write(f"{missing} to mend\n" if missing else f"{self.environment.name} has what a run needs\n")
        return 1 if missing else 0

    def _told(self, check: Callable[[], Iterator[Told]]) -> Iterator[Told]:
        try:
            yield from check()
        except CredentialsError:
            raise
        except CloudError as error:  # one thing that cannot be seen must not hide the others
            topic = check.__name__.strip("_").replace("_", " ")
            mend = "ask for the permission that the message names" if error.status == HTTPStatus.FORBIDDEN else ""
            yield Told(is_right=False, what=f"{topic}: could not be looked at: {error}", mend=mend)

    def _apis(self) -> Iterator[Told]:
        names = [f"projects/{self.project}/services/{api}.googleapis.com" for api in APIS]
        # batchGet answers also for APIs that were never on
        # (https://cloud.google.com/service-usage/docs/reference/rest/v1/services/batchGet).
        answer = self.cloud.get("serviceusage", f"v1/projects/{self.project}/services:batchGet", names=names)
        states = {s["name"].rsplit("/", 1)[1].split(".")[0]: s.get("state") for s in answer.get("services", [])}
        if off := [api for api in APIS if states.get(api) != "ENABLED"]:
            apis = " ".join(f"{api}.googleapis.com" for api in off)
            yield Told(
                False, f"APIs that are off: {', '.join(off)}", f"gcloud services enable {apis} {self._in_project}"
            )
        else:
            yield Told(True, f"APIs are on: {', '.join(APIS)}")

    def _permissions(self) -> Iterator[Told]:
        path = f"v1/projects/{self.project}:testIamPermissions"
        answer = self.cloud.post("cloudresourcemanager", path, {"permissions": list(PERMISSIONS)})
        if lacking := [p for p in PERMISSIONS if p not in answer.get("permissions", [])]:
            mend = (
                f"gcloud projects add-iam-policy-binding {self.project} --member user:YOU --role roles/aiplatform.user"
            )
            if "bigquery.jobs.create" in lacking:
                mend += "; and the same with --role roles/bigquery.jobUser"
            yield Told(False, f"you lack {', '.join(lacking)}", mend)
        else:
            yield Told(True, "you may start runs and schedules")

    def _bucket(self) -> Iterator[Told]:
        name, where = self.environment.bucket, self.datasets_location
        found = self.cloud.find("storage", f"storage/v1/b/{name}")
        if found is None:
            mend = f"gcloud storage buckets create gs://{name} --location {where} --uniform-bucket-level-access"
            yield Told(False, f"there is no bucket gs://{name}", f"{mend} {self._in_project}")
        elif not may_read(where, str(found["location"])):
            yield Told(
                False,
                f"regions: gs://{name} lies in {found['location']}, and datasets in {where} cannot read files there",
                f"set `parameters: {{location: {found['location']}}}` in goldline.yaml before the first run, or take "
                f"another bucket",
            )
        else:
            yield Told(True, f"bucket gs://{name} in {found['location']}")

    def _datasets(self) -> Iterator[Told]:
        there, where = [], self.datasets_location
        for dataset in (f"{self.prefix}{name}" for name in DATASETS):
            found = self.cloud.find("bigquery", f"bigquery/v2/projects/{self.project}/datasets/{dataset}")
            if found and found["location"].lower() != where.lower():
                yield Told(
                    False,
                    f"regions: the dataset {dataset} lies in {found['location']}, runs look for it in {where}",
                    f"set `parameters: {{location: {found['location']}}}` in goldline.yaml",
                )
            elif found:
                there.append(dataset)
        yield Told(True, f"datasets in {where}: {', '.join(there) or 'none yet'}; a run makes those that are missing")

    def _firestore(self) -> Iterator[Told]:
        path = f"v1/projects/{self.project}/databases/{quote(self.database, safe='()')}"
        found = self.cloud.find("firestore", path)
        of = f"--database='{self.database}' {self._in_project}"
        if found is None:
            mend = f"gcloud firestore databases create --location {self.environment.location} --enable-pitr {of}"
            yield Told(False, f"there is no Firestore database {self.database}", mend)
        elif found.get("type") != "FIRESTORE_NATIVE":
            mend = "name one in Native mode: the parameter `database` in goldline.yaml"
            yield Told(False, f"the database {self.database} is {found.get('type')}, expected FIRESTORE_NATIVE", mend)
        elif found.get("pointInTimeRecoveryEnablement") != "POINT_IN_TIME_RECOVERY_ENABLED":
            yield Told(
                False,
                "Firestore's point-in-time recovery is off: an export may then read no further back than an hour",
                f"gcloud firestore databases update --enable-pitr {of}",
            )
        else:
            yield Told(True, f"Firestore {self.database} in {found.get('locationId')}, with point-in-time recovery")

    def _image(self) -> Iterator[Told]:
        image = self.environment.image
        try:
            yield Told(True, f"image {by_digest(self.cloud, image)}")
        except ImageError:
            yield Told(False, f"there is no image {image}", f"make image, then: docker push {image}")

    def _templates(self) -> Iterator[Told]:
        if not (name := self.environment.templates):
            yield Told(True, "no repository for the console's templates is asked for")
            return
        found = self.cloud.find("artifactregistry", f"v1/{self.environment.parent}/repositories/{name}")
        mend = f"gcloud artifacts repositories create {name} --repository-format kfp"
        if found is None:
            mend = f"{mend} --location {self.environment.location} {self._in_project}"
            yield Told(False, f"there is no repository {name} for the console's templates", mend)
        elif found.get("format") != "KFP":
            yield Told(
                False, f"the repository {name} is {found.get('format')}, templates need KFP", "take another name"
            )
        else:
            yield Told(True, f"repository {name} for the console's templates")

    def _service_account(self) -> Iterator[Told]:
        account = self.environment.service_account
        path = f"v1/projects/-/serviceAccounts/{account}"
        found = self.cloud.find("iam", path)
        if found is None:
            mend = f"gcloud iam service-accounts create {account.split('@')[0]} {self._in_project}"
            yield Told(False, f"there is no service account {account}", mend)
            return
        if found.get("disabled"):
            mend = f"gcloud iam service-accounts enable {account} {self._in_project}"
            yield Told(False, f"the service account {account} is disabled", mend)
        else:
            yield Told(True, f"service account {account}")
        # https://cloud.google.com/iam/docs/service-account-permissions
        answer = self.cloud.post("iam", f"{path}:testIamPermissions", {"permissions": [ACT_AS]})
        if ACT_AS in answer.get("permissions", []):
            yield Told(True, "you may act as it")
        else:
            mend = f"gcloud iam service-accounts add-iam-policy-binding {account} --member user:YOU"
            yield Told(False, "you may not act as it", f"{mend} --role roles/iam.serviceAccountUser {self._in_project}")

    def _secret(self) -> Iterator[Told]:
        name = f"projects/{self.project}/secrets/{SECRET_ID}"
        if self.cloud.find("secretmanager", f"v1/{name}") is None:
            mend = f"gcloud secrets create {SECRET_ID} --replication-policy automatic {self._in_project}"
            yield Told(False, f"there is no secret {SECRET_ID}, the key for pseudonyms", f"{mend}; {_first_key(name)}")
        elif not list(self.cloud.every("secretmanager", f"v1/{name}/versions", "versions", filter="state:ENABLED")):
            yield Told(False, f"the secret {SECRET_ID} has no enabled version", _first_key(name))
        else:
            yield Told(True, f"secret {SECRET_ID}")

    @property
    def _in_project(self) -> str:
        return f"--project {self.project}"


def may_read(datasets: str, bucket: str) -> bool:
    """Whether datasets of one location may read the files of a bucket in another.

    https://cloud.google.com/bigquery/docs/external-data-cloud-storage#location-considerations: the same location; or a
    multi-region of datasets and a region inside it. London and Zurich are not in the EU's
    (https://cloud.google.com/bigquery/docs/locations). Dual-regions are taken for unfit.
    """
    datasets, bucket = datasets.lower(), bucket.lower()
    inside = {"us": "us-", "eu": "europe-"}
    outside = {"europe-west2", "europe-west6"}
    return datasets == bucket or (datasets in inside and bucket.startswith(inside[datasets]) and bucket not in outside)


def _first_key(secret: str) -> str:
    return f"GOLDLINE_PII_SECRET={secret} goldline rotate-key"
