"""Which spans of datestamps the ledger of windows covers, and its gaps. Pure.

A window that is complete covers its span, both ends included. Windows overlap on purpose (each begins a little before the
last watermark), so they are joined. A window that failed is a gap unless a later one that is complete covers it whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flows.harvest.desk.standing import iso
from harvester.passes import REPAIRS


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerWindow:
    """A row of the ledger. ``since`` None is the beginning; ``until`` is never open: an open window ends when its pass began."""

    run: int
    kind: str
    since: datetime | None
    until: datetime | None
    state: str
    attempts: int
    records: int
    error: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A span of datestamps without a hole, made of so many windows."""

    since: datetime | None
    until: datetime
    windows: int = 1
    records: int = 0

    def shown(self) -> dict[str, object]:
        """For JSON; ``hours`` is null for a span that begins at the beginning."""
        hours = round((self.until - self.since).total_seconds() / 3600, 3) if self.since is not None else None
        return {"since": iso(self.since), "until": iso(self.until), "hours": hours, "windows": self.windows, "records": self.records}


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A span that failed. ``attempts_left`` 0: it is not tried again by itself (state ``gap``)."""

    run: int
    since: datetime | None
    until: datetime | None
    state: str
    reason: str | None
    attempts: int

    @property
    def attempts_left(self) -> int:
        """How often it will still be tried by itself."""
        return max(0, REPAIRS - self.attempts) if self.state == "failed" else 0

    def shown(self) -> dict[str, object]:
        """For JSON."""
        return {
            "since": iso(self.since),
            "until": iso(self.until),
            "state": self.state,
            "reason": self.reason,
            "attempts": self.attempts,
            "attempts_left": self.attempts_left,
            "run": self.run,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """What the repository announced (completeListSize) at its last full pass, against what is stored now."""

    announced: int
    stored: int
    at: datetime | None

    def shown(self) -> dict[str, object]:
        """For JSON; ``difference`` is stored minus announced."""
        return {"announced": self.announced, "stored": self.stored, "difference": self.stored - self.announced, "at": iso(self.at)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """The ledger of a source, joined."""

    source: str
    watermark: datetime | None
    covered: tuple[Span, ...]
    gaps: tuple[Gap, ...]
    drift: Drift | None = None

    def shown(self) -> dict[str, object]:
        """The object of ``windrow coverage --json``."""
        return {
            "source": self.source,
            "watermark": iso(self.watermark),
            "covered": [span.shown() for span in self.covered],
            "gaps": [gap.shown() for gap in self.gaps],
            "drift": self.drift.shown() if self.drift is not None else None,
        }


def join(windows: Iterable[LedgerWindow], *, unit: timedelta) -> tuple[Span, ...]:
    """The spans of the complete windows, oldest first. Spans that a ``unit`` or less parts are one (10:59:59 and 11:00:00)."""
    spans = [
        Span(since=window.since, until=window.until, records=window.records)
        for window in windows
        if window.state == "complete" and window.until is not None
    ]
    spans.sort(key=lambda span: (span.since is not None, span.since or span.until, span.until))
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and (span.since is None or span.since <= last.until + unit):
            joined[-1] = replace(last, until=max(last.until, span.until), windows=last.windows + 1, records=last.records + span.records)
        else:
            joined.append(span)
    return tuple(joined)


def gaps(windows: Sequence[LedgerWindow]) -> tuple[Gap, ...]:
    """What failed and no later window made good, oldest span first."""
    complete = [window for window in windows if window.state == "complete"]
    found = [
        Gap(run=window.run, since=window.since, until=window.until, state=window.state, reason=window.error, attempts=window.attempts)
        for window in windows
        if window.state in ("failed", "gap") and not any(_makes_good(later, window) for later in complete)
    ]
    return tuple(sorted(found, key=lambda gap: (gap.since is not None, gap.since or gap.until, gap.run)))


def _makes_good(later: LedgerWindow, failed: LedgerWindow) -> bool:
    if later.started_at < (failed.finished_at or failed.started_at) or later.until is None or failed.until is None:
        return False
    begins = later.since is None or (failed.since is not None and later.since <= failed.since)
    return begins and later.until >= failed.until
