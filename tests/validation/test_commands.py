"""The commands of the gate as they are typed: what they print, how they end, what they change."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from db import switches
from flows.catalog.model import from_json
from flows.catalog.write import to_iso2709, to_marcjson, to_marcxml
from flows.cli import app
from tests import driving
from tests.validation.records import record
from tests.validation.shelf import Shelf, bad, xml

FINDING_KEYS = ["category", "code", "severity", "path", "message", "value"]
SUMMARY_KEYS = ["event", "read", "valid", "warned", "quarantined", "deleted", "held_sources", "findings", "scrubbed", "seconds"]


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Said]


@pytest.fixture
def run() -> Run:
    def running(*arguments: str, given: bytes | None = None) -> Said:
        result = CliRunner().invoke(app, list(arguments), input=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return running


@pytest.fixture
def shelf(database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)
    return Shelf(database)


# -------------------------------------------------------------------- record


def test_record_check_tells_what_is_wrong_with_each_record_of_a_file(run: Run, tmp_path: Path) -> None:
    """catalog 5"""
    path = tmp_path / "records.mrc"
    right, wrong = record(c001="1"), record(bare=True, c001="2", c008="200131s2020    xxu           000 0 eng d")
    doubtful = record("020 ## $a9780000000001", c001="3")
    path.write_bytes(b"".join(map(to_iso2709, (right, wrong, doubtful))))
    said = run("record", "check", str(path), "--json")
    assert said.status == 3
    first, second, third = said.lines
    assert first == {"control_number": "1", "valid": True, "findings": []}
    assert (second["control_number"], second["valid"]) == ("2", False)
    assert [list(each) for each in second["findings"]] == [FINDING_KEYS] * len(second["findings"])
    assert any((each["code"], each["severity"], each["path"]) == ("missingField", "error", "245") for each in second["findings"])
    assert third["valid"] is True
    assert [(each["code"], each["value"]) for each in third["findings"]] == [("invalidISBN", "9780000000001")], "the value is shown here"
    path.write_bytes(to_iso2709(right))
    assert run("record", "check", str(path), "--json").status == 0


def test_record_check_obeys_a_policy(run: Run, tmp_path: Path) -> None:
    """catalog 6"""
    records, policy = tmp_path / "one.xml", tmp_path / "policies.yaml"
    records.write_bytes(xml("500 ## $aA note."))
    policy.write_text('sources:\n  alpha:\n    forbid: ["500"]\n')
    assert run("record", "check", str(records), "--policy", str(policy), "--json").status == 0
    said = run("record", "check", str(records), "--policy", str(policy), "--source", "alpha")
    assert said.status == 3
    assert "500: " in said.out
    policy.write_text("all: {requires: []}\n")
    said = run("record", "check", str(records), "--policy", str(policy))
    assert said.status == 2
    assert "requires" in said.err


def test_the_same_record_in_three_forms_is_shown_alike_byte_for_byte(run: Run, tmp_path: Path) -> None:
    """catalog 1, 2"""
    one = record("500 ## $aÜber e\u0301tude $bx", c001="7")
    shown = []
    for name, payload in (("a.xml", to_marcxml(one)), ("b.mrc", to_iso2709(one)), ("c.json", to_marcjson(one))):
        (tmp_path / name).write_bytes(payload)
        shown.append(run("record", "show", str(tmp_path / name), "--json").out)
    assert len(set(shown)) == 1
    assert from_json(shown[0]).control_number == "7"
    assert "500    $aÜber" in run("record", "show", str(tmp_path / "a.xml")).out


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"   ",
        b"\x00\xff\xfe\x9d",
        b"<record>broken",
        b'{"leader": 3, "fields": "\\ud800"}',
        b"[" * 5000,
        b"00010nam",
        b"\x1d" * 9,
        b"@prefix x",
    ],
    ids=["nothing", "blanks", "bytes", "xml", "json", "depth", "leader", "terminators", "turtle"],
)
def test_any_input_is_told_about_and_none_is_a_crash(run: Run, given: bytes) -> None:
    """catalog 2"""
    for verb in ("check", "show"):
        said = run("record", verb, "-", "--json", given=given)
        assert said.status == 3
        assert all("control_number" in each for each in said.lines)
        assert said.lines
        assert run("record", verb, "-", given=given).status == 3


def test_standard_input_may_be_a_pipe() -> None:
    """catalog 2"""
    windrow = Path(sys.executable).with_name("windrow")
    done = subprocess.run([windrow, "record", "check", "-", "--json"], input=xml(number=5), capture_output=True, check=True)
    assert json.loads(done.stdout) == {"control_number": "5", "valid": True, "findings": []}


def test_a_bad_call_says_what_is_wrong(run: Run, tmp_path: Path) -> None:
    said = run("record", "check", str(tmp_path / "missing"))
    assert (said.status, "cannot be read" in said.err) == (2, True)
    assert run("record", "check", str(tmp_path)).status == 2
    assert "not a known format" in run("record", "check", "-", "--format", "docx", given=b"x").err


# ------------------------------------------------------------------ validate


def test_validate_ends_with_a_summary(run: Run, shelf: Shelf) -> None:
    """catalog 5, 7, 11"""
    for number in range(4):
        shelf.put(f"oai:{number}", xml("949 ## $aLocal", number=number))
    shelf.put("oai:9", bad(9))
    said = run("validate", "--json")
    assert said.status == 0
    summary = said.lines[-1]
    assert list(summary) == SUMMARY_KEYS
    assert [summary[key] for key in ("event", "read", "valid", "warned", "quarantined", "deleted")] == ["summary", 5, 4, 4, 1, 0]
    assert summary["held_sources"] == []
    assert summary["scrubbed"] == {"949": 4}
    assert summary["findings"] == {"dataField/missingField": 1, "dataField/undefinedField": 4}
    assert run("validate", "--json").lines[-1]["read"] == 0
    assert run("validate", "--all", "--json").lines[-1]["read"] == 5


def test_validate_takes_only_the_sources_that_are_named(run: Run, shelf: Shelf) -> None:
    shelf.fill(2)
    shelf.fill(3, source="beta")
    assert run("validate", "--source", "beta", "--json").lines[-1]["read"] == 3
    assert (len(shelf.bibs()), len(shelf.bibs("beta"))) == (0, 3)
    assert run("validate", "--all", "--source", "beta", "--json").lines[-1]["read"] == 3
    assert run("validate", "--json").lines[-1]["read"] == 2
    said = run("validate", "--source", "bete")
    assert said.status == 2
    assert "did you mean beta?" in said.err


def test_a_policy_is_tried_without_a_trace(run: Run, shelf: Shelf, tmp_path: Path) -> None:
    """catalog 6"""
    shelf.fill(3)
    shelf.put("oai:note", xml("500 ## $aA note.", number=7))
    shelf.put("oai:bad", bad(8))
    run("validate")
    before = shelf.versions()
    policy = tmp_path / "policies.yaml"
    policy.write_text('all:\n  forbid: ["500"]\n')
    said = run("validate", "--policy", str(policy), "--dry-run", "--json")
    assert said.status == 0
    *failing, summary = said.lines
    assert [(each["event"], each["identifier"]) for each in failing] == [("newly_failing", "oai:note")], "what fails already is not new"
    assert failing[0]["findings"][0]["path"] == "500"
    assert list(summary) == SUMMARY_KEYS
    assert (summary["read"], summary["quarantined"]) == (5, 2)
    assert shelf.versions() == before
    assert "1 of 5 records would newly fail" in run("validate", "--policy", str(policy), "--dry-run").out
    assert run("validate", "--dry-run").status == 2


def test_a_policy_file_with_mistakes_changes_nothing(run: Run, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 6"""
    shelf.fill(1)
    policy = tmp_path / "policies.yaml"
    policy.write_text('all:\n  require: ["24"]\n')
    monkeypatch.setenv("WINDROW_POLICIES", str(policy))
    said = run("validate")
    assert said.status == 2
    assert "line 2" in said.err or ":2" in said.err
    assert shelf.bibs() == {}
    policy.write_text('all:\n  require: ["590"]\n')
    run("validate")
    assert shelf.quarantine() == ["oai:00000"], "the file that the environment names is obeyed"


