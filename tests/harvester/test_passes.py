"""The rules of a pass, one at a time: how it begins, its windows, its requests, and what pages mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import oai, passes, windows
from harvester.course import Course, Gap, Memory, Method, Window, WindowKind
from harvester.errors import ListBroken
from harvester.passes import EMPTY_PAGES, Finished, Later, More, Step
from harvester.sources import Deletions, Source

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
STARTED = datetime(2026, 3, 1, 11, 59, 30, tzinfo=UTC)  # the server's clock is half a minute behind
DAY = 86400.0


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def source(**changes: object) -> Source:
    return Source(**{"name": "x", "url": "http://x/", **changes})  # type: ignore[arg-type]


def identity(granularity: str = "YYYY-MM-DDThh:mm:ssZ", deleted: str = "persistent", version: str = "2.0") -> oai.Identity:
    return oai.Identity(
        repository_name="X",
        base_url="http://x/",
        protocol_version=version,
        earliest="2020-01-01T00:00:00Z",
        deleted_record=deleted,
        granularity=granularity,
    )


def identify(**changes: str) -> oai.Page:
    return oai.Page(verb="Identify", response_date=STARTED, identity=identity(**changes))


def begun(of: Source, memory: Memory | None = None, answer: oai.Page | None = None) -> Course:
    """The course after Identify."""
    course = passes.begin(of, memory or Memory(), now=NOW, id="p")
    step = passes.accept(of, course, answer or identify(), now=NOW, rng=Random(1))
    assert step.course is not None
    return step.course


def page(*names: str, token: str | None = None, size: int | None = None, stamp: str = "2026-02-01T00:00:00Z", **extra: object) -> oai.Page:
    records = tuple(oai.Record(identifier=name, datestamp=stamp, deleted=False, payload=b"<a/>", digest=name.encode()) for name in names)
    return oai.Page(
        verb="ListRecords",
        response_date=STARTED,
        records=records,
        token=oai.Token(value=token) if token is not None else None,
        complete_list_size=size,
        digest=oai.fingerprint(list(records), []),
        **extra,  # type: ignore[arg-type]
    )


def accept(of: Source, course: Course | None, got: oai.Page) -> Step:
    assert course is not None
    return passes.accept(of, course, got, now=NOW, rng=Random(1))


def arguments(of: Source, course: Course | None) -> dict[str, str]:
    assert course is not None
    return dict(passes.request(of, course)[0].arguments)


# ------------------------------------------------------------------- begin


@pytest.mark.parametrize(
    ("changes", "memory", "full", "sweep"),
    [
        ({}, Memory(), True, False),
        ({}, Memory(watermark=STARTED), False, False),
        ({}, Memory(watermark=STARTED, full_due=True), True, False),
        ({"full_every": 30 * DAY}, Memory(watermark=STARTED, last_full=NOW - 29 * DAY), False, False),
        ({"full_every": 30 * DAY}, Memory(watermark=STARTED, last_full=NOW - 30 * DAY), True, False),
        ({"full_every": 30 * DAY}, Memory(watermark=STARTED), True, False),
        ({"deletions": Deletions.SWEEP, "sweep_every": DAY}, Memory(watermark=STARTED, last_sweep=NOW - DAY), False, True),
        ({"deletions": Deletions.SWEEP, "sweep_every": DAY}, Memory(watermark=STARTED, last_sweep=NOW - DAY + 1), False, False),
        ({"deletions": Deletions.SWEEP, "sweep_every": DAY}, Memory(watermark=STARTED, last_full=NOW - 60), False, False),
        ({"deletions": Deletions.SWEEP, "sweep_every": DAY}, Memory(), True, False),  # a full pass sees everything anyway
        ({"sweep_every": DAY}, Memory(watermark=STARTED), False, False),
    ],
)
def test_a_pass_is_full_or_a_delta_with_or_without_a_sweep(changes: dict[str, object], memory: Memory, full: bool, sweep: bool) -> None:
    """harvest 10, 11"""
    course = passes.begin(source(**changes), memory, now=NOW, id="p")
    assert (course.full, course.sweep) == (full, sweep)
    assert course.since == (None if full else STARTED)


def test_a_pass_begins_with_identify() -> None:
    """harvest 10, 16"""
    asked, seconds = passes.request(source(), passes.begin(source(), Memory(), now=NOW, id="p"))
    assert (asked, seconds) == (oai.Request(verb="Identify"), 120.0)


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        (identify(deleted="no"), "keeps no deletions"),
        (identify(version="1.1"), "version 1.1"),
        (replace(identify(), response_date=None), "no responseDate"),
        (replace(identify(), response_date=datetime(1, 1, 1, tzinfo=UTC)), "no responseDate"),
        (replace(identify(), response_date=datetime(9999, 12, 31, tzinfo=UTC)), "no responseDate"),
        (identify(), None),
    ],
)
def test_what_identify_says_that_is_unfortunate_is_a_warning(answer: oai.Page, warning: str | None) -> None:
    """harvest 10"""
    warnings = begun(source(), answer=answer).warnings
    assert len(warnings) == (warning is not None)
    assert warning is None or warning in warnings[0]


def test_a_source_that_finds_deletions_otherwise_is_not_warned() -> None:
    """harvest 10"""
    for deletions in (Deletions.SWEEP, Deletions.FULL):
        assert begun(source(deletions=deletions), answer=identify(deleted="no")).warnings == ()


def test_without_a_response_date_the_watermark_is_our_clock_less_a_day() -> None:
    """harvest 11: never our clock alone."""
    assert begun(source(), answer=replace(identify(), response_date=None)).started == datetime.fromtimestamp(NOW - DAY, UTC)


def test_an_identify_that_says_nothing_is_tried_again() -> None:
    """harvest 10, 15"""
    course = passes.begin(source(), Memory(), now=NOW, id="p")
    empty = oai.Page(verb="Identify", response_date=STARTED, identity=identity(granularity="", version=""))
    step = accept(source(), course, empty)
    assert isinstance(step.then, Later)
    assert step.course is not None
    assert step.course.tries == 1


# ----------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("changes", "memory", "granularity", "since"),
    [
        ({}, Memory(), "YYYY-MM-DDThh:mm:ssZ", None),
        ({"start": at("2024-05-05")}, Memory(), "YYYY-MM-DDThh:mm:ssZ", "2024-05-05T00:00:00Z"),
        ({"start": at("2024-05-05")}, Memory(), "YYYY-MM-DD", "2024-05-05"),
        # the watermark less five minutes
        ({}, Memory(watermark=at("2026-02-28T10:00:00.9")), "YYYY-MM-DDThh:mm:ssZ", "2026-02-28T09:55:00Z"),
        ({}, Memory(watermark=at("2026-02-28T00:04:00")), "YYYY-MM-DD", "2026-02-27"),
        ({}, Memory(watermark=at("2026-02-28T10:00:00")), "YYYY-MM-DD", "2026-02-28"),
        ({"overlap": 0.0}, Memory(watermark=at("2026-02-28T10:00:00")), "YYYY-MM-DDThh:mm:ssZ", "2026-02-28T10:00:00Z"),
        ({"overlap": 7 * DAY}, Memory(watermark=at("2026-02-28T10:00:00")), "YYYY-MM-DDThh:mm:ssZ", "2026-02-21T10:00:00Z"),
        ({"start": at("2026-02-28T09:58:00")}, Memory(watermark=at("2026-02-28T10:00:00")), "YYYY-MM-DDThh:mm:ssZ", "2026-02-28T09:58:00Z"),
        # configuration overrides what Identify declares
        ({"granularity": "day"}, Memory(watermark=at("2026-02-28T10:00:00")), "YYYY-MM-DDThh:mm:ssZ", "2026-02-28"),
        ({"granularity": "second"}, Memory(watermark=at("2026-02-28T10:00:00")), "YYYY-MM-DD", "2026-02-28T09:55:00Z"),
        # a watermark in the future, left by a clock that was set back: the server's own time counts
        ({}, Memory(watermark=at("2031-01-01")), "YYYY-MM-DDThh:mm:ssZ", "2026-03-01T11:54:30Z"),
    ],
)
def test_a_window_begins_at_the_watermark_less_the_overlap(
    changes: dict[str, object], memory: Memory, granularity: str, since: str | None
) -> None:
    """harvest 11"""
    of = source(**changes)
    asked = arguments(of, begun(of, memory, identify(granularity=granularity)))
    assert asked.get("from") == since
    assert "until" not in asked
    assert asked["metadataPrefix"] == "marc21"


def test_the_new_watermark_is_the_server_s_time_at_the_start_of_the_pass() -> None:
    """harvest 11: never the last page's time, never our clock."""
    late = replace(page("1"), response_date=STARTED + timedelta(hours=9))
    step = accept(source(), begun(source()), late)
    assert step.watermark == STARTED
    assert step.then == Finished()
    assert step.course is None


