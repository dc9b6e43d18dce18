"""The frozen values: identity and fingerprint of a source, secrets by reference, blackout hours."""

from __future__ import annotations

import dataclasses
import json
import pickle
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from harvester.blackouts import free_from
from harvester.secrets import SecretError
from harvester.sources import Blackout, Configuration, Deletions, Group, SecretRef, Source

KEY = SecretRef(scheme="env", name="ALPHA_OAI_KEY")
SOURCE = Source(name="alpha", url="https://alpha.example.org/oai", headers={"Authorization": KEY}, sets=("b", "a"))
STOCKHOLM = ZoneInfo("Europe/Stockholm")


def at(written: str, zone: ZoneInfo = STOCKHOLM, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=zone, fold=fold)


@pytest.mark.parametrize(
    ("change", "other_list"),
    [
        ({"url": "https://beta.example.org/oai"}, True),
        ({"metadata_prefix": "oai_dc"}, True),
        ({"sets": ("a",)}, True),
        ({"sets": ("a", "b")}, False),  # the same sets in another order are the same records
        ({"name": "beta"}, False),
        ({"interval": 60.0}, False),
        ({"headers": {}}, False),
        ({"deletions": Deletions.SWEEP}, False),
    ],
)
def test_only_url_prefix_and_sets_make_it_another_list_of_records(change: dict[str, Any], other_list: bool) -> None:
    changed = dataclasses.replace(SOURCE, **change)
    assert (changed.identity != SOURCE.identity) is other_list
    assert changed.fingerprint != SOURCE.fingerprint


def test_every_field_is_part_of_the_fingerprint() -> None:
    """harvest 7"""
    assert SOURCE.shown().keys() == {field.name for field in dataclasses.fields(Source)}
    assert dataclasses.replace(SOURCE).fingerprint == SOURCE.fingerprint


def test_a_source_is_shown_as_json_with_its_secrets_as_references() -> None:
    """harvest 20"""
    source = dataclasses.replace(
        SOURCE,
        query={"apikey": SecretRef(scheme="prefect", name="folio")},
        username="reader",
        password=KEY,
        start=datetime(2015, 1, 1, tzinfo=UTC),
        blackouts=(Blackout(days=frozenset({0, 5}), start=time(8), end=time(18, 30), zone=STOCKHOLM),),
    )
    shown = json.loads(json.dumps(source.shown()))
    assert (shown["headers"], shown["query"], shown["password"]) == (
        {"Authorization": "env:ALPHA_OAI_KEY"},
        {"apikey": "prefect:folio"},
        "env:ALPHA_OAI_KEY",
    )
    assert (shown["start"], shown["sets"], shown["deletions"]) == ("2015-01-01T00:00:00Z", ["b", "a"], "tombstones")
    assert shown["blackouts"] == [{"days": ["mon", "sat"], "start": "08:00", "end": "18:30", "zone": "Europe/Stockholm"}]
    assert source.references() == (KEY, SecretRef(scheme="prefect", name="folio"), KEY)
    assert pickle.loads(pickle.dumps(source)) == source


def test_a_source_without_a_group_shares_the_default_one() -> None:
    """harvest 5"""
    group = Group(name="default", limit=2)
    configuration = Configuration(sources={"alpha": SOURCE}, groups={"default": group})
    assert configuration.group_of("alpha") is group
    assert group.shown() == {"name": "default", "limit": 2, "requests_per_minute": None, "blackouts": []}


# ------------------------------------------------------------------ secrets


