"""Flow startups: JSON Lines that a crawler writes into the lake, a full load, then weekly changes -> a history."""

from kfp import dsl

from components.land_files import land_files
from components.startups.generate_startups.component import generate_startups
from components.tasks import table
from goldline.spec.tables import contract_json, landed_source


@dsl.pipeline
def simulate_startups(size: str, run: str) -> None:
    """Write a simulated register of startups into the lake, unless `size` is none."""
    with dsl.If(size != "none", "simulated"):
        generate_startups(run=run)


@dsl.pipeline
def startups(run: str) -> None:
    """JSON Lines that a crawler writes into the lake, a full load, then weekly changes -> a history of startups."""
    files = land_files.named("land_startups")(run=run, flow="startups", contract=contract_json("startups/ext_startups"))
    raw = landed_source("startups/ext_startups", files.outputs["files"])
    changed = table("startups/stg_startups", run, raw)
    table("startups/dim_startup", run, changed)