SPANS = st.tuples(
    st.datetimes(datetime(2025, 1, 1), datetime(2026, 2, 28), timezones=st.just(UTC)),  # noqa: DTZ001
    st.floats(1.0, 400 * DAY) | st.sampled_from([1.0, 60.0, 3600.0, DAY, 7 * DAY]),
    st.booleans(),
    st.booleans(),
)


@given(SPANS)
def test_windows_follow_each_other_without_hole_or_double(span: tuple[datetime, float, bool, bool]) -> None:
    """harvest 11"""
    since, length, seconds, first = span
    length = max(length, (STARTED - since).total_seconds() / 500)  # few enough windows for a test
    course = Course(id="p", full=first, sweep=False, started=STARTED, seconds=seconds, earliest=since if first else None)
    cut = windows.cut(source(windows=length), course, None if first else windows.floor(since, seconds=seconds), STARTED)
    unit = timedelta(seconds=1) if seconds else timedelta(days=1)
    assert cut[0][0] == (None if first else windows.floor(since, seconds=seconds))
    assert cut[-1][1] is None
    for (low, high), (following, _) in pairwise(cut):
        assert high is not None
        assert following is not None
        assert low is None or low <= high
        assert high + unit == following
        assert following <= STARTED
        assert low is None or following - low <= timedelta(seconds=length) + unit


