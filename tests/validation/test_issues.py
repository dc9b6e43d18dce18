"""Every issue type has a record that triggers it and one, as near to it as can be, that does not."""

from __future__ import annotations

import re
from pathlib import Path as File

import pytest

from flows.catalog.model import BibRecord, ControlField, DataField, Problem, Subfield
from flows.validation.crosswalk import FOLIO, FOLIO_ERRORS, QA_CATALOGUE
from flows.validation.findings import ISSUES, Finding, Severity
from flows.validation.paths import Path
from flows.validation.policies import Ban, Policy
from flows.validation.rules import Checker
from tests.validation.records import AUTHORITY, F008, HOLDINGS, LEADER, TITLE, record

Case = tuple[str, BibRecord, str, BibRecord]  # issue, triggering record, path of the finding, record that does not trigger it


def leader(position: int, code: str) -> str:
    return LEADER[:position] + code + LEADER[position + len(code) :]


def fixed(position: int, code: str, base: str = F008) -> str:
    return base[:position] + code + base[position + len(code) :]


def two(tag: str, first: str, second: str) -> BibRecord:
    one = record()
    return BibRecord(
        source="alpha",
        identifier="1",
        format="marcxml",
        leader=LEADER,
        control_fields=(*one.control_fields, ControlField(tag, first), *((ControlField(tag, second),) if second else ())),
        data_fields=one.data_fields,
    )


BARE_CODE = DataField(tag="500", subfields=(Subfield("", "A note."),))
EMPTY = DataField(tag="500")
WIDE = DataField(tag="500", ind1="ab", subfields=(Subfield("a", "A note."),))
PLACE = "043 ## $a"
SIX = "880 10 $6"

