"""Blackout hours: when no request may start, on the clock of the library's own time zone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY: Final = frozenset(range(7))
DAY: Final = timedelta(days=1)
LOOKED_AHEAD: Final = timedelta(days=14)  # blackouts that join up for longer than this are followed no further


@dataclass(frozen=True, kw_only=True, slots=True)
class Blackout:
    """Hours of the day in which no request starts; a request in flight is finished."""

    days: frozenset[int] = EVERY_DAY
    """The days on which it begins, 0 is Monday."""
    start: time
    """The first minute, local time."""
    end: time
    """The first minute after it, local time; at or before `start` it is on the next day."""
    zone: ZoneInfo
    """The zone whose clock `start` and `end` are read from."""

    def until(self, now: datetime) -> datetime | None:
        """The end (in UTC) of the blackout that contains `now`; None outside of it. `now` must be aware (ValueError)."""
        if now.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be compared with blackout hours")
        today = now.astimezone(self.zone).date()
        for day in (today - DAY, today):  # one that began yesterday may still last
            if day.weekday() in self.days:
                start, end = self._on(day)
                if start <= now.astimezone(UTC) < end:
                    return end
        return None

    def _on(self, day: date) -> tuple[datetime, datetime]:
        """Beginning and end in UTC of the blackout that begins on `day`.

        In the night of a change of clocks an hour is missing or comes twice. A missing time is read with the offset
        before the change (RFC 5545, 3.3.5); of an hour that comes twice the first starts and the second ends the
        blackout. So it is never shorter than the clock on the wall says.
        """
        last = day if self.end > self.start else day + DAY
        start = datetime.combine(day, self.start, self.zone).astimezone(UTC)
        end = datetime.combine(last, self.end, self.zone)
        return start, max(end.astimezone(UTC), end.replace(fold=1).astimezone(UTC))

    def shown(self) -> dict[str, object]:
        """For JSON."""
        return {
            "days": [DAYS[n] for n in sorted(self.days)],
            "start": self.start.strftime("%H:%M"),
            "end": self.end.strftime("%H:%M"),
            "zone": self.zone.key,
        }


def free_from(blackouts: Iterable[Blackout], now: datetime) -> datetime:
    """The first moment from `now` on at which none of `blackouts` forbids a request (at most two weeks ahead)."""
    several = tuple(blackouts)
    moment = now
    while moment - now < LOOKED_AHEAD:
        ends = [end for blackout in several if (end := blackout.until(moment)) is not None]
        if not ends:
            break
        moment = max(ends)
    return moment
