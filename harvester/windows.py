"""The windows of a pass: spans of datestamps, how a history is cut into them, and how one is halved. Pure.

Both ends of a window are inclusive, as ``from`` and ``until`` are (OAI-PMH 2.0, 2.7.1); windows that follow each other
therefore lie one unit of the granularity apart.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from harvester import oai
from harvester.course import Course, Method, Window, WindowKind
from harvester.oai import Record
from harvester.sources import Deletions, Source

SPLITS: Final = 64  # halvings in one pass: enough to isolate several bad records, few enough to be polite to a broken server
DEPTH: Final = 30  # halvings of one window: a second in thirty years
MOST: Final = 20_000  # windows of one pass: a bound for a repository whose history has no beginning
FIRST_REPOSITORIES: Final = datetime(2000, 1, 1, tzinfo=UTC)  # some declare the year 1 as their earliest datestamp


def planned(source: Source, course: Course) -> tuple[Window, ...]:
    """The windows of a pass whose Identify has answered: the history or the delta, then repairs, then the sweep."""
    started = course.started
    if started is None:
        raise ValueError("the windows of a pass are known only after Identify")
    kind = WindowKind.FULL if course.full else WindowKind.DELTA
    since = source.start
    if course.since is not None:
        # A clock that was set back leaves a watermark in the future; nothing would ever be found behind it.
        since = floor(min(course.since, started) - timedelta(seconds=source.overlap), seconds=course.seconds)
        since = max(since, source.start) if source.start else since
    spans = cut(source, course, since, started)
    found = [Window(number=number, kind=kind, since=low, until=high) for number, (low, high) in enumerate(spans, 1)]
    for gap in course.gaps:
        found.append(
            Window(
                number=len(found) + 1, kind=WindowKind.REPAIR, since=gap.since, until=gap.until, repairs=gap.run, attempts=gap.attempts + 1
            )
        )
    if course.sweep:
        found.append(Window(number=len(found) + 1, kind=WindowKind.SWEEP, method=Method.IDENTIFIERS))
    return tuple(found)


def cut(source: Source, course: Course, since: datetime | None, started: datetime) -> list[tuple[datetime | None, datetime | None]]:
    """The span from ``since`` on, in windows of ``source.windows`` seconds: the first begins as asked, the last is open."""
    low = since or course.earliest
    if source.windows is None or low is None:
        return [(since, None)]
    # The first window begins where it was asked to; cutting the centuries before there were repositories gains nothing.
    low = max(floor(low, seconds=course.seconds), FIRST_REPOSITORIES)
    length = timedelta(seconds=max(source.windows, unit(course).total_seconds()))
    edges: list[datetime] = []
    edge = low + length
    while edge < started and len(edges) < MOST:
        edges.append(floor(edge, seconds=course.seconds))
        edge += length
    lows: list[datetime | None] = [since, *edges]
    return list(zip(lows, [*(edge - unit(course) for edge in edges), None], strict=True))


def halved(course: Course, window: Window) -> tuple[Window, Window] | None:
    """Two windows that cover this one, or None when it is as small as the granularity, or the pass was patient long enough."""
    low, high = window.since or course.earliest, window.until or course.started
    if low is None or high is None or course.splits >= SPLITS or window.depth >= DEPTH:
        return None
    step = unit(course)
    middle = floor(low + (high - low) / 2, seconds=course.seconds)
    if middle <= low:
        middle = floor(low, seconds=course.seconds) + step
    if middle <= low or middle > high:
        return None
    shared = {"kind": window.kind, "depth": window.depth + 1, "repairs": window.repairs, "attempts": window.attempts}
    left = Window(number=course.numbered + 1, since=window.since, until=middle - step, **shared)  # type: ignore[arg-type]
    right = Window(number=course.numbered + 2, since=middle, until=window.until, **shared)  # type: ignore[arg-type]
    return left, right


def restarted(window: Window) -> Window:
    """The same window, from the first page of its current set."""
    return replace(window, token=None, token_dies=None, received=0, empty_pages=0, recent=(), pending=(), tries=0, lost=0)


def fresh_start(course: Course) -> Course:
    """The same course, with its current window from the start and no counted tries."""
    if not course.windows:
        return replace(course, tries=0, strikes=0)
    window = restarted(course.window)
    if window.kind is not WindowKind.SWEEP:
        window = replace(window, method=Method.RECORDS, restarts=0)
    return replace(course, tries=0, strikes=0, windows=(window, *course.windows[1:]))


def by_days(window: Window) -> Window:
    """The window from its start, with its ends widened to whole days."""
    return replace(restarted(window), since=floor(window.since, seconds=False) if window.since else None)


def unit(course: Course) -> timedelta:
    """The smallest difference between two datestamps."""
    return timedelta(seconds=1) if course.seconds else timedelta(days=1)


def floor(moment: datetime, *, seconds: bool) -> datetime:
    """The moment, cut to the granularity."""
    return moment.replace(microsecond=0) if seconds else moment.replace(hour=0, minute=0, second=0, microsecond=0)


def noted(source: Source, window: Window) -> bool:
    """Whether what this window shows goes into the side table of what was seen. Who has tombstones needs none."""
    return window.kind in (WindowKind.FULL, WindowKind.SWEEP) and source.deletions is not Deletions.TOMBSTONES


def is_outside(source: Source, course: Course, record: Record) -> bool:
    """Whether a record was not asked for: servers lose set and from in their tokens."""
    window = course.window
    if source.sets and record.sets:
        asked = source.sets[window.set_index]
        if not any(spec == asked or spec.startswith(asked + ":") for spec in record.sets):
            return True
    moment = oai.parse_moment(record.datestamp)
    if moment is None:
        return False
    if window.since is not None and moment < floor(window.since, seconds=course.seconds):
        return True
    # A day is inclusive to its last second. Above an open window nothing is outside.
    return window.until is not None and floor(moment, seconds=course.seconds) > window.until
