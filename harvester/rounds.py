"""What an engine sees to every two seconds: operator switches, commands, its groups, the vacuum, a new configuration.

All of it takes effect at page boundaries: a source in flight or being saved is left alone and looked at again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from harvester.errors import StoreUnavailable
from harvester.politeness import rest
from harvester.schedule import NEVER, State
from harvester.seats import Seat, Table
from harvester.sources import Configuration, PauseMode, Source

if TYPE_CHECKING:
    from harvester.engine import Engine

LOOK: Final = 2.0  # seconds between two rounds

log = logging.getLogger(__name__)


class Rounds:
    """The rounds of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def walk(self) -> None:
        """Every two seconds: operator switches, commands, the vacuum, a new configuration."""
        while True:
            if not self._engine.down:
                try:
                    await self._obey_switches(await self._engine.store.switches())
                    await self._obey_commands(await self._engine.store.epochs())
                    await self._keep_groups()
                    await self._relieve()
                except StoreUnavailable as error:
                    log.info("the database does not answer: %s", error)
            configuration = await self._engine.beside(self._engine.watch)
            if configuration is not None:
                await self._reconfigure(configuration)
            await anyio.sleep(LOOK)

    async def _keep_groups(self) -> None:
        """A group whose lock went with a lost connection is claimed again, or given up when another engine was faster."""
        for name, table in self._engine.tables.items():
            if table.owned and not await self._engine.store.claim(name) and table.owned:
                self._engine.lose(table)

    async def _obey_switches(self, switches: Mapping[str, str]) -> None:
        """Block what operators paused, at once or (in mid-list) at the page boundary; let go what they resumed."""
        for name, table in self._engine.tables.items():
            for seat in list(table.seats.values()):
                entry = table.schedule[seat.source.name]
                scopes = ("all", f"group:{name}", f"source:{seat.source.name}")
                was = seat.switched
                seat.switched = next((f"paused by an operator ({scope}): {switches[scope]}" for scope in scopes if scope in switches), None)
                if seat.switched is not None and entry.state in (State.IDLE, State.READY, State.PAUSED, State.WAITING):
                    self._engine.block(table, seat, seat.switched)
                elif seat.switched is None and was is not None and entry.state is State.BLOCKED and not seat.done:
                    table.schedule.leave(seat.source.name)  # its pause, its wait and its due time hold as before
                    self._engine.seat(table, seat.source, seat.memory)
                    table.wake.set()

    async def _obey_commands(self, epochs: Mapping[str, int]) -> None:
        """Commands change the stored course (rewind, reset, resume); a source in flight learns of it at its commit."""
        quiet = (State.IDLE, State.READY, State.PAUSED, State.WAITING, State.BLOCKED)
        for table in self._engine.tables.values():
            for seat in list(table.seats.values()):
                name = seat.source.name
                if seat.done or epochs.get(name, seat.memory.epoch) == seat.memory.epoch or table.schedule[name].state not in quiet:
                    continue
                memories = await self._engine.store.recall([seat.source])
                if table.seats.get(name) is seat and table.schedule[name].state in quiet:  # it may have gone on meanwhile
                    table.schedule.leave(name)
                    self._engine.seat(table, seat.source, memories[name], switched=seat.switched)
                    table.wake.set()

    async def _relieve(self) -> None:
        """End or extend the pauses that wait for autovacuum."""
        for table in self._engine.tables.values():
            for seat in list(table.seats.values()):
                source, entry = seat.source, table.schedule[seat.source.name]
                if source.pause_mode is not PauseMode.VACUUM or entry.state is not State.PAUSED:
                    continue
                pressure = await self._engine.store.pressure(source)
                now = self._engine.clock()
                until = rest(pressure, began=entry.began, seconds=source.pause_seconds, now=now)
                if until is None and entry.state is State.PAUSED:
                    table.schedule.rest(source.name, now, now)
                    table.wake.set()

    async def _reconfigure(self, configuration: Configuration) -> None:
        """Join, drain and replace sources; those that did not change do not notice."""
        old, self._engine.configuration = self._engine.configuration, configuration
        gone: list[str] = []
        for name, source in old.sources.items():
            new = configuration.sources.get(name)
            if new is not None and new.fingerprint == source.fingerprint:
                continue
            table = self._engine.tables.get(source.group)
            seat = table.seats.get(name) if table is not None else None
            if new is None:
                self._engine.tell("source.removed", f"{name} is no longer configured and leaves", source=name, group=source.group)
            else:
                self._engine.tell("source.changed", f"{name} has a new configuration and begins with it at its next page", source=name)
            if table is None or seat is None:
                if new is None:
                    gone.append(name)
                continue
            seat.leaving, seat.successor = True, new
            if table.schedule[name].state not in (State.IN_FLIGHT, State.SAVING):
                self.replace(table, seat)
        for name, group in configuration.groups.items():
            if name in self._engine.tables:
                self._engine.tables[name].schedule.regroup(group)
                self._engine.tables[name].wake.set()
        self._engine.seat_groups(configuration)
        added = [source for name, source in configuration.sources.items() if name not in old.sources]
        for source in added:
            self._engine.tell("source.added", f"{source.name} joins", source=source.name, group=source.group)
        await self.welcome(added)
        if gone:
            await self._forget(gone)
        self._engine.check_over()

    def replace(self, table: Table, seat: Seat) -> None:
        """At a page boundary: a source leaves; its successor joins, or it is forgotten, as soon as the store was told."""
        name = seat.source.name
        if table.schedule[name].state is State.SAVING:
            table.schedule.finish(name, NEVER, self._engine.clock())
        table.schedule.leave(name)
        del table.seats[name]
        if self._engine.tasks is not None and seat.successor is not None:
            self._engine.tasks.start_soon(self.welcome, [seat.successor])
        elif self._engine.tasks is not None:
            self._engine.tasks.start_soon(self._forget, [name])

    async def _forget(self, names: list[str]) -> None:
        """Note the removal of sources, unless they are configured again."""
        gone = [name for name in names if name not in self._engine.configuration.sources]
        if gone:
            await self._engine.patiently(partial(self._engine.store.forget, gone))

    async def welcome(self, sources: Iterable[Source]) -> None:
        """Seat sources, of which none is in flight; what was configured while the store was asked counts."""
        groups: dict[str, list[Source]] = {}
        changed: list[Source] = []
        for source in sources:
            groups.setdefault(source.group, []).append(source)
        for name, expected in groups.items():
            table = self._engine.tables.get(name)
            if table is None or not table.owned:
                continue  # the group's own task will seat them when it owns the group
            switches = await self._engine.patiently(self._engine.store.switches)
            memories = await self._engine.patiently(partial(self._engine.store.recall, expected))
            for source in expected:
                seat, current = table.seats.get(source.name), self._engine.configuration.sources.get(source.name)
                if current is None or not table.owned:
                    continue
                if seat is not None:
                    seat.successor = current if seat.leaving else seat.successor
                elif current.fingerprint != source.fingerprint:
                    changed.append(current)
                else:
                    self._engine.seat(table, source, memories[source.name])
            await self._obey_switches(switches)  # before anything is dispatched: a paused source sends nothing at the start either
            table.wake.set()
        if changed:
            await self.welcome(changed)
