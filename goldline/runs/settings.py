"""Settings of a run: the pipeline's parameters, before date and place are resolved."""

from dataclasses import dataclass

from goldline.clients import default_project
from goldline.runs.context import NOT_SIMULATED, RunPlace


@dataclass(frozen=True)
class Settings:
    """Pipeline parameters of a run; see `place` for an empty project or bucket.

    Attributes:
        run_date: YYYY-MM-DD; empty: the day before the schedule's time, or before the job's creation.
        full_refresh: tables to rebuild, separated by commas; `all` for every table.
        lookback_days: days before the first unfinished date that are read again.
        train: `auto`, `yes` or `no`.

    The other attributes are those of RunContext.
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
        """Place of the run; by default the environment's project, and its bucket `<project>-goldline`.

        Raises:
            ValueError: no project is given, and the environment has none.
        """
        project = self.project or default_project()
        return RunPlace(
            run_id=run_id,
            project=project,
            location=self.location,
            bucket=self.bucket or f"{project}-goldline",
            dataset_prefix=self.dataset_prefix,
        )
