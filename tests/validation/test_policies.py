"""Policies: what they demand, which of them wins, and what is wrong with the file."""

from __future__ import annotations

from pathlib import Path as File

import pytest

from flows.catalog.model import DataField, Subfield
from flows.validation.findings import Severity
from flows.validation.paths import Path
from flows.validation.policies import GateLimits, Policies, Policy
from flows.validation.policyfile import issue_key, load
from flows.validation.rules import Checker
from harvester.problems import ConfigurationError
from tests.validation.records import F008, LEADER, record

ROOT = File(__file__).parents[2]


@pytest.fixture
def policies(tmp_path: File):  # type: ignore[no-untyped-def]
    def read(text: str, **known: list[str]) -> Policies:
        path = tmp_path / "policies.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, name="policies.yaml", known_sources=known.get("sources"), known_groups=known.get("groups"))

    return read


DEMANDS = [
    ('require: ["245$c"]', ["245 10 $aTitle."], {("subfield/missingSubfield", "245$c")}),
    ('require: ["245$c"]', ["245 10 $aTitle /$cWriter."], set()),
    ('require: ["082"]', [], {("dataField/missingField", "082")}),
    ('require: ["6XX"]', ["650 #0 $aCats."], set()),
    ('require: ["6XX"]', [], {("dataField/missingField", "6XX")}),
    ('require: ["003"]', [], {("controlField/missingField", "003")}),
    ('require: ["650[2]"]', ["650 #0 $aCats."], {("dataField/missingField", "650")}),
    ('forbid: ["500"]', ["500 ## $ax"], {("dataField/forbiddenField", "500")}),
    ('forbid: ["500[2]"]', ["500 ## $ax", "500 ## $ay"], {("dataField/forbiddenField", "500[2]")}),
    ('forbid: ["500$5"]', ["500 ## $ax$5DLC"], {("subfield/forbiddenSubfield", "500$5")}),
    ('forbid: ["500$5"]', ["500 ## $ax"], set()),
    ('allow: ["949"]', ["949 ## $ax$zy"], set()),
    ('allow: ["300$x"]', ["300 ## $a1 p.$xy"], set()),
    ('allow: ["300$y"]', ["300 ## $a1 p.$xy"], {("subfield/undefinedSubfield", "300$x")}),
    ('values: {"040$a": [DLC]}', ["040 ## $aXYZ"], {("subfield/invalidValue", "040$a")}),
    ('values: {"040$a": [DLC]}', ["040 ## $aDLC"], set()),
    ('values: {"LDR/17": [" "]}', [], set()),
    ('values: {"008/35-37": [ger]}', [], {("controlField/invalidValue", "008/35-37")}),
    ("patterns: {\"500$a\": '^[A-Z]'}", ["500 ## $anote"], {("subfield/patternMismatch", "500$a")}),
    ("patterns: {\"500$a\": '^[A-Z]'}", ["500 ## $aNote"], set()),
    ("patterns: {\"001\": '^x'}", [], {("controlField/invalidValue", "001")}),
]


@pytest.mark.parametrize(("rule", "lines", "expected"), DEMANDS)
def test_what_a_policy_demands(policies, rule: str, lines: list[str], expected: set[tuple[str, str]]) -> None:  # type: ignore[no-untyped-def]
    """catalog 6"""
    policy = policies(f"all:\n  {rule}\n").for_source("alpha")
    found = {(finding.key, finding.path) for finding in Checker(policy).check(record(*lines)) if finding.severity is not Severity.INFO}
    assert found == expected


WINS = [
    # all, group, source -> fields of 949, 980 and 500 that are wrong
    ('forbid: ["9XX"]', "", 'allow: ["949"]', {"980"}),
    ('allow: ["9XX"]', "", 'forbid: ["980"]', {"980"}),
    ('forbid: ["500"]', 'allow: ["500"]', "", {"949", "980"}),
    ('forbid: ["500"]', 'allow: ["500"]', 'forbid: ["500"]', {"500", "949", "980"}),
    ('allow: ["949"]', 'allow: ["980"]', "", set()),
]


