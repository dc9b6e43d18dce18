"""The operator's desk on real PostgreSQL and a real server: what it shows, and what becomes of what it changes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
import trio
from sqlalchemy import text
from sqlalchemy.engine import Engine
from trio.testing import MockClock

from db import switches
from db.switches import Switch
from flows.harvest.desk.coverage import Coverage, Gap, LedgerWindow, gaps, join
from flows.harvest.desk.errand import Occupied, ask_and_save
from flows.harvest.desk.explanation import explain
from flows.harvest.desk.standing import Owner, State, Stored, standing
from flows.harvest.desk.store import Desk
from flows.harvest.run import Run
from flows.harvest.store import PostgresStore
from harvester.blackouts import Blackout
from harvester.course import Course, Window, WindowKind
from harvester.engine import Engine as EngineOfHarvest
from harvester.errors import OwnershipLost
from harvester.events import Happening, Outcome, PassFinished
from harvester.oai import Request
from harvester.passes import More, Step
from harvester.simulation import CountingStore, PageReply, Repositories, Shape, carried
from harvester.sources import Configuration, Deletions, Group, PauseMode, Source
from harvester.store import Commit
from tests.fakes.oai import Consortium, Fault, Repository

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(minutes=2), NOW - timedelta(minutes=2)
ALPHA = Repository(name="alpha", records=120, page_size=50, deleted_share=0.1)


@pytest.fixture
def consortium() -> Iterator[Consortium]:
    with Consortium([ALPHA]) as running:
        yield running


@pytest.fixture
def desk(database: Engine) -> Desk:
    return Desk(database)


def source(consortium: Consortium, **values: Any) -> Source:
    return dataclasses.replace(Source(name="alpha", url=consortium.url("alpha"), interval=3600.0, attempts=1), **values)


def harvest(database: Engine, *sources: Source) -> dict[str, PassFinished]:
    """One pass of each source; how it ended."""
    ended: dict[str, PassFinished] = {}

    def take(happening: Happening) -> None:
        if isinstance(happening, PassFinished):
            ended[happening.source] = happening

    configuration = Configuration(sources={each.name: each for each in sources}, groups={"default": Group(name="default", limit=2)})
    run = Run(configuration=configuration, database=database, observe=take)

    async def once() -> None:
        await run.harvest(once=True)

    anyio.run(once)
    return ended


def one(database: Engine, query: str, **values: object) -> Any:
    with database.connect() as connection:
        return connection.execute(text(query), values).scalar_one()


def change(database: Engine, statement: str, **values: object) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), values)


def listed(consortium: Consortium) -> list[dict[str, str]]:
    """The arguments of the lists that were asked for from their start."""
    asked = [dict(entry.arguments) for entry in consortium.log("alpha") if entry.verb == "ListRecords"]
    return [arguments for arguments in asked if "resumptionToken" not in arguments]


# ---------------------------------------------------------------- standing

SOURCE = Source(name="a", url="http://a.org")
KNOWN = Stored(name="a", group="default", watermark=EARLIER, due_at=LATER, live=10)
ENGINE = Owner(name="host:1:x", since=EARLIER)
ALL = {"all": Switch(scope="all", reason="the disk is full", by="ann@host", since=EARLIER)}
COURSE = Course(id="p", full=True, sweep=False)


@pytest.mark.parametrize(
    ("expected", "configured", "stored", "paused", "owner"),
    [
        (State.REMOVED, None, KNOWN, {}, None),
        (State.DISABLED, dataclasses.replace(SOURCE, enabled=False), KNOWN, ALL, None),
        (State.BLOCKED, SOURCE, KNOWN, ALL, ENGINE),
        (State.BLOCKED, SOURCE, None, ALL, None),
        (State.BLOCKED, SOURCE, dataclasses.replace(KNOWN, blocked="a bot wall"), {}, None),
        (State.READY, SOURCE, None, {}, None),
        (State.PAUSED, SOURCE, dataclasses.replace(KNOWN, paused_until=LATER, unfinished=True), {}, ENGINE),
        (State.WAITING, SOURCE, dataclasses.replace(KNOWN, waiting_until=LATER, unfinished=True), {}, ENGINE),
        (State.HARVESTING, SOURCE, dataclasses.replace(KNOWN, unfinished=True, paused_until=EARLIER), {}, ENGINE),
        (State.READY, SOURCE, dataclasses.replace(KNOWN, unfinished=True), {}, None),
        (State.IDLE, SOURCE, dataclasses.replace(KNOWN, unfinished=True, failures_in_a_row=1), {}, ENGINE),
        (State.IDLE, SOURCE, KNOWN, {}, ENGINE),
        (State.READY, SOURCE, dataclasses.replace(KNOWN, due_at=EARLIER), {}, ENGINE),
    ],
)
def test_the_state_follows_from_what_is_stored_configured_and_paused(
    expected: State, configured: Source | None, stored: Stored | None, paused: dict[str, Switch], owner: Owner | None
) -> None:
    """harvest 27"""
    found = standing("a", configured=configured, stored=stored, switches=paused, owner=owner, now=NOW)
    assert found.state is expected


@pytest.mark.parametrize(
    ("stored", "configured", "paused", "said"),
    [
        (KNOWN, None, {}, "no longer configured"),
        (KNOWN, dataclasses.replace(SOURCE, enabled=False), {}, "enabled: false"),
        (
            KNOWN,
            SOURCE,
            ALL,
            "ann@host paused everything at 2026-05-01 11:58:00 UTC (2m ago): the disk is full. To go on: windrow resume all",
        ),
        (dataclasses.replace(KNOWN, blocked="a bot wall"), SOURCE, {}, "a bot wall. When that is settled: windrow resume source:a"),
        (
            dataclasses.replace(KNOWN, paused_until=LATER),
            SOURCE,
            {},
            "pauses until 2026-05-01 12:02:00 UTC (in 2m), so that the database can clean up behind it. "
            "It pauses whenever more than 10,000 records have come, for 2m (mode fixed).",
        ),
        (dataclasses.replace(KNOWN, paused_until=LATER), dataclasses.replace(SOURCE, pause_mode=PauseMode.VACUUM), {}, "(mode vacuum;"),
        (
            dataclasses.replace(KNOWN, waiting_until=LATER, attempt=2, unfinished=True, course=COURSE),
            SOURCE,
            {},
            "before it asks again: Identify failed or was put off, 2 times so far.",
        ),
        (
            dataclasses.replace(KNOWN, waiting_until=LATER, failures_in_a_row=1, error="is it that of the OAI-PMH interface?"),
            SOURCE,
            {},
            "(in 2m) before it asks again: is it that of the OAI-PMH interface? No engine harvests group default now",
        ),
        (KNOWN, SOURCE, {}, "not due: its next pass begins at 2026-05-01 12:02:00 UTC (in 2m). It is asked every 2m."),
        (None, SOURCE, {}, "was never harvested yet. No engine harvests group default now; windrow harvest --group default does."),
        (
            dataclasses.replace(KNOWN, failures_in_a_row=3, error="the repository failed (status 500)"),
            SOURCE,
            {},
            "The last 3 passes failed: the repository failed (status 500). Its circuit breaker is open (after 3 failures in a row)",
        ),
        (
            dataclasses.replace(
                KNOWN,
                unfinished=True,
                since_pause=700,
                course=dataclasses.replace(
                    COURSE,
                    started=NOW,
                    numbered=3,
                    windows=(Window(number=2, kind=WindowKind.FULL, since=EARLIER, until=NOW, set_index=1, received=700, size=900),) * 2,
                ),
            ),
            dataclasses.replace(SOURCE, sets=("books", "maps")),
            {},
            "700 records came since its last pause; it pauses above 10,000. The unfinished pass fetches everything "
            "from 2026-05-01 11:58:00 UTC until 2026-05-01 12:00:00 UTC, window 2 of 3, set maps (2 of 2): 700 of 900 records received.",
        ),
        (
            dataclasses.replace(KNOWN, due_at=EARLIER),
            dataclasses.replace(SOURCE, blackouts=(Blackout(start=EARLIER.time(), end=LATER.time(), zone=ZoneInfo("UTC")),)),
            {},
            "No request starts now: it is its blackout hours, until 2026-05-01 12:02:00 UTC (in 2m).",
        ),
        (dataclasses.replace(KNOWN, held=300), SOURCE, {}, "300 deletions are held for an operator: windrow deletions show a"),
        (dataclasses.replace(KNOWN, repository={"deleted_record": "no"}), SOURCE, {}, "deletedRecord=no"),
    ],
)
def test_explain_gives_the_reason_and_what_helps(
    stored: Stored | None, configured: Source | None, paused: dict[str, Switch], said: str
) -> None:
    """harvest 27, 4, 6, 10, 15"""
    subject = standing("a", configured=configured, stored=stored, switches=paused, owner=None, now=NOW)
    sentences = explain(subject, group=Group(name="default", limit=2), busy=1, coverage=None, now=NOW)
    assert said in " ".join(sentences)


def test_explain_names_the_engine_the_limit_and_the_gaps() -> None:
    """harvest 27, 8, 11"""
    subject = standing("a", configured=SOURCE, stored=dataclasses.replace(KNOWN, due_at=EARLIER), switches={}, owner=ENGINE, now=NOW)
    gap = Gap(run=1, since=EARLIER, until=NOW, state="failed", reason="x", attempts=2)
    coverage = Coverage(source="a", watermark=NOW, covered=(), gaps=(gap,))
    sentences = explain(subject, group=Group(name="default", limit=2), busy=5, coverage=coverage, now=NOW)
    assert sentences[:2] == [
        "a is due.",
        "Group default is harvested by the engine host:1:x, with at most 2 requests at once; "
        "5 of its sources are due or under way, and a free slot takes one of them at random.",
    ]
    assert sentences[-1] == "1 window failed, to be tried again by itself: windrow coverage a"


def test_the_owner_of_a_group_is_known_while_its_engine_lives(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27, 8"""
    store = PostgresStore(database)

    async def own() -> None:
        assert await store.claim("default")
        await store.recall([source(consortium)])
        assert {name: owner.name for name, owner in desk.owners(["default", "other"]).items()} == {"default": store.owner}
        await store.close()

    anyio.run(own)
    assert desk.owners(["default", "other"]) == {}


