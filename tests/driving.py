"""What tests of the engine share: run it in fast time, look at what is stored, compare with the truth of the stand-in.

Time runs ``RATE`` times as fast for the engine (trio's MockClock), so that back-off, pauses and ``Retry-After`` cost
nothing, while sockets and PostgreSQL are real and run at their own pace.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import anyio
import trio
from sqlalchemy import text
from sqlalchemy.engine import Engine as Database
from trio.testing import MockClock

from flows.harvest.store import PostgresStore
from harvester import oai
from harvester.client import Client, Transport
from harvester.engine import Engine
from harvester.events import Happening, Notice, Outcome, PageSaved, PassFinished
from harvester.schedule import State as State
from harvester.sources import Configuration, Group, Source
from harvester.store import MemoryStore, Store, Totals
from tests.fakes.oai import Consortium, Truth
from tests.fakes.oai_remote import RemoteConsortium

RATE: Final = 50.0  # seconds of the engine in a second of the machine
LONGEST: Final = 20_000.0  # seconds of the engine after which a run counts as hung

Row = tuple[datetime | None, bool, str | None]  # datestamp, deleted, SHA-256 of the content of a live record


@dataclass(kw_only=True)
class Seen:
    """What an engine told."""

    happenings: list[Happening] = field(default_factory=list)

    def take(self, happening: Happening) -> None:
        self.happenings.append(happening)

    @property
    def passes(self) -> dict[str, PassFinished]:
        """The last pass of each source."""
        return {each.source: each for each in self.happenings if isinstance(each, PassFinished)}

    @property
    def notices(self) -> list[Notice]:
        return [each for each in self.happenings if isinstance(each, Notice)]

    @property
    def pages(self) -> list[PageSaved]:
        return [each for each in self.happenings if isinstance(each, PageSaved)]

    def outcome(self, name: str = "alpha") -> Outcome:
        return self.passes[name].outcome

    def totals(self, name: str = "alpha") -> Totals:
        return self.passes[name].totals


def configuration(
    consortium: Consortium | RemoteConsortium,
    *names: str,
    groups: Mapping[str, int] | None = None,
    group: str = "default",
    total_limit: int = 64,
    seed: int = 1,
    **settings: Any,
) -> Configuration:
    """Sources of the stand-in that never pause, in one group of limit 2 unless told."""
    sources = {
        name: Source(**{"name": name, "url": consortium.url(name), "group": group, "pause_after_records": 0, **settings}) for name in names
    }
    limits = {"default": 2, **(groups or {})}
    return Configuration(
        sources=sources,
        groups={name: Group(name=name, limit=limit) for name, limit in limits.items()},
        total_limit=total_limit,
        seed=seed,
    )


async def run_engine(
    chosen: Configuration,
    store: Store,
    transport: Transport,
    seen: Seen,
    clock: Callable[[], float],
    *,
    once: bool = True,
    seconds: float | None = None,
    during: Callable[[Engine], Awaitable[None]] | None = None,
    **more: Any,
) -> Engine:
    """One run, with something that happens beside it; it may call ``engine.stop``."""
    engine = Engine(chosen, store, transport, observe=seen.take, clock=clock, **more)
    with anyio.fail_after(LONGEST):
        async with anyio.create_task_group() as tasks:
            if during is not None:
                tasks.start_soon(during, engine)
            await engine.run(once=once, seconds=seconds)
    return engine


def harvest(
    chosen: Configuration,
    store: Store | Database,
    *,
    rate: float = RATE,
    transport: Transport | None = None,
    at: float | None = None,
    seen: Seen | None = None,
    **more: Any,
) -> Seen:
    """Harvest in fast time into a store, or into a database through a store of its own. ``at`` is the time at which it begins."""
    seen = seen if seen is not None else Seen()
    began = time.time() if at is None else at

    async def main() -> None:
        own = PostgresStore(store) if isinstance(store, Database) else store
        clock = lambda: began + trio.current_time()  # noqa: E731
        try:
            if transport is not None and not isinstance(transport, Client):
                await run_engine(chosen, own, transport, seen, clock, **more)
            else:
                async with transport or Client() as client:
                    await run_engine(chosen, own, client, seen, clock, **more)
        finally:
            if isinstance(own, PostgresStore):
                await own.close()

    trio.run(main, clock=MockClock(rate=rate))
    return seen


def stored(where: Database | MemoryStore, source: str) -> dict[str, Row]:
    """What a store holds of a source, in the form of ``told``."""
    if isinstance(where, MemoryStore):
        records = [held.record for held in where.records.get(source, {}).values()]
        rows: Iterable[Any] = [(each.identifier, each.datestamp, each.deleted, each.digest) for each in records]
    else:
        with where.connect() as connection:
            statement = text("SELECT identifier, datestamp, deleted, digest FROM harvest.record WHERE source = :source")
            rows = connection.execute(statement, {"source": source}).all()
    return {
        identifier: (oai.parse_moment(datestamp), deleted, None if deleted or digest is None else digest.hex())
        for identifier, datestamp, deleted, digest in rows
    }


def told(truth: Mapping[str, Truth]) -> dict[str, Row]:
    """The truth of the stand-in in the form of ``stored``."""
    return {identifier: (each.datestamp, each.deleted, each.digest) for identifier, each in truth.items()}


def undated(rows: Mapping[str, Row]) -> dict[str, tuple[bool, str | None]]:
    """Without datestamps: a record that was only touched is not written again."""
    return {identifier: (deleted, digest) for identifier, (_, deleted, digest) in rows.items()}


def one(database: Database, statement: str, **values: Any) -> Any:
    """The single value of a query."""
    with database.connect() as connection:
        return connection.execute(text(statement), values).scalar_one_or_none()


def rows(database: Database, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def do(database: Database, statement: str, **values: Any) -> None:
    """Execute a statement in a transaction of its own."""
    with database.begin() as connection:
        connection.execute(text(statement), values)
