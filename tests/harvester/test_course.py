"""The course of a pass as JSON: what is stored with every page, and read back after a crash."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.course import Course, FileMark, Gap, Method, Window, WindowKind, dump, load

MOMENTS = st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = st.text(max_size=12)
COUNTS = st.integers(0, 2**40)
WINDOWS = st.builds(
    Window,
    number=COUNTS,
    kind=st.sampled_from(WindowKind),
    since=MOMENTS,
    until=MOMENTS,
    method=st.sampled_from(Method),
    depth=COUNTS,
    restarts=COUNTS,
    repairs=st.none() | COUNTS,
    set_index=COUNTS,
    token=st.none() | TEXTS,
    token_dies=st.none() | st.floats(0, 1e11),
    received=COUNTS,
    size=st.none() | COUNTS,
    empty_pages=COUNTS,
    recent=st.lists(TEXTS, max_size=3).map(tuple),
    pending=st.lists(TEXTS, max_size=3).map(tuple),
    tries=COUNTS,
    lost=COUNTS,
    attempts=COUNTS,
)
GAPS = st.builds(Gap, run=COUNTS, since=MOMENTS, until=MOMENTS, attempts=COUNTS)
FILES = st.builds(FileMark, name=TEXTS, size=COUNTS, mtime=st.floats(0, 1e11), digest=st.none() | TEXTS, part=st.booleans())
COURSES = st.builds(
    Course,
    id=TEXTS,
    full=st.booleans(),
    sweep=st.booleans(),
    watermark=MOMENTS,
    since=MOMENTS,
    gaps=st.lists(GAPS, max_size=2).map(tuple),
    started=MOMENTS,
    seconds=st.booleans(),
    earliest=MOMENTS,
    windows=st.lists(WINDOWS, max_size=3).map(tuple),
    numbered=COUNTS,
    splits=COUNTS,
    coarse=st.booleans(),
    blind=st.booleans(),
    failed=COUNTS,
    strikes=COUNTS,
    setbacks=COUNTS,
    blind_probes=COUNTS,
    tries=COUNTS,
    outside=COUNTS,
    announced=st.none() | COUNTS,
    error=st.none() | TEXTS,
    warnings=st.lists(TEXTS, max_size=2).map(tuple),
    files=st.lists(FILES, max_size=2).map(tuple),
    closed=st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(COURSES)
def test_a_course_comes_back_from_json_as_it_was(course: Course) -> None:
    """harvest 21"""
    assert load(json.loads(json.dumps(dump(course)))) == course


def test_every_field_of_a_course_and_a_window_is_tried_above() -> None:
    """harvest 21: a field that were forgotten in the strategies would keep its default and prove nothing."""
    source = Path(__file__).read_text(encoding="utf-8")
    for kind, strategy in (
        (Course, "COURSES = st.builds("),
        (Window, "WINDOWS = st.builds("),
        (Gap, "GAPS = st.builds("),
        (FileMark, "FILES = st.builds("),
    ):
        told = source.partition(strategy)[2].partition("\n)")[0]
        assert all(f"{each.name}=" in told for each in fields(kind)), kind


def test_what_is_stored_is_small_while_nothing_has_happened() -> None:
    """harvest 21: it is written with every page."""
    assert dump(Course(id="p", full=True, sweep=False)) == {"id": "p", "full": True, "sweep": False}


@given(JSON)
def test_json_that_is_no_course_is_none(document: object) -> None:
    """harvest 21: the pass then begins anew, which loses nothing."""
    assert load(document) is None


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        [],
        "course",
        {"id": "p", "full": True},
        {"id": 5, "full": True, "sweep": False},
        {"id": "p", "full": "perhaps", "sweep": False},
        {"id": "p", "full": True, "sweep": False, "windows": [{"number": 1, "kind": "something new"}]},
        {"id": "p", "full": True, "sweep": False, "windows": [{"kind": "full"}]},
        {"id": "p", "full": True, "sweep": False, "windows": {"number": 1}},
        {"id": "p", "full": True, "sweep": False, "started": "yesterday"},
        {"id": "p", "full": True, "sweep": False, "gaps": [{"run": "one"}]},
        {"id": "p", "full": True, "sweep": False, "windows": [{"number": 1, "kind": "full", "method": "telepathy"}]},
    ],
)
def test_a_course_of_another_version_is_none(document: object) -> None:
    """harvest 21"""
    assert load(document) is None


@pytest.mark.parametrize(
    ("windows", "full", "since", "bulk"),
    [
        ((), True, None, True),
        ((), False, datetime(2026, 1, 1, tzinfo=UTC), False),
        ((), False, None, True),
        ((Window(number=1, kind=WindowKind.FULL),), True, None, True),
        ((Window(number=1, kind=WindowKind.DELTA, since=datetime(2026, 1, 1, tzinfo=UTC)),), True, None, False),
        ((Window(number=1, kind=WindowKind.DELTA),), False, None, True),
        ((Window(number=1, kind=WindowKind.SWEEP),), False, datetime(2026, 1, 1, tzinfo=UTC), True),
        ((Window(number=1, kind=WindowKind.REPAIR),), False, datetime(2026, 1, 1, tzinfo=UTC), True),
    ],
)
def test_only_a_delta_goes_before_what_may_be_long(windows: tuple[Window, ...], full: bool, since: datetime | None, bulk: bool) -> None:
    """harvest 2"""
    assert Course(id="p", full=full, sweep=False, since=since, windows=windows).bulk is bulk
