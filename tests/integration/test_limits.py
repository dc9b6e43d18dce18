"""The limits as the servers see them: never above, and equal while work is ready."""

# ruff: noqa: ASYNC110  (what is waited for happens in a server, a database or another engine)
from __future__ import annotations

from dataclasses import replace
from datetime import time as clock_time
from typing import Any

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine as Database

from harvester.engine import BACKLOG
from harvester.events import Outcome
from harvester.sources import Blackout, Configuration, Group
from harvester.store import MemoryStore
from tests import driving
from tests.driving import configuration, harvest, stored, told
from tests.fakes.oai import Consortium, Repository
from tests.integration.test_pauses import Simulated, virtually


def many(count: int, **settings: Any) -> list[Repository]:
    given = {"records": 60, "page_size": 10, "latency": 0.01, "group": "hosted", **settings}
    return [Repository(**{"name": f"s{number:04d}", **given}) for number in range(count)]


@pytest.mark.parametrize("limit", [2, 5])
def test_sixty_sources_share_the_limit_of_their_group(limit: int) -> None:
    """harvest 1, 5"""
    slow = 0.03 * limit  # so slow that the machine is no part of the measure
    others = (Repository(name=f"other{n}", group="other", latency=0.01) for n in range(4))
    repositories = [*many(60, records=20, latency=slow), *others]
    with Consortium(repositories) as consortium:
        hosted = configuration(consortium, *(each.name for each in repositories if each.group == "hosted"), group="hosted")
        other = configuration(consortium, *(each.name for each in repositories if each.group == "other"), group="other")
        groups = {
            "default": Group(name="default", limit=2),
            "hosted": Group(name="hosted", limit=limit),
            "other": Group(name="other", limit=3),
        }
        seen = harvest(Configuration(sources={**hosted.sources, **other.sources}, groups=groups, seed=1), MemoryStore(), rate=1.0)
        assert {each.outcome for each in seen.passes.values()} == {Outcome.COMPLETE}
        stats = consortium.stats()
        figures = stats["groups"]["hosted"]
        assert figures["in_flight_max"] == limit
        busy = sum(figures["seconds"].values()) - figures["seconds"].get("0", 0.0)
        assert figures["seconds"][str(limit)] >= 0.5 * busy, "the slots are taken again as soon as they are free"
        assert stats["groups"]["other"]["in_flight_max"] == 3
        assert max(each["in_flight_max"] for each in stats["repositories"].values()) == 1, "a chain of tokens is sequential"


def test_the_overall_limit_holds_over_all_groups() -> None:
    """harvest 5"""
    repositories = [replace(each, group=f"g{number % 4}") for number, each in enumerate(many(24))]
    with Consortium(repositories) as consortium:
        sources = {each.name: configuration(consortium, each.name, group=each.group).sources[each.name] for each in repositories}
        groups = {f"g{number}": Group(name=f"g{number}", limit=4) for number in range(4)}
        harvest(Configuration(sources=sources, groups=groups, total_limit=6, seed=1), MemoryStore(), rate=1.0)
        stats = consortium.stats()
        assert stats["total"]["in_flight_max"] == 6
        assert all(each["in_flight_max"] <= 4 for name, each in stats["groups"].items() if name in groups)


def test_a_thousand_sources_in_five_groups_need_no_task_of_their_own() -> None:
    """harvest 1, 5, 9"""
    repositories = [replace(each, group=f"g{number % 5}") for number, each in enumerate(many(1000, records=4, latency=0.02))]
    with Consortium(repositories) as consortium:
        sources = {
            each.name: driving.Source(name=each.name, url=consortium.url(each.name), group=each.group, pause_after_records=0)
            for each in repositories
        }
        limits = {f"g{number}": number + 1 for number in range(5)}
        groups = {name: Group(name=name, limit=limit) for name, limit in limits.items()}
        tasks: list[int] = []

        async def count(engine: Any) -> None:
            while len(tasks) < 400 and not engine._over.is_set():
                tasks.append(driving.trio.lowlevel.current_statistics().tasks_living)
                await anyio.sleep(0.5)

        seen = harvest(Configuration(sources=sources, groups=groups, seed=1), MemoryStore(), during=count)
        assert len(seen.passes) == 1000
        assert {each.outcome for each in seen.passes.values()} == {Outcome.COMPLETE}
        figures = consortium.stats()["groups"]
        assert {name: figures[name]["in_flight_max"] for name in limits} == limits
        assert max(tasks) < 100, "15 requests, a backlog, a few for the engine and the pool of connections"


