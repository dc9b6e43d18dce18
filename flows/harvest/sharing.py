"""What the engine and the feeds share within a run: the ownership of groups, and their limits.

A group may hold OAI-PMH sources and others. It is owned once, by this run, and given up when both are done with it; and
its limit counts the requests of both.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio

from harvester.blackouts import free_from
from harvester.client import Reply, Transport
from harvester.course import Memory
from harvester.oai import Request
from harvester.politeness import Pressure, Rate
from harvester.sources import Configuration, Group, Source
from harvester.store import Commit, Committed, Store


class Claims:
    """Who of a run holds which group of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.holders: dict[str, set[str]] = {}

    def party(self, name: str) -> Party:
        """The store as one of those who share it sees it."""
        return Party(self, name)


class Party:
    """``harvester.store.Store``, of which a group is given up when nobody of this run holds it any more."""

    def __init__(self, claims: Claims, name: str) -> None:
        self._claims, self._store, self._name = claims, claims.store, name

    async def claim(self, group: str) -> bool:
        """See ``Store``."""
        owned = await self._store.claim(group)
        holders = self._claims.holders.setdefault(group, set())
        holders.add(self._name) if owned else holders.clear()
        return owned

    async def release(self, group: str) -> None:
        """See ``Store``."""
        holders = self._claims.holders.setdefault(group, set())
        holders.discard(self._name)
        if not holders:
            await self._store.release(group)

    async def recall(self, sources: Sequence[Source]) -> Mapping[str, Memory]:
        """See ``Store``."""
        return await self._store.recall(sources)

    async def forget(self, names: Sequence[str]) -> None:
        """See ``Store``."""
        await self._store.forget(names)

    async def commit(self, commit: Commit) -> Committed:
        """See ``Store``."""
        return await self._store.commit(commit)

    async def epochs(self) -> Mapping[str, int]:
        """See ``Store``."""
        return await self._store.epochs()

    async def switches(self) -> Mapping[str, str]:
        """See ``Store``."""
        return await self._store.switches()

    async def pressure(self, source: Source) -> Pressure:
        """See ``Store``."""
        return await self._store.pressure(source)


class Slots:
    """The limits of the groups that hold feeds: requests in flight, requests a minute, blackout hours."""

    def __init__(self, configuration: Configuration, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._limiters: dict[str, anyio.CapacityLimiter] = {}
        self._rates: dict[str, Rate] = {}
        self._groups: Mapping[str, Group] = configuration.groups
        self.in_flight: dict[str, int] = {}
        self.in_flight_max: dict[str, int] = {}
        self.shared: frozenset[str] = frozenset()
        self.take(configuration)

    def take(self, configuration: Configuration) -> None:
        """Other limits."""
        self._groups = configuration.groups
        self.shared = frozenset(source.group for source in configuration.sources.values() if source.transport != "oai")
        for name, limiter in self._limiters.items():
            if name in self._groups:
                limiter.total_tokens = self._groups[name].limit

    @asynccontextmanager
    async def slot(self, source: Source) -> AsyncIterator[None]:
        """A slot of the source's group, as soon as limit, rates and hours allow a request."""
        group = self._groups[source.group]
        if source.transport == "files":  # a folder of this machine is no server: only its hours count
            now = self._clock()
            await anyio.sleep(self._closed(source, group, now) - now)
            yield
            return
        limiter = self._limiters.get(group.name)
        if limiter is None:
            limiter = self._limiters[group.name] = anyio.CapacityLimiter(group.limit)
        while True:
            async with limiter:
                now = self._clock()
                opens = self._opens(source, group, now)
                if opens <= now:
                    self._rate(group.name, group.requests_per_minute).start(now)
                    self._rate(f"source:{source.name}", source.requests_per_minute).start(now)
                    self.in_flight[group.name] = self.in_flight.get(group.name, 0) + 1
                    self.in_flight_max[group.name] = max(self.in_flight_max.get(group.name, 0), self.in_flight[group.name])
                    try:
                        yield
                    finally:
                        self.in_flight[group.name] -= 1
                    return
            await anyio.sleep(opens - now)

    def _opens(self, source: Source, group: Group, now: float) -> float:
        return max(
            self._rate(group.name, group.requests_per_minute).free_at(now),
            self._rate(f"source:{source.name}", source.requests_per_minute).free_at(now),
            self._closed(source, group, now),
        )

    @staticmethod
    def _closed(source: Source, group: Group, now: float) -> float:
        """The end of the blackout hours; ``now`` outside of them."""
        several = (*source.blackouts, *group.blackouts)
        return max(now, free_from(several, datetime.fromtimestamp(now, UTC)).timestamp()) if several else now

    def _rate(self, name: str, limit: int | None) -> Rate:
        rate = self._rates.get(name)
        if rate is None or rate.limit != limit:
            rate = self._rates[name] = Rate(limit)
        return rate


class Considerate:
    """The engine's transport, which takes a slot as well where a group also holds feeds."""

    def __init__(self, transport: Transport, slots: Slots) -> None:
        self._transport, self._slots = transport, slots

    async def fetch(self, source: Source, request: Request, *, timeout: float) -> Reply:  # noqa: ASYNC109  (of the exchange, the transport's own)
        """See ``Transport``."""
        if source.group not in self._slots.shared:
            return await self._transport.fetch(source, request, timeout=timeout)
        async with self._slots.slot(source):
            return await self._transport.fetch(source, request, timeout=timeout)
