"""Schedule of training: on Mondays, on request, and when there is no usable champion."""

import datetime

from goldline.ml.signature import ModelError
from goldline.ml.store import Store
from goldline.runs.context import RunContext

TRAINING_WEEKDAY = 0  # Monday


def should_train(train: str, run_date: datetime.date, *, has_champion: bool) -> bool:
    """Whether a run trains a model.

    Args:
        train: `yes`, `no`, or `auto`: on Mondays, and when there is no champion. Checked by prepare_run.
        run_date: date that the run is for.
        has_champion: whether there is a usable champion.
    """
    return train == "yes" or (train == "auto" and (run_date.weekday() == TRAINING_WEEKDAY or not has_champion))


def is_due(run: RunContext, name: str) -> bool:
    """Whether this run trains the model `name`; a champion fitted with other libraries counts as none."""
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