def test_a_history_without_a_known_beginning_is_not_cut() -> None:
    """harvest 11"""
    course = Course(id="p", full=True, sweep=False, started=STARTED)
    assert windows.cut(source(windows=DAY), course, None, STARTED) == [(None, None)]


def test_the_watermark_follows_each_window_of_a_long_history() -> None:
    """harvest 11: a crash or a failure in the fifth year does not cost the first four."""
    of = source(windows=365 * DAY)
    course: Course | None = begun(of)
    assert course is not None
    assert len(course.windows) == 7
    marks = []
    while course is not None:
        step = accept(of, course, page(str(len(marks))))
        assert step.end is not None
        marks.append(step.watermark)
        course = step.course
    assert marks[:2] == [at("2020-12-30T23:59:59"), at("2021-12-30T23:59:59")]
    assert marks[-1] == STARTED
    assert marks == sorted(mark for mark in marks if mark is not None)


def test_failed_windows_of_the_past_and_the_sweep_come_after_the_delta() -> None:
    """harvest 10, 11"""
    gaps = (Gap(run=7, since=at("2024-01-01"), until=at("2024-01-31"), attempts=2),)
    of = source(deletions=Deletions.SWEEP, sweep_every=DAY)
    course = begun(of, Memory(watermark=STARTED, gaps=gaps))
    delta, repair, sweep = course.windows
    assert (delta.kind, repair.kind, sweep.kind) == (WindowKind.DELTA, WindowKind.REPAIR, WindowKind.SWEEP)
    assert (repair.since, repair.until, repair.repairs, repair.attempts) == (at("2024-01-01"), at("2024-01-31"), 7, 3)
    assert sweep.method is Method.IDENTIFIERS
    settled = accept(of, accept(of, course, page("1")).course, page("2"))
    assert settled.end is not None
    assert settled.end.settles == 7
    assert settled.watermark is None


