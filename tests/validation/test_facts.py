"""The compact table of MARC 21 facts against the Avram tables it was made from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.validation.codes import Standing, code_list
from flows.validation.facts import formats
from tests.validation.records import DATA

ROOT = Path(__file__).parents[2]
ADDITIONS = (ROOT / "scripts" / "marc21_additions.txt").read_text(encoding="utf-8")
needs_tables = pytest.mark.skipif(not DATA.is_dir(), reason="the shared MARC 21 tables in Avram form are not here (../shared/data/marc)")
NAMES = ("bibliographic", "authority")


def avram(name: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((DATA / f"marc21-{name}.avram.json").read_text(encoding="utf-8"))["fields"]
    return fields


def added(name: str) -> set[str]:
    """Tags for which we have lines of our own."""
    part = ADDITIONS.split(f"@{name}\n")[1].split("\n@")[0]
    own = {line.split("\t")[0] for line in part.splitlines() if not line.startswith((">", "#"))}
    return own | (added("holdings") if name == "bibliographic" else set())


@needs_tables
@pytest.mark.parametrize("name", NAMES)
def test_every_field_indicator_and_subfield_of_the_lists_is_in_the_table(name: str) -> None:
    """catalog 5"""
    table = formats()[name].fields
    compared = 0
    for tag, theirs in avram(name).items():
        ours = table[tag]
        if tag in added(name) and tag not in ("LDR", "006", "008"):
            continue
        assert ours.repeatable == theirs["repeatable"], tag
        assert theirs["label"].lower().startswith(ours.label.lower()), tag
        assert ours.obsolete == theirs.get("obsolete", False), tag
        for number in (1, 2):
            listed, mine = theirs.get(f"indicator{number}"), ours.indicators[number - 1]
            if not listed:
                assert mine is None, tag
                continue
            assert mine is not None
            codes = {code for code in listed.get("codes", {}) if len(code) == 1}
            assert mine.codes == (frozenset(codes) if codes else None), tag
            past = set(listed.get("historical-codes", {}))
            for each in theirs.get(f"historical-indicator{number}", []):
                past |= {*each.get("codes", {}), *each.get("historical-codes", {})}
            assert mine.past == past - codes, tag
        subfields = theirs.get("subfields", {})
        former = {code: its for code, its in theirs.get("historical-subfields", {}).items() if code not in subfields}
        assert set(ours.subfields or {}) == set(subfields) | set(former), tag
        for code, its in (subfields | former).items():
            assert ours.subfields is not None
            assert ours.subfields[code].repeatable == its.get("repeatable", True), f"{tag}${code}"
            assert ours.subfields[code].obsolete == (code in former), f"{tag}${code}"
            compared += 1
    assert compared > 1500


@needs_tables
@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_nothing_that_is_neither_in_the_lists_nor_added_by_us(name: str) -> None:
    """catalog 5"""
    assert set(formats()[name].fields) - set(avram(name)) <= added(name)


@needs_tables
@pytest.mark.parametrize("name", NAMES)
def test_every_position_and_code_of_the_lists_is_in_the_table(name: str) -> None:
    """catalog 5"""
    compared = 0
    for tag, field in avram(name).items():
        kinds = field.get("types") or ({"*": field} if "positions" in field else {})
        ours = formats()[name].fields[tag]
        for kind, body in kinds.items():
            mine = {(each.first, each.last, each.obsolete): each for each in ours.material(kind.split("/")[0])}
            for spread, theirs in body["positions"].items():
                if tag == "LDR" and spread in ("00-02", "03-06", "07-11"):
                    continue  # the directory, which the list has under the leader
                position = mine[theirs["start"], theirs["end"], theirs.get("obsolete", False)]
                assert position.label == theirs["label"], (tag, kind, spread)
                width = theirs["end"] - theirs["start"] + 1
                for code in theirs.get("codes", {}):
                    allowed = position.characters | position.values
                    first = code.split("-")[0] or code
                    assert {code, code * width, first, first[:1]} & allowed, (tag, kind, spread, code)
                    compared += 1
                for code in theirs.get("historical-codes", {}):
                    assert code in position.past, (tag, kind, spread, code)
    assert compared > (80 if name == "authority" else 1000)


@needs_tables
def test_the_table_is_what_the_script_makes() -> None:
    """catalog 5"""
    paths = [str(DATA / f"marc21-{name}.avram.json") for name in NAMES]
    made = subprocess.run([sys.executable, str(ROOT / "scripts" / "make_marc21.py"), *paths, "--check"], check=False)
    assert made.returncode == 0, "run scripts/make_marc21.py and commit flows/validation/marc21.txt"


def test_006_has_the_codes_of_008_seventeen_positions_further_on() -> None:
    """catalog 5"""
    fields = formats()["bibliographic"].fields
    illustrations = next(each for each in fields["006"].material("Books") if each.label == "Illustrations")
    assert (illustrations.first, illustrations.last) == (1, 4)
    assert illustrations.characters == next(each for each in fields["008"].material("Books") if each.first == 18).characters


@pytest.mark.parametrize(
    "tag", ["841", "842", "843", "844", "845", "853", "854", "855", "863", "864", "865", "866", "867", "868", "876", "877", "878"]
)
def test_holdings_fields_have_subfields_in_both_formats(tag: str) -> None:
    """catalog 5"""
    for name in ("bibliographic", "holdings"):
        assert formats()[name].fields[tag].subfields, name


@pytest.mark.parametrize(
    ("name", "current", "obsolete", "unknown"),
    [
        ("language", ["eng", "ger", "mul", "zxx", "und", "cnr"], ["scr", "esp", "eth"], ["xyz", "en", "ENG"]),
        ("country", ["xxu", "gw", "enk", "xx", "nyu"], ["ur", "na", "us"], ["zz", "usa"]),
        ("area", ["n-us", "e-gx", "n-us-ny"], ["e-ur-ai"], ["x-zz", "n-us---"]),
        ("relator", ["aut", "edt", "vfx", "trl"], ["clb"], ["author", "xxx"]),
    ],
)
def test_code_lists_know_current_obsolete_and_unknown_codes(name: str, current: list[str], obsolete: list[str], unknown: list[str]) -> None:
    """catalog 5"""
    codes = code_list(name)
    assert [codes.standing(code) for code in current] == [Standing.CURRENT] * len(current)
    assert [codes.standing(code) for code in obsolete] == [Standing.OBSOLETE] * len(obsolete)
    assert [codes.standing(code) for code in unknown] == [Standing.UNKNOWN] * len(unknown)


@pytest.mark.parametrize("name", ["language", "country", "area", "relator"])
def test_no_code_is_current_and_obsolete(name: str) -> None:
    """catalog 5"""
    assert not code_list(name).current & code_list(name).obsolete
