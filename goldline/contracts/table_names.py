"""Names of datasets and tables, and the pattern of a full table name."""

from typing import Annotated

from pydantic import Field

DATASETS = ("bronze", "silver", "gold", "ops")
LAYER_PREFIXES = ("ext_", "stg_", "dim_", "fct_", "agg_")
TableName = Annotated[str, Field(pattern=rf"^({'|'.join(DATASETS)})\.[a-z][a-z0-9_]*$")]


def bare_name(name: str) -> str:
    """Table name without the prefix of its layer: `orders` of `stg_orders`."""
    return next((name.removeprefix(p) for p in LAYER_PREFIXES if name.startswith(p)), name)