@pytest.mark.parametrize(("everywhere", "group", "source", "wrong"), WINS)
def test_the_narrower_statement_wins(policies, everywhere: str, group: str, source: str, wrong: set[str]) -> None:  # type: ignore[no-untyped-def]
    """catalog 6: sources over groups over all"""
    text = f"all: {{{everywhere}}}\ngroups:\n  ours: {{{group}}}\nsources:\n  alpha: {{{source}}}\n"
    found = policies(text)
    checked = Checker(found.for_source("alpha", "ours")).check(record("949 ## $ax", "980 ## $ax", "500 ## $ax"))
    assert {finding.path for finding in checked} == wrong


def test_severity_values_patterns_and_gate_of_the_narrower_level_win(policies) -> None:  # type: ignore[no-untyped-def]
    """catalog 6, 8"""
    found = policies(
        """
all: {severity: {subfield/undefinedSubfield: ignore, dataField/undefinedField: error}, gate: {drop_warn: 10}, values: {"040$a": [DLC]}}
groups: {ours: {gate: {drop_hold: 20}}}
sources: {alpha: {severity: {subfield/undefinedSubfield: error}, values: {"040$a": [OCoLC]}}}
"""
    )
    policy = found.for_source("alpha", "ours")
    assert policy.severity == {"subfield/undefinedSubfield": Severity.ERROR, "dataField/undefinedField": Severity.ERROR}
    assert policy.gate == GateLimits(drop_warn=10, drop_hold=20)
    assert policy.values == {Path.read("040$a"): frozenset({"OCoLC"})}
    assert found.for_source("beta").severity["subfield/undefinedSubfield"] is None


def test_nothing_stated_is_marc_21_alone() -> None:
    """catalog 6"""
    assert Policies().for_source("alpha") == Policy()
    assert Policy().gate == GateLimits(drop_warn=15, drop_hold=30, failure_warn=20, failure_hold=40)


PROBLEMS = [
    ("all: {requires: []}", "policies.yaml:1: all.requires: the key 'requires' is not known, did you mean require?"),
    ('all:\n  require:\n    - "245$a"\n    - "24"', "policies.yaml:4: all.require[1]: '24' is no path"),
    ('all:\n  forbid: ["245"]\n  require: ["245"]', "policies.yaml:1: all: 245 is forbidden, and under require:, too"),
    ('all: {require: ["008/3"]}', "positions can have values and patterns only"),
    ('all: {values: {"040": [x]}}', "'040' has no subfield"),
    ('all:\n  patterns: {"035$a": "("}', "policies.yaml:2: all.patterns.035$a: the regular expression cannot be read"),
    ("all: {severity: {subfield/undefinedSubfeld: ignore}}", "did you mean subfield/undefinedSubfield?"),
    ("all: {severity: {subfield/nullCode: fatal}}", "'fatal' is no severity"),
    ("all: {gate: {drop_warn: 50}}", "drop_warn (50) is above drop_hold (30)"),
    ("all: {gate: {drop_warn: 500}}", "'500' is no percentage"),
    ("all: {gate: {hold: 5}}", "the key 'hold' is not known"),
    ("sources: {alfa: {}}", "there is no source 'alfa', did you mean alpha?"),
    ("groups: {theirs: {allow: []}}", "there is no group 'theirs'"),
    ("privacy: {tokens: sha256}", "an unsalted or shortened hash can be tried out"),
    ("privacy: {tokens: tokenise, truncate: 8}", "an unsalted or shortened hash can be tried out"),
    ("privacy: {tokens: maybe}", "'maybe' is not known"),
    ("privacy: {key: 0123456789abcdef0123456789abcdef}", "the key must not stand in the file"),
    ('privacy: {patterns: {x: "a*"}}', "matches an empty text"),
    ("rules: {}", "the key 'rules' is not known"),
    ("all: []", "a list cannot stand here"),
    ("all:\n  <<: {a: b}", "write what sources share under all: or groups:"),
    ("", "allowed: one YAML document with all:, groups:, sources: and privacy:"),
]


