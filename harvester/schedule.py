"""Which source next?  The state machine of one group of sources: pure, without clock, I/O or randomness of its own.

Its whole mutable state is ``_entries`` (one ``Entry`` a source), the two pools of ready sources, the heap of moments at
which something becomes ready, the number in flight, and the rate windows. All of it changes only in the methods of
``Schedule``; they are synchronous and return what is to be done.

::

    idle ──due──► ready ──pick──► in flight ──answer──► saving ──more────► ready
     ▲              ▲                                     ├──rest────► paused ───time──► ready
     │              │                                     ├──wait────► waiting ──time──► ready
     └──────────────┼────────────────finish───────────────┤
                    └────────────resume──────── blocked ◄─┴──block
    (disabled: known, but not harvested; from and to every state in which nothing is in flight)

``in flight`` holds one of the group's slots: from the moment a request may start until its last byte is read.
``saving`` (the page is parsed and committed) holds none, but the source's next page cannot be asked before it is over,
because a chain of resumption tokens is sequential. A pair of state and event that is not in ``TRANSITIONS`` is a
programming error and raises ``ImpossibleTransition``.

Times are seconds since the epoch (UTC).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Final

from harvester.blackouts import Blackout, free_from
from harvester.politeness import Rate
from harvester.sources import Group, Source

DELTA_WEIGHT: Final = 8  # a source with a delta to fetch is this many times as likely to be picked as one in a first or full pass
NEVER: Final = float("inf")


class State(StrEnum):
    """Where a source stands."""

    IDLE = "idle"
    READY = "ready"
    IN_FLIGHT = "in flight"
    SAVING = "saving"
    PAUSED = "paused"
    WAITING = "waiting"
    BLOCKED = "blocked"
    DISABLED = "disabled"


class Event(StrEnum):
    """What can happen to a source."""

    TIME = "time"  # its moment has come
    PICK = "pick"
    ANSWER = "answer"
    MORE = "more"
    REST = "rest"
    WAIT = "wait"
    FINISH = "finish"
    BLOCK = "block"
    RESUME = "resume"
    DISABLE = "disable"


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.IDLE, Event.TIME): State.READY,
    (State.PAUSED, Event.TIME): State.READY,
    (State.WAITING, Event.TIME): State.READY,
    (State.READY, Event.PICK): State.IN_FLIGHT,
    (State.READY, Event.WAIT): State.WAITING,  # blackout hours or its own rate limit
    (State.IN_FLIGHT, Event.ANSWER): State.SAVING,
    (State.SAVING, Event.MORE): State.READY,
    (State.SAVING, Event.REST): State.PAUSED,
    (State.SAVING, Event.WAIT): State.WAITING,
    (State.SAVING, Event.FINISH): State.IDLE,
    (State.SAVING, Event.BLOCK): State.BLOCKED,
    (State.PAUSED, Event.REST): State.PAUSED,  # the vacuum needs longer
    (State.IDLE, Event.BLOCK): State.BLOCKED,
    (State.READY, Event.BLOCK): State.BLOCKED,
    (State.PAUSED, Event.BLOCK): State.BLOCKED,
    (State.WAITING, Event.BLOCK): State.BLOCKED,
    (State.BLOCKED, Event.BLOCK): State.BLOCKED,
    (State.BLOCKED, Event.RESUME): State.IDLE,
    (State.IDLE, Event.DISABLE): State.DISABLED,
    (State.READY, Event.DISABLE): State.DISABLED,
    (State.PAUSED, Event.DISABLE): State.DISABLED,
    (State.WAITING, Event.DISABLE): State.DISABLED,
    (State.BLOCKED, Event.DISABLE): State.DISABLED,
    (State.SAVING, Event.DISABLE): State.DISABLED,
}


class ImpossibleTransition(AssertionError):
    """An event came that the state does not know: a mistake in this program."""


@dataclass(kw_only=True, slots=True)
class Entry:
    """What the schedule keeps of a source. ``until`` belongs to idle, paused and waiting, ``reason`` to waiting and blocked."""

    source: Source
    state: State
    until: float = NEVER
    attempt: int = 0
    reason: str | None = None
    bulk: bool = False  # in a first or full pass
    began: float = 0.0  # when the state was entered
    ticket: int = 0  # tells a live entry of the heap from an outdated one
    slot: int = -1  # its place in the pool of ready sources
    rate: Rate = field(default_factory=lambda: Rate(None))


class Schedule:
    """The sources of one group, of which ``limit`` may be in flight at once."""

    def __init__(self, group: Group, *, rng: Random) -> None:
        self.group = group
        self.in_flight = 0
        self.in_flight_max = 0
        self._rng = rng
        self._entries: dict[str, Entry] = {}
        self._pools: dict[bool, list[Entry]] = {False: [], True: []}  # ready sources, by whether they are in bulk
        self._heap: list[tuple[float, int, str]] = []
        self._tickets = 0
        self._rate = Rate(group.requests_per_minute)

    # ------------------------------------------------------------ membership

    def join(self, source: Source, now: float, *, due: float = 0.0, bulk: bool = False, reason: str | None = None) -> None:
        """Take in a source: idle until it is due, or blocked for a reason, or disabled."""
        if source.name in self._entries:
            raise ImpossibleTransition(f"{source.name} has joined {self.group.name} already")
        entry = Entry(source=source, state=State.IDLE, until=max(due, 0.0), bulk=bulk, began=now, rate=Rate(source.requests_per_minute))
        self._entries[source.name] = entry
        if not source.enabled:
            self._move(entry, Event.DISABLE, now)
        elif reason is not None:
            self._move(entry, Event.BLOCK, now, reason=reason)
        else:
            self._remind(entry)

    def restore(self, name: str, now: float, *, state: State, until: float, attempt: int = 0, reason: str | None = None) -> None:
        """Put an idle source back into the pause or the wait in which a former engine left it."""
        entry = self._entries[name]
        if entry.state is not State.IDLE or state not in (State.PAUSED, State.WAITING):
            raise ImpossibleTransition(f"{name} cannot be restored from {entry.state} to {state}")
        entry.state, entry.until, entry.attempt, entry.reason, entry.began = state, until, attempt, reason, now
        self._remind(entry)

    def leave(self, name: str) -> None:
        """Forget a source; only while nothing of it is in flight or being saved."""
        entry = self._entries[name]
        if entry.state in (State.IN_FLIGHT, State.SAVING):
            raise ImpossibleTransition(f"{name} cannot leave while it is {entry.state}")
        self._unpool(entry)
        del self._entries[name]

    def regroup(self, group: Group) -> None:
        """Take new limits; requests in flight above a lowered limit come to their end."""
        if group.requests_per_minute != self.group.requests_per_minute:
            starts = self._rate.starts
            self._rate = Rate(group.requests_per_minute)
            self._rate.starts.extend(starts)
        self.group = group

    # ---------------------------------------------------------------- course

    def pick(self, now: float) -> Source | None:
        """Take a slot for a ready source, at random; None when no slot is free or none may start now."""
        if self.in_flight >= self.group.limit or self._rate.free_at(now) > now or self._closed_until(self.group.blackouts, now) > now:
            return None
        self._wake(now)
        while (entry := self._draw()) is not None:
            opens = max(self._closed_until(entry.source.blackouts, now), entry.rate.free_at(now))
            if opens > now:
                reason = "its requests per minute are used up" if entry.rate.free_at(now) > now else "blackout hours"
                self._move(entry, Event.WAIT, now, until=opens, attempt=entry.attempt, reason=reason)
                continue
            self._move(entry, Event.PICK, now, attempt=entry.attempt)
            self._rate.start(now)
            entry.rate.start(now)
            self.in_flight += 1
            self.in_flight_max = max(self.in_flight_max, self.in_flight)
            return entry.source
        return None

    def next_event(self, now: float) -> float:
        """The earliest moment at which ``pick`` may succeed if nothing else happens; ``NEVER`` when only an event can help."""
        if self.in_flight >= self.group.limit:
            return NEVER
        self._wake(now)
        opens = max(self._rate.free_at(now), self._closed_until(self.group.blackouts, now))
        if self._pools[False] or self._pools[True]:
            return opens
        while self._heap and not self._live(self._heap[0]):
            heapq.heappop(self._heap)
        return max(self._heap[0][0], opens) if self._heap else NEVER

    def answer(self, name: str, now: float) -> None:
        """The last byte was read, or the request failed: the slot is free."""
        self._move(self._entries[name], Event.ANSWER, now)
        self.in_flight -= 1

    def more(self, name: str, now: float, *, bulk: bool) -> None:
        """The page is saved; the source has another one to fetch."""
        self._move(self._entries[name], Event.MORE, now, bulk=bulk)

    def rest(self, name: str, until: float, now: float) -> None:
        """The source pauses, or pauses longer."""
        self._move(self._entries[name], Event.REST, now, until=until)

    def wait(self, name: str, until: float, now: float, *, attempt: int, reason: str) -> None:
        """The source waits before its next try and holds no slot meanwhile."""
        self._move(self._entries[name], Event.WAIT, now, until=until, attempt=attempt, reason=reason)

    def finish(self, name: str, due: float, now: float, *, bulk: bool = False) -> None:
        """The pass is over; the next one is due at ``due``."""
        self._move(self._entries[name], Event.FINISH, now, until=due, bulk=bulk)

    def block(self, name: str, reason: str, now: float) -> None:
        """No request is sent until ``resume``."""
        self._move(self._entries[name], Event.BLOCK, now, reason=reason)

    def resume(self, name: str, now: float) -> None:
        """A blocked source is due at once."""
        self._move(self._entries[name], Event.RESUME, now, until=now)

    def disable(self, name: str, now: float) -> None:
        """The source is known, but not harvested."""
        self._move(self._entries[name], Event.DISABLE, now)

    # ----------------------------------------------------------------- views

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def names(self) -> list[str]:
        """The sources, in the order in which they joined."""
        return list(self._entries)

    def counts(self, now: float) -> dict[State, int]:
        """How many sources are in each state."""
        self._wake(now)
        counts = dict.fromkeys(State, 0)
        for entry in self._entries.values():
            counts[entry.state] += 1
        return counts

    def closed_until(self, now: float) -> float:
        """The end of the blackout hours or of the used-up minute of the group; not after ``now`` when it is open."""
        return max(self._rate.free_at(now), self._closed_until(self.group.blackouts, now))

    def __repr__(self) -> str:
        states = [entry.state for entry in self._entries.values()]
        done = states.count(State.IDLE)
        parts = [
            f"{self.in_flight} in flight",
            f"{states.count(State.READY)} ready",
            f"{states.count(State.PAUSED)} paused",
            f"{done} done",
        ]
        return f"<Schedule {self.group.name}: {', '.join(parts)}>"

    # ------------------------------------------------------------- machinery

    def _move(
        self,
        entry: Entry,
        event: Event,
        now: float,
        *,
        until: float = NEVER,
        attempt: int = 0,
        reason: str | None = None,
        bulk: bool | None = None,
    ) -> None:
        """The one place where a state changes. An impossible event changes nothing."""
        target = TRANSITIONS.get((entry.state, event))
        if target is None:
            raise ImpossibleTransition(f"{entry.source.name}: {event} is impossible while {entry.state}")
        self._unpool(entry)
        if not (entry.state is State.PAUSED and target is State.PAUSED):
            entry.began = now
        entry.state, entry.until, entry.attempt, entry.reason = target, until, attempt, reason
        entry.bulk = entry.bulk if bulk is None else bulk
        if target is State.READY:
            pool = self._pools[entry.bulk]
            entry.slot = len(pool)
            pool.append(entry)
        else:
            self._remind(entry)

    def _remind(self, entry: Entry) -> None:
        self._tickets += 1
        entry.ticket = self._tickets
        if entry.until < NEVER:
            heapq.heappush(self._heap, (entry.until, entry.ticket, entry.source.name))

    def _live(self, reminder: tuple[float, int, str]) -> bool:
        entry = self._entries.get(reminder[2])
        return entry is not None and entry.ticket == reminder[1] and entry.state in (State.IDLE, State.PAUSED, State.WAITING)

    def _wake(self, now: float) -> None:
        while self._heap and (self._heap[0][0] <= now or not self._live(self._heap[0])):
            reminder = heapq.heappop(self._heap)
            if self._live(reminder):
                entry = self._entries[reminder[2]]
                self._move(entry, Event.TIME, now, attempt=entry.attempt)

    def _draw(self) -> Entry | None:
        deltas, bulk = self._pools[False], self._pools[True]
        weight = DELTA_WEIGHT * len(deltas) + len(bulk)
        if not weight:
            return None
        place = self._rng.randrange(weight)
        return deltas[place // DELTA_WEIGHT] if place < DELTA_WEIGHT * len(deltas) else bulk[place - DELTA_WEIGHT * len(deltas)]

    def _unpool(self, entry: Entry) -> None:
        if entry.slot < 0:
            return
        pool = self._pools[entry.bulk]
        last = pool.pop()
        if last is not entry:
            pool[entry.slot], last.slot = last, entry.slot
        entry.slot = -1

    @staticmethod
    def _closed_until(blackouts: tuple[Blackout, ...], now: float) -> float:
        if not blackouts:
            return now
        moment = datetime.fromtimestamp(now, UTC)
        free = free_from(blackouts, moment)
        return free.timestamp() if free > moment else now
