"""Write modes: how the rows that a SELECT gives become a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Write = Literal["merge", "insert_overwrite", "full", "view", "load"]
Partitions = Literal["run_date", "arrived"]


@dataclass(frozen=True)
class WriteMode:
    """One way to publish a table.

    Attributes:
        write: the key `write` of contracts.
        partitions: their key `partitions`.
        takes_run_date: the SELECT may use `@run_date`.
        takes_since: it may use `@since`: it reads what arrived from then on.
        merges: one row a key is kept: a row takes the place of one with a lesser version.
        replaces_run_date: the SELECT gives the state as of `@run_date`; that date's partition is replaced, whole.
        replaces_arrived: each partition that the SELECT has rows of is replaced, whole.
        replaces_table: the table is made anew.
        is_view: the SELECT is not stored.
        has_select: whether there is one; a component fills the table otherwise.
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
        """The mode as a contract has it."""
        return f"`write: {self.write}`" + (f" with `partitions: {self.partitions}`" if self.partitions else "")

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that the SELECT may use."""
        return ["run_date"] * self.takes_run_date + ["since"] * self.takes_since

    @property
    def is_built(self) -> bool:
        """Whether a SELECT fills it: neither a view, which is none to fill, nor what a component loads."""
        return self.has_select and not self.is_view

    @property
    def needs_stage(self) -> bool:
        """Whether the rows to publish are written once more: a MERGE reads them twice, a copy job takes a partition."""
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
# What `write` was before the modes had the field's words.
RENAMED = {
    "snapshot": WRITE_MODES["insert_overwrite", "run_date"],
    "replace": WRITE_MODES["insert_overwrite", "arrived"],
    "rebuild": WRITE_MODES["full", None],
}
