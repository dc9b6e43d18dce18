"""The rules of a pass: what to ask next, and what an answer or a failure means. Pure.

::

    begin ─► Identify ─► windows ─► for each window, for each set: ListRecords until the token ends ─► finish
                                       │ failure of a page
                                       ├─ the same request again, after a wait (politeness)
                                       ├─ the list from its start, at most RESTARTS times
                                       ├─ probe by ListIdentifiers: does the repository answer, and how much is it?
                                       ├─ the window in two halves, each with a shorter chain of tokens
                                       └─ ListIdentifiers and GetRecord for what is left

``accept`` and ``reject`` give a ``Step``: the next course, what to save with it, and what becomes of the source. The
caller saves all of it in one transaction. A page is never asked twice once it is saved, and always asked again when it
is not.

The new watermark is the repository's own time at the start of the pass, never that of the last page, so that what
changes behind a long list is in the next window (OAI-PMH 2.0 guidelines for harvesters, section 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from harvester import oai, windows
from harvester.course import RECENT, Course, Memory, Method, Window, WindowKind
from harvester.errors import (
    BadArgument,
    BadResumptionToken,
    BotWall,
    Busy,
    CannotDisseminateFormat,
    HarvestError,
    IdDoesNotExist,
    ListBroken,
    NoMetadataFormats,
    NoRecordsMatch,
    NoSetHierarchy,
    NotDelivered,
    ProtocolError,
    Refused,
    TooLarge,
    Unreadable,
)
from harvester.oai import Damage, Identity, Page, Record, Request
from harvester.politeness import backoff
from harvester.sources import Deletions, EndOfList, Source, TokenRetry

RESTARTS: Final = 3  # times a list is started again before its window is halved
EMPTY_PAGES: Final = 100  # in a row, each with a token that goes on
SMALL: Final = 50  # identifiers: a window of so few is fetched one by one rather than halved further
SETBACKS: Final = 60  # lists started again or halved in a row, with none that ended: the repository is broken, not a window
PROBES: Final = 2  # tries of a probe or a GetRecord: they follow upon failures of ListRecords
STRIKES: Final = 10  # GetRecords in a row that fail before the repository is thought to be down
BLIND_PROBES: Final = 2  # probes of a course that no answer came to; after them windows are halved without one
REPAIRS: Final = 5  # times a failed window behind the watermark is tried again before it is shown as a gap
YEARS: Final = (1900, 9000)  # of a responseDate: beyond these an overlap or a window leads out of what a calendar knows
LONGEST_WAIT: Final = 15 * 60.0  # seconds: who asks for more ends the pass; the next one comes when they said


@dataclass(frozen=True, kw_only=True, slots=True)
class More:
    """There is another page to ask for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Later:
    """The same course goes on, but not before ``until``."""

    until: float
    reason: str
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The pass is over. ``error`` None is success; ``not_before`` is when the repository wants to be asked again."""

    error: str | None = None
    not_before: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """The source is blocked until an operator resumes it."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowEnd:
    """How the window of this step ends in the ledger: complete, failed, or replaced by its halves.

    ``settles`` is the ledger's id of the failed window that need not be tried again now.
    """

    state: str
    error: str | None = None
    settles: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What an answer or a failure leads to. ``course`` None means that the next pass begins from the start.

    ``window`` is the one that the page belongs to. ``note_seen``: its identifiers go into the side table; ``compare``:
    the side table is complete, what the store has and it has not is gone. ``watermark`` is stored when it is set.
    """

    course: Course | None
    then: More | Later | Finished | Closed
    window: Window | None = None
    records: tuple[Record, ...] = ()
    damaged: tuple[Damage, ...] = ()
    outside: int = 0
    end: WindowEnd | None = None
    note_seen: bool = False
    compare: bool = False
    watermark: datetime | None = None
    identity: Identity | None = None
    closing: Course | None = None
    """Of a step that finishes a pass: the course to the end, for what is said about the pass."""
    bare: bool = False
    """The records are headers only: nothing is known of their content."""


# ------------------------------------------------------------------- begin


def begin(source: Source, memory: Memory, *, now: float, id: str) -> Course:
    """The course of the next pass: full when nothing is known, or when it is due or asked for; with a sweep when that is due."""
    full = memory.watermark is None or memory.full_due or overdue(source.full_every, memory.last_full, now)
    swept = max((moment for moment in (memory.last_sweep, memory.last_full) if moment is not None), default=None)
    sweep = not full and source.deletions is Deletions.SWEEP and overdue(source.sweep_every, swept, now)
    return Course(
        id=id,
        full=full,
        sweep=sweep,
        watermark=memory.watermark,
        since=None if full else memory.watermark,
        gaps=() if full else memory.gaps,
    )


def overdue(every: float | None, last: float | None, now: float) -> bool:
    """Whether something that is done every so many seconds is due."""
    return every is not None and (last is None or now >= last + every)


# ------------------------------------------------------------------ request


def request(source: Source, course: Course) -> tuple[Request, float]:
    """The next request of this course, and the seconds it may take."""
    if course.started is None:
        return Request(verb="Identify"), source.page_timeout
    window = course.window
    if window.pending:
        arguments = (("identifier", window.pending[0]), ("metadataPrefix", source.metadata_prefix))
        return Request(verb="GetRecord", arguments=arguments), source.page_timeout
    verb = "ListRecords" if window.method is Method.RECORDS else "ListIdentifiers"
    if window.token is not None:
        return Request(verb=verb, arguments=(("resumptionToken", window.token),)), source.page_timeout
    asked = [("metadataPrefix", source.metadata_prefix)]
    if window.since is not None:
        asked.append(("from", oai.format_moment(window.since, seconds=course.seconds)))
    if window.until is not None:
        asked.append(("until", oai.format_moment(window.until, seconds=course.seconds)))
    if source.sets:
        asked.append(("set", source.sets[window.set_index]))
    return Request(verb=verb, arguments=tuple(asked)), source.first_page_timeout


def expired(course: Course, now: float) -> BadResumptionToken | None:
    """The error that the repository would answer because the token's time has passed; asking is spared."""
    if course.started is None or not course.windows or course.window.pending:
        return None
    window = course.window
    if window.token is None or window.token_dies is None or now < window.token_dies:
        return None
    return BadResumptionToken("badResumptionToken", "the token's expirationDate has passed")


