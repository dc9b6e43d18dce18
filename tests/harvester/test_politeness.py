"""Back-off, Retry-After, breaker, pauses, rates and held deletions: every decision is a value."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.politeness import (
    BACKOFF_CAP,
    BREAKER_CAP,
    MINUTE,
    REST_CAP,
    REST_CHECK,
    RETRY_AFTER_CAP,
    AfterPage,
    Pressure,
    Rate,
    after_page,
    backoff,
    breaker,
    hold_deletions,
    latest,
    rest,
    retry_after,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("before", "records", "threshold", "expected"),
    [
        (0, 10_000, 10_000, AfterPage(since_pause=10_000, paused_until=None)),  # not greater than
        (0, 10_001, 10_000, AfterPage(since_pause=0, paused_until=NOW + 120)),
        (9_999, 1, 10_000, AfterPage(since_pause=10_000, paused_until=None)),
        (10_000, 1, 10_000, AfterPage(since_pause=0, paused_until=NOW + 120)),
        (9_950, 100, 10_000, AfterPage(since_pause=0, paused_until=NOW + 120)),  # counted anew from 0, not from the 50 above
        (10_000, 0, 10_000, AfterPage(since_pause=10_000, paused_until=None)),  # an empty page
        (0, 1, 1, AfterPage(since_pause=1, paused_until=None)),
        (5_000_000, 100, 0, AfterPage(since_pause=5_000_100, paused_until=None)),  # 0 switches pauses off
    ],
)
def test_a_source_rests_when_its_counter_is_greater_than_the_threshold(
    before: int, records: int, threshold: int, expected: AfterPage
) -> None:
    """harvest 4"""
    assert after_page(before, records, threshold=threshold, seconds=120.0, now=NOW) == expected


@given(pages=st.lists(st.integers(0, 500), max_size=200), threshold=st.integers(1, 2000))
def test_between_two_pauses_there_are_more_records_than_the_threshold_and_less_than_a_page_above(pages: list[int], threshold: int) -> None:
    """harvest 4"""
    counter = since = 0
    for records in pages:
        decision = after_page(counter, records, threshold=threshold, seconds=1.0, now=0.0)
        since += records
        if decision.paused_until is not None:
            assert threshold < since <= threshold + records
            since = 0
        assert decision.since_pause == since <= threshold
        counter = decision.since_pause


@pytest.mark.parametrize(
    ("dead", "running", "now", "expected"),
    [
        (49, False, 0.0, None),  # caught up at once: the pause ends before its seconds are over
        (50, False, 0.0, REST_CHECK),  # autovacuum is about to start
        (0, True, 0.0, REST_CHECK),  # it runs: dead tuples are counted at its end
        (50, False, 200.0, 205.0),  # beyond the configured 120 s, because it has not caught up
        (50, False, 1198.0, 1200.0),  # never beyond ten times the pause
        (50, True, 1200.0, None),
        (50, True, 9999.0, None),
    ],
)
def test_a_rest_for_the_vacuum_ends_when_it_has_caught_up_or_at_its_bound(
    dead: int, running: bool, now: float, expected: float | None
) -> None:
    """harvest 4"""
    assert rest(Pressure(dead=dead, trigger=50, running=running), began=0.0, seconds=120.0, now=now) == expected
    assert REST_CAP * 120.0 == 1200.0


@given(attempt=st.integers(0, 10_000), seed=st.integers(0, 1000))
def test_back_off_has_full_jitter_and_a_bound(attempt: int, seed: int) -> None:
    """harvest 15"""
    wait = backoff(attempt, Random(seed))
    assert 0.0 <= wait <= min(BACKOFF_CAP, 2.0 ** min(attempt - 1, 16))


def test_back_off_grows_with_the_attempts_and_differs_from_source_to_source() -> None:
    """harvest 15: the mean of a uniform draw from 0 to 2 ** (n - 1) is 2 ** (n - 2)."""
    rng = Random(5)
    means = [sum(backoff(attempt, rng) for _ in range(400)) / 400 for attempt in (1, 3, 5, 7)]
    assert [pytest.approx(mean, rel=0.15) for mean in means] == [0.5, 2.0, 8.0, 32.0]
    assert len({backoff(4, Random(seed)) for seed in range(50)}) == 50


def http_date(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", NOW + 120),
        (" 120 ", NOW + 120),
        ("0", NOW),
        ("00000000000060", NOW + 60),
        (http_date(NOW + 90), NOW + 90),
        (http_date(NOW - 90), NOW),  # past: come back at once
        ("Sunday, 01-Mar-26 12:01:30 GMT", NOW + 90),  # the obsolete form of RFC 850
        ("Sun Mar  1 12:01:30 2026", NOW + 90),  # that of asctime
        ("Sun, 01 Mar 2026 13:01:30 +0100", NOW + 90),
        ("86401", NOW + RETRY_AFTER_CAP),
        ("31536000", NOW + RETRY_AFTER_CAP),  # a year
        ("9" * 5000, NOW + RETRY_AFTER_CAP),
        (http_date(NOW + 400 * 86400), NOW + RETRY_AFTER_CAP),
        (None, None),
        ("", None),
        ("   ", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),  # a digit to Python
        ("١٢", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999999999", None),
    ],
)
def test_retry_after_is_honoured_in_seconds_and_as_a_date(value: str | None, expected: float | None) -> None:
    """harvest 15"""
    assert retry_after(value, NOW) == expected


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d+:\d+:\d+ [+-]?\w*", fullmatch=True))
def test_no_retry_after_header_leads_out_of_its_bounds(value: str) -> None:
    """harvest 15"""
    moment = retry_after(value, NOW)
    assert moment is None or NOW <= moment <= NOW + RETRY_AFTER_CAP


def test_below_the_threshold_a_failed_source_comes_again_after_its_interval() -> None:
    """harvest 15"""
    assert [breaker(failures, 3, 120.0, NOW, Random(1)) for failures in (0, 1, 2)] == [NOW + 120.0] * 3


def test_the_breaker_grows_to_six_hours_and_no_further() -> None:
    """harvest 15: 120 s doubled with each failure from the third on, with a tenth of jitter."""
    waits = [breaker(failures, 3, 120.0, 0.0, Random(1)) for failures in range(3, 14)]
    for wait, bare in zip(waits, [240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600, 21600, 21600], strict=True):
        assert 0.9 * bare <= wait <= 1.1 * bare
    assert breaker(10**6, 3, 120.0, 0.0, Random(1)) <= 1.1 * BREAKER_CAP


@given(failures=st.integers(1, 100), threshold=st.integers(1, 10), interval=st.floats(1.0, 40 * 86400.0), seed=st.integers(0, 99))
def test_a_broken_source_is_never_asked_notably_more_often_than_a_healthy_one(
    failures: int, threshold: int, interval: float, seed: int
) -> None:
    """harvest 15"""
    wait = breaker(failures, threshold, interval, 0.0, Random(seed))
    assert 0.9 * interval <= wait <= 1.1 * max(interval, BREAKER_CAP)


@given(limit=st.integers(1, 6), steps=st.lists(st.sampled_from([0.0, 0.125, 1.0, 7.25, 59.875, 60.0]), min_size=1, max_size=80))
def test_a_rate_lets_exactly_so_many_start_in_any_minute(limit: int, steps: list[float]) -> None:
    """harvest 6"""
    rate, now, started = Rate(limit), 0.0, []
    for step in steps:
        now += step
        free = rate.free_at(now)
        recent = [moment for moment in started if moment > now - MINUTE]
        if free <= now:
            assert len(recent) < limit or recent[-limit] + MINUTE <= now
            rate.start(now)
            started.append(now)
        else:
            assert len(recent) == limit, "a start was refused although the minute had room"
            assert free == recent[0] + MINUTE
    assert len(rate.starts) <= limit + 1, "what is older than a minute is forgotten"


def test_no_rate_is_no_limit_and_keeps_nothing() -> None:
    """harvest 6"""
    rate = Rate(None)
    for _ in range(1000):
        assert rate.free_at(5.0) == 5.0
        rate.start(5.0)
    assert len(rate.starts) == 0
    assert repr(rate) == "<Rate 0/unlimited a minute>"


@pytest.mark.parametrize(
    ("deletions", "known", "held"),
    [
        (99, 100, False),  # fewer than 100 are never held, whatever the share
        (100, 100, True),
        (100, 399, True),  # 25.06 %
        (100, 400, False),  # exactly 25 % is not more than 25 %
        (101, 400, True),
        (250, 1000, False),
        (251, 1000, True),
        (0, 0, False),
        (100, 0, True),  # more than is known at all
    ],
)
def test_deletions_of_more_than_a_quarter_and_at_least_a_hundred_are_held(deletions: int, known: int, held: bool) -> None:
    """harvest 23"""
    hold = hold_deletions(deletions, known, share=0.25, minimum=100)
    assert (hold is not None) == held


def test_a_hold_says_how_much_would_be_deleted() -> None:
    """harvest 23"""
    hold = hold_deletions(1234, 2000, share=0.25, minimum=100)
    assert hold is not None
    assert hold.reason == "1,234 of 2,000 known records would be deleted (62%)"
    assert (hold_deletions(5, 5, share=0.0, minimum=1), hold_deletions(5, 5, share=1.0, minimum=1)) != (None, None)


def test_the_latest_of_some_moments_leaves_out_those_that_are_none() -> None:
    """harvest 4, 15: a due time, a Retry-After and a pause may all be there, or none."""
    assert latest([3.0, None, 9.0]) == 9.0
    assert latest([None, None]) is None
    assert latest([]) is None
