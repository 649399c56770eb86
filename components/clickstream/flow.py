"""Flow clickstream: JSON Lines that a tracker writes into the lake each day -> sessions."""

from kfp import dsl

from components.clickstream.generate_clickstream.component import generate_clickstream
from components.land_files import land_files
from components.tasks import table
from goldline.spec.tables import contract_json, landed_source


@dsl.pipeline
def simulate_clickstream(size: str, run: str) -> None:
    """Write clicks on a simulated shop's site into the lake, unless `size` is none."""
    with dsl.If(size != "none", "simulated"):
        generate_clickstream(run=run)


@dsl.pipeline
def clickstream(run: str) -> None:
    """JSON Lines that a tracker writes into the lake each day -> sessions."""
    files = land_files.named("land_clickstream")(
        run=run, flow="clickstream", contract=contract_json("clickstream/ext_clickstream")
    )
    raw = landed_source("clickstream/ext_clickstream", files.outputs["files"])
    clicked = table("clickstream/stg_clickstream", run, raw)
    table("clickstream/fct_sessions", run, clicked)