# ------------------------------------------------------------------- accept


def accept(source: Source, course: Course, page: Page, *, now: float, rng: Random) -> Step:
    """What a page leads to."""
    if course.started is None:
        return identified(source, course, page, now=now, rng=rng)
    course = replace(course, strikes=0)
    window = course.window
    if window.pending:
        return fetched(source, course, page.records, answered(window.pending[0], page))
    if window.method is Method.PROBE:
        return probed(source, course, page, now=now, rng=rng)

    count = len(page.records) + len(page.damaged)
    digest = page.digest.hex()
    if count and digest in window.recent:
        return reject(
            source, course, ListBroken(f"the list repeats itself: the same page of {count} records came again", loop=True), now=now, rng=rng
        )
    empty = 0 if count else window.empty_pages + 1
    if page.token is not None and empty > EMPTY_PAGES:
        return reject(source, course, ListBroken(f"{EMPTY_PAGES} empty pages in a row, each with a token that goes on"), now=now, rng=rng)

    outside = sum(1 for record in page.records if windows.is_outside(source, course, record))
    course = replace(course, outside=course.outside + outside, blind=course.blind or any(each.identifier is None for each in page.damaged))
    size = page.complete_list_size if page.complete_list_size is not None else window.size
    went_on = replace(
        window, received=window.received + count, size=size, empty_pages=empty, recent=(*window.recent, digest)[-RECENT:], tries=0, lost=0
    )
    if page.token is not None:
        went_on = replace(went_on, token=page.token.value, token_dies=token_dies(page, now))
    else:
        went_on = replace(went_on, token=None, token_dies=None)
    bare = window.method is Method.IDENTIFIERS
    pending: tuple[str, ...] = ()
    if bare and window.kind is not WindowKind.SWEEP:
        pending = tuple(dict.fromkeys(record.identifier for record in page.records if not record.deleted))
    # Of bare headers only the tombstones say all there is to say.
    records = tuple(record for record in page.records if record.deleted or window.kind is WindowKind.SWEEP) if bare else page.records
    went_on = replace(went_on, pending=pending)
    step = Step(
        course=replace(course, windows=(went_on, *course.windows[1:])),
        then=More(),
        window=window,
        records=records,
        damaged=page.damaged,
        outside=outside,
        note_seen=windows.noted(source, window),
        bare=bare,
    )
    return step if page.token is not None or pending else list_ended(source, step)


