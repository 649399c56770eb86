"""Settings of a run as the pipeline's parameters give them, before its date and place are resolved."""

from dataclasses import dataclass

from goldline.clients import default_project
from goldline.runs.context import NOT_SIMULATED, RunPlace


@dataclass(frozen=True)
class Settings:
    """Where and how a run works; an empty value is the environment's.

    Attributes:
        run_date: YYYY-MM-DD; empty: the day before the schedule's time, or before the job's creation.
        full_refresh: tables to make anew, with commas between; `all` for every one.
        lookback_days: days before the first unfinished date that are read again.
        train: `auto`, `yes` or `no`.

    The others are those of RunContext.
    """

    run_date: str
    project: str
    location: str
    bucket: str
    dataset_prefix: str = ""
    full_refresh: str = ""
    lookback_days: int = 0
    train: str = "auto"
    seed: int = 7
    simulated_size: str = NOT_SIMULATED
    vertex_region: str = ""
    serving_image: str = ""

    def place(self, run_id: str) -> RunPlace:
        """Place of the run: project and bucket as given, else the environment's.

        Raises:
            ValueError: neither names a project.
        """
        project = self.project or default_project()
        return RunPlace(
            run_id=run_id,
            project=project,
            location=self.location,
            bucket=self.bucket or f"{project}-goldline",
            dataset_prefix=self.dataset_prefix,
        )
