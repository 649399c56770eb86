"""KFP component `download_gtfs`."""

from kfp import dsl

from goldline.spec.task import task


@task(memory="4G")
def download_gtfs(run: str, gtfs_url: str, feed: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]) -> None:
    """Download the schedule into the lake as archive and typed Parquet; an unusable one leaves the last in place."""
    from components.transit.download_gtfs.feed_download import download_gtfs
    from goldline.runs.context import RunContext
    from goldline.runs.run_files import load_catalog

    context = RunContext.parse(run)
    downloaded = download_gtfs(context, load_catalog(context).tables, gtfs_url, context.is_simulated)
    feed.uri, feed.metadata = downloaded.uri, downloaded.summary()
    metrics.metadata = downloaded.counts
