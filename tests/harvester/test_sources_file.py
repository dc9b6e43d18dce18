"""sources.yaml: what it says, which source of a value wins, and every mistake told at once with its place."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.configuration import load
from harvester.problems import ConfigurationError, Problem
from harvester.settings import Settings
from harvester.sources import (
    Blackout,
    Configuration,
    Deletions,
    EndOfList,
    Group,
    Kind,
    PauseMode,
    SecretRef,
    Source,
    TokenRetry,
)

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {"ALPHA_OAI_KEY": "hunter2"}
Read = Callable[..., Configuration]
Mistakes = Callable[..., list[Problem]]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("WINDROW_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads a text as a file, under variables."""

    def reading(text: str | bytes, **variables: str) -> Configuration:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        path = tmp_path / "sources.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, Settings.load(), environ=ENVIRON, name="sources.yaml")

    return reading


@pytest.fixture
def mistakes(read: Read) -> Mistakes:
    """What is wrong with a text."""

    def finding(text: str | bytes, **variables: str) -> list[Problem]:
        with pytest.raises(ConfigurationError) as caught:
            read(text, **variables)
        return list(caught.value.problems)

    return finding


def test_the_example_of_the_specification_is_read(read: Read) -> None:
    configuration = read(
        """
groups:
  hosted-folio: {limit: 2, requests_per_minute: 80}
defaults: {metadata_prefix: marc21, interval: 2m}
sources:
  mobius-alpha:
    url: https://alpha.example.org/oai
    group: hosted-folio
    metadata_prefix: marc21_withholdings
    headers: {Authorization: env:ALPHA_OAI_KEY}
"""
    )
    assert configuration.sources == {
        "mobius-alpha": Source(
            name="mobius-alpha",
            url="https://alpha.example.org/oai",
            group="hosted-folio",
            metadata_prefix="marc21_withholdings",
            headers={"Authorization": SecretRef(scheme="env", name="ALPHA_OAI_KEY")},
        )
    }
    assert configuration.groups == {
        "default": Group(name="default", limit=2),
        "hosted-folio": Group(name="hosted-folio", limit=2, requests_per_minute=80),
    }
    assert (configuration.total_limit, configuration.seed) == (64, None)


def test_every_key_of_a_source_is_read(read: Read) -> None:
    """harvest 6, 10, 11, 12, 15, 16, 17, 18, 20, 23"""
    configuration = read(
        """
groups: {g: {limit: 3, blackouts: [{start: 00:00, end: 24:00, zone: UTC, days: sun}]}}
sources:
  a:
    url: HTTPS://alpha.example.org:8443/oai?repo=1
    group: g
    metadata_prefix: MARC21-xml
    sets: [theses, "maps:old"]
    headers: {X-Tenant: 0123, X-Okapi-Token: prefect:okapi}
    query: {apikey: env:ALPHA_OAI_KEY, view: full}
    username: reader
    password: env:ALPHA_OAI_KEY
    interval: 90
    overlap: 0
    granularity: day
    deletions: sweep
    sweep_every: 3d
    full_every: 30d
    windows: 1d
    start: 2015-01-01
    token_retry: idempotent
    end_of_list: no_records_match
    repair: true
    enabled: false
    kind: authority
    connect_timeout: 5s
    first_page_timeout: 15m
    page_timeout: 1m
    page_bytes_limit: 1MiB
    pause_after_records: 0
    pause_seconds: 1m
    pause_mode: vacuum
    requests_per_minute: 30
    blackouts:
      - {start: "08:00", end: "6:30", zone: Europe/Stockholm, days: [fri-mon, wed]}
    breaker_failures: 9
    attempts: 1
    delete_hold_share: 50%
    delete_hold_minimum: 0
"""
    )
    key = SecretRef(scheme="env", name="ALPHA_OAI_KEY")
    source = configuration.sources["a"]
    expected = Source(
        name="a",
        url="HTTPS://alpha.example.org:8443/oai?repo=1",
        group="g",
        metadata_prefix="MARC21-xml",
        sets=("theses", "maps:old"),
        headers={"X-Tenant": "0123", "X-Okapi-Token": SecretRef(scheme="prefect", name="okapi")},
        query={"apikey": key, "view": "full"},
        username="reader",
        password=key,
        interval=90.0,
        overlap=0.0,
        granularity="day",
        deletions=Deletions.SWEEP,
        sweep_every=3 * 86400.0,
        full_every=30 * 86400.0,
        windows=86400.0,
        start=datetime(2015, 1, 1, tzinfo=UTC),
        token_retry=TokenRetry.IDEMPOTENT,
        end_of_list=EndOfList.NO_RECORDS_MATCH,
        repair=True,
        enabled=False,
        kind=Kind.AUTHORITY,
        connect_timeout=5.0,
        first_page_timeout=900.0,
        page_timeout=60.0,
        page_bytes_limit=2**20,
        pause_after_records=0,
        pause_seconds=60.0,
        pause_mode=PauseMode.VACUUM,
        requests_per_minute=30,
        blackouts=(Blackout(days=frozenset({4, 5, 6, 0, 2}), start=time(8), end=time(6, 30), zone=ZoneInfo("Europe/Stockholm")),),
        breaker_failures=9,
        attempts=1,
        delete_hold_share=0.5,
        delete_hold_minimum=0,
    )
    # compared field by field: a failure names the field, and a field that nobody configured above fails
    unchanged = [field.name for field in dataclasses.fields(Source) if getattr(source, field.name) == field.default]
    assert {field.name: getattr(source, field.name) for field in dataclasses.fields(Source)} == {
        field.name: getattr(expected, field.name) for field in dataclasses.fields(Source)
    }
    assert unchanged == ["bearer_token", "feed"]  # these contradict username, and a source that is OAI-PMH
    assert configuration.groups["g"].blackouts == (Blackout(days=frozenset({6}), start=time(0), end=time(0), zone=ZoneInfo("UTC")),)


