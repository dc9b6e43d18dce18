"""The commands of operators, as they are typed: what they print, what they change, and that a running harvest obeys."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from flows.cli import app
from tests.fakes.oai import Consortium, Fault, Repository

WINDROW = Path(sys.executable).with_name("windrow")
STATUS_KEYS = ["name", "group", "state", "records", "deleted", "watermark", "last_success", "paused_until", "next_due"]
STATUS_KEYS += ["failures_in_a_row", "error"]
REPOSITORIES = [
    Repository(name="alpha", records=60, page_size=50, deleted_share=0.1),
    Repository(name="beta", records=30),
    Repository(name="endless", records=100_000, page_size=50, latency=0.02),
]
CONFIGURATION = """
groups: {{hosted: {{limit: 2}}}}
defaults: {{interval: 1h, attempts: 1}}
sources:
  alpha: {{url: '{alpha}', group: hosted, delete_hold_minimum: 10}}
  beta: {{url: '{beta}', group: hosted}}
  gamma: {{url: 'http://127.0.0.1:9/oai', enabled: false}}
"""


class Said(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Said]


@pytest.fixture
def consortium() -> Iterator[Consortium]:
    with Consortium(REPOSITORIES) as running:
        yield running


@pytest.fixture
def environment(database_url: str, tmp_path: Path, consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    (tmp_path / "sources.yaml").write_text(CONFIGURATION.format(alpha=consortium.url("alpha"), beta=consortium.url("beta")))
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)
    monkeypatch.setenv("WINDROW_SOURCES", str(tmp_path / "sources.yaml"))
    monkeypatch.setenv("COLUMNS", "200")
    return dict(os.environ)


@pytest.fixture
def windrow(environment: dict[str, str]) -> Run:
    """Runs the installed command ``windrow`` with these arguments."""

    def running(*arguments: str) -> Said:
        done = subprocess.run(
            [WINDROW, *arguments], env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return running


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """The same without a process of its own, which takes a second to start."""

    def running(*arguments: str) -> Said:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return running


@contextlib.contextmanager
def harvesting(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``windrow harvest`` under way; SIGTERM ends it at the next page."""
    process = subprocess.Popen(
        [WINDROW, "harvest", "--json", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, f"{out}\n{err}"


def until(condition: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s: {what}"
        time.sleep(0.05)


def quiet(consortium: Consortium, name: str) -> None:
    """Waits until no request has come to a repository for a second."""
    seen = (-1, 0.0)

    def calm() -> bool:
        nonlocal seen
        count = consortium.stats()["repositories"][name]["requests"]
        seen = seen if seen[0] == count else (count, time.monotonic())
        return time.monotonic() - seen[1] > 1.0

    until(calm, f"{name} is still asked")


# ------------------------------------------------------------------ status


def test_status_shows_every_source_before_and_after_a_harvest(windrow: Run, environment: dict[str, str]) -> None:
    """harvest 27"""
    before = windrow("status", "--json")
    assert before.status == 0
    assert [list(each)[: len(STATUS_KEYS)] for each in before.json["sources"]] == [STATUS_KEYS] * 3
    assert [(each["name"], each["state"], each["records"]) for each in before.json["sources"]] == [
        ("alpha", "ready", 0),
        ("beta", "ready", 0),
        ("gamma", "disabled", 0),
    ]
    assert windrow("harvest", "--once", "--json").status == 0
    file = Path(environment["WINDROW_SOURCES"])
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "beta:" not in line))
    after = {each["name"]: each for each in windrow("status", "--json").json["sources"]}
    assert [(each["state"], each["group"]) for each in after.values()] == [
        ("idle", "hosted"),
        ("removed", "hosted"),
        ("disabled", "default"),
    ]
    alpha = after["alpha"]
    assert alpha["records"] + alpha["deleted"] == 60
    assert alpha["records"] > 40
    assert alpha["watermark"] < alpha["next_due"] > alpha["last_success"]
    assert all(alpha[key].endswith("Z") for key in ("watermark", "last_success", "next_due"))
    assert (alpha["failures_in_a_row"], alpha["error"], alpha["paused_until"]) == (0, None, None)
    assert (after["beta"]["records"], after["beta"]["next_due"]) == (30, None)


def test_status_for_people_shows_trouble_first_with_its_reason(run: Run, consortium: Consortium) -> None:
    """harvest 27"""
    consortium.fault("beta", Fault(kind="404"))
    assert run("harvest", "--once").status == 3
    assert run("pause", "target:folio", "--reason", "upgrade of FOLIO").status == 0
    lines = run("status").out.splitlines()
    assert lines[0].split()[:5] == ["source", "group", "state", "records", "deleted"]
    assert lines[1].split()[0] == "beta"
    assert "404" in lines[1]
    assert [line.split()[0] for line in lines[2:4]] == ["alpha", "gamma"]
    assert lines[4].startswith("3 sources: 2 idle, 1 disabled; ")
    assert lines[4].endswith("; 1 in trouble")
    assert lines[5].startswith("paused since ")
    assert lines[5].endswith(": target:folio (upgrade of FOLIO)")


def test_status_of_a_thousand_sources_fits_on_a_screen(run: Run, environment: dict[str, str], database: Engine) -> None:
    """harvest 27"""
    names = [f"s{number:04d}" for number in range(1000)]
    lines = [f"  {name}: {{url: 'http://127.0.0.1:9/{name}', group: g{number % 5}}}" for number, name in enumerate(names)]
    groups = ", ".join(f"g{number}: {{limit: 2}}" for number in range(5))
    Path(environment["WINDROW_SOURCES"]).write_text("\n".join([f"groups: {{{groups}}}", "sources:", *lines]))
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO harvest.source (name, group_name, identity, configuration, live, due_at, failures_in_a_row, error) "
                "SELECT 's' || to_char(n, 'FM0000'), 'g' || n % 5, 'x', '{}', 1000, now() + interval '1 hour', (n = 777)::int, "
                "CASE WHEN n = 777 THEN 'the repository failed (status 500)' END FROM generate_series(0, 998) n"
            )
        )
    out = run("status").out.splitlines()
    assert len(out) < 15
    assert out[1].split()[0] == "s0777"
    assert out[1].endswith("the repository failed (status 500)")
    assert [line.split()[0] for line in out[4:9]] == ["g0", "g1", "g2", "g3", "g4"]
    assert out[-1] == "1,000 sources: 1 ready, 999 idle; 999,000 records, 0 deleted; 1 in trouble"
    assert len(run("status", "--all").out.splitlines()) == 1002
    run("pause", "all", "--reason", "x")
    assert len(run("status").out.splitlines()) < 15