# ----------------------------------------------------------------- requests


def test_sets_are_harvested_one_after_the_other_in_each_window() -> None:
    """harvest 20"""
    of = source(sets=("a", "b"))
    course = begun(of, Memory(watermark=STARTED))
    assert arguments(of, course)["set"] == "a"
    step = accept(of, course, page("1", token="t", size=9))
    assert arguments(of, step.course) == {"resumptionToken": "t"}, "a token is sent alone"
    step = accept(of, step.course, page("2"))
    assert step.end is None
    assert arguments(of, step.course) == {"metadataPrefix": "marc21", "from": "2026-03-01T11:54:30Z", "set": "b"}
    assert step.course is not None
    assert step.course.window.size is None
    step = accept(of, step.course, page("3"))
    assert step.then == Finished()
    assert step.watermark == STARTED


def test_the_first_page_of_a_list_has_more_time_than_the_others() -> None:
    """harvest 16"""
    of = source(first_page_timeout=600.0, page_timeout=90.0)
    course = begun(of)
    assert passes.request(of, course)[1] == 600.0
    after = accept(of, course, page("1", token="t")).course
    assert after is not None
    assert passes.request(of, after)[1] == 90.0


# -------------------------------------------------------------------- lists


def test_a_list_ends_with_an_absent_token_only() -> None:
    """harvest 12: sizes and cursors are advisory."""
    course: Course | None = begun(source())
    for number in range(5):
        step = accept(source(), course, page(str(number), token=f"t{number}", size=2))
        assert step.then == More()
        assert step.end is None
        course = step.course
    assert accept(source(), course, page("last", size=99)).then == Finished()


def test_a_constant_token_with_new_content_is_legitimate() -> None:
    """harvest 12"""
    course: Course | None = begun(source())
    for number in range(200):
        step = accept(source(), course, page(str(number), token="same"))
        assert step.then == More()
        assert len(step.records) == 1
        course = step.course
    assert course is not None
    assert len(course.window.recent) == 64


@pytest.mark.parametrize("distance", [1, 2, 30])
def test_the_same_page_again_is_a_loop_and_is_not_saved_twice(distance: int) -> None:
    """harvest 12"""
    course: Course | None = begun(source())
    for number in range(distance):
        course = accept(source(), course, page(str(number), token=f"t{number}")).course
    step = accept(source(), course, page("0", token="new"))
    assert isinstance(step.then, Later)
    assert "repeats itself" in step.then.reason
    assert step.records == ()
    assert step.course is not None
    assert (step.course.window.token, step.course.window.restarts) == (None, 1)


def test_empty_pages_that_go_on_are_followed_so_far_and_no_further() -> None:
    """harvest 12"""
    course: Course | None = begun(source())
    for _ in range(EMPTY_PAGES):
        step = accept(source(), course, page(token="t"))
        assert step.then == More()
        course = step.course
    step = accept(source(), course, page(token="t"))
    assert isinstance(step.then, Later)
    assert f"{EMPTY_PAGES} empty pages" in step.then.reason
    course = begun(source())
    for number in range(3 * EMPTY_PAGES):  # a page with a record between them starts the count anew
        step = accept(source(), course, page(*([str(number)] if number % EMPTY_PAGES == 0 else []), token="t"))
        assert step.then == More()
        course = step.course


def test_an_empty_last_page_is_the_end() -> None:
    """harvest 12"""
    course = accept(source(), begun(source()), page("1", token="t")).course
    assert accept(source(), course, page()).then == Finished()