def test_a_secret_shows_its_reference_and_never_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20"""
    monkeypatch.setenv("ALPHA_OAI_KEY", "hunter2")
    assert KEY.resolve() == "hunter2"
    assert (str(KEY), repr(KEY)) == ("env:ALPHA_OAI_KEY", "<SecretRef env:ALPHA_OAI_KEY>")
    assert "hunter2" not in repr(SOURCE) + json.dumps(SOURCE.shown())


def test_a_secret_is_resolved_by_what_the_caller_brings_along() -> None:
    block = SecretRef(scheme="prefect", name="alpha-key")
    assert block.resolve({"prefect": lambda name: f"value of {name}"}) == "value of alpha-key"


@pytest.mark.parametrize(
    ("reference", "resolvers", "what"),
    [
        (KEY, None, "env:ALPHA_OAI_KEY: the environment variable ALPHA_OAI_KEY is not set"),
        (SecretRef(scheme="prefect", name="x"), None, "prefect:x: Prefect Secret blocks can be read only inside a Prefect flow"),
        (KEY, {}, r"env:ALPHA_OAI_KEY: nothing here reads env: references \(known: none\)"),
    ],
)
def test_a_secret_that_cannot_be_read_says_which_and_why(
    monkeypatch: pytest.MonkeyPatch, reference: SecretRef, resolvers: dict[str, Any] | None, what: str
) -> None:
    monkeypatch.delenv("ALPHA_OAI_KEY", raising=False)
    with pytest.raises(SecretError, match=what) as caught:
        reference.resolve() if resolvers is None else reference.resolve(resolvers)
    assert caught.value.reference == str(reference)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("env:A_1", SecretRef(scheme="env", name="A_1")),
        ("prefect:folio-key", SecretRef(scheme="prefect", name="folio-key")),
        ("env:", None),
        ("env:A B", None),
        ("ENV:A", None),
        ("env:A\n", None),
        ("vault:a", None),
        ("hunter2", None),
    ],
)
def test_only_the_two_schemes_are_references(text: str, reference: SecretRef | None) -> None:
    assert SecretRef.read(text) == reference


# ----------------------------------------------------------- blackout hours

OFFICE = Blackout(days=frozenset(range(5)), start=time(8), end=time(18), zone=STOCKHOLM)
NIGHT = Blackout(days=frozenset({4}), start=time(22), end=time(6), zone=STOCKHOLM)  # from Friday to Saturday
WHOLE_SUNDAY = Blackout(days=frozenset({6}), start=time(0), end=time(0), zone=STOCKHOLM)


@pytest.mark.parametrize(
    ("blackout", "now", "end"),
    [
        (OFFICE, "2026-03-02T07:59:59", None),
        (OFFICE, "2026-03-02T08:00", "2026-03-02T18:00"),
        (OFFICE, "2026-03-02T17:59:59.9", "2026-03-02T18:00"),
        (OFFICE, "2026-03-02T18:00", None),
        (OFFICE, "2026-03-07T12:00", None),  # a Saturday
        (NIGHT, "2026-03-06T21:59", None),
        (NIGHT, "2026-03-06T22:00", "2026-03-07T06:00"),
        (NIGHT, "2026-03-07T05:59", "2026-03-07T06:00"),
        (NIGHT, "2026-03-07T06:00", None),
        (NIGHT, "2026-03-07T22:30", None),  # it begins on Fridays only
        (NIGHT, "2026-03-06T05:00", None),  # and what lasts into Friday began on Thursday
        (WHOLE_SUNDAY, "2026-03-08T00:00", "2026-03-09T00:00"),
        (WHOLE_SUNDAY, "2026-03-08T23:59", "2026-03-09T00:00"),
        (WHOLE_SUNDAY, "2026-03-07T23:59", None),
    ],
)
def test_a_blackout_ends_on_the_clock_of_its_zone(blackout: Blackout, now: str, end: str | None) -> None:
    """harvest 6"""
    expected = None if end is None else at(end).astimezone(UTC)
    assert blackout.until(at(now)) == expected
    assert blackout.until(at(now).astimezone(ZoneInfo("Asia/Tokyo"))) == expected


@pytest.mark.parametrize(
    ("start", "end", "now", "until"),
    [
        # spring: 2026-03-29 02:00 CET is 03:00 CEST (01:00 UTC). The night is an hour shorter.
        (time(22), time(6), "2026-03-28T23:00+01:00", "2026-03-29T04:00+00:00"),
        # an end in the missing hour is read with the offset before it: 02:30 CET = 01:30 UTC
        (time(1), time(2, 30), "2026-03-29T00:30+00:00", "2026-03-29T01:30+00:00"),
        # a start in the missing hour likewise, so 01:10 UTC is before it
        (time(2, 30), time(5), "2026-03-29T01:10+00:00", None),
        (time(2, 30), time(5), "2026-03-29T01:30+00:00", "2026-03-29T03:00+00:00"),
        # autumn: 2026-10-25 03:00 CEST is 02:00 CET (01:00 UTC); 02:30 comes twice, at 00:30 and 01:30 UTC
        (time(22), time(6), "2026-10-24T20:00+00:00", "2026-10-25T05:00+00:00"),
        (time(1), time(2, 30), "2026-10-25T00:45+00:00", "2026-10-25T01:30+00:00"),  # the second one ends it
        (time(2, 30), time(5), "2026-10-25T00:30+00:00", "2026-10-25T04:00+00:00"),  # the first one starts it
        (time(2, 30), time(5), "2026-10-25T00:29+00:00", None),
    ],
)
def test_a_blackout_is_right_in_the_nights_of_the_change_of_clocks(start: time, end: time, now: str, until: str | None) -> None:
    """harvest 6"""
    blackout = Blackout(start=start, end=end, zone=STOCKHOLM)
    assert blackout.until(datetime.fromisoformat(now)) == (None if until is None else datetime.fromisoformat(until))


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        OFFICE.until(datetime(2026, 3, 2, 12))  # noqa: DTZ001


def test_blackouts_that_join_up_are_left_at_the_end_of_the_last() -> None:
    """harvest 6"""
    evening = Blackout(start=time(17), end=time(23), zone=STOCKHOLM)
    assert free_from([OFFICE, evening], at("2026-03-02T09:00")) == at("2026-03-02T23:00")
    assert free_from([OFFICE, evening], at("2026-03-02T07:00")) == at("2026-03-02T07:00")
    assert free_from([], at("2026-03-02T07:00")) == at("2026-03-02T07:00")


def test_a_blackout_without_end_is_followed_for_two_weeks_only() -> None:
    always = Blackout(start=time(0), end=time(0), zone=STOCKHOLM)
    now = at("2026-03-02T07:00")
    assert timedelta(days=14) <= free_from([always], now) - now < timedelta(days=15)
