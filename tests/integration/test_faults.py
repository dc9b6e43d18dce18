"""Every fault of the stand-in in every place: the outcome is complete and true, or has a name and loses nothing.

Whatever happened, the pass after the fault has gone makes the store agree with the repository exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from sqlalchemy.engine import Engine as Database

from harvester.events import Outcome
from harvester.sources import TokenRetry
from harvester.store import MemoryStore
from tests import driving
from tests.driving import configuration, harvest, stored, told
from tests.fakes.oai import INSTEAD, KINDS, ON_THE_PAGE, Consortium, Fault, Repository

REPOSITORY = Repository(name="alpha", records=160, deleted_share=0.1, page_size=40, sets=("books", "maps"))
RATE: Final = 400.0  # faster than elsewhere: most of the time goes by in back-off
SETTINGS: Final[dict[str, Any]] = {
    "page_timeout": 200.0,  # half a second of the machine, which "stall", "stall-body" and "drip" cost for every try
    "first_page_timeout": 200.0,
    "page_bytes_limit": 2 * 2**20,
    "interval": 10.0,
    "attempts": 3,
}
TUNED: Final[dict[str, dict[str, Any]]] = {
    "gzip-bomb": {"megabytes": 64},
    "huge-page": {"megabytes": 4},
    "drip": {"piece": 8, "interval": 0.05},
}

WHERE: Final[dict[str, dict[str, Any]]] = {
    "Identify": {"verb": "Identify"},
    "Identify once": {"verb": "Identify", "times": 1},
    "first page once": {"verb": "ListRecords", "page": 1, "times": 1},
    "page 2 once": {"verb": "ListRecords", "page": 2, "times": 1},
    "page 2 always": {"verb": "ListRecords", "page": 2},
    "everything": {},
}
# What cannot be done to every request: these are not in the table.
NO_IDENTIFY = frozenset(ON_THE_PAGE) - {"oai-error"}
HARMLESS = frozenset({"redirect-here", "redirect-elsewhere", "loud-status", "empty-page", "duplicates", "backward-datestamps"})
COSTS_ITS_RECORD = frozenset({"illegal-characters", "illegal-reference", "nul", "malformed-record", "wrong-encoding", "no-metadata"})
OUTSIDE = frozenset({"outside-set", "outside-window", "lost-arguments"})  # records that were not asked for come along
NEVER_RETRIED = frozenset({"401", "403", "404", "redirect-file", "redirect-ftp", "redirect-loop"})


def possible(kind: str, where: str) -> bool:
    """Whether the stand-in can do that."""
    if where.startswith("Identify") and kind in NO_IDENTIFY:
        return False
    return not (where == "first page once" and kind in ("expired-token", "no-records-match"))


SLOW = frozenset({"stall", "stall-body", "drip"})  # seconds of the machine when they come always
CASES = [(kind, where) for kind in KINDS if kind not in {"poison", *OUTSIDE} for where in WHERE if possible(kind, where)]

# httpx leaves the inner generator of a body that is not read to its end to the collector, which trio tells about.
COLLECTED_LATE = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")


def marks(kind: str, where: str) -> list[pytest.MarkDecorator]:
    """What pytest has to know of a case."""
    long = where in ("first page once", "Identify once") or (kind in SLOW and where in ("page 2 always", "everything"))
    return [*([pytest.mark.proof] if long else []), *([COLLECTED_LATE] if kind in ("gzip-bomb", "huge-page") else [])]


PARAMETERS = [pytest.param(kind, where, marks=marks(kind, where), id=f"{kind} - {where}") for kind, where in CASES]


@dataclass(frozen=True)
class Verdict:
    """What may come out of a fault in a place."""

    outcomes: frozenset[Outcome]
    true: bool  # the store agrees with the repository at once


def expected(kind: str, where: str) -> Verdict:
    """The rules, in words: harvest 12 to 18."""
    complete, failed, blocked = (frozenset({each}) for each in (Outcome.COMPLETE, Outcome.FAILED, Outcome.BLOCKED))
    if kind in HARMLESS:
        return Verdict(complete if not (kind == "empty-page" and where == "everything") else complete | failed, kind != "empty-page")
    if kind == "bot-wall":
        return Verdict(blocked, False)
    if kind in NEVER_RETRIED:
        return Verdict(failed, False)
    if kind in COSTS_ITS_RECORD:
        return Verdict(complete, False)
    if kind in ("gzip-bomb", "huge-page") and where == "Identify once":
        return Verdict(failed, False)  # a huge answer to Identify is final
    if kind == "expired-token":
        return Verdict(complete | failed if "once" not in where else complete, "once" in where)
    if "once" in where:
        return Verdict(complete | (failed if kind == "oai-error" else frozenset()), kind != "oai-error")
    if where in ("Identify", "everything"):
        return Verdict(failed, False)
    return Verdict(complete | failed, False)


@pytest.mark.parametrize(("kind", "where"), PARAMETERS)
def test_a_fault_is_survived_or_named_and_nothing_is_lost(kind: str, where: str) -> None:
    """harvest 12, 13, 14, 15, 16, 17, 18"""
    store = MemoryStore()
    verdict = expected(kind, where)
    with Consortium([REPOSITORY]) as consortium:
        handle = consortium.fault("alpha", Fault(kind=kind, **{**WHERE[where], **TUNED.get(kind, {})}))
        chosen = configuration(consortium, "alpha", **SETTINGS)
        truth = told(consortium.truth("alpha"))
        seen = harvest(chosen, store, rate=RATE)
        first = seen.passes["alpha"]
        assert consortium.hits(handle) > 0, "the fault was met"
        assert first.outcome in verdict.outcomes, first
        assert (first.error is None) is (first.outcome is Outcome.COMPLETE)
        now = stored(store, "alpha")
        assert now.items() <= truth.items(), "nothing is stored that is not so"
        if verdict.true:
            assert now == truth
        if first.outcome is Outcome.COMPLETE:
            failures = store.failures["alpha"]
            assert now.keys() | failures.keys() >= truth.keys(), "a record is stored, or its failure is"
            assert len(truth) - len(now) <= len(failures)
        if first.outcome is not Outcome.COMPLETE:
            assert store.memories["alpha"].watermark is None, "no watermark without its records"

        consortium.clear()
        if first.outcome is Outcome.BLOCKED:
            store.memories["alpha"] = replace(store.memories["alpha"], blocked=None, epoch=store.memories["alpha"].epoch + 1)
        store.memories["alpha"] = replace(store.memories["alpha"], full_due=first.outcome is Outcome.COMPLETE)
        again = harvest(chosen, store, rate=RATE)
        assert again.outcome() is Outcome.COMPLETE, again.passes
        assert stored(store, "alpha") == truth
        assert store.failures["alpha"] == {}


@pytest.mark.parametrize("token", ["single-use", "constant"])
@pytest.mark.parametrize("kind", ["500", "reset", "refused", "truncated", "503", "html", "stall"])
@pytest.mark.parametrize("retry", TokenRetry)
def test_tokens_that_work_once_survive_a_lost_answer(token: str, kind: str, retry: TokenRetry) -> None:
    """harvest 14, 15"""
    store = MemoryStore()
    repository = replace(REPOSITORY, token=token, complete_list_size=True)
    with Consortium([repository]) as consortium:
        handle = consortium.fault("alpha", Fault(kind=kind, verb="ListRecords", page=3, times=1))
        seen = harvest(configuration(consortium, "alpha", token_retry=retry, **SETTINGS), store, rate=RATE)
        assert consortium.hits(handle) == 1
        truth = told(consortium.truth("alpha"))
        if token == "single-use" or retry is TokenRetry.NEVER:
            assert seen.outcome() is Outcome.COMPLETE, seen.passes
            assert stored(store, "alpha") == truth
        else:  # the repository has gone on to page 4 when it is asked for page 3 again; only the number of records can tell
            assert stored(store, "alpha").items() <= truth.items()


def test_the_server_sees_no_second_request_where_one_is_enough() -> None:
    """harvest 12, 15"""
    for kind in (*NEVER_RETRIED, "bot-wall"):
        store = MemoryStore()
        with Consortium([REPOSITORY]) as consortium:
            handle = consortium.fault("alpha", Fault(kind=kind, verb="ListRecords"))
            harvest(configuration(consortium, "alpha", **SETTINGS), store, rate=RATE)
            assert consortium.hits(handle) == 1, kind


@pytest.mark.parametrize("records", [160, pytest.param(2000, marks=pytest.mark.proof)])
def test_one_poisoned_record_costs_only_itself(database: Database, records: int) -> None:
    """harvest 18"""
    repository = replace(REPOSITORY, records=records)
    with Consortium([repository]) as consortium:
        number = consortium.live("alpha")[len(consortium.live("alpha")) // 2]
        bad = consortium.identifier("alpha", number)
        consortium.fault("alpha", Fault(kind="poison", number=number))
        chosen = configuration(consortium, "alpha", **SETTINGS)
        seen = harvest(chosen, database)
        assert seen.outcome() is Outcome.COMPLETE
        truth = told(consortium.truth("alpha"))
        now = stored(database, "alpha")
        assert now == {identifier: row for identifier, row in truth.items() if identifier != bad}
        (failure,) = driving.rows(database, "SELECT identifier, place, reason FROM harvest.failure")
        assert failure[0] == bad
        consortium.clear()
        consortium.change("alpha", [number])
        harvest(chosen, database)
        assert stored(database, "alpha") == told(consortium.truth("alpha"))
        assert driving.rows(database, "SELECT 1 FROM harvest.failure") == []


@pytest.mark.parametrize("kind", sorted(COSTS_ITS_RECORD))
def test_one_bad_record_goes_to_the_failures_with_its_identifier_and_place(database: Database, kind: str) -> None:
    """harvest 18, 19"""
    with Consortium([REPOSITORY]) as consortium:
        number = consortium.live("alpha")[17]
        bad = consortium.identifier("alpha", number)
        consortium.fault("alpha", Fault(kind=kind, number=number))
        seen = harvest(configuration(consortium, "alpha", **SETTINGS), database)
        assert seen.outcome() is Outcome.COMPLETE
        assert seen.totals().failures == 1
        assert told(consortium.truth("alpha")).keys() - stored(database, "alpha").keys() == {bad}
        ((identifier, place, reason, snippet),) = driving.rows(database, "SELECT identifier, place, reason, snippet FROM harvest.failure")
        assert identifier == bad
        assert place.startswith("ListRecords, record ")
        assert reason
        assert bad in snippet


@pytest.mark.parametrize("kind", ["outside-set", "lost-arguments"])
def test_records_that_were_not_asked_for_are_kept_and_counted(database: Database, kind: str) -> None:
    """harvest 18"""
    with Consortium([REPOSITORY]) as consortium:
        handle = consortium.fault("alpha", Fault(kind=kind, verb="ListRecords", page=1, times=1))
        seen = harvest(configuration(consortium, "alpha", sets=("books",), **SETTINGS), database)
        assert consortium.hits(handle) == 1
        assert seen.outcome() is Outcome.COMPLETE
        asked = told(consortium.truth("alpha", of_set="books"))
        now = stored(database, "alpha")
        assert now.items() <= told(consortium.truth("alpha")).items()
        assert now.keys() - asked.keys(), "something else came along"
        assert driving.one(database, "SELECT sum(outside) FROM harvest.run") == len(now.keys() - asked.keys())
        if kind == "outside-set":
            assert now.items() >= asked.items()


@pytest.mark.parametrize("kind", ["illegal-characters", "illegal-reference", "nul", "wrong-encoding"])
def test_a_source_may_ask_for_repair(database: Database, kind: str) -> None:
    """harvest 18"""
    with Consortium([REPOSITORY]) as consortium:
        number = consortium.live("alpha")[17]
        consortium.fault("alpha", Fault(kind=kind, number=number))
        seen = harvest(configuration(consortium, "alpha", repair=True, **SETTINGS), database)
        assert seen.outcome() is Outcome.COMPLETE
        assert stored(database, "alpha").keys() == told(consortium.truth("alpha")).keys()
        assert driving.rows(database, "SELECT 1 FROM harvest.failure") == []


@pytest.mark.parametrize("kind", ["truncated", "503", "expired-token", "reset", "malformed-record", "html", "no-records-match"])
def test_a_fault_leaves_postgresql_as_it_leaves_the_memory(database: Database, kind: str) -> None:
    """harvest 12, 14, 15, 21"""
    memory = MemoryStore()
    for store in (memory, database):
        with Consortium([REPOSITORY]) as consortium:
            consortium.fault("alpha", Fault(kind=kind, verb="ListRecords", page=3, times=1))
            chosen = configuration(consortium, "alpha", **SETTINGS)
            chosen = replace(chosen, sources={"alpha": replace(chosen.sources["alpha"], url=consortium.url("alpha"))})
            seen = harvest(chosen, store)
            assert seen.outcome() is Outcome.COMPLETE
            totals = seen.totals()
            assert totals.records == totals.new + totals.changed + totals.unchanged + totals.deleted
            if store is memory:
                expected_totals = totals
            assert totals == expected_totals
    assert stored(database, "alpha") == stored(memory, "alpha")


@pytest.mark.parametrize("kind", ["expired-token", "truncated"])
def test_a_chain_that_always_breaks_is_cut_into_shorter_ones(database: Database, kind: str) -> None:
    """harvest 14"""
    with Consortium([replace(REPOSITORY, records=600)]) as consortium:
        consortium.fault("alpha", Fault(kind=kind, page=6, verb="ListRecords"))
        seen = harvest(configuration(consortium, "alpha", **SETTINGS), database)
        assert seen.outcome() is Outcome.COMPLETE, seen.passes
        assert stored(database, "alpha") == told(consortium.truth("alpha"))
        assert driving.one(database, "SELECT count(*) FROM harvest.run WHERE state = 'replaced'") >= 1


def test_tokens_that_die_young_are_no_obstacle(database: Database) -> None:
    """harvest 14"""
    with Consortium([replace(REPOSITORY, records=600, token_seconds=2.0)]) as consortium:

        class Slow(driving.Client):
            async def fetch(self, source: Any, request: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
                reply = await super().fetch(source, request, timeout=timeout)
                if request.verb == "ListRecords" and len(spent) < 3:
                    spent.append(request)
                    consortium.advance("alpha", 3.0)
                return reply

        spent: list[Any] = []
        seen = harvest(configuration(consortium, "alpha", **SETTINGS), database, transport=Slow())
        assert seen.outcome() is Outcome.COMPLETE, seen.passes
        assert stored(database, "alpha") == told(consortium.truth("alpha"))


def test_a_repository_that_is_down_costs_a_few_requests_and_comes_back(database: Database) -> None:
    """harvest 15"""
    with Consortium([REPOSITORY]) as consortium:
        consortium.fault("alpha", Fault(kind="refused"))
        chosen = configuration(consortium, "alpha", **SETTINGS)
        seen = harvest(chosen, database)
        assert seen.outcome() is Outcome.FAILED
        assert consortium.stats()["total"]["requests"] == 3
        consortium.clear()
        assert harvest(chosen, database).outcome() is Outcome.COMPLETE
        assert stored(database, "alpha") == told(consortium.truth("alpha"))


def test_a_dead_address_is_a_failure_with_the_address_in_it(database: Database) -> None:
    """harvest 15"""
    with Consortium([REPOSITORY]) as consortium:
        dead = configuration(consortium, "alpha", attempts=2)
        dead = replace(dead, sources={"alpha": replace(dead.sources["alpha"], url=consortium.dead_url())})
        seen = harvest(dead, database)
        assert seen.outcome() is Outcome.FAILED
        assert "127.0.0.1" in (seen.passes["alpha"].error or "")


@pytest.mark.parametrize("kind", ["503", "503-date", "429"])
def test_retry_after_is_honoured_and_its_deadline_stored(database: Database, kind: str) -> None:
    """harvest 15"""
    with Consortium([REPOSITORY]) as consortium:
        consortium.fault("alpha", Fault(kind=kind, page=2, times=1, retry_after=300))
        chosen = configuration(consortium, "alpha", **SETTINGS)
        begin = driving.time.time()
        seen = harvest(chosen, database, once=False, seconds=100.0, at=begin)
        assert "alpha" not in seen.passes
        until = driving.one(database, "SELECT extract(epoch FROM waiting_until) FROM harvest.source")
        assert begin + 290 <= float(until) <= begin + 400
        asked = consortium.stats()["total"]["requests"]
        seen = harvest(chosen, database, once=False, seconds=100.0, at=begin + 120)  # another engine, still too early
        assert consortium.stats()["total"]["requests"] == asked
        seen = harvest(chosen, database, at=begin + 250)
        assert seen.outcome() is Outcome.COMPLETE
        assert stored(database, "alpha") == told(consortium.truth("alpha"))


def test_who_asks_for_hours_ends_the_pass_and_is_left_alone(database: Database) -> None:
    """harvest 15"""
    with Consortium([REPOSITORY]) as consortium:
        consortium.fault("alpha", Fault(kind="503", page=2, times=1, retry_after=7200))
        chosen = configuration(consortium, "alpha", **SETTINGS)
        begin = driving.time.time()
        seen = harvest(chosen, database, at=begin)
        assert seen.outcome() is Outcome.FAILED
        due = float(driving.one(database, "SELECT extract(epoch FROM due_at) FROM harvest.source"))
        assert due >= begin + 7200


def test_the_breaker_waits_longer_with_every_failure(database: Database) -> None:
    """harvest 15"""
    with Consortium([REPOSITORY]) as consortium:
        consortium.fault("alpha", Fault(kind="404"))
        chosen = configuration(consortium, "alpha", breaker_failures=2, interval=60.0)
        chosen = replace(chosen, sources={"alpha": replace(chosen.sources["alpha"], interval=60.0)})
        harvest(chosen, database, once=False, seconds=900.0, rate=200.0)
        asked = [entry.at for entry in consortium.log("alpha")]
        # 60 s, then 2 minutes, 4 minutes, 8 minutes (within a tenth): 4 requests in 15 minutes, where the interval alone allowed 16
        assert 3 <= len(asked) <= 5
        assert driving.one(database, "SELECT failures_in_a_row FROM harvest.source") == len(asked)


def test_every_kind_of_fault_is_in_the_table() -> None:
    """harvest 12"""
    assert {kind for kind, _ in CASES} | {"poison"} | OUTSIDE == set(KINDS)
    assert set(INSTEAD) <= {kind for kind, where in CASES if where == "Identify"}
