"""What a finding says, what the rules leave alone, and that no input makes them fail."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.catalog.model import BibRecord, ControlField, DataField, Problem, Subfield
from flows.validation.findings import Severity, link, shape
from flows.validation.look import Look
from flows.validation.policies import Policy
from flows.validation.rules import OF_READERS_SAID, Checker, errors
from tests.validation.records import AUTHORITY, HOLDINGS, LEADER, TITLE, record

PATHS = [
    (record("245 10 $bRest."), "245$a"),
    (record("100 1# $aA, B.$dtoo$dmany"), "100$d"),
    (record("100 1# $aA, B.", "100 1# $aC, D.$d1$d2"), "100[2]$d"),
    (record("650 #0 $aOne.", "650 #0 $aTwo.$3x$3y"), "650[2]$3"),
    (record("245 90 $aTitle."), "245^1"),
    (record(leader=LEADER[:5] + "?" + LEADER[6:]), "LDR/05"),
    (record("041 0# $aeng$axyz"), "041$a[2]"),
]


@pytest.mark.parametrize(("wrong", "path"), PATHS)
def test_a_path_names_field_occurrence_subfield_or_position(wrong: BibRecord, path: str) -> None:
    """catalog 5"""
    assert path in [finding.path for finding in Checker().check(wrong)]


@pytest.mark.parametrize(
    ("format_name", "tag", "page"),
    [
        ("bibliographic", "245", "https://www.loc.gov/marc/bibliographic/bd245.html"),
        ("bibliographic", "LDR", "https://www.loc.gov/marc/bibliographic/bdleader.html"),
        ("bibliographic", "949", "https://www.loc.gov/marc/bibliographic/bd9xx.html"),
        ("bibliographic", "876", "https://www.loc.gov/marc/holdings/hd876878.html"),
        ("holdings", "852", "https://www.loc.gov/marc/holdings/hd852.html"),
        ("authority", "100", "https://www.loc.gov/marc/authority/ad100.html"),
    ],
)
def test_a_finding_links_to_the_page_of_its_field(format_name: str, tag: str, page: str) -> None:
    """catalog 5"""
    assert link(format_name, tag) == page  # type: ignore[arg-type]


def test_every_message_is_a_sentence_and_repeats_no_value() -> None:
    """catalog 5"""
    private = "Zaphod-4711"
    wrong = record(
        f"020 ## $a{private}", f"650 #0 $aCats.$0{private} x$9{private} x", f"041 0# $a{private}", f"245 99 $b{private}", c005=private
    )
    findings = Checker().check(wrong)
    assert len(findings) > 8
    for finding in findings:
        assert finding.message.endswith("."), finding
        assert private not in finding.message
        assert finding.link.startswith("https://www.loc.gov/marc/")


def test_severities_are_those_of_folio() -> None:
    """catalog 5: missing and repeated things are errors, undefined, obsolete and invalid ones warnings"""
    findings = Checker().check(record("949 ## $ax", "245 90 $aOne.$aTwo.$x1", c008=""))
    by_key = {finding.key: finding.severity for finding in findings}
    assert by_key["controlField/missingField"] is Severity.ERROR
    assert by_key["subfield/nonRepeatableSubfield"] is Severity.ERROR
    assert by_key["dataField/undefinedField"] is Severity.WARNING
    assert by_key["subfield/undefinedSubfield"] is Severity.WARNING
    assert by_key["indicator/invalidValue"] is Severity.WARNING
    assert {finding.key for finding in errors(findings)} == {"controlField/missingField", "subfield/nonRepeatableSubfield"}


def test_a_policy_makes_an_issue_worse_or_lets_it_go() -> None:
    """catalog 5, 6"""
    local = record("949 ## $ax", "245 10 $aTitle")
    policy = Policy(severity={"dataField/undefinedField": Severity.ERROR, "dataField/isbdPunctuation": None})
    assert [(finding.key, finding.severity) for finding in Checker(policy).check(local)] == [("dataField/undefinedField", Severity.ERROR)]


def test_a_record_read_from_bibframe_is_not_judged_by_its_fixed_fields() -> None:
    """catalog 5"""
    wrong = record("041 0# $axyz", leader="", c008="", c006="?", c007="?", derived=True)
    assert [finding.path for finding in Checker().check(wrong)] == ["041$a"]
    assert len(Checker().check(dataclasses.replace(wrong, derived=False))) > 3


def test_a_deleted_record_has_nothing_to_be_wrong() -> None:
    """catalog 5, 7"""
    assert Checker().check(dataclasses.replace(record(bare=True), deleted=True)) == ()


def test_the_format_is_chosen_by_the_leader() -> None:
    """catalog 5"""
    lines = ("100 1# $aA, B.", "400 1# $aA, C.", "670 ## $aSource.")
    assert Checker().check(record(*lines, leader=AUTHORITY)) == ()
    assert {finding.path for finding in Checker().check(record("863 40 $a1", "670 ## $ax", leader=HOLDINGS))} == {"670"}


def test_an_alternate_graphic_field_is_judged_as_the_field_it_stands_for() -> None:
    """catalog 5"""
    findings = Checker().check(record("880 90 $6245-00$aТитул$aТитул"))
    assert {(finding.key, finding.path) for finding in findings} >= {
        ("indicator/invalidValue", "880^1"),
        ("subfield/nonRepeatableSubfield", "880$a"),
    }


PERSONAL = ["Jane Doe, jane.doe@example.org", "21234567890123", "checked out to Jane Doe"]


@pytest.mark.parametrize("value", PERSONAL)
def test_a_finding_shows_only_the_shape_of_what_looks_personal(value: str) -> None:
    """catalog 7, 12"""
    wrong = record(f"020 ## $a{value}", f"010 ## $a{value}", f"035 ## $a{value}", f"949 ## $8{value}", f"500 ## $8{value}")
    findings = Checker().check(wrong)
    assert len(findings) >= 3
    assert value not in repr(findings)
    assert "Doe" not in repr(findings)
    assert value in repr(Checker(show_values=True).check(wrong))


def test_a_finding_on_what_would_not_pass_shows_only_its_shape() -> None:
    """catalog 11, 13"""
    findings = Checker().check(record("583 0# $8Zaphod Beeblebrox", "876 ## $xZaphod\x1fBeeblebrox"))
    assert [finding.value for finding in findings if finding.key == "subfield/strayDelimiter"] == ["Aaaaaa·Aaaaaaaaaa"]
    assert "Beeblebrox" not in repr([finding for finding in findings if finding.key == "subfield/strayDelimiter"])


def test_an_invalid_tag_is_shown_by_its_shape() -> None:
    """catalog 13"""
    assert "Jane" not in repr(Checker().check(record(DataField(tag="Jane Doe", subfields=(Subfield("a", "x"),)))))


def test_a_shape_tells_letters_from_digits_and_no_more() -> None:
    assert shape("Jane Doe, 2900-1234") == "Aaaa Aaa, 9999-9999"
    assert shape("x" * 50) == "a" * 40 + "…"


def test_a_payload_of_which_nothing_could_be_read_has_an_error() -> None:
    """catalog 7"""
    for problems in ([], [Problem(kind="syntax", message="x")], [Problem(kind="unreadable", message="x")]):
        assert any(finding.severity is Severity.ERROR for finding in Checker().unreadable(problems))


def test_what_rules_and_reader_both_see_is_said_once() -> None:
    """catalog 5"""
    twice = dataclasses.replace(record(), control_fields=(ControlField("001", "1"), *record().control_fields))
    findings = Checker().check(twice, [Problem(kind="duplicate-001", message="x", place="001[1]")])
    assert [(finding.key, finding.path) for finding in findings] == [("controlField/nonRepeatableField", "001[2]")]
    short = record(leader=LEADER[:20])
    findings = Checker().check(short, [Problem(kind="leader-length", message="x", place="leader")])
    assert [finding.key for finding in findings] == ["record/leaderLength"]


def test_a_delimiter_that_the_reader_put_right_is_no_error() -> None:
    """catalog 5"""
    findings = Checker().check(record(), [Problem(kind="delimiter", message="x", place="500")])
    assert [(finding.key, finding.severity, finding.path) for finding in findings] == [("record/parsingError", Severity.WARNING, "500")]


def test_the_place_of_a_problem_is_shown_only_when_it_is_one() -> None:
    """catalog 13: a reader's place may be what stood where a tag should"""
    findings = Checker().check(
        record(), [Problem(kind="tag", message="x", place="Jane Doe"), Problem(kind="directory", message="x", place="byte 12")]
    )
    assert [finding.path for finding in findings] == ["Aaaa Aaa", "byte 12"]


