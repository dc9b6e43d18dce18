"""The configuration changes while the engine runs; who is not concerned does not notice."""

# ruff: noqa: ASYNC110  (what is waited for happens in a server, a database or another engine)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from sqlalchemy.engine import Engine as Database

from db import switches
from flows.harvest.run import Choice, Watch
from harvester.problems import ConfigurationError
from harvester.settings import Settings
from harvester.sources import Configuration, Group
from harvester.store import MemoryStore
from tests import driving
from tests.driving import PassFinished, Seen, configuration, harvest, stored, told
from tests.fakes.oai import Consortium, Repository

NAMES = ("alpha", "beta", "gamma")


def repositories(**settings: Any) -> list[Repository]:
    return [Repository(**{"name": name, "records": 60, "page_size": 10, **settings}) for name in NAMES]


class Script:
    """Gives the engine one configuration after the other."""

    def __init__(self) -> None:
        self.next: Configuration | None = None

    def __call__(self) -> Configuration | None:
        given, self.next = self.next, None
        return given


def passed(seen: Seen, name: str) -> int:
    return sum(isinstance(each, PassFinished) and each.source == name for each in seen.happenings)


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(5000):
        while not condition():
            await anyio.sleep(0.5)


def test_a_source_joins_another_leaves_and_the_third_does_not_notice(database: Database) -> None:
    """harvest 7"""
    script, seen = Script(), Seen()
    with Consortium(repositories()) as consortium:
        first = configuration(consortium, "alpha", "beta", interval=5.0)
        second = configuration(consortium, "beta", "gamma", interval=5.0)

        async def change(engine: Any) -> None:
            await until(lambda: passed(seen, "alpha") and passed(seen, "beta"))
            script.next = second
            await until(lambda: passed(seen, "gamma"))
            await until(lambda: driving.one(database, "SELECT removed FROM harvest.source WHERE name = 'alpha'"))
            before, beta = passed(seen, "alpha"), passed(seen, "beta")
            await until(lambda: passed(seen, "beta") > beta + 2)
            assert passed(seen, "alpha") == before
            script.next = first
            await until(lambda: passed(seen, "alpha") > before)
            engine.stop()

        harvest(first, database, once=False, watch=script, during=change, seen=seen)
        actions = [notice.action for notice in seen.notices]
        assert actions.count("source.added") == 2
        assert actions.count("source.removed") == 2
        assert not {"source.changed", "course.changed", "page.failed"} & set(actions)
        for name in NAMES:
            assert stored(database, name) == told(consortium.truth(name))


def test_a_source_that_is_removed_in_mid_page_leaves_at_the_page_boundary_and_is_forgotten(database: Database) -> None:
    """harvest 7"""
    script, seen = Script(), Seen()
    with Consortium(repositories()) as consortium:
        both = configuration(consortium, "alpha", "beta", interval=5.0)
        gate = consortium.hold("alpha")
        gate.__enter__()

        async def change(engine: Any) -> None:
            await until(lambda: passed(seen, "beta"))
            script.next = configuration(consortium, "beta", interval=5.0)
            await until(lambda: any(notice.action == "source.removed" for notice in seen.notices))
            gate.__exit__(None, None, None)
            await until(lambda: driving.one(database, "SELECT removed FROM harvest.source WHERE name = 'alpha'"))
            await anyio.sleep(20)
            engine.stop()

        harvest(both, database, once=False, watch=script, during=change, seen=seen)
        assert consortium.stats()["repositories"]["alpha"]["requests"] == 1
        assert driving.rows(database, "SELECT removed, owner FROM harvest.source WHERE name = 'alpha'") == [(True, None)]
        assert not any(notice.action == "course.changed" for notice in seen.notices)


def test_a_changed_source_is_drained_and_goes_on_with_its_new_configuration(database: Database) -> None:
    """harvest 7"""
    script, seen = Script(), Seen()
    with Consortium([replace(each, sets=("books", "maps")) for each in repositories()]) as consortium:
        first = configuration(consortium, "alpha", interval=5.0)
        second = configuration(consortium, "alpha", interval=5.0, sets=("maps",))

        async def change(engine: Any) -> None:
            await until(lambda: any(isinstance(each, driving.PageSaved) for each in seen.happenings))
            script.next = second
            await until(lambda: any(notice.action == "source.changed" for notice in seen.notices))
            before = passed(seen, "alpha")
            await until(lambda: passed(seen, "alpha") > before)
            engine.stop()

        harvest(first, database, once=False, watch=script, during=change, seen=seen)
        assert any(entry.arguments.get("set") == "maps" for entry in consortium.log("alpha"))
        held = stored(database, "alpha")
        assert held.items() >= told(consortium.truth("alpha", of_set="maps")).items()