# ---------------------------------------------------------------- coverage


def ledger(number: int, since: int | None, until: int, state: str = "complete", *, attempts: int = 1) -> LedgerWindow:
    """A window between two hours of a day, written one after the other."""

    def hour(value: int) -> datetime:
        return datetime(2026, 5, 1, value, tzinfo=UTC)

    return LedgerWindow(
        run=number,
        kind="delta",
        since=hour(since) if since is not None else None,
        until=hour(until),
        state=state,
        attempts=attempts,
        records=1,
        error=None if state == "complete" else "status 500",
        started_at=NOW + timedelta(hours=number),
        finished_at=NOW + timedelta(hours=number),
    )


@pytest.mark.parametrize(
    ("windows", "covered", "missing"),
    [
        ([], [], []),
        ([ledger(1, None, 2), ledger(2, 2, 4), ledger(3, 3, 5)], [(None, 5, 3)], []),
        ([ledger(1, None, 2), ledger(2, 2, 4, "failed", attempts=2), ledger(3, 4, 6)], [(None, 2, 1), (4, 6, 1)], [(2, 4, 3)]),
        ([ledger(1, None, 2), ledger(2, 2, 4, "gap", attempts=5), ledger(3, 4, 6)], [(None, 2, 1), (4, 6, 1)], [(2, 4, 0)]),
        ([ledger(1, 2, 4, "failed"), ledger(2, None, 5)], [(None, 5, 1)], []),  # a full pass made it good
        ([ledger(1, None, 5), ledger(2, 2, 4, "failed")], [(None, 5, 1)], [(2, 4, 4)]),  # after a rewind: not good any more
        ([ledger(1, 4, 6), ledger(2, 1, 2), ledger(3, 0, 9, "failed")], [(1, 2, 1), (4, 6, 1)], [(0, 9, 4)]),
    ],
)
def test_complete_windows_are_joined_and_failed_ones_are_gaps(
    windows: list[LedgerWindow], covered: list[tuple[int | None, int, int]], missing: list[tuple[int, int, int]]
) -> None:
    """harvest 11"""
    spans = join(windows, unit=timedelta(seconds=1))
    assert [(span.since.hour if span.since else None, span.until.hour, span.windows) for span in spans] == covered
    found = gaps(windows)
    assert [(gap.since and gap.since.hour, gap.until and gap.until.hour, gap.attempts_left) for gap in found] == missing