def identified(source: Source, course: Course, page: Page, *, now: float, rng: Random) -> Step:
    """Identify has answered: the watermark-to-be, the granularity and the windows are known."""
    identity = page.identity
    if identity is None or not (identity.granularity or identity.protocol_version):
        return reject(source, course, Unreadable("Identify names neither granularity nor protocol version"), now=now, rng=rng)
    warnings: list[str] = []
    started = page.response_date
    if started is None or not YEARS[0] <= started.year <= YEARS[1]:
        started = datetime.fromtimestamp(now, UTC) - timedelta(days=1)
        warnings.append("Identify has no responseDate that can be used; the watermark is our clock less a day")
    if identity.deleted_record == "no" and source.deletions is Deletions.TOMBSTONES:
        warnings.append("the repository keeps no deletions (deletedRecord=no): deleted records stay unless deletions is sweep or full")
    if identity.protocol_version and not identity.protocol_version.startswith("2"):
        warnings.append(f"the repository speaks version {identity.protocol_version} of OAI-PMH, not 2.0")
    seconds = identity.seconds if source.granularity is None else source.granularity == "second"
    course = replace(
        course, started=started, seconds=seconds, earliest=oai.parse_moment(identity.earliest), tries=0, warnings=tuple(warnings)
    )
    plan = windows.planned(source, course)
    return Step(course=replace(course, windows=plan, numbered=len(plan)), then=More(), identity=identity)


def answered(identifier: str, page: Page) -> tuple[Damage, ...]:
    """The damages of a GetRecord. An answer without the record is one: only idDoesNotExist says that there is none."""
    damaged = tuple(replace(each, identifier=each.identifier or identifier) for each in page.damaged)
    if identifier in {record.identifier for record in page.records} | {each.identifier for each in damaged}:
        return damaged
    other = ", ".join(record.identifier for record in page.records)
    reason = f"GetRecord answered with another record: {other[:200]}" if other else "GetRecord answered without a record"
    return (*damaged, Damage(identifier=identifier, place="GetRecord", reason=reason, snippet=""))


def fetched(source: Source, course: Course, records: Sequence[Record], damaged: Sequence[Damage]) -> Step:
    """One GetRecord is settled, by a record, a damage, or nothing at all (it has vanished meanwhile)."""
    window = course.window
    went_on = replace(window, pending=window.pending[1:], tries=0, lost=0)
    step = Step(
        course=replace(course, windows=(went_on, *course.windows[1:])),
        then=More(),
        window=window,
        records=tuple(records),
        damaged=tuple(damaged),
        note_seen=windows.noted(source, window),
    )
    return step if went_on.pending or went_on.token is not None else list_ended(source, step)


def probed(source: Source, course: Course, page: Page, *, now: float, rng: Random) -> Step:
    """The repository answers, so it is this window that fails: fetch a small one by GetRecord, halve a large one."""
    window = course.window
    if not (page.token is None and len(page.records) <= SMALL):
        halves = windows.halved(course, window)
        if halves is not None:
            return split(course, halves)
    by_identifier = replace(course, windows=(replace(window, method=Method.IDENTIFIERS), *course.windows[1:]))
    return accept(source, by_identifier, page, now=now, rng=rng)


def list_ended(source: Source, step: Step) -> Step:
    """The list of one set is complete: on to the next set, the next window, or the end of the pass."""
    course = step.course
    if course is None:
        raise ValueError("a list cannot end without a course")
    course = replace(course, setbacks=0)
    step = replace(step, course=course)
    window = course.window
    if window.set_index + 1 < len(source.sets):
        fresh = replace(windows.restarted(window), set_index=window.set_index + 1, restarts=0, size=None)
        if window.method is not Method.RECORDS and window.kind is not WindowKind.SWEEP:
            fresh = replace(fresh, method=Method.RECORDS)
        return replace(step, course=replace(course, windows=(fresh, *course.windows[1:])))
    return window_ended(source, step, WindowEnd(state="complete"))


