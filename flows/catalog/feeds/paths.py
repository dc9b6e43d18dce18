"""Paths into an answer: names with dots between them, ``data.items``, ``links[0].href``, ``$.hits[*]``.

A path that leads nowhere finds nothing; it is never an error of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+|\*)\]")


def find(value: Any, path: str) -> Any:
    """What stands at ``path``; None when nothing does. ``[*]`` at the end means the list itself."""
    for name, index in STEP.findall(path.removeprefix("$")):
        if name:
            value = value.get(name) if isinstance(value, Mapping) else None
        elif index != "*":
            number = int(index)
            value = value[number] if isinstance(value, list) and number < len(value) else None
        if value is None:
            return None
    return value


def text(value: Any, path: str) -> str | None:
    """The text or number at ``path`` as text; None when there is neither."""
    found = find(value, path)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    return str(found).strip() or None
