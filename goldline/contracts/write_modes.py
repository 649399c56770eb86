"""Write modes: how the rows of a SELECT are published as a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Write = Literal["merge", "insert_overwrite", "full", "view", "load"]
Partitions = Literal["run_date", "arrived"]


@dataclass(frozen=True)
class WriteMode:
    """One way to publish a table.

    Attributes:
        write: key `write` of a contract.
        partitions: key `partitions` of a contract.
        takes_run_date: the SELECT may use `@run_date`.
        takes_since: the SELECT may use `@since`, the first date whose arrivals it reads.
        merges: one row per key is kept, the one with the greatest version.
        replaces_run_date: the SELECT gives the state as of `@run_date`; the partition of that date is replaced whole.
        replaces_arrived: each partition that the SELECT has rows for is replaced whole.
        replaces_table: the whole table is replaced.
        is_view: the SELECT's rows are not stored.
        has_select: there is a SELECT; otherwise a component fills the table.
    """

    write: Write
    partitions: Partitions | None = None
    takes_run_date: bool = False
    takes_since: bool = False
    merges: bool = False
    replaces_run_date: bool = False
    replaces_arrived: bool = False
    replaces_table: bool = False
    is_view: bool = False
    has_select: bool = True

    def __str__(self) -> str:
        """The mode as written in a contract, such as `write: merge`."""
        return f"`write: {self.write}`" + (f" with `partitions: {self.partitions}`" if self.partitions else "")

    @property
    def parameters(self) -> list[str]:
        """Names of the query parameters that the SELECT may use."""
        return ["run_date"] * self.takes_run_date + ["since"] * self.takes_since

    @property
    def is_built(self) -> bool:
        """Whether a SELECT's rows are stored in the table: not for a view, nor for `load`."""
        return self.has_select and not self.is_view

    @property
    def needs_stage(self) -> bool:
        """Whether rows go through a stage before publication: a MERGE reads them twice, a copy job needs a table."""
        return self.merges or self.replaces_run_date


WRITE_MODES: Mapping[tuple[Write, Partitions | None], WriteMode] = {
    (mode.write, mode.partitions): mode
    for mode in (
        WriteMode("merge", takes_run_date=True, takes_since=True, merges=True),
        WriteMode("insert_overwrite", "run_date", takes_run_date=True, replaces_run_date=True),
        WriteMode("insert_overwrite", "arrived", takes_run_date=True, takes_since=True, replaces_arrived=True),
        WriteMode("full", replaces_table=True),
        WriteMode("view", is_view=True),
        WriteMode("load", has_select=False),
    )
}
# Former values of `write`, for the error that names the new one.
RENAMED = {
    "snapshot": WRITE_MODES["insert_overwrite", "run_date"],
    "replace": WRITE_MODES["insert_overwrite", "arrived"],
    "rebuild": WRITE_MODES["full", None],
}
