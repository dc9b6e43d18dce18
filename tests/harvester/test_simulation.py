"""The real schedule in virtual time: makespan against the ideal bound, limits, pauses, rates, fairness.

The arithmetic is in the tables: 60 sources of 100 pages that take 1 s, under a limit of 2, need 6,000 / 2 = 3,000 s.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.blackouts import Blackout
from harvester.engine import Engine
from harvester.simulation import Forecast, Shape, SimulationFailed, simulate
from harvester.sources import Configuration, Group, PauseMode, Source


def consortium(
    sources: int,
    *,
    limits: tuple[int, ...] = (2,),
    threshold: int = 0,
    pause: float = 120.0,
    total: int = 64,
    per_minute: int | None = None,
    source_per_minute: int | None = None,
) -> Configuration:
    """Sources dealt to the groups one after the other."""
    groups = {f"g{n}": Group(name=f"g{n}", limit=limit, requests_per_minute=per_minute) for n, limit in enumerate(limits)}
    found = {}
    for number in range(sources):
        name = f"s{number:04d}"
        found[name] = Source(
            name=name,
            url="http://simulated.invalid/oai",
            group=f"g{number % len(limits)}",
            pause_after_records=threshold,
            pause_seconds=pause,
            requests_per_minute=source_per_minute,
        )
    return Configuration(sources=found, groups=groups, total_limit=total)


def forecast(configuration: Configuration, shape: Shape, *, seed: int = 1, identify: float = 0.0) -> Forecast:
    return simulate(configuration, dict.fromkeys(configuration.sources, shape), seed=seed, identify=identify)


# sources, limits, records, page size, latency, threshold, pause: ideal = pages x latency / limit of the busiest group
HIDDEN = [
    pytest.param(60, (2,), 10_000, 100, 1.0, 0, 0.0, 3000.0, id="no pauses: 60 x 100 pages / 2"),
    pytest.param(60, (2,), 20_000, 200, 1.0, 10_000, 120.0, 3000.0, id="a pause of two minutes after 51 of 100 pages"),
    pytest.param(30, (3,), 1_760, 20, 2.0, 300, 60.0, 1760.0, id="five pauses each, the last 8 of 88 pages before the end"),
    pytest.param(40, (4,), 5_000, 100, 3.0, 1_000, 30.0, 1500.0, id="limit 4: 40 x 50 pages x 3 s / 4"),
    pytest.param(90, (2, 3, 1), 4_000, 100, 0.5, 2_000, 20.0, 600.0, id="three groups: the one with limit 1 takes 30 x 40 x 0.5 s"),
    pytest.param(200, (8,), 1_000, 50, 0.25, 0, 0.0, 125.0, id="limit 8: 200 x 20 pages / 8 / 4"),
    pytest.param(60, (60,), 1_000, 10, 1.0, 0, 0.0, 100.0, id="as many slots as sources: every chain runs undisturbed"),
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("sources", "limits", "records", "page_size", "latency", "threshold", "pause", "ideal"), HIDDEN)
def test_the_makespan_is_at_most_three_percent_above_the_ideal_where_other_sources_hide_the_rests(
    sources: int,
    limits: tuple[int, ...],
    records: int,
    page_size: int,
    latency: float,
    threshold: int,
    pause: float,
    ideal: float,
    seed: int,
) -> None:
    """harvest 28, harvest 1, harvest 4"""
    configuration = consortium(sources, limits=limits, threshold=threshold, pause=pause)
    told = forecast(configuration, Shape.of(records, page_size=page_size, latency=latency), seed=seed)
    assert told.ideal == pytest.approx(ideal)
    assert told.ideal <= told.makespan + 1e-6
    assert told.makespan <= 1.03 * told.ideal
    assert {name: group.in_flight_max for name, group in told.groups.items()} == {f"g{n}": limit for n, limit in enumerate(limits)}
    assert (told.pages, told.records) == (sources * records // page_size, sources * records)
    if len(limits) == 1:
        assert told.utilisation == pytest.approx(told.ideal / told.makespan, rel=1e-3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_rest_shortly_before_the_end_of_the_lists_is_all_that_cannot_be_hidden(seed: int) -> None:
    """harvest 4: 30 x 100 pages x 2 s / 3 = 2,000 s; every source rests for 60 s after page 96, when little is left to do meanwhile"""
    told = forecast(consortium(30, limits=(3,), threshold=300, pause=60.0), Shape.of(2_000, page_size=20, latency=2.0), seed=seed)
    assert told.ideal == pytest.approx(2000.0)
    assert told.makespan <= 1.03 * 2000.0 + 60.0


@settings(max_examples=40, deadline=None)
@given(
    limits=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    total=st.integers(1, 12),
    shapes=st.lists(
        st.builds(
            Shape.of,
            st.integers(0, 300),
            page_size=st.integers(1, 60),
            latency=st.sampled_from([0.0, 0.02, 0.5, 7.0]),
            delta=st.booleans(),
        ),
        min_size=1,
        max_size=12,
    ),
    threshold=st.sampled_from([0, 1, 50, 1000]),
    pause=st.sampled_from([0.0, 1.0, 120.0]),
    identify=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 1000),
)
def test_no_limit_is_ever_exceeded_and_no_schedule_beats_the_ideal(
    limits: tuple[int, ...], total: int, shapes: list[Shape], threshold: int, pause: float, identify: float, seed: int
) -> None:
    """harvest 1, harvest 5, harvest 28: as seen by the simulated repositories, not by the schedule itself"""
    configuration = consortium(len(shapes), limits=limits, threshold=threshold, pause=pause, total=total)
    told = simulate(configuration, dict(zip(configuration.sources, shapes, strict=True)), seed=seed, identify=identify)
    assert told.in_flight_max <= total
    assert all(group.in_flight_max <= group.limit for group in told.groups.values())
    assert told.makespan >= told.ideal - 1e-6
    assert 0.0 <= told.utilisation <= 1.0 + 1e-9
    assert told.pages == sum(shape.pages for shape in shapes)
    assert told.records == sum(shape.records for shape in shapes)
    assert told.lag.keys() == configuration.sources.keys()


def test_an_hour_and_a_half_of_sixty_sources_and_six_thousand_pages_passes_in_virtual_time() -> None:
    """harvest 28: 60 x 100 pages x 1.8 s / 2 = 5,400 s; in real time this test would not end before dinner"""
    told = forecast(consortium(60, threshold=10_000, pause=120.0), Shape.of(30_000, page_size=300, latency=1.8))
    assert told.pages == 6000
    assert 5400.0 <= told.makespan <= 1.03 * 5400.0


@pytest.mark.parametrize(
    ("records", "page_size", "threshold", "rests"),
    [
        pytest.param(10_000, 100, 10_000, 0, id="exactly the threshold is not more than the threshold"),
        pytest.param(10_100, 100, 10_000, 0, id="after the last page nobody waits"),
        pytest.param(10_200, 100, 10_000, 1, id="after page 101, with 10,100 records"),
        pytest.param(30_000, 300, 10_000, 2, id="after pages 34 and 68"),
        pytest.param(500, 100, 0, 0, id="0 switches pauses off"),
    ],
)
def test_a_source_alone_takes_its_pages_and_its_rests_and_nothing_else(records: int, page_size: int, threshold: int, rests: int) -> None:
    """harvest 4"""
    shape = Shape.of(records, page_size=page_size, latency=0.5)
    assert shape.rests(threshold) == rests
    told = forecast(consortium(1, threshold=threshold, pause=120.0), shape)
    assert told.makespan == pytest.approx(shape.pages * 0.5 + rests * 120.0, abs=1e-3)
    assert told.ideal == pytest.approx(told.makespan, abs=1e-3)


def test_a_delta_does_not_wait_for_first_harvests_to_end() -> None:
    """harvest 2, harvest 3: 50 first harvests take 2,500 s under a limit of 2; ten deltas of one page are through long before"""
    configuration = consortium(60)
    names = list(configuration.sources)
    shapes = dict.fromkeys(names, Shape.of(10_000, page_size=100, latency=1.0))
    shapes |= dict.fromkeys(names[:10], Shape.of(40, page_size=100, latency=1.0, delta=True))
    told = simulate(configuration, shapes, seed=5)
    assert told.makespan > 2500.0
    assert max(told.lag[name] for name in names[:10]) < 60.0


@pytest.mark.parametrize(
    ("where", "ideal"),
    [
        # 20 sources x (Identify + 10 pages) = 220 requests; 220 of 20 a minute cannot start in less than 10 minutes
        pytest.param({"per_minute": 20}, 600.0, id="of the group"),
        # 11 requests of 2 a minute, for each source by itself: 5 minutes
        pytest.param({"source_per_minute": 2}, 300.0, id="of every source"),
    ],
)
def test_requests_per_minute_are_kept_and_are_in_the_bound(where: dict[str, int], ideal: float) -> None:
    """harvest 6"""
    told = forecast(consortium(20, limits=(10,), **where), Shape.of(1000, page_size=100, latency=0.1))  # type: ignore[arg-type]
    assert told.ideal == pytest.approx(ideal)
    assert ideal <= told.makespan < ideal + 61.0


@pytest.mark.parametrize("whose", ["group", "source"])
def test_blackout_hours_are_waited_for(whose: str) -> None:
    """harvest 6: it begins at noon, ten pages of 60 s take until 12:05 (noon to 12:05 exclusive), then nothing until one o'clock"""
    night = (Blackout(start=time(12, 5), end=time(13, 0), zone=ZoneInfo("UTC")),)
    plain = consortium(1)
    if whose == "group":
        closed = replace(plain, groups={"g0": replace(plain.groups["g0"], blackouts=night)})
    else:
        closed = replace(plain, sources={"s0000": replace(plain.sources["s0000"], blackouts=night)})
    shapes = {"s0000": Shape.of(10, page_size=1, latency=60.0)}
    told = simulate(closed, shapes, seed=1, began=datetime(2026, 7, 1, 12, 0, tzinfo=UTC).timestamp())
    # five pages until 12:05, the other five from 13:00 on
    assert told.makespan == pytest.approx(3600.0 + 300.0, abs=1e-3)
    assert told.ideal == pytest.approx(600.0)