def test_explain_says_why_a_source_is_not_running(run: Run) -> None:
    """harvest 27"""
    assert "alpha is due and was never harvested yet." in run("explain", "alpha").out
    run("pause", "group:hosted", "--reason", "their server moves")
    said = run("explain", "alpha", "--json").json
    assert (said["name"], said["state"]) == ("alpha", "blocked")
    assert "paused the group hosted" in said["sentences"][0]
    assert said["sentences"][1] == "To go on: windrow resume group:hosted"
    assert run("explain", "gamma").out == "gamma is disabled in the configuration (enabled: false).\n"


# ------------------------------------------------------- a running harvest


def test_a_running_harvest_obeys_pause_and_resume(windrow: Run, environment: dict[str, str], consortium: Consortium) -> None:
    """harvest 27: in the middle of a list, also where the source never pauses by itself"""
    file = Path(environment["WINDROW_SOURCES"])
    file.write_text(f"sources:\n  endless: {{url: '{consortium.url('endless')}', pause_after_records: 0}}\n")
    with harvesting(environment):
        consortium.wait_requests(5, name="endless")
        state = windrow("status", "--json").json["sources"][0]
        assert (state["state"], state["error"]) == ("harvesting", None)
        assert "from the beginning" in windrow("explain", "endless").out
        said = windrow("pause", "source:endless", "--reason", "their backup")
        assert said.out == "source:endless is paused\nto go on: windrow resume source:endless\n"
        quiet(consortium, "endless")
        state = windrow("status", "--json").json["sources"][0]
        assert (state["state"], state["error"]) == ("blocked", "paused by an operator (source:endless): their backup")
        asked = consortium.stats()["repositories"]["endless"]["requests"]
        assert windrow("resume", "source:endless").out == "source:endless is resumed\n"
        consortium.wait_requests(asked + 5, name="endless", timeout=20)
    lists = [entry for entry in consortium.log("endless") if entry.verb == "ListRecords" and "resumptionToken" not in entry.arguments]
    assert len(lists) == 1  # it went on where it was


