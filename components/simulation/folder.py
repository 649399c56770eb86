"""Folders of a simulator in the lake: the data where a real source would write it, the truth beside it.

A folder is simulated or real, never both. A mark beside it records seed and sizes; a folder that holds files but has
no mark is refused.
"""

import datetime
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from components.simulation import NotSimulatedError
from goldline.lake import Lake


class Mark(BaseModel):
    """Mark of a simulated folder: its settings, and the dates that it covers.

    Attributes:
        made_with: seed and sizes.
        first: date of the first file.
        last: date of the last file; None before there is one.
    """

    model_config = ConfigDict(frozen=True)

    made_with: dict[str, int]
    first: datetime.date
    last: datetime.date | None = None


@dataclass(frozen=True)
class Folder:
    """Folders of one simulated source."""

    lake: Lake
    source: str

    def data(self, day: datetime.date, name: str) -> str:
        """Path in the lake of a file of the source."""
        return f"bronze/{self.source}/run_date={day}/{name}"

    def truth(self, day: datetime.date) -> str:
        """Path in the lake of the rows that a correct reader finds."""
        return f"simulated/{self.source}/truth/run_date={day}/truth.parquet"

    def claim(self, made_with: dict[str, int], first: datetime.date) -> Mark:
        """Return the folder's mark; create it if the folder is empty.

        Raises:
            NotSimulatedError: the folder holds real files, or was simulated with other settings.
        """
        if self.lake.exists(self._mark):
            mark = Mark.model_validate_json(self.lake.read_text(self._mark))
            if mark.made_with != made_with:
                raise NotSimulatedError(
                    f"{self._where}: expected a simulation of {made_with}, got {mark.made_with}: nothing was written"
                )
            return mark
        if self.lake.holds(f"bronze/{self.source}"):
            raise NotSimulatedError(
                f"{self._where} holds files that no simulation made: nothing was written. "
                f"Choose another bucket, or set simulated_size to none to read these"
            )
        # Two runs may get here at once: they write the same but for the first date, and the later mark wins.
        return self._save(Mark(made_with=made_with, first=first))

    def wrote(self, mark: Mark, day: datetime.date) -> None:
        """Record in the mark that the files of a date are complete."""
        self._save(mark.model_copy(update={"last": max(mark.last or day, day)}))

    def _save(self, mark: Mark) -> Mark:
        self.lake.write_text(self._mark, mark.model_dump_json())
        return mark

    @property
    def _mark(self) -> str:
        return f"simulated/{self.source}/mark.json"

    @property
    def _where(self) -> str:
        return self.lake.uri(f"bronze/{self.source}/")