def test_words_keep_their_letters(read: Read) -> None:
    """What YAML takes for numbers, moments or truth elsewhere is a word where a word is asked for."""
    configuration = read(
        "sources:\n  0123: {url: http://a.example.org, sets: [no, 1e3, 2015-01-01, on]}\n  null: {url: http://b.example.org}\n"
    )
    assert list(configuration.sources) == ["0123", "null"]
    assert configuration.sources["0123"].sets == ("no", "1e3", "2015-01-01", "on")


def test_sources_and_groups_come_in_the_order_of_their_names(read: Read) -> None:
    configuration = read("groups: {z: , b: }\nsources: {z: {url: http://z.org}, a: {url: http://a.org}}")
    assert list(configuration.sources) == ["a", "z"]
    assert list(configuration.groups) == ["b", "default", "z"]


@pytest.mark.parametrize("nothing", ["sources: {}", "sources:", "sources: ~", "groups:\ndefaults:\nsources:\n"])
def test_a_file_may_name_no_source_yet(read: Read, nothing: str) -> None:
    assert read(nothing).sources == {}


# ------------------------------------------------------------------ who wins


@pytest.mark.parametrize(
    ("own", "defaults", "variables", "interval"),
    [
        ("", "", {}, 120.0),
        ("", "interval: 3m", {}, 180.0),
        ("", "", {"WINDROW_HARVEST_INTERVAL": "4m"}, 240.0),
        ("", "interval: 3m", {"WINDROW_HARVEST_INTERVAL": "4m"}, 240.0),  # the environment wins over the file
        ("interval: 5m", "interval: 3m", {"WINDROW_HARVEST_INTERVAL": "4m"}, 300.0),  # but a source's exception stands
    ],
)
def test_an_interval_comes_from_the_source_the_environment_or_the_defaults(
    read: Read, own: str, defaults: str, variables: dict[str, str], interval: float
) -> None:
    text = f"defaults: {{{defaults}}}\nsources: {{a: {{url: http://a.org, {own}}}}}"
    assert read(text, **variables).sources["a"].interval == interval