def window_ended(source: Source, step: Step, end: WindowEnd) -> Step:
    """A window is over. The watermark follows the windows of history and delta, each when it ends."""
    course = step.course
    if course is None:
        raise ValueError("a window cannot end without a course")
    window, rest = course.windows[0], course.windows[1:]
    failed = end.state == "failed"
    watermark = step.watermark
    if window.kind in (WindowKind.FULL, WindowKind.DELTA):
        course = replace(course, blind=course.blind or failed)
        if window.until is None:
            watermark = course.started
        elif course.watermark is None or window.until > course.watermark:
            watermark = window.until
    elif window.kind is WindowKind.SWEEP:
        course = replace(course, blind=course.blind or failed)
    elif window.repairs is not None and not any(other.repairs == window.repairs for other in rest):
        end = replace(end, settles=window.repairs)
    if failed and window.kind is not WindowKind.REPAIR:
        course = replace(course, failed=course.failed + 1, error=end.error)
    if window.kind is WindowKind.FULL and not window.depth and not source.sets and not source.windows and not source.start:
        course = replace(course, announced=window.size)
    last_of_kind = not any(other.kind is window.kind for other in rest)
    compare = last_of_kind and windows.noted(source, window) and not course.blind
    course = replace(course, windows=rest)
    step = replace(step, course=course, end=end, watermark=watermark, compare=compare)
    return step if rest or compare else finish(step)


def finish(step: Step) -> Step:
    """All windows are over, and nothing is left to compare."""
    course = step.course
    if course is None or course.windows:
        raise ValueError("only a course without windows is over")
    error = None
    if course.failed:
        error = f"{course.failed} of {course.numbered} windows failed and will be tried again; the last because: {course.error}"
    return replace(step, course=None, closing=course, then=Finished(error=error))


def compared(source: Source, step: Step, missing: Sequence[str]) -> Step:
    """The store has compared what was seen with what it has; records that it lacks are asked for one by one.

    Called by the engine after a step with ``compare`` is saved, with the identifiers that a sweep found and the store
    lacks. The step it gives is saved in turn.
    """
    course = step.course
    if course is None:
        raise ValueError("nothing to compare after the end of a pass")
    if missing:
        window = Window(
            number=course.numbered + 1,
            kind=WindowKind.REPAIR,
            method=Method.IDENTIFIERS,
            pending=tuple(missing),
            set_index=max(0, len(source.sets) - 1),  # there is no list to go on with after these
        )
        course = replace(course, windows=(window, *course.windows), numbered=course.numbered + 1)
    plain = Step(course=course, then=More())
    return plain if course.windows else finish(plain)


# ------------------------------------------------------------------- reject


def reject(source: Source, course: Course, error: HarvestError, *, now: float, rng: Random) -> Step:
    """What a failure leads to."""
    if isinstance(error, BotWall):
        return Step(course=windows.fresh_start(course), then=Closed(reason=str(error)))
    if isinstance(error, Refused) and not (course.started is not None and course.windows and course.window.pending):
        return failed(windows.fresh_start(course) if course.started is not None else None, error)
    if course.started is None:
        return identify_failed(source, course, error, now=now, rng=rng)
    if course.window.pending:
        return get_record_failed(source, course, error, now=now, rng=rng)
    if isinstance(error, ProtocolError):
        return protocol_failed(source, course, error, now=now, rng=rng)
    if isinstance(error, ListBroken):
        return list_broken(source, course, error, now=now, rng=rng)
    if isinstance(error, TooLarge):
        return go_smaller(source, course, error, now=now, rng=rng)
    return again(source, course, error, now=now, rng=rng)


def identify_failed(source: Source, course: Course, error: HarvestError, *, now: float, rng: Random) -> Step:
    """Identify is tried again a few times; errors of the protocol and huge answers are final."""
    tries = course.tries + 1
    if isinstance(error, ProtocolError | TooLarge) or tries >= source.attempts:
        return failed(None, error)
    return later(replace(course, tries=tries), error, tries, now=now, rng=rng)


