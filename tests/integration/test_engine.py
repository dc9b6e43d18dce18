"""The engine against real servers and a real PostgreSQL: what is stored is what the repository holds, exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Engine as Database

from harvester.client import Client, Reply
from harvester.events import Outcome
from harvester.oai import Request
from harvester.sources import Deletions, EndOfList, Source
from harvester.store import MemoryStore, Totals
from tests import driving
from tests.driving import configuration, harvest, stored, told, undated
from tests.fakes.oai import DAYS, Consortium, Fault, Repository

REPOSITORY = Repository(name="alpha", records=230, deleted_share=0.1, page_size=50)
SETS = ("books", "maps", "maps:old", "music")
NARROW = {
    "latest": datetime(2026, 1, 10, 23, 59, 59, tzinfo=UTC),
    "earliest": datetime(2026, 1, 1, tzinfo=UTC),
    "frozen_now": datetime(2026, 1, 11, 12, tzinfo=UTC),
}

# What servers do differently; whatever it is, a harvest holds what the repository holds. harvest 10, 11, 12, 13, 14, 17, 18, 20
HABITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as the protocol asks": ({}, {}),
    "days": ({"granularity": DAYS}, {}),
    "single-use tokens": ({"token": "single-use"}, {}),
    "one token for the whole list": ({"token": "constant"}, {}),
    "tokens that expire": ({"token_seconds": 600.0}, {}),
    "the last token is absent": ({"end_style": "absent"}, {}),
    "the end is noRecordsMatch": ({"end_style": "no_records_match"}, {}),
    "the end is noRecordsMatch, without a size": (
        {"end_style": "no_records_match", "complete_list_size": False},
        {"end_of_list": EndOfList.NO_RECORDS_MATCH},
    ),
    "the end is an empty page": ({"end_style": "empty_page_then_end"}, {}),
    "no namespace": ({"namespace": "none"}, {}),
    "a prefixed namespace": ({"namespace": "prefixed"}, {}),
    "the namespace on the record": ({"namespace": "on-record"}, {}),
    "a prefixed payload": ({"payload": "prefixed"}, {}),
    "gzip when accepted": ({"gzip": "accepted"}, {}),
    "gzip always": ({"gzip": "always"}, {}),
    "gzip without a label": ({"gzip": "unlabelled"}, {}),
    "deflate": ({"gzip": "deflate"}, {}),
    "raw deflate": ({"gzip": "raw-deflate"}, {}),
    "no completeListSize": ({"complete_list_size": False}, {}),
    "completeListSize too high": ({"complete_list_size": "too-high"}, {}),
    "completeListSize too low": ({"complete_list_size": "too-low"}, {}),
    "cursor is size": ({"complete_list_size": "cursor-is-size"}, {}),
    "a clock ten minutes ahead": ({"clock_offset": 600.0}, {}),
    "a clock ten minutes behind": ({"clock_offset": -600.0}, {}),
    "errors as HTTP statuses": ({"errors_status": "folio"}, {}),
    "errors with status 500": ({"errors_status": 500}, {}),
    "windows of a day": (NARROW, {"windows": 86400.0}),
    "windows of a day, days": ({**NARROW, "granularity": DAYS}, {"windows": 86400.0}),
    "oai_dc": ({}, {"metadata_prefix": "oai_dc"}),
    "one record to a page": ({"page_size": 1, "records": 23}, {}),
    "all on one page": ({"page_size": 1000}, {}),
}


@pytest.mark.parametrize("habit", HABITS)
def test_a_harvest_and_its_deltas_hold_what_the_repository_holds(database: Database, habit: str) -> None:
    """harvest 10, 11, 12, 13, 17, 18, 19, 20, 22"""
    manners, settings = HABITS[habit]
    repository = replace(REPOSITORY, **manners)
    prefix = settings.get("metadata_prefix", "marc21")
    with Consortium([repository]) as consortium:
        chosen = configuration(consortium, "alpha", **settings)
        seen = harvest(chosen, database)
        assert seen.outcome() is Outcome.COMPLETE, seen.passes
        truth = consortium.truth("alpha", prefix=prefix)
        assert stored(database, "alpha") == told(truth)
        deleted = sum(each.deleted for each in truth.values())
        first = seen.totals()
        assert (first.records, first.new, first.deleted, first.failures) == (len(truth), len(truth) - deleted, deleted, 0)

        alive = consortium.live("alpha")
        consortium.change("alpha", alive[:5])
        consortium.delete("alpha", alive[5:8])
        consortium.restore("alpha", [number for number in range(repository.records) if number not in alive][:2])
        consortium.add("alpha", 6)
        seen = harvest(chosen, database)
        assert seen.outcome() is Outcome.COMPLETE, seen.passes
        assert stored(database, "alpha") == told(consortium.truth("alpha", prefix=prefix))
        delta = seen.totals()
        assert delta.new + delta.changed + delta.deleted == 16
        assert delta.records == delta.new + delta.changed + delta.unchanged + delta.deleted

        seen = harvest(chosen, database)
        third = seen.totals()
        assert (third.new, third.changed, third.deleted, third.failures) == (0, 0, 0, 0)
        assert third.records == third.unchanged
        assert stored(database, "alpha") == told(consortium.truth("alpha", prefix=prefix))


def test_a_delta_asks_only_for_what_is_new(database: Database) -> None:
    """harvest 11"""
    with Consortium([REPOSITORY]) as consortium:
        chosen = configuration(consortium, "alpha")
        harvest(chosen, database)
        consortium.change("alpha", [1, 2])
        consortium.reset_stats()
        seen = harvest(chosen, database)
        assert seen.totals() == Totals(records=2, changed=2, pages=1)
        identify, first = consortium.log("alpha")
        assert (identify.verb, first.verb) == ("Identify", "ListRecords")
        assert "from" in first.arguments
        assert "until" not in first.arguments


def test_the_watermark_is_the_servers_time_at_the_start_of_the_pass(database: Database) -> None:
    """harvest 11"""
    moment = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    with Consortium([replace(REPOSITORY, frozen_now=moment)]) as consortium:
        harvest(configuration(consortium, "alpha"), database)
        assert driving.one(database, "SELECT watermark FROM harvest.source") == moment
        consortium.advance("alpha", 3600)
        harvest(configuration(consortium, "alpha", overlap=60.0), database)
        assert driving.one(database, "SELECT watermark FROM harvest.source") == moment + timedelta(hours=1)
        assert consortium.log("alpha")[-1].arguments["from"] == "2026-02-03T04:04:06Z"


def test_a_record_that_changes_behind_the_cursor_of_a_long_list_comes_with_the_next_pass(database: Database) -> None:
    """harvest 11"""
    start = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    with Consortium([replace(REPOSITORY, frozen_now=start)]) as consortium:
        number = consortium.live("alpha")[0]

        class Meddling(Client):
            """The list takes ten minutes; a record of its first page changes in the second of them, and the list does not show it."""

            pages = 0

            async def fetch(self, source: Source, request: Request, *, timeout: float) -> Reply:  # noqa: ASYNC109
                reply = await super().fetch(source, request, timeout=timeout)
                self.pages += request.verb == "ListRecords"
                if self.pages == 4:
                    consortium.advance("alpha", 600)
                if self.pages == 5:
                    consortium.change("alpha", [number], backdated=start + timedelta(minutes=1))
                return reply

        chosen = configuration(consortium, "alpha", overlap=0.0)
        assert harvest(chosen, database, transport=Meddling()).outcome() is Outcome.COMPLETE
        assert stored(database, "alpha") != told(consortium.truth("alpha"))
        assert harvest(chosen, database).totals().changed == 1
        assert stored(database, "alpha") == told(consortium.truth("alpha"))


@pytest.mark.parametrize("granularity", [{}, {"granularity": DAYS}], ids=["seconds", "days"])
def test_sets_are_harvested_one_after_the_other(database: Database, granularity: dict[str, Any]) -> None:
    """harvest 20"""
    with Consortium([replace(REPOSITORY, sets=SETS, **granularity)]) as consortium:
        chosen = configuration(consortium, "alpha", sets=("maps", "music"))
        seen = harvest(chosen, database)
        truth = {**consortium.truth("alpha", of_set="maps"), **consortium.truth("alpha", of_set="music")}
        assert seen.outcome() is Outcome.COMPLETE
        assert stored(database, "alpha") == told(truth)
        assert len(truth) < REPOSITORY.records
        consortium.change("alpha", consortium.live("alpha")[:20])
        consortium.delete("alpha", consortium.live("alpha")[20:30])
        harvest(chosen, database)
        truth = {**consortium.truth("alpha", of_set="maps"), **consortium.truth("alpha", of_set="music")}
        assert stored(database, "alpha") == told(truth)


def test_touched_records_are_not_written_again(database: Database) -> None:
    """harvest 22"""
    with Consortium([REPOSITORY]) as consortium:
        chosen = configuration(consortium, "alpha")
        harvest(chosen, database)
        versions = "SELECT identifier, xmin::text, revision FROM harvest.record ORDER BY identifier"
        before = driving.rows(database, versions)
        consortium.touch("alpha", range(40))
        seen = harvest(chosen, database)
        assert seen.totals() == Totals(records=40, unchanged=40, pages=1)
        assert driving.rows(database, versions) == before


# ------------------------------------------------------- repositories without tombstones

WITHOUT = replace(REPOSITORY, deleted_record="no", deleted_share=0.0)


def test_a_repository_that_keeps_no_deletions_is_named(database: Database) -> None:
    """harvest 10"""
    with Consortium([WITHOUT]) as consortium:
        seen = harvest(configuration(consortium, "alpha"), database)
        assert "deletedRecord=no" in (seen.passes["alpha"].warning or "")
        assert "deletedRecord=no" in driving.one(database, "SELECT warning FROM harvest.source")


@pytest.mark.parametrize("records", [230, 40])
def test_a_full_pass_finds_what_has_vanished(database: Database, records: int) -> None:
    """harvest 10, 11"""
    with Consortium([replace(WITHOUT, records=records)]) as consortium:
        chosen = configuration(consortium, "alpha", deletions=Deletions.FULL, full_every=1.0)
        harvest(chosen, database)
        consortium.vanish("alpha", [1, 2, 3])
        consortium.change("alpha", [4])
        consortium.add("alpha", 2)
        seen = harvest(chosen, database, at=driving.time.time() + 1000)
        assert seen.totals().deleted == 3
        assert undated({i: row for i, row in stored(database, "alpha").items() if not row[1]}) == undated(told(consortium.truth("alpha")))
        seen = harvest(chosen, database, at=driving.time.time() + 2000)
        assert seen.totals() == Totals(records=records - 1, unchanged=records - 1, pages=-(-(records - 1) // 50))


def test_a_full_pass_that_is_not_due_is_a_delta(database: Database) -> None:
    """harvest 11"""
    with Consortium([WITHOUT]) as consortium:
        chosen = configuration(consortium, "alpha", full_every=30 * 86400.0)
        harvest(chosen, database)
        assert harvest(chosen, database).totals().records == 0
        assert harvest(chosen, database, at=driving.time.time() + 31 * 86400.0).totals().records == 230


def test_a_sweep_finds_what_has_vanished_and_what_is_missing(database: Database) -> None:
    """harvest 10"""
    with Consortium([WITHOUT]) as consortium:
        chosen = configuration(consortium, "alpha", deletions=Deletions.SWEEP, sweep_every=3600.0)
        harvest(chosen, database)
        consortium.vanish("alpha", [1, 2, 3])
        old = datetime(2021, 1, 1, tzinfo=UTC)
        added = consortium.add("alpha", 60, backdated=old)  # a bulk load that no watermark sees
        seen = harvest(chosen, database)
        assert seen.totals().records == 0, "the sweep is not due yet"
        consortium.reset_stats()
        seen = harvest(chosen, database, at=driving.time.time() + 7200)
        assert seen.outcome() is Outcome.COMPLETE
        assert (seen.totals().deleted, seen.totals().new) == (3, 60)
        assert {i: row for i, row in stored(database, "alpha").items() if not row[1]} == told(consortium.truth("alpha"))
        verbs = consortium.stats()["repositories"]["alpha"]["verbs"]
        assert verbs["GetRecord"] == len(added)
        assert verbs["ListRecords"] == 1


def test_a_bulk_load_of_backdated_records_is_found_by_the_next_full_pass(database: Database) -> None:
    """harvest 11"""
    with Consortium([REPOSITORY]) as consortium:
        chosen = configuration(consortium, "alpha", full_every=86400.0)
        harvest(chosen, database)
        consortium.add("alpha", 25, backdated=datetime(2021, 1, 1, tzinfo=UTC))
        assert harvest(chosen, database).totals().new == 0
        assert harvest(chosen, database, at=driving.time.time() + 90000).totals().new == 25
        assert stored(database, "alpha") == told(consortium.truth("alpha"))


def test_drift_between_the_announced_and_the_stored_number_is_reported(database: Database) -> None:
    """harvest 11"""
    with Consortium([replace(REPOSITORY, complete_list_size="too-high")]) as consortium:
        seen = harvest(configuration(consortium, "alpha"), database)
        assert "drift: the repository announced 254 records" in (seen.passes["alpha"].warning or "")


def test_a_full_pass_over_many_vanished_records_is_held(database: Database) -> None:
    """harvest 10, 23"""
    with Consortium([replace(WITHOUT, records=300)]) as consortium:
        chosen = configuration(consortium, "alpha", deletions=Deletions.FULL, full_every=1.0)
        harvest(chosen, database)
        consortium.vanish("alpha", range(120))
        seen = harvest(chosen, database, at=driving.time.time() + 1000)
        assert seen.outcome() is Outcome.HELD
        assert seen.totals().deleted == 0
        assert any(notice.action == "delete.held" for notice in seen.notices)
        assert driving.one(database, "SELECT count(*) FROM harvest.deletion WHERE held") == 120
        consortium.restore("alpha", range(120))
        seen = harvest(chosen, database, at=driving.time.time() + 2000)
        assert seen.outcome() is Outcome.COMPLETE
        assert driving.one(database, "SELECT count(*) FROM harvest.deletion") == 0
        assert undated(stored(database, "alpha")) == undated(told(consortium.truth("alpha")))


# ------------------------------------------------------------------- history


# A list that says noRecordsMatch in its middle, and does so again when it is started anew, fails its window.
BREAK = Fault(kind="no-records-match", verb="ListRecords", nth=(1, 2))


def test_a_failed_window_behind_the_watermark_is_repaired_by_the_next_pass(database: Database) -> None:
    """harvest 11, 12"""
    with Consortium([replace(REPOSITORY, **NARROW, page_size=15)]) as consortium:
        consortium.fault("alpha", BREAK)
        chosen = configuration(consortium, "alpha", windows=86400.0)
        seen = harvest(chosen, database)
        assert seen.outcome() is Outcome.FAILED
        assert "1 of 11 windows failed" in (seen.passes["alpha"].error or "")
        assert driving.rows(database, "SELECT number, since, until FROM harvest.run WHERE state = 'failed'") == [
            (1, None, datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC))
        ]
        missing = told(consortium.truth("alpha")).keys() - stored(database, "alpha").keys()
        assert 0 < len(missing) < 15
        seen = harvest(chosen, database)
        assert seen.outcome() is Outcome.COMPLETE
        assert stored(database, "alpha") == told(consortium.truth("alpha"))
        assert driving.one(database, "SELECT count(*) FROM harvest.run WHERE state IN ('failed', 'running', 'gap')") == 0


def test_a_gap_is_repaired_by_the_same_engine_that_made_it_and_only_once(database: Database) -> None:
    """harvest 11"""
    seen = driving.Seen()

    def passes() -> int:
        return sum(isinstance(each, driving.PassFinished) for each in seen.happenings)

    with Consortium([replace(REPOSITORY, **NARROW, page_size=15)]) as consortium:
        consortium.fault("alpha", BREAK)

        async def four_passes(engine: Any) -> None:
            while passes() < 4:
                await driving.anyio.sleep(1)
            engine.stop()

        harvest(configuration(consortium, "alpha", windows=86400.0, interval=10.0), database, once=False, during=four_passes, seen=seen)
        assert stored(database, "alpha") == told(consortium.truth("alpha"))
        bounded = [
            entry.arguments.get("until")
            for entry in consortium.log("alpha")
            if entry.verb == "ListRecords" and "from" not in entry.arguments
        ]
        assert bounded.count("2026-01-01T23:59:59Z") == 3, "the window, its second try, its repair"


def test_a_failed_open_window_keeps_the_watermark_and_leaves_no_gap_to_repair(database: Database) -> None:
    """harvest 11, 12"""
    with Consortium([REPOSITORY]) as consortium:
        chosen = configuration(consortium, "alpha")
        harvest(chosen, database)
        before = driving.one(database, "SELECT watermark FROM harvest.source")
        consortium.advance("alpha", 60)
        consortium.change("alpha", consortium.live("alpha")[:60])
        consortium.fault("alpha", BREAK)
        seen = harvest(chosen, database)
        assert seen.outcome() is Outcome.FAILED
        assert "end_of_list: no_records_match" in (seen.passes["alpha"].error or "")
        assert driving.one(database, "SELECT watermark FROM harvest.source") == before
        consortium.reset_stats()
        assert harvest(chosen, database).outcome() is Outcome.COMPLETE
        assert stored(database, "alpha") == told(consortium.truth("alpha"))
        harvest(chosen, database)
        assert consortium.stats()["repositories"]["alpha"]["verbs"] == {"Identify": 2, "ListRecords": 4}


def test_windows_cut_a_history(database: Database) -> None:
    """harvest 11"""
    with Consortium([replace(REPOSITORY, **NARROW)]) as consortium:
        harvest(configuration(consortium, "alpha", windows=3 * 86400.0), database)
        spans = driving.rows(database, "SELECT since, until, state FROM harvest.run ORDER BY number")
        edges = [datetime(2026, 1, day, tzinfo=UTC) for day in (4, 7, 10)]
        second = timedelta(seconds=1)
        assert [since for since, _, _ in spans] == [None, *edges]
        assert [until for _, until, _ in spans] == [*(edge - second for edge in edges), datetime(2026, 1, 11, 12, tzinfo=UTC)]
        assert {state for _, _, state in spans} == {"complete"}
        assert stored(database, "alpha") == told(consortium.truth("alpha"))


def test_the_ledger_and_the_source_agree_with_the_records(database: Database) -> None:
    """harvest 24"""
    with Consortium([REPOSITORY]) as consortium:
        chosen = configuration(consortium, "alpha")
        harvest(chosen, database)
        consortium.change("alpha", [1, 2, 3])
        consortium.delete("alpha", consortium.live("alpha")[10:15])
        harvest(chosen, database)
        counted = driving.rows(database, "SELECT sum(new), sum(changed), sum(deleted), sum(pages) FROM harvest.run")
        known = driving.rows(database, "SELECT count(*) FILTER (WHERE NOT deleted), count(*) FILTER (WHERE deleted) FROM harvest.record")
        assert driving.rows(database, "SELECT live, deleted FROM harvest.source") == known
        assert counted[0][0] - (counted[0][2] - (REPOSITORY.records - counted[0][0])) == known[0][0]
        assert counted[0][3] == driving.one(database, "SELECT count(*) FROM harvest.page")
        assert driving.one(database, "SELECT count(*) FROM harvest.run WHERE state <> 'complete' OR finished_at IS NULL") == 0
        runs = "SELECT count(*) FROM harvest.record r LEFT JOIN harvest.run u ON u.id = r.run WHERE u.id IS NULL"
        assert driving.one(database, runs) == 0


def test_both_stores_hold_the_same_after_the_same_harvests(database: Database) -> None:
    """harvest 21, 22"""
    memory = MemoryStore()
    with Consortium([REPOSITORY]) as consortium:
        chosen = configuration(consortium, "alpha")
        for _ in range(3):
            first, second = harvest(chosen, database), harvest(chosen, memory)
            assert first.totals() == second.totals()
            assert stored(database, "alpha") == stored(memory, "alpha")
            consortium.change("alpha", consortium.live("alpha")[:7])
            consortium.delete("alpha", consortium.live("alpha")[7:9])
            consortium.add("alpha", 3)