def test_every_kind_of_problem_of_a_reader_has_its_sentence() -> None:
    """catalog 5"""
    from flows.catalog.model import KINDS

    assert set(KINDS) <= set(OF_READERS_SAID)


def test_ten_thousand_bad_fields_give_no_more_than_a_thousand_findings() -> None:
    """catalog 2, 5"""
    wrong = record(*(DataField(tag="500", ind1="?", subfields=(Subfield("?", ""),)) for _ in range(3000)))
    assert len(Checker().check(wrong)) == 1000


def test_a_look_taken_beforehand_changes_nothing() -> None:
    wrong = record("880 10 $6245-01$aТ", "949 ## $ax", TITLE, TITLE)
    assert Checker().check(wrong, look=Look(wrong)) == Checker().check(wrong)


def test_a_second_record_is_judged_like_the_first() -> None:
    """Verdicts are remembered by rows of subfield codes; the memory must not mix up what differs."""
    checker = Checker()
    odd = record(DataField(tag="500", subfields=(Subfield("ab", "x"),)))
    even = record("500 ## $ax$bx")
    assert checker.check(odd) != checker.check(even)
    assert checker.check(odd) == Checker().check(odd)
    assert checker.check(even) == Checker().check(even)


text = st.text(max_size=12)
tags = st.one_of(
    st.sampled_from(["001", "005", "006", "007", "008", "010", "020", "022", "035", "041", "043", "245", "650", "880", "949"]), text
)
fields = st.builds(
    DataField,
    tag=tags,
    ind1=st.one_of(st.sampled_from(list(" 0123")), text),
    ind2=st.one_of(st.sampled_from(list(" 0123")), text),
    subfields=st.lists(st.builds(Subfield, st.one_of(st.sampled_from(list("abc0269")), text), text), max_size=4).map(tuple),
)
anything = st.builds(
    BibRecord,
    source=st.just("alpha"),
    identifier=st.just("1"),
    format=st.just("marcxml"),
    leader=st.one_of(st.sampled_from([LEADER, AUTHORITY, HOLDINGS, ""]), st.text(max_size=30)),
    control_fields=st.lists(st.builds(ControlField, tags, st.text(max_size=45)), max_size=5).map(tuple),
    data_fields=st.lists(fields, max_size=6).map(tuple),
    derived=st.booleans(),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(anything)
def test_no_record_makes_the_rules_fail(odd: BibRecord) -> None:
    """catalog 5: no crash on any input"""
    checker = Checker()
    findings = checker.check(odd)
    assert findings == checker.check(odd)
    for finding in findings:
        assert finding.path.isprintable()
        assert finding.message.isascii() or finding.message.isprintable()
