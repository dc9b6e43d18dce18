"""Why a source is not running now, or that it is, in sentences. Pure.

The first sentence is the answer; the others are what somebody asks next: when it goes on, what helps, what else is
noteworthy. Moments are told in UTC with their distance from now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from flows.harvest.desk.coverage import Coverage
from flows.harvest.desk.standing import Standing, State, Stored
from harvester.blackouts import free_from
from harvester.course import Course, Window, WindowKind
from harvester.durations import spoken
from harvester.sources import Deletions, Group, PauseMode, Source

KINDS: Final = {
    WindowKind.DELTA: "what changed",
    WindowKind.FULL: "everything",
    WindowKind.SWEEP: "a sweep for vanished records",
    WindowKind.REPAIR: "a window that failed before",
}


def explain(subject: Standing, *, group: Group | None, busy: int, coverage: Coverage | None, now: datetime) -> list[str]:
    """The sentences. ``busy`` is how many sources of the group are harvesting or due; ``group`` None: it is not configured."""
    return [
        *_answer(subject, group, busy, now),
        *_position(subject),
        *_trouble(subject, now),
        *_gaps(coverage),
    ]


def _answer(subject: Standing, group: Group | None, busy: int, now: datetime) -> Iterator[str]:
    name, stored, source = subject.name, subject.stored, subject.configured
    match subject.state:
        case State.REMOVED:
            yield f"{name} is no longer configured, so it is not harvested; its records stay."
        case State.DISABLED:
            yield f"{name} is disabled in the configuration (enabled: false)."
        case State.BLOCKED:
            yield from _blocked(subject, now)
        case State.PAUSED if stored is not None and source is not None:
            yield f"{name} pauses until {told(stored.paused_until, now)}, so that the database can clean up behind it."
            yield from _pause(source)
        case State.WAITING if stored is not None:
            yield f"{name} waits until {told(stored.waiting_until, now)} before it asks again: {ended(_what_waits(stored))}"
        case State.IDLE if stored is not None:
            yield f"{name} is not due: its next pass begins at {told(stored.due_at, now)}."
            if source is not None and not stored.failures_in_a_row:
                yield f"It is asked every {spoken(source.interval)}."
        case State.HARVESTING:
            yield f"{name} is being harvested."
            yield from _closed(source, group, now)
        case _:
            yield f"{name} is due" + (" and was never harvested yet." if stored is None else ".")
            yield from _closed(source, group, now)
    if subject.state in (State.READY, State.HARVESTING):
        yield from _company(subject, group, busy)
    elif subject.owner is not None and subject.state is not State.REMOVED:
        yield f"Group {subject.group} is harvested by {_engine(subject)}."
    elif subject.state in (State.IDLE, State.PAUSED, State.WAITING):
        yield f"No engine harvests group {subject.group} now: nothing happens before windrow harvest (or its deployment) runs."


def _blocked(subject: Standing, now: datetime) -> Iterator[str]:
    switch, stored = subject.switch, subject.stored
    if switch is not None:
        yield f"{subject.name} is blocked: {switch.by} paused {_scope(switch.scope)} at {told(switch.since, now)}: {ended(switch.reason)}"
        yield f"To go on: windrow resume {switch.scope}"
    if stored is not None and stored.blocked is not None:
        yield f"{subject.name} is blocked: {ended(stored.blocked)}"
        yield f"When that is settled: windrow resume source:{subject.name}"


def _scope(scope: str) -> str:
    kind, _, name = scope.partition(":")
    return {"all": "everything", "group": f"the group {name}"}.get(kind, "it")


def _pause(source: Source) -> Iterator[str]:
    every = f"It pauses whenever more than {source.pause_after_records:,} records have come"
    if source.pause_mode is PauseMode.VACUUM:
        yield f"{every}, until autovacuum has caught up (mode vacuum; {spoken(source.pause_seconds)} is the measure)."
    else:
        yield f"{every}, for {spoken(source.pause_seconds)} (mode fixed)."


def _what_waits(stored: Stored) -> str:
    course = stored.course
    if not stored.attempt and stored.error:
        return stored.error.rstrip(". ")
    what = "the request"
    if course is not None and course.started is None:
        what = "Identify"
    elif course is not None and course.windows:
        window = course.window
        what = "GetRecord" if window.pending else "the next page" if window.token is not None else "the first page of the list"
        why = course.error
        if why:
            what += f" ({why})"
    return f"{what} failed or was put off, {stored.attempt} time{'' if stored.attempt == 1 else 's'} so far"


def _closed(source: Source | None, group: Group | None, now: datetime) -> Iterator[str]:
    for whose, blackouts in (("its", source.blackouts if source else ()), ("its group's", group.blackouts if group else ())):
        end = free_from(blackouts, now)
        if end > now:
            yield f"No request starts now: it is {whose} blackout hours, until {told(end, now)}."


def _company(subject: Standing, group: Group | None, busy: int) -> Iterator[str]:
    if subject.owner is None:
        yield f"No engine harvests group {subject.group} now; windrow harvest --group {subject.group} does."
        return
    limit = f"at most {group.limit} request{'' if group.limit == 1 else 's'} at once" if group is not None else "no known limit"
    yield (
        f"Group {subject.group} is harvested by {_engine(subject)}, with {limit}; "
        f"{busy} of its sources {'is' if busy == 1 else 'are'} due or under way, and a free slot takes one of them at random."
    )


def _engine(subject: Standing) -> str:
    return f"the engine {subject.owner.name}" if subject.owner is not None and subject.owner.name else "an engine"


def _position(subject: Standing) -> Iterator[str]:
    stored, source = subject.stored, subject.configured
    if stored is None:
        return
    if stored.since_pause and source is not None and source.pause_after_records and subject.state is not State.PAUSED:
        yield f"{stored.since_pause:,} records came since its last pause; it pauses above {source.pause_after_records:,}."
    if not stored.unfinished:
        return
    course = stored.course
    if course is None:
        yield "Its unfinished pass was written by another version of Windrow; the pass begins anew."
    elif course.started is None:
        yield "A pass has begun and waits for Identify."
    elif course.windows:
        yield f"The unfinished pass fetches {_window(course, course.window, source)}."
    else:
        yield "All windows of the unfinished pass are fetched; only its end is missing."


def _window(course: Course, window: Window, source: Source | None) -> str:
    span = "from the beginning" if window.since is None else f"from {stamp(window.since)}"
    span += "" if window.until is None else f" until {stamp(window.until)}"
    done = course.numbered - len(course.windows)
    which = f", window {done + 1} of {course.numbered}" if course.numbered > 1 else ""
    spec = ""
    if source is not None and window.set_index < len(source.sets):
        spec = f", set {source.sets[window.set_index]} ({window.set_index + 1} of {len(source.sets)})"
    size = f" of {window.size:,}" if window.size is not None else ""
    one_by_one = f", {len(window.pending):,} records one by one" if window.pending else ""
    return f"{KINDS[window.kind]} {span}{which}{spec}: {window.received:,}{size} records received{one_by_one}"


def _trouble(subject: Standing, now: datetime) -> Iterator[str]:
    stored, source = subject.stored, subject.configured
    if stored is None:
        return
    if stored.failures_in_a_row:
        times = "The last pass" if stored.failures_in_a_row == 1 else f"The last {stored.failures_in_a_row} passes"
        yield f"{times} failed: {ended(stored.error or 'no reason is stored')}"
        if source is not None and stored.failures_in_a_row >= source.breaker_failures:
            yield (
                f"Its circuit breaker is open (after {source.breaker_failures} failures in a row): it is asked less and less often"
                + (f", next at {told(stored.due_at, now)}." if stored.due_at is not None else ".")
            )
    if stored.last_success is not None:
        yield f"Its last pass that succeeded ended at {told(stored.last_success, now)}."
    if stored.watermark is not None:
        yield f"What changed before {stamp(stored.watermark)} (by the repository's clock) is harvested."
    if stored.warning:
        yield f"Warning: {ended(stored.warning)}"
    if _keeps_no_deletions(stored, source) and "deletedRecord" not in (stored.warning or ""):
        yield "Warning: the repository keeps no deletions (deletedRecord=no): set deletions to sweep or full."
    if stored.held:
        yield f"{stored.held:,} deletions are held for an operator: windrow deletions show {subject.name}"
    if stored.failures:
        yield f"{stored.failures:,} records could not be read: windrow failures {subject.name}"


def _keeps_no_deletions(stored: Stored, source: Source | None) -> bool:
    said = (stored.repository or {}).get("deleted_record")
    return said == "no" and source is not None and source.deletions is Deletions.TOMBSTONES


def _gaps(coverage: Coverage | None) -> Iterator[str]:
    if coverage is None or not coverage.gaps:
        return
    count, given_up = len(coverage.gaps), sum(not gap.attempts_left for gap in coverage.gaps)
    tail = f"{given_up} of them not tried again by itself" if given_up else "to be tried again by itself"
    yield f"{count} window{'' if count == 1 else 's'} failed, {tail}: windrow coverage {coverage.source}"


def ended(text: str) -> str:
    """What others wrote, as the end of a sentence."""
    text = text.rstrip(". ")
    return text if text.endswith(("?", "!")) else f"{text}."


def told(moment: datetime | None, now: datetime) -> str:
    """A moment with its distance: ``2026-05-01 10:00:00 UTC (in 2m)``."""
    if moment is None:
        return "an unknown moment"
    away = moment - now
    distance = spoken(float(round(abs(away).total_seconds())))
    return f"{stamp(moment)} ({'in ' + distance if away > timedelta(0) else distance + ' ago'})"


def stamp(moment: datetime) -> str:
    """A moment in UTC, to the second."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