def test_the_life_of_a_token_is_measured_on_the_repository_s_own_clock() -> None:
    """harvest 14: its clock is half a minute behind ours; an hour is an hour."""
    expires = STARTED + timedelta(hours=1)
    got = replace(page("1"), token=oai.Token(value="t", expires=expires))
    course = accept(source(), begun(source()), got).course
    assert course is not None
    assert course.window.token_dies == NOW + 3600
    assert passes.expired(course, NOW + 3599.9) is None
    dead = passes.expired(course, NOW + 3600)
    assert dead is not None
    step = passes.reject(source(), course, dead, now=NOW + 3600, rng=Random(1))
    assert step.course is not None
    assert (step.course.window.token, step.course.window.restarts) == (None, 1)


@pytest.mark.parametrize("life", [timedelta(0), timedelta(seconds=-1), timedelta(hours=-2)])
def test_a_token_that_is_born_dead_is_asked_with_all_the_same(life: timedelta) -> None:
    """harvest 14: a server that writes its local time with a Z would never be harvested otherwise."""
    got = replace(page("1"), token=oai.Token(value="t", expires=STARTED + life))
    course = accept(source(), begun(source()), got).course
    assert course is not None
    assert passes.expired(course, NOW + 1e6) is None


def test_a_token_is_measured_by_our_clock_where_the_page_has_no_date() -> None:
    """harvest 14"""
    got = replace(page("1"), token=oai.Token(value="t", expires=datetime.fromtimestamp(NOW + 50, UTC)), response_date=None)
    course = accept(source(), begun(source()), got).course
    assert course is not None
    assert passes.expired(course, NOW + 49) is None
    assert passes.expired(course, NOW + 50) is not None


# ------------------------------------------------------------------ outside


@pytest.mark.parametrize(
    ("stamp", "sets", "outside"),
    [
        ("2026-03-01T11:54:30Z", ("a",), 0),
        ("2026-03-01T11:54:29Z", ("a",), 1),  # before from
        ("2026-02-01", ("a",), 1),
        ("2027-01-01T00:00:00Z", ("a",), 0),  # above an open window nothing is outside
        ("2026-03-01T11:55:00Z", ("a:b", "z"), 0),  # a subset belongs to its set
        ("2026-03-01T11:55:00Z", ("ab",), 1),
        ("2026-03-01T11:55:00Z", (), 0),  # nothing is said of its sets
        ("rubbish", ("a",), 0),
    ],
)
def test_a_record_outside_of_what_was_asked_for_is_counted_and_kept(stamp: str, sets: tuple[str, ...], outside: int) -> None:
    """harvest 18"""
    of = source(sets=("a",))
    got = page("1", token="t")
    got = replace(got, records=tuple(replace(record, datestamp=stamp, sets=sets) for record in got.records))
    step = accept(of, begun(of, Memory(watermark=STARTED)), got)
    assert (step.outside, len(step.records)) == (outside, 1)
    assert step.course is not None
    assert step.course.outside == outside


@pytest.mark.parametrize(
    ("stamp", "outside"), [("2026-01-31T23:59:59Z", False), ("2026-01-31", False), ("2026-02-01T00:00:00Z", True), ("2026-01-30", True)]
)
def test_a_day_is_inclusive_to_its_last_second(stamp: str, outside: bool) -> None:
    """harvest 11, 18"""
    window = Window(number=1, kind=WindowKind.DELTA, since=at("2026-01-31"), until=at("2026-01-31"))
    course = Course(id="p", full=False, sweep=False, started=STARTED, seconds=False, windows=(window,))
    assert windows.is_outside(source(), course, oai.Record(identifier="1", datestamp=stamp, deleted=False)) is outside


# ------------------------------------------------- full passes and sweeps