def again(source: Source, course: Course, error: HarvestError, *, now: float, rng: Random) -> Step:
    """No page came: the same request again, the list again, or something smaller."""
    window = course.window
    tries = window.tries + 1
    unread = isinstance(error, NotDelivered | Busy)  # the repository never read the request, so its token still holds
    lost = window.lost + (0 if unread else 1)
    limit = PROBES if window.method is Method.PROBE else source.attempts
    if tries < limit:
        allowed = {TokenRetry.IDEMPOTENT: limit, TokenRetry.ONCE: 1, TokenRetry.NEVER: 0}[source.token_retry]
        if window.token is not None and not unread and lost > allowed:
            return start_again(source, course, error, now=now, rng=rng)
        waiting = replace(course, windows=(replace(window, tries=tries, lost=lost), *course.windows[1:]))
        return later(waiting, error, tries, now=now, rng=rng)
    if window.method is Method.PROBE:
        course = replace(course, blind_probes=course.blind_probes + 1)
    if unread or window.method is not Method.RECORDS:
        # The repository as a whole does not answer; the course is kept, the next pass goes on with it.
        return failed(
            windows.fresh_start(course) if not unread else replace(course, windows=(replace(window, tries=0), *course.windows[1:])), error
        )
    if window.token is not None and window.restarts < RESTARTS:
        return start_again(source, course, error, now=now, rng=rng)
    return go_smaller(source, course, error, now=now, rng=rng)


def protocol_failed(source: Source, course: Course, error: ProtocolError, *, now: float, rng: Random) -> Step:
    """An <error> came instead of a list."""
    window = course.window
    after_token = window.token is not None
    if isinstance(error, NoRecordsMatch):
        enough = window.size is not None and window.received >= window.size
        if not after_token or enough or source.end_of_list is EndOfList.NO_RECORDS_MATCH:
            ended = replace(window, token=None, token_dies=None, tries=0, lost=0)
            method = Method.RECORDS if window.method is Method.PROBE else window.method
            ended = replace(ended, method=method)
            return list_ended(source, Step(course=replace(course, windows=(ended, *course.windows[1:])), then=More(), window=window))
        broken = ListBroken(
            f"noRecordsMatch in mid-list, after {window.received:,} records"
            + (f" of {window.size:,}" if window.size is not None else " of an unknown number")
            + "; some servers hide failures so. If this one ends its lists so, set end_of_list: no_records_match"
        )
        return list_broken(source, course, broken, now=now, rng=rng)
    if isinstance(error, BadResumptionToken) or (isinstance(error, BadArgument) and after_token):
        return start_again(source, course, error, now=now, rng=rng)
    dated = window.since is not None or window.until is not None
    if isinstance(error, BadArgument) and dated and course.seconds and not course.coarse and source.granularity is None:
        # Servers that declare seconds and take only days exist; one fall-back, by itself.
        coarse = replace(course, seconds=False, coarse=True, windows=tuple(windows.by_days(each) for each in course.windows))
        return Step(course=coarse, then=More())
    if window.method is Method.PROBE:
        halves = windows.halved(course, window)
        if halves is not None:
            return split(course, halves)
        return window_failed(source, course, error)
    if isinstance(error, CannotDisseminateFormat):
        return failed(
            None,
            CannotDisseminateFormat(
                error.code, f"{source.metadata_prefix} is not offered here; windrow sources check --live lists what is"
            ),
        )
    if isinstance(error, NoSetHierarchy):
        return failed(None, NoSetHierarchy(error.code, "the repository has no sets; remove sets from the source"))
    if type(error) is ProtocolError:  # a code that the protocol does not know: a failure of the server in disguise
        return again(source, course, error, now=now, rng=rng)
    return failed(None, error)


def start_again(source: Source, course: Course, error: HarvestError, *, now: float, rng: Random) -> Step:
    """The list from its first page; unchanged records cost nothing. After RESTARTS times something smaller."""
    window = course.window
    if window.restarts >= RESTARTS:
        return go_smaller(source, course, error, now=now, rng=rng)
    if course.setbacks >= SETBACKS:
        return failed(None, error)
    course = replace(course, setbacks=course.setbacks + 1)
    once_more = replace(windows.restarted(window), restarts=window.restarts + 1)
    return later(replace(course, windows=(once_more, *course.windows[1:])), error, once_more.restarts, now=now, rng=rng)


