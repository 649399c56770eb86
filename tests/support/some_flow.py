"""A flow of the project, a table that it builds and its task, for tests that need some one of whatever there is."""

from goldline.contracts.sql import reads
from goldline.spec.tables import contracts, flows, select


def _reads_bronze(path: str) -> bool:
    return any(table.startswith("bronze.") for table in reads(select(path)))


_BUILT = [f"{flow}/{name}" for flow, names in flows().items() for name in names]
FLOW, NAME = max(_BUILT, key=_reads_bronze).split("/")  # the first that reads what a source brought
TABLE = next(iter(contracts()[f"{FLOW}/{NAME}"].tables))  # with its dataset
TASK = NAME.replace("_", "-")
ALONE = {f"run_{flow}": flow == FLOW for flow in flows()}  # the parameters that run this flow and no other
