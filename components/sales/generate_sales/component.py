"""The face of generate_sales: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_sales(
    run: str, collection: str, database: str, seed: int, days: int, customers: int, metrics: dsl.Output[dsl.Metrics]
) -> None:
    """Write the sales of a simulated shop up to the run's date; refuses a collection that it did not make."""
    from components.sales.generate_sales.sales_documents import generate_sales
    from goldline.runs.context import RunContext

    metrics.metadata = generate_sales(RunContext.parse(run), collection, database, seed, days, customers)