def list_broken(source: Source, course: Course, error: ListBroken, *, now: float, rng: Random) -> Step:
    """The list ends where it must not, or not at all. Once more from the start; a loop may then be cut out by halving."""
    if error.loop or course.window.restarts < 1:
        return start_again(source, course, error, now=now, rng=rng)
    return window_failed(source, course, error)


def go_smaller(source: Source, course: Course, error: HarvestError, *, now: float, rng: Random) -> Step:
    """ListRecords fails for this window: see by a probe how to take it apart."""
    window = course.window
    if window.method is not Method.RECORDS:
        return window_failed(source, course, error)
    if course.setbacks >= SETBACKS:
        return failed(None, error)
    course = replace(course, setbacks=course.setbacks + 1)
    if course.blind_probes >= BLIND_PROBES:  # ListIdentifiers does not work here, so it tells nothing about ListRecords
        halves = windows.halved(course, window)
        return window_failed(source, course, error) if halves is None else split(course, halves)
    probe = replace(windows.restarted(window), method=Method.PROBE)
    return Step(course=replace(course, error=str(error), windows=(probe, *course.windows[1:])), then=More())


def get_record_failed(source: Source, course: Course, error: HarvestError, *, now: float, rng: Random) -> Step:
    """One record does not come. That costs this record, unless the whole repository is down."""
    window = course.window
    identifier = window.pending[0]
    if isinstance(error, IdDoesNotExist):
        return fetched(source, course, (), ())
    final = isinstance(error, CannotDisseminateFormat | NoMetadataFormats | TooLarge)
    if not final:
        tries = window.tries + 1
        if tries < PROBES and not isinstance(error, Refused):
            waiting = replace(course, windows=(replace(window, tries=tries), *course.windows[1:]))
            return later(waiting, error, tries, now=now, rng=rng)
        if course.strikes + 1 >= STRIKES or isinstance(error, NotDelivered | Busy):
            return failed(replace(course, strikes=0, windows=(replace(window, tries=0), *course.windows[1:])), error)
        course = replace(course, strikes=course.strikes + 1)
    damage = Damage(identifier=identifier, place="GetRecord", reason=str(error), snippet="")
    return fetched(source, course, (), (damage,))


def window_failed(source: Source, course: Course, error: HarvestError) -> Step:
    """Nothing helps for this window. One in the past is noted in the ledger and tried again; the open one keeps the watermark."""
    window = course.window
    step = Step(course=course, then=More(), window=window)
    if window.until is None and window.kind in (WindowKind.FULL, WindowKind.DELTA):
        return replace(failed(None, error), window=window, end=WindowEnd(state="failed", error=str(error)))
    return window_ended(source, step, WindowEnd(state="failed", error=str(error)))


def failed(course: Course | None, error: HarvestError) -> Step:
    """The pass ends here; a course that is kept goes on with the next pass."""
    not_before = error.retry_at if isinstance(error, Busy) else None
    return Step(course=course, then=Finished(error=str(error), not_before=not_before))


def later(course: Course, error: HarvestError, attempt: int, *, now: float, rng: Random) -> Step:
    """Wait before the next try: as long as the repository says, otherwise by back-off."""
    if isinstance(error, Busy) and error.retry_at is not None:
        if error.retry_at - now > LONGEST_WAIT:
            return failed(course, error)
        return Step(course=course, then=Later(until=error.retry_at, reason=str(error), attempt=attempt))
    return Step(course=course, then=Later(until=now + backoff(attempt, rng), reason=str(error), attempt=attempt))


# ------------------------------------------------------------------ windows


def split(course: Course, halves: tuple[Window, Window]) -> Step:
    """The current window is replaced by its halves."""
    smaller = replace(course, windows=(*halves, *course.windows[1:]), numbered=course.numbered + 2, splits=course.splits + 1)
    return Step(course=smaller, then=More(), window=course.window, end=WindowEnd(state="replaced", error="halved"))


def token_dies(page: Page, now: float) -> float | None:
    """When the token expires on our clock: its life is measured on the repository's own, which may be minutes off."""
    if page.token is None or page.token.expires is None:
        return None
    if page.response_date is not None:
        life = (page.token.expires - page.response_date).total_seconds()
        return now + life if life > 0 else None  # no token is born dead: some servers write their local time with a Z
    return page.token.expires.timestamp()
