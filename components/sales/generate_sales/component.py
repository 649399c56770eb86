"""KFP component `generate_sales`."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="2G")
def generate_sales(run: str, collection: str, database: str, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Write the sales of a simulated shop up to the run date; refuse a collection that it did not make."""
    from components.sales.generate_sales.sales_documents import SIZES, generate_sales
    from goldline.runs.context import RunContext

    context = RunContext.parse(run)
    size = SIZES[context.simulated_size]
    metrics.metadata = generate_sales(context, collection, database, context.seed, **size)
