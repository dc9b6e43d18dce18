"""Pauses for the database, in virtual time: nothing here waits for a clock or a socket."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import trio
from sqlalchemy.engine import Engine as Database
from trio.testing import MockClock

from flows.harvest.store import PostgresStore
from harvester import oai
from harvester.client import Reply
from harvester.engine import Engine
from harvester.oai import Identity, Page, Record, Request, Token
from harvester.politeness import REST_CAP, Pressure
from harvester.sources import Configuration, Group, PauseMode, Source
from harvester.store import MemoryStore, Store
from tests import driving
from tests.driving import Seen

BEGIN = 1_770_000_000.0
PAGE = 1000  # records


class Simulated:
    """A repository of so many pages, each a second away; it notes when it was asked."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.asked: list[tuple[str, float]] = []

    async def fetch(self, source: Source, request: Request, *, timeout: float) -> Reply:  # noqa: ASYNC109
        self.asked.append((source.name, anyio.current_time()))
        await anyio.sleep(1.0)
        return Reply(status=200, headers={"page": request.token or "0"})

    def read(self, reply: Reply, request: Request, *, now: float, repair: bool = False) -> Page:
        if request.verb == "Identify":
            identity = Identity(
                repository_name="",
                base_url="",
                protocol_version="2.0",
                earliest="2020-01-01",
                deleted_record="persistent",
                granularity="YYYY-MM-DDThh:mm:ssZ",
            )
            return Page(verb="Identify", response_date=oai.parse_moment("2026-02-01T00:00:00Z"), identity=identity)
        number = int(reply.headers["page"])
        records = tuple(
            Record(
                identifier=f"oai:{number}:{place}", datestamp="2020-01-01T00:00:00Z", deleted=False, payload=b"<r/>", digest=b"%d" % number
            )
            for place in range(PAGE)
        )
        token = Token(value=str(number + 1)) if number + 1 < self.pages else None
        return Page(verb="ListRecords", response_date=None, records=records, token=token, digest=b"%d" % number)

    def times(self, name: str = "alpha") -> list[float]:
        return [moment for asked, moment in self.asked if asked == name]


def virtually(chosen: Configuration, store: Store, transport: Simulated, *, once: bool = True, seconds: float | None = None) -> Seen:
    """A run in which no real time passes."""
    seen = Seen()

    async def main() -> None:
        clock = lambda: BEGIN + trio.current_time()  # noqa: E731
        engine = Engine(chosen, store, transport, observe=seen.take, clock=clock, read=transport.read, in_thread=False)
        await engine.run(once=once, seconds=seconds)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return seen


def simulate(store: Store, transport: Simulated, *names: str, **settings: Any) -> Seen:
    """One pass of each of these sources, which share one slot."""
    sources = {name: Source(**{"name": name, "url": f"http://{name}.example.org/oai", **settings}) for name in names}
    return virtually(Configuration(sources=sources, groups={"default": Group(name="default", limit=1)}, seed=1), store, transport)


def test_a_source_rests_two_minutes_after_more_than_ten_thousand_records() -> None:
    """harvest 4"""
    transport = Simulated(pages=24)
    simulate(MemoryStore(), transport, "alpha")
    times = transport.times()[1:]  # without Identify
    waits = [later - earlier for earlier, later in pairwise(times)]
    # Ten pages are 10,000 records, not more than that; after the eleventh the source rests, and counts from nothing.
    assert [number + 1 for number, wait in enumerate(waits) if wait > 2] == [11, 22]
    assert [round(wait) for wait in waits if wait > 2] == [121, 121]


def test_others_use_the_slot_of_a_source_that_rests() -> None:
    """harvest 4"""
    transport = Simulated(pages=24)
    simulate(MemoryStore(), transport, "alpha", "beta", "gamma", "delta")
    moments = sorted(moment for _, moment in transport.asked)
    assert len(moments) == 100
    # Four sources rest 8 times 120 s in all; their slot is idle for less than one rest and a half.
    assert moments[-1] - moments[0] < 100 + 2 * 120


def test_a_pause_is_stored_and_a_restart_keeps_it(database: Database) -> None:
    """harvest 4"""
    transport = Simulated(pages=14)
    import asyncio

    store = PostgresStore(database)
    seen = Seen()
    source = Source(name="alpha", url="http://alpha.example.org/oai", pause_after_records=2000, pause_seconds=500.0)
    chosen = Configuration(sources={"alpha": source}, groups={"default": Group(name="default", limit=1)}, seed=1)
    offset = [0.0]

    async def run(seconds: float) -> None:
        begin = anyio.current_time()
        engine = Engine(
            chosen,
            store,
            transport,
            observe=seen.take,
            clock=lambda: BEGIN + offset[0] + (anyio.current_time() - begin) * 50,
            read=transport.read,
        )
        await engine.run(once=True, seconds=seconds)

    asyncio.run(run(6.0))
    asked = len(transport.asked)
    assert asked == 4, "Identify and three pages"
    until = float(driving.one(database, "SELECT extract(epoch FROM paused_until) FROM harvest.source"))
    assert until >= BEGIN + 500
    offset[0] = 400.0
    asyncio.run(run(0.5))
    assert len(transport.asked) == asked, "another engine keeps the pause"
    offset[0] = 1000.0
    asyncio.run(run(1.5))
    assert len(transport.asked) > asked
    anyio.run(store.close)


def test_the_pause_for_the_vacuum_ends_as_soon_as_it_has_caught_up() -> None:
    """harvest 4"""
    transport = Simulated(pages=12)
    store = MemoryStore()
    simulate(store, transport, "alpha", pause_mode=PauseMode.VACUUM)
    times = transport.times()
    assert max(later - earlier for earlier, later in pairwise(times)) < 5


def test_the_pause_for_the_vacuum_lasts_longer_when_it_has_not_up_to_its_bound() -> None:
    """harvest 4"""
    for running, dead in ((True, 0), (False, 5000)):
        transport = Simulated(pages=12)
        store = MemoryStore()
        store.vacuum = Pressure(dead=dead, trigger=1000, running=running)
        simulate(store, transport, "alpha", pause_mode=PauseMode.VACUUM)
        times = transport.times()
        longest = max(later - earlier for earlier, later in pairwise(times))
        assert REST_CAP * 120 <= longest <= REST_CAP * 120 + 10


def test_a_source_is_due_again_after_its_interval() -> None:
    """harvest 3"""
    transport = Simulated(pages=2)
    source = Source(name="alpha", url="http://alpha.example.org/oai", interval=300.0)
    slow = replace(source, name="beta", interval=1000.0)
    chosen = Configuration(sources={"alpha": source, "beta": slow}, groups={"default": Group(name="default", limit=1)}, seed=1)

    seen = virtually(chosen, MemoryStore(), transport, once=False, seconds=3000.0)
    counts = {
        name: sum(isinstance(each, driving.PassFinished) and each.source == name for each in seen.happenings) for name in chosen.sources
    }
    assert counts == {"alpha": 10, "beta": 3}, "no barrier: each goes by its own clock"
