"""KFP component `download_history`."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="4G")
def download_history(
    run: str,
    history_url: str,
    history_days: int,
    history_range: str,
    history: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Land new days in the lake, each whole or not at all; a corrupt day is an error of that day alone."""
    from components.transit.download_history.history_download import download_history
    from goldline.runs.context import RunContext

    context = RunContext.parse(run)
    first, _, last = history_range.partition("..")
    landed = download_history(context, history_url, history_days, first, last, context.is_simulated)
    history.uri, history.metadata = landed.uri, landed.summary()
    metrics.metadata = landed.counts