CASES: list[Case] = [
    ("record/undetectableType", record(leader=leader(6, "?")), "LDR/06", record()),
    ("record/undetectableType", record(leader=leader(6, "z"), bare=True, c001="1"), "", record(leader=leader(6, "t"))),
    ("record/invalidLinkage", record("100 1# $6880-01$aTolstoi"), "100$6", record("100 1# $6880-01$aTolstoi", "880 1# $6100-01$aТолстой")),
    ("record/invalidLinkage", record(f"{SIX}245-01$aТитул"), "880$6", record(f"{SIX}245-00$aТитул")),
    (
        "record/ambiguousLinkage",
        record("500 ## $6880-01$aOne", "880 ## $6500-01$aОдин", "880 ## $6500-01$aДва"),
        "500$6",
        record("500 ## $6880-01$aOne", "880 ## $6500-01$aОдин", "880 ## $6500-02$aДва"),
    ),
    ("record/leaderLength", record(leader=LEADER[:20]), "LDR", record()),
    ("record/encodingMismatch", record("500 ## $aMÃ¼nchen"), "500$a", record("500 ## $aMünchen, Â, «Ä»")),
    ("record/encodingMismatch", record("500 ## $aM\ufffdnchen"), "500$a", record("500 ## $aÃ")),
    ("record/nonNormalizedText", record("500 ## $aMu\u0308nchen"), "500$a", record("500 ## $aMünchen")),
    ("controlField/missingField", record(c008=""), "008", record()),
    ("controlField/missingField", record(leader=""), "LDR", record()),
    ("controlField/missingField", record(c001=""), "001", record(c001="x")),
    ("controlField/nonRepeatableField", two("005", "20200131120000.0", "20200131120000.0"), "005[2]", two("007", "ta", "ta")),
    ("controlField/undefinedField", two("002", "x", ""), "002", two("003", "DLC", "")),
    ("controlField/deprecatedField", two("009", "x", ""), "009", two("003", "DLC", "")),
    ("controlField/invalidLength", record(c008=F008[:39]), "008", record()),
    ("controlField/invalidLength", record(c006="a" + " " * 16), "006", record(c006="a" + " " * 11 + "000 0 ")),
    ("controlField/invalidLength", record(c007="khobp"), "007", record(c007="khoboo")),
    ("controlField/obsoleteControlPosition", record(c008=fixed(35, "scr")), "008/35-37", record(c008=fixed(35, "hrv"))),
    ("controlField/obsoleteControlPosition", record(leader=leader(18, "p")), "LDR/18", record(leader=leader(18, "a"))),
    ("controlField/obsoleteControlPosition", record(leader=leader(6, "g"), c008=fixed(18, "---  ")), "", record()),
    ("controlField/controlValueContainsInvalidCode", record(c008=fixed(35, "xyz")), "008/35-37", record(c008=fixed(35, "ger"))),
    ("controlField/controlValueContainsInvalidCode", record(c008=fixed(15, "zz ")), "008/15-17", record(c008=fixed(15, "gw "))),
    ("controlField/controlValueContainsInvalidCode", record(c008=fixed(22, "?")), "008/22", record(c008=fixed(22, "j"))),
    ("controlField/controlValueContainsInvalidCode", record(c007="tz?"[:1] + "?"), "007/01", record(c007="ta")),
    ("controlField/controlValueContainsInvalidCode", record(c007="?a"), "007/00", record(c007="ta")),
    ("controlField/controlValueContainsInvalidCode", record(leader=leader(17, "I")), "LDR/17", record(leader=leader(17, "7"))),
    ("controlField/invalidValue", record(c005="2020-01-31"), "005", record(c005="20200131120000.0")),
    ("controlField/invalidValue", record(c008=fixed(0, "201331")), "008/00-05", record(c008=fixed(0, "201231"))),
    ("dataField/missingField", record("500 ## $aA note.", bare=True, c001="1", c008=F008), "245", record()),
    ("dataField/missingField", record("866 #0 $av.1", leader=HOLDINGS, bare=True, c001="1"), "852", record(leader=HOLDINGS)),
    ("dataField/nonRepeatableField", record(TITLE, TITLE), "245[2]", record("500 ## $aOne.", "500 ## $aTwo.")),
    (
        "dataField/nonRepeatableField",
        record("100 1# $6880-01$aA", "880 1# $6100-01$aА", "880 1# $6100-02$aБ"),
        "880[2]",
        record("100 1# $6880-01$aA", "880 1# $6100-01$aА", "880 1# $6700-02$aБ"),
    ),
    ("dataField/nonRepeatable1XXField", record("100 1# $aA, B.", "110 2# $aC."), "1XX", record("100 1# $aA, B.", "710 2# $aC.")),
    ("dataField/nonRepeatableRequired1XXField", record(leader=AUTHORITY), "1XX", record("100 1# $aA, B.", leader=AUTHORITY)),
    ("dataField/invalidFieldTag", record(DataField(tag="5a0", subfields=(Subfield("a", "x"),))), "5a0", record("500 ## $ax")),
    ("dataField/undefinedField", record("949 ## $ax"), "949", record("500 ## $ax")),
    ("dataField/undefinedField", record("012 ## $ax"), "012", record("010 ## $a   85153773 ")),
    ("dataField/deprecatedField", record("440 #0 $aSeries."), "440", record("490 0# $aSeries.")),
    ("dataField/missingSubfield", record("880 1# $aА"), "880$6", record("880 1# $6700-00$aА")),
    ("dataField/emptyField", record(EMPTY), "500", record("500 ## $ax")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle$cWriter."), "245$c", record("245 10 $aTitle /$cWriter.")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle"), "245$a", record("245 10 $aTitle.")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle!"), "245$a", record("245 10 $aTitle!.")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle$brest."), "245$b", record("245 10 $aTitle =$bTitel.")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle $h[text]."), "245$h", record("245 10 $aTitle$h[text].")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle$htext."), "245$h", record("245 10 $aTitle$h[text].")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle$nPart 1."), "245$n", record("245 10 $aTitle.$nPart 1.")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle.$nPart 1.$pName."), "245$p", record("245 10 $aTitle.$nPart 1,$pName.")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle,$pName."), "245$p", record("245 10 $aTitle.$pName.")),
    ("dataField/isbdPunctuation", record("245 10 $aTitle /$cA. B. Writer."), "245$c", record("245 10 $aTitle /$cA.B. Writer.")),
    ("dataField/subfieldOrder", record("245 10 $bRest.$aTitle."), "245$b", record("245 10 $aTitle.")),
    ("dataField/subfieldOrder", record("245 10 $aTitle.$6880-01"), "245$6", record("245 10 $6880-01$aTitle.")),
    ("dataField/subfieldOrder", record("245 10 $6880-01"), "245", record("245 10 $6880-01$kPapers.")),
    ("indicator/obsoleteIndicator", record("100 2# $aSmith-Jones, A."), "100^1", record("100 1# $aSmith-Jones, A.")),
    ("indicator/nonEmptyIndicator", record("300 1# $a12 p."), "300^1", record("300 ## $a12 p.")),
    ("indicator/invalidValue", record("245 90 $aTitle."), "245^1", record("245 10 $aTitle.")),
    ("indicator/invalidIndicator", record("500 A# $ax"), "500^1", record("500 ## $ax")),
    ("indicator/invalidIndicator", record(WIDE), "500^1", record("500 ## $ax")),
    ("indicator/nonfilingCharacters", record("245 10 $aThe title."), "245^2", record("245 14 $aThe title.")),
    ("indicator/nonfilingCharacters", record("245 14 $aSome title."), "245^2", record("245 10 $aSome title.")),
    ("indicator/nonfilingCharacters", record("245 12 $aThe title."), "245^2", record('245 15 $a"The title.')),
    (
        "indicator/nonfilingCharacters",
        record("245 10 $aDer Titel.", c008=fixed(35, "ger")),
        "245^2",
        record("245 10 $aA casa.", c008=fixed(35, "ita")),
    ),
    ("subfield/missingSubfield", record("245 10 $bRest."), "245$a", record("245 10 $kPapers.")),
    ("subfield/nonRepeatableSubfield", record("245 10 $aOne.$aTwo."), "245$a", record("245 10 $aOne.$nTwo,$nThree.")),
    ("subfield/undefinedSubfield", record("300 ## $a12 p.$x1"), "300$x", record("300 ## $a12 p.$c20 cm")),
    ("subfield/undefinedSubfield", record("300 ## $a12 p.$91"), "300$9", record("650 #0 $aCats.$9123")),
    ("subfield/deprecatedSubfield", record("245 10 $aTitle.$dPart."), "245$d", record("245 10 $aTitle.$nPart.")),
    ("subfield/nullCode", record(BARE_CODE), "500", record("500 ## $ax")),
    ("subfield/emptySubfield", record("500 ## $a  "), "500$a", record("500 ## $a x")),
    ("subfield/emptySubfield", record("500 ## $a"), "500$a", record("500 ## $ax")),
    ("subfield/invalidLength", record("041 0# $aen"), "041$a", record("041 0# $aeng")),
    ("subfield/invalidLength", record(f"{PLACE}n-us"), "043$a", record(f"{PLACE}n-us---")),
    ("subfield/invalidReference", record("650 #7 $aCats."), "650$2", record("650 #7 $aCats.$2fast")),
    ("subfield/invalidReference", record("650 #0 $aCats.$2fast"), "650$2", record("650 #0 $aCats.")),
    ("subfield/invalidReference", record("084 ## $a10.02"), "084$2", record("084 ## $a10.02$2bcl")),
    ("subfield/patternMismatch", record("035 ## $a814782"), "035$a", record("035 ## $a(OCoLC)814782")),
    ("subfield/invalidISBN", record("020 ## $a0306406153"), "020$a", record("020 ## $a0306406152")),
    ("subfield/invalidISBN", record("020 ## $a12345"), "020$a", record("020 ## $a0306406152 (pbk.)")),
    ("subfield/invalidISBN", record("776 08 $z9780306406158"), "776$z", record("776 08 $z9780306406157")),
    ("subfield/isbnForm", record("020 ## $a0306406152(pbk.)"), "020$a", record("020 ## $a0306406152 (pbk.)")),
    ("subfield/isbnForm", record("020 ## $aISBN 0306406152"), "020$a", record("020 ## $a0306406152")),
    ("subfield/isbnForm", record("020 ## $z0-306-40615-2"), "020$z", record("020 ## $z0-306-40615-3")),
    ("subfield/invalidISSN", record("022 ## $a0378-5954"), "022$a", record("022 ## $a0378-5955")),
    ("subfield/invalidISSN", record("022 ## $a03785955"), "022$a", record("490 0# $aSeries,$x0378-5955 ;$v1")),
    ("subfield/invalidLccnSubfieldValue", record("010 ## $aunknown"), "010$a", record("010 ## $a   85153773 ")),
    ("subfield/lccnForm", record("010 ## $a85153773"), "010$a", record("010 ## $a   85153773 ")),
    ("subfield/unparsableContent", record("500 ## $688-1$ax"), "500$6", record("500 ## $6880-01/(3/r$ax", "880 ## $6500-01//r$ay")),
    ("subfield/unparsableContent", record("500 ## $8one$ax"), "500$8", record("500 ## $81.2\\c$ax")),
    ("subfield/invalidValue", record("041 0# $axyz"), "041$a", record("041 #7 $axyz$2iso639-3")),
    ("subfield/invalidValue", record("044 ## $azz"), "044$a", record("044 ## $agw")),
    ("subfield/invalidValue", record(f"{PLACE}x-zz---"), "043$a", record(f"{PLACE}e-gx---")),
    (
        "subfield/invalidValue",
        record("700 1# $aA, B.$4xxx"),
        "700$4",
        record("700 1# $aA, B.$4edt$4http://id.loc.gov/vocabulary/relators/edt"),
    ),
    ("subfield/deprecatedValue", record("041 0# $ascr"), "041$a", record("041 0# $ahrv")),
    ("subfield/malformedLink", record("650 #0 $aCats.$0see below"), "650$0", record("650 #0 $aCats.$0(DLC)sh85021262")),
    (
        "subfield/malformedLink",
        record("650 #0 $aCats.$9see below"),
        "650$9",
        record("650 #0 $aCats.$906db7d14-6bd8-4a71-a5d0-2ab2b3e4a9ce"),
    ),
    ("subfield/strayDelimiter", record("500 ## $aone\x1etwo"), "500$a", record("500 ## $aone two")),
    ("subfield/strayDelimiter", record(c001="1\x1f2"), "001", record()),
    ("subfield/controlCharacter", record("500 ## $aone\ttwo"), "500$a", record("500 ## $aone\u200dtwo\u0098")),
]