def test_a_held_source_is_told_with_exit_status_3_until_it_is_approved(run: Run, shelf: Shelf) -> None:
    """catalog 8"""
    shelf.fill(10, failing=6)
    said = run("validate", "--json")
    assert said.status == 3
    gate, summary = said.lines
    assert (gate["event"], gate["source"], gate["held"]) == ("gate", "alpha", True)
    assert summary["held_sources"] == ["alpha"]
    listed = run("quarantine", "list", "--json").lines[0]
    assert [(each["source"], each["held"], each["waiting"]) for each in listed["sources"]] == [("alpha", True, 10)]
    assert "alpha is held" in run("quarantine", "list").out
    said = run("validate", "--approve", "alpha", "--json")
    assert said.status == 0
    assert (said.lines[-1]["valid"], said.lines[-1]["quarantined"]) == (4, 6)
    assert run("validate", "--approve", "alpha").status == 2
    assert switches.open_alarms(shelf.database) == []


# ---------------------------------------------------------------- quarantine


def test_quarantine_is_looked_at_and_a_record_released_for_as_long_as_it_stays_as_it_is(run: Run, shelf: Shelf) -> None:
    """catalog 7"""
    shelf.put("oai:1", bad(1))
    shelf.put("oai:2", b"<record>broken")
    run("validate")
    assert "oai:1" in run("quarantine", "list", "alpha").out
    shown = run("quarantine", "show", "alpha", "oai:1")
    assert "245: " in shown.out
    assert "https://www.loc.gov/marc/bibliographic/bd245.html" in shown.out
    assert run("quarantine", "show", "alpha", "oai:3").status == 2
    assert run("quarantine", "release", "alpha", "oai:1", "--reason", " ").status == 2
    said = run("quarantine", "release", "alpha", "oai:1", "oai:2", "--reason", "a map without a title", "--json")
    assert said.status == 3
    assert said.lines == [{"source": "alpha", "released": ["oai:1"], "not_released": ["oai:2"]}]
    assert shelf.bibs() == {"oai:1": False}
    run("validate", "--all")
    assert shelf.quarantine() == ["oai:2"], "the same record stays released"
    assert "released by" in run("quarantine", "show", "alpha", "oai:1").out
    shelf.put("oai:1", bad("other"))
    run("validate")
    assert shelf.quarantine() == ["oai:1", "oai:2"], "another version is another matter"
    assert shelf.content("oai:1").control_number == "1"


