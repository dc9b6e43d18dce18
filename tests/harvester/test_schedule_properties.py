"""Whatever happens to the sources of a group, in whatever order, the schedule keeps its promises."""

from __future__ import annotations

import heapq
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harvester.schedule import NEVER, Schedule, State
from harvester.sources import Group, Source

QUIET = (State.IDLE, State.READY, State.PAUSED, State.WAITING, State.BLOCKED)
SOON = st.sampled_from([0.0, 0.5, 1.0, 30.0, 200.0])


class Life(RuleBasedStateMachine):
    """harvest 1, 2, 3, 4, 5, 6, 7: a schedule under random events, beside a plain account of what it must be doing."""

    @initialize(
        limit=st.integers(1, 4),
        seed=st.integers(0, 99),
        per_minute=st.sampled_from([None, None, 2, 5]),
        own=st.lists(st.sampled_from([None, None, 1, 3]), min_size=1, max_size=6),
    )
    def begin(self, limit: int, seed: int, per_minute: int | None, own: list[int | None]) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self.schedule = Schedule(Group(name="g", limit=limit, requests_per_minute=per_minute), rng=Random(seed))
        self.numbered = 0
        self.flying: set[str] = set()
        self.saving: set[str] = set()
        self.starts: list[tuple[float, str]] = []
        self.own: dict[str, int | None] = {}
        self.per_minute = per_minute
        for each in own:
            self.join_one(each)

    def join_one(self, own: int | None, due: float = 0.0, bulk: bool = False) -> None:
        self.numbered += 1
        name = f"s{self.numbered}"
        self.own[name] = own
        self.schedule.join(Source(name=name, url="http://x/", group="g", requests_per_minute=own), self.now, due=self.now + due, bulk=bulk)

    def one(self, names: set[str]) -> str:
        return self.random.choice(sorted(names))

    def quiet(self) -> set[str]:
        return {name for name in self.schedule.names() if self.schedule[name].state in QUIET}

    @rule(own=st.sampled_from([None, 2]), due=SOON, bulk=st.booleans())
    def join(self, own: int | None, due: float, bulk: bool) -> None:
        if len(self.schedule) < 8:
            self.join_one(own, due, bulk)

    @rule()
    def leave(self) -> None:
        if len(self.schedule) > 1 and (names := self.quiet()):
            self.schedule.leave(self.one(names))

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 59.0, 60.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def jump_to_the_next_event(self) -> None:
        moment = self.schedule.next_event(self.now)
        assert moment >= self.now
        if moment < NEVER:
            self.now = moment

    @rule()
    def pick_all(self) -> None:
        while (source := self.schedule.pick(self.now)) is not None:
            assert source.name not in self.flying | self.saving, "one page of a source at a time"
            self.flying.add(source.name)
            assert len(self.flying) <= self.schedule.group.limit
            self.starts.append((self.now, source.name))
        # A slot that stays free is free for a reason: nothing can start now, and the schedule knows when something can.
        assert self.schedule.next_event(self.now) > self.now

    @precondition(lambda self: self.flying)
    @rule()
    def answer(self) -> None:
        name = self.one(self.flying)
        self.flying.discard(name)
        self.saving.add(name)
        self.schedule.answer(name, self.now)

    @precondition(lambda self: self.saving)
    @rule(how=st.sampled_from(["more", "more", "rest", "wait", "finish", "block"]), after=SOON, bulk=st.booleans())
    def save(self, how: str, after: float, bulk: bool) -> None:
        name = self.one(self.saving)
        self.saving.discard(name)
        match how:
            case "more":
                self.schedule.more(name, self.now, bulk=bulk)
            case "rest":
                self.schedule.rest(name, self.now + after, self.now)
            case "wait":
                self.schedule.wait(name, self.now + after, self.now, attempt=1, reason="busy")
            case "finish":
                self.schedule.finish(name, self.now + after, self.now, bulk=bulk)
            case "block":
                self.schedule.block(name, "bot wall", self.now)

    @rule(after=SOON)
    def extend_a_pause(self, after: float) -> None:
        if paused := {name for name in self.quiet() if self.schedule[name].state is State.PAUSED}:
            self.schedule.rest(self.one(paused), self.now + after, self.now)

    @rule()
    def block_or_resume(self) -> None:
        if names := self.quiet():
            name = self.one(names)
            if self.schedule[name].state is State.BLOCKED:
                self.schedule.resume(name, self.now)
            else:
                self.schedule.block(name, "paused by an operator", self.now)

    @rule(limit=st.integers(1, 4))
    def regroup(self, limit: int) -> None:
        self.schedule.regroup(Group(name="g", limit=limit, requests_per_minute=self.per_minute))

    @invariant()
    def what_flies_is_what_was_picked(self) -> None:
        if not hasattr(self, "schedule"):
            return
        states = {name: self.schedule[name].state for name in self.schedule.names()}
        assert {name for name, state in states.items() if state is State.IN_FLIGHT} == self.flying
        assert {name for name, state in states.items() if state is State.SAVING} == self.saving
        assert self.schedule.in_flight == len(self.flying)
        assert self.schedule.in_flight_max <= 4

    @invariant()
    def the_pools_hold_the_ready_and_know_their_places(self) -> None:
        if not hasattr(self, "schedule"):
            return
        ready = {name for name in self.schedule.names() if self.schedule[name].state is State.READY}
        pooled = [entry for pool in self.schedule._pools.values() for entry in pool]
        assert {entry.source.name for entry in pooled} == ready
        assert len(pooled) == len(ready)
        for bulk, pool in self.schedule._pools.items():
            assert [(entry.slot, entry.bulk) for entry in pool] == [(place, bulk) for place in range(len(pool))]
        assert all(self.schedule[name].slot == -1 for name in self.schedule.names() if name not in ready)

    @invariant()
    def the_heap_reminds_of_everything_that_waits_for_a_moment(self) -> None:
        if not hasattr(self, "schedule"):
            return
        heap = self.schedule._heap
        assert sorted(heap) == [heapq.heappop(copy) for copy in [list(heap)] for _ in range(len(copy))]
        live = {name: until for until, ticket, name in heap if self.schedule._live((until, ticket, name))}
        waiting = {
            name: self.schedule[name].until
            for name in self.schedule.names()
            if self.schedule[name].state in (State.IDLE, State.PAUSED, State.WAITING) and self.schedule[name].until < NEVER
        }
        assert live == waiting

    @invariant()
    def no_minute_holds_more_starts_than_allowed(self) -> None:
        if not hasattr(self, "schedule"):
            return
        if self.per_minute is not None:
            assert_spaced([moment for moment, _ in self.starts], self.per_minute)
        for name, own in self.own.items():
            if own is not None:
                assert_spaced([moment for moment, started in self.starts if started == name], own)


def assert_spaced(moments: list[float], limit: int) -> None:
    assert all(late - early >= 60.0 - 1e-9 for early, late in zip(moments, moments[limit:], strict=False))


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
