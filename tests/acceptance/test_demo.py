"""``windrow demo`` as a newcomer runs it: as a process of its own, which leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

import flows
from flows.cli import app
from flows.commands.demo_members import HOSTED, LIMITS, members, sources_file
from flows.commands.demo_result import Harvest, Result
from flows.harvest.tally import Tally
from harvester.configuration import load
from harvester.events import GroupView, Outcome, PassFinished
from harvester.settings import Settings
from harvester.store import Totals

SMALL = ("--sources", "12", "--records", "20")
ALIEN = {  # settings of whoever tries the demonstration, none of which it may heed
    "WINDROW_DATABASE_URL": "postgresql://nobody:secret@192.0.2.1/production",
    "WINDROW_GROUP_ELSEWHERE_LIMIT": "none",
    "WINDROW_SOURCES": "/nowhere/sources.yaml",
    "HTTP_PROXY": "http://192.0.2.1:3128",
}


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from flows.cli import main; main()", "demo", *arguments]
    environment = {**os.environ, **ALIEN, "PYTHONPATH": str(Path(flows.__file__).parents[1])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd="/")


def folder_named_in(text: str) -> Path:
    found = re.search(r"/\S+/windrow-demo-\w+", text)
    assert found, text
    return Path(found[0])


def processes_of(folder: Path) -> list[str]:
    listed = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line:
            listed.append(line)
    return listed


def children_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_a_demonstration_harvests_everything_names_the_two_that_fail_and_keeps_the_limits() -> None:
    """harvest 1, 5, 18, 25"""
    process = start(*SMALL, "--json")
    said, complaints = process.communicate(timeout=120)

    assert process.returncode == 0, said + complaints
    result = json.loads(said)  # one object and nothing else
    assert result["as_intended"] is True
    assert result["surprises"] == []
    assert [each["source"] for each in result["failed"]] == ["public-02", "special-01"]
    assert "no connection" in result["failed"][0]["error"]
    assert "HTML" in result["failed"][1]["error"]
    groups = result["groups"]
    assert {name: group["limit"] for name, group in groups.items()} == LIMITS
    assert all(group["in_flight_max_at_server"] <= group["limit"] for group in groups.values())
    assert groups[HOSTED]["in_flight_max"] == groups[HOSTED]["in_flight_max_at_server"] == 2
    assert sum(group["sources"] for group in groups.values()) == 12
    assert sum(group["unreadable"] for group in groups.values()) == 2
    first, second = result["harvests"]
    assert (second["new"], second["changed"], second["deleted"]) == (10, 30, 20)  # 1, 3 and 2 at each of 10 libraries
    assert first["records"] > second["records"] > 0


def test_people_see_the_file_both_harvests_and_a_table_and_nothing_is_left_behind() -> None:
    process = start(*SMALL)
    said, complaints = process.communicate(timeout=120)

    assert process.returncode == 0, said + complaints
    for sentence in (
        "hosted-folio: {limit: 2}",
        "The first harvest",
        "The second harvest",
        "most at once, seen by the server",
        "public-02 failed (as intended: its host is dead)",
        "special-01 failed (as intended: it answers every request with a login page)",
        "windrow sources add URL",
    ):
        assert sentence in said
    folder = folder_named_in(said)
    assert not folder.exists()
    assert processes_of(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_nothing_behind_either(number: signal.Signals) -> None:
    process = start("--sources", "40", "--records", "2000")
    assert process.stdout is not None
    said = ""
    while "The first harvest" not in said:
        line = process.stdout.readline()
        assert line, f"it ended early: {said}"
        said += line
    folder = folder_named_in(said)
    assert processes_of(folder)
    children = children_of(process.pid)
    assert children  # the simulated libraries

    process.send_signal(number)
    process.communicate(timeout=60)

    assert process.returncode not in (0, -number)
    assert not folder.exists()
    assert processes_of(folder) == []
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_a_kept_folder_holds_the_database_at_rest_and_the_file_of_sources() -> None:
    process = start(*SMALL, "--keep")
    said, complaints = process.communicate(timeout=120)

    folder = folder_named_in(said)
    try:
        assert process.returncode == 0, said + complaints
        assert f"WINDROW_HOME={folder} WINDROW_SOURCES={folder}/sources.yaml windrow status" in said
        assert (folder / "postgres" / "data" / "PG_VERSION").exists()
        assert processes_of(folder) == []
        assert len(load(folder / "sources.yaml", Settings.load()).sources) == 12
    finally:
        shutil.rmtree(folder)


def test_without_the_checkout_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(flows, "__file__", str(tmp_path / "flows" / "__init__.py"))

    result = CliRunner().invoke(app, ["demo"])

    assert result.exit_code == 2
    assert "only a checkout of Windrow has" in result.stderr


@pytest.mark.parametrize("count", [10, 12, 33, 100, 1000])
def test_the_cast_has_the_size_asked_for_and_exactly_two_that_fail(count: int, tmp_path: Path) -> None:
    listed = members(count, 500)

    assert len({each.name for each in listed}) == len(listed) == count
    assert len([each for each in listed if each.fails]) == 2
    assert sum(each.unreadable for each in listed) == 2
    assert {each.group for each in listed} == set(LIMITS)
    if count == 100:
        assert Counter(each.group for each in listed) == {HOSTED: 60, "university": 15, "public": 15, "special": 10}
        assert 40_000 <= sum(each.records for each in listed) <= 60_000
    file = tmp_path / "sources.yaml"
    file.write_text(sources_file(listed, {each.name: f"http://127.0.0.1:1/{each.name}/oai" for each in listed}))
    configuration = load(file, Settings.load())
    assert set(configuration.sources) == {each.name for each in listed}
    assert {name: configuration.groups[name].limit for name in LIMITS} == LIMITS


def finished(name: str, outcome: Outcome) -> PassFinished:
    error = None if outcome is Outcome.COMPLETE else "broken"
    return PassFinished(source=name, group=name, outcome=outcome, totals=Totals(), seconds=1.0, error=error)


def test_whatever_was_not_intended_is_said() -> None:
    listed = members(12, 20)
    working = [each for each in listed if not each.fails]
    dead, closed = (each for each in listed if each.fails)
    everything = sum(each.records for each in working)

    def result(*, first: Totals, in_flight: int, failing: tuple[str, ...]) -> Result:
        tally = Tally()
        tally.totals = first
        deltas = Tally()
        deltas.totals = Totals(new=10, changed=30, deleted=20)
        for each in listed:
            deltas.take(finished(each.name, Outcome.FAILED if each.name in failing else Outcome.COMPLETE))
        view = GroupView(name=HOSTED, limit=2, in_flight=0, in_flight_max=in_flight, pages=1, states={})
        return Result(listed=listed, harvests=[Harvest(tally=tally, views={HOSTED: view}), Harvest(tally=deltas)])

    right = Totals(new=everything - 2, failures=2)
    meant = (dead.name, closed.name)
    assert result(first=right, in_flight=2, failing=meant).surprises == []
    assert result(first=right, in_flight=3, failing=meant).surprises == ["group hosted-folio had 3 requests in flight under a limit of 2"]
    assert result(first=right, in_flight=2, failing=(dead.name, working[0].name)).surprises == [
        f"{closed.name} did not fail",
        f"{working[0].name} failed",
    ]
    assert result(first=Totals(new=everything - 3, failures=2), in_flight=2, failing=meant).surprises == [
        f"records of the first harvest (new, deleted or unreadable): {everything - 1:,} instead of {everything:,}"
    ]
