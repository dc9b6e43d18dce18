"""PostgreSQL is stopped and started again in the middle of a harvest; no source fails, nothing is lost."""

# ruff: noqa: ASYNC110  (what is waited for happens in a server, a database or another engine)
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread
import pytest

from db.cluster import SETTINGS
from db.embedded import Embedded
from db.engine import connect, upgrade
from harvester.events import Outcome
from tests import driving
from tests.driving import Seen, configuration, harvest, stored, told
from tests.fakes.oai import Consortium, Repository


@pytest.fixture(scope="module")
def server(short_tmp: Path) -> Iterator[Embedded]:
    server = Embedded(home=short_tmp / "restarted")
    server.start({**SETTINGS, "fsync": "off", "shared_buffers": "32MB"})
    yield server
    server.stop("immediate")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_in_mid_harvest_costs_no_source(server: Embedded, mode: Literal["fast", "immediate"]) -> None:
    """harvest 21"""
    server.start()
    database = connect(server.url(), pool_size=8)
    upgrade(database)
    driving.do(database, "TRUNCATE harvest.source, harvest.run, harvest.page, harvest.record, harvest.failure, harvest.deletion")
    seen = Seen()
    with Consortium(
        [Repository(name=f"s{n}", records=200, page_size=10, deleted_share=0.1, token="single-use") for n in range(10)]
    ) as consortium:

        async def restart(engine: Any) -> None:
            for at in (30, 120):
                while len(seen.pages) < at:
                    await anyio.sleep(0.2)
                await anyio.to_thread.run_sync(server.stop, mode)
                while not seen.notices:
                    await anyio.sleep(0.2)
                await anyio.to_thread.run_sync(server.start)

        harvest(configuration(consortium, *consortium.names), database, during=restart, seen=seen, rate=10.0)
        assert {each.outcome for each in seen.passes.values()} == {Outcome.COMPLETE}, seen.passes
        for name in consortium.names:
            assert stored(database, name) == told(consortium.truth(name))
        assert {notice.action for notice in seen.notices} <= {"store.down", "store.back", "page.failed", "course.changed"}
        assert any(notice.action == "store.back" for notice in seen.notices)
    database.dispose()