def test_a_source_that_goes_and_comes_back_while_a_page_is_in_flight_stays(database: Database) -> None:
    """harvest 7"""
    script, seen = Script(), Seen()
    with Consortium(repositories()) as consortium:
        both = configuration(consortium, "alpha", "beta", interval=5.0)
        gate = consortium.hold("alpha")
        gate.__enter__()

        async def change(engine: Any) -> None:
            await until(lambda: passed(seen, "beta"))
            script.next = configuration(consortium, "beta", interval=5.0)
            await until(lambda: any(notice.action == "source.removed" for notice in seen.notices))
            script.next = both
            await until(lambda: any(notice.action == "source.added" for notice in seen.notices))
            gate.__exit__(None, None, None)
            await until(lambda: passed(seen, "alpha"))
            engine.stop()

        harvest(both, database, once=False, watch=script, during=change, seen=seen)
        assert stored(database, "alpha") == told(consortium.truth("alpha"))
        assert driving.one(database, "SELECT removed FROM harvest.source WHERE name = 'alpha'") is False


def test_a_limit_changes_while_requests_are_in_flight() -> None:
    """harvest 5, 7"""
    script, seen = Script(), Seen()
    with Consortium([Repository(name=f"s{n}", records=100, page_size=10, latency=0.02) for n in range(12)]) as consortium:
        first = configuration(consortium, *consortium.names, interval=1.0)
        wider = replace(first, groups={"default": Group(name="default", limit=5)})

        async def change(engine: Any) -> None:
            await until(lambda: consortium.stats()["total"]["in_flight_max"] == 2)
            script.next = wider
            await until(lambda: consortium.stats()["total"]["in_flight_max"] == 5)
            script.next = first
            await until(lambda: engine.views()[0].limit == 2 and engine.views()[0].in_flight <= 2)
            consortium.reset_stats()
            await until(lambda: consortium.stats()["total"]["requests"] > 60)
            engine.stop()

        harvest(first, MemoryStore(), once=False, watch=script, during=change, seen=seen, rate=20.0)
        assert consortium.stats()["total"]["in_flight_max"] <= 3, "two, and one that was on its way when the count began"


def test_a_source_moves_to_another_group(database: Database) -> None:
    """harvest 5, 7"""
    script, seen = Script(), Seen()
    with Consortium(repositories()) as consortium:
        first = configuration(consortium, "alpha", interval=5.0)
        second = configuration(consortium, "alpha", interval=5.0, group="other", groups={"other": 1})

        async def change(engine: Any) -> None:
            await until(lambda: passed(seen, "alpha"))
            script.next = second
            await until(lambda: any(isinstance(each, PassFinished) and each.group == "other" for each in seen.happenings))
            engine.stop()

        harvest(first, database, once=False, watch=script, during=change, seen=seen)
        assert driving.one(database, "SELECT group_name FROM harvest.source") == "other"


def test_an_invalid_file_keeps_the_old_configuration(tmp_path: Path) -> None:
    """harvest 7"""
    file = tmp_path / "sources.yaml"
    file.write_text('sources:\n  alpha: {url: "http://127.0.0.1/oai"}\n', encoding="utf-8")
    complaints: list[ConfigurationError] = []
    watch = Watch(path=file, settings=Settings.load(), choice=Choice(), complain=complaints.append)
    assert watch() is None, "nothing has changed"
    file.write_text('sources:\n  alpha: {url: "ftp://127.0.0.1/oai"}\n', encoding="utf-8")
    assert watch() is None
    assert watch() is None
    assert len(complaints) == 1, "told once"
    file.write_text('sources:\n  beta: {url: "http://127.0.0.1/beta/oai"}\n', encoding="utf-8")
    found = watch()
    assert found is not None
    assert list(found.sources) == ["beta"]
    file.unlink()
    assert watch() is None, "an editor is about to write it anew"


def test_an_operators_pause_stops_requests_and_leaves_waits_as_they_were(database: Database) -> None:
    """harvest 3, 27"""
    seen = Seen()
    with Consortium(repositories()) as consortium:
        chosen = configuration(consortium, "alpha", "beta", interval=1000.0)

        async def operate(engine: Any) -> None:
            await until(lambda: passed(seen, "alpha") and passed(seen, "beta"))
            asked = consortium.stats()["total"]["requests"]
            switches.pause(database, "source:alpha", "maintenance", "test")
            await until(lambda: engine.views()[0].states[driving.State.BLOCKED] == 1)
            switches.resume(database, "source:alpha")
            await until(lambda: engine.views()[0].states[driving.State.BLOCKED] == 0)
            await anyio.sleep(30)
            assert consortium.stats()["total"]["requests"] == asked, "it is due when it was due before"
            engine.stop()

        harvest(chosen, database, once=False, during=operate, seen=seen)
