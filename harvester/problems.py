"""What is wrong with a configuration: every problem with its place, all of them at once.

::

    Exception
    └── ConfigurationError      the configuration cannot be used; ``problems`` says why

A configuration is never half used: one problem anywhere and nothing is requested.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

ENVIRONMENT: Final = "environment"  # stands in for the file when a variable is wrong
LONGEST_SHOWN: Final = 60  # characters of a wrong value that a message repeats


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what would be right."""

    file: str
    """The file as it was named, or ``environment``."""
    line: int | None
    """The line, counted from 1; None where a line says nothing (a missing file, a variable)."""
    path: str
    """Where inside, such as ``sources.mobius.url``, or the variable's name; empty for the file as a whole."""
    what: str
    """What is wrong."""
    allowed: str
    """What is allowed instead."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        path = f" {self.path}:" if self.path else ""
        return f"{place}:{path} {self.what}, {self.allowed}"


class ConfigurationError(Exception):
    """The configuration cannot be used. `problems` holds everything that is wrong, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shortened(text: str) -> str:
    """`text` in quotation marks, on one line and not too long."""
    return repr(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…")


def one_of(allowed: Iterable[str], *, written: str = "") -> str:
    """The allowed names as the second half of a problem, with the one that was probably meant.

    >>> one_of(["url", "group"], written="ulr")
    'did you mean url? allowed: group, url'
    """
    names = sorted(allowed)
    listing = "allowed: " + ", ".join(names) if names else "none is allowed here"
    close = meant(written, names)
    return f"did you mean {close}? {listing}" if close else listing


def meant(written: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that somebody who wrote `written` probably meant; None when none comes near."""
    by_case = {name.lower(): name for name in sorted(allowed)}
    close = get_close_matches(written.lower(), by_case, n=1) if written else []
    return by_case[close[0]] if close else None