def test_quarantine_is_exported_for_those_who_mend_records(run: Run, shelf: Shelf, tmp_path: Path) -> None:
    """catalog 7"""
    shelf.put("oai:1", bad(1))
    shelf.put("oai:2", b"<record>broken")
    run("validate")
    said = run("quarantine", "export", "alpha")
    assert said.status == 0
    first, second = said.lines
    assert first["record"]["control_number"] == "1"
    assert first["findings"][0]["code"] == "missingField"
    assert (second["record"], second["readable"]) == (None, False)
    out = tmp_path / "mend.mrc"
    said = run("quarantine", "export", "--format", "mrc", "--out", str(out))
    assert said.status == 3
    assert "oai:2: not written: it cannot be read" in said.err
    checked = run("record", "show", str(out), "--json")
    assert [each["control_number"] for each in checked.lines] == ["1"]


# ------------------------------------------------------------------- quality


def test_quality_counts_instances_and_records_with_and_without_undefined_fields(run: Run, shelf: Shelf) -> None:
    """catalog 9"""
    shelf.put("oai:1", xml("949 ## $aLocal", "949 ## $aLocal", number=1))
    shelf.put("oai:2", xml("949 ## $aLocal", "020 ## $a9780000000001", number=2))
    shelf.put("oai:3", xml(number=3))
    shelf.put("oai:4", bad(4))
    run("validate")
    [found] = run("quality", "alpha", "--json").lines[0]["sources"]
    assert (found["records"], found["quarantined"], found["warned"], found["deleted"]) == (3, 1, 2, 0)
    assert (found["with_findings"], found["without_undefined"]) == (3, 2)
    rules = {each["issue"]: (each["severity"], each["instances"], each["records"]) for each in found["rules"]}
    assert rules["dataField/undefinedField"] == ("warning", 3, 2)
    assert rules["subfield/invalidISBN"] == ("warning", 1, 1)
    assert 0 < found["score"] <= 100
    [day] = found["days"]
    assert (day["records"], day["quarantined"], day["warned"]) == (3, 1, 2)
    rows = list(csv.DictReader(io.StringIO(run("quality", "--csv").out)))
    assert {row["rule"]: row["records"] for row in rows}["dataField/undefinedField"] == "2"
    page = run("quality", "--html").out
    assert page.startswith("<!doctype html>")
    assert "dataField/undefinedField" in page
    assert "src=" not in page, "it loads nothing"
    assert "alpha" in run("quality").out
    assert run("quality", "--csv", "--json").status == 2


