"""The scrubber: only what is listed passes, patrons do not, and what is dropped is counted by name."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.catalog.model import BibRecord, ControlField, DataField, Subfield, canonical_json
from flows.validation.allowlist import parse, shipped
from flows.validation.facts import formats
from flows.validation.paths import Path
from flows.validation.personal import DEFAULTS, Detector, PrivacyRules, Treatment
from flows.validation.policies import Ban, Policy
from flows.validation.privacy import Scrubber
from flows.validation.tokens import TOKEN, KeyRefused, Tokeniser
from tests.validation.records import LEADER, record

KEY = "0123456789abcdef0123456789ABCDEF"
SECRET = "Zaphod"


def scrubbed(*lines: str | DataField, policy: Policy | None = None, tokeniser: Tokeniser | None = None) -> tuple[list[str], dict[str, int]]:
    """The fields that are left, without the title, and what was dropped."""
    done = Scrubber(policy or Policy(), tokeniser=tokeniser).scrub(record(*lines))
    return [str(field) for field in done.record.data_fields if field.tag != "245"], dict(done.dropped)


def allowing(*paths: str) -> Policy:
    return Policy(allow=tuple(Ban(path=Path.read(path)) for path in paths))


DROPPED = [
    ("949 ## $aZaphod", "949"),
    ("952 ## $bMAIN$zZaphod", "952"),
    ("590 ## $aZaphod", "590"),
    ("599 ## $aZaphod", "599"),
    ("541 0# $aZaphod", "541"),
    ("561 0# $aZaphod", "561"),
    ("583 0# $aZaphod", "583"),
    ("542 0# $aZaphod", "542"),
    ("852 0# $bMAIN$xZaphod", "852$x"),
    ("876 ## $p31234$xZaphod", "876$x"),
    ("877 ## $p31234$zZaphod", "877$z"),
    ("878 ## $p31234$zZaphod", "878$z"),
    ("300 ## $a12 p.$AZaphod", "300$A"),
    ("886 0# $aZaphod", "886"),
    ("887 ## $aZaphod", "887"),
    ("012 ## $aZaphod", "012"),
    ("880 0# $6541-00$aZaphod", "880"),
    ("880 ## $6949-00$aZaphod", "880"),
    ("880 ## $6590-00$aZaphod", "880"),
    ("880 ## $aZaphod", "880"),
    ("880 0# $6852-00$bMAIN$xZaphod", "880$x"),
]


@pytest.mark.parametrize(("line", "name"), DROPPED)
def test_what_is_not_listed_does_not_pass_and_is_counted_by_name(line: str, name: str) -> None:
    """catalog 11"""
    left, dropped = scrubbed(line)
    assert not any(SECRET in field for field in left)
    assert dropped == {name: 1}


PASSED = [
    "100 1# $aAdams, Douglas,$d1952-2001.",
    "245 10 $aSome title.",
    "541 1# $aGift.",
    "561 ## $aFrom a castle.",
    "583 1# $apreserve",
    "852 0# $bMAIN$hQA76$zAsk at the desk.",
    "876 ## $p31234$t2",
    "880 1# $6100-00$aАдамс",
    "650 #0 $aCats.$906db7d14-6bd8-4a71-a5d0-2ab2b3e4a9ce",
]


@pytest.mark.parametrize("line", PASSED)
def test_what_is_listed_passes_as_it_is(line: str) -> None:
    """catalog 11"""
    whole = record(line)
    done = Scrubber(Policy()).scrub(whole)
    assert done.record is whole
    assert not done.dropped


def test_letter_case_opens_no_door() -> None:
    """catalog 11: in any letter case"""
    for tag in ("ava", "AVA", "Ava"):
        odd = DataField(tag=tag, subfields=(Subfield("b", "MAIN"), Subfield("x", SECRET), Subfield("B", SECRET)))
        assert scrubbed(odd)[0] == []
        left, dropped = scrubbed(odd, policy=allowing("AVA$b"))
        assert left == [f"{tag}    $bMAIN"]
        assert dropped == {f"{tag}$x": 1, f"{tag}$B": 1}


def test_a_policy_lists_what_is_local() -> None:
    """catalog 6, 11"""
    assert scrubbed("949 ## $ax$zy", policy=allowing("949"))[0] == ["949    $ax$zy"]
    assert scrubbed("949 ## $ax$zy", policy=allowing("949$a"))[0] == ["949    $ax"]
    assert scrubbed("961 ## $ax", "300 ## $a1$q2", policy=allowing("9XX", "300$q"))[0] == ["961    $ax", "300    $a1$q2"]


@pytest.mark.parametrize("tag", ["541", "561", "583", "542"])
def test_private_fields_never_pass_even_when_listed(tag: str) -> None:
    """catalog 11"""
    assert scrubbed(f"{tag} 0# $aZaphod", policy=allowing(tag, f"{tag}$a"))[0] == []
    assert scrubbed(f"880 0# $6{tag}-00$aZaphod", policy=allowing(tag, "880"))[0] == []


def test_every_depth_is_scrubbed() -> None:
    """catalog 11: leader, control fields, indicators, subfield codes, tags, provenance"""
    personal = "jane@example.org"
    odd = BibRecord(
        source="alpha",
        identifier="1",
        format="marcxml",
        leader=personal,
        control_fields=(
            ControlField("001", personal),
            ControlField("FMT", "BK"),
            ControlField("008", f"{personal} borrowed it"),
            ControlField("005", "20200131120000.0"),
        ),
        data_fields=(
            DataField(tag=personal, subfields=(Subfield("a", "x"),)),
            DataField(tag="500", ind1=personal, subfields=(Subfield("a", "A note."), Subfield(personal, "x"))),
        ),
        provenance={"reader": "marcxml", "by": personal, personal: "x", "unmapped": '{"http://example.org/p": 3}'},
    )
    done = Scrubber(Policy()).scrub(odd)
    assert personal not in repr(dataclasses.astuple(done.record))
    assert personal not in repr(done.dropped)
    assert done.record.control_fields == (ControlField("005", "20200131120000.0"),)
    assert done.record.provenance == {"reader": "marcxml", "unmapped": '{"http://example.org/p": 3}'}
    assert done.dropped == {"other": 1, "500$?": 1, "LDR": 1, "001 (pattern)": 1, "FMT": 1, "008 (pattern)": 1}


SIGNS = [
    ("500 ## $aAsk jane.doe@example.org first.", "500$a (email)"),
    ("500 ## $aCard 21234567890123.", "500$a (barcode)"),
    ("500 ## $aChecked out to Jane Doe", "500$a (phrase)"),
    ("852 0# $bMAIN$zBorrower: Jane Doe", "852$z (phrase)"),
    ("500 ## $aPatron barcode unknown", "500$a (phrase)"),
    ("245 00 $aLetters from jane@example.org.", "245$a (email)"),
]


@pytest.mark.parametrize(("line", "name"), SIGNS)
def test_patrons_in_passing_fields_are_dropped(line: str, name: str) -> None:
    """catalog 12"""
    done = Scrubber(Policy()).scrub(record(line))
    assert done.dropped == {name: 1}
    assert b"jane" not in canonical_json(done.record).lower()
    assert b"21234567890123" not in canonical_json(done.record)


HARMLESS = [
    "245 04 $aThe borrower checked out to lunch.",
    "650 #0 $aPatrons of the arts.",
    "700 1# $aPatron Name, A.",
    "500 ## $aThe patron saint of the household; thresholds on hold.",
    "020 ## $a9780306406157",
    "500 ## $aBarcode 31234567890123 of an item, @ 5 dollars.",
    "024 3# $a12345678901234567",
    "856 40 $uhttps://example.org/@jane",
]


@pytest.mark.parametrize("line", HARMLESS)
def test_what_only_sounds_like_a_patron_passes(line: str) -> None:
    """catalog 12"""
    assert not Scrubber(Policy()).scrub(record(line)).dropped


def test_patterns_are_configuration() -> None:
    """catalog 12"""
    policy = Policy(privacy=PrivacyRules(patterns={**DEFAULTS, "card": r"\bK-\d{6}\b"}))
    assert scrubbed("500 ## $aCard K-123456.", policy=policy) == ([], {"500$a (card)": 1})
    without = Policy(privacy=PrivacyRules(patterns={"card": r"K-\d+"}))
    assert scrubbed("500 ## $ajane@example.org", policy=without)[1] == {}
    changed = Policy(privacy=PrivacyRules(patterns={**DEFAULTS, "barcode": r"\b7\d{9}\b", "phrase": "seen with"}))
    assert scrubbed("500 ## $a7123456789", "501 ## $aSeen with Jane", policy=changed)[0] == []
    assert not Scrubber(changed).scrub(record("500 ## $aCard 21234567890123.")).dropped


TOKENS = Policy(privacy=PrivacyRules(tokens=Treatment.TOKENISE))


def test_tokens_take_the_place_of_identifiers() -> None:
    """catalog 12: HMAC-SHA256 under a versioned key, in full length"""
    tokeniser = Tokeniser(KEY, "2026a")
    left, dropped = scrubbed("500 ## $aAsk Jane@example.org or 21234567890123.", policy=TOKENS, tokeniser=tokeniser)
    assert left == [f"500    $aAsk {tokeniser.token('jane@example.org')} or {tokeniser.token('21234567890123')}."]
    assert dropped == {"500$a (email)": 1, "500$a (barcode)": 1}
    assert TOKEN.fullmatch(tokeniser.token("x"))
    assert re.fullmatch(r"token:2026a:[0-9a-f]{64}", tokeniser.token("x"))
    # HMAC-SHA256 of RFC 4231 is Python's own; that the key matters is ours
    assert tokeniser.token("x") != Tokeniser(KEY[::-1], "2026a").token("x")


def test_a_phrase_makes_a_token_of_the_whole_value() -> None:
    """catalog 12: no pattern knows the name that follows"""
    tokeniser = Tokeniser(KEY)
    left, _ = scrubbed("500 ## $aChecked out to Jane Doe", policy=TOKENS, tokeniser=tokeniser)
    assert left == [f"500    $a{tokeniser.token('Checked out to Jane Doe')}"]


def test_without_a_key_what_is_found_is_dropped() -> None:
    """catalog 12: no key means drop"""
    assert scrubbed("500 ## $ajane@example.org", policy=TOKENS) == ([], {"500$a (email)": 1})


def test_a_key_alone_makes_no_tokens() -> None:
    """catalog 12"""
    assert scrubbed("500 ## $ajane@example.org", tokeniser=Tokeniser(KEY)) == ([], {"500$a (email)": 1})


@pytest.mark.parametrize("key", ["", "short", "a" * 40, "v1:", "v1:short", "not a version:" + KEY])
def test_a_weak_key_is_refused_and_not_repeated(key: str) -> None:
    """catalog 12"""
    with pytest.raises(KeyRefused) as caught:
        Tokeniser.read(key)
    assert KEY not in str(caught.value)


def test_a_secret_has_a_version() -> None:
    """catalog 12"""
    assert Tokeniser.read(f"7:{KEY}").version == "7"
    assert Tokeniser.read(KEY).version == "1"
    assert Tokeniser.read(f"7:{KEY}").token("x")[8:] == Tokeniser.read(KEY).token("x")[8:]
    assert KEY not in repr(Tokeniser.read(KEY))


def test_overlapping_patterns_leave_nothing_of_either() -> None:
    """catalog 12"""
    policy = Policy(privacy=PrivacyRules(tokens=Treatment.TOKENISE, patterns={**DEFAULTS, "word": "[a-z]+@"}))
    left, _ = scrubbed("500 ## $ato jane@example.org now", policy=policy, tokeniser=Tokeniser(KEY))
    assert re.fullmatch(r"500    \$ato token:1:[0-9a-f]{64} now", left[0])


def test_the_shipped_list_names_only_what_marc_21_defines() -> None:
    """catalog 11"""
    allow = shipped()
    known = formats()["bibliographic"].fields
    for tag, codes in allow.data.items():
        fact = known[tag]
        extra = {code for code in codes if code not in (fact.subfields or {})} - {"9"}
        assert not extra, f"{tag}: {sorted(extra)}"
    assert not [tag for tag in allow.data if tag[0] == "9" or tag.startswith("59")]
    assert "x" not in allow.data["852"]
    for tag in ("876", "877", "878"):
        assert not {"x", "z"} & allow.data[tag]


def test_a_list_with_a_mistake_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse("245 $abc\n24 $a\n")


def test_a_look_at_a_record_without_signs_is_enough() -> None:
    """`suspects` may be wrong in one direction only: what has a sign is always suspected."""
    detector = Detector()
    for line, _ in SIGNS:
        value = line.split("$")[-1][1:]
        assert detector.suspects(f"x {value} y"), value


text = st.text(max_size=10)
tags = st.one_of(
    st.sampled_from(["001", "008", "100", "245", "500", "541", "561", "583", "590", "852", "876", "880", "886", "949", "ava", "AVA"]),
    st.text("0123456789abcX", min_size=3, max_size=3),
    text,
)
codes = st.one_of(st.sampled_from(list("abx69zAX")), text)
data_fields = st.builds(
    DataField,
    tag=tags,
    ind1=st.one_of(st.sampled_from(list(" 01")), text),
    ind2=st.one_of(st.sampled_from(list(" 01")), text),
    subfields=st.lists(st.builds(Subfield, codes, st.one_of(text, st.sampled_from(["541-01", "949-01", "245-01"]))), max_size=5).map(tuple),
)
records = st.builds(
    BibRecord,
    source=st.just("alpha"),
    identifier=st.just("1"),
    format=st.just("marcxml"),
    leader=st.one_of(st.just(LEADER), text),
    control_fields=st.lists(st.builds(ControlField, tags, text), max_size=4).map(tuple),
    data_fields=st.lists(data_fields, max_size=6).map(tuple),
    provenance=st.dictionaries(text, text, max_size=2),
)
policies = st.sampled_from([Policy(), allowing("949$a"), allowing("9XX"), allowing("AVA"), allowing("541", "590$b")])


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records, policies)
def test_what_comes_out_is_a_part_of_the_allow_list(odd: BibRecord, policy: Policy) -> None:
    """catalog 11: for any record, nothing that is not listed ever passes"""
    done = Scrubber(policy).scrub(odd)
    allow = shipped()

    def listed(tag: str, code: str) -> bool:
        mine = any(ban.path.matches(tag.upper()) and code in (ban.path.codes or code) for ban in policy.allow)
        return mine or code in allow.data.get(tag, frozenset())

    came = {(field.tag, code, value) for field in odd.data_fields for code, value in field.subfields}
    for field in done.record.data_fields:
        assert len(field.ind1) == len(field.ind2) == 1
        assert not (field.tag in ("541", "561", "583") and field.ind1 == "0")
        assert field.subfields or field in odd.data_fields
        for code, value in field.subfields:
            assert listed(field.tag, code), (field.tag, code)
            assert (field.tag, code, value) in came
            if field.tag == "880" and code != "6":
                assert listed((field.first("6") or "")[:3], code)
    for tag, _ in done.record.control_fields:
        assert tag in allow.control or any(ban.path.matches(tag.upper()) and not ban.path.codes for ban in policy.allow)
    for name in done.dropped:
        assert re.fullmatch(r"(?:[0-9A-Za-z]{3}|other)(?:\$[0-9A-Za-z?])?(?: \([a-z]+\))?", name), name
    assert Scrubber(policy).scrub(done.record).record == done.record


def test_no_nonpublic_note_passes() -> None:
    """catalog 11"""
    noted = [
        (tag, code)
        for name in formats()
        for tag, fact in formats()[name].fields.items()
        for code, its in (fact.subfields or {}).items()
        if its.label == "Nonpublic note"
    ]
    assert len(noted) > 10
    assert not [f"{tag}${code}" for tag, code in noted if shipped().passes(tag, code)]
