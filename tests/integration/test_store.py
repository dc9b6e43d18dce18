"""The rules of storing, once, for the store in memory and for the one in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy.engine import Engine as Database

from flows.harvest.store import PostgresStore
from harvester.course import Course, Memory, Method, Window, WindowKind
from harvester.errors import OwnershipLost
from harvester.oai import Damage, Record
from harvester.passes import REPAIRS, Finished, Later, More, Step, WindowEnd
from harvester.sources import Deletions, Source
from harvester.store import MISSING, Commit, Committed, MemoryStore, PassEnd, Totals
from tests import driving

ALPHA = Source(name="alpha", url="https://alpha.example.org/oai")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
AT = DAY.timestamp()


def live(number: int, content: str = "first", *, sets: tuple[str, ...] = ()) -> Record:
    payload = f"<record>{number} {content}</record>".encode()
    return Record(
        identifier=f"oai:{number:05d}",
        datestamp="2026-01-01",
        deleted=False,
        sets=sets,
        payload=payload,
        digest=hashlib.sha256(payload).digest(),
    )


def gone(number: int, datestamp: str = "2026-01-02") -> Record:
    return Record(identifier=f"oai:{number:05d}", datestamp=datestamp, deleted=True)


def header(number: int) -> Record:
    return Record(identifier=f"oai:{number:05d}", datestamp="2026-01-01", deleted=False)


def damage(number: int | None, snippet: str = "<record") -> Damage:
    return Damage(identifier=None if number is None else f"oai:{number:05d}", place="record 1", reason="not well-formed", snippet=snippet)


@dataclass(kw_only=True)
class Bench:
    """A store and the pass that is written into it, page by page."""

    store: MemoryStore | PostgresStore
    database: Database | None
    source: Source = ALPHA
    pass_id: str = "p1"
    memory: Memory = field(default_factory=Memory)

    def recall(self, source: Source | None = None) -> Memory:
        self.source = source or self.source
        self.memory = anyio.run(self.store.recall, [self.source])[self.source.name]
        return self.memory

    def commit(self, step: Step, **values: Any) -> Committed:
        given = {"verb": "ListRecords", "at": AT, "started": DAY, "epoch": self.memory.epoch, "pass_id": self.pass_id, **values}
        done = anyio.run(self.store.commit, Commit(source=self.source, step=step, **given))
        if done.memory is not None:
            self.memory = done.memory
        return done

    def page(
        self,
        *records: Record,
        damaged: tuple[Damage, ...] = (),
        number: int = 1,
        kind: WindowKind = WindowKind.DELTA,
        since: datetime | None = None,
        until: datetime | None = None,
        attempts: int = 1,
        end: str | None = None,
        settles: int | None = None,
        watermark: datetime | None = None,
        note_seen: bool = False,
        compare: bool = False,
        bare: bool = False,
        **values: Any,
    ) -> Committed:
        """One page of one window."""
        window = Window(
            number=number, kind=kind, since=since, until=until, attempts=attempts, method=Method.IDENTIFIERS if bare else Method.RECORDS
        )
        course = Course(id=self.pass_id, full=kind is WindowKind.FULL, sweep=kind is WindowKind.SWEEP, started=DAY, windows=(window,))
        step = Step(
            course=course,
            then=More(),
            window=window,
            records=records,
            damaged=damaged,
            end=WindowEnd(state=end, settles=settles) if end else None,
            watermark=watermark,
            note_seen=note_seen,
            compare=compare,
            bare=bare,
        )
        return self.commit(step, **values)

    def finish(
        self, *, error: str | None = None, full: bool = False, swept: bool = False, due_at: float = AT + 120, failures: int = 0
    ) -> Committed:
        """The end of the pass; the next one has another name."""
        end = PassEnd(error=error, due_at=due_at, failures_in_a_row=failures, full=full, swept=swept)
        done = self.commit(Step(course=None, then=Finished(error=error)), verb="", end=end)
        self.pass_id += "'"
        return done

    def window(self, *records: Record, **values: Any) -> Committed:
        """A window of one page, complete."""
        return self.page(*records, **{"end": "complete", **values})

    def rows(self) -> dict[str, tuple[bool, bytes | None]]:
        """identifier -> deleted, payload"""
        if isinstance(self.store, MemoryStore):
            held = self.store.records.get(self.source.name, {})
            return {identifier: (each.record.deleted, each.record.payload) for identifier, each in held.items()}
        assert self.database is not None
        found = driving.rows(self.database, "SELECT identifier, deleted, payload FROM harvest.record WHERE source = :s", s=self.source.name)
        return {identifier: (deleted, payload) for identifier, deleted, payload in found}

    def revisions(self) -> dict[str, int]:
        if isinstance(self.store, MemoryStore):
            return {identifier: each.revision for identifier, each in self.store.records.get(self.source.name, {}).items()}
        assert self.database is not None
        return dict(driving.rows(self.database, "SELECT identifier, revision FROM harvest.record WHERE source = :s", s=self.source.name))

    def waiting(self) -> dict[str, bool]:
        """Deletions that have not happened: identifier -> whether an operator has to look."""
        if isinstance(self.store, MemoryStore):
            held = self.store.held.get(self.source.name, set())
            return {identifier: identifier in held for identifier in self.store.pending.get(self.source.name, {})}
        assert self.database is not None
        return dict(driving.rows(self.database, "SELECT identifier, held FROM harvest.deletion WHERE source = :s", s=self.source.name))

    def failures(self) -> set[str]:
        if isinstance(self.store, MemoryStore):
            return set(self.store.failures.get(self.source.name, {}))
        assert self.database is not None
        found = driving.rows(self.database, "SELECT identifier FROM harvest.failure WHERE source = :s", s=self.source.name)
        return {identifier for (identifier,) in found}


@pytest.fixture(params=["memory", "postgres"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "memory":
        bench = Bench(store=MemoryStore(), database=None)
    else:
        database = request.getfixturevalue("database")
        bench = Bench(store=PostgresStore(database), database=database)
    bench.recall()
    yield bench
    if isinstance(bench.store, PostgresStore):
        anyio.run(bench.store.close)


def partition(totals: Totals) -> bool:
    """Every record is exactly one of them."""
    return totals.records == totals.new + totals.changed + totals.unchanged + totals.deleted


# ------------------------------------------------------------------ counting


def test_records_are_new_then_unchanged_then_changed(bench: Bench) -> None:
    """harvest 22, 24"""
    first = bench.page(live(1), live(2)).page
    again = bench.page(live(1), live(2)).page
    other = bench.page(live(1, "second"), live(2), live(3)).page
    assert first == Totals(records=2, new=2, pages=1)
    assert again == Totals(records=2, unchanged=2, pages=1)
    assert other == Totals(records=3, new=1, changed=1, unchanged=1, pages=1)
    assert bench.rows()["oai:00001"] == (False, b"<record>1 second</record>")


def test_a_record_that_comes_twice_in_a_page_is_stored_once_and_the_last_one_counts(bench: Bench) -> None:
    """harvest 22"""
    page = bench.page(live(1, "first"), live(2), live(1, "second"), live(2)).page
    assert page == Totals(records=4, new=2, unchanged=2, pages=1)
    assert bench.rows() == {"oai:00001": (False, b"<record>1 second</record>"), "oai:00002": (False, b"<record>2 first</record>")}


def test_a_tombstone_of_an_unknown_record_is_stored_at_once(bench: Bench) -> None:
    """harvest 19"""
    page = bench.page(gone(1)).page
    assert page == Totals(records=1, deleted=1, pages=1)
    assert bench.rows() == {"oai:00001": (True, None)}
    assert bench.page(gone(1)).page == Totals(records=1, unchanged=1, pages=1)


def test_deletions_wait_for_the_end_of_their_window_and_keep_the_last_payload(bench: Bench) -> None:
    """harvest 19, 23"""
    bench.window(live(1), live(2))
    noted = bench.page(gone(1), number=2)
    assert noted.page == Totals(records=1, pages=1)
    assert bench.rows()["oai:00001"][0] is False
    ended = bench.window(live(2), number=2)
    assert ended.page == Totals(records=1, unchanged=1, deleted=1, pages=1)
    assert bench.rows() == {"oai:00001": (True, b"<record>1 first</record>"), "oai:00002": (False, b"<record>2 first</record>")}
    assert (ended.live, ended.known) == (1, 2)
    assert bench.waiting() == {}


def test_a_failed_window_deletes_nothing(bench: Bench) -> None:
    """harvest 23"""
    bench.window(live(1))
    bench.page(gone(1), number=2, until=DAY)
    bench.page(number=2, until=DAY, end="failed")
    assert bench.rows()["oai:00001"][0] is False
    assert bench.waiting() == {"oai:00001": False}


def test_deleted_and_restored_with_the_same_content_is_restored(bench: Bench) -> None:
    """harvest 19"""
    bench.window(live(1))
    bench.window(gone(1), number=2)
    before = bench.revisions()["oai:00001"]
    restored = bench.window(live(1), number=3)
    assert restored.page == Totals(records=1, changed=1, pages=1)
    assert bench.rows()["oai:00001"] == (False, b"<record>1 first</record>")
    assert bench.revisions()["oai:00001"] > before
    assert (restored.live, restored.known) == (1, 1)


def test_a_tombstone_that_was_unknown_is_restored_with_its_content(bench: Bench) -> None:
    """harvest 19"""
    bench.window(gone(1))
    assert bench.window(live(1), number=2).page == Totals(records=1, changed=1, pages=1)
    assert bench.rows()["oai:00001"] == (False, b"<record>1 first</record>")


def test_a_tombstone_that_is_followed_by_its_record_deletes_nothing(bench: Bench) -> None:
    """harvest 19"""
    bench.window(live(1))
    bench.page(gone(1), number=2)
    bench.window(live(1), number=2)
    assert bench.rows()["oai:00001"][0] is False
    assert bench.waiting() == {}


def test_within_a_page_the_last_word_about_a_record_counts(bench: Bench) -> None:
    """harvest 19"""
    bench.window(live(1), live(2))
    bench.window(gone(1), live(1), live(2), gone(2), number=2)
    assert {identifier: deleted for identifier, (deleted, _) in bench.rows().items()} == {"oai:00001": False, "oai:00002": True}


def test_counts_of_a_pass_add_up_to_its_records_even_when_its_list_began_again(bench: Bench) -> None:
    """harvest 24"""
    bench.window(*(live(number) for number in range(10)))
    bench.finish()
    bench.page(gone(0), gone(1), live(2, "second"), live(20), number=1)
    bench.page(gone(0), gone(1), live(2, "second"), live(20), number=1)  # the list began again
    bench.window(gone(30), live(3), number=1)
    totals = bench.finish().totals
    assert totals == Totals(records=10, new=1, changed=1, unchanged=5, deleted=3, pages=3)
    assert partition(totals)


def test_a_tombstone_that_waits_from_a_failed_pass_is_counted_where_it_happens(bench: Bench) -> None:
    """harvest 24"""
    bench.window(live(1), live(2))
    bench.finish()
    bench.page(gone(1))
    bench.finish(error="the list broke")
    bench.window(gone(1), live(2))
    assert bench.finish().totals == Totals(records=2, unchanged=1, deleted=1, pages=1)


def test_identify_is_no_page_and_a_failure_is_no_record(bench: Bench) -> None:
    """harvest 24"""
    assert bench.page(verb="Identify").page == Totals()
    assert bench.page(live(1), damaged=(damage(2),)).page == Totals(records=1, new=1, failures=1, pages=1)


# ------------------------------------------------------------------- holding

HOLDS = [
    # known, deletions, held: more than a quarter, and at least a hundred
    (396, 99, False),
    (390, 99, False),  # more than a quarter, but fewer than a hundred
    (400, 100, False),  # exactly a quarter
    (399, 100, True),
    (300, 300, True),
    (99, 99, False),
]


@pytest.mark.parametrize(("known", "deletions", "held"), HOLDS)
def test_a_run_is_held_above_a_quarter_and_a_hundred_and_only_then(bench: Bench, known: int, deletions: int, held: bool) -> None:
    """harvest 23"""
    bench.window(*(live(number) for number in range(known)))
    done = bench.window(*(gone(number) for number in range(deletions)), number=2)
    assert (done.hold is not None) is held
    assert sum(deleted for deleted, _ in bench.rows().values()) == (0 if held else deletions)
    assert bench.waiting() == ({f"oai:{number:05d}": True for number in range(deletions)} if held else {})
    assert done.page.deleted == (0 if held else deletions)
    if done.hold is not None:
        assert (done.hold.deletions, done.hold.known) == (deletions, known)


def test_records_of_the_same_page_count_as_known_before_deletions_are_held(bench: Bench) -> None:
    """harvest 23"""
    bench.window(*(live(number) for number in range(200)))
    done = bench.window(*(gone(number) for number in range(110)), *(live(number) for number in range(200, 500)), number=2)
    assert done.hold is None  # 110 of 500
    assert done.live == 390


def test_held_deletions_survive_later_passes_and_do_not_happen(bench: Bench) -> None:
    """harvest 23"""
    bench.window(*(live(number) for number in range(200)))
    bench.finish()
    bench.window(*(gone(number) for number in range(150)))
    bench.finish()
    later = bench.window(gone(0), gone(199), live(198, "second"))
    assert later.hold is None
    assert bench.rows()["oai:00199"][0] is True
    assert bench.rows()["oai:00000"][0] is False
    assert sum(bench.waiting().values()) == 150
    assert partition(bench.finish().totals)


def test_a_record_that_is_alive_again_leaves_the_held_deletions(bench: Bench) -> None:
    """harvest 23"""
    bench.window(*(live(number) for number in range(200)))
    bench.window(*(gone(number) for number in range(150)), number=2)
    bench.window(live(7), live(8, "second"), number=3)
    assert len(bench.waiting()) == 148
    assert not {"oai:00007", "oai:00008"} & bench.waiting().keys()


def test_a_header_alone_says_that_its_record_is_alive(bench: Bench) -> None:
    """harvest 10, 23"""
    bench.window(*(live(number) for number in range(200)))
    bench.window(*(gone(number) for number in range(150)), number=2)
    page = bench.page(header(7), number=3, kind=WindowKind.SWEEP, bare=True).page
    assert page == Totals(pages=1)
    assert "oai:00007" not in bench.waiting()
    assert bench.rows()["oai:00007"] == (False, b"<record>7 first</record>")


# ------------------------------------------------------------------ failures


def test_a_failure_is_noted_until_the_record_comes_well(bench: Bench) -> None:
    """harvest 18"""
    bench.page(live(1), damaged=(damage(2), damage(3), damage(None, "<record><header>?")))
    assert {"oai:00002", "oai:00003"} < bench.failures()
    assert len(bench.failures()) == 3
    bench.page(live(2), gone(3))
    assert len(bench.failures()) == 1
    assert all(name.startswith("unidentified:") for name in bench.failures())


def test_a_tombstone_clears_the_failure_of_a_live_record_too(bench: Bench) -> None:
    """harvest 18"""
    bench.page(live(1))
    bench.page(damaged=(damage(1),))
    bench.page(gone(1))
    assert bench.failures() == set()


def test_the_same_failure_again_is_one_failure(bench: Bench) -> None:
    """harvest 18"""
    for _ in range(3):
        bench.page(damaged=(damage(1), damage(None, "<x")))
    assert len(bench.failures()) == 2


def test_a_bare_header_does_not_clear_a_failure(bench: Bench) -> None:
    """harvest 18"""
    bench.page(damaged=(damage(1),))
    bench.page(header(1), kind=WindowKind.SWEEP, number=2, bare=True)
    assert bench.failures() == {"oai:00001"}


# ----------------------------------------------------------- seeing everything

FULL = replace(ALPHA, deletions=Deletions.FULL, full_every=86400.0)
SWEEP = replace(ALPHA, deletions=Deletions.SWEEP, sweep_every=86400.0)


def begin(bench: Bench, kind: WindowKind) -> None:
    """Identify of a full pass or a sweep: what was seen before is forgotten."""
    from harvester.oai import Identity

    identity = Identity(
        repository_name="", base_url="", protocol_version="2.0", earliest="", deleted_record="no", granularity="YYYY-MM-DDThh:mm:ssZ"
    )
    course = Course(id=bench.pass_id, full=kind is WindowKind.FULL, sweep=kind is WindowKind.SWEEP, started=DAY)
    bench.commit(Step(course=course, then=More(), identity=identity), verb="Identify")


def test_a_full_pass_deletes_what_it_did_not_see(bench: Bench) -> None:
    """harvest 10"""
    bench.recall(FULL)
    full = {"kind": WindowKind.FULL, "note_seen": True}
    begin(bench, WindowKind.FULL)
    bench.window(live(1), live(2), live(3), gone(4), **full, compare=True)
    bench.finish(full=True)
    begin(bench, WindowKind.FULL)
    bench.page(live(1), **full)
    ended = bench.window(live(3), damaged=(damage(5),), **full, compare=True)
    assert ended.page == Totals(records=1, unchanged=1, deleted=1, failures=1, pages=1)
    assert {identifier for identifier, (deleted, _) in bench.rows().items() if deleted} == {"oai:00002", "oai:00004"}


def test_a_record_that_could_not_be_read_was_seen(bench: Bench) -> None:
    """harvest 10, 18"""
    bench.recall(FULL)
    begin(bench, WindowKind.FULL)
    bench.window(live(1), kind=WindowKind.FULL, note_seen=True)
    bench.finish(full=True)
    begin(bench, WindowKind.FULL)
    bench.window(damaged=(damage(1),), kind=WindowKind.FULL, note_seen=True, compare=True)
    assert bench.rows()["oai:00001"][0] is False


def test_a_full_pass_over_an_emptied_repository_is_held(bench: Bench) -> None:
    """harvest 10, 23"""
    bench.recall(FULL)
    full = {"kind": WindowKind.FULL, "note_seen": True, "compare": True}
    begin(bench, WindowKind.FULL)
    bench.window(*(live(number) for number in range(120)), **full)
    bench.finish(full=True)
    begin(bench, WindowKind.FULL)
    done = bench.window(**{**full, "note_seen": False})
    assert done.hold is not None
    assert done.hold.deletions == 120
    assert len(bench.waiting()) == 120


def test_a_sweep_deletes_what_has_vanished_and_names_what_is_missing(bench: Bench) -> None:
    """harvest 10"""
    bench.recall(SWEEP)
    bench.window(live(1), live(2), gone(3))
    bench.finish()
    begin(bench, WindowKind.SWEEP)
    done = bench.window(
        header(1), header(3), header(4), gone(5), kind=WindowKind.SWEEP, note_seen=True, compare=True, bare=True, verb="ListIdentifiers"
    )
    assert done.missing == ("oai:00003", "oai:00004")
    assert {identifier: deleted for identifier, (deleted, _) in bench.rows().items()} == {
        "oai:00001": False,
        "oai:00002": True,
        "oai:00003": True,
        "oai:00005": True,
    }


def test_too_many_missing_records_make_a_full_pass_due(bench: Bench) -> None:
    """harvest 10"""
    bench.recall(SWEEP)
    sweep = {"kind": WindowKind.SWEEP, "note_seen": True, "bare": True}
    begin(bench, WindowKind.SWEEP)
    bench.page(*(header(number) for number in range(MISSING)), **sweep)
    done = bench.window(header(MISSING), **sweep, compare=True)
    assert done.missing == ()
    assert bench.finish(swept=True).memory == replace(bench.memory, full_due=True)
    assert bench.recall().full_due
    bench.finish(full=True)
    assert not bench.recall().full_due


# -------------------------------------------------------------------- ledger


def test_gaps_are_failed_windows_behind_the_watermark(bench: Bench) -> None:
    """harvest 11"""
    week = DAY - timedelta(days=7)
    bench.page(number=1, kind=WindowKind.FULL, until=week, end="failed", watermark=week)
    bench.page(number=2, kind=WindowKind.FULL, since=week + timedelta(seconds=1), end="failed")
    memory = bench.finish(error="two windows failed", failures=1).memory
    assert memory is not None
    assert [(gap.since, gap.until, gap.attempts) for gap in memory.gaps] == [(None, week, 1)]
    assert memory.gaps == bench.recall().gaps


def test_a_gap_is_tried_a_bounded_number_of_times(bench: Bench) -> None:
    """harvest 11"""
    week = DAY - timedelta(days=7)
    bench.page(number=1, kind=WindowKind.FULL, until=week, end="failed", watermark=week)
    bench.finish(error="failed", failures=1)
    tried = 1
    while bench.memory.gaps:
        (gap,) = bench.memory.gaps
        assert gap.attempts == tried
        tried += 1
        bench.page(number=1, kind=WindowKind.REPAIR, until=week, end="failed", settles=gap.run, attempts=tried)
        bench.finish()
    assert tried == REPAIRS


def test_a_repaired_gap_is_no_gap_any_more(bench: Bench) -> None:
    """harvest 11"""
    week = DAY - timedelta(days=7)
    bench.page(number=1, kind=WindowKind.FULL, until=week, end="failed", watermark=DAY)
    (gap,) = bench.recall().gaps
    bench.window(live(1), number=2, kind=WindowKind.REPAIR, until=week, settles=gap.run, attempts=2)
    assert bench.finish().memory == replace(bench.memory, gaps=())
    assert bench.recall().gaps == ()


def test_a_window_that_covers_a_gap_settles_it(bench: Bench) -> None:
    """harvest 11"""
    week = DAY - timedelta(days=7)
    bench.page(number=1, kind=WindowKind.FULL, since=week, until=DAY - timedelta(days=6), end="failed", watermark=DAY)
    bench.finish(error="failed", failures=1)
    assert len(bench.memory.gaps) == 1
    bench.window(number=1, kind=WindowKind.FULL)
    bench.finish(full=True)
    assert bench.memory.gaps == ()


def test_a_window_that_covers_only_a_part_of_a_gap_leaves_it(bench: Bench) -> None:
    """harvest 11"""
    week = DAY - timedelta(days=7)
    bench.page(number=1, kind=WindowKind.FULL, since=week, until=DAY - timedelta(days=5), end="failed", watermark=DAY)
    bench.window(number=2, kind=WindowKind.DELTA, since=DAY - timedelta(days=6))
    bench.finish()
    assert len(bench.memory.gaps) == 1


# ------------------------------------------------------------ course and source


def test_the_course_the_pause_and_the_wait_come_back_as_they_were(bench: Bench) -> None:
    """harvest 4, 15, 21"""
    window = Window(
        number=3,
        kind=WindowKind.FULL,
        since=DAY,
        token="t\u00f6ken/9 &",
        token_dies=AT + 60.5,
        received=1234,
        size=99,
        recent=("ab", "cd"),
        pending=("oai:1",),
        tries=2,
        lost=1,
    )
    course = Course(id="p1", full=True, sweep=False, started=DAY, windows=(window,), numbered=3, error="once", warnings=("w",), announced=5)
    bench.commit(
        Step(course=course, then=Later(until=AT + 30.25, reason="busy", attempt=2), window=window, watermark=DAY),
        since_pause=4321,
        paused_until=AT + 120.5,
        waiting_until=AT + 30.25,
        attempt=2,
        blocked="a wall",
    )
    memory = bench.recall()
    assert memory.course == course
    assert (memory.since_pause, memory.paused_until, memory.waiting_until) == (4321, AT + 120.5, AT + 30.25)
    assert (memory.attempt, memory.blocked, memory.watermark) == (2, "a wall", DAY)


def test_the_end_of_a_pass_is_remembered(bench: Bench) -> None:
    """harvest 3, 24"""
    bench.window(live(1), watermark=DAY)
    bench.finish(full=True, due_at=AT + 120)
    memory = bench.recall()
    assert (memory.due_at, memory.last_success, memory.last_full, memory.last_sweep) == (AT + 120, AT, AT, None)
    assert (memory.course, memory.error, memory.failures_in_a_row, memory.live, memory.watermark) == (None, None, 0, 1, DAY)
    bench.finish(error="it broke", failures=2, full=True, swept=True)
    failed = bench.recall()
    assert (failed.error, failed.failures_in_a_row, failed.last_success, failed.last_sweep) == ("it broke", 2, AT, None)
    assert failed.watermark == DAY


@pytest.mark.parametrize("change", [{"url": "https://new.example.org/oai"}, {"metadata_prefix": "oai_dc"}, {"sets": ("a",)}], ids=str)
def test_another_identity_begins_from_nothing_and_keeps_its_records(bench: Bench, change: dict[str, Any]) -> None:
    """harvest 7, 21"""
    bench.window(*(live(number) for number in range(200)), watermark=DAY)
    bench.finish(full=True)
    bench.page(*(gone(number) for number in range(150)), end="complete")  # held
    bench.finish()
    bench.page(gone(160), since_pause=77, paused_until=AT + 100, blocked="a wall")  # not the end of the window
    before = bench.memory.epoch
    memory = bench.recall(replace(ALPHA, **change))
    assert memory == Memory(since_pause=77, paused_until=AT + 100, last_success=AT, live=200, epoch=before + 1)
    assert len(bench.rows()) == 200
    assert len(bench.waiting()) == 150, "what an operator is to look at stays; what the other list announced does not"
    bench.window(live(160, "second"))
    assert bench.rows()["oai:00160"][0] is False


def test_the_same_identity_goes_on_where_it_was(bench: Bench) -> None:
    """harvest 21"""
    bench.window(live(1), watermark=DAY)
    bench.finish(full=True)
    before = bench.recall()
    assert bench.recall(replace(ALPHA, interval=5.0, group="other", pause_seconds=1.0)) == before


def test_a_commit_of_an_outdated_epoch_changes_nothing(bench: Bench) -> None:
    """harvest 8, 21"""
    bench.window(live(1), watermark=DAY)
    with pytest.raises(OwnershipLost, match="alpha"):
        bench.page(live(2), live(1, "second"), damaged=(damage(3),), epoch=bench.memory.epoch + 1)
    assert bench.rows() == {"oai:00001": (False, b"<record>1 first</record>")}
    assert bench.failures() == set()
    assert bench.page(live(2)).page == Totals(records=1, new=1, pages=1)


def test_a_forgotten_source_keeps_its_records_and_its_place(bench: Bench) -> None:
    """harvest 7"""
    bench.window(live(1), watermark=DAY)
    bench.finish(full=True)
    anyio.run(bench.store.forget, ["alpha"])
    assert bench.rows()["oai:00001"][0] is False
    assert bench.recall().watermark == DAY


def test_sources_do_not_touch_each_other(bench: Bench) -> None:
    """harvest 22"""
    beta = replace(ALPHA, name="beta", url="https://beta.example.org/oai")
    bench.window(live(1), live(2))
    bench.finish()
    bench.pass_id = "q"
    bench.recall(beta)
    bench.window(live(1, "of beta"), gone(2))
    assert bench.rows() == {"oai:00001": (False, b"<record>1 of beta</record>"), "oai:00002": (True, None)}
    bench.recall(ALPHA)
    assert bench.rows() == {"oai:00001": (False, b"<record>1 first</record>"), "oai:00002": (False, b"<record>2 first</record>")}