def test_quality_keeps_a_figure_for_each_day(run: Run, shelf: Shelf) -> None:
    """catalog 9"""
    shelf.put("oai:4", bad(4))
    run("validate")
    driving.do(shelf.database, "UPDATE catalog.quality_day SET day = day - 1")
    shelf.put("oai:4", xml(number=4))
    run("validate")
    [found] = run("quality", "alpha", "--json").lines[0]["sources"]
    assert [(each["records"], each["quarantined"]) for each in found["days"]] == [(0, 1), (1, 0)]
    assert "<polyline" in run("quality", "alpha", "--html").out


# --------------------------------------------------------------------- purge


def test_purge_removes_a_record_everywhere_and_says_where(run: Run, shelf: Shelf) -> None:
    """catalog 14"""
    shelf.put("oai:1", xml("245 10 $aZyxwora.", number=1))
    shelf.put("oai:2", xml(number=2))
    run("validate")
    shelf.put("oai:1", xml("245 00 $aZyxwora", "245 00 $aZyxwora.", number=1))  # in quarantine now, clean version kept
    driving.do(shelf.database, "UPDATE harvest.source SET live = 2")
    run("validate")
    assert shelf.quarantine() == ["oai:1"]
    top = driving.one(shelf.database, "SELECT max(revision) FROM catalog.bib")
    assert run("purge", "alpha", "oai:1", "--reason", "").status == 2
    said = run("purge", "alpha", "oai:1", "--reason", "asked for by the person", "--yes", "--json")
    assert said.status == 0
    removed = said.lines[0]["removed"]
    assert {"harvest.record", "catalog.bib", "catalog.finding", "catalog.quarantine"} == set(removed)
    tables = driving.rows(
        shelf.database,
        "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema IN ('harvest', 'catalog', 'ops')",
    )
    for (table,) in tables:
        for (row,) in driving.rows(shelf.database, f"SELECT t::text FROM {table} t"):
            assert "Zyxwora" not in str(row)
    assert driving.rows(
        shelf.database, "SELECT deleted, content, revision > :top FROM catalog.bib WHERE identifier = 'oai:1'", top=top
    ) == [(True, None, True)]
    assert driving.one(shelf.database, "SELECT live FROM harvest.source") == 1
    assert driving.one(shelf.database, "SELECT reason FROM catalog.purge") == "asked for by the person"
    assert run("purge", "alpha", "oai:1", "--reason", "again", "--yes").status == 3
    run("validate", "--all")
    assert shelf.bibs() == {"oai:1": True, "oai:2": False}
    shelf.put("oai:1", xml(number=1))
    run("validate")
    assert shelf.bibs()["oai:1"] is False, "offered again, it comes back"


# ---------------------------------------------------------------- the page


def test_the_page_for_cataloguers_works_as_it_is_written(run: Run, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 6, 7, 9"""
    page = (Path(__file__).parents[2] / "docs" / "admins.md").read_text(encoding="utf-8")
    page = page[page.index("## For cataloguers") :]
    monkeypatch.chdir(tmp_path)
    policy = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert policy
    (tmp_path / "policies.yaml").write_text(policy[1], encoding="utf-8")
    shelf.source("mobius-alpha", group="hosted-folio")
    right = xml("035 ## $a(OCoLC)1", "040 ## $aDLC$cDLC", "949 ## $aShelf", number=1)
    shelf.put("oai:1", right, source="mobius-alpha")
    shelf.put("oai:2", xml("040 ## $aOther", "590 ## $aLocal", number=2), source="mobius-alpha")
    shelf.put("ID", bad(3), source="mobius-alpha")
    for number in range(4, 9):
        shelf.put(f"oai:{number}", right, source="mobius-alpha")
    ran = []
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                monkeypatch.setenv(name, value)
                continue
            said = run(*words[1:])
            assert said.status in (0, 3), (line, said)
            ran.append((" ".join(words[1:]), said))
    said = dict(ran)
    assert "error: 245: The field (Title statement) is required. (dataField/missingField)" in said["quarantine show mobius-alpha ID"].out
    assert "2 of 8 records would newly fail" not in said["validate --policy policies.yaml --dry-run"].out
    assert "1 of 8 records would newly fail" in said["validate --policy policies.yaml --dry-run"].out
    assert "2 in quarantine" in said["validate --all"].out
    assert len(ran) >= 11
    assert shelf.content("oai:1", source="mobius-alpha").fields("949"), "what the policy allows passes the scrubber"
