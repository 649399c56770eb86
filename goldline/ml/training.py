"""When a model is trained."""

import datetime

from goldline.ml.signature import ModelError
from goldline.ml.store import Store
from goldline.runs.context import RunContext

TRAINING_WEEKDAY = 0  # Monday


def should_train(train: str, run_date: datetime.date, *, has_champion: bool) -> bool:
    """Whether a run trains: when asked to, on Mondays, and where there is no champion yet.

    Args:
        train: `auto`, `yes` or `no`, as prepare_run has checked it.
        run_date: the date that is run.
        has_champion: whether there is one that can be used.
    """
    return train == "yes" or (train == "auto" and (run_date.weekday() == TRAINING_WEEKDAY or not has_champion))


def is_due(run: RunContext, name: str) -> bool:
    """Whether this run trains the model of that name; a champion that cannot be loaded counts as none."""
    return should_train(run.train, run.run_date, has_champion=_has_champion(Store(run, name)))


def _has_champion(store: Store) -> bool:
    version = store.champion()
    if version is None:
        return False
    try:
        store.signature(version).check_libraries()
    except ModelError:
        return False
    return True
