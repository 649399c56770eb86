"""Page of the compiled pipeline's parameters, the fields of the console's form."""

from collections.abc import Mapping
from typing import Any

_KINDS = {"STRING": "text", "BOOLEAN": "switch", "NUMBER_INTEGER": "whole number", "NUMBER_DOUBLE": "number"}


def page(spec: Mapping[str, Any]) -> str:
    """Page as Markdown; the same text for the same spec."""
    declared: Mapping[str, Any] = spec["root"]["inputDefinitions"]["parameters"]
    rows = [
        f"| `{name}` | {_KINDS[each['parameterType']]} | {_default(each)} | {each.get('description', '')} |"
        for name, each in sorted(declared.items())
    ]
    return "\n".join(
        [
            "# Parameters",
            "",
            "Made by `make compile`: what the console's form, `goldline submit` and `goldline run` take.",
            "An environment in `goldline.yaml` sets its own defaults.",
            "",
            "| parameter | kind | default | |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _default(parameter: Mapping[str, Any]) -> str:
    value = parameter.get("defaultValue")
    if parameter["parameterType"] == "NUMBER_INTEGER" and value is not None:
        value = int(value)  # JSON knows no whole numbers
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value}`" if value not in ("", None) else "empty"
