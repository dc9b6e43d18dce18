"""The state machine of a group: its table, its limit, its clocks and its members."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from harvester.blackouts import Blackout
from harvester.schedule import NEVER, TRANSITIONS, Event, ImpossibleTransition, Schedule, State
from harvester.sources import Group, Source

DAYS = 86400.0


def source(name: str = "a", **changes: object) -> Source:
    return Source(name=name, url=f"http://{name}.example/oai", group="g", **changes)  # type: ignore[arg-type]


def schedule(limit: int = 2, seed: int = 1, **changes: object) -> Schedule:
    return Schedule(Group(name="g", limit=limit, **changes), rng=Random(seed))  # type: ignore[arg-type]


def full_of(count: int, *, bulk: bool = False, **options: object) -> Schedule:
    made = schedule(**options)  # type: ignore[arg-type]
    for number in range(count):
        made.join(source(f"s{number}"), 0.0, bulk=bulk)
    return made


def at(state: State) -> Schedule:
    """A schedule whose one source is in this state, reached by events."""
    made = schedule()
    made.join(source(enabled=state is not State.DISABLED), 0.0, due=0.0, reason="said so" if state is State.BLOCKED else None)
    if state in (State.IDLE, State.BLOCKED, State.DISABLED):
        return made
    made.counts(0.0)
    if state is State.READY:
        return made
    assert made.pick(0.0) is not None
    if state is State.IN_FLIGHT:
        return made
    made.answer("a", 0.0)
    if state is State.PAUSED:
        made.rest("a", 50.0, 0.0)
    if state is State.WAITING:
        made.wait("a", 50.0, 0.0, attempt=3, reason="busy")
    return made


def happen(made: Schedule, event: Event) -> None:
    """Let an event happen to the one source."""
    match event:
        case Event.TIME:
            made._move(made["a"], Event.TIME, 1.0)
        case Event.PICK:
            made._move(made["a"], Event.PICK, 1.0)
        case Event.ANSWER:
            made.answer("a", 1.0)
        case Event.MORE:
            made.more("a", 1.0, bulk=True)
        case Event.REST:
            made.rest("a", 9.0, 1.0)
        case Event.WAIT:
            made.wait("a", 9.0, 1.0, attempt=1, reason="r")
        case Event.FINISH:
            made.finish("a", 9.0, 1.0, bulk=True)
        case Event.BLOCK:
            made.block("a", "r", 1.0)
        case Event.RESUME:
            made.resume("a", 1.0)
        case Event.DISABLE:
            made.disable("a", 1.0)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_pair_of_state_and_event_does_what_the_table_says_or_is_refused(state: State, event: Event) -> None:
    """harvest 3"""
    made = at(state)
    assert made["a"].state is state
    target = TRANSITIONS.get((state, event))
    if target is None:
        before = (made["a"].state, made["a"].until, made["a"].bulk, made["a"].slot, made.in_flight)
        with pytest.raises(ImpossibleTransition, match=f"a: {event} is impossible while {state}"):
            happen(made, event)
        assert (made["a"].state, made["a"].until, made["a"].bulk, made["a"].slot, made.in_flight) == before
    else:
        happen(made, event)
        assert made["a"].state is target


def test_the_table_speaks_of_every_state_and_every_event() -> None:
    """harvest 3"""
    assert {state for state, _ in TRANSITIONS} | {State.DISABLED} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)
    assert set(TRANSITIONS.values()) == set(State)


def test_what_is_in_flight_or_being_saved_can_be_nothing_else_before_it_is_over() -> None:
    """harvest 1, 3, 7"""
    assert {event for state, event in TRANSITIONS if state is State.IN_FLIGHT} == {Event.ANSWER}
    for state in (State.IN_FLIGHT, State.SAVING):
        with pytest.raises(ImpossibleTransition, match="cannot leave"):
            at(state).leave("a")


def test_as_many_are_in_flight_as_the_limit_allows_and_never_more() -> None:
    """harvest 1, 2, 5"""
    made = full_of(60, limit=2)
    assert [made.pick(0.0) is not None for _ in range(5)] == [True, True, False, False, False]
    assert made.in_flight == made.in_flight_max == 2


def test_a_freed_slot_is_used_although_the_page_is_still_being_saved() -> None:
    """harvest 1"""
    made = full_of(3, limit=1)
    first = made.pick(0.0)
    assert first is not None
    made.answer(first.name, 1.0)
    second = made.pick(1.0)
    assert second is not None
    assert second.name != first.name
    assert made[first.name].state is State.SAVING


def test_a_source_has_one_page_in_flight_however_many_slots_are_free() -> None:
    """harvest 2"""
    made = full_of(1, limit=10)
    assert made.pick(0.0) is not None
    assert made.pick(0.0) is None
    made.answer("s0", 0.0)
    assert made.pick(0.0) is None, "the token of its next page is not known before this one is saved"
    made.more("s0", 0.0, bulk=False)
    assert made.pick(0.0) is not None


def picked(seed: int, count: int = 200) -> list[str]:
    made = full_of(20, limit=1, seed=seed)
    names = []
    for _ in range(count):
        chosen = made.pick(0.0)
        assert chosen is not None
        names.append(chosen.name)
        made.answer(chosen.name, 0.0)
        made.more(chosen.name, 0.0, bulk=False)
    return names


def test_the_choice_is_random_and_repeatable_with_a_seed() -> None:
    """harvest 2"""
    assert picked(1) == picked(1)
    assert picked(1) != picked(2)
    assert len(set(picked(1))) == 20


@pytest.mark.parametrize("seed", range(20))
def test_a_delta_among_a_hundred_first_harvests_comes_soon(seed: int) -> None:
    """harvest 2: the delta weighs 8 of 108, so it is missed 150 times in a row once in 100,000 cases: (100 / 108) ** 150."""
    made = full_of(100, bulk=True, limit=1, seed=seed)
    made.join(source("delta"), 0.0, bulk=False)
    for _ in range(150):
        chosen = made.pick(0.0)
        assert chosen is not None
        if chosen.name == "delta":
            return
        made.answer(chosen.name, 0.0)
        made.more(chosen.name, 0.0, bulk=True)
    pytest.fail("the delta was starved by first harvests")


def test_a_first_harvest_among_deltas_comes_too() -> None:
    """harvest 2: it weighs 1 of 161; (160 / 161) ** 2000 is 4 in a million."""
    made = full_of(20, limit=1)
    made.join(source("first"), 0.0, bulk=True)
    for _ in range(2000):
        chosen = made.pick(0.0)
        assert chosen is not None
        if chosen.name == "first":
            return
        made.answer(chosen.name, 0.0)
        made.more(chosen.name, 0.0, bulk=False)
    pytest.fail("the first harvest was starved by deltas")


def test_each_source_is_due_at_its_own_time() -> None:
    """harvest 3"""
    made = schedule(limit=9)
    for name, due in (("late", 30.0), ("soon", 10.0), ("now", 0.0)):
        made.join(source(name), 0.0, due=due)
    seen = []
    now = 0.0
    while now < NEVER:
        while (chosen := made.pick(now)) is not None:
            seen.append((chosen.name, now))
        now = made.next_event(now)
    assert seen == [("now", 0.0), ("soon", 10.0), ("late", 30.0)]


def test_a_pause_frees_the_slot_for_others_and_ends_at_its_time() -> None:
    """harvest 4"""
    made = full_of(2, limit=1)
    first = made.pick(0.0)
    assert first is not None
    made.answer(first.name, 1.0)
    made.rest(first.name, 121.0, 1.0)
    other = made.pick(1.0)
    assert other is not None
    assert other.name != first.name
    made.answer(other.name, 2.0)
    made.finish(other.name, NEVER, 2.0)
    assert made.pick(120.9) is None
    assert made.next_event(2.0) == 121.0
    assert made.pick(121.0) == first


def test_a_pause_that_is_extended_or_cut_short_counts_from_its_beginning() -> None:
    """harvest 4"""
    made = at(State.PAUSED)
    began = made["a"].began
    made.rest("a", 500.0, 40.0)
    assert made["a"].began == began
    assert made.pick(100.0) is None, "the reminder of the shorter pause must be outdated"
    made.rest("a", 101.0, 101.0)
    assert made.pick(101.0) is not None


@pytest.mark.parametrize("state", [State.PAUSED, State.WAITING])
def test_a_restart_keeps_pauses_and_waits(state: State) -> None:
    """harvest 4, 15"""
    made = schedule()
    made.join(source(), 100.0, due=0.0)
    made.restore("a", 100.0, state=state, until=130.0, attempt=4, reason="busy")
    assert made.pick(129.0) is None
    assert made.next_event(129.0) == 130.0
    assert made.pick(130.0) is not None
    assert made["a"].attempt == 4


def test_only_an_idle_source_can_be_put_back_into_a_pause() -> None:
    """harvest 4"""
    with pytest.raises(ImpossibleTransition):
        at(State.READY).restore("a", 0.0, state=State.PAUSED, until=1.0)
    with pytest.raises(ImpossibleTransition):
        at(State.IDLE).restore("a", 0.0, state=State.READY, until=1.0)


def test_a_blocked_source_is_not_asked_until_it_is_resumed() -> None:
    """harvest 3, 12"""
    made = at(State.BLOCKED)
    assert made.pick(1e9) is None
    assert made.next_event(1e9) == NEVER
    assert made["a"].reason == "said so"
    made.resume("a", 5.0)
    assert made.pick(5.0) is not None


def test_a_ready_source_that_is_blocked_or_leaves_is_not_picked() -> None:
    """harvest 3, 7"""
    made = full_of(3, limit=9)
    made.counts(0.0)
    made.block("s1", "bot wall", 0.0)
    made.leave("s0")
    assert "s0" not in made
    chosen = made.pick(0.0)
    assert chosen is not None
    assert chosen.name == "s2"
    assert made.pick(0.0) is None
    assert len(made) == 2


def test_a_source_that_comes_back_is_not_woken_by_a_reminder_of_its_former_life() -> None:
    """harvest 7"""
    made = schedule()
    made.join(source(), 0.0, due=10.0)
    made.leave("a")
    made.join(source(), 0.0, due=100.0)
    assert made.next_event(50.0) == 100.0
    assert made.pick(50.0) is None
    assert made.pick(100.0) is not None


def test_the_same_source_cannot_join_twice() -> None:
    """harvest 7"""
    made = at(State.IDLE)
    with pytest.raises(ImpossibleTransition, match="has joined g already"):
        made.join(source(), 0.0)


def test_a_disabled_source_is_known_and_never_asked() -> None:
    """harvest 3"""
    made = at(State.DISABLED)
    assert made.counts(1e9)[State.DISABLED] == 1
    assert made.pick(1e9) is None


def test_a_lowered_limit_lets_what_is_in_flight_come_to_its_end() -> None:
    """harvest 5, 7"""
    made = full_of(9, limit=4)
    flying = [made.pick(0.0) for _ in range(4)]
    made.regroup(Group(name="g", limit=2))
    for number, left in ((0, 3), (1, 2)):
        chosen = flying[number]
        assert chosen is not None
        made.answer(chosen.name, 1.0)
        assert made.in_flight == left
        assert made.pick(1.0) is None
    chosen = flying[2]
    assert chosen is not None
    made.answer(chosen.name, 1.0)
    assert made.pick(1.0) is not None
    made.regroup(Group(name="g", limit=5))
    assert [made.pick(1.0) is not None for _ in range(4)] == [True, True, True, False]


def starts(made: Schedule, until: float) -> list[tuple[float, str]]:
    """Every start up to a moment, when each answer comes at once and each source always has more."""
    now, found = 0.0, []
    while now < until:
        while (chosen := made.pick(now)) is not None:
            found.append((now, chosen.name))
            made.answer(chosen.name, now)
            made.more(chosen.name, now, bulk=False)
        after = made.next_event(now)
        assert after > now, "a moment at which nothing can start must not be offered"
        now = after
    return found


def test_exactly_so_many_requests_of_a_group_start_in_any_minute() -> None:
    """harvest 6"""
    moments = [moment for moment, _ in starts(full_of(5, limit=3, requests_per_minute=7), 600.0)]
    assert len(moments) == 70, "7 a minute for 10 minutes: all that is allowed is used"
    assert all(late - early >= 60.0 for early, late in zip(moments, moments[7:], strict=False))


def test_exactly_so_many_requests_of_a_source_start_in_any_minute_and_others_go_on() -> None:
    """harvest 6"""
    made = schedule(limit=1, requests_per_minute=10)
    made.join(source("slow", requests_per_minute=2), 0.0)
    made.join(source("fast"), 0.0)
    found = starts(made, 600.0)
    slow = [moment for moment, name in found if name == "slow"]
    assert len(found) == 100
    assert 2 <= len(slow) <= 20
    assert all(late - early >= 60.0 for early, late in zip(slow, slow[2:], strict=False))


def test_a_source_whose_minute_is_used_up_says_so_while_it_waits() -> None:
    """harvest 6"""
    made = schedule()
    made.join(source(requests_per_minute=1), 0.0)
    assert made.pick(0.0) is not None
    made.answer("a", 1.0)
    made.more("a", 1.0, bulk=False)
    assert made.pick(1.0) is None
    assert made["a"].state is State.WAITING
    assert made["a"].reason == "its requests per minute are used up"
    assert made.next_event(1.0) == 60.0
    assert made.pick(60.0) is not None


def test_a_changed_rate_of_a_group_remembers_what_started_before() -> None:
    """harvest 6, 7"""
    made = full_of(9, limit=9, requests_per_minute=3)
    assert [made.pick(0.0) is not None for _ in range(4)] == [True, True, True, False]
    made.regroup(Group(name="g", limit=9, requests_per_minute=4))
    assert [made.pick(1.0) is not None for _ in range(2)] == [True, False]
    assert made.next_event(1.0) == 60.0


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def blackout(start: str, end: str, zone: str, *days: int) -> Blackout:
    return Blackout(
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        zone=ZoneInfo(zone),
        days=frozenset(days) if days else frozenset(range(7)),
    )


@pytest.mark.parametrize("of", ["group", "source"])
def test_in_blackout_hours_of_the_library_s_own_clock_no_request_starts(of: str) -> None:
    """harvest 6: 08:00 to 18:00 in New York is 12:00 to 22:00 UTC in summer."""
    hours = (blackout("08:00", "18:00", "America/New_York"),)
    made = schedule(blackouts=hours if of == "group" else ())
    made.join(source(blackouts=hours if of == "source" else ()), 0.0)
    inside, end = moment("2026-07-01T12:00:00+00:00"), moment("2026-07-01T22:00:00+00:00")
    assert made.pick(inside) is None
    assert made.next_event(inside) == end
    assert made.pick(end - 1) is None
    assert made.pick(end) is not None


def test_a_request_in_flight_is_finished_in_blackout_hours() -> None:
    """harvest 6"""
    made = schedule(blackouts=(blackout("12:00", "13:00", "UTC"),))
    made.join(source(), 0.0)
    noon = moment("2026-07-01T12:00:00+00:00")
    assert made.pick(noon - 1) is not None
    made.answer("a", noon + 1)
    made.more("a", noon + 1, bulk=False)
    assert made.pick(noon + 1) is None
    assert made.closed_until(noon + 1) == noon + 3600


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        # over midnight, begun yesterday
        (blackout("22:00", "06:00", "Europe/Berlin"), "2026-01-10T04:00:00+00:00", "2026-01-10T05:00:00+00:00"),
        # a Friday night lasts into Saturday, but Saturday's does not begin
        (blackout("22:00", "06:00", "UTC", 4), "2026-01-10T05:59:00+00:00", "2026-01-10T06:00:00+00:00"),
        (blackout("22:00", "06:00", "UTC", 4), "2026-01-10T23:00:00+00:00", None),
        # the night in which clocks go forward is an hour shorter: 06:00 summer time is 04:00 UTC
        (blackout("22:00", "06:00", "Europe/Berlin"), "2026-03-28T23:00:00+00:00", "2026-03-29T04:00:00+00:00"),
        # the night in which they go back is an hour longer: 06:00 winter time is 05:00 UTC
        (blackout("22:00", "06:00", "Europe/Berlin"), "2026-10-24T21:00:00+00:00", "2026-10-25T05:00:00+00:00"),
        # an hour that comes twice: the blackout ends with the second 02:30
        (blackout("01:00", "02:30", "Europe/Berlin"), "2026-10-25T00:45:00+00:00", "2026-10-25T01:30:00+00:00"),
        # an hour that is missing: 02:30 is read with the offset before the change, 01:30 UTC
        (blackout("02:30", "05:00", "Europe/Berlin"), "2026-03-29T01:30:00+00:00", "2026-03-29T03:00:00+00:00"),
        (blackout("08:00", "18:00", "UTC"), "2026-01-10T18:00:00+00:00", None),
        # the same time twice is a whole day
        (blackout("08:00", "08:00", "UTC", 0), "2026-01-05T09:00:00+00:00", "2026-01-06T08:00:00+00:00"),
    ],
)
def test_blackout_hours_follow_the_clock_on_the_wall(hours: Blackout, now: str, until: str | None) -> None:
    """harvest 6"""
    made = schedule(blackouts=(hours,))
    here = moment(now)
    assert made.closed_until(here) == (here if until is None else moment(until))


def test_blackouts_that_join_up_are_one_and_a_bound_ends_those_that_never_open() -> None:
    """harvest 6"""
    two = (blackout("08:00", "12:00", "UTC"), blackout("12:00", "14:00", "UTC"))
    here = moment("2026-01-05T09:00:00+00:00")
    assert schedule(blackouts=two).closed_until(here) == here + 5 * 3600
    always = (blackout("08:00", "08:00", "UTC"),)
    closed = schedule(blackouts=always).closed_until(here)
    assert 14 * DAYS <= closed - here <= 16 * DAYS


def test_a_moment_without_a_zone_is_refused() -> None:
    """harvest 6"""
    with pytest.raises(ValueError, match="time zone"):
        blackout("08:00", "09:00", "UTC").until(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_thousand_sources_that_wait_cost_no_work_at_a_pick() -> None:
    """harvest 9: a pick touches only what has become ready."""
    made = schedule(limit=1000)
    for number in range(1000):
        made.join(source(f"s{number}"), 0.0, due=1000.0 + number)
    calls = 0
    alive = made._live

    def counted(reminder: tuple[float, int, str]) -> bool:
        nonlocal calls
        calls += 1
        return alive(reminder)

    made._live = counted  # type: ignore[method-assign]
    assert made.pick(1000.0) is not None
    assert calls < 10


def test_counts_names_and_repr_tell_what_a_schedule_holds() -> None:
    """harvest 3"""
    made = full_of(4, limit=2)
    made.pick(0.0)
    made.block("s0" if made["s0"].state is State.READY else "s1", "x", 0.0)
    assert made.names() == ["s0", "s1", "s2", "s3"]
    counts = made.counts(0.0)
    assert (counts[State.IN_FLIGHT], counts[State.READY], counts[State.BLOCKED]) == (1, 2, 1)
    assert sum(counts.values()) == 4
    assert repr(made) == "<Schedule g: 1 in flight, 2 ready, 0 paused, 0 done>"


def test_the_zone_of_a_blackout_is_kept_when_the_day_differs_from_that_of_utc() -> None:
    """harvest 6: 09:00 on Monday in Auckland is 20:00 on Sunday in UTC (summer time, 13 hours ahead)."""
    hours = blackout("08:00", "10:00", "Pacific/Auckland", 0)
    sunday = datetime(2026, 1, 4, 20, 0, tzinfo=UTC)
    assert hours.until(sunday) == sunday + timedelta(hours=1)
    assert hours.until(sunday + timedelta(days=1)) is None
