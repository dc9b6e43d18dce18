"""Values of people are planted wherever a record has room for them, and looked for in everything that comes after the harvest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from flows.catalog.model import DataField, Subfield
from flows.cli import app
from flows.validation import flow as flow_module
from flows.validation.personal import PrivacyRules, Treatment
from flows.validation.policies import Policies
from flows.validation.quality import quality
from flows.validation.store import ValidationStore
from harvester.secrets import SecretRef
from tests.validation.records import record
from tests.validation.shelf import Shelf, bad, xml
from tests.validation.test_station import bibframe

CANARY = "Zyxwora"
MAIL = "zyxwora.patron@example.org"
BARCODE = "29876543210987"
SEARCHED = (CANARY.lower(), MAIL, BARCODE)
KEY = "1:4f9a1c77e0b25d8836aa01bd94ce52f7"


@pytest.fixture
def shelf(database: Engine) -> Shelf:
    return Shelf(database)


def planted() -> dict[str, bytes]:
    """Payloads with a person in every place that is not listed, or in a listed one in a form that can be known."""
    from flows.catalog.write import to_iso2709, to_marcjson, to_marcxml

    private = [
        f"949 ## $a{CANARY}$n{CANARY} took it home",
        f"590 ## $a{CANARY}",
        f"599 ## $z{CANARY}",
        f"852 0# $bMAIN$x{CANARY}",
        f"876 ## $a1$x{CANARY}$z{CANARY}",
        f"952 ## $p{BARCODE}$x{CANARY}",
        f"541 0# $aBought from {CANARY}",
        f"561 0# $a{CANARY}",
        f"583 0# $a{CANARY}",
        f"500 ## $aWrite to {MAIL} about it",
        f"500 ## $aBorrowed by {CANARY}",
        f"500 ## $aCard {BARCODE}",
        f"500 ## $Q{CANARY}",
        f"245 10 $aA title :$b{MAIL} /$cby {BARCODE}.$Z{CANARY}",
        f"020 ## $a{BARCODE}$z{MAIL}",
        f"880 0# $6541-00$a{CANARY}",
        f"880 0# $6949-00$a{CANARY}",
        f"zzz ## $a{CANARY}",
        f"X9X ## $a{CANARY}",
        f"650 #0 $aLibraries$9{MAIL}$0{MAIL}",
    ]
    odd = [
        DataField(tag=CANARY, subfields=(Subfield("a", CANARY),)),
        DataField(tag="500", ind1=CANARY, ind2=MAIL, subfields=(Subfield("a", "text"),)),
        DataField(tag="500", subfields=(Subfield(CANARY, "text"), Subfield("", MAIL))),
    ]
    whole = record(*private, *odd, c001="1")
    no_title = record(*private, bare=True, c001=MAIL, c008="200131s2020    xxu           000 0 eng d", c009=CANARY, cFMT=MAIL)
    leader = record(*private, leader=f"00000nam {CANARY}     4500", c001=CANARY + " " + MAIL, c003=MAIL, c005=BARCODE, c006=MAIL, c007=MAIL)
    passing = record(*private[:6], *private[9:12], c001="9")
    return {
        "oai:passing": to_marcxml(passing),
        "oai:xml": to_marcxml(whole),
        "oai:iso": to_iso2709(record(*private, c001="2")),
        "oai:json": to_marcjson(whole),
        "oai:no-title": to_marcxml(no_title),
        "oai:leader": to_marcxml(leader),
        "oai:bibframe": bibframe("b1", MAIL, f"{CANARY} {MAIL}"),
        "oai:unreadable": f"<record>{CANARY} {MAIL} {BARCODE}".encode(),
        "oai:directory": b"00100nam a2200049 a 4500" + f"{CANARY}{MAIL}{BARCODE}".encode() + b"\x1e\x1d",
    }


def everything_stored(database: Engine) -> dict[str, str]:
    """All rows of all tables but those of the harvest, as text."""
    with database.connect() as connection:
        names = connection.execute(
            text("SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema IN ('catalog', 'ops')")
        ).scalars()
        return {
            name: "\n".join(str(row) for row in connection.execute(text(f"SELECT t::text FROM {name} t")).scalars())
            for name in sorted(names)
        }


def assert_clean(said: dict[str, str]) -> None:
    found = [(name, value) for name, each in said.items() for value in SEARCHED if value in each.lower()]
    assert not found
    # Nor in a form in which only digits or letters are left of it.
    assert not [name for name, each in said.items() if BARCODE[:12] in each]


@pytest.mark.parametrize("tokens", [False, True])
def test_nothing_personal_is_in_any_table_after_the_harvest(shelf: Shelf, tokens: bool) -> None:
    """catalog 11, 12, 13"""
    for identifier, payload in planted().items():
        shelf.put(identifier, payload, stamp=f"2024-05-01 {CANARY}")
    privacy = PrivacyRules(tokens=Treatment.TOKENISE, key=SecretRef.read("env:K")) if tokens else PrivacyRules()
    tally = shelf.run(Policies(privacy=privacy), secret=KEY if tokens else None)
    if tally.held:
        ValidationStore(shelf.database).approve("alpha", by="somebody", reason="")
        tally = shelf.run(Policies(privacy=privacy), secret=KEY if tokens else None)
    stored = everything_stored(shelf.database)
    assert "oai:passing" in stored["catalog.bib"], "something has passed"
    assert "oai:no-title" in stored["catalog.quarantine"]
    assert "oai:leader" in stored["catalog.finding"]
    assert ("token:1:" in stored["catalog.bib"]) is tokens
    assert_clean(stored)
    assert_clean({"summary": json.dumps(tally.summary())})
    assert tally.scrubbed["949"] > 0
    figures = quality(ValidationStore(shelf.database))
    assert_clean({"table": str(flow_module.table(figures, tally)), "markdown": flow_module.markdown(tally)})


def test_the_search_finds_what_is_there(shelf: Shelf) -> None:
    """catalog 13"""
    shelf.put("oai:1", xml(f"500 ## $aA note on {CANARY}, an author"))
    shelf.run()
    with pytest.raises(AssertionError):
        assert_clean(everything_stored(shelf.database))


def test_no_command_says_anything_personal(
    shelf: Shelf, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """catalog 7, 9, 13"""
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)
    caplog.set_level("DEBUG")
    for identifier, payload in planted().items():
        shelf.put(identifier, payload)
    for number in range(10):
        shelf.put(f"oai:{number}", xml(number=number))
    shelf.put("oai:bad", bad(77))
    said: dict[str, str] = {}

    def run(*arguments: str) -> str:
        result: Any = CliRunner().invoke(app, list(arguments))
        assert result.exit_code in (0, 3), (arguments, result.output, result.exception)
        said[" ".join(arguments)] = result.output
        return str(result.stdout)

    policy = tmp_path / "policies.yaml"
    policy.write_text('all:\n  forbid: ["500"]\n')
    run("validate", "--json")
    run("validate")
    run("quarantine", "approve", "alpha")
    run("validate")
    run("validate", "--policy", str(policy), "--dry-run", "--json")
    run("validate", "--policy", str(policy), "--dry-run")
    listed = json.loads(run("quarantine", "list", "--json"))
    assert len(listed["records"]) >= 4
    run("quarantine", "list", "alpha")
    for each in listed["records"]:
        run("quarantine", "show", "alpha", each["identifier"], "--json")
        run("quarantine", "show", "alpha", each["identifier"])
    for form in ("jsonl", "mrc"):
        run("quarantine", "export", "--format", form, "--out", str(tmp_path / form))
        said[form] = (tmp_path / form).read_text(encoding="utf-8")
        assert len(said[form]) > 200
    run("quality", "alpha")
    for form in ("json", "csv", "html"):
        run("quality", f"--{form}")
    said["log"] = caplog.text
    assert_clean(said)
