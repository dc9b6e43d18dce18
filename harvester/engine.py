"""The loop: it executes what ``schedule`` and ``passes`` decide, and decides nothing itself.

::

    group task: claim ─► recall ─► [ dispatch ─► wait for the next moment ] ...
    page task:  fetch (holds a slot) ─► answer (the slot is free: dispatch) ─► read ─► step ─► commit ─► schedule

There is one task a group and one a page that is in flight or being saved; a source that waits costs neither. Two bounds
stand behind the group limits: ``total_limit`` over all requests in flight, and ``BACKLOG`` over pages that are fetched
but not saved, so that a slow database slows fetching and memory stays flat.

Stopping is clean: no new request starts, pages in flight are given ``GRACE`` to arrive, and a commit that has begun is
never interrupted.

Clock, sleep and randomness come in: with trio's MockClock the same engine runs in virtual time (``simulation``).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final, Protocol, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from harvester import answers, passes
from harvester.client import Reply, Transport
from harvester.course import Course, Memory
from harvester.errors import HarvestError, NoRecordsMatch, OwnershipLost, StoreUnavailable
from harvester.events import GroupView, Notice, Observer, Outcome, PageSaved, PassFinished
from harvester.oai import Page, Request
from harvester.passes import LONGEST_WAIT, Closed, Finished, Later, More, Step
from harvester.politeness import AfterPage, after_page, backoff, breaker, latest
from harvester.rounds import Rounds
from harvester.schedule import NEVER, Schedule, State
from harvester.seats import Seat, Table
from harvester.sources import Configuration, PauseMode, Source
from harvester.store import Commit, Committed, PassEnd, Store, Totals, after

SAVERS: Final = 3  # pages parsed and committed at once: more than two cores could use
BACKLOG: Final = 16  # pages fetched and not yet saved, over all groups
GRACE: Final = 30.0  # seconds that pages in flight are given to arrive when the engine stops
CLAIM_AGAIN: Final = 15.0  # seconds between two tries to own a group that another engine has

log = logging.getLogger(__name__)
T = TypeVar("T")


class Read(Protocol):
    """``answers.read``, or what a simulation puts in its place."""

    def __call__(self, reply: Reply, request: Request, *, now: float, repair: bool = False) -> Page: ...


class Engine:
    """Harvests a configuration into a store.

    ``observe`` is told what happens. ``watch`` gives a new configuration when there is one (None: nothing changed); it is
    called every two seconds. ``read`` turns replies into pages; ``in_thread`` runs it beside the loop.
    """

    def __init__(
        self,
        configuration: Configuration,
        store: Store,
        transport: Transport,
        *,
        observe: Observer = lambda happening: None,
        watch: Callable[[], Configuration | None] = lambda: None,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
        read: Read = answers.read,
        in_thread: bool = True,
    ) -> None:
        self.configuration = configuration
        self.store = store
        self._transport = transport
        self._observe = observe
        self.watch = watch
        self.clock = clock
        self._rng = rng if rng is not None else Random(configuration.seed)  # noqa: S311  (fairness, not secrecy)
        self._read = read
        self._in_thread = in_thread
        self.tables: dict[str, Table] = {}
        self._rounds = Rounds(self)
        self.tasks: TaskGroup | None = None
        self.once = False
        self._stopping = False
        self.down = False
        self._in_flight = 0
        self._unsaved = 0
        self._idle = anyio.Event()
        self._over = anyio.Event()

    # ------------------------------------------------------------------- run

    async def run(self, *, once: bool = False, seconds: float | None = None) -> None:
        """Harvest until told to stop: by ``stop``, after ``seconds``, or, with ``once``, when every source had one pass."""
        self.once = once
        self._savers = anyio.CapacityLimiter(SAVERS)
        try:
            async with anyio.create_task_group() as tasks:
                self.tasks = tasks
                self.seat_groups(self.configuration)
                tasks.start_soon(self._rounds.walk)
                self.check_over()
                with anyio.move_on_after(seconds):
                    await self._over.wait()
                await self._drain()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GRACE):
                for name, table in self.tables.items():
                    if table.owned:
                        await self.patiently(partial(self.store.release, name), tries=1)

    def stop(self) -> None:
        """End the run at the next page boundary of every source."""
        self._over.set()

    def views(self) -> list[GroupView]:
        """The groups at this moment, by name."""
        now = self.clock()
        return [
            GroupView(
                name=name,
                limit=table.schedule.group.limit,
                in_flight=table.schedule.in_flight,
                in_flight_max=table.schedule.in_flight_max,
                pages=table.pages,
                states=table.schedule.counts(now),
            )
            for name, table in sorted(self.tables.items())
        ]

    async def _drain(self) -> None:
        """No new request; those in flight arrive, and what has arrived is saved."""
        self._stopping = True
        with anyio.move_on_after(GRACE):
            while self._unsaved:
                self._idle = anyio.Event()
                await self._idle.wait()

    # ---------------------------------------------------------------- groups

    def seat_groups(self, configuration: Configuration) -> None:
        used = {source.group for source in configuration.sources.values()}
        for name in sorted(used - self.tables.keys()):
            self.tables[name] = Table(schedule=Schedule(configuration.groups[name], rng=self._rng))
            if self.tasks is not None:
                self.tasks.start_soon(self._run_group, name)

    async def _run_group(self, name: str) -> None:
        table = self.tables[name]
        told = False
        while not self._stopping:
            if not await self.patiently(partial(self.store.claim, name)):
                if not told:
                    self.tell(
                        "group.owned-elsewhere",
                        f"group {name} is being harvested by another engine; its sources are left to it",
                        group=name,
                    )
                    told = True
                if self.once:
                    self._give_up(table)
                    return
                await anyio.sleep(CLAIM_AGAIN)
                continue
            table.owned = True
            await self._rounds.welcome(self._sources_of(name))
            self.check_over()
            while table.owned:
                self._dispatch(table)
                # Without room in the common bounds, the end of any page is what to wait for (``_dispatch_all``).
                table.crowded_out = not self._room()
                may_start = not (self.down or self._stopping or table.crowded_out)
                moment = table.schedule.next_event(self.clock()) if may_start else NEVER
                table.armed, table.wake = moment, anyio.Event()
                with anyio.move_on_after(None if moment == NEVER else max(0.0, moment - self.clock())):
                    await table.wake.wait()
            self.tell("group.lost", f"group {name} was taken over by another engine", group=name)

    def _give_up(self, table: Table) -> None:
        """With ``once``, the sources of a group that another engine has count as blocked."""
        table.given_up = True
        for source in self._sources_of(table.schedule.group.name):
            seat = table.seats.get(source.name)
            if source.enabled and not (seat is not None and seat.done):
                self._report(source, Outcome.BLOCKED, Totals(), 0.0, f"group {source.group} is being harvested by another engine")
        self.check_over()

    def _sources_of(self, group: str) -> list[Source]:
        return [source for source in self.configuration.sources.values() if source.group == group]

    def seat(self, table: Table, source: Source, memory: Memory, *, switched: str | None = None) -> None:
        """Let a source take part, in the state in which it was left; ``switched`` is why an operator paused it."""
        now = self.clock()
        schedule = table.schedule
        seat = table.seats[source.name] = Seat(source=source, memory=memory, switched=switched, done=self.once and not source.enabled)
        bulk = memory.course.bulk if memory.course is not None else memory.watermark is None
        resting = memory.paused_until is not None and memory.paused_until > now
        waiting = memory.waiting_until is not None and memory.waiting_until > now
        due = 0.0 if self.once or (memory.course is not None and not memory.failures_in_a_row) else memory.due_at
        reason = switched or memory.blocked
        schedule.join(source, now, due=now if due == 0.0 else due, bulk=bulk, reason=reason)
        if not source.enabled:
            return
        if reason is not None:
            self.settle_once(seat, Outcome.BLOCKED, reason)
        elif resting and memory.paused_until is not None:
            ends = memory.paused_until if source.pause_mode is PauseMode.FIXED else NEVER
            schedule.restore(source.name, now, state=State.PAUSED, until=ends)
        elif waiting and memory.waiting_until is not None:
            if self.once and memory.waiting_until > now + LONGEST_WAIT:
                until = datetime.fromtimestamp(memory.waiting_until, UTC)
                reason = f"the repository asked not to be disturbed before {until:%Y-%m-%d %H:%M} UTC"
                schedule.restore(source.name, now, state=State.WAITING, until=NEVER, attempt=memory.attempt, reason=reason)
                self.settle_once(seat, Outcome.FAILED, reason)
                return
            schedule.restore(source.name, now, state=State.WAITING, until=memory.waiting_until, attempt=memory.attempt, reason=memory.error)

    # ----------------------------------------------------------------- pages

    def _dispatch(self, table: Table) -> None:
        """Start as many pages as the limits allow. Synchronous, so that a freed slot is taken again at once."""
        tasks = self.tasks
        while (
            tasks is not None
            and table.owned
            and not (self._stopping or self.down)
            and self._room()
            and (source := table.schedule.pick(self.clock())) is not None
        ):
            self._in_flight += 1
            self._unsaved += 1
            tasks.start_soon(self._page, table, table.seats[source.name], table.schedule)
        # A slot that stays free for a reason of time (a rate, blackout hours): the group's task sleeps no longer than that.
        if table.owned and table.schedule.next_event(self.clock()) < table.armed:
            table.wake.set()

    def _room(self) -> bool:
        """Whether the bounds over all groups let another page start."""
        return self._in_flight < self.configuration.total_limit and self._unsaved - self._in_flight < BACKLOG

    def _dispatch_all(self, first: Table) -> None:
        """A common bound has room again: the group that made it goes first, the others follow in random order."""
        self._dispatch(first)
        if len(self.tables) > 1:
            others = [table for table in self.tables.values() if table is not first]
            self._rng.shuffle(others)
            for table in others:
                self._dispatch(table)
        if self._room():
            for table in self.tables.values():
                if table.crowded_out:
                    table.crowded_out = False
                    table.wake.set()

    async def _page(self, table: Table, seat: Seat, schedule: Schedule) -> None:
        """One page of one source, from request to commit; ``schedule`` is the one that picked it."""
        try:
            await self._fetch_and_save(table, seat, schedule)
        except OwnershipLost as error:
            await self._course_changed(table, seat, error)
        except HarvestError as error:
            self._contain(table, seat, str(error))
        except Exception as error:  # a mistake in this program must cost one source, not a thousand
            log.exception("unexpected error in the harvest of %s", seat.source.name)
            self._contain(table, seat, f"internal error: {type(error).__name__}: {error}")
        finally:
            self._unsaved -= 1
            if not self._unsaved:
                self._idle.set()
            if seat.leaving and table.seats.get(seat.source.name) is seat:
                self._rounds.replace(table, seat)
            self._dispatch_all(table)
            self.check_over()

    async def _fetch_and_save(self, table: Table, seat: Seat, schedule: Schedule) -> None:
        source, name = seat.source, seat.source.name
        request: Request | None = None
        reply: Reply | None = None
        error: HarvestError | None = None
        sent = now = self.clock()
        if seat.began is None:
            seat.began, seat.held = now, False
        course = seat.memory.course or passes.begin(source, seat.memory, now=now, id=uuid.uuid4().hex)
        try:
            if course.started is None or course.windows:
                error = passes.expired(course, now)
                request, timeout = passes.request(source, course)
                if error is None:
                    reply = await self._transport.fetch(source, request, timeout=timeout)
                    table.pages += 1
        except HarvestError as problem:
            error = problem
        finally:
            schedule.answer(name, self.clock())  # of the group as it was: it may have been lost, and even won back
            self._in_flight -= 1
        if table.schedule is not schedule:
            return
        self._dispatch(table)  # before anything else is done: the slot is what is scarce
        async with self._savers:
            page: Page | None = None
            if reply is not None and request is not None and error is None:
                try:
                    page = await self.beside(partial(self._read, reply, request, now=self.clock(), repair=source.repair))
                except HarvestError as problem:
                    error = problem
            now = self.clock()
            if page is not None:
                step = passes.accept(source, course, page, now=now, rng=self._rng)
            elif error is not None:
                step = passes.reject(source, course, error, now=now, rng=self._rng)
                if not isinstance(error, NoRecordsMatch) or isinstance(step.then, Later):
                    self.tell("page.failed", f"{request or 'the pass'}: {error}", source=name, group=source.group)
            else:  # a former engine saved the last page, but not the end of the pass
                step = passes.finish(Step(course=course, then=More()))
            await self._save(
                table, seat, step, course, request=request, page=page, seconds=reply.seconds if reply is not None else now - sent
            )

    async def _save(
        self,
        table: Table,
        seat: Seat,
        step: Step,
        course: Course,
        *,
        request: Request | None = None,
        page: Page | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Commit a step and let the schedule know; a step that compares is followed by another."""
        source, memory, now = seat.source, seat.memory, self.clock()
        count = 0 if step.bare else len(step.records) + len(step.damaged)
        pause = after_page(memory.since_pause, count, threshold=source.pause_after_records, seconds=source.pause_seconds, now=now)
        then = step.then
        commit = Commit(
            source=source,
            step=step,
            pass_id=course.id,
            at=now,
            epoch=memory.epoch,
            verb=request.verb if request is not None and page is not None else "",
            token=request.token if request is not None else None,
            size=page.size if page is not None else 0,
            seconds=seconds,
            since_pause=pause.since_pause,
            paused_until=pause.paused_until,
            waiting_until=then.until if isinstance(then, Later) else then.not_before if isinstance(then, Finished) else None,
            attempt=then.attempt if isinstance(then, Later) else 0,
            blocked=then.reason if isinstance(then, Closed) else None,
            started=course.started,
        )
        if isinstance(then, Finished):
            commit = replace(commit, end=self._pass_end(seat, step, step.closing or course, then, pause, now))
        committed = await self._commit(table, commit)
        seat.memory = committed.memory or after(memory, commit, live=committed.live)
        seat.held = seat.held or committed.hold is not None
        if committed.hold is not None:
            self.tell(
                "delete.held", f"{committed.hold.reason}; windrow deletions show {source.name}", source=source.name, group=source.group
            )
        if step.window is not None and (page is not None or committed.page != Totals()):
            window = step.course.windows[0] if step.course is not None and step.course.windows else step.window
            self._observe(
                PageSaved(source=source.name, group=source.group, page=committed.page, received=window.received, size=window.size)
            )
        if step.compare and step.course is not None:
            if committed.lost:
                warning = "what this pass saw was lost in a crash of the database; nothing was concluded, the next pass looks again"
                step = replace(step, course=replace(step.course, blind=True, warnings=(*step.course.warnings, warning)))
            follow = passes.compared(source, step, committed.missing)
            await self._save(table, seat, follow, course)
            return
        self._advance(table, seat, step, commit, committed, pause)

    def _pass_end(self, seat: Seat, step: Step, course: Course, then: Finished, pause: AfterPage, now: float) -> PassEnd:
        source = seat.source
        failures = seat.memory.failures_in_a_row + 1 if then.error is not None else 0
        due = breaker(failures, source.breaker_failures, source.interval, now, self._rng)
        warnings = list(course.warnings)
        if course.outside:
            warnings.append(f"{course.outside:,} records came that were not asked for (outside of the set or the window)")
        if course.blind and (course.full or course.sweep):
            warnings.append("not everything could be read, so nothing was concluded from what was not seen")
        return PassEnd(
            error=then.error,
            due_at=latest([due, then.not_before, pause.paused_until]) or due,
            failures_in_a_row=failures,
            full=course.full and step.course is None,
            swept=(course.sweep or course.full) and step.course is None,
            warnings=tuple(warnings),
            announced=course.announced,
        )

    def _advance(self, table: Table, seat: Seat, step: Step, commit: Commit, committed: Committed, pause: AfterPage) -> None:
        """What was committed happens in the schedule."""
        name, schedule, now = seat.source.name, table.schedule, self.clock()
        bulk = step.course.bulk if step.course is not None else False
        match step.then:
            case More() | Later() if seat.switched is not None:
                self.block(table, seat, seat.switched)
            case More() if pause.paused_until is None:
                schedule.more(name, now, bulk=bulk)
            case More():
                schedule.rest(name, self._rest_until(seat.source, now), now)
            case Later(until=until, reason=reason, attempt=attempt):
                schedule.wait(name, latest([until, pause.paused_until]) or until, now, attempt=attempt, reason=reason)
            case Finished(error=error):
                outcome = Outcome.FAILED if error is not None else Outcome.HELD if seat.held else Outcome.COMPLETE
                seat.done = self.once
                due = commit.end.due_at if commit.end is not None else now
                schedule.finish(name, NEVER if self.once else due, now, bulk=bulk)
                warning = commit.end.warning(live=committed.live, known=committed.known) if commit.end is not None else None
                self._report(seat.source, outcome, committed.totals, now - (seat.began or now), error, warning)
                seat.began = None
            case Closed(reason=reason):
                seat.done = self.once
                schedule.block(name, reason, now)
                self._report(seat.source, Outcome.BLOCKED, committed.totals, now - (seat.began or now), reason)
                seat.began = None
        if not isinstance(step.then, More) or pause.paused_until is not None:
            table.wake.set()

    @staticmethod
    def _rest_until(source: Source, now: float) -> float:
        """A fixed pause ends by itself; one for the vacuum is ended by ``_relieve``, and has a bound."""
        return now + source.pause_seconds if source.pause_mode is PauseMode.FIXED else NEVER

    # ----------------------------------------------------------------- store

    async def _commit(self, table: Table, commit: Commit) -> Committed:
        """Commit, as often as the database needs; once begun it is not interrupted."""
        attempt = 0
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    committed = await self.store.commit(commit)
                self._is_back()
                return committed
            except OwnershipLost:
                self._is_back()  # it answers, although not as hoped
                raise
            except StoreUnavailable as error:
                attempt += 1
                if not self.down:
                    self.down = True
                    self.tell("store.down", f"the database does not answer; {self._unsaved} pages are kept until it does: {error}")
                await anyio.sleep(min(5.0, backoff(min(attempt, 4), self._rng)))
                if not await self.patiently(partial(self.store.claim, commit.source.group)):
                    self._is_back()
                    raise OwnershipLost(f"group {commit.source.group} was taken over by another engine") from error

    def _is_back(self) -> None:
        """The database answers; if it had not, everybody goes on."""
        if self.down:
            self.down = False
            self.tell("store.back", "the database answers again")
            for table in self.tables.values():
                table.wake.set()

    async def patiently(self, verb: Callable[[], Awaitable[T]], *, tries: int | None = None) -> T:
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

    async def _course_changed(self, table: Table, seat: Seat, error: OwnershipLost) -> None:
        """A command changed the course while a page was on its way, or the group is lost; the page was not saved."""
        source, now = seat.source, self.clock()
        if table.seats.get(source.name) is not seat:
            return
        if not await self.patiently(partial(self.store.claim, source.group)):
            self.lose(table)
            return
        self.tell("course.changed", f"{error}; it begins again from what is stored", source=source.name, group=source.group)
        memories = await self.patiently(partial(self.store.recall, [source]))
        if table.seats.get(source.name) is not seat:
            return
        seat.memory = memories[source.name]
        table.schedule.finish(source.name, now, now, bulk=seat.memory.watermark is None)
        if seat.memory.blocked is not None:
            table.schedule.block(source.name, seat.memory.blocked, now)
        table.wake.set()

    def lose(self, table: Table) -> None:
        """Another engine has the group; pages on their way will not be saved."""
        table.owned = False
        table.schedule = Schedule(table.schedule.group, rng=self._rng)
        table.seats.clear()
        table.wake.set()

    def _contain(self, table: Table, seat: Seat, message: str) -> None:
        """A source whose page could not be handled waits for its next turn; the others do not notice."""
        name, now = seat.source.name, self.clock()
        if table.seats.get(name) is not seat:
            return
        failures = seat.memory.failures_in_a_row + 1
        seat.memory = replace(seat.memory, failures_in_a_row=failures)
        due = breaker(failures, seat.source.breaker_failures, seat.source.interval, now, self._rng)
        seat.done = self.once
        if table.schedule[name].state is State.SAVING:
            table.schedule.finish(name, NEVER if self.once else due, now)
        self._report(seat.source, Outcome.FAILED, Totals(), now - (seat.began or now), message)
        seat.began = None
        table.wake.set()

    # --------------------------------------------------------------- telling

    def _report(
        self, source: Source, outcome: Outcome, totals: Totals, seconds: float, error: str | None, warning: str | None = None
    ) -> None:
        self._observe(
            PassFinished(
                source=source.name, group=source.group, outcome=outcome, totals=totals, seconds=seconds, error=error, warning=warning
            )
        )

    def block(self, table: Table, seat: Seat, reason: str) -> None:
        """No request of this source until somebody resumes it."""
        table.schedule.block(seat.source.name, reason, self.clock())
        self.settle_once(seat, Outcome.BLOCKED, reason)

    def settle_once(self, seat: Seat, outcome: Outcome, reason: str) -> None:
        """With ``once``, a source that may not be asked has had its pass."""
        if self.once and not seat.done:
            seat.done = True
            self._report(seat.source, outcome, Totals(), 0.0, reason)
            self.check_over()

    def tell(self, action: str, message: str, *, source: str | None = None, group: str | None = None) -> None:
        self._observe(Notice(action=action, message=message, source=source, group=group))

    def check_over(self) -> None:
        """With ``once``, the run is over when every source had its pass."""
        if not self.once or self._unsaved:
            return
        for name, table in self.tables.items():
            if table.given_up:
                continue
            waited_for = {source.name for source in self._sources_of(name)}
            if not table.owned or not waited_for <= table.seats.keys() or not all(table.seats[source].done for source in waited_for):
                return
        self._over.set()

    async def beside(self, work: Callable[[], T]) -> T:
        """Run something beside the loop, or, in virtual time, in it."""
        return await anyio.to_thread.run_sync(work, limiter=None) if self._in_thread else work()