@pytest.mark.parametrize(("deletions", "noted"), [(Deletions.TOMBSTONES, False), (Deletions.FULL, True), (Deletions.SWEEP, True)])
def test_what_a_full_pass_sees_is_noted_for_those_who_need_it(deletions: Deletions, noted: bool) -> None:
    """harvest 10"""
    of = source(deletions=deletions, full_every=DAY, sweep_every=DAY)
    step = accept(of, begun(of), page("1"))
    assert (step.note_seen, step.compare) == (noted, noted)
    if noted:
        assert step.then == More(), "the store compares first"
        assert passes.compared(of, step, []).then == Finished()


def test_nothing_is_concluded_from_what_was_not_seen_when_something_could_not_be_read() -> None:
    """harvest 10, 23"""
    of = source(deletions=Deletions.FULL, full_every=DAY)
    unread = oai.Damage(identifier=None, place="record 2", reason="no identifier", snippet="")
    step = accept(of, begun(of), replace(page("1"), damaged=(unread,)))
    assert not step.compare
    assert step.then == Finished()
    known = oai.Damage(identifier="2", place="record 2", reason="not well-formed", snippet="")
    assert accept(of, begun(of), replace(page("1"), damaged=(known,))).compare


def test_a_sweep_lists_identifiers_and_asks_for_what_the_store_lacks() -> None:
    """harvest 10"""
    of = source(deletions=Deletions.SWEEP, sweep_every=DAY)
    course = accept(of, begun(of, Memory(watermark=STARTED)), page("1")).course
    assert course is not None
    asked, _ = passes.request(of, course)
    assert (asked.verb, dict(asked.arguments)) == ("ListIdentifiers", {"metadataPrefix": "marc21"})
    step = accept(of, course, page("1", "2", "3"))
    assert (step.bare, step.note_seen, step.compare) == (True, True, True)
    step = passes.compared(of, step, ["2", "3"])
    for name in ("2", "3"):
        assert step.course is not None
        asked, _ = passes.request(of, step.course)
        assert (asked.verb, dict(asked.arguments)) == ("GetRecord", {"identifier": name, "metadataPrefix": "marc21"})
        step = accept(of, step.course, replace(page(name), verb="GetRecord"))
        assert [record.identifier for record in step.records] == [name]
    assert step.then == Finished()


def test_the_announced_size_of_an_undivided_full_pass_is_kept_for_the_drift() -> None:
    """harvest 11"""
    of = source(deletions=Deletions.FULL, full_every=DAY)
    step = accept(of, accept(of, begun(of), page("1", token="t", size=812)).course, page("2"))
    assert step.course is not None
    assert step.course.announced == 812


def test_a_pass_whose_past_windows_failed_says_so_at_its_end() -> None:
    """harvest 11"""
    of = source(windows=3650 * DAY, start=at("2010-01-01"))
    course = begun(of)
    assert len(course.windows) == 2
    failed = passes.window_failed(of, course, ListBroken("it never ends"))
    assert failed.end is not None
    assert (failed.end.state, failed.watermark) == ("failed", course.window.until)
    step = accept(of, failed.course, page("1"))
    assert isinstance(step.then, Finished)
    assert step.then.error is not None
    assert "1 of 2 windows failed" in step.then.error
    assert "it never ends" in step.then.error


def test_mistakes_in_the_order_of_calls_are_told() -> None:
    """harvest 11"""
    course = passes.begin(source(), Memory(), now=NOW, id="p")
    with pytest.raises(ValueError, match="after Identify"):
        windows.planned(source(), course)
    for call in (passes.list_ended, lambda of, step: passes.window_ended(of, step, passes.WindowEnd(state="complete"))):
        with pytest.raises(ValueError, match="without a course"):
            call(source(), Step(course=None, then=More()))
    with pytest.raises(ValueError, match="nothing to compare"):
        passes.compared(source(), Step(course=None, then=More()), [])
    with pytest.raises(ValueError, match="without windows"):
        passes.finish(Step(course=begun(source()), then=More()))