def test_pauses_and_page_size_come_from_the_environment(read: Read) -> None:
    """harvest 4"""
    source = read(
        "sources: {a: {url: http://a.org}}",
        WINDROW_PAUSE_AFTER_RECORDS="7",
        WINDROW_PAUSE_SECONDS="1.5",
        WINDROW_PAUSE_MODE="vacuum",
        WINDROW_PAGE_BYTES_LIMIT="9",
    ).sources["a"]
    assert (source.pause_after_records, source.pause_seconds, source.pause_mode, source.page_bytes_limit) == (7, 1.5, PauseMode.VACUUM, 9)


@pytest.mark.parametrize(
    ("groups", "variables", "limits"),
    [
        ("", {}, {"default": 2}),
        ("hosted-folio: {limit: 4}", {}, {"default": 2, "hosted-folio": 4}),
        ("hosted-folio: {limit: 4}", {"WINDROW_GROUP_HOSTED_FOLIO_LIMIT": "1"}, {"default": 2, "hosted-folio": 1}),
        ("hosted-folio: {}", {"WINDROW_DEFAULT_GROUP_LIMIT": "5"}, {"default": 5, "hosted-folio": 5}),
        ("default: {limit: 4}", {"WINDROW_DEFAULT_GROUP_LIMIT": "5"}, {"default": 4}),
        ("default: {limit: 4}", {"WINDROW_GROUP_DEFAULT_LIMIT": "6"}, {"default": 6}),
        ("", {"WINDROW_GROUP_DEFAULT_LIMIT": "6"}, {"default": 6}),
    ],
)
def test_the_environment_wins_over_the_limits_of_the_file(
    read: Read, groups: str, variables: dict[str, str], limits: dict[str, int]
) -> None:
    """harvest 5"""
    configuration = read(f"groups: {{{groups}}}\nsources: {{}}", **variables)
    assert {name: group.limit for name, group in configuration.groups.items()} == limits


def test_the_overall_limit_and_the_rate_of_a_group_come_from_the_environment(read: Read) -> None:
    """harvest 5, 6"""
    configuration = read(
        "groups: {g: {requests_per_minute: 80}}\nsources: {}", WINDROW_TOTAL_LIMIT="9", WINDROW_GROUP_G_REQUESTS_PER_MINUTE="40"
    )
    assert (configuration.total_limit, configuration.groups["g"].requests_per_minute) == (9, 40)


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("WINDROW_GROUP_HOSTD_FOLIO_LIMIT", "2", "sources.yaml has no such group, did you mean WINDROW_GROUP_HOSTED_FOLIO_LIMIT?"),
        ("WINDROW_GROUP_X_LIMIT", "2", "sources.yaml has no such group, allowed: WINDROW_GROUP_<NAME>_LIMIT"),
        ("WINDROW_GROUP_HOSTED_FOLIO", "2", "sources.yaml has no such group"),
        *(
            ("WINDROW_GROUP_HOSTED_FOLIO_LIMIT", value, f"{value!r} is not a positive whole number, allowed: a whole number from 1")
            for value in ("0", "-1", "2.5", "two", "true", "")
        ),
    ],
)
def test_a_groups_variable_must_name_a_group_and_hold_a_positive_number(mistakes: Mistakes, variable: str, value: str, what: str) -> None:
    """harvest 5"""
    (problem,) = mistakes("groups: {hosted-folio: }\nsources: {}", **{variable: value})
    assert str(problem).startswith(f"environment: {variable}: {what}")


@pytest.mark.parametrize(("first", "second"), [("hosted-folio", "hosted_folio"), ("a.b", "a-b"), ("x-", "x.")])
def test_two_groups_with_the_same_variable_are_refused(mistakes: Mistakes, first: str, second: str) -> None:
    """harvest 5"""
    (problem,) = mistakes(f"groups:\n  {first}: {{limit: 1}}\n  other: \n  {second}: {{limit: 2}}\nsources: {{}}")
    assert (problem.line, problem.path) == (4, f"groups.{second}")
    assert f"is that of the group {first} too" in problem.what


# ------------------------------------------------------------ giving way


