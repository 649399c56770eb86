"""Cost of a month of goldline, from list prices and the number of machines that the compiled pipeline starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from goldline.spec.check.budget import Budget, nights
from goldline.spec.check.tree import Finding, Json, parse_spec

LIST_PRICES = Path(__file__).parent / "prices.yml"
NIGHTS = 30
WEEKS = 52 / 12
IMAGE_GIB = 0.9
SECRET_VERSIONS = 2


class Prices(BaseModel):
    """Prices in dollars; prices.yml says what each is for, and names the page that it is from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline_run: float = Field(ge=0)
    machine_hour: float = Field(ge=0)
    query_tib: float = Field(ge=0)
    query_free_tib: float = Field(ge=0)
    stored_gib_month: float = Field(ge=0)
    document_reads_100k: float = Field(ge=0)
    image_gib_month: float = Field(ge=0)
    secret_version_month: float = Field(ge=0)
    run_vcpu_second: float = Field(ge=0)
    run_gib_second: float = Field(ge=0)
    scheduler_job_month: float = Field(ge=0)
    composer_month: float = Field(ge=0)

    @classmethod
    def load(cls, file: Path | None = None) -> Self:
        """Load the list prices; those of a file replace them.

        Raises:
            ValueError: the file has a key that is no price, or a price that is no number.
        """
        listed = yaml.safe_load(LIST_PRICES.read_text(encoding="utf-8"))
        own = yaml.safe_load(file.read_text(encoding="utf-8")) if file else {}
        if not isinstance(own, Mapping):
            raise ValueError(f"{file}: expected prices by key, got {type(own).__name__}")
        try:
            return cls.model_validate(listed | dict(own))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
            raise ValueError(f"{file}: {problems}. Expected some of {', '.join(cls.model_fields)}") from error


@dataclass(frozen=True)
class Load:
    """Load that a month's cost is computed for.

    Attributes:
        documents: documents in the Firestore collection: a weekly sweep reads them all.
        changed_documents: documents that change a day: the nightly export reads these.
        scanned_gib: GiB that BigQuery's queries of a night read.
        stored_gib: GiB in lake and warehouse.
        start_minutes: minutes until a task's machine works; they are paid for.
        work_minutes: minutes that a task works, on average.
    """

    documents: int = 100_000
    changed_documents: int = 5_000
    scanned_gib: float = 5.0
    stored_gib: float = 50.0
    start_minutes: float = 1.5
    work_minutes: float = 0.75


@dataclass(frozen=True)
class Machines:
    """Number of runs and of machines (one per task) of a month."""

    runs: float
    tasks: float


def machines(spec: Json) -> Machines:
    """Count the runs and machines of a month of the nights in goldline.yaml.

    Raises:
        ValueError: the spec cannot be read.
    """
    parsed = parse_spec(spec)
    if isinstance(parsed, Finding):
        raise ValueError(str(parsed))
    pipeline, _ = parsed
    kinds = nights()
    return Machines(
        runs=NIGHTS / 7 * sum(night.nights_a_week for night in kinds),
        tasks=NIGHTS / 7 * sum(night.nights_a_week * Budget(pipeline, night).tasks() for night in kinds),
    )


def month(prices: Prices, load: Load, count: Machines) -> dict[str, float]:
    """Dollars a month, by item."""
    hours = count.tasks * (load.start_minutes + load.work_minutes) / 60
    reads = NIGHTS * load.changed_documents + WEEKS * load.documents
    scanned = max(0.0, NIGHTS * load.scanned_gib / 1024 - prices.query_free_tib)
    return {
        f"{count.runs:.0f} pipeline runs": count.runs * prices.pipeline_run,
        f"{count.tasks:.0f} machines, {hours:.1f} hours": hours * prices.machine_hour,
        f"{reads:,.0f} documents read": reads / 100_000 * prices.document_reads_100k,
        f"{NIGHTS * load.scanned_gib:,.0f} GiB scanned": scanned * prices.query_tib,
        f"{load.stored_gib:,.0f} GiB stored": load.stored_gib * prices.stored_gib_month,
        "image and key": IMAGE_GIB * prices.image_gib_month + SECRET_VERSIONS * prices.secret_version_month,
    }


def bare_workflow(prices: Prices, load: Load, count: Machines) -> float:
    """Dollars a month for the same work as Cloud Run jobs of one vCPU and 4 GiB, under a scheduler."""
    seconds = count.tasks * load.work_minutes * 60
    return seconds * (prices.run_vcpu_second + 4 * prices.run_gib_second) + prices.scheduler_job_month


def report(prices: Prices, load: Load, count: Machines) -> Iterator[str]:
    """Lines of two tables: the month by item, and the same nights on other services."""
    paid = month(prices, load, count)
    orchestration = sum(list(paid.values())[:2])
    width = max(map(len, paid)) + 2
    for name, dollars in paid.items():
        yield f"  {name:<{width}} {dollars:8.2f}"
    yield f"  {'a month, in dollars':<{width}} {sum(paid.values()):8.2f}"
    yield ""
    yield "  The same nights on another service (reads, queries and storage cost the same everywhere):"
    services = {
        "Vertex AI Pipelines": orchestration,
        "Cloud Composer, without the cost of the work": prices.composer_month,
        "Cloud Run jobs: no lineage, no artifacts, no console": bare_workflow(prices, load, count),
    }
    width = max(map(len, services)) + 2
    for name, dollars in services.items():
        yield f"  {name:<{width}} {dollars:8.2f}"