def test_requests_per_minute_of_a_group_and_of_a_source() -> None:
    """harvest 6"""
    transport = Simulated(pages=4)
    names = [f"s{number}" for number in range(6)]
    sources = {name: driving.Source(name=name, url=f"http://{name}.example.org/oai", pause_after_records=0) for name in names}
    sources["s0"] = replace(sources["s0"], requests_per_minute=2)
    groups = {"default": Group(name="default", limit=3, requests_per_minute=10)}
    seen = virtually(Configuration(sources=sources, groups=groups, seed=1), MemoryStore(), transport)
    assert {each.outcome for each in seen.passes.values()} == {Outcome.COMPLETE}
    together = sorted(moment for _, moment in transport.asked)
    assert len(together) == 30
    assert all(later - earlier >= 60 for earlier, later in zip(together, together[10:], strict=False))
    assert sum(moment < 60 for moment in together) == 10, "as many as are allowed"
    slow = transport.times("s0")
    assert all(later - earlier >= 60 for earlier, later in zip(slow, slow[2:], strict=False))


def test_no_request_starts_in_blackout_hours() -> None:
    """harvest 6"""
    from zoneinfo import ZoneInfo

    with Consortium(many(2, latency=0.0)) as consortium:
        berlin = Blackout(start=clock_time(8), end=clock_time(18), zone=ZoneInfo("Europe/Berlin"))
        chosen = configuration(consortium, *consortium.names, group="hosted")
        groups = {"hosted": Group(name="hosted", limit=2, blackouts=(berlin,))}
        noon = driving.datetime.fromisoformat("2026-01-15T16:50:00+00:00").timestamp()  # 17:50 in Berlin
        starts: list[float] = []

        class Timed(driving.Client):
            async def fetch(self, source: Any, request: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
                starts.append(noon + anyio.current_time())
                return await super().fetch(source, request, timeout=timeout)

        seen = harvest(Configuration(sources=chosen.sources, groups=groups, seed=1), MemoryStore(), transport=Timed(), at=noon, rate=600.0)
        assert {each.outcome for each in seen.passes.values()} == {Outcome.COMPLETE}
        assert min(starts) >= noon + 600, "not before 18:00 in Berlin"


def test_the_choice_is_random_repeatable_and_fair() -> None:
    """harvest 2"""

    names = [f"s{number:02d}" for number in range(12)]
    sources = {name: driving.Source(name=name, url=f"http://{name}.example.org/oai", pause_after_records=0) for name in names}

    def order(seed: int) -> list[str]:
        transport = Simulated(pages=6)
        chosen = Configuration(sources=sources, groups={"default": Group(name="default", limit=1)}, seed=seed)
        virtually(chosen, MemoryStore(), transport)
        return [name for name, _ in transport.asked]

    first = order(7)
    assert order(7) == first
    assert order(8) != first
    assert len(set(first[:40])) >= 10, "no source keeps the others waiting"


def test_a_slow_database_holds_no_slot_and_bounds_what_is_fetched(database: Database) -> None:
    """harvest 1"""
    with Consortium(many(60, latency=0.0)) as consortium:
        chosen = configuration(consortium, *consortium.names, group="hosted", groups={"hosted": 3})
        asked: list[int] = []

        async def block(engine: Any) -> None:
            while not driving.one(database, "SELECT count(*) FROM harvest.source WHERE pass IS NOT NULL"):
                await anyio.sleep(0.1)
            with database.connect() as connection, connection.begin():
                connection.execute(text("LOCK TABLE harvest.run, harvest.source IN ACCESS EXCLUSIVE MODE"))
                for _ in range(6):
                    asked.append(consortium.stats()["groups"]["hosted"]["requests"])
                    await anyio.sleep(0.3)
                assert engine._unsaved <= BACKLOG + 3
                assert engine._in_flight == 0, "fetched pages wait for the database without a slot"

        seen = harvest(chosen, database, rate=1.0, during=block)
        assert asked[-1] == asked[-2]
        assert asked[-1] - asked[0] <= BACKLOG + 3
        assert {each.outcome for each in seen.passes.values()} == {Outcome.COMPLETE}
        for name in consortium.names[:5]:
            assert stored(database, name) == told(consortium.truth(name))
