"""What only the PostgreSQL store can do: fencing, locks, rows that are not written, an emptied side table, a short ledger."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine as Database

from db.engine import connect
from flows.harvest.store import PostgresStore
from harvester.course import WindowKind
from harvester.errors import OwnershipLost, StoreUnavailable
from harvester.oai import Damage
from harvester.store import Totals
from tests import driving
from tests.integration.test_store import ALPHA, DAY, FULL, Bench, begin, gone, live

DEAD = "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname LIKE 'record%' AND schemaname = 'harvest'"


@pytest.fixture
def bench(database: Database) -> Iterator[Bench]:
    bench = Bench(store=PostgresStore(database), database=database)
    bench.recall()
    yield bench
    assert isinstance(bench.store, PostgresStore)
    anyio.run(bench.store.close)


def test_an_unchanged_pass_leaves_no_dead_tuple_and_no_new_revision(database_url: str) -> None:
    """harvest 22"""
    database = connect(database_url, pool_size=1)  # statistics are told by the connection that made them
    bench = Bench(store=PostgresStore(database), database=database)
    bench.recall()
    pages = [[live(number) for number in range(start, start + 50)] + [gone(10_000 + start)] for start in range(0, 500, 50)]
    versions = "SELECT identifier, xmin::text, revision, harvested_at FROM harvest.record ORDER BY identifier"

    def dead() -> int:
        driving.do(database, "SELECT pg_stat_force_next_flush()")
        return int(driving.one(database, DEAD))

    for records in pages:
        bench.page(*records)
    bench.finish()
    before = driving.rows(database, versions)
    assert dead() == 0
    for records in pages:
        assert bench.page(*records).page == Totals(records=51, unchanged=51, pages=1)
    bench.finish()
    assert driving.rows(database, versions) == before
    assert dead() == 0
    bench.page(live(0, "second"))
    assert dead() == 1, "the same measure sees a record that was written again"
    database.dispose()


def test_every_change_has_a_revision_of_its_own_above_all_before(bench: Bench, database: Database) -> None:
    """harvest 22"""
    bench.window(*(live(number) for number in range(20)))
    first = bench.revisions()
    bench.window(live(3, "second"), gone(4), live(5), number=2)
    second = bench.revisions()
    assert len(set(second.values())) == 20
    changed = {identifier for identifier in first if first[identifier] != second[identifier]}
    assert changed == {"oai:00003", "oai:00004"}
    assert min(second[identifier] for identifier in changed) > max(first.values())


def test_nul_never_reaches_postgresql(bench: Bench, database: Database) -> None:
    """harvest 19"""
    bench.page(damaged=(Damage(identifier="oai:1", place="rec\0ord 1", reason="a NUL\0", snippet="<a>\0</a>"),))
    assert driving.rows(database, "SELECT identifier, place, reason, snippet FROM harvest.failure") == [
        ("oai:1", "ListRecords, rec\ufffdord 1", "a NUL\ufffd", "<a>\ufffd</a>")
    ]


def test_payloads_are_kept_byte_for_byte(bench: Bench, database: Database) -> None:
    """harvest 22"""
    from dataclasses import replace

    payload = "<record>\t\r\n\u00e4\U0001f4da \\x00 \\N</record>".encode() + bytes(range(1, 32))
    bench.page(replace(live(1), payload=payload, digest=b"\0\xff" * 16, sets=("a:b", 'c"{},', "")))
    assert driving.rows(database, "SELECT payload, digest, sets, format, datestamp FROM harvest.record") == [
        (payload, b"\0\xff" * 16, ["a:b", 'c"{},', ""], "marc21", "2026-01-01")
    ]


def test_an_emptied_side_table_is_noticed_and_nothing_is_concluded(bench: Bench, database: Database) -> None:
    """harvest 10"""
    bench.recall(FULL)
    full = {"kind": WindowKind.FULL, "note_seen": True}
    begin(bench, WindowKind.FULL)
    bench.window(live(1), live(2), **full, compare=True)
    bench.finish(full=True)
    begin(bench, WindowKind.FULL)
    bench.page(live(1), **full)
    driving.do(database, "TRUNCATE harvest.seen")  # as recovery after a crash does with an unlogged table
    done = bench.window(live(2), **full, compare=True)
    assert done.lost
    assert {deleted for deleted, _ in bench.rows().values()} == {False}


def test_a_pass_that_begins_looks_anew(bench: Bench, database: Database) -> None:
    """harvest 10"""
    bench.recall(FULL)
    begin(bench, WindowKind.FULL)
    bench.page(live(1), kind=WindowKind.FULL, note_seen=True)
    assert driving.one(database, "SELECT seen FROM harvest.source") == 1
    begin(bench, WindowKind.FULL)
    assert driving.one(database, "SELECT seen FROM harvest.source") == 0
    assert driving.one(database, "SELECT count(*) FROM harvest.seen") == 0


# ------------------------------------------------------------------ ownership


def test_a_group_is_claimed_by_one_store_at_a_time(bench: Bench, database: Database) -> None:
    """harvest 8"""

    async def main() -> None:
        first, second = bench.store, PostgresStore(database)
        assert await first.claim("hosted")
        assert await first.claim("hosted"), "asking again is no harm"
        assert not await second.claim("hosted")
        assert await second.claim("other")
        await first.release("hosted")
        assert await second.claim("hosted")
        await second.close()
        assert await first.claim("hosted"), "closing gives everything back"

    anyio.run(main)


def test_claims_at_the_same_moment_share_one_connection(bench: Bench, database: Database) -> None:
    """harvest 8"""

    async def main() -> None:
        store = PostgresStore(database)
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(store.claim, f"group-{number}")
        gc.collect()
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        locks = f"SELECT pid, count(*) FROM pg_locks WHERE locktype = 'advisory' AND {here} GROUP BY pid"
        assert [count for _, count in driving.rows(database, locks)] == [20]
        for number in range(20):
            await store.release(f"group-{number}")
        assert driving.rows(database, locks) == []
        await store.close()

    anyio.run(main)


def test_an_engine_that_lost_its_group_changes_nothing(bench: Bench, database: Database) -> None:
    """harvest 8"""
    bench.window(live(1), watermark=DAY)
    rival = PostgresStore(database)
    anyio.run(rival.recall, [ALPHA])
    with pytest.raises(OwnershipLost, match="alpha"):
        bench.page(live(2), live(1, "second"))
    assert bench.rows() == {"oai:00001": (False, b"<record>1 first</record>")}
    assert driving.one(database, "SELECT sum(pages) FROM harvest.run") == 1


def test_a_refused_commit_does_not_spoil_its_connection(database_url: str) -> None:
    """harvest 21"""
    database = connect(database_url, pool_size=1)
    bench = Bench(store=PostgresStore(database), database=database)
    bench.recall()
    with pytest.raises(OwnershipLost):
        bench.page(live(1), epoch=7)  # the first merge of this connection is rolled back, its staging table with it
    assert bench.page(live(1)).page.new == 1
    database.dispose()


def test_a_lost_anchor_is_replaced_and_the_group_claimed_again(bench: Bench, database: Database) -> None:
    """harvest 8, 21"""

    async def main() -> None:
        store = bench.store
        assert await store.claim("hosted")
        kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        driving.rows(database, kill)
        with pytest.raises(StoreUnavailable):
            await store.epochs()
        assert await store.claim("hosted")
        assert await store.epochs() == {"alpha": 0}

    anyio.run(main)


def test_only_own_sources_have_epochs(bench: Bench, database: Database) -> None:
    """harvest 8"""
    assert anyio.run(bench.store.epochs) == {"alpha": 0}
    assert anyio.run(PostgresStore(database).epochs) == {}
    anyio.run(bench.store.forget, ["alpha"])
    assert anyio.run(bench.store.epochs) == {}
    assert driving.rows(database, "SELECT removed, owner FROM harvest.source") == [(True, None)]
    bench.recall()
    assert driving.one(database, "SELECT removed FROM harvest.source") is False


# --------------------------------------------------------------------- ledger


def test_the_ledger_has_a_row_for_each_window_with_all_counts(bench: Bench, database: Database) -> None:
    """harvest 24"""
    bench.window(live(1), live(2), live(3), number=1, kind=WindowKind.FULL, until=DAY - timedelta(days=1), size=1000, seconds=0.5)
    bench.page(live(4), number=2, kind=WindowKind.FULL, since=DAY, size=500, seconds=0.25)
    bench.window(
        gone(1),
        live(2, "second"),
        live(3),
        damaged=(Damage(identifier="x", place="", reason="", snippet=""),),
        number=2,
        size=1,
        seconds=0.25,
    )
    fields = "number, kind, since, until, state, records, new, changed, unchanged, deleted, failures, pages, bytes, seconds"
    assert driving.rows(database, f"SELECT {fields} FROM harvest.run ORDER BY number") == [
        (1, "full", None, DAY - timedelta(days=1), "complete", 3, 3, 0, 0, 0, 0, 1, 1000, 0.5),
        (2, "full", DAY, DAY, "complete", 4, 1, 1, 1, 1, 1, 2, 501, 0.5),
    ]
    assert driving.one(database, "SELECT count(*) FROM harvest.run WHERE finished_at IS NULL") == 0
    pages = (
        "SELECT r.number, p.verb, p.records, p.bytes, p.milliseconds FROM harvest.page p JOIN harvest.run r ON r.id = p.run ORDER BY p.id"
    )
    assert driving.rows(database, pages) == [
        (1, "ListRecords", 3, 1000, 500.0),
        (2, "ListRecords", 1, 500, 250.0),
        (2, "ListRecords", 3, 1, 250.0),
    ]


def test_quiet_deltas_are_one_row(bench: Bench, database: Database) -> None:
    """harvest 24"""
    minute = timedelta(minutes=2)
    for number in range(10):
        moment = DAY + number * minute
        bench.window(live(1), since=moment - timedelta(minutes=5), started=moment)
        bench.finish()
    assert driving.rows(database, "SELECT since, until, new, unchanged FROM harvest.run ORDER BY id") == [
        (DAY - timedelta(minutes=5), DAY, 1, 0),  # it found something, so it stays
        (DAY + minute - timedelta(minutes=5), DAY + 9 * minute, 0, 1),
    ]


def test_totals_of_a_pass_count_all_its_windows_although_quiet_ones_are_absorbed(bench: Bench) -> None:
    """harvest 24"""
    for number in range(4):
        since = DAY + timedelta(days=number)
        bench.window(live(1), number=number + 1, since=since, until=since + timedelta(days=1, seconds=-1))
    assert bench.finish().totals == Totals(records=4, new=1, unchanged=3, pages=4)


def test_the_log_of_pages_is_pruned(bench: Bench, database: Database) -> None:
    """harvest 24"""
    bench.window(live(1))
    bench.finish()
    driving.do(database, "UPDATE harvest.page SET at = now() - interval '8 days'")
    bench.window(live(2))
    bench.finish()
    assert driving.one(database, "SELECT count(*) FROM harvest.page") == 1
    assert driving.one(database, "SELECT count(*) FROM harvest.run") == 2


def test_a_held_run_raises_an_alarm(bench: Bench, database: Database) -> None:
    """harvest 23"""
    bench.window(*(live(number) for number in range(200)))
    bench.window(*(gone(number) for number in range(150)), number=2)
    (alarm,) = driving.rows(database, "SELECT kind, scope, message FROM ops.alarm WHERE cleared_at IS NULL")
    assert alarm == ("delete.held", "source:alpha", "150 of 200 known records would be deleted (75%)")


def test_a_blocked_source_raises_an_alarm_that_a_success_clears(bench: Bench, database: Database) -> None:
    """harvest 12"""
    bench.page(blocked="a wall")
    bench.page(blocked="a wall")
    assert driving.rows(database, "SELECT kind, scope, message FROM ops.alarm") == [("source.blocked", "source:alpha", "a wall")]
    bench.window(live(1))
    bench.finish()
    assert driving.one(database, "SELECT count(*) FROM ops.alarm WHERE cleared_at IS NULL") == 0


def test_the_pressure_of_a_source_is_that_of_its_partition(bench: Bench, database: Database) -> None:
    """harvest 4"""

    async def dead() -> tuple[int, int]:
        pressure = await bench.store.pressure(ALPHA)
        return pressure.dead, pressure.trigger

    partition = "SELECT tableoid::regclass::text FROM harvest.record LIMIT 1"
    bench.window(*(live(number) for number in range(300)))
    name = driving.one(database, partition)
    driving.do(database, f"ALTER TABLE {name} SET (autovacuum_enabled = off)")
    driving.do(database, "UPDATE harvest.record SET sets = '{a}'")
    with database.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    found, trigger = anyio.run(dead)
    assert found == 300
    assert trigger >= 1000