def test_identify_counts_as_soon_as_it_takes_time() -> None:
    """harvest 10: one for each of 10 sources, 2 s each, beside 10 pages of 1 s, under a limit of 2"""
    told = forecast(consortium(10), Shape.of(10, page_size=10, latency=1.0), identify=2.0)
    assert told.ideal == pytest.approx(15.0)
    assert told.makespan == pytest.approx(15.0)


def test_what_only_real_sources_have_does_not_change_the_simulation() -> None:
    """Windows, sets, sweeps and a pause for the vacuum would ask for lists that nobody simulates."""
    plain = consortium(3, threshold=100, pause=10.0)
    odd = replace(
        plain,
        sources={
            name: replace(source, windows=86400.0, sets=("a", "b"), pause_mode=PauseMode.VACUUM) for name, source in plain.sources.items()
        },
    )
    shape = Shape.of(1000, page_size=50, latency=0.5)
    assert forecast(odd, shape) == forecast(plain, shape)


def test_the_same_seed_gives_the_same_forecast_and_another_seed_another_order() -> None:
    """harvest 2"""
    configuration, shape = consortium(20), Shape.of(500, page_size=50, latency=1.0)
    first, again, other = (forecast(configuration, shape, seed=seed).lag for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_records_are_spread_evenly_where_only_the_number_of_pages_is_known() -> None:
    shape = Shape(records=10, pages=4, latency=0.1)
    assert [shape.size(page) for page in range(4)] == [2, 3, 2, 3]
    assert forecast(consortium(1), shape).records == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"records": -1, "pages": 1, "latency": 1.0},
        {"records": 1, "pages": 0, "latency": 1.0},
        {"records": 1, "pages": 1, "latency": -1.0},
        {"records": 1, "pages": 1, "latency": float("nan")},
        {"records": 1, "pages": 1, "latency": float("inf")},
    ],
)
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Shape(**wrong)  # type: ignore[arg-type]


def test_a_pass_that_does_not_complete_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Engine, *, once: bool = False, seconds: float | None = None) -> None:
        """An engine that does nothing."""

    monkeypatch.setattr(Engine, "run", nothing)
    with pytest.raises(SimulationFailed, match="3 sources never had their pass"):
        forecast(consortium(3), Shape.of(10, page_size=10, latency=1.0))
