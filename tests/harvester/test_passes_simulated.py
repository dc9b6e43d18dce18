"""Whole passes against a pure repository that fails in every way: what is harvested in the end is always the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester import oai, passes
from harvester.course import Course, Gap, Memory, dump, load
from harvester.errors import (
    BadResumptionToken,
    Busy,
    HarvestError,
    IdDoesNotExist,
    Interrupted,
    NoRecordsMatch,
    NotDelivered,
    NotOai,
    Refused,
    ServerFailed,
    TooLarge,
    Truncated,
)
from harvester.passes import Closed, Finished, Later, More
from harvester.sources import Source, TokenRetry

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
# What may happen to one request, and whether the repository has worked on it (so that a single-use token is spent).
FAULTS = {
    "refused connection": (NotDelivered("no"), False),
    "busy": (Busy("busy"), False),
    "busy for a while": (Busy("busy", retry_at=NOW + 60), False),
    "busy for long": (Busy("busy", retry_at=NOW + 10**6), False),
    "reset": (Interrupted("reset"), True),
    "failed": (ServerFailed("500"), True),
    "cut": (Truncated("cut"), True),
    "html": (NotOai("html"), True),
    "too large": (TooLarge("large"), True),
    "token lost": (BadResumptionToken("badResumptionToken", "gone"), True),
    "hidden failure": (NoRecordsMatch("noRecordsMatch", "hidden"), True),
    "forbidden": (Refused("403"), False),
}


class Repository:
    """A repository as a function: records by the second of their datestamp, pages, tokens, and what goes wrong next."""

    def __init__(
        self, stamps: list[int], *, size: int, single_use: bool, faults: Iterator[str], poison: frozenset[int] = frozenset()
    ) -> None:
        self.records = {f"oai:x:{number}": (BEGAN + timedelta(seconds=stamp), number) for number, stamp in enumerate(stamps)}
        self.size = size
        self.single_use = single_use
        self.faults = faults
        self.poison = poison
        self.tokens: dict[str, tuple[tuple[str, str | None, str | None], int]] = {}
        self.requests: list[oai.Request] = []

    def answer(self, request: oai.Request, now: float) -> oai.Page:
        self.requests.append(request)
        fault = next(self.faults, "")
        error, worked = FAULTS.get(fault, (None, True))
        arguments = dict(request.arguments)
        token = arguments.get("resumptionToken")
        if isinstance(error, BadResumptionToken | NoRecordsMatch) and token is None:
            error = None  # these would be right answers, or the end of a list, without a token
        page = None
        if worked:
            page = self.work(request, arguments, token, now)
        if error is not None:
            raise error
        assert page is not None
        return page

    def work(self, request: oai.Request, arguments: dict[str, str], token: str | None, now: float) -> oai.Page:
        moment = datetime.fromtimestamp(now, UTC)
        if request.verb == "Identify":
            identity = oai.Identity(
                repository_name="x",
                base_url="x",
                protocol_version="2.0",
                earliest=oai.format_moment(BEGAN, seconds=True),
                deleted_record="persistent",
                granularity="YYYY-MM-DDThh:mm:ssZ",
            )
            return oai.Page(verb="Identify", response_date=moment, identity=identity)
        if request.verb == "GetRecord":
            if arguments["identifier"] not in self.records:
                raise IdDoesNotExist("idDoesNotExist", "")
            if self.records[arguments["identifier"]][1] in self.poison:
                raise ServerFailed("poison")
            return self.page("GetRecord", [arguments["identifier"]], None, moment, None)
        if token is not None:
            if token not in self.tokens:
                raise BadResumptionToken("badResumptionToken", "unknown or spent")
            asked, offset = self.tokens[token]
            if self.single_use:
                del self.tokens[token]
        else:
            asked, offset = (request.verb, arguments.get("from"), arguments.get("until")), 0
        low, high = (oai.parse_moment(each or "") for each in asked[1:])
        found = [name for name, (stamp, _) in self.records.items() if (low is None or stamp >= low) and (high is None or stamp <= high)]
        if not found:
            raise NoRecordsMatch("noRecordsMatch", "")
        chosen = found[offset : offset + self.size]
        if request.verb == "ListRecords" and any(self.records[name][1] in self.poison for name in chosen):
            raise ServerFailed("poison")
        following = None
        if offset + self.size < len(found):
            following = f"{asked}:{offset + self.size}:{len(self.requests) if self.single_use else ''}"
            self.tokens[following] = (asked, offset + self.size)
        return self.page(request.verb, chosen, following, moment, len(found))

    def page(self, verb: str, names: list[str], token: str | None, moment: datetime, size: int | None) -> oai.Page:
        records = tuple(
            oai.Record(
                identifier=name,
                datestamp=oai.format_moment(self.records[name][0], seconds=True),
                deleted=False,
                payload=None if verb == "ListIdentifiers" else name.encode(),
                digest=None if verb == "ListIdentifiers" else hashlib.sha256(name.encode()).digest(),
            )
            for name in names
        )
        return oai.Page(
            verb=verb,
            response_date=moment,
            records=records,
            token=oai.Token(value=token) if token else None,
            complete_list_size=size,
            digest=oai.fingerprint(list(records), []),
        )


class Harvest:
    """The engine without its loop: asks, accepts or rejects, and keeps what a store would keep."""

    def __init__(self, source: Source, repository: Repository, *, crash: frozenset[int] = frozenset()) -> None:
        self.source = source
        self.repository = repository
        self.memory = Memory()
        self.now = NOW
        self.rng = Random(1)
        self.kept: dict[str, bytes] = {}
        self.failed: dict[str, str] = {}
        self.gaps: dict[int, Gap] = {}
        self.crash = crash
        self.passes = 0

    def one_pass(self) -> Finished | Closed:
        self.passes += 1
        while True:
            course = self.memory.course or passes.begin(self.source, self.memory, now=self.now, id=f"p{self.passes}")
            step = self.step(course)
            if len(self.repository.requests) in self.crash:
                continue  # killed before the commit: nothing of this step is kept
            self.keep(step)
            self.now += 1.0
            if isinstance(step.then, Later):
                assert step.then.until <= self.now + passes.LONGEST_WAIT
                self.now = max(self.now, step.then.until)
            elif not isinstance(step.then, More):
                return step.then

    def step(self, course: Course) -> passes.Step:
        try:
            if (dead := passes.expired(course, self.now)) is not None:
                raise dead
            request, seconds = passes.request(self.source, course)
            assert seconds > 0
            page = self.repository.answer(request, self.now)
        except HarvestError as error:
            return passes.reject(self.source, course, error, now=self.now, rng=self.rng)
        return passes.accept(self.source, course, page, now=self.now, rng=self.rng)

    def keep(self, step: passes.Step) -> None:
        for record in step.records:
            assert record.payload is not None, "bare headers are no records"
            self.kept[record.identifier] = record.payload
            self.failed.pop(record.identifier, None)
        for damage in step.damaged:
            assert damage.identifier is not None
            self.failed[damage.identifier] = damage.reason
        if step.end is not None and step.window is not None:
            if step.end.settles is not None:
                self.gaps.pop(step.end.settles)
            if step.end.state == "failed" and step.window.until is not None:
                run = len(self.gaps) + 1000 * self.passes
                self.gaps[run] = Gap(run=run, since=step.window.since, until=step.window.until, attempts=step.window.attempts)
        watermark = step.watermark or self.memory.watermark
        assert self.memory.watermark is None or (watermark is not None and watermark >= self.memory.watermark), "a watermark went back"
        course = load(dump(step.course)) if step.course is not None else None
        assert course == step.course, "a crash would change the course"
        self.memory = replace(self.memory, course=course, watermark=watermark, gaps=tuple(self.gaps.values()))

    def until_complete(self, most: int) -> None:
        for _ in range(most):
            then = self.one_pass()
            assert isinstance(then, Finished)
            if then.error is None and not self.gaps:
                return
            self.now = max(self.now + self.source.interval, (then.not_before or 0.0) if then.not_before else 0.0)
        pytest.fail(f"not complete after {most} passes")


def harvest_of(
    stamps: list[int],
    faults: list[str],
    *,
    size: int = 3,
    single_use: bool = False,
    retry: TokenRetry = TokenRetry.ONCE,
    poison: frozenset[int] = frozenset(),
    crash: frozenset[int] = frozenset(),
    windows: float | None = None,
) -> Harvest:
    repository = Repository(stamps, size=size, single_use=single_use, faults=iter(faults), poison=poison)
    source = Source(name="x", url="http://x/", token_retry=retry, windows=windows)
    return Harvest(source, repository, crash=crash)


STAMPS = st.lists(st.integers(0, 5_000_000), max_size=25)


@settings(deadline=None, max_examples=150)
@given(
    stamps=STAMPS,
    faults=st.lists(st.sampled_from(["", "", *FAULTS]), max_size=40),
    size=st.integers(1, 6),
    single_use=st.booleans(),
    retry=st.sampled_from(TokenRetry),
    crash=st.frozensets(st.integers(1, 60), max_size=4),
    windows=st.sampled_from([None, None, 20 * 86400.0]),
)
def test_any_finite_sequence_of_failures_ends_complete_with_the_same_records(
    stamps: list[int],
    faults: list[str],
    size: int,
    single_use: bool,
    retry: TokenRetry,
    crash: frozenset[int],
    windows: float | None,
) -> None:
    """harvest 11, 12, 14, 15, 21"""
    work = harvest_of(stamps, faults, size=size, single_use=single_use, retry=retry, crash=crash, windows=windows)
    work.until_complete(len(faults) + 2)
    # A lasting record of a failure is allowed only where a failure hit the GetRecord for it; the record may be missing then.
    assert work.kept.keys() | work.failed.keys() == work.repository.records.keys()
    assert work.kept.keys().isdisjoint(work.failed)
    assert all(work.kept[name] == name.encode() for name in work.kept)
    assert len(work.failed) <= len(faults)
    if all(fault in ("", "refused connection", "busy", "busy for a while", "busy for long") for fault in faults):
        assert not work.failed


@settings(deadline=None, max_examples=60)
@given(
    stamps=st.lists(st.integers(0, 5_000_000), min_size=1, max_size=40),
    bad=st.frozensets(st.integers(0, 39), max_size=3),
    size=st.integers(1, 10),
    single_use=st.booleans(),
)
def test_a_page_that_never_comes_costs_only_the_records_that_break_it(
    stamps: list[int], bad: frozenset[int], size: int, single_use: bool
) -> None:
    """harvest 15, 18: retried, bisected, and at last fetched by ListIdentifiers and GetRecord."""
    poison = frozenset(number for number in bad if number < len(stamps))
    work = harvest_of(stamps, [], size=size, single_use=single_use, poison=poison)
    work.until_complete(3)
    assert set(work.failed) == {f"oai:x:{number}" for number in poison}
    assert set(work.kept) == set(work.repository.records) - set(work.failed)


def test_one_bad_record_among_many_is_found_by_halving() -> None:
    """harvest 18: 600 records in pages of 100; what fails is taken apart until 50 or fewer are left."""
    work = harvest_of(list(range(0, 6_000_000, 10_000)), [], size=100, poison=frozenset({333}))
    work.until_complete(1)
    assert set(work.failed) == {"oai:x:333"}
    assert len(work.kept) == 599
    singles = sum(request.verb == "GetRecord" for request in work.repository.requests)
    assert 1 < singles <= 51
    assert len(work.repository.requests) < 200


def test_a_quiet_pass_asks_identify_once_and_each_page_once() -> None:
    """harvest 10, 21"""
    work = harvest_of(list(range(10)), [], size=3)
    work.until_complete(1)
    assert [request.verb for request in work.repository.requests] == ["Identify"] + ["ListRecords"] * 4
    assert work.memory.watermark == datetime.fromtimestamp(NOW, UTC)


def test_the_next_pass_asks_only_for_what_changed_since_the_start_of_the_last() -> None:
    """harvest 11: five minutes before the server's own time at the start of the first pass."""
    work = harvest_of(list(range(10)), [], size=3)
    work.until_complete(1)
    work.now += 1000
    work.until_complete(1)
    assert dict(work.repository.requests[-1].arguments)["from"] == "2026-03-01T11:55:00Z"
    assert "until" not in dict(work.repository.requests[-1].arguments)
