"""The rules of a pass when things go wrong: again, from the start, in halves, one by one, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harvester import oai, passes, windows
from harvester.course import Course, Memory, Method, Window, WindowKind
from harvester.errors import (
    BadArgument,
    BadResumptionToken,
    BotWall,
    Busy,
    CannotDisseminateFormat,
    HarvestError,
    IdDoesNotExist,
    Interrupted,
    ListBroken,
    Malformed,
    NoMetadataFormats,
    NoRecordsMatch,
    NoSetHierarchy,
    NotDelivered,
    NotOai,
    ProtocolError,
    Refused,
    ServerFailed,
    TooLarge,
    Truncated,
)
from harvester.passes import LONGEST_WAIT, PROBES, RESTARTS, STRIKES, Closed, Finished, Later, More, Step
from harvester.sources import EndOfList, Source, TokenRetry
from harvester.windows import DEPTH, SPLITS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
STARTED = datetime(2026, 3, 1, 12, tzinfo=UTC)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
EXPIRED = BadResumptionToken("badResumptionToken", "gone")
NOTHING = NoRecordsMatch("noRecordsMatch", "")


def source(**changes: object) -> Source:
    return Source(**{"name": "x", "url": "http://x/", **changes})  # type: ignore[arg-type]


def course(**changes: object) -> Course:
    """A delta in the middle of its list, unless told otherwise; ``until``, ``token`` and the like belong to its window."""
    own = {name: changes.pop(name) for name in list(changes) if name in Window.__dataclass_fields__}
    kept: dict[str, object] = {"number": 1, "kind": WindowKind.DELTA, "since": SINCE, "token": "t", "received": 10}
    window = Window(**{**kept, **own})  # type: ignore[arg-type]
    begun = {"id": "p", "full": False, "sweep": False, "watermark": SINCE, "started": STARTED, "windows": (window,), "numbered": 1}
    return Course(**{**begun, **changes})  # type: ignore[arg-type]


def reject(of: Source, current: Course | None, error: HarvestError) -> Step:
    assert current is not None
    return passes.reject(of, current, error, now=NOW, rng=Random(1))


def accept(of: Source, current: Course | None, page: oai.Page) -> Step:
    assert current is not None
    return passes.accept(of, current, page, now=NOW, rng=Random(1))


def window_of(step: Step) -> Window:
    assert step.course is not None
    return step.course.window


def headers(*names: str, token: str | None = None) -> oai.Page:
    records = tuple(oai.Record(identifier=name, datestamp="2026-02-01T00:00:00Z", deleted=name.startswith("dead")) for name in names)
    following = oai.Token(value=token) if token else None
    return oai.Page(
        verb="ListIdentifiers", response_date=STARTED, records=records, token=following, digest=oai.fingerprint(list(records), [])
    )


def until_it_changes(of: Source, current: Course, error: HarvestError) -> tuple[int, Step]:
    """How often the same request is sent again before something else is done."""
    asked = passes.request(of, current)[0]
    for times in range(100):
        step = reject(of, current, error)
        if not isinstance(step.then, Later) or step.course is None or passes.request(of, step.course)[0] != asked:
            return times, step
        current = step.course
    pytest.fail("it never gives up")


# ------------------------------------------------------------ tokens again


@pytest.mark.parametrize(
    ("retry", "error", "again"),
    [
        (TokenRetry.NEVER, Interrupted("reset"), 0),
        (TokenRetry.ONCE, Interrupted("reset"), 1),
        (TokenRetry.ONCE, ServerFailed("500"), 1),
        (TokenRetry.ONCE, Truncated("cut"), 1),
        (TokenRetry.IDEMPOTENT, Interrupted("reset"), 4),  # five attempts in all
        # the repository never read these: the token still holds
        (TokenRetry.NEVER, NotDelivered("refused"), None),
        (TokenRetry.ONCE, Busy("busy"), None),
    ],
)
def test_a_token_is_sent_again_as_often_as_its_repository_bears(retry: TokenRetry, error: HarvestError, again: int | None) -> None:
    """harvest 15"""
    of = source(token_retry=retry)
    if again is None:
        current: Course | None = course()
        for _ in range(4):
            step = reject(of, current, error)
            assert isinstance(step.then, Later)
            assert window_of(step).token == "t"
            current = step.course
        step = reject(of, current, error)
        assert isinstance(step.then, Finished)
        assert (window_of(step).token, window_of(step).tries) == ("t", 0), "the next pass goes on where this one stood"
        return
    times, step = until_it_changes(of, course(), error)
    assert times == again
    assert isinstance(step.then, Later)
    assert (window_of(step).token, window_of(step).restarts, window_of(step).received) == (None, 1, 0)


@pytest.mark.parametrize("attempts", [1, 3, 5])
def test_a_first_page_is_tried_as_often_as_configured_and_then_the_window_is_taken_apart(attempts: int) -> None:
    """harvest 15, 18"""
    times, step = until_it_changes(source(attempts=attempts), course(token=None), ServerFailed("500"))
    assert times == attempts - 1
    assert window_of(step).method is Method.PROBE


def test_an_answer_in_between_forgives_the_failures_before() -> None:
    """harvest 15"""
    of = source(token_retry=TokenRetry.ONCE)
    step = reject(of, course(), Interrupted("reset"))
    step = accept(of, step.course, headers("1", token="u"))
    assert (window_of(step).tries, window_of(step).lost) == (0, 0)


def test_waits_follow_the_repository_s_word_or_grow_by_themselves() -> None:
    """harvest 15"""
    step = reject(source(), course(), Busy("busy", retry_at=NOW + 100))
    assert step.then == Later(until=NOW + 100, reason="busy", attempt=1)
    step = reject(source(), course(tries=2), Interrupted("reset"))
    assert isinstance(step.then, Later)
    assert NOW <= step.then.until <= NOW + 4
    assert step.then.attempt == 3


def test_a_long_retry_after_ends_the_pass_and_the_next_one_comes_when_it_said() -> None:
    """harvest 15"""
    at = NOW + LONGEST_WAIT + 1
    step = reject(source(), course(), Busy("closed for the night", retry_at=at))
    assert step.then == Finished(error="closed for the night", not_before=at)
    assert window_of(step).token == "t"
    assert isinstance(reject(source(), course(), Busy("busy", retry_at=NOW + LONGEST_WAIT)).then, Later)
    begun = passes.begin(source(), Memory(), now=NOW, id="p")
    assert reject(source(), begun, Busy("closed", retry_at=at)).then == Finished(error="closed", not_before=at)


# ---------------------------------------------------------------- restarts


@pytest.mark.parametrize("error", [EXPIRED, ListBroken("loop", loop=True), BadArgument("badArgument", "token?")])
def test_a_list_is_started_again_three_times_and_then_taken_apart(error: HarvestError) -> None:
    """harvest 14"""
    step = reject(source(), course(), error)
    for restarts in range(1, RESTARTS + 1):
        assert isinstance(step.then, Later)
        assert (window_of(step).restarts, window_of(step).token, window_of(step).recent) == (restarts, None, ())
        assert window_of(step).since == SINCE
        went_on = accept(source(), step.course, headers("1", token="t"))
        step = reject(source(), went_on.course, error)
    assert window_of(step).method is Method.PROBE
    assert step.then == More()


# ------------------------------------------------------------ noRecordsMatch


@pytest.mark.parametrize(
    ("own", "end_of_list", "complete"),
    [
        ({"token": None, "received": 0}, EndOfList.STRICT, True),  # nothing has changed: an empty success
        ({"token": "t", "received": 10, "size": 10}, EndOfList.STRICT, True),  # all that was announced has come
        ({"token": "t", "received": 11, "size": 10}, EndOfList.STRICT, True),
        ({"token": "t", "received": 9, "size": 10}, EndOfList.STRICT, False),
        ({"token": "t", "received": 9, "size": None}, EndOfList.STRICT, False),
        ({"token": "t", "received": 9, "size": 10}, EndOfList.NO_RECORDS_MATCH, True),
        ({"token": "t", "received": 9, "size": None}, EndOfList.NO_RECORDS_MATCH, True),
    ],
)
def test_no_records_match_is_the_end_only_where_it_cannot_hide_a_failure(
    own: dict[str, object], end_of_list: EndOfList, complete: bool
) -> None:
    """harvest 12"""
    step = reject(source(end_of_list=end_of_list), course(**own), NOTHING)
    if complete:
        assert step.then == Finished()
        assert step.watermark == STARTED
        return
    assert isinstance(step.then, Later), "the list is started once more"
    step = reject(source(end_of_list=end_of_list), course(**own, restarts=1), NOTHING)
    assert isinstance(step.then, Finished)
    assert step.then.error is not None
    assert "end_of_list: no_records_match" in step.then.error
    assert step.watermark is None
    assert step.end is not None
    assert step.end.state == "failed"


def test_no_records_match_in_one_set_goes_on_with_the_next() -> None:
    """harvest 12, 20"""
    step = reject(source(sets=("a", "b")), course(token=None, received=0), NOTHING)
    assert step.then == More()
    assert window_of(step).set_index == 1


# ------------------------------------------------------------- granularity


def test_a_server_that_refuses_seconds_is_asked_with_days_once() -> None:
    """harvest 11"""
    since = SINCE + timedelta(hours=5)
    step = reject(source(), course(token=None, since=since), BadArgument("badArgument", "from"))
    assert step.then == More()
    assert step.course is not None
    assert dict(passes.request(source(), step.course)[0].arguments)["from"] == "2026-01-01"
    assert (step.course.seconds, step.course.coarse) == (False, True)
    final = reject(source(), step.course, BadArgument("badArgument", "from"))
    assert isinstance(final.then, Finished)
    assert final.then.error == "badArgument: from"


@pytest.mark.parametrize(
    ("of", "current"),
    [
        (source(granularity="second"), course(token=None)),
        (source(), course(token=None, seconds=False)),
        (source(), course(token=None, since=None)),
    ],
    ids=["configured", "days already", "no dates"],
)
def test_a_bad_argument_that_days_cannot_help_ends_the_pass(of: Source, current: Course) -> None:
    """harvest 11, 15"""
    assert isinstance(reject(of, current, BadArgument("badArgument", "x")).then, Finished)


def test_windows_widened_to_days_lose_nothing_at_their_edges() -> None:
    """harvest 11"""
    low, high = SINCE + timedelta(hours=5), SINCE + timedelta(hours=30)
    window = windows.by_days(Window(number=1, kind=WindowKind.DELTA, since=low, until=high, token="t", received=5))
    assert (window.since, window.until, window.token, window.received) == (SINCE, high, None, 0)
    assert oai.format_moment(high, seconds=False) == "2026-01-02"


# ------------------------------------------------------------ final errors


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CannotDisseminateFormat("cannotDisseminateFormat", ""), "marc21 is not offered here"),
        (NoSetHierarchy("noSetHierarchy", ""), "remove sets from the source"),
        (BadArgument("badArgument", "what"), "badArgument: what"),
        (IdDoesNotExist("idDoesNotExist", ""), "idDoesNotExist"),
    ],
)
def test_errors_that_time_does_not_heal_end_the_pass(error: HarvestError, said: str) -> None:
    """harvest 15"""
    step = reject(source(granularity="second"), course(token=None), error)
    assert isinstance(step.then, Finished)
    assert step.then.error is not None
    assert said in step.then.error
    assert step.course is None


def test_a_code_that_the_protocol_does_not_know_is_a_failure_that_may_pass() -> None:
    """harvest 13, 15"""
    assert isinstance(reject(source(), course(token=None), ProtocolError("internalError", "")).then, Later)


@pytest.mark.parametrize("started", [None, STARTED])
def test_a_bot_wall_closes_the_source(started: datetime | None) -> None:
    """harvest 12"""
    step = reject(source(), course(started=started), BotWall("a wall"))
    assert step.then == Closed(reason="a wall")
    assert window_of(step).token is None


def test_a_refusal_ends_the_pass_and_is_not_tried_again() -> None:
    """harvest 15"""
    step = reject(source(), course(), Refused("403"))
    assert step.then == Finished(error="403")
    assert (window_of(step).token, window_of(step).tries) == (None, 0)
    begun = passes.begin(source(), Memory(), now=NOW, id="p")
    assert reject(source(), begun, Refused("403")) == Step(course=None, then=Finished(error="403"))


@pytest.mark.parametrize("error", [NotDelivered("x"), ServerFailed("x"), NotOai("x"), Malformed("x"), Busy("x"), Interrupted("x")])
def test_identify_is_tried_as_often_as_any_page(error: HarvestError) -> None:
    """harvest 10, 15"""
    current: Course | None = passes.begin(source(attempts=3), Memory(), now=NOW, id="p")
    for tries in (1, 2):
        step = reject(source(attempts=3), current, error)
        assert isinstance(step.then, Later)
        assert step.then.attempt == tries
        current = step.course
    assert reject(source(attempts=3), current, error) == Step(course=None, then=Finished(error="x"))


@pytest.mark.parametrize("error", [BadArgument("badArgument", ""), TooLarge("large"), NOTHING])
def test_an_identify_that_is_an_error_is_final(error: HarvestError) -> None:
    """harvest 10"""
    begun = passes.begin(source(), Memory(), now=NOW, id="p")
    assert isinstance(reject(source(), begun, error).then, Finished)


# ---------------------------------------------------- smaller and smaller


def probing(**changes: object) -> Course:
    return course(**{"token": None, "received": 0, "method": Method.PROBE, "earliest": SINCE, **changes})


def test_a_page_that_is_too_large_is_probed_at_once() -> None:
    """harvest 17, 18"""
    step = reject(source(), course(), TooLarge("large"))
    assert step.then == More()
    assert step.course is not None
    asked, _ = passes.request(source(), step.course)
    assert asked.verb == "ListIdentifiers"
    assert asked.token is None


@pytest.mark.parametrize("error", [ServerFailed("500"), NotDelivered("no"), Truncated("cut")])
def test_a_probe_that_fails_too_means_that_the_repository_is_down(error: HarvestError) -> None:
    """harvest 18"""
    times, step = until_it_changes(source(), probing(), error)
    assert times == PROBES - 1
    assert isinstance(step.then, Finished)
    assert step.end is None, "the window is not given up"
    assert step.course is not None


def test_a_large_window_is_halved_and_a_small_one_fetched_record_by_record() -> None:
    """harvest 14, 18"""
    large = accept(source(), probing(), headers(*[str(number) for number in range(51)]))
    assert large.end == passes.WindowEnd(state="replaced", error="halved")
    assert large.records == ()
    assert large.course is not None
    left, right = large.course.windows
    assert (left.method, left.depth, right.depth, left.number, right.number) == (Method.RECORDS, 1, 1, 2, 3)
    assert accept(source(), probing(), headers("1", token="t")).end is not None, "a token that goes on is large, too"
    small = accept(source(), probing(), headers("1", "2", "dead1"))
    assert small.end is None
    assert window_of(small).pending == ("1", "2")
    assert [record.identifier for record in small.records] == ["dead1"], "a tombstone says all there is to say"


def test_a_probe_that_finds_nothing_is_an_empty_window() -> None:
    """harvest 12, 18"""
    assert reject(source(), probing(), NOTHING).then == Finished()


def test_a_window_that_cannot_be_halved_is_fetched_record_by_record_however_large() -> None:
    """harvest 18"""
    many = [str(number) for number in range(60)]
    for current in (
        probing(splits=SPLITS),
        probing(depth=DEPTH),
        probing(since=STARTED, until=STARTED),
        probing(since=None, earliest=None),
    ):
        step = accept(source(), current, headers(*many, token="t"))
        assert window_of(step).pending == tuple(many)
        assert window_of(step).token == "t"


def test_record_by_record_a_list_goes_on_with_its_token_when_all_are_fetched() -> None:
    """harvest 18"""
    step = accept(source(), probing(splits=SPLITS), headers("1", token="t"))
    step = accept(source(), step.course, replace(headers("1"), verb="GetRecord"))
    assert step.then == More()
    assert step.course is not None
    assert passes.request(source(), step.course)[0] == oai.Request(verb="ListIdentifiers", arguments=(("resumptionToken", "t"),))
    assert accept(source(), step.course, headers()).then == Finished()


MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    low=MOMENTS, span=st.timedeltas(timedelta(0), timedelta(days=9000)), seconds=st.booleans(), opened=st.booleans(), first=st.booleans()
)
def test_two_halves_cover_their_window_exactly(low: datetime, span: timedelta, seconds: bool, opened: bool, first: bool) -> None:
    """harvest 14"""
    low = windows.floor(low, seconds=seconds)
    high = windows.floor(low + span, seconds=seconds)
    unit = timedelta(seconds=1) if seconds else timedelta(days=1)
    current = course(
        token=None,
        since=None if first else low,
        until=None if opened else high,
        started=high if opened else STARTED,
        earliest=low,
        seconds=seconds,
    )
    halves = windows.halved(current, current.window)
    if halves is None:
        assert high == low
        return
    left, right = halves
    assert (left.since, right.until) == (current.window.since, current.window.until)
    assert left.until is not None
    assert right.since is not None
    assert low <= left.until
    assert left.until + unit == right.since <= high
    assert (left.kind, left.depth, right.depth) == (WindowKind.DELTA, 1, 1)


@given(low=MOMENTS, days=st.integers(1, 12000))
def test_halving_comes_to_an_end(low: datetime, days: int) -> None:
    """harvest 14, 18: as deep as seconds, or as the bound."""
    low = windows.floor(low, seconds=True)
    current = course(token=None, since=low, until=low + timedelta(days=days))
    assume(windows.halved(current, current.window) is not None)
    for depth in range(100):
        halves = windows.halved(current, current.window)
        if halves is None:
            assert depth <= DEPTH
            return
        current = replace(current, windows=halves, splits=0)
    pytest.fail("it is halved for ever")


def test_a_failed_window_of_the_past_is_noted_and_the_pass_goes_on() -> None:
    """harvest 11"""
    past = course(token="t", until=datetime(2026, 2, 1, tzinfo=UTC), restarts=1)
    past = replace(
        past, windows=(*past.windows, Window(number=2, kind=WindowKind.DELTA, since=datetime(2026, 2, 2, tzinfo=UTC))), numbered=2
    )
    step = reject(source(), past, NOTHING)
    assert step.then == More()
    assert step.end is not None
    assert step.end.state == "failed"
    assert step.watermark == datetime(2026, 2, 1, tzinfo=UTC), "the ledger knows of the gap behind the watermark"
    assert window_of(step).number == 2


# ---------------------------------------------------------------- GetRecord


def pending(*names: str, **changes: object) -> Course:
    return course(**{"token": None, "method": Method.IDENTIFIERS, "pending": names, **changes})


def test_a_record_that_has_vanished_meanwhile_is_nobody_s_fault() -> None:
    """harvest 18"""
    step = reject(source(), pending("1", "2"), IdDoesNotExist("idDoesNotExist", ""))
    assert (step.records, step.damaged, step.then) == ((), (), More())
    assert window_of(step).pending == ("2",)


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (CannotDisseminateFormat("cannotDisseminateFormat", ""), 1),
        (NoMetadataFormats("noMetadataFormats", ""), 1),
        (TooLarge("large"), 1),
        (Refused("404"), 1),  # other 4xx are not tried again, and cost one record, not the source
        (ServerFailed("500"), PROBES),
        (Malformed("bad"), PROBES),
        (ProtocolError("internalError", ""), PROBES),
    ],
)
def test_a_record_that_does_not_come_costs_itself(error: HarvestError, tries: int) -> None:
    """harvest 18"""
    current: Course | None = pending("1", "2")
    for _ in range(tries - 1):
        step = reject(source(), current, error)
        assert isinstance(step.then, Later)
        current = step.course
    step = reject(source(), current, error)
    (damage,) = step.damaged
    assert (damage.identifier, damage.place, damage.reason) == ("1", "GetRecord", str(error))
    assert window_of(step).pending == ("2",)
    assert step.then == More()


@pytest.mark.parametrize("error", [ServerFailed("500"), Refused("403")])
def test_many_records_in_a_row_that_do_not_come_mean_that_the_repository_is_down(error: HarvestError) -> None:
    """harvest 15, 18"""
    current: Course | None = pending(*[str(number) for number in range(STRIKES + 5)])
    damages = 0
    for _ in range(PROBES * STRIKES):
        step = reject(source(), current, error)
        damages += len(step.damaged)
        current = step.course
        if isinstance(step.then, Finished):
            break
    assert isinstance(step.then, Finished)
    assert damages == STRIKES - 1
    assert len(window_of(step).pending) == 6, "the rest is asked for in the next pass"
    assert step.course is not None
    assert step.course.strikes == 0


@pytest.mark.parametrize("error", [NotDelivered("no"), Busy("busy")])
def test_a_repository_that_does_not_answer_costs_no_record(error: HarvestError) -> None:
    """harvest 15, 18"""
    step = reject(source(), reject(source(), pending("1"), error).course, error)
    assert step.damaged == ()
    assert isinstance(step.then, Finished)
    assert window_of(step).pending == ("1",)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (headers(), "without a record"),
        (headers("other"), "another record: other"),
    ],
)
def test_a_get_record_without_the_record_is_a_failure_and_no_silence(answer: oai.Page, reason: str) -> None:
    """harvest 18: only idDoesNotExist says that there is none."""
    step = accept(source(), pending("1"), replace(answer, verb="GetRecord"))
    (damage,) = step.damaged
    assert damage.identifier == "1"
    assert reason in damage.reason
    assert step.then == Finished()


def test_a_damage_of_get_record_is_that_of_the_record_asked_for() -> None:
    """harvest 18"""
    bad = oai.Damage(identifier=None, place="record 1", reason="not well-formed", snippet="<x")
    step = accept(source(), pending("1"), replace(headers(), verb="GetRecord", damaged=(bad,)))
    assert step.damaged == (replace(bad, identifier="1"),)


# ------------------------------------------------------------------ sweeps


def test_a_sweep_that_fails_concludes_nothing() -> None:
    """harvest 10, 23"""
    sweep = Window(number=1, kind=WindowKind.SWEEP, method=Method.IDENTIFIERS, token="t", restarts=RESTARTS)
    step = reject(source(), course(windows=(sweep,), sweep=True), EXPIRED)
    assert isinstance(step.then, Finished)
    assert step.then.error is not None
    assert not step.compare


def test_a_source_that_starts_afresh_keeps_its_windows_and_forgets_its_troubles() -> None:
    """harvest 15"""
    troubled = course(tries=3, lost=2, restarts=2, method=Method.PROBE, recent=("a",), empty_pages=4, strikes=5)
    fresh = windows.fresh_start(troubled)
    assert fresh.window == Window(number=1, kind=WindowKind.DELTA, since=SINCE)
    assert fresh.strikes == 0
    assert windows.fresh_start(replace(troubled, windows=())).windows == ()


def test_a_repository_whose_every_list_is_broken_is_given_up_after_a_bounded_number_of_requests() -> None:
    """harvest 12"""
    of, current, asked = source(), course(token=None), 0
    many = headers(*(f"i{number}" for number in range(100)), token="more")
    while True:
        asked += 1
        if passes.request(of, current)[0].verb == "ListRecords":
            step = reject(of, current, ListBroken("the list repeats itself", loop=True))
        else:
            step = accept(of, current, many)
        if isinstance(step.then, Finished) or step.course is None:
            break
        assert asked < 200
        current = step.course
    assert isinstance(step.then, Finished)
    assert step.then.error == "the list repeats itself"


def test_a_list_of_nothing_but_empty_pages_is_asked_for_once_more_and_then_fails() -> None:
    """harvest 12"""
    first = reject(source(), course(), ListBroken("100 empty pages in a row"))
    assert window_of(first).restarts == 1
    second = reject(source(), first.course, ListBroken("100 empty pages in a row"))
    assert second.then == Finished(error="100 empty pages in a row")
