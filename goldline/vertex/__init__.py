"""Vertex AI: environments, runs, schedules, backfills, templates, the model registry, costs.

From a notebook: `from goldline.vertex import submit`, then `submit("dev", run_date="2026-11-20").wait()`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goldline.vertex.cloud_run import submit

__all__ = ["submit"]


def __getattr__(name: str) -> Any:  # noqa: ANN401, https://peps.python.org/pep-0562/
    # Imported late, so that other modules of the package need not wait for the clients.
    if name == "submit":
        from goldline.vertex.cloud_run import submit

        return submit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