@pytest.mark.parametrize(
    ("defaults", "own", "field", "value"),
    [
        ("windows: 1d", "deletions: full", "windows", None),
        ("deletions: sweep, sweep_every: 3d", "deletions: tombstones", "sweep_every", None),
        ("windows: 1h", "granularity: day", "windows", None),
        ("full_every: 30d", "full_every: null", "full_every", None),
        ("bearer_token: env:ALPHA_OAI_KEY", "username: a, password: env:ALPHA_OAI_KEY", "bearer_token", None),
        ("username: a, password: env:ALPHA_OAI_KEY", "bearer_token: env:ALPHA_OAI_KEY", "password", None),
        ("username: a, password: env:ALPHA_OAI_KEY", "headers: {authorization: env:ALPHA_OAI_KEY}", "username", None),
        ("password: env:ALPHA_OAI_KEY, username: a", "username: b", "username", "b"),
        ("", "deletions: sweep", "sweep_every", 7 * 86400.0),
        ("", "deletions: full", "full_every", 7 * 86400.0),
    ],
)
def test_a_default_gives_way_to_what_the_source_says(read: Read, defaults: str, own: str, field: str, value: object) -> None:
    source = read(f"defaults: {{{defaults}}}\nsources: {{a: {{url: http://a.org, {own}}}}}").sources["a"]
    assert getattr(source, field) == value


# ---------------------------------------------------------------- mistakes

TWENTY = """\
groups:
  hosted: {limit: 0}
  Hosted-2: {limit: 1}
  slow: {limit: 2, requests_per_minute: fast}
defaults:
  interval: 2 minutes
sources:
  one:
    url: ftp://one.example.org/oai
  two:
    url: https://reader:hunter2@two.example.org/oai
  three:
    url: https:///oai
  four:
    url: https://four.example.org/oai
    gruop: hosted
  five:
    url: https://five.example.org/oai
    group: hostd
  six:
    metadata_prefix: marc21
  seven:
    url: https://seven.example.org/oai
    headers: {Authorization: hunter2}
  eight:
    url: https://eight.example.org/oai
    password: env:NOT_SET_ANYWHERE
    username: reader
  nine:
    url: https://nine.example.org/oai
    sets: theses
  ten:
    url: https://ten.example.org/oai
    metadata_prefix: marc 21
  eleven:
    url: https://eleven.example.org/oai
    deletions: tombstone
  twelve:
    url: https://twelve.example.org/oai
    deletions: full
    windows: 1d
  thirteen:
    url: https://thirteen.example.org/oai
    blackouts: [{start: "08:00", end: "18:00", zone: Europe/Stokholm}]
  fourteen:
    url: https://fourteen.example.org/oai
    blackouts: [{start: "08:00", end: "25:00", zone: UTC}]
  fifteen:
    url: https://fifteen.example.org/oai
    repair: yes
  sixteen:
    url: https://sixteen.example.org/oai
    attempts: -1
"""


def test_twenty_mistakes_in_one_file_are_told_at_once_with_their_lines(mistakes: Mistakes) -> None:
    """harvest 26"""
    expected = [
        (2, "groups.hosted.limit", "'0' is not a positive whole number", "allowed: a whole number from 1"),
        (3, "groups.Hosted-2", "the name 'Hosted-2' cannot be used", "allowed: lower-case letters"),
        (4, "groups.slow.requests_per_minute", "'fast' is not a positive whole number", "allowed: a whole number from 1"),
        (6, "defaults.interval", "'2 minutes' is not a duration", "such as 90, 2m, 1h30m or 30d"),
        (9, "sources.one.url", "the URL has 'ftp:'", "allowed: http:// or https://"),
        (11, "sources.two.url", "the URL contains credentials", "password: env:NAME"),
        (13, "sources.three.url", "the URL has no usable host", "such as https://alpha.example.org/oai"),
        (16, "sources.four.gruop", "the key 'gruop' is not known", "did you mean group?"),
        (
            19,
            "sources.five.group",
            "the group 'hostd' is not listed under groups:",
            "did you mean hosted? allowed: Hosted-2, default, hosted, slow",
        ),
        (20, "sources.six", "url is missing", "allowed: http:// or https://"),
        (24, "sources.seven.headers.Authorization", "a secret must not stand in the file", "write env:NAME"),
        (27, "sources.eight.password", "the environment variable NOT_SET_ANYWHERE is not set", "set NOT_SET_ANYWHERE before starting"),
        (31, "sources.nine.sets", "'theses' is not a list", "such as [theses, maps]"),
        (34, "sources.ten.metadata_prefix", "'marc 21' cannot be used", "allowed: a metadataPrefix"),
        (37, "sources.eleven.deletions", "'tombstone' is not known", "did you mean tombstones? allowed: full, sweep, tombstones"),
        (41, "sources.twelve.windows", "windows cannot be used with deletions: full", "leave out windows"),
        (44, "sources.thirteen.blackouts[0].zone", "'Europe/Stokholm' is not a time zone", "did you mean Europe/Stockholm?"),
        (47, "sources.fourteen.blackouts[0].end", "'25:00' is not a time of day", "from 00:00 to 24:00"),
        (50, "sources.fifteen.repair", "'yes' is neither true nor false", "allowed: true, false"),
        (53, "sources.sixteen.attempts", "'-1' is not a positive whole number", "allowed: a whole number from 1"),
    ]
    found = mistakes(TWENTY)
    assert [(problem.line, problem.path) for problem in found] == [(line, path) for line, path, _, _ in expected]
    for problem, (line, path, what, allowed) in zip(found, expected, strict=True):
        assert what in problem.what
        assert allowed in problem.allowed
        assert str(problem) == f"sources.yaml:{line}: {path}: {problem.what}, {problem.allowed}"
    assert "hunter2" not in "".join(map(str, found))