def test_a_running_harvest_follows_a_rewind_but_not_while_it_is_paused(
    run: Run, environment: dict[str, str], consortium: Consortium, database: Engine
) -> None:
    """harvest 27"""

    def updated() -> datetime:
        with database.connect() as connection:
            return connection.execute(text("SELECT updated_at FROM harvest.source WHERE name = 'beta'")).scalar_one()

    def lists() -> list[str | None]:
        asked = [entry.arguments for entry in consortium.log("beta") if entry.verb == "ListRecords"]
        return [arguments.get("from") for arguments in asked]

    with harvesting(environment, "--source", "beta"):
        until(lambda: run("status", "--json").json["sources"][1]["state"] == "idle", "the first pass")
        assert lists() == [None]
        assert run("rewind", "beta", "--from", "2024-05-01", "--yes").status == 0
        until(lambda: len(lists()) == 2, "the rewound pass")
        assert lists() == [None, "2024-04-30T23:55:00Z"]
        until(lambda: run("status", "--json").json["sources"][1]["state"] == "idle", "the end of the second pass")
        run("pause", "all", "--reason", "x")
        asked = consortium.stats()["repositories"]["beta"]["requests"]
        run("reset", "beta")
        changed = updated()
        until(lambda: updated() > changed, "the engine has read what is stored anew")
        quiet(consortium, "beta")
        assert consortium.stats()["repositories"]["beta"]["requests"] == asked
        run("resume", "all")
        until(lambda: len(lists()) == 3, "the full pass")
        assert lists()[2] is None


def test_fetch_does_not_save_beside_a_running_harvest_and_says_whose_it_is(
    run: Run, environment: dict[str, str], consortium: Consortium
) -> None:
    """harvest 27, 8"""
    identifier = consortium.identifier("beta", 1)
    with harvesting(environment) as process:
        until(lambda: {each["state"] for each in run("status", "--json").json["sources"]} == {"idle", "disabled"}, "the first passes")
        asked = consortium.stats()["repositories"]["beta"]["requests"]
        said = run("fetch", "beta", identifier, "--store")
        assert said.status == 2
        assert f":{process.pid}:" in said.err
        assert consortium.stats()["repositories"]["beta"]["requests"] == asked
        assert run("fetch", "beta", identifier, "--json").json["compared"] == "unchanged"
    assert run("fetch", "beta", identifier, "--store", "--json").json["saved"] is True


# ----------------------------------------------------------------- records


def test_records_failures_and_coverage_for_programs(run: Run, consortium: Consortium) -> None:
    """harvest 27, 18, 11"""
    consortium.fault("alpha", Fault(kind="malformed-record", verb="ListRecords", page=1, times=1))
    assert run("harvest", "--once").status == 0
    records = run("records", "alpha", "--json").lines
    assert {tuple(each) for each in records} == {("identifier", "datestamp", "deleted", "digest", "revision")}
    truth = consortium.truth("alpha")
    (failure,) = run("failures", "alpha", "--json").lines
    assert list(failure) == ["identifier", "at", "place", "reason", "snippet", "attempts", "run"]
    assert {each["identifier"] for each in records} == truth.keys() - {failure["identifier"]}
    assert len(run("records", "alpha", "--json", "--live", "--limit", "5").lines) == 5
    deleted = run("records", "alpha", "--json", "--deleted", "--payload").lines
    assert deleted
    assert {(each["deleted"], each["payload"]) for each in deleted} == {(True, None)}
    live = run("records", "alpha", "--json", "--live", "--payload", "--limit", "1").lines[0]
    assert "<" in live["payload"]
    assert len(live["digest"]) == 64
    last = max(each["revision"] for each in records)
    assert run("records", "alpha", "--json", "--since-revision", str(last)).out == ""
    coverage = run("coverage", "alpha", "--json").json
    assert coverage["source"] == "alpha"
    assert [(span["since"], span["until"]) for span in coverage["covered"]] == [(None, coverage["watermark"])]
    assert coverage["gaps"] == []
    assert coverage["drift"]["announced"] == 60
    assert coverage["drift"]["difference"] == -1


def test_records_failures_and_coverage_for_people(run: Run, consortium: Consortium) -> None:
    """harvest 27, 18, 11"""
    said = run("records", "alpha")
    assert (said.status, said.out) == (0, "")
    assert said.err.startswith("alpha was not harvested yet")
    consortium.fault("alpha", Fault(kind="malformed-record", verb="ListRecords", page=1, times=1))
    run("harvest", "--once")
    lines = run("records", "alpha").out.splitlines()
    assert lines[0].split() == ["revision", "datestamp", "state", "digest", "identifier"]
    assert len(lines) == 60
    assert run("failures", "alpha").out.endswith("\n1 record could not be read\n")
    assert run("failures", "beta").out == "every record could be read\n"
    coverage = run("coverage", "alpha").out
    assert "covered  the beginning" in coverage
    assert "announced 60 records; 1 fewer are stored now" in coverage


def test_fetch_shows_one_record_or_says_why_not(run: Run, consortium: Consortium) -> None:
    """harvest 27"""
    number = consortium.live("alpha")[0]
    said = run("fetch", "alpha", consortium.identifier("alpha", number))
    assert said.status == 0
    assert "compared    new" in said.out
    assert "<" in said.out
    assert run("records", "alpha").out == ""
    said = run("fetch", "alpha", "oai:nothing:1")
    assert (said.status, said.out) == (3, "")
    assert "idDoesNotExist" in said.err


