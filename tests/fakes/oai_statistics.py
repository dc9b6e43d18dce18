"""What the servers saw: requests, and requests in flight, per repository, per group and in total."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

LOG_LENGTH: Final = 5_000  # requests kept for tests


@dataclass(slots=True)
class LogEntry:
    """One request, as answered. `elsewhere`: it came to the second port. `fault`: the kind that hit it."""

    at: float  # seconds since the epoch
    repository: str
    verb: str | None
    arguments: dict[str, str]
    status: int | None = None  # None: no answer (yet)
    bytes: int = 0
    fault: str | None = None
    error: str | None = None  # OAI error code
    elsewhere: bool = False

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Figures:
    """Counts of one repository, one group, or all.

    `seconds[k]` is how long exactly k requests were in flight, since the first request or the reset.
    """

    requests: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    bytes: int = 0
    verbs: dict[str, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    first: float | None = None  # seconds since the epoch
    last: float | None = None
    _since: float | None = None  # monotonic

    def _account(self) -> None:
        now = time.monotonic()
        if self._since is not None:
            self.seconds[self.in_flight] = self.seconds.get(self.in_flight, 0.0) + now - self._since
        self._since = now

    def begin(self, verb: str, at: float) -> None:
        self._account()
        self.requests += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        self.verbs[verb] = self.verbs.get(verb, 0) + 1
        self.first = at if self.first is None else self.first
        self.last = at

    def end(self, status: int | None, sent: int) -> None:
        self._account()
        self.in_flight -= 1
        self.bytes += sent
        if status is not None:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def anew(self) -> Figures:
        """Figures that count from now on; what is in flight stays so."""
        return Figures(in_flight=self.in_flight, in_flight_max=self.in_flight, _since=time.monotonic())

    def as_json(self) -> dict[str, Any]:
        self._account()
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
            "bytes": self.bytes,
            "verbs": dict(self.verbs),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "seconds": {str(k): seconds for k, seconds in sorted(self.seconds.items())},
            "first": self.first,
            "last": self.last,
        }


class Statistics:
    """All figures and the log. Changes come from one thread, the server's."""

    def __init__(self) -> None:
        self.total = Figures()
        self.groups: dict[str, Figures] = {}
        self.repositories: dict[str, Figures] = {}
        self.log: deque[LogEntry] = deque(maxlen=LOG_LENGTH)
        self.watchers: list[Callable[[], bool]] = []  # called after each change; True: done, forget me

    def know(self, name: str, group: str) -> None:
        self.repositories.setdefault(name, Figures())
        self.groups.setdefault(group, Figures())

    def _all(self, name: str, group: str) -> Iterable[Figures]:
        return self.total, self.groups[group], self.repositories[name]

    def begin(self, group: str, entry: LogEntry) -> None:
        self.log.append(entry)
        for figures in self._all(entry.repository, group):
            figures.begin(entry.verb or "none", entry.at)
        self._tell()

    def end(self, group: str, entry: LogEntry) -> None:
        for figures in self._all(entry.repository, group):
            figures.end(entry.status, entry.bytes)
        self._tell()

    def reset(self) -> None:
        self.total = self.total.anew()
        self.groups = {name: figures.anew() for name, figures in self.groups.items()}
        self.repositories = {name: figures.anew() for name, figures in self.repositories.items()}
        self.log.clear()

    def _tell(self) -> None:
        if self.watchers:
            self.watchers = [watcher for watcher in self.watchers if not watcher()]

    def as_json(self) -> dict[str, Any]:
        return {
            "total": self.total.as_json(),
            "groups": {name: figures.as_json() for name, figures in self.groups.items()},
            "repositories": {name: figures.as_json() for name, figures in self.repositories.items()},
        }
