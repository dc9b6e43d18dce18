"""One run of the harvest: engine, feeds, store and client put together. The command and the Prefect flow both call it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from flows.harvest.feeding import Feeding, without_feeds
from flows.harvest.sharing import Claims, Considerate, Slots
from flows.harvest.store import Database, PostgresStore
from harvester.client import Client
from harvester.configuration import load
from harvester.engine import Engine
from harvester.events import GroupView, Observer
from harvester.problems import ConfigurationError
from harvester.secrets import OUTSIDE_PREFECT, Resolvers
from harvester.settings import Settings
from harvester.sources import Configuration

IGNORE: Observer = lambda happening: None  # noqa: E731

SWITCH: Final = 0.0005  # seconds: a freed slot is refilled by the loop, which must not wait 5 ms for a thread that parses a page


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which of the configured sources take part; empty tuples are all of them."""

    sources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def of(self, configuration: Configuration) -> Configuration:
        """The configuration with only these sources. Names that it does not know are passed over (see ``unknown``)."""
        if not self.sources and not self.groups:
            return configuration
        kept = {
            name: source
            for name, source in configuration.sources.items()
            if (not self.sources or name in self.sources) and (not self.groups or source.group in self.groups)
        }
        return replace(configuration, sources=kept)

    def unknown(self, configuration: Configuration) -> list[str]:
        """Names of sources and groups that are not configured."""
        return [f"source {name}" for name in self.sources if name not in configuration.sources] + [
            f"group {name}" for name in self.groups if name not in configuration.groups
        ]


@dataclass(kw_only=True, slots=True)
class Watch:
    """Notices a changed ``sources.yaml`` and reads it; a faulty one is told once and the old one stays in force.

    ``current`` is the newest that was good; None while the file is as it was at the start.
    """

    path: Path
    settings: Settings
    choice: Choice
    complain: Callable[[ConfigurationError], None]
    current: Configuration | None = None
    _seen: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self._seen = self._stamp()

    def __call__(self) -> Configuration | None:
        stamp = self._stamp()
        if stamp == self._seen or stamp is None:
            return None
        self._seen = stamp
        try:
            self.current = self.choice.of(load(self.path, self.settings))
        except ConfigurationError as error:
            self.complain(error)
            return None
        return self.current

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None  # an editor replaces the file; it is looked at again in two seconds
        return status.st_mtime_ns, status.st_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Both:
    """The engine, which harvests OAI-PMH, and the feeds beside it, as one thing to watch and to stop."""

    engine: Engine
    feeding: Feeding

    async def run(self, *, once: bool = False, seconds: float | None = None) -> None:
        """Run both; see ``Engine.run``. Each ends by itself."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(self.engine.run, once=once, seconds=seconds))
            await self.feeding.run(once=once, seconds=seconds)

    def stop(self) -> None:
        """End both at the next page boundary of every source."""
        self.engine.stop()
        self.feeding.stop()

    def views(self) -> list[GroupView]:
        """The groups at this moment, by name; a group that holds both kinds of sources once."""
        found: dict[str, GroupView] = {}
        for view in (*self.engine.views(), *self.feeding.views()):
            other = found.get(view.name)
            found[view.name] = view if other is None else joined(other, view)
        return [found[name] for name in sorted(found)]


def joined(engine: GroupView, feeds: GroupView) -> GroupView:
    """One group as the engine and the feeds see it. Both take the slots of the second, so that its numbers count."""
    states = {state: engine.states.get(state, 0) + feeds.states.get(state, 0) for state in {*engine.states, *feeds.states}}
    return replace(engine, in_flight=feeds.in_flight, in_flight_max=feeds.in_flight_max, pages=engine.pages + feeds.pages, states=states)


@dataclass(kw_only=True, slots=True)
class Run:
    """A run that can be watched (``engine.views``) and stopped at a page boundary (``stop``, from any thread of the loop)."""

    configuration: Configuration
    database: Database
    observe: Observer = IGNORE
    watch: Callable[[], Configuration | None] = lambda: None
    resolvers: Resolvers = field(default_factory=lambda: OUTSIDE_PREFECT)
    engine: Both | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    async def harvest(self, *, once: bool = False, seconds: float | None = None) -> None:
        """Harvest; see ``Engine.run``."""
        sys.setswitchinterval(SWITCH)
        store = PostgresStore(self.database)
        claims, slots = Claims(store), Slots(self.configuration)
        async with Client(resolvers=self.resolvers) as client:
            feeding = Feeding(self.configuration, claims.party("feeds"), client, slots, observe=self.observe, resolvers=self.resolvers)

            def look() -> Configuration | None:
                """Called beside the loop; the feeds are told in it."""
                configuration = self.watch()
                if configuration is None:
                    return None
                anyio.from_thread.run_sync(partial(take, configuration))
                return without_feeds(configuration)

            def take(configuration: Configuration) -> None:
                slots.take(configuration)
                feeding.take(configuration)

            transport = Considerate(client, slots)
            engine = Engine(without_feeds(self.configuration), claims.party("engine"), transport, observe=self.observe, watch=look)
            self.engine = Both(engine=engine, feeding=feeding)
            try:
                if not self._stopped.is_set():
                    await self.engine.run(once=once, seconds=seconds)
            finally:
                await store.close()

    def stop(self) -> None:
        """End the run at the next page boundary of every source."""
        self._stopped.set()
        if self.engine is not None:
            self.engine.stop()