# --------------------------------------------------------------- deletions


def test_held_deletions_are_shown_and_decided(run: Run, consortium: Consortium) -> None:
    """harvest 23"""
    run("harvest", "--once")
    assert run("deletions", "list").out == "no deletions are held\n"
    consortium.delete("alpha", consortium.live("alpha")[:30])
    assert json.loads(run("harvest", "--once", "--json").out.splitlines()[-1])["held"] == 1
    before = run("status", "--json").json["sources"][0]
    assert before["held_deletions"] == 30
    assert "alarm since" in run("status").out
    assert [(each["source"], each["held"]) for each in run("deletions", "list", "--json").json["sources"]] == [("alpha", 30)]
    shown = run("deletions", "show", "alpha", "--json", "--examples", "4").json
    assert (shown["held"], shown["tombstones"], len(shown["examples"])) == (30, 30, 4)
    assert f"30 of {before['records']} records of alpha" in run("deletions", "show", "alpha").out
    assert run("deletions", "approve", "alpha", "--reason", "weeded").out == "30 records of alpha are deleted now\n"
    after = run("status", "--json").json["sources"][0]
    assert (after["records"], after["deleted"]) == (before["records"] - 30, before["deleted"] + 30)
    assert len(run("records", "alpha", "--json", "--deleted").lines) == after["deleted"]
    assert "alarm since" not in run("status").out
    consortium.delete("alpha", consortium.live("alpha")[:20])
    run("harvest", "--once")
    assert run("deletions", "refuse", "alpha", "--json").json == {"source": "alpha", "decision": "refused", "deletions": 20}
    assert run("status", "--json").json["sources"][0]["records"] == after["records"]
    assert run("deletions", "approve", "alpha").out == "no deletions of alpha are held\n"


# ----------------------------------------------------------- asking back


@pytest.mark.parametrize(("answer", "status", "watermark"), [("n\n", 1, "kept"), ("y\n", 0, "changed")])
def test_rewind_asks_on_a_terminal(run: Run, environment: dict[str, str], answer: str, status: int, watermark: str) -> None:
    """harvest 27"""
    run("harvest", "--once")
    before = run("status", "--json").json["sources"][0]["watermark"]
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [WINDROW, "rewind", "alpha", "--from", "2024-05-01"],
            env=environment,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, answer.encode())
        out, _ = process.communicate(timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == status
    assert out.startswith("The next pass of alpha asks for what changed from 2024-05-01 00:00:00 UTC on, and is due now.")
    after = run("status", "--json").json["sources"][0]["watermark"]
    assert after == (before if watermark == "kept" else "2024-05-01T00:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "alhpa"], "there is no source alhpa; did you mean alpha?"),
        (["records", "alhpa"], "there is no source alhpa; did you mean alpha?"),
        (["failures", "xyz"], "there is no source xyz; windrow status shows what there is"),
        (["coverage", "alhpa"], "did you mean alpha?"),
        (["fetch", "alhpa", "oai:1"], "did you mean alpha?"),
        (["reset", "alhpa", "--yes"], "did you mean alpha?"),
        (["reset", "alpha", "--yes"], "alpha was not harvested yet, so there is nothing to reset"),
        (["rewind", "alpha", "--from", "yesterday"], "--from yesterday: not a moment; write 2024-05-01 or 2024-05-01T12:30:00Z"),
        (["rewind", "alpha", "--from", "2024-05-01T12:30:00"], "a time of day needs its zone"),
        (["rewind", "alpha", "--from", "2999-01-01"], "that is still to come"),
        (["pause", "hosted", "--reason", "x"], "'hosted' is not a scope; write all, group:NAME, source:NAME or target:NAME"),
        (["pause", "group:hostde", "--reason", "x"], "there is no group hostde; did you mean hosted?"),
        (["pause", "source:alhpa", "--reason", "x"], "there is no source alhpa; did you mean alpha?"),
        (["pause", "all", "--reason", " "], "--reason is empty"),
        (["resume", "source:alhpa"], "did you mean alpha?"),
        (["deletions", "approve", "alhpa"], "did you mean alpha?"),
    ],
)
def test_a_wrong_name_is_one_clear_sentence(run: Run, arguments: list[str], said: str) -> None:
    """harvest 27, 23"""
    answer = run(*arguments)
    assert answer.status == 2
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""


def test_a_database_that_does_not_answer_is_one_sentence(windrow: Run, environment: dict[str, str]) -> None:
    """harvest 27"""
    environment["WINDROW_DATABASE_URL"] = "postgresql://windrow@127.0.0.1:9/windrow"
    answer = windrow("status")
    assert answer.status == 1
    assert "cannot be reached" in answer.err
    assert "Traceback" not in answer.err