KEY_MISTAKES = [
    ("url: ''", "the URL has no scheme"),
    ("url: alpha.example.org/oai", "the URL has no scheme"),
    ("url: 'http://a b.org/'", "spaces or invisible characters"),
    ("url: 'http://a.org/ '", "spaces or invisible characters"),
    ('url: "http://a.org/\\0"', "spaces or invisible characters"),
    ("url: http://a..org/", "no usable host"),
    ("url: http://-a.org/", "no usable host"),
    (f"url: http://{'a' * 64}.org/", "no usable host"),
    ("url: http://a.org:x/", "cannot be read"),
    ("url: http://a.org:0/", "no usable host"),
    ("url: 'http://[::1/'", "cannot be read"),
    ("url: 'http://a.org/#top'", "has a fragment"),
    ("url: http://a.org/?verb=Identify", "contains the OAI-PMH argument verb"),
    ("url: http://a.org/?apikey=hunter2", "contains the secret 'apikey'"),
    ("url: file:///etc/passwd", "the URL has 'file:'"),
    ("url: [http://a.org]", "a list cannot stand here"),
    ("url:", "there is no value"),
    ("url: null", "there is no value"),
    ("group: A", "'A' cannot be used"),
    ("group: {a: b}", "a mapping cannot stand here"),
    ("metadata_prefix: ''", "'' cannot be used"),
    ("metadata_prefix: 5/6", "'5/6' cannot be used"),
    ("sets: {a: b}", "a mapping is not a list"),
    ("sets: [a, a]", "'a' stands there twice"),
    ("sets: [a b]", "'a b' cannot be used"),
    ("sets: [[a]]", "a list cannot stand here"),
    ("headers: [a]", "a list cannot stand here"),
    ("headers: 'Authorization: hunter2'", "a text cannot stand here"),
    ("url: hunter2:x@a.org/oai", "the URL contains credentials"),
    ("headers: {apikey: hunter2}", "a secret must not stand in the file"),
    ("headers: {X-API-Key: hunter2}", "a secret must not stand in the file"),
    ("headers: {X-Password: hunter2}", "a secret must not stand in the file"),
    ("headers: {X-Okapi-Token: hunter2}", "a secret must not stand in the file"),
    ("headers: {Cookie: hunter2}", "a secret must not stand in the file"),
    ("headers: {X-Any: Bearer hunter2}", "a secret must not stand in the file"),
    ("headers: {Authorization: 'env:'}", "the reference to a secret is malformed"),
    ("headers: {X-Any: 'env:A B'}", "the reference to a secret is malformed"),
    ("headers: {X-Any: env:NOT_SET_ANYWHERE}", "the environment variable NOT_SET_ANYWHERE is not set"),
    ("headers: {Host: a}", "the header Host cannot be configured"),
    ("headers: {'X Any': a}", "cannot be the name of a header"),
    ("headers: {X-Any: a, x-any: b}", "the header x-any stands there twice"),
    ('headers: {X-Any: "a\\nb"}', "line breaks or invisible characters"),
    ("query: {verb: Identify}", "the query parameter verb cannot be configured"),
    ("query: {apikey: hunter2}", "a secret must not stand in the file"),
    ("query: {wskey: hunter2}", "a secret must not stand in the file"),
    ("query: {a: }", "there is no value"),
    ("username: reader", "username without password"),
    ("password: env:ALPHA_OAI_KEY", "password without username"),
    ("username: reader\n    password: hunter2", "a secret must not stand in the file"),
    ("bearer_token: hunter2", "a secret must not stand in the file"),
    ("bearer_token: env:ALPHA_OAI_KEY\n    headers: {authorization: env:ALPHA_OAI_KEY}", "contradict each other"),
    ("bearer_token: env:ALPHA_OAI_KEY\n    username: a\n    password: env:ALPHA_OAI_KEY", "username and bearer_token contradict"),
    ("interval: 0", "'0' is no time at all"),
    ("interval: -2m", "'-2m' is not a duration"),
    ("interval: 2 m", "'2 m' is not a duration"),
    ("interval: [2m]", "a list cannot stand here"),
    ("interval: 9999999d", "is longer than a hundred years"),
    ("overlap: soon", "'soon' is not a duration"),
    ("granularity: hour", "'hour' is not known"),
    ("start: 2015-13-01", "'2015-13-01' is not a moment"),
    ("start: 2015-01-01T00:00:00", "has no time zone"),
    ("start: 0001-01-01", "is out of range"),
    ("start: yesterday", "'yesterday' is not a moment"),
    ("windows: 1s", "'1s' is too short"),
    ("windows: 1h\n    granularity: day", "windows are shorter than the granularity day"),
    ("sweep_every: 7d", "sweep_every does nothing with deletions: tombstones"),
    ("deletions: none", "'none' is not known"),
    ("token_retry: twice", "'twice' is not known"),
    ("end_of_list: lax", "'lax' is not known"),
    ("kind: serial", "'serial' is not known"),
    ("pause_mode: vaccum", "'vaccum' is not known"),
    ("repair: 1", "'1' is neither true nor false"),
    ("enabled: off", "'off' is neither true nor false"),
    ("page_bytes_limit: 64 megabytes", "is not a size"),
    ("page_bytes_limit: 0", "is not between 1 byte"),
    ("requests_per_minute: 0", "is not a positive whole number"),
    ("requests_per_minute: 1.5", "is not a positive whole number"),
    ("attempts: true", "is not a positive whole number"),
    ("pause_after_records: -1", "is not a whole number"),
    ("delete_hold_share: 1.5", "'1.5' is not a share"),
    ("delete_hold_share: 101%", "'101%' is not a share"),
    ("delete_hold_minimum: many", "'many' is not a whole number"),
    ("blackouts: {}", "a mapping is not a list"),
    ("blackouts: [x]", "a text cannot stand here"),
    ("blackouts: [{end: 08:00, zone: UTC}]", "start missing"),
    ("blackouts: [{start: 8, end: 08:00, zone: UTC}]", "'8' is not a time of day"),
    ("blackouts: [{start: 24:00, end: 08:00, zone: UTC}]", "cannot start at 24:00"),
    ("blackouts: [{start: 08:00, end: 08:00, zone: UTC}]", "starts and ends at the same time"),
    ("blackouts: [{start: 08:00, end: 09:00, zone: Mars/Base}]", "'Mars/Base' is not a time zone"),
    ("blackouts: [{start: 08:00, end: 09:00, zone: ../../etc/passwd}]", "is not a time zone"),
    ("blackouts: [{start: 08:00, end: 09:00, zone: UTC, days: [fun]}]", "'fun' is not a day"),
    ("blackouts: [{start: 08:00, end: 09:00, zone: UTC, days: []}]", "no day is listed"),
    ("blackouts: [{start: 08:00, end: 09:00, zone: UTC, day: mon}]", "the key 'day' is not known"),
    ("'': a", "the key '' is not known"),
    ("<<: {interval: 2m}", "merge keys (<<) are not read"),
    ("[a]: b", "a name must be one word"),
    ("interval: !!python/name:os.system 2m", "is not read"),
]


