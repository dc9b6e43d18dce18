"""``windrow simulate``: where its numbers come from, what it prints, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine as Database
from typer.testing import CliRunner

from flows.cli import app
from flows.harvest.history.store import last_passes
from flows.harvest.run import Run
from harvester.configuration import load
from harvester.settings import Settings
from harvester.simulation import Shape
from tests.fakes.oai import Consortium, Repository

Command = Callable[..., Any]


@pytest.fixture
def windrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs ``windrow simulate`` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def running(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["simulate", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return running


def answer(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def test_programs_get_the_promised_keys_first(windrow: Command) -> None:
    """harvest 28: 4 sources x 5 pages x 2 s / 2 = 20 s"""
    told = answer(windrow("--sources", "4", "--records", "500", "--page-size", "100", "--latency", "2000", "--limit", "2", "--json"))
    assert list(told)[:7] == ["makespan", "ideal", "utilisation", "in_flight_max", "pages", "records", "lag"]
    assert (told["ideal"], told["in_flight_max"], told["pages"], told["records"]) == (20.0, 2, 20, 2000)
    assert 20.0 <= told["makespan"] <= 24.0
    assert told["utilisation"] == pytest.approx(20.0 / told["makespan"], abs=1e-4)
    assert list(told["lag"]) == ["min", "median", "max", "sources"]
    assert len(told["lag"]["sources"]) == 4
    assert told["lag"]["max"] == max(told["lag"]["sources"].values()) == told["makespan"]


def test_without_a_configuration_there_are_sixty_sources_under_the_limits_of_the_environment(
    windrow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """harvest 28"""
    monkeypatch.setenv("WINDROW_DEFAULT_GROUP_LIMIT", "5")
    monkeypatch.setenv("WINDROW_PAUSE_AFTER_RECORDS", "150")
    monkeypatch.setenv("WINDROW_PAUSE_SECONDS", "1h")
    told = answer(windrow("--records", "300", "--latency", "1000", "--json"))
    assert len(told["lag"]["sources"]) == 60
    assert told["in_flight_max"] == told["groups"]["default"]["limit"] == 5
    # three pages a source, and after the second, with 200 records, a rest of an hour
    assert told["ideal"] == pytest.approx(3.0 + 3600.0)


def test_groups_limits_and_pauses_are_those_of_the_configuration_unless_an_option_says_otherwise(windrow: Command, tmp_path: Path) -> None:
    """harvest 28"""
    (tmp_path / "sources.yaml").write_text(
        "groups: {hosted: {limit: 3}}\n"
        "defaults: {pause_after_records: 100, pause_seconds: 5m}\n"
        "sources:\n"
        "  a: {url: http://a.org, group: hosted}\n"
        "  b: {url: http://b.org, group: hosted}\n"
        "  c: {url: http://c.org}\n"
        "  d: {url: http://d.org, enabled: false}\n"
    )
    told = answer(windrow("--records", "300", "--latency", "1000", "--json"))
    assert set(told["lag"]["sources"]) == {"a", "b", "c"}
    assert {name: (group["limit"], group["sources"]) for name, group in told["groups"].items()} == {"default": (2, 1), "hosted": (3, 2)}
    assert told["ideal"] == pytest.approx(303.0)  # 200 records are more than 100: one rest before the last of three pages
    told = answer(windrow("--records", "300", "--latency", "1000", "--limit", "1", "--threshold", "0", "--json"))
    assert {name: group["limit"] for name, group in told["groups"].items()} == {"default": 1, "hosted": 1}
    assert told["ideal"] == pytest.approx(6.0)
    told = answer(windrow("--records", "300", "--latency", "1000", "--pause", "7", "--json"))
    assert told["ideal"] == pytest.approx(10.0)


def test_made_up_sources_are_spread_over_groups_and_deltas_come_first(windrow: Command, tmp_path: Path) -> None:
    """harvest 2, harvest 28"""
    (tmp_path / "sources.yaml").write_text("sources: {a: {url: http://a.org}}\n")
    arguments = ["--sources", "30", "--groups", "3", "--deltas", "6", "--records", "2000", "--latency", "100", "--json"]
    told = answer(windrow(*arguments))
    assert [group["sources"] for group in told["groups"].values()] == [10, 10, 10]
    assert told["pages"] == 24 * 20 + 6
    first = sorted(told["lag"]["sources"], key=told["lag"]["sources"].__getitem__)[:6]
    assert sorted(first) == [f"source-{number:02}" for number in range(1, 7)]


def test_people_get_a_table_of_groups_and_the_sources_that_finish_last(windrow: Command) -> None:
    """harvest 28"""
    result = windrow("--sources", "2", "--records", "400", "--latency", "1000", "--limit", "1")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "2 sources, 8 pages, 800 records"
    assert lines[1].split()[:2] == ["makespan", "8s"]
    assert "(1.000 times the ideal)" in lines[1]
    assert any(line.split()[:5] == ["default", "1", "1", "2", "8"] for line in lines)
    assert lines[-1].startswith("last to finish: source-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sources", "0"], "--sources"),
        (["--limit", "0"], "--limit"),
        (["--limit", "two"], "--limit"),
        (["--page-size", "0"], "--page-size"),
        (["--records", "-1"], "--records"),
        (["--latency", "-1"], "--latency -1: allowed: milliseconds from 0"),
        (["--latency", "nan"], "--latency nan: allowed: milliseconds from 0"),
        (["--identify", "1e9"], "--identify 1e+09: allowed"),
        (["--threshold", "-1"], "--threshold"),
        (["--pause", "soon"], "--pause soon: 'soon' is not a duration"),
        (["--groups", "3", "--sources", "2"], "--groups 3: there are only 2 sources"),
        (["--deltas", "3", "--sources", "2"], "--deltas 3: there are only 2 sources"),
        (["--from-history", "--records", "5"], "cannot be combined with --records"),
        (["--from-history", "--deltas", "1"], "cannot be combined with --deltas"),
        (["--from-history"], "sources.yaml: there is no such file"),
        (["--file", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
    ],
)
def test_a_wrong_number_is_named_with_what_is_allowed(windrow: Command, arguments: list[str], said: str) -> None:
    """harvest 28"""
    result = windrow(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_a_wrong_configuration_is_told_line_by_line(windrow: Command, tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text("sources:\n  a: {url: ftp://a.org}\n")
    result = windrow()
    assert result.exit_code == 2
    assert result.stderr.startswith("sources.yaml:2: sources.a.url: ")


# ----------------------------------------------------------------- history


def test_history_gives_pages_records_and_latencies_of_the_last_harvest(
    windrow: Command, tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """harvest 28: alpha has 5 pages, beta 2; gamma was never harvested"""
    repositories = [Repository(name="alpha", records=230, page_size=50), Repository(name="beta", records=30, page_size=20)]
    with Consortium(repositories) as consortium:
        lines = [f"  {name}: {{url: '{consortium.url(name)}'}}" for name in ("alpha", "beta")]
        (tmp_path / "sources.yaml").write_text("\n".join(["sources:", *lines, "  gamma: {url: http://gamma.org}"]) + "\n")
        configuration = load(tmp_path / "sources.yaml", Settings.load())
        known = {name: source for name, source in configuration.sources.items() if name != "gamma"}
        anyio.run(
            lambda: Run(configuration=type(configuration)(sources=known, groups=configuration.groups), database=database).harvest(once=True)
        )
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)
    result = windrow("--from-history", "--json")
    told = answer(result)
    assert (told["pages"], told["records"]) == (7, 260)
    assert set(told["lag"]["sources"]) == {"alpha", "beta"}
    assert "left out, because they were never harvested: 1 sources (gamma)" in result.stderr
    with database.begin() as connection:
        connection.execute(text("UPDATE harvest.page SET milliseconds = CASE source WHEN 'alpha' THEN 1000 ELSE 250 END"))
    assert last_passes(database) == {
        "alpha": Shape(records=230, pages=5, latency=1.0),
        "beta": Shape(records=30, pages=2, latency=0.25),
    }
    # the log of pages is pruned; the ledger still knows how long a pass took
    with database.begin() as connection:
        connection.execute(text("DELETE FROM harvest.page"))
        connection.execute(text("UPDATE harvest.run SET seconds = 10 * pages"))
    assert {shape.latency for shape in last_passes(database).values()} == {10.0}
    assert answer(windrow("--from-history", "--limit", "1", "--json"))["ideal"] == pytest.approx(70.0)


def test_of_several_passes_the_last_complete_full_one_counts_and_removed_sources_do_not(database: Database) -> None:
    """harvest 28: a failed pass, a delta and a source that has left tell nothing about a whole harvest"""
    rows = [
        # source, pass, number, kind, state, started, records, pages, seconds
        ("a", "old", 1, "full", "complete", "2026-01-01", 10, 1, 1.0),
        ("a", "last", 1, "full", "complete", "2026-02-01", 100, 4, 4.0),
        ("a", "last", 2, "full", "complete", "2026-02-01", 60, 4, 12.0),
        ("a", "last", 3, "sweep", "complete", "2026-02-01", 160, 2, 90.0),
        ("a", "broken", 1, "full", "failed", "2026-03-01", 5, 1, 9.0),
        ("a", "delta", 1, "delta", "complete", "2026-04-01", 7, 1, 0.1),
        ("b", "delta", 1, "delta", "complete", "2026-04-01", 7, 1, 0.5),
        ("c", "empty", 1, "full", "complete", "2026-04-01", 0, 0, 0.0),
        ("gone", "last", 1, "full", "complete", "2026-04-01", 9, 9, 9.0),
    ]
    with database.begin() as connection:
        for name in ("a", "b", "c", "gone"):
            connection.execute(
                text(
                    "INSERT INTO harvest.source (name, group_name, identity, configuration, removed) VALUES (:n, 'default', 'i', '{}', :r)"
                ),
                {"n": name, "r": name == "gone"},
            )
        for source, of_pass, number, kind, state, started, records, pages, seconds in rows:
            connection.execute(
                text(
                    "INSERT INTO harvest.run (source, pass_id, number, kind, state, started_at, records, pages, seconds)"
                    " VALUES (:source, :pass, :number, :kind, :state, :started, :records, :pages, :seconds)"
                ),
                {
                    "source": source,
                    "pass": f"{source}-{of_pass}",
                    "number": number,
                    "kind": kind,
                    "state": state,
                    "started": started,
                    "records": records,
                    "pages": pages,
                    "seconds": seconds,
                },
            )
    assert last_passes(database) == {
        "a": Shape(records=160, pages=8, latency=2.0),
        "b": Shape(records=7, pages=1, latency=0.5, delta=True),
    }


def test_an_empty_history_is_said_to_be_empty(windrow: Command, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources.yaml").write_text("sources: {a: {url: http://a.org}}\n")
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)
    result = windrow("--from-history")
    assert result.exit_code == 2
    assert "no pass of a configured source is in the database yet" in result.stderr
