"""``windrow harvest`` as a program uses it: its JSON, its exit status, its signals, and that it asks nobody when it should not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine as Database

from tests import driving
from tests.driving import stored, told
from tests.fakes.oai import Consortium, Fault, Repository

ROOT = Path(__file__).resolve().parents[2]
COUNTS = ["records", "new", "changed", "unchanged", "deleted", "failures", "pages"]
PASS_KEYS = ["event", "source", "group", "outcome", *COUNTS, "seconds", "error"]
SUMMARY_KEYS = ["event", "sources", "complete", "failed", "held", *COUNTS, "seconds", "groups"]

HOSTED = [Repository(name=f"h{n}", group="hosted", records=60 + n, deleted_share=0.1, page_size=20, latency=0.005) for n in range(6)]
ALONE = Repository(name="alone", records=45, page_size=20)


class Command:
    """``windrow`` in a process of its own, with a file of sources and a database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.file = folder / "sources.yaml"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WINDROW_")},
            "WINDROW_HOME": str(folder / "home"),
            "WINDROW_DATABASE_URL": url,
            "WINDROW_SOURCES": str(self.file),
            "PYTHONPATH": str(ROOT),
        }

    def write(self, consortium: Consortium, names: list[str], extra: str = "", limit: int = 2) -> None:
        lines = [f"groups:\n  hosted: {{limit: {limit}}}\nsources:\n"]
        for name in names:
            group = "hosted" if name.startswith("h") else "default"
            lines.append(f'  {name}: {{url: "{consortium.url(name)}", group: {group}}}\n')
        self.file.write_text("".join(lines) + extra, encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def objects(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        status, out, err = self.run(*arguments)
        assert "Traceback" not in err, err
        return status, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def consortium() -> Iterator[Consortium]:
    with Consortium([*HOSTED, ALONE]) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, database_url: str) -> Command:
    return Command(tmp_path, database_url)


def test_the_json_of_a_harvest_is_as_promised(command: Command, consortium: Consortium, database: Database) -> None:
    """harvest 25"""
    command.write(consortium, consortium.names)
    status, lines = command.objects("harvest", "--once", "--json")
    assert status == 0
    *passes, summary = lines
    assert [list(each) for each in passes] == [PASS_KEYS] * 7
    assert list(summary) == SUMMARY_KEYS
    assert {each["source"] for each in passes} == set(consortium.names)
    for each in passes:
        truth = consortium.truth(each["source"])
        deleted = sum(one.deleted for one in truth.values())
        assert (each["event"], each["outcome"], each["error"], each["failures"]) == ("pass", "complete", None, 0)
        assert each["group"] == consortium.repository(each["source"]).group
        assert (each["records"], each["new"], each["deleted"], each["changed"], each["unchanged"]) == (
            len(truth),
            len(truth) - deleted,
            deleted,
            0,
            0,
        )
        assert stored(database, each["source"]) == told(truth)
    for count in ("records", "new", "changed", "unchanged", "deleted", "failures", "pages"):
        assert summary[count] == sum(each[count] for each in passes)
    assert (summary["event"], summary["sources"], summary["complete"], summary["failed"], summary["held"]) == ("summary", 7, 7, 0, 0)
    assert {name: list(group) for name, group in summary["groups"].items()} == {
        "default": ["limit", "in_flight_max", "pages"],
        "hosted": ["limit", "in_flight_max", "pages"],
    }
    hosted = summary["groups"]["hosted"]
    assert (hosted["limit"], hosted["in_flight_max"]) == (2, 2)
    assert hosted["pages"] == sum(each["pages"] for each in passes if each["group"] == "hosted")
    assert consortium.stats()["groups"]["hosted"]["in_flight_max"] == 2

    consortium.change("h0", consortium.live("h0")[:3])
    consortium.delete("h0", consortium.live("h0")[3:5])
    status, lines = command.objects("harvest", "--once", "--json")
    (h0,) = [each for each in lines if each.get("source") == "h0"]
    assert (h0["records"], h0["changed"], h0["deleted"]) == (5, 3, 2)
    assert (status, lines[-1]["records"]) == (0, 5)


def test_a_source_that_fails_is_named_and_the_exit_status_is_3(command: Command, consortium: Consortium) -> None:
    """harvest 25"""
    command.write(consortium, ["h0", "h1", "alone"])
    consortium.fault("h1", Fault(kind="404"))
    consortium.fault("alone", Fault(kind="bot-wall"))
    status, lines = command.objects("harvest", "--once", "--json")
    assert status == 3
    outcomes = {each["source"]: each["outcome"] for each in lines[:-1]}
    assert outcomes == {"h0": "complete", "h1": "failed", "alone": "blocked"}
    assert all(each["error"] for each in lines[:-1] if each["outcome"] != "complete")
    assert (lines[-1]["complete"], lines[-1]["failed"]) == (1, 2)


def test_only_the_chosen_sources_and_groups_are_asked(command: Command, consortium: Consortium) -> None:
    """harvest 25"""
    command.write(consortium, consortium.names)
    _, lines = command.objects("harvest", "--once", "--json", "--source", "h1", "--source", "alone")
    assert {each["source"] for each in lines[:-1]} == {"h1", "alone"}
    assert lines[-1]["sources"] == 2
    _, lines = command.objects("harvest", "--once", "--json", "--group", "hosted")
    assert {each["source"] for each in lines[:-1]} == {each.name for each in HOSTED}
    status, out, err = command.run("harvest", "--once", "--source", "nobody")
    assert (status, out) == (2, "")
    assert "there is no source nobody" in err


def test_a_run_for_a_time_stops_by_itself(command: Command, consortium: Consortium) -> None:
    """harvest 25"""
    command.write(consortium, ["h0", "alone"])
    status, lines = command.objects("harvest", "--for", "1s", "--json")
    assert status == 0
    assert {each["source"] for each in lines[:-1]} == {"h0", "alone"}
    status, _, err = command.run("harvest", "--for", "soon")
    assert status == 2
    assert "--for soon" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_stops_at_a_page_boundary_and_the_next_run_goes_on(
    command: Command, consortium: Consortium, database: Database, number: signal.Signals
) -> None:
    """harvest 21, 25"""
    command.write(consortium, ["h0", "h1"])
    with consortium.hold():
        process = command.start("harvest", "--json")
        consortium.wait_in_flight(2, group="hosted", timeout=30)
    consortium.wait_requests(4, group="hosted", timeout=30)
    with consortium.hold():
        consortium.wait_in_flight(2, group="hosted", timeout=30) if consortium.stats()["total"]["in_flight"] else None
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    summary = json.loads(out.splitlines()[-1])
    assert summary["event"] == "summary"
    pages = driving.one(database, "SELECT coalesce(sum(pages), 0) FROM harvest.run")
    assert summary["pages"] == pages
    asked = consortium.stats()["total"]["verbs"].get("ListRecords", 0)
    assert asked == pages, "every page that was asked for was saved"
    status, _ = command.objects("harvest", "--once", "--json")
    assert status == 0
    for name in ("h0", "h1"):
        assert stored(database, name) == told(consortium.truth(name))


def test_people_get_lines(command: Command, consortium: Consortium) -> None:
    """harvest 25"""
    command.write(consortium, ["h0", "alone"])
    consortium.fault("alone", Fault(kind="404"))
    status, out, _ = command.run("harvest", "--once")
    assert status == 3
    assert "2 sources: 1 complete, 1 failed, 0 held." in out
    assert "alone: " in out


TWENTY = """\
groups:
  hosted: {limit: 0}
  other: {limit: two}
  a-b: {limit: 1}
  a_b: {limit: 1}
defaults: {interval: never, nonsense: 1}
sources:
  s1: {url: "URL", group: nowhere}
  s2: {url: "ftp://example.org/oai"}
  s3: {metadata_prefix: marc21}
  s4: {url: "URL", deletions: sometimes}
  s5: {url: "URL", pause_seconds: -1}
  s6: {url: "URL", token_retry: twice}
  s7: {url: "URL", windows: 1x}
  s8: {url: "URL", granularity: week}
  s9: {url: "URL", unknown_key: 1}
  s10: {url: "URL", requests_per_minute: 0}
  s11: {url: "URL", username: u, password: env:P}
  s12: {url: "URL", bearer_token: not-a-reference}
  s13: {url: "URL", page_bytes_limit: huge}
  s14: {url: "URL", attempts: 0}
  s15: {url: "URL", end_of_list: maybe}
"""


def test_a_wrong_file_is_refused_as_a_whole_and_nobody_is_asked(command: Command, consortium: Consortium) -> None:
    """harvest 25, 26"""
    command.file.write_text(TWENTY.replace("URL", consortium.url("alone")), encoding="utf-8")
    status, out, err = command.run("harvest", "--once", "--json")
    assert (status, out) == (2, "")
    places = {line.split(": ")[0] for line in err.splitlines()}
    assert len(err.splitlines()) == 20, err
    assert all(place.rpartition(":")[2].isdecimal() for place in places)
    assert consortium.stats()["total"]["requests"] == 0


def test_no_file_is_exit_status_2(command: Command) -> None:
    """harvest 25"""
    status, out, err = command.run("harvest", "--once", "--json")
    assert (status, out) == (2, "")
    assert "sources.yaml" in err
