"""What tasks tell of their checks."""

import pytest

from goldline.runs.records import CheckResult


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "key_is_unique"),
        ({"detail": "id"}, "key_is_unique (id)"),
        ({"observed": 0.51234, "threshold": 0}, "key_is_unique (observed 0.51234, threshold 0)"),
        ({"detail": "id", "observed": 1}, "key_is_unique (id, observed 1)"),
    ],
)
def test_a_message_says_what_was_measured(more: dict[str, str | float], text: str) -> None:
    content = {"subject": "silver.stg_things", "name": "key_is_unique", "level": "warn", "failing": 1, **more}
    assert str(CheckResult.model_validate(content)) == text
