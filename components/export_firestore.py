"""KFP component `export_firestore`."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def export_firestore(
    run: str,
    contract: str,
    collection: str,
    database: str,
    mode: str,
    files: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Export a collection, or its changes since the watermark, typed and pseudonymised by the source contract."""
    from goldline.runs.context import RunContext
    from goldline.stages.export_firestore.export import export_firestore

    exported = export_firestore(RunContext.parse(run), contract, collection, database, mode)
    files.uri, files.metadata = exported.uri, exported.summary()
    metrics.metadata = exported.counts