@pytest.mark.parametrize(("text", "said"), PROBLEMS)
def test_every_mistake_is_told_with_its_line(policies, text: str, said: str) -> None:  # type: ignore[no-untyped-def]
    """catalog 6"""
    with pytest.raises(ConfigurationError) as caught:
        policies(text, sources=["alpha"], groups=["ours"])
    assert said in str(caught.value)
    assert "sources.yaml" not in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


def test_all_mistakes_are_told_at_once(policies) -> None:  # type: ignore[no-untyped-def]
    """catalog 6"""
    with pytest.raises(ConfigurationError) as caught:
        policies('all:\n  require: ["24"]\n  gate: {hold: 5}\nprivacy:\n  tokens: md5\n')
    assert [problem.line for problem in caught.value.problems] == [2, 3, 5]


def test_a_file_that_is_not_there_is_told_by_its_own_name(tmp_path: File) -> None:
    """catalog 6"""
    with pytest.raises(ConfigurationError, match="WINDROW_POLICIES"):
        load(tmp_path / "none.yaml")


def test_the_example_can_be_read_and_demands_what_it_says() -> None:
    """catalog 6"""
    found = load(ROOT / "policies.yaml")
    everywhere, city = found.for_source("other"), found.for_source("city-library")
    lines = ("980 ## $ax", "952 ## $ax$bx", "035 ## $a(OCoLC)1")
    assert Checker(everywhere).check(record(*lines)) == ()
    assert {(finding.key, finding.path) for finding in Checker(city).check(record(*lines, "040 ## $aXYZ"))} == {
        ("dataField/missingField", "082"),
        ("dataField/forbiddenField", "980"),
        ("dataField/undefinedField", "980"),
        ("subfield/invalidValue", "040$a"),
    }


@pytest.mark.parametrize("written", ["control field/invalidLength", "CONTROLFIELD/INVALIDLENGTH", "control-field/invalid_length"])
def test_an_issue_type_may_be_written_as_one_is_used_to(written: str) -> None:
    """catalog 6"""
    assert issue_key(written) == "controlField/invalidLength"


def test_positions_of_a_record_from_bibframe_are_not_demanded(policies) -> None:  # type: ignore[no-untyped-def]
    """catalog 5, 6"""
    policy = policies('all: {values: {"008/35-37": [ger], "LDR/06": [z]}}').for_source("alpha")
    derived = record(leader=LEADER, c008=F008, derived=True)
    assert Checker(policy).check(derived) == ()
    assert len(Checker(policy).check(record())) == 2


@pytest.mark.parametrize("text", ["245", "9XX", "LDR/06", "001[2]", "952$a$b", "008/35-37", "AVA$b"])
def test_a_path_reads_back_as_it_was_written(text: str) -> None:
    assert str(Path.read(text)) == text


@pytest.mark.parametrize("text", ["", "24", "2455", "245$", "245$A", "245[0]", "008/40-35", "245$a/1", "245 $a"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed|position"):
        Path.read(text)


@pytest.mark.parametrize("line", [DataField(tag="AVA", subfields=(Subfield("b", "MAIN"),))])
def test_a_tag_of_letters_may_be_allowed(policies, line: DataField) -> None:  # type: ignore[no-untyped-def]
    """catalog 6: Alma and Aleph have fields such as AVA and LKR"""
    assert {finding.key for finding in Checker().check(record(line))} == {"dataField/invalidFieldTag"}
    assert Checker(policies('all: {allow: ["AVA"]}').for_source("alpha")).check(record(line)) == ()
