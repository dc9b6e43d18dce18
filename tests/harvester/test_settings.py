"""The environment as values: defaults, units, and what happens to a value that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harvester import durations
from harvester.problems import ConfigurationError
from harvester.settings import Settings, group_variable, variables
from harvester.sources import PauseMode


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("WINDROW_")]:
        monkeypatch.delenv(name)


def problems(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    return [str(problem) for problem in caught.value.problems]


def test_without_variables_the_documented_defaults_hold() -> None:
    settings = Settings.load()
    assert (settings.database_url, settings.sources, settings.default_group_limit, settings.total_limit) == (
        None,
        Path("sources.yaml"),
        2,
        64,
    )
    assert (settings.pause_after_records, settings.pause_seconds, settings.pause_mode) == (10_000, 120.0, PauseMode.FIXED)
    assert (settings.harvest_interval, settings.page_bytes_limit, settings.seed) == (120.0, 64 * 2**20, None)
    assert settings.home.name == "windrow"
    assert not settings.states("pause_seconds")


def test_every_variable_is_read_in_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WINDROW_DATABASE_URL": "postgresql://u:secret@db/windrow",
        "WINDROW_HOME": "/srv/windrow",
        "WINDROW_SOURCES": "/etc/windrow.yaml",
        "WINDROW_DEFAULT_GROUP_LIMIT": "3",
        "WINDROW_TOTAL_LIMIT": "16",
        "WINDROW_PAUSE_AFTER_RECORDS": "0",
        "WINDROW_PAUSE_SECONDS": "1m30s",
        "WINDROW_PAUSE_MODE": "Vacuum",
        "WINDROW_HARVEST_INTERVAL": "1h",
        "WINDROW_PAGE_BYTES_LIMIT": "2MiB",
        "WINDROW_SEED": "-7",
        "WINDROW_GROUP_HOSTED_FOLIO_LIMIT": "5",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.database_url == "postgresql://u:secret@db/windrow"
    assert (settings.home, settings.sources) == (Path("/srv/windrow"), Path("/etc/windrow.yaml"))
    assert (settings.default_group_limit, settings.total_limit, settings.seed) == (3, 16, -7)
    assert (settings.pause_after_records, settings.pause_seconds, settings.pause_mode) == (0, 90.0, PauseMode.VACUUM)
    assert (settings.harvest_interval, settings.page_bytes_limit) == (3600.0, 2 * 2**20)
    assert settings.group_variables == {"WINDROW_GROUP_HOSTED_FOLIO_LIMIT": "5"}
    assert settings.states("pause_seconds")
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "two", "true", "", " ", "1e3", "0x10", "99999999999", "²"])
@pytest.mark.parametrize("variable", ["WINDROW_TOTAL_LIMIT", "WINDROW_DEFAULT_GROUP_LIMIT"])
def test_a_limit_that_is_no_positive_whole_number_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """harvest 5"""
    assert problems(monkeypatch, **{variable: value}) == [
        f"environment: {variable}: {value!r} is not a positive whole number, allowed: a whole number from 1"
    ]


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("WINDROW_PAUSE_AFTER_RECORDS", "-1", "'-1' is not a whole number"),
        ("WINDROW_PAUSE_SECONDS", "soon", "'soon' is not a duration"),
        ("WINDROW_PAUSE_SECONDS", "-5", "'-5' is not a duration"),
        ("WINDROW_PAUSE_MODE", "sometimes", "'sometimes' cannot be used, allowed: fixed, vacuum"),
        ("WINDROW_HARVEST_INTERVAL", "0", "'0' is no time at all"),
        ("WINDROW_HARVEST_INTERVAL", "101w1000000d", "is longer than a hundred years"),
        ("WINDROW_PAGE_BYTES_LIMIT", "0", "'0' is not between 1 byte and 1 TiB"),
        ("WINDROW_PAGE_BYTES_LIMIT", "64MX", "'64MX' is not a size"),
        ("WINDROW_SEED", "abc", "'abc' is not a whole number"),
        ("WINDROW_HOME", "", "it is empty, allowed: a path"),
        ("WINDROW_SOURCES", "", "it is empty, allowed: a path"),
        ("WINDROW_DATABASE_URL", "mysql://u:secret@db/x", "it is no PostgreSQL URL, allowed: postgresql://"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, what: str) -> None:
    (problem,) = problems(monkeypatch, **{variable: value})
    assert problem.startswith(f"environment: {variable}: ")
    assert what in problem
    assert "secret" not in problem


def test_all_wrong_variables_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, WINDROW_TOTAL_LIMIT="0", WINDROW_SEED="x", WINDROW_PAUSE_MODE="")
    assert [problem.split(":")[1].strip() for problem in found] == ["WINDROW_TOTAL_LIMIT", "WINDROW_PAUSE_MODE", "WINDROW_SEED"]


def test_an_empty_database_url_means_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDROW_DATABASE_URL", "")
    assert Settings.load().database_url is None


def test_an_override_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean total_limit"):
        Settings.load(totl_limit=3)


def test_the_list_of_variables_is_complete_and_explained() -> None:
    listed = {variable.name: variable for variable in variables()}
    fields = {f"WINDROW_{name.upper()}" for name in Settings.model_fields if name != "group_variables"}
    assert listed.keys() == fields | {"WINDROW_GROUP_<NAME>_LIMIT", "WINDROW_GROUP_<NAME>_REQUESTS_PER_MINUTE"}
    assert all(variable.meaning.endswith(".") and variable.allowed for variable in listed.values())
    assert (listed["WINDROW_HARVEST_INTERVAL"].default, listed["WINDROW_HARVEST_INTERVAL"].unit) == ("2m", "seconds")
    assert listed["WINDROW_PAGE_BYTES_LIMIT"].default == "64MiB"
    assert listed["WINDROW_PAUSE_SECONDS"].default == "2m"
    assert listed["WINDROW_TOTAL_LIMIT"].unit == "requests"


def test_a_groups_variable_is_its_name_in_capitals() -> None:
    """harvest 5"""
    assert group_variable("hosted-folio", "_LIMIT") == "WINDROW_GROUP_HOSTED_FOLIO_LIMIT"
    assert group_variable("a.b_c", "_LIMIT") == "WINDROW_GROUP_A_B_C_LIMIT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1d", 86400.0),
        ("30d", 2592000.0),
        ("1w", 604800.0),
        ("250ms", 0.25),
        ("0", 0.0),
        ("1.5H", 5400.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert durations.seconds(text) == seconds
    assert durations.seconds(durations.spoken(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "m", "2 m", "2x", "-1", "1h-30m", "inf", "nan", "1e9", "١", "9" * 400, "1h30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|is longer than a hundred years"):
        durations.seconds(text)


@pytest.mark.parametrize(("text", "size"), [("1024", 1024), ("64MiB", 64 * 2**20), ("500 kB", 500_000), ("1GB", 10**9), ("7 b", 7)])
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert durations.size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5MB", "1TB", "MB", "9" * 40, "2000GiB", "1 ib"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size|is not between"):
        durations.size(text)
