"""Where a source stands, from what is stored, what is configured and what operators have paused. Pure.

The engine keeps the finer states (in flight, saving) to itself; what it stores with every page is enough to tell why a
source is not asked now, also when no engine runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from db.switches import Switch, is_paused
from harvester.course import Course
from harvester.sources import Source


class State(StrEnum):
    """Where a source stands, as people see it; those that need somebody first."""

    BLOCKED = "blocked"  # nothing is asked until an operator resumes it
    WAITING = "waiting"  # before the next try of a request
    PAUSED = "paused"  # so that the database can clean up
    HARVESTING = "harvesting"  # in a pass, and its engine is alive
    READY = "ready"  # due
    IDLE = "idle"  # not due yet
    DISABLED = "disabled"
    REMOVED = "removed"  # no longer configured; its records stay


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """The row of a source, with counts of what belongs to it. Moments are aware; None is unknown or not so.

    ``failures`` are records that could not be read, ``held`` deletions that wait for an operator.
    """

    name: str
    group: str
    removed: bool = False
    repository: Mapping[str, Any] | None = None
    watermark: datetime | None = None
    course: Course | None = None
    unfinished: bool = False
    full_due: bool = False
    due_at: datetime | None = None
    since_pause: int = 0
    paused_until: datetime | None = None
    waiting_until: datetime | None = None
    attempt: int = 0
    blocked: str | None = None
    failures_in_a_row: int = 0
    error: str | None = None
    warning: str | None = None
    last_success: datetime | None = None
    last_full: datetime | None = None
    live: int = 0
    deleted: int = 0
    failures: int = 0
    held: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The engine that harvests a group now: ``name`` is ``host:process:token`` where it is known."""

    name: str | None
    since: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A source at this moment. ``configured`` None: removed; ``stored`` None: never harvested yet."""

    name: str
    group: str
    state: State
    configured: Source | None
    stored: Stored | None
    switch: Switch | None
    owner: Owner | None

    @property
    def error(self) -> str | None:
        """Why it is blocked, or how its last pass failed."""
        if self.state is State.BLOCKED and self.switch is not None:
            return f"paused by an operator ({self.switch.scope}): {self.switch.reason}"
        if self.stored is None:
            return None
        return self.stored.blocked or self.stored.error

    @property
    def next_due(self) -> datetime | None:
        """When its next pass is due; None where none is planned, or one is under way."""
        planned = self.state in (State.IDLE, State.READY, State.PAUSED, State.WAITING)
        return self.stored.due_at if planned and self.stored is not None else None

    @property
    def troubled(self) -> bool:
        """Whether somebody should look at it; what an operator has paused, somebody has looked at."""
        stored = self.stored
        if stored is None or self.state in (State.REMOVED, State.DISABLED):
            return False
        return stored.blocked is not None or stored.failures_in_a_row > 0 or stored.held > 0

    def shown(self, now: datetime) -> dict[str, object]:
        """The object of ``windrow status --json``. ``lag_seconds`` is the age of the watermark."""
        stored = self.stored or Stored(name=self.name, group=self.group)
        return {
            "name": self.name,
            "group": self.group,
            "state": self.state.value,
            "records": stored.live,
            "deleted": stored.deleted,
            "watermark": iso(stored.watermark),
            "last_success": iso(stored.last_success),
            "paused_until": iso(stored.paused_until) if self.state is State.PAUSED else None,
            "next_due": iso(self.next_due),
            "failures_in_a_row": stored.failures_in_a_row,
            "error": self.error,
            "lag_seconds": round(max(0.0, (now - stored.watermark).total_seconds()), 3) if stored.watermark is not None else None,
            "failures": stored.failures,
            "held_deletions": stored.held,
            "warning": stored.warning,
        }


def standing(
    name: str, *, configured: Source | None, stored: Stored | None, switches: Mapping[str, Switch], owner: Owner | None, now: datetime
) -> Standing:
    """Where a source stands. ``owner`` is that of its group, None when no engine harvests it. One of the two is not None."""
    group = configured.group if configured is not None else stored.group if stored is not None else ""
    switch = is_paused(switches, source=name, group=group)
    state = _state(configured, stored, switch, owner, now)
    return Standing(name=name, group=group, state=state, configured=configured, stored=stored, switch=switch, owner=owner)


def _state(configured: Source | None, stored: Stored | None, switch: Switch | None, owner: Owner | None, now: datetime) -> State:
    if configured is None:
        return State.REMOVED
    if not configured.enabled:
        return State.DISABLED
    if switch is not None or (stored is not None and stored.blocked is not None):
        return State.BLOCKED
    if stored is None:
        return State.READY
    if stored.paused_until is not None and stored.paused_until > now:
        return State.PAUSED
    if stored.waiting_until is not None and stored.waiting_until > now:
        return State.WAITING
    due = stored.due_at is None or stored.due_at <= now
    if stored.unfinished and (due or not stored.failures_in_a_row):
        return State.HARVESTING if owner is not None else State.READY
    return State.READY if due else State.IDLE


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else None
