"""A run of the sources that are not OAI-PMH: files, SFTP, REST; beside the engine, with the same store, events and rules.

::

    group task:  claim ─► recall ─► a task for each source, until the group is lost
    source task: wait until it is due ─► a pass ─► ...
    a pass:      what is there (a slot of the group) ─► batches or pages, one commit each ─► conclude

What a pass knows is in the source's course, in the same transaction as the records. A page of a REST endpoint is stored
with the position of the next one. A file is marked with the batch that ends it: killed before, it is read again from its
start, which writes nothing twice; killed after, it is not read again. A failure that may pass by ends the attempt, not
the pass: the course goes on where it was, after a wait, as often as ``attempts`` says.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from flows.catalog.feeds import pages
from flows.catalog.feeds.batches import Batch, batches
from flows.catalog.feeds.errors import Spoilt
from flows.catalog.feeds.folder import Folder, LocalFolder, digest, path_of
from flows.catalog.feeds.identify import damage
from flows.catalog.feeds.plan import Entry, plan
from flows.catalog.feeds.sftp import SftpFolder
from flows.harvest.sharing import Slots
from harvester.client import Transport
from harvester.course import RECENT, Course, FileMark, Memory, Window, WindowKind
from harvester.errors import Busy, HarvestError, Interrupted, ListBroken, OwnershipLost, RequestFailed, StoreUnavailable
from harvester.events import GroupView, Notice, Observer, Outcome, PageSaved, PassFinished
from harvester.oai import Identity
from harvester.passes import LONGEST_WAIT, Finished, Later, More, Step, WindowEnd, overdue
from harvester.politeness import after_page, backoff, breaker, latest, rest
from harvester.schedule import State
from harvester.secrets import OUTSIDE_PREFECT, Resolvers
from harvester.sources import Configuration, Deletions, Feed, PauseMode, Source
from harvester.store import Commit, Committed, PassEnd, Store, Totals, after

GRACE: Final = 30.0  # seconds that what is under way is given to come to a batch's end when the run stops
LOOK: Final = 2.0  # seconds between two looks at operator switches and commands
CLAIM_AGAIN: Final = 15.0  # seconds between two tries to own a group that another engine has
VACUUM_LOOK: Final = 5.0  # seconds between two looks at the vacuum

log = logging.getLogger(__name__)
T = TypeVar("T")


class _Stopped(Exception):
    """The run ends, or an operator paused the source: leave the pass at this boundary."""


@dataclass(kw_only=True, eq=False)
class _Seat:
    """A source that takes part. Its whole state; only the task of the source and the rounds change it."""

    source: Source
    memory: Memory
    state: State = State.IDLE
    switched: str | None = None
    done: bool = False
    held: bool = False
    working: bool = False
    began: float | None = None
    wake: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


@dataclass(kw_only=True, eq=False)
class _Group:
    name: str
    owned: bool = False
    given_up: bool = False
    lost: anyio.Event = field(default_factory=anyio.Event)
    tasks: TaskGroup | None = None
    seats: dict[str, _Seat] = field(default_factory=dict)


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
        self._transport = transport
        self._slots = slots
        self._observe = observe
        self._resolvers = resolvers
        self._clock = clock
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
                with anyio.move_on_after(GRACE):
                    while any(seat.working for seat in self._seats()):
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

    def _seats(self) -> Iterator[_Seat]:
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
        seat = group.seats[source.name] = _Seat(source=source, memory=memories[source.name], switched=switched)
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

    async def _turns(self, group: _Group, seat: _Seat) -> None:
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

    async def _until_due(self, seat: _Seat) -> bool:
        """Wait until the source may be asked; False when it need not be any more."""
        source = seat.source
        if not source.enabled:
            seat.state, seat.done = State.DISABLED, True
            return False
        while not self._stopping:
            now, memory = self._clock(), seat.memory
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
            elif not self._once and memory.due_at > now and not (_unfinished(memory) and not memory.failures_in_a_row):
                seat.state = State.IDLE
                await self._nap(seat, memory.due_at)
            else:
                seat.state = State.READY
                return True
        return False

    async def _nap(self, seat: _Seat, until: float | None = None) -> None:
        """Sleep until a moment, or until something happens to the source."""
        seat.wake = anyio.Event()
        with anyio.move_on_after(None if until is None else max(0.0, until - self._clock())):
            await seat.wake.wait()

    async def _rest(self, seat: _Seat) -> None:
        """A pause: its time, or until autovacuum has caught up."""
        source, until, began = seat.source, seat.memory.paused_until or 0.0, self._clock()
        seat.state = State.PAUSED
        if source.pause_mode is PauseMode.FIXED:
            await self._nap(seat, until)
            return
        while rest(
            await self._patiently(partial(self._store.pressure, source)), began=began, seconds=source.pause_seconds, now=self._clock()
        ):
            await self._nap(seat, self._clock() + VACUUM_LOOK)
            if self._stopping or seat.switched is not None:
                return
        seat.memory = replace(seat.memory, paused_until=None)

    async def _boundary(self, seat: _Seat) -> None:
        """Between two batches: stop, obey an operator, rest. Raises _Stopped."""
        while True:
            if self._stopping:
                raise _Stopped
            if seat.switched is not None:
                seat.state = State.BLOCKED
                if self._once:
                    raise _Stopped
                await self._nap(seat)
            elif seat.memory.paused_until is not None and seat.memory.paused_until > self._clock():
                await self._rest(seat)
            else:
                return

    async def _attempt(self, group: _Group, seat: _Seat) -> bool:
        """A pass, or what a failure leaves of it. True when the pass is over."""
        source = seat.source
        if seat.began is None:
            seat.began, seat.held = self._clock(), False
        try:
            if source.transport == "rest":
                await self._read_pages(seat)
            else:
                await self._read_files(seat)
            return True
        except _Stopped:
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
            due = breaker(failures, source.breaker_failures, source.interval, self._clock(), self._rng)
            seat.memory = replace(seat.memory, failures_in_a_row=failures, due_at=due)
            self._finished(seat, Outcome.FAILED, Totals(), f"internal error: {type(error).__name__}: {error}")
            return True

    async def _failed(self, seat: _Seat, error: HarvestError) -> bool:
        """Wait and go on where it was, or end the pass. True when it is over."""
        source, course, now = seat.source, seat.memory.course, self._clock()
        self._tell("page.failed", str(error), source=source.name, group=source.group)
        attempt = seat.memory.attempt + 1
        at = error.retry_at if isinstance(error, Busy) else None
        try:
            if isinstance(error, RequestFailed) and attempt < source.attempts and (at is None or at - now <= LONGEST_WAIT):
                until = at if at is not None else now + backoff(attempt, self._rng)
                await self._save(seat, Step(course=course, then=Later(until=until, reason=str(error), attempt=attempt)))
                return False
            if source.transport == "rest" and not isinstance(error, RequestFailed):
                course = None  # the position is worth nothing any more
            await self._save(seat, Step(course=course, then=Finished(error=str(error), not_before=at)))
        except OwnershipLost:
            seat.memory = (await self._patiently(partial(self._store.recall, [source])))[source.name]
            return False
        return True

    # ---------------------------------------------------------------- passes

    def _begin(self, seat: _Seat) -> tuple[Course, bool]:
        """The course to go on with, and whether it is a new one."""
        source, memory, now = seat.source, seat.memory, self._clock()
        if _unfinished(memory) and memory.course is not None:
            return memory.course, False
        files = memory.course.files if memory.course is not None and not memory.full_due else ()
        if source.transport == "rest":
            whole = (source.feed or Feed()).since_parameter is None
            full = whole or memory.watermark is None or memory.full_due or overdue(source.full_every, memory.last_full, now)
        else:
            full = source.deletions is Deletions.FULL
        started = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
        kind = WindowKind.FULL if full else WindowKind.DELTA
        window = Window(number=1, kind=kind, since=None if full else memory.watermark)
        course = Course(
            id=uuid.uuid4().hex,
            full=full,
            sweep=False,
            watermark=memory.watermark,
            since=window.since,
            started=started,
            windows=(window,),
            numbered=1,
            files=files,
        )
        return course, True

    async def _announce(self, seat: _Seat, course: Course) -> None:
        """The first commit of a pass: what former passes saw is forgotten."""
        source = seat.source
        identity = Identity(
            repository_name=source.url, base_url=source.url, protocol_version="", earliest="", deleted_record="", granularity=""
        )
        await self._save(seat, Step(course=course, then=More(), identity=identity), course=course)

    async def _read_files(self, seat: _Seat) -> None:
        source, feed = seat.source, seat.source.feed or Feed()
        course, fresh = self._begin(seat)
        async with AsyncExitStack() as stack:
            async with self._slot(seat):
                folder = await stack.enter_async_context(self._folder(source))
                entries = await folder.entries()
            todo = plan(entries, course.files, feed, now=self._clock(), whole=course.full, fresh=fresh)
            course = replace(course, files=todo.marks)
            if course.full and todo.unfinished:
                said = f"the delivery waits for {', '.join(todo.unfinished[:3])}, which is still being written"
                course = replace(course, warnings=(*course.warnings, said))
            if todo.read and fresh:
                await self._announce(seat, course)
            for entry in todo.read:
                await self._boundary(seat)
                course = await self._read_file(seat, course, folder, entry)
                if not any(mark.digest is not None and entry.is_same(mark) for mark in course.files) and not course.full:
                    break  # what comes after a file that still changes is read after it
                if not course.full:
                    course = await self._put_away(seat, course, folder, entry)
            for entry in todo.away:
                course = await self._put_away(seat, course, folder, entry)
            if course.full and todo.read and not course.failed:
                for entry in todo.read:
                    course = await self._put_away(seat, course, folder, entry)
        await self._conclude(seat, course, read=bool(todo.read) or not fresh, complete=not todo.unfinished)

    async def _read_file(self, seat: _Seat, course: Course, folder: Folder, entry: Entry) -> Course:
        """One file, batch by batch; with the last one it is marked as read."""
        feed = seat.source.feed or Feed()
        async with self._slot(seat):
            path = await folder.fetch(entry)
            content = await anyio.to_thread.run_sync(digest, path)
        known = {mark.name: mark for mark in course.files}
        before = known.get(entry.name)
        if before is not None and before.digest == content and not course.full:
            return _marked(course, entry.mark(content))  # delivered again, as it was
        found = batches(path, entry.name, feed)
        try:
            batch = await _next(found)
            while isinstance(batch, Batch):
                began = self._clock()
                following = await _next(found)
                window = course.window
                received = window.received + len(batch.records) + len(batch.damaged)
                blind = course.blind or any(each.identifier is None for each in batch.damaged)
                course = replace(course, windows=(replace(window, received=received),), blind=blind)
                if following is None:
                    course = await self._ended(seat, course, folder, entry, content)
                step = Step(
                    course=course,
                    then=More(),
                    window=window,
                    records=batch.records,
                    damaged=batch.damaged,
                    note_seen=self._notes_seen(seat.source, course),
                )
                await self._save(seat, step, verb="read", format=batch.format, size=batch.size, seconds=self._clock() - began)
                if following is not None:
                    await self._boundary(seat)
                batch = following
            if isinstance(batch, Spoilt):
                warning = f"{batch}; the rest of the delivery was read"
                course = _marked(course, entry.mark(content, part=course.full))
                course = replace(course, blind=True, failed=course.failed + 1, warnings=(*course.warnings, warning))
                wrong = damage(str(batch), entry.name.encode(), place=entry.name, identifier=f"file:{entry.name}")
                await self._save(seat, Step(course=course, then=More(), window=course.window, damaged=(wrong,)), verb="read")
        finally:
            found.close()
        return course

    async def _ended(self, seat: _Seat, course: Course, folder: Folder, entry: Entry, content: str) -> Course:
        """The course with the file as read; as seen only, when somebody wrote to it meanwhile."""
        async with self._slot(seat):
            current = await folder.entry(entry.name)
        if current == entry:
            return _marked(course, entry.mark(content, part=course.full))
        warning = f"{entry.name} was written to while it was read; it is read again"
        course = replace(course, blind=True, failed=course.failed + 1, warnings=(*course.warnings, warning))
        kept = replace(course, files=tuple(mark for mark in course.files if mark.name != entry.name))
        return _marked(kept, current.mark()) if current is not None else kept

    async def _put_away(self, seat: _Seat, course: Course, folder: Folder, entry: Entry) -> Course:
        """Move a file that was read. It is marked, so that it is not read again where that fails."""
        target = (seat.source.feed or Feed()).move_to
        if target is None or not any(mark.digest is not None and entry.is_same(mark) for mark in course.files):
            return course
        try:
            async with self._slot(seat):
                await folder.put_away(entry, target)
        except HarvestError as error:
            return replace(course, warnings=(*course.warnings, f"{entry.name} could not be moved to {target}: {error}"))
        return replace(course, files=tuple(mark for mark in course.files if mark.name != entry.name))

    async def _read_pages(self, seat: _Seat) -> None:
        source = seat.source
        course, fresh = self._begin(seat)
        if fresh:
            await self._announce(seat, course)
        since = source.start
        if not course.full and course.since is not None:
            since = course.since - timedelta(seconds=source.overlap)
        while True:
            window = course.window
            asked, request = pages.ask(source, window.token, since=since)
            async with self._slot(seat):
                reply = await self._transport.fetch(asked, request, timeout=source.page_timeout)
            read = partial(pages.understand, source, window.token, reply, now=self._clock())
            answer = await anyio.to_thread.run_sync(read)
            count = len(answer.records) + len(answer.damaged)
            if count and answer.digest in window.recent:
                raise ListBroken(f"the list repeats itself: the same page of {count} records came again")
            went_on = replace(window, token=answer.next, received=window.received + count, recent=(*window.recent, answer.digest)[-RECENT:])
            blind = course.blind or any(each.identifier is None for each in answer.damaged)
            course = replace(course, windows=(went_on,), blind=blind)
            step = Step(
                course=course,
                then=More(),
                window=window,
                records=answer.records,
                damaged=answer.damaged,
                note_seen=self._notes_seen(source, course),
            )
            form = answer.format
            await self._save(seat, step, verb="GET", format=form, token=window.token, size=answer.size, seconds=reply.seconds)
            if answer.next is None:
                break
            await self._boundary(seat)
        await self._conclude(seat, course, read=True)

    async def _conclude(self, seat: _Seat, course: Course, *, read: bool, complete: bool = True) -> None:
        """The end of a pass: what a full one did not hold is gone, unless something hid it; then the deletions happen."""
        source, window = seat.source, course.window
        compare = read and complete and course.full and source.deletions is Deletions.FULL
        if compare and not course.blind:
            committed = await self._save(seat, Step(course=course, then=More(), window=window, compare=True))
            if committed.lost:
                warning = "what this pass saw was lost in a crash of the database; nothing was concluded, the next pass looks again"
                again = tuple(replace(mark, digest=None) if mark.part else mark for mark in course.files)
                course = replace(course, blind=True, warnings=(*course.warnings, warning), files=again)
        elif compare:
            warning = "not everything could be read, so nothing was concluded from what was not seen"
            course = replace(course, warnings=(*course.warnings, warning))
        closed: Course | None = None
        if source.transport != "rest":
            if not course.failed and complete:
                course = replace(course, files=tuple(replace(mark, part=False) for mark in course.files))
            closed = Course(id=course.id, full=course.full, sweep=False, started=course.started, files=course.files, closed=True)
        step = Step(
            course=closed,
            then=Finished(),
            window=window if read else None,
            end=WindowEnd(state="complete") if read else None,
            watermark=course.started,
            closing=course,
        )
        await self._save(seat, step, course=course)

    @staticmethod
    def _notes_seen(source: Source, course: Course) -> bool:
        return course.full and source.deletions is Deletions.FULL

    @asynccontextmanager
    async def _slot(self, seat: _Seat) -> AsyncIterator[None]:
        """A slot of the group for something that may take a while."""
        seat.state = State.READY
        async with self._slots.slot(seat.source):
            seat.state = State.IN_FLIGHT
            try:
                yield
            finally:
                seat.state = State.SAVING

    def _folder(self, source: Source) -> Folder:
        if source.transport == "sftp":
            return SftpFolder(source, resolvers=self._resolvers)
        return LocalFolder(Path(path_of(source.url)))

    # ----------------------------------------------------------------- store

    async def _save(
        self,
        seat: _Seat,
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
        source, memory, now, then = seat.source, seat.memory, self._clock(), step.then
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

    def _finished(self, seat: _Seat, outcome: Outcome, totals: Totals, error: str | None, warning: str | None = None) -> None:
        now = self._clock()
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


def _unfinished(memory: Memory) -> bool:
    """Whether a pass is to be gone on with."""
    return memory.course is not None and bool(memory.course.windows) and not memory.course.closed


def _marked(course: Course, mark: FileMark) -> Course:
    """The course with another mark of a file."""
    marks = {each.name: each for each in course.files} | {mark.name: mark}
    return replace(course, files=tuple(marks[name] for name in sorted(marks)))


async def _next(found: Iterator[Batch]) -> Batch | Spoilt | None:
    """The next batch, read beside the loop; Spoilt when the file ends in a fault, None at its end."""

    def work() -> Batch | Spoilt | None:
        try:
            return next(found, None)
        except Spoilt as error:
            return error
        except OSError as error:
            raise Interrupted(f"the file cannot be read: {error.strerror or type(error).__name__}") from error

    return await anyio.to_thread.run_sync(work)