def test_windows_that_a_unit_parts_are_one_span() -> None:
    """harvest 11: windows of whole days end at the beginning of their last day"""
    days = [
        dataclasses.replace(ledger(1, 0, 0), since=datetime(2026, 5, day, tzinfo=UTC), until=datetime(2026, 5, day + 1, tzinfo=UTC))
        for day in (1, 3)
    ]
    assert len(join(days, unit=timedelta(days=1))) == 1
    assert len(join(days, unit=timedelta(seconds=1))) == 2


def test_coverage_shows_the_ledger_of_a_harvest(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 11"""
    harvest(database, source(consortium))
    consortium.vanish("alpha", consortium.live("alpha")[:7])
    change(
        database,
        "INSERT INTO harvest.run (source, pass_id, number, kind, since, until, state, attempts, error, started_at, finished_at) "
        "VALUES ('alpha', 'p', 1, 'repair', '2030-01-01Z', '2030-01-02Z', 'gap', 5, 'status 500', now(), now())",
    )
    found = desk.coverage(desk.sources()["alpha"])
    assert [(span.since, span.records) for span in found.covered] == [(None, 120)]
    assert found.covered[0].until == found.watermark
    assert [(gap.state, gap.reason, gap.attempts, gap.attempts_left) for gap in found.gaps] == [("gap", "status 500", 5, 0)]
    assert found.drift is not None
    assert (found.drift.announced, found.drift.stored) == (120, 120)


def test_a_sweep_covers_nothing(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 11, 10"""
    harvest(database, source(consortium))
    change(database, "UPDATE harvest.run SET since = '2020-01-01Z', kind = 'delta'")
    rows = "INSERT INTO harvest.run (source, pass_id, number, kind, until, state, finished_at) VALUES "
    change(database, rows + "('alpha', 'p', 1, 'sweep', now(), 'complete', now()), ('alpha', 'p', 2, 'repair', now(), 'complete', now())")
    assert [span.since for span in desk.coverage(desk.sources()["alpha"]).covered] == [datetime(2020, 1, 1, tzinfo=UTC)]


# ----------------------------------------------------------------- records


def test_records_are_those_of_the_repository(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27"""
    harvest(database, source(consortium))
    truth = consortium.truth("alpha")
    rows = list(desk.records("alpha", payload=True))
    assert [row.identifier for row in rows] == sorted(truth)
    for row in rows:
        assert row.deleted == truth[row.identifier].deleted
        assert (row.payload is None) == row.deleted
        assert row.digest == (None if row.deleted else truth[row.identifier].digest)
    deleted = sum(each.deleted for each in truth.values())
    assert 0 < deleted < 120
    assert [len(list(desk.records("alpha", deleted=choice))) for choice in (True, False, None)] == [deleted, 120 - deleted, 120]
    assert [row.payload for row in desk.records("alpha", limit=3)] == [None] * 3
    known = desk.sources()["alpha"]
    assert (known.live, known.deleted) == (120 - deleted, deleted)


def test_records_since_a_revision_come_in_the_order_of_their_changes(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27"""
    harvest(database, source(consortium))
    last = max(row.revision for row in desk.records("alpha"))
    changed = [number for number in consortium.live("alpha") if number > 20][:3]
    consortium.change("alpha", changed)
    change(database, "UPDATE harvest.source SET watermark = watermark - interval '1 hour', due_at = now()")
    harvest(database, source(consortium))
    rows = list(desk.records("alpha", since_revision=last))
    assert {row.identifier for row in rows} == {consortium.identifier("alpha", number) for number in changed}
    assert [row.revision for row in rows] == sorted(row.revision for row in rows)
    assert list(desk.records("alpha", since_revision=rows[-1].revision)) == []


def test_records_come_through_a_cursor_on_the_server(database: Engine, desk: Desk) -> None:
    """harvest 27: memory stays flat, however many records there are"""
    change(
        database,
        "INSERT INTO harvest.record (source, identifier, datestamp, deleted, sets, format, payload, digest, run) "
        "SELECT 'big', to_char(n, 'FM00000'), '2024-01-01', false, '{}', 'marc21', 'x', sha256('x'), 0 FROM generate_series(1, 2000) n",
    )
    rows = desk.records("big", payload=True)
    assert next(rows).payload == b"x"
    under_way = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'FETCH FORWARD 500 %'"
    assert one(database, under_way) == 1
    assert sum(1 for _ in rows) == 1999


def test_failures_are_listed_with_place_and_reason(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27, 18"""
    consortium.fault("alpha", Fault(kind="malformed-record", verb="ListRecords", page=2, times=1))
    harvest(database, source(consortium))
    (failure,) = desk.failures("alpha")
    assert failure.identifier in consortium.truth("alpha")
    assert failure.place.startswith("ListRecords, ")
    assert failure.reason
    assert failure.snippet
    assert (failure.attempts, desk.sources()["alpha"].failures) == (1, 1)


# ---------------------------------------------------------------- changing


def test_a_rewound_source_is_asked_from_that_date_on(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27: less the overlap; records that did not change are not written"""
    harvest(database, source(consortium))
    epoch = one(database, "SELECT epoch FROM harvest.source")
    last = one(database, "SELECT max(revision) FROM harvest.record")
    assert desk.rewind("alpha", datetime(2022, 1, 1, tzinfo=UTC))
    assert one(database, "SELECT epoch FROM harvest.source") == epoch + 1
    assert one(database, "SELECT due_at <= now() FROM harvest.source")
    ended = harvest(database, source(consortium))["alpha"]
    assert [arguments.get("from") for arguments in listed(consortium)] == [None, "2021-12-31T23:55:00Z"]
    assert ended.outcome is Outcome.COMPLETE
    assert 0 < ended.totals.records < 120
    assert one(database, "SELECT max(revision) FROM harvest.record") == last
    assert not desk.rewind("nobody", NOW)


def test_a_reset_source_is_asked_for_everything_and_keeps_its_records(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27"""
    harvest(database, source(consortium))
    assert desk.reset("alpha")
    known = desk.sources()["alpha"]
    assert (known.watermark, known.live > 0) == (None, True)
    ended = harvest(database, source(consortium))["alpha"]
    assert [arguments.get("from") for arguments in listed(consortium)] == [None, None]
    assert (ended.totals.records, ended.totals.unchanged) == (120, 120)


@pytest.mark.parametrize("command", [lambda desk: desk.reset("alpha"), lambda desk: desk.rewind("alpha", NOW)])
def test_an_unfinished_pass_is_dropped(database: Engine, desk: Desk, consortium: Consortium, command: Callable[[Desk], bool]) -> None:
    """harvest 27"""
    consortium.fault("alpha", Fault(kind="503", verb="ListRecords", page=2, retry_after=7200))
    harvest(database, source(consortium))
    assert desk.sources()["alpha"].unfinished
    assert command(desk)
    assert not desk.sources()["alpha"].unfinished
    assert one(database, "SELECT count(*) FROM harvest.run WHERE state = 'running'") == 0
    assert one(database, "SELECT count(*) FROM harvest.record") == 50


def test_a_page_that_was_fetched_before_a_command_is_not_saved(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27, 21"""
    harvest(database, source(consortium))
    store = PostgresStore(database)

    async def late() -> None:
        await store.claim("default")
        memory = (await store.recall([source(consortium)]))["alpha"]
        desk.rewind("alpha", NOW)
        with pytest.raises(OwnershipLost):
            await store.commit(
                Commit(source=source(consortium), step=Step(course=None, then=More()), pass_id="p", at=0.0, epoch=memory.epoch)
            )
        await store.close()

    anyio.run(late)
    assert desk.sources()["alpha"].watermark == NOW


def test_a_source_behind_a_bot_wall_is_asked_again_when_it_is_resumed(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27, 12"""
    wall = consortium.fault("alpha", Fault(kind="bot-wall"))
    assert harvest(database, source(consortium))["alpha"].outcome is Outcome.BLOCKED
    assert [alarm.kind for alarm in desk.alarms()] == ["source.blocked"]
    consortium.clear("alpha", wall)
    asked = len(consortium.log("alpha"))
    assert harvest(database, source(consortium))["alpha"].outcome is Outcome.BLOCKED
    assert len(consortium.log("alpha")) == asked
    assert desk.unblock("alpha") is not None
    assert desk.alarms() == []
    assert desk.unblock("alpha") is None
    assert harvest(database, source(consortium))["alpha"].outcome is Outcome.COMPLETE


# --------------------------------------------------------------- deletions


def held(database: Engine, consortium: Consortium) -> Source:
    """A source of which 60 of about 108 records were deleted, more than the 10 that its bound allows."""
    careful = source(consortium, delete_hold_minimum=10)
    harvest(database, careful)
    consortium.delete("alpha", consortium.live("alpha")[:60])
    assert harvest(database, careful)["alpha"].outcome is Outcome.HELD
    return careful


def counted(database: Engine) -> tuple[int, int]:
    return (
        one(database, "SELECT count(*) FROM harvest.record WHERE NOT deleted"),
        one(database, "SELECT count(*) FROM harvest.record WHERE deleted"),
    )


def test_approved_deletions_happen_and_the_counters_follow(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 23"""
    careful = held(database, consortium)
    before = desk.sources()["alpha"]
    (shown,) = desk.held()
    assert (shown.source, shown.deletions, shown.tombstones, shown.live, before.held) == ("alpha", 60, 60, before.live, 60)
    examples = desk.examples("alpha", 3)
    assert [example.identifier for example in examples] == sorted(example.identifier for example in examples)
    assert len(examples) == 3
    assert [alarm.kind for alarm in desk.alarms()] == ["delete.held"]
    epoch = one(database, "SELECT epoch FROM harvest.source")
    assert desk.approve("alpha", "60 deletions approved by ann@host: weeded") == 60
    after = desk.sources()["alpha"]
    assert (after.live, after.deleted) == (before.live - 60, before.deleted + 60) == counted(database)
    assert (desk.held(), desk.alarms(), after.held) == ([], [], 0)
    assert one(database, "SELECT epoch FROM harvest.source") == epoch + 1
    assert one(database, "SELECT message FROM ops.alarm WHERE kind = 'delete.held'") == "60 deletions approved by ann@host: weeded"
    assert desk.approve("alpha", "twice") == 0
    assert harvest(database, careful)["alpha"].outcome is Outcome.COMPLETE
    assert {row.identifier for row in desk.records("alpha", deleted=True)} == {
        identifier for identifier, truth in consortium.truth("alpha").items() if truth.deleted
    }


def test_refused_deletions_are_dropped(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 23"""
    held(database, consortium)
    before = counted(database)
    assert desk.refuse("alpha", "60 deletions refused by ann@host: a mistake over there") == 60
    assert (desk.held(), desk.alarms()) == ([], [])
    assert counted(database) == before
    assert one(database, "SELECT count(*) FROM harvest.deletion") == 0
    assert desk.refuse("alpha", "twice") == 0


def test_a_decision_waits_for_the_row_of_the_source(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 23: what a page of a running engine does to the counters is not lost"""
    held(database, consortium)
    live = desk.sources()["alpha"].live

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor() as threads, database.connect() as page:
        page.execute(text("UPDATE harvest.source SET live = live + 5"))
        decision = threads.submit(desk.approve, "alpha", "approved")
        deadline = time.monotonic() + 10
        while not one(database, waiting):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        page.commit()
        assert decision.result() == 60
    assert desk.sources()["alpha"].live == live + 5 - 60


def test_unseen_records_of_a_full_pass_are_held_as_well(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 23, 10"""
    careful = source(consortium, delete_hold_minimum=10, deletions=Deletions.FULL, full_every=0.001)
    harvest(database, careful)
    consortium.vanish("alpha", consortium.live("alpha")[:60])
    assert harvest(database, careful)["alpha"].outcome is Outcome.HELD
    (shown,) = desk.held("alpha")
    assert (shown.deletions, shown.unseen, shown.tombstones) == (60, 60, 0)


# ------------------------------------------------------------------- fetch


def test_a_record_is_fetched_and_saved_in_one_commit(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27"""
    harvest(database, source(consortium))
    number = consortium.live("alpha")[0]
    identifier = consortium.identifier("alpha", number)
    before, known = desk.record("alpha", identifier), desk.sources()["alpha"]
    assert before is not None
    consortium.change("alpha", [number])
    page = anyio.run(ask_and_save, source(consortium), identifier, desk.keeper())
    after = desk.record("alpha", identifier)
    assert after is not None
    assert after.revision > before.revision
    assert page.records[0].digest is not None
    assert after.digest == page.records[0].digest.hex() != before.digest
    assert desk.sources()["alpha"] == known  # watermark, due time, counters
    assert desk.owners(["default"]) == {}


def test_nothing_is_asked_or_saved_while_an_engine_has_the_group(database: Engine, desk: Desk, consortium: Consortium) -> None:
    """harvest 27, 8"""
    engine = PostgresStore(database)

    async def meet() -> None:
        await engine.claim("default")
        with pytest.raises(Occupied, match="group default is being harvested"):
            await ask_and_save(source(consortium), consortium.identifier("alpha", 1), desk.keeper())
        await engine.close()

    anyio.run(meet)
    assert consortium.log("alpha") == []


def test_a_pause_is_shown_with_its_scope(desk: Desk) -> None:
    """harvest 27"""
    assert desk.pause("group:default", "maintenance", "ann@host")
    assert not desk.pause("group:default", "longer maintenance", "bob@host")
    found = standing("a", configured=SOURCE, stored=KNOWN, switches=desk.switches(), owner=None, now=NOW)
    assert found.error == "paused by an operator (group:default): longer maintenance"
    assert found.next_due is None
    assert desk.resume("group:default")
    assert not desk.resume("group:default")
    with pytest.raises(switches.ScopeError):
        desk.pause("default", "x", "ann@host")


# --------------------------------------------------------- a running engine


class Switchable(CountingStore):
    """Counts, and tells the engine what is paused."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        super().__init__(shapes)
        self.paused: dict[str, str] = {}

    async def switches(self) -> Mapping[str, str]:
        return dict(self.paused)


class Listening(Repositories):
    """Notes who is asked when."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        super().__init__(shapes, sleep=trio.sleep)
        self.asked: list[tuple[str, float]] = []

    async def fetch(self, source: Source, request: Request, *, timeout: float) -> PageReply:  # noqa: ASYNC109
        self.asked.append((source.name, trio.current_time()))
        return await super().fetch(source, request, timeout=timeout)


@pytest.mark.parametrize("values", [{"pause_after_records": 0}, {"pause_mode": PauseMode.VACUUM}, {"pause_seconds": 0.0}])
@pytest.mark.parametrize("scope", ["source:a", "group:first", "all"])
def test_a_switch_stops_a_source_in_mid_list_and_lets_it_go_on(scope: str, values: dict[str, Any]) -> None:
    """harvest 27, 2: in virtual time; the engine looks every 2 s, a page takes 1 s, so 5 s are enough for every page boundary"""
    shapes = {name: Shape.of(100_000, page_size=100, latency=1.0) for name in ("a", "b")}
    groups = {"a": "first", "b": "second"}
    sources = {name: Source(name=name, url=f"http://{name}.org", group=group, **values) for name, group in groups.items()}
    configuration = Configuration(sources=sources, groups={name: Group(name=name, limit=2) for name in groups.values()})
    store, repositories = Switchable(shapes), Listening(shapes)

    async def main() -> None:
        engine = EngineOfHarvest(configuration, store, repositories, clock=trio.current_time, rng=Random(1), read=carried, in_thread=False)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(engine.run, seconds=200.0))
            await trio.sleep(50.5)
            store.paused[scope] = "maintenance"
            await trio.sleep(100.0)
            store.paused.clear()
        moments = {name: [moment - began for who, moment in repositories.asked if who == name] for name in shapes}
        assert [moment for moment in moments["a"] if 56 < moment < 150] == []
        assert len([moment for moment in moments["a"] if moment < 50]) >= 48
        assert len([moment for moment in moments["a"] if moment > 160]) >= 35
        assert bool([moment for moment in moments["b"] if 56 < moment < 150]) == (scope != "all")

    trio.run(main, clock=MockClock(autojump_threshold=0.0))
