"""How Windrow treats a repository that is slow, busy, broken or closed: decisions as values, executed elsewhere.

Everything here is pure: the time, the randomness and the past come in as arguments, a value goes out. Times are
seconds since the epoch (UTC), durations are seconds.

===================  =====================================================================================
``backoff``          how long to wait before the n-th try
``retry_after``      the moment that a ``Retry-After`` header names
``breaker``          when a source that failed n times in a row is tried again
``after_page``       whether a source rests now, so that autovacuum can run
``rest``             whether a rest in mode ``vacuum`` is over, or has to be longer
``Rate``             requests per minute, as a sliding window
``hold_deletions``   whether a run would delete suspiciously much
===================  =====================================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

BACKOFF_BASE: Final = 1.0  # seconds: the first wait is drawn from 0 to 1 s
BACKOFF_CAP: Final = 120.0  # seconds: a page is not waited for longer than this at once
RETRY_AFTER_CAP: Final = 24 * 3600.0  # seconds: some servers name a year
BREAKER_CAP: Final = 6 * 3600.0  # seconds: a dead source is asked four times a day
MINUTE: Final = 60.0
REST_CAP: Final = 10.0  # times the configured pause: the longest rest that a vacuum which does not come may cause
REST_CHECK: Final = 5.0  # seconds between two looks at the vacuum


def backoff(attempt: int, rng: Random) -> float:
    """Seconds to wait before try ``attempt`` + 1: exponential with full jitter, so that sources do not march in step.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return rng.uniform(0.0, min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt - 1, 16)))


def retry_after(value: str | None, now: float) -> float | None:
    """The moment named by a ``Retry-After`` header, in seconds or as an HTTP date (RFC 9110, 10.2.3); None if unusable."""
    if not value or not (value := value.strip()):
        return None
    if value.isascii() and value.isdigit():
        return now + min(float(value), RETRY_AFTER_CAP)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max(moment.timestamp(), now), now + RETRY_AFTER_CAP)


def breaker(failures: int, threshold: int, interval: float, now: float, rng: Random) -> float:
    """When a source whose last ``failures`` passes failed is due again.

    Below the threshold after its interval; from there on the wait doubles with every failure, up to six hours (or
    the interval, where that is longer), with a tenth of jitter so that the sources of a dead host do not come back together.
    """
    if failures < threshold:
        return now + interval
    wait = max(interval, min(BREAKER_CAP, max(interval, MINUTE) * 2.0 ** min(failures - threshold + 1, 16)))
    return now + wait * rng.uniform(0.9, 1.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class AfterPage:
    """The pause counter after a page: records since the last pause, and until when the source rests (None: it goes on)."""

    since_pause: int
    paused_until: float | None


def after_page(since_pause: int, records: int, *, threshold: int, seconds: float, now: float) -> AfterPage:
    """Count a page; rest when the counter is greater than the threshold (0 switches pauses off), and count anew."""
    count = since_pause + records
    if threshold and count > threshold:
        return AfterPage(since_pause=0, paused_until=now + seconds)
    return AfterPage(since_pause=count, paused_until=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pressure:
    """How far autovacuum is behind on the partition of a source.

    ``trigger`` is the number of dead tuples at which autovacuum would start; ``running`` whether a vacuum is at work.
    """

    dead: int
    trigger: int
    running: bool

    @property
    def relieved(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.dead < self.trigger and not self.running


def rest(pressure: Pressure, *, began: float, seconds: float, now: float) -> float | None:
    """Until when a rest in mode ``vacuum`` goes on, or None when it is over.

    It ends as soon as autovacuum has caught up, and lasts at most ten times the configured pause when it has not.
    """
    if pressure.relieved or now >= began + REST_CAP * seconds:
        return None
    return min(now + REST_CHECK, began + REST_CAP * seconds)


class Rate:
    """Requests per minute, exactly: at most ``limit`` starts in any 60 seconds. None is no limit."""

    __slots__ = ("limit", "starts")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.starts: deque[float] = deque()

    def free_at(self, now: float) -> float:
        """The earliest moment at which a request may start; ``now`` when one may start at once."""
        if self.limit is None:
            return now
        while self.starts and self.starts[0] <= now - MINUTE:
            self.starts.popleft()
        if len(self.starts) < self.limit:
            return now
        return self.starts[len(self.starts) - self.limit] + MINUTE

    def start(self, now: float) -> None:
        """Note that a request starts now."""
        if self.limit is not None:
            self.starts.append(now)

    def __repr__(self) -> str:
        return f"<Rate {len(self.starts)}/{self.limit or 'unlimited'} a minute>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Why the deletions of a run wait for an operator."""

    deletions: int
    known: int

    @property
    def reason(self) -> str:
        """The reason as a sentence."""
        return f"{self.deletions:,} of {self.known:,} known records would be deleted ({self.deletions / max(self.known, 1):.0%})"


def hold_deletions(deletions: int, known: int, *, share: float, minimum: int) -> Hold | None:
    """Hold when a run would delete more than ``share`` of the known live records and at least ``minimum`` of them."""
    return Hold(deletions=deletions, known=known) if deletions >= minimum and deletions > share * known else None


def latest(moments: Sequence[float | None]) -> float | None:
    """The latest of some moments, without those that are None."""
    return max((moment for moment in moments if moment is not None), default=None)
