"""A source, and a group of them, while an engine has them: the engine's own state, besides the schedule.

``Seat`` is a source that takes part; ``Table`` is a group with its schedule and its seats. Both change only in ``engine`` and
``rounds``, between two awaits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from harvester.course import Memory
from harvester.schedule import NEVER, Schedule
from harvester.sources import Source


@dataclass(kw_only=True, slots=True)
class Seat:
    """A source while the engine has it.

    With ``once`` it is over when ``done``. ``switched`` is why an operator paused it; that, and ``leaving``, take effect at
    the page boundary.
    """

    source: Source
    memory: Memory
    began: float | None = None
    switched: str | None = None
    done: bool = False
    held: bool = False
    leaving: bool = False
    successor: Source | None = None


@dataclass(kw_only=True, slots=True)
class Table:
    """A group while the engine has it. ``given_up``: another engine has it, and this run does not wait for it."""

    schedule: Schedule
    seats: dict[str, Seat] = field(default_factory=dict)
    owned: bool = False
    crowded_out: bool = False
    armed: float = NEVER
    given_up: bool = False
    pages: int = 0
    wake: anyio.Event = field(default_factory=anyio.Event)