OF_POLICIES: list[tuple[str, Policy, str, str, str]] = [
    ("controlField/forbiddenField", Policy(forbid=(Ban(path=Path.read("003")),)), "003", "003", "005"),
    ("dataField/forbiddenField", Policy(forbid=(Ban(path=Path.read("9XX")),)), "949", "949", "500"),
    ("subfield/forbiddenSubfield", Policy(forbid=(Ban(path=Path.read("500$x")),)), "500$x", "500$x", "500$a"),
]
OF_READERS: list[tuple[str, str, str]] = [
    ("record/parsingError", "syntax", ""),
    ("record/parsingError", "directory", ""),
    ("record/unreadable", "unreadable", ""),
]


def keys(findings: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(finding.key, finding.path) for finding in findings}


@pytest.mark.parametrize(("issue", "wrong", "path", "right"), CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)])
def test_an_issue_is_found_where_it_is_and_not_elsewhere(issue: str, wrong: BibRecord, path: str, right: BibRecord) -> None:
    """catalog 5"""
    checker = Checker()
    if path:
        assert (issue, path) in keys(checker.check(wrong)), checker.check(wrong)
    assert issue not in {finding.key for finding in checker.check(right)}, checker.check(right)


def made(path: str) -> BibRecord:
    tag, _, code = path.partition("$")
    return two(tag, "DLC", "") if tag < "010" else record(f"{tag} ## ${code or 'a'}x")


