"""A pass over a folder or a REST endpoint: what is there, batch by batch or page by page, and what follows from its end.

What a pass knows is in the source's course, in the same transaction as the records. A page of a REST endpoint is stored
with the position of the next one. A file is marked with the batch that ends it: killed before, it is read again from its
start, which writes nothing twice; killed after, it is not read again.

A pass raises the errors of ``harvester.errors``; whoever runs it (``Host``) decides whether it is tried again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread

from flows.catalog.feeds import pages
from flows.catalog.feeds.batches import Batch, batches
from flows.catalog.feeds.errors import Spoilt
from flows.catalog.feeds.folder import Folder, LocalFolder, digest, path_of
from flows.catalog.feeds.identify import damage
from flows.catalog.feeds.plan import Entry, plan
from flows.catalog.feeds.sftp import SftpFolder
from harvester.client import Transport
from harvester.course import RECENT, Course, FileMark, Memory, Window, WindowKind
from harvester.errors import HarvestError, Interrupted, ListBroken
from harvester.oai import Identity
from harvester.passes import Finished, More, Step, WindowEnd, overdue
from harvester.schedule import State
from harvester.secrets import OUTSIDE_PREFECT, Resolvers
from harvester.sources import Deletions, Feed, Source
from harvester.store import Committed


class Stopped(Exception):
    """The run ends, or an operator paused the source: leave the pass at this boundary."""


@dataclass(kw_only=True, eq=False)
class Seat:
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


class Host(Protocol):
    """What a pass needs of whoever runs it."""

    clock: Callable[[], float]

    def slot(self, seat: Seat) -> AbstractAsyncContextManager[None]:
        """A slot of the group for something that may take a while."""
        ...

    async def boundary(self, seat: Seat) -> None:
        """Between two batches: rest, obey an operator. Raises Stopped when the pass is to be left here."""
        ...

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
        ...


class FeedPasses:
    """The passes of all sources of a run that are not OAI-PMH."""

    def __init__(self, host: Host, transport: Transport, *, resolvers: Resolvers = OUTSIDE_PREFECT) -> None:
        self._host, self._transport, self._resolvers = host, transport, resolvers

    def _begin(self, seat: Seat) -> tuple[Course, bool]:
        """The course to go on with, and whether it is a new one."""
        source, memory, now = seat.source, seat.memory, self._host.clock()
        if unfinished(memory) and memory.course is not None:
            return memory.course, False
        files = memory.course.files if memory.course is not None else ()
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

    async def _announce(self, seat: Seat, course: Course) -> None:
        """The first commit of a pass: what former passes saw is forgotten."""
        source = seat.source
        identity = Identity(
            repository_name=source.url, base_url=source.url, protocol_version="", earliest="", deleted_record="", granularity=""
        )
        await self._host.save(seat, Step(course=course, then=More(), identity=identity), course=course)

    async def read_files(self, seat: Seat) -> None:
        """A pass over a folder: the files that are to be read now, in the order of their names."""
        source, feed = seat.source, seat.source.feed or Feed()
        course, fresh = self._begin(seat)
        async with AsyncExitStack() as stack:
            async with self._host.slot(seat):
                folder = await stack.enter_async_context(folder_of(source, resolvers=self._resolvers))
                entries = await folder.entries()
            todo = plan(entries, course.files, feed, now=self._host.clock(), whole=course.full, fresh=fresh)
            course = replace(course, files=todo.marks)
            if course.full and todo.unfinished:
                said = f"the delivery waits for {', '.join(todo.unfinished[:3])}, which is still being written"
                course = replace(course, warnings=(*course.warnings, said))
            if todo.read and fresh:
                await self._announce(seat, course)
            for entry in todo.read:
                await self._host.boundary(seat)
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

    async def _read_file(self, seat: Seat, course: Course, folder: Folder, entry: Entry) -> Course:
        """One file, batch by batch; with the last one it is marked as read."""
        feed = seat.source.feed or Feed()
        async with self._host.slot(seat):
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
                began = self._host.clock()
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
                await self._host.save(seat, step, verb="read", format=batch.format, size=batch.size, seconds=self._host.clock() - began)
                if following is not None:
                    await self._host.boundary(seat)
                batch = following
            if isinstance(batch, Spoilt):
                warning = f"{batch}; the rest of the delivery was read"
                course = _marked(course, entry.mark(content, part=course.full))
                course = replace(course, blind=True, failed=course.failed + 1, warnings=(*course.warnings, warning))
                wrong = damage(str(batch), entry.name.encode(), place=entry.name, identifier=f"file:{entry.name}")
                await self._host.save(seat, Step(course=course, then=More(), window=course.window, damaged=(wrong,)), verb="read")
        finally:
            found.close()
        return course

    async def _ended(self, seat: Seat, course: Course, folder: Folder, entry: Entry, content: str) -> Course:
        """The course with the file as read; as seen only, when somebody wrote to it meanwhile."""
        async with self._host.slot(seat):
            current = await folder.entry(entry.name)
        if current == entry:
            return _marked(course, entry.mark(content, part=course.full))
        warning = f"{entry.name} was written to while it was read; it is read again"
        course = replace(course, blind=True, failed=course.failed + 1, warnings=(*course.warnings, warning))
        kept = replace(course, files=tuple(mark for mark in course.files if mark.name != entry.name))
        return _marked(kept, current.mark()) if current is not None else kept

    async def _put_away(self, seat: Seat, course: Course, folder: Folder, entry: Entry) -> Course:
        """Move a file that was read. It is marked, so that it is not read again where that fails."""
        target = (seat.source.feed or Feed()).move_to
        if target is None or not any(mark.digest is not None and entry.is_same(mark) for mark in course.files):
            return course
        try:
            async with self._host.slot(seat):
                await folder.put_away(entry, target)
        except HarvestError as error:
            return replace(course, warnings=(*course.warnings, f"{entry.name} could not be moved to {target}: {error}"))
        return replace(course, files=tuple(mark for mark in course.files if mark.name != entry.name))

    async def read_pages(self, seat: Seat) -> None:
        """A pass over a REST endpoint: page after page, each stored with the position of the next."""
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
            async with self._host.slot(seat):
                reply = await self._transport.fetch(asked, request, timeout=source.page_timeout)
            read = partial(pages.understand, source, window.token, reply, now=self._host.clock())
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
            await self._host.save(seat, step, verb="GET", format=form, token=window.token, size=answer.size, seconds=reply.seconds)
            if answer.next is None:
                break
            await self._host.boundary(seat)
        await self._conclude(seat, course, read=True)

    async def _conclude(self, seat: Seat, course: Course, *, read: bool, complete: bool = True) -> None:
        """The end of a pass: what a full one did not hold is gone, unless something hid it; then the deletions happen."""
        source, window = seat.source, course.window
        compare = read and complete and course.full and source.deletions is Deletions.FULL
        if compare and not course.blind:
            committed = await self._host.save(seat, Step(course=course, then=More(), window=window, compare=True))
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
        await self._host.save(seat, step, course=course)

    @staticmethod
    def _notes_seen(source: Source, course: Course) -> bool:
        return course.full and source.deletions is Deletions.FULL


def folder_of(source: Source, *, resolvers: Resolvers = OUTSIDE_PREFECT) -> Folder:
    """The folder of a source of kind files or sftp."""
    if source.transport == "sftp":
        return SftpFolder(source, resolvers=resolvers)
    return LocalFolder(Path(path_of(source.url)))


def unfinished(memory: Memory) -> bool:
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
