"""A note: what a rule found, before anybody has said where in the record it stands and how bad it is for this source."""

from __future__ import annotations

from typing import NamedTuple

from flows.validation.findings import Issue


class Note(NamedTuple):
    """One issue, with the rest of its path. A tuple, because the rules make many of them."""

    issue: Issue
    suffix: str
    """What follows the tag in the path: ``$a``, ``^1``, ``/06``; empty for the field."""
    message: str
    """Without any value of the record, but for single codes and indicators."""
    value: str = ""
    """The value as it stands; what may be shown of it is decided later."""
