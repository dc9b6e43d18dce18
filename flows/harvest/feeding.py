"""A run of the sources that are not OAI-PMH: files, SFTP, REST; beside the engine, with the same store, events and rules.

::

    group task:  claim ─► recall ─► a task for each source, until the group is lost
    source task: wait until it is due ─► a pass ─► ...
    a pass:      what is there (a slot of the group) ─► batches or pages, one commit each ─► conclude

A failure that may pass by ends the attempt, not the pass (``feedpass``): the course goes on where it was, after a wait, as
often as ``attempts`` says.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from flows.harvest.feedpass import FeedPasses, Seat, Stopped, unfinished
from flows.harvest.sharing import Slots
from harvester.client import Transport
from harvester.course import Course
from harvester.errors import Busy, HarvestError, OwnershipLost, RequestFailed, StoreUnavailable
from harvester.events import GroupView, Notice, Observer, Outcome, PageSaved, PassFinished
from harvester.passes import LONGEST_WAIT, Finished, Later, Step
from harvester.politeness import after_page, backoff, breaker, latest, rest
from harvester.schedule import State
from harvester.secrets import OUTSIDE_PREFECT, Resolvers
from harvester.sources import Configuration, Feed, PauseMode, Source
from harvester.store import Commit, Committed, PassEnd, Store, Totals, after

GRACE: Final = 30.0  # seconds that what is under way is given to come to a batch's end when the run stops
LOOK: Final = 2.0  # seconds between two looks at operator switches and commands
CLAIM_AGAIN: Final = 15.0  # seconds between two tries to own a group that another engine has
UNDER_WAY: Final = (State.IN_FLIGHT, State.SAVING)
VACUUM_LOOK: Final = 5.0  # seconds between two looks at the vacuum

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(kw_only=True, eq=False)
class _Group:
    name: str
    owned: bool = False
    given_up: bool = False
    lost: anyio.Event = field(default_factory=anyio.Event)
    tasks: TaskGroup | None = None
    seats: dict[str, Seat] = field(default_factory=dict)


class Feeding:
    """Harvests the sources of a configuration that are not OAI-PMH; the others it leaves alone."""

    def __init__(
        self,
        configuration: Configuration,
        store: Store,
        transport: Transport,
        slots: Slots,
        *,
        observe: Observer = lambda happening: None,
        resolvers: Resolvers = OUTSIDE_PREFECT,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        self._configuration = feeds_of(configuration)
        self._store = store
        self._slots = slots
        self._observe = observe
        self._passes = FeedPasses(self, transport, resolvers=resolvers)
        self.clock = clock
        self._rng = rng if rng is not None else Random(configuration.seed)  # noqa: S311  (jitter, not secrecy)
        self._groups: dict[str, _Group] = {}
        self._tasks: TaskGroup | None = None
        self._once = False
        self._stopping = False
        self._over = anyio.Event()
        self._quiet = anyio.Event()

    # ------------------------------------------------------------------- run

    async def run(self, *, once: bool = False, seconds: float | None = None) -> None:
        """Harvest until told to stop: by ``stop``, after ``seconds``, or, with ``once``, when every source had one pass."""
        self._once = once
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._open_groups()
                tasks.start_soon(self._rounds)
                self._check_over()
                with anyio.move_on_after(seconds):
                    await self._over.wait()
                self._stopping = True
                for seat in self._seats():
                    seat.wake.set()
                with anyio.move_on_after(GRACE):  # who waits for a slot, or for the end of blackout hours, has nothing to lose
                    while any(seat.working and seat.state in UNDER_WAY for seat in self._seats()):
                        self._quiet = anyio.Event()
                        await self._quiet.wait()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GRACE):
                for group in self._groups.values():
                    if group.owned:
                        await self._patiently(partial(self._store.release, group.name), tries=1)

    def stop(self) -> None:
        """End the run at the next boundary of every source."""
        self._over.set()

    def take(self, configuration: Configuration) -> None:
        """Go on with another configuration: sources join, leave and begin anew; unchanged ones do not notice."""
        old, new = self._configuration, feeds_of(configuration)
        self._configuration = new
        if self._tasks is None:
            return
        self._open_groups()
        for name, source in old.sources.items():
            successor = new.sources.get(name)
            if successor is None or successor.fingerprint != source.fingerprint:
                action, said = (
                    ("source.removed", "is no longer configured and leaves")
                    if successor is None
                    else (
                        "source.changed",
                        "has a new configuration and begins with it",
                    )
                )
                self._tell(action, f"{name} {said}", source=name, group=source.group)
                self._tasks.start_soon(self._succeed, source, successor)
        for name, source in new.sources.items():
            if name not in old.sources:
                self._tell("source.added", f"{name} joins", source=name, group=source.group)
                self._tasks.start_soon(self._succeed, None, source)

    def views(self) -> list[GroupView]:
        """The groups at this moment, by name."""
        found = []
        for name, group in sorted(self._groups.items()):
            states = Counter(seat.state for seat in group.seats.values())
            found.append(
                GroupView(
                    name=name,
                    limit=self._configuration.groups[name].limit if name in self._configuration.groups else 0,
                    in_flight=self._slots.in_flight.get(name, 0),
                    in_flight_max=self._slots.in_flight_max.get(name, 0),
                    pages=0,
                    states={state: states.get(state, 0) for state in State},
                )
            )
        return found

    # ---------------------------------------------------------------- groups

    def _seats(self) -> Iterator[Seat]:
        for group in self._groups.values():
            yield from group.seats.values()

    def _open_groups(self) -> None:
        for name in sorted({source.group for source in self._configuration.sources.values()} - self._groups.keys()):
            self._groups[name] = _Group(name=name)
            if self._tasks is not None:
                self._tasks.start_soon(self._run_group, self._groups[name])

    async def _run_group(self, group: _Group) -> None:
        told = False
        while not self._stopping:
            if not await self._patiently(partial(self._store.claim, group.name)):
                if not told:
                    said = f"group {group.name} is being harvested by another engine; its sources are left to it"
                    self._tell("group.owned-elsewhere", said, group=group.name)
                    told = True
                if self._once:
                    self._give_up(group)
                    return
                await anyio.sleep(CLAIM_AGAIN)
                continue
            group.owned, group.lost = True, anyio.Event()
            async with anyio.create_task_group() as tasks:
                group.tasks = tasks
                for source in self._sources_of(group.name):
                    await self._seat(group, source)
                self._check_over()
                await group.lost.wait()
                tasks.cancel_scope.cancel()
            group.tasks, group.owned = None, False
            group.seats.clear()
            self._tell("group.lost", f"group {group.name} was taken over by another engine", group=group.name)

    def _sources_of(self, group: str) -> list[Source]:
        return [source for source in self._configuration.sources.values() if source.group == group]

    def _give_up(self, group: _Group) -> None:
        """With ``once``, the sources of a group that another engine has count as blocked."""
        group.given_up = True
        for source in self._sources_of(group.name):
            if source.enabled:
                self._report(source, Outcome.BLOCKED, Totals(), 0.0, f"group {group.name} is being harvested by another engine")
        self._check_over()

    async def _seat(self, group: _Group, source: Source) -> None:
        memories = await self._patiently(partial(self._store.recall, [source]))
        switched = self._switched(source, await self._patiently(self._store.switches))
        if group.tasks is None or source.name in group.seats:
            return
        seat = group.seats[source.name] = Seat(source=source, memory=memories[source.name], switched=switched)
        group.tasks.start_soon(self._turns, group, seat)

    async def _succeed(self, old: Source | None, new: Source | None) -> None:
        """A source leaves its seat, at a point where nothing is lost, and its successor takes one."""
        if old is not None:
            group = self._groups[old.group]
            seat = group.seats.get(old.name)
            if seat is not None:
                seat.scope.cancel()
                await seat.ended.wait()
                group.seats.pop(old.name, None)
            if new is None:
                await self._patiently(partial(self._store.forget, [old.name]))
        if new is not None and (group := self._groups[new.group]).owned:
            await self._seat(group, new)
        self._check_over()

    async def _rounds(self) -> None:
        """Every two seconds: operator switches, and commands that changed a course."""
        while True:
            await anyio.sleep(LOOK)
            try:
                switches = await self._store.switches()
                epochs = await self._store.epochs()
                for group in list(self._groups.values()):
                    if group.owned and not await self._store.claim(group.name):
                        group.lost.set()
                for seat in list(self._seats()):
                    was, seat.switched = seat.switched, self._switched(seat.source, switches)
                    if seat.switched != was:
                        seat.wake.set()
                    changed = epochs.get(seat.source.name, seat.memory.epoch) != seat.memory.epoch
                    if changed and not seat.working and not seat.done:
                        memories = await self._store.recall([seat.source])
                        if not seat.working:
                            seat.memory = memories[seat.source.name]
                            seat.wake.set()
            except StoreUnavailable as error:
                log.info("the database does not answer: %s", error)

    @staticmethod
    def _switched(source: Source, switches: Mapping[str, str]) -> str | None:
        scopes = ("all", f"group:{source.group}", f"source:{source.name}")
        return next((f"paused by an operator ({scope}): {switches[scope]}" for scope in scopes if scope in switches), None)

    # --------------------------------------------------------------- sources

    async def _turns(self, group: _Group, seat: Seat) -> None:
        """One pass after the other, each when it is due."""
        try:
            with seat.scope:
                while not self._stopping and await self._until_due(seat):
                    seat.working = True
                    try:
                        over = await self._attempt(group, seat)
                    finally:
                        seat.working = False
                        self._quiet.set()
                    if over and self._once:
                        seat.done = True
                        return
        finally:
            seat.ended.set()
            self._check_over()

    async def _until_due(self, seat: Seat) -> bool:
        """Wait until the source may be asked; False when it need not be any more."""
        source = seat.source
        if not source.enabled:
            seat.state, seat.done = State.DISABLED, True
            return False
        while not self._stopping:
            now, memory = self.clock(), seat.memory
            if (reason := seat.switched or memory.blocked) is not None:
                seat.state = State.BLOCKED
                if self._once:
                    seat.done = True
                    self._report(source, Outcome.BLOCKED, Totals(), 0.0, reason)
                    return False
                await self._nap(seat)
            elif memory.paused_until is not None and memory.paused_until > now:
                await self._rest(seat)
            elif memory.waiting_until is not None and memory.waiting_until > now:
                seat.state = State.WAITING
                if self._once and memory.waiting_until > now + LONGEST_WAIT:
                    seat.done = True
                    until = datetime.fromtimestamp(memory.waiting_until, UTC)
                    said = f"the source asked not to be disturbed before {until:%Y-%m-%d %H:%M} UTC"
                    self._report(source, Outcome.FAILED, Totals(), 0.0, said)
                    return False
                await self._nap(seat, memory.waiting_until)
            elif not self._once and memory.due_at > now and not (unfinished(memory) and not memory.failures_in_a_row):
                seat.state = State.IDLE
                await self._nap(seat, memory.due_at)
            else:
                seat.state = State.READY
                return True
        return False

    async def _nap(self, seat: Seat, until: float | None = None) -> None:
        """Sleep until a moment, or until something happens to the source."""
        seat.wake = anyio.Event()
        with anyio.move_on_after(None if until is None else max(0.0, until - self.clock())):
            await seat.wake.wait()

    async def _rest(self, seat: Seat) -> None:
        """A pause: its time, or until autovacuum has caught up."""
        source, until, began = seat.source, seat.memory.paused_until or 0.0, self.clock()
        seat.state = State.PAUSED
        if source.pause_mode is PauseMode.FIXED:
            await self._nap(seat, until)
            return
        while rest(
            await self._patiently(partial(self._store.pressure, source)), began=began, seconds=source.pause_seconds, now=self.clock()
        ):
            await self._nap(seat, self.clock() + VACUUM_LOOK)
            if self._stopping or seat.switched is not None:
                return
        seat.memory = replace(seat.memory, paused_until=None)

    async def boundary(self, seat: Seat) -> None:
        """Between two batches: stop, obey an operator, rest. Raises Stopped."""
        while True:
            if self._stopping:
                raise Stopped
            if seat.switched is not None:
                seat.state = State.BLOCKED
                if self._once:
                    raise Stopped
                await self._nap(seat)
            elif seat.memory.paused_until is not None and seat.memory.paused_until > self.clock():
                await self._rest(seat)
            else:
                return

    async def _attempt(self, group: _Group, seat: Seat) -> bool:
        """A pass, or what a failure leaves of it. True when the pass is over."""
        source = seat.source
        if seat.began is None:
            seat.began, seat.held = self.clock(), False
        try:
            if source.transport == "rest":
                await self._passes.read_pages(seat)
            else:
                await self._passes.read_files(seat)
            return True
        except Stopped:
            return False
        except OwnershipLost as error:
            if not await self._patiently(partial(self._store.claim, source.group)):
                group.lost.set()
                return False
            self._tell("course.changed", f"{error}; it begins again from what is stored", source=source.name, group=source.group)
            seat.memory = (await self._patiently(partial(self._store.recall, [source])))[source.name]
            return False
        except HarvestError as error:
            return await self._failed(seat, error)
        except Exception as error:  # a mistake in this program must cost one source, not all
            log.exception("unexpected error in the harvest of %s", source.name)
            failures = seat.memory.failures_in_a_row + 1
            due = breaker(failures, source.breaker_failures, source.interval, self.clock(), self._rng)
            seat.memory = replace(seat.memory, failures_in_a_row=failures, due_at=due)
            self._finished(seat, Outcome.FAILED, Totals(), f"internal error: {type(error).__name__}: {error}")
            return True

    async def _failed(self, seat: Seat, error: HarvestError) -> bool:
        """Wait and go on where it was, or end the pass. True when it is over."""
        source, course, now = seat.source, seat.memory.course, self.clock()
        self._tell("page.failed", str(error), source=source.name, group=source.group)
        attempt = seat.memory.attempt + 1
        at = error.retry_at if isinstance(error, Busy) else None
        try:
            if isinstance(error, RequestFailed) and attempt < source.attempts and (at is None or at - now <= LONGEST_WAIT):
                until = at if at is not None else now + backoff(attempt, self._rng)
                await self.save(seat, Step(course=course, then=Later(until=until, reason=str(error), attempt=attempt)))
                return False
            if source.transport == "rest" and not isinstance(error, RequestFailed):
                course = None  # the position is worth nothing any more
            await self.save(seat, Step(course=course, then=Finished(error=str(error), not_before=at)))
        except OwnershipLost:
            seat.memory = (await self._patiently(partial(self._store.recall, [source])))[source.name]
            return False
        return True

    @asynccontextmanager
    async def slot(self, seat: Seat) -> AsyncIterator[None]:
        """A slot of the group for something that may take a while."""
        seat.state = State.READY
        self._quiet.set()
        async with self._slots.slot(seat.source):
            seat.state = State.IN_FLIGHT
            try:
                yield
            finally:
                seat.state = State.SAVING

    # ----------------------------------------------------------------- store

    async def save(
        self,
        seat: Seat,
        step: Step,
        *,
        course: Course | None = None,
        verb: str = "",
        format: str = "",
        token: str | None = None,
        size: int = 0,
        seconds: float = 0.0,
    ) -> Committed:
        """Commit a step. ``course`` is the pass it belongs to, where that is not the step's own."""
        source, memory, now, then = seat.source, seat.memory, self.clock(), step.then
        of = course or step.closing or step.course
        seat.state = State.SAVING
        count = len(step.records) + len(step.damaged)
        pause = after_page(memory.since_pause, count, threshold=source.pause_after_records, seconds=source.pause_seconds, now=now)
        commit = Commit(
            source=replace(source, metadata_prefix=format or (source.feed or Feed()).format.value),
            step=step,
            pass_id=of.id if of is not None else uuid.uuid4().hex,
            at=now,
            epoch=memory.epoch,
            verb=verb,
            token=token,
            size=size,
            seconds=seconds,
            since_pause=pause.since_pause,
            paused_until=pause.paused_until,
            waiting_until=then.until if isinstance(then, Later) else then.not_before if isinstance(then, Finished) else None,
            attempt=then.attempt if isinstance(then, Later) else 0,
            started=of.started if of is not None else None,
        )
        if isinstance(then, Finished):
            failures = memory.failures_in_a_row + 1 if then.error is not None else 0
            due = breaker(failures, source.breaker_failures, source.interval, now, self._rng)
            end = PassEnd(
                error=then.error,
                due_at=latest([due, then.not_before, pause.paused_until]) or due,
                failures_in_a_row=failures,
                full=then.error is None and of is not None and of.full and step.end is not None and not of.blind,
                swept=False,
                warnings=of.warnings if of is not None else (),
            )
            commit = replace(commit, end=end)
        committed = await self._commit(commit)
        seat.memory = committed.memory or after(memory, commit, live=committed.live)
        if committed.hold is not None:
            seat.held = True
            said = f"{committed.hold.reason}; windrow deletions show {source.name}"
            self._tell("delete.held", said, source=source.name, group=source.group)
        if step.window is not None and committed.page != Totals():
            received = of.window.received if of is not None and of.windows else step.window.received
            self._observe(PageSaved(source=source.name, group=source.group, page=committed.page, received=received, size=None))
        if isinstance(then, Finished):
            outcome = Outcome.FAILED if then.error is not None else Outcome.HELD if seat.held else Outcome.COMPLETE
            warning = commit.end.warning(live=committed.live, known=committed.known) if commit.end is not None else None
            self._finished(seat, outcome, committed.totals, then.error, warning)
        return committed

    async def _commit(self, commit: Commit) -> Committed:
        """Commit, as often as the database needs; once begun it is not interrupted."""
        attempt = 0
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    return await self._store.commit(commit)
            except StoreUnavailable as error:
                attempt += 1
                if attempt == 1:
                    self._tell("store.down", f"the database does not answer; {commit.source.name} waits until it does: {error}")
                await anyio.sleep(min(5.0, backoff(min(attempt, 4), self._rng)))
                if not await self._patiently(partial(self._store.claim, commit.source.group)):
                    raise OwnershipLost(f"group {commit.source.group} was taken over by another engine") from error

    async def _patiently(self, verb: Callable[[], Awaitable[T]], *, tries: int | None = None) -> T:
        """Call a verb of the store until the database answers."""
        attempt = 0
        while True:
            try:
                return await verb()
            except StoreUnavailable:
                attempt += 1
                if tries is not None and attempt >= tries:
                    raise
                await anyio.sleep(min(5.0, backoff(min(attempt, 4), self._rng)))

    # --------------------------------------------------------------- telling

    def _finished(self, seat: Seat, outcome: Outcome, totals: Totals, error: str | None, warning: str | None = None) -> None:
        now = self.clock()
        self._report(seat.source, outcome, totals, now - (seat.began if seat.began is not None else now), error, warning)
        seat.began, seat.state = None, State.IDLE

    def _report(
        self, source: Source, outcome: Outcome, totals: Totals, seconds: float, error: str | None, warning: str | None = None
    ) -> None:
        self._observe(
            PassFinished(
                source=source.name, group=source.group, outcome=outcome, totals=totals, seconds=seconds, error=error, warning=warning
            )
        )

    def _tell(self, action: str, message: str, *, source: str | None = None, group: str | None = None) -> None:
        self._observe(Notice(action=action, message=message, source=source, group=group))

    def _check_over(self) -> None:
        """With ``once``, the run is over when every source had its pass."""
        if not self._once:
            return
        for name, group in self._groups.items():
            waited_for = {source.name for source in self._sources_of(name)}
            if group.given_up:
                continue
            if not group.owned or not waited_for <= group.seats.keys() or not all(group.seats[each].done for each in waited_for):
                return
        self._over.set()


def feeds_of(configuration: Configuration) -> Configuration:
    """The configuration with only the sources that are not OAI-PMH."""
    return replace(configuration, sources={name: source for name, source in configuration.sources.items() if source.transport != "oai"})


def without_feeds(configuration: Configuration) -> Configuration:
    """The configuration with only the OAI-PMH sources."""
    return replace(configuration, sources={name: source for name, source in configuration.sources.items() if source.transport == "oai"})