@pytest.mark.parametrize(("key", "what"), KEY_MISTAKES)
def test_a_wrong_key_is_one_problem_in_its_line(mistakes: Mistakes, key: str, what: str) -> None:
    """harvest 20, 26"""
    url = "" if key.startswith("url") else "    url: http://a.org\n"
    (problem,) = mistakes(f"sources:\n  b: {{url: http://b.org}}\n  a:\n{url}    {key}\n")
    first = 4 + bool(url)
    assert what in problem.what
    assert problem.line in range(first, first + key.count("\n") + 1)
    assert problem.path.startswith("sources.a")
    assert problem.allowed
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "sources.yaml:1: the file is empty, allowed: one YAML document"),
        ("# nothing\n", "sources.yaml:1: the file is empty"),
        ("- a\n", "sources.yaml:1: a list cannot stand here, allowed: defaults, groups, sources"),
        ("hello", "sources.yaml:1: a text cannot stand here"),
        ("groups: {}\n", "sources.yaml:1: sources: it is missing, allowed: names of sources"),
        ("\nsource: {}\n", "sources.yaml:2: source: the key 'source' is not known, did you mean sources?"),
        ("sources: [a]\n", "sources.yaml:1: sources: a list cannot stand here"),
        (
            "sources:\n  a: http://a.org\n",
            "sources.yaml:2: sources.a: a text cannot stand here, allowed: names of sources, each with at least url:",
        ),
        ("sources:\n  a:\n", "sources.yaml:2: sources.a: there is nothing under it"),
        ("sources: {}\ngroups: {a: 2}\n", "sources.yaml:2: groups.a: a text cannot stand here"),
        ("sources: {}\ndefaults: {url: http://a.org}\n", "sources.yaml:2: defaults.url: the key 'url' is not known"),
        (
            "sources: {}\ndefaults: {group: x}\n",
            "sources.yaml:2: defaults.group: the group 'x' is not listed under groups:, allowed: default",
        ),
        ("sources: {}\nsources: {}\n", "sources.yaml:2: sources: it stands already in line 1"),
        ("sources:\n  a: [1\n", "sources.yaml:3: not YAML: while parsing a flow sequence expected ',' or ']'"),
        ("sources:\n\ta: 1\n", "sources.yaml:2: not YAML: while scanning for the next token found character '\\t'"),
        ("sources:\n  a: 1\n b: 2\n", "sources.yaml:3: not YAML"),
        ("sources: {}\n---\nsources: {}\n", "sources.yaml:2: not YAML: expected a single document"),
        ("sources: *a\n", "sources.yaml:1: not YAML: found undefined alias"),
        ("a: &a [*a]\nsources: *a\n", "sources.yaml:1: a: the key 'a' is not known"),
        ("sources:\n  a: \x00\n", "sources.yaml:2: not YAML: special characters are not allowed"),
        (b"sources:\n  a: \xff\n", "sources.yaml:2: byte 0xff is not UTF-8, save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "sources.yaml:1: byte 0x89 is not UTF-8"),
        ("[" * 20_000, "sources.yaml: lists or mappings are nested too deeply"),
        ("#" * (16 * 2**20 + 1), "sources.yaml: it is too large, allowed: at most 16 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(mistakes: Mistakes, text: str | bytes, expected: str) -> None:
    """harvest 26"""
    assert str(mistakes(text)[0]).startswith(expected)


@pytest.mark.parametrize(
    ("place", "what"), [("missing.yaml", "there is no such file"), (".", "it is a directory"), ("a\0b", "it cannot be read")]
)
def test_a_path_that_is_no_file_says_so(tmp_path: Path, place: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        load(tmp_path / place, Settings.load())
    assert (caught.value.problems[0].line, caught.value.problems[0].path) == (None, "")


def test_a_mistake_in_the_defaults_is_told_once_and_not_for_each_source(mistakes: Mistakes) -> None:
    sources = "".join(f"  s{number}: {{url: http://s{number}.org}}\n" for number in range(200))
    found = mistakes(f"defaults: {{deletions: full, windows: 1d, username: a}}\nsources:\n{sources}")
    assert [problem.path for problem in found] == ["defaults.windows", "defaults.username"]


def test_the_missing_key_of_a_source_that_is_switched_off_is_no_mistake(read: Read) -> None:
    text = "sources: {a: {url: http://a.org, enabled: false, bearer_token: env:NOT_SET_ANYWHERE}}"
    assert read(text).sources["a"].enabled is False


def test_problems_of_the_file_and_of_the_environment_come_together(mistakes: Mistakes) -> None:
    found = mistakes("sources: {a: {url: nowhere}}", WINDROW_GROUP_DEFAULT_LIMIT="0")
    assert [problem.file for problem in found] == ["sources.yaml", "environment"]


def test_a_thousand_sources_are_read(read: Read) -> None:
    """harvest 9"""
    groups = "".join(f"  g{number}: {{limit: 2}}\n" for number in range(5))
    sources = "".join(f"  s{number}:\n    url: http://s{number}.org/oai\n    group: g{number % 5}\n" for number in range(1000))
    assert len(read(f"groups:\n{groups}sources:\n{sources}").sources) == 1000


def test_aliases_that_multiply_are_not_expanded(mistakes: Mistakes) -> None:
    """A billion laughs: ten levels of ten aliases, of which nothing is ever built."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    found = mistakes("\n".join([*lines, "sources: {a: {url: http://a.org, metadata_prefix: *a10, sets: *a10}}"]))
    paths = [problem.path for problem in found]
    assert "sources.a.metadata_prefix" in paths
    assert [path for path in paths if path.startswith("sources.a.sets[")] == [f"sources.a.sets[{number}]" for number in range(10)]


def test_the_example_file_of_the_project_is_right() -> None:
    configuration = load(ROOT / "sources.yaml", Settings.load())
    assert len(configuration.sources) >= 5
    assert all(".example.org" in source.url for source in configuration.sources.values())
    assert configuration.groups["hosted-folio"] == Group(name="hosted-folio", limit=2, requests_per_minute=80)


# ---------------------------------------------------------------- any input

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.sampled_from([m[0] for m in KEY_MISTAKES])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)
KEYS = st.sampled_from([field.name for field in dataclasses.fields(Source)]) | st.text(max_size=8)
ANYTHING = st.fixed_dictionaries(
    {"sources": st.dictionaries(st.text(max_size=6) | st.just("a"), st.dictionaries(KEYS, VALUES, max_size=5) | VALUES, max_size=3)},
    optional={"groups": VALUES, "defaults": st.dictionaries(KEYS, VALUES, max_size=5) | VALUES},
)


def never_anything_but_our_own_error(path: Path, body: bytes) -> None:
    path.write_bytes(body)
    problems: tuple[Problem, ...] = ()
    try:
        configuration = load(path, Settings(), environ={})
    except ConfigurationError as error:
        problems = error.problems
        configuration = None
    assert (configuration is None) is bool(problems)
    assert all("\n" not in str(problem) for problem in problems)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=ANYTHING)
def test_no_content_raises_anything_but_a_configuration_error(tmp_path: Path, content: dict[str, Any]) -> None:
    never_anything_but_our_own_error(tmp_path / "fuzz.yaml", json.dumps(content, ensure_ascii=True).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(noise=st.binary(max_size=60), at=st.integers(min_value=0, max_value=len(TWENTY)), length=st.integers(min_value=0, max_value=40))
def test_no_damage_raises_anything_but_a_configuration_error(tmp_path: Path, noise: bytes, at: int, length: int) -> None:
    body = TWENTY.encode()
    never_anything_but_our_own_error(tmp_path / "fuzz.yaml", body[:at] + noise + body[at + length :])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"%@`#?,\\ \n\t0~<=.", max_size=60))
def test_no_yaml_raises_anything_but_a_configuration_error(tmp_path: Path, text: str) -> None:
    never_anything_but_our_own_error(tmp_path / "fuzz.yaml", text.encode())