@pytest.mark.parametrize(("issue", "policy", "path", "wrong", "right"), OF_POLICIES)
def test_what_a_policy_forbids_is_an_error(issue: str, policy: Policy, path: str, wrong: str, right: str) -> None:
    """catalog 5, 6"""
    checker = Checker(policy)
    assert (issue, path) in keys(checker.check(made(wrong)))
    assert issue not in {finding.key for finding in checker.check(made(right))}


@pytest.mark.parametrize(("issue", "kind", "place"), OF_READERS)
def test_what_a_reader_noticed_becomes_a_finding(issue: str, kind: str, place: str) -> None:
    """catalog 5"""
    checker = Checker()
    assert (issue, place) in keys(checker.check(record(), [Problem(kind=kind, message="Jane Doe", place=place)]))
    assert issue not in {finding.key for finding in checker.check(record())}
    assert "Jane" not in repr(checker.check(record(), [Problem(kind=kind, message="Jane Doe", place=place)]))


def test_every_issue_type_has_such_a_pair() -> None:
    """catalog 5"""
    paired = {case[0] for case in CASES if case[2]} | {case[0] for case in OF_POLICIES} | {case[0] for case in OF_READERS}
    assert set(ISSUES) == paired


def test_the_right_record_has_no_finding_at_all() -> None:
    """catalog 5"""
    assert Checker().check(record()) == ()
    assert Checker().check(record(leader=HOLDINGS)) == ()
    assert Checker().check(record("100 1# $aA, B.", leader=AUTHORITY)) == ()


def test_every_issue_type_of_qa_catalogue_has_its_place() -> None:
    """catalog 5: 24 types in five categories"""
    assert len(QA_CATALOGUE) == 24
    assert len({key.split("/")[0] for key in QA_CATALOGUE}) == 5
    for theirs, ours in QA_CATALOGUE.items():
        assert ours, theirs
        assert set(ours) <= set(ISSUES), theirs
        assert {key.split("/")[0].lower() for key in ours} >= {theirs.split("/")[0].replace(" ", "")}, theirs


def test_every_rule_of_folio_has_its_place_and_its_severity() -> None:
    """catalog 5: 12 codes; what FOLIO lets pass with a warning is a warning here, and the rest an error"""
    assert len(FOLIO) == 12
    for code, ours in FOLIO.items():
        first = ISSUES[ours[0]]
        assert (first.severity is Severity.ERROR) == (code in FOLIO_ERRORS), code


def test_every_issue_type_says_what_it_means() -> None:
    """catalog 5"""
    for key, issue in ISSUES.items():
        assert key == issue.key, key
        assert re.fullmatch(r"(record|controlField|dataField|indicator|subfield)/[a-zA-Z0-9]+", key)
        assert 10 < len(issue.meaning) < 130


def test_the_documentation_has_a_line_for_each_issue_type() -> None:
    """catalog 5"""
    text = (File(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")
    assert [key for key, issue in ISSUES.items() if f"| `{key}` | {issue.severity} | {issue.meaning} |" not in text] == []
