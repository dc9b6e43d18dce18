"""The MARC code lists: languages, countries, geographic areas and relators that exist, and those that did.

The codes are in ``codes.txt`` beside this module. Source: MARC Code Lists of the Library of Congress.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Final

LISTS: Final = "codes.txt"


class Standing(Enum):
    """What a list says of a code."""

    CURRENT = "current"
    OBSOLETE = "obsolete"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeList:
    """One list."""

    name: str
    """What a code of it stands for: language, country, area, relator."""
    current: frozenset[str]
    obsolete: frozenset[str]

    def standing(self, code: str) -> Standing:
        """What the list says of `code`, which is written without padding (``ae``, ``n-us``)."""
        if code in self.current:
            return Standing.CURRENT
        return Standing.OBSOLETE if code in self.obsolete else Standing.UNKNOWN


@cache
def code_list(name: str) -> CodeList:
    """The list of that name. KeyError when there is none."""
    parts: dict[str, list[str]] = {}
    for line in files(__package__).joinpath(LISTS).read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            parts[line[1:]] = []
        elif not line.startswith("#"):
            parts[next(reversed(parts))].extend(line.split())
    return CodeList(name=name, current=frozenset(parts[name]), obsolete=frozenset(parts[f"{name} obsolete"]))
