"""What the engine tells whoever watches it: finished passes, saved pages, and sentences for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from harvester.schedule import State
from harvester.store import Totals


class Outcome(StrEnum):
    """How a pass ended."""

    COMPLETE = "complete"
    HELD = "held"  # complete, but deletions wait for an operator
    FAILED = "failed"
    BLOCKED = "blocked"  # nothing is asked until an operator resumes it


@dataclass(frozen=True, kw_only=True, slots=True)
class PassFinished:
    """A pass is over. ``seconds`` is its duration as this engine saw it; ``error`` is None unless it failed or is blocked."""

    source: str
    group: str
    outcome: Outcome
    totals: Totals
    seconds: float
    error: str | None
    warning: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSaved:
    """A page was committed. ``received`` of ``size`` (None: unknown) records of the current list have come."""

    source: str
    group: str
    page: Totals
    received: int
    size: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A sentence for people, with a stable ``action`` for programs."""

    action: str
    message: str
    source: str | None = None
    group: str | None = None


Happening: TypeAlias = PassFinished | PageSaved | Notice
Observer: TypeAlias = Callable[[Happening], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupView:
    """A group at this moment."""

    name: str
    limit: int
    in_flight: int
    in_flight_max: int
    pages: int
    states: Mapping[State, int]
