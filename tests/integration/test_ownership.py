"""A group belongs to one engine at a time, whatever happens to engines and connections."""

# ruff: noqa: ASYNC110  (what is waited for happens in a server, a database or another engine)
from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import trio
from sqlalchemy.engine import Engine as Database
from trio.testing import MockClock

from flows.harvest.store import PostgresStore
from harvester.client import Client
from harvester.engine import Engine
from harvester.events import Outcome
from tests import driving
from tests.driving import Seen, configuration, harvest, stored, told
from tests.fakes.oai import Consortium, Repository

ADVISORY = "FROM pg_locks l WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"


def test_a_second_engine_says_so_and_works_on_other_groups(database: Database) -> None:
    """harvest 8"""
    repositories = [Repository(name="alpha", group="hosted"), Repository(name="beta", group="other")]
    with Consortium(repositories) as consortium:
        hosted = configuration(consortium, "alpha", group="hosted", groups={"hosted": 2, "other": 2})
        both = replace(hosted, sources={**hosted.sources, **configuration(consortium, "beta", group="other").sources})

        async def first_holds() -> PostgresStore:
            store = PostgresStore(database)
            assert await store.claim("hosted")
            return store

        owner = anyio.run(first_holds)
        seen = harvest(both, database)
        assert seen.outcome("beta") is Outcome.COMPLETE
        assert seen.outcome("alpha") is Outcome.BLOCKED
        assert "another engine" in (seen.passes["alpha"].error or "")
        assert [notice.group for notice in seen.notices if notice.action == "group.owned-elsewhere"] == ["hosted"]
        assert consortium.stats()["repositories"]["alpha"]["requests"] == 0
        anyio.run(owner.close)
        assert harvest(both, database).outcome("alpha") is Outcome.COMPLETE


def test_an_engine_takes_over_when_the_first_is_gone_and_the_first_notices(database: Database) -> None:
    """harvest 8, 21"""
    with Consortium([Repository(name=f"s{n}", records=100, page_size=10) for n in range(4)]) as consortium:
        chosen = configuration(consortium, *consortium.names, interval=5.0)
        first, second = Seen(), Seen()

        async def main() -> None:
            clock = lambda: driving.time.time() + trio.current_time()  # noqa: E731
            one, two = PostgresStore(database), PostgresStore(database)
            async with Client() as client, anyio.create_task_group() as tasks:
                here = Engine(chosen, one, client, observe=first.take, clock=clock)
                there = Engine(chosen, two, client, observe=second.take, clock=clock)
                tasks.start_soon(here.run)
                while not first.passes:
                    await anyio.sleep(0.5)
                tasks.start_soon(there.run)
                while not second.notices:
                    await anyio.sleep(0.5)
                assert not second.passes
                # The first engine's connection breaks, and the second asks for the group before the first does.
                one._claim = lambda group: False  # type: ignore[method-assign]
                driving.rows(database, f"SELECT pg_terminate_backend(l.pid) {ADVISORY}")
                while len(second.passes) < 4:
                    await anyio.sleep(0.5)
                while not any(notice.action == "group.lost" for notice in first.notices):
                    await anyio.sleep(0.5)
                assert here._in_flight == 0
                here.stop()
                there.stop()
            await one.close()
            await two.close()

        trio.run(main, clock=MockClock(rate=driving.RATE))
        for name in consortium.names:
            assert stored(database, name) == told(consortium.truth(name))


def test_a_lost_lock_is_taken_again_while_nobody_else_wants_it(database: Database) -> None:
    """harvest 8"""
    with Consortium([Repository(name="alpha")]) as consortium:
        chosen = configuration(consortium, "alpha", interval=1000.0)
        seen = Seen()

        async def cut(engine: Any) -> None:
            while not seen.passes:
                await anyio.sleep(0.5)
            driving.rows(database, f"SELECT pg_terminate_backend(l.pid) {ADVISORY}")
            with anyio.fail_after(500):
                while not driving.one(database, f"SELECT count(*) {ADVISORY}"):
                    await anyio.sleep(0.5)
            engine.stop()

        harvest(chosen, database, once=False, during=cut, seen=seen)
        assert not any(notice.action == "group.lost" for notice in seen.notices)
