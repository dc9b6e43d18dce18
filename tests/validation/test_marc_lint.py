"""MARC::Lint as a peer: each class of its warnings is found by our rules, or the documentation says why not.

Runs where Perl and MARC::Lint are installed (Debian: libmarc-lint-perl).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.catalog.model import BibRecord, DataField, Subfield
from flows.catalog.write import to_iso2709
from flows.validation.findings import Finding
from flows.validation.rules import Checker
from tests.validation.records import DATA, TITLE, record, samples

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "validation.md"
SCRIPT = """
use strict; use warnings; use MARC::Batch; use MARC::Lint;
binmode(STDOUT, ':utf8');
my $batch = MARC::Batch->new('USMARC', $ARGV[0]); $batch->strict_off; $batch->warnings_off;
my $lint = MARC::Lint->new; my $number = 0;
while (my $record = $batch->next) {
    $number++; $lint->check_record($record);
    for my $warning ($lint->warnings) { $warning =~ s/[\\r\\n]/ /g; print "$number\\t$warning\\n"; }
}
print "records\\t$number\\n";
"""


def has_lint() -> bool:
    perl = shutil.which("perl")
    return (
        perl is not None
        and subprocess.run([perl, "-MMARC::Lint", "-MMARC::Batch", "-e", "1"], capture_output=True, check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(not has_lint(), reason="Perl with MARC::Lint is not installed (Debian: libmarc-lint-perl)")

# Class of warnings as the documentation names it, how it reads, and our issue types; none where it is explained instead.
CLASSES: list[tuple[str, str, tuple[str, ...]]] = [
    ("only one 1XX", r"1XX: Only one 1XX tag", ("dataField/nonRepeatable1XXField",)),
    ("no 245", r"245: No 245 tag", ("dataField/missingField",)),
    ("field not repeatable", r"\d{3}: Field is not repeatable", ("dataField/nonRepeatableField",)),
    ("880 without $6", r"880: No subfield 6", ("dataField/missingSubfield",)),
    (
        "indicator",
        r"\d{3}: Indicator \d must be",
        ("indicator/invalidValue", "indicator/nonEmptyIndicator", "indicator/obsoleteIndicator", "indicator/invalidIndicator"),
    ),
    ("886: foreign subfields repeated", r"886: Subfield _. is not repeatable", ()),
    (
        "subfield not allowed",
        r"\d{3}: Subfield _. is not allowed",
        ("subfield/undefinedSubfield", "subfield/deprecatedSubfield", "subfield/nullCode"),
    ),
    ("subfield not repeatable", r"\d{3}: Subfield _. is not repeatable", ("subfield/nonRepeatableSubfield",)),
    ("control character", r"\d{3}: Subfield _. has an invalid control character", ("subfield/controlCharacter",)),
    ("020: may have invalid characters", r"020: Subfield a may have invalid characters", ("subfield/isbnForm", "subfield/invalidISBN")),
    ("020: qualifier", r"020: Subfield a qualifier must be preceded by space", ("subfield/isbnForm", "subfield/invalidISBN")),
    ("020: wrong number of digits", r"020: Subfield a has the wrong number of digits", ("subfield/invalidISBN", "subfield/isbnForm")),
    ("020: bad checksum", r"020: Subfield a has bad checksum", ("subfield/invalidISBN",)),
    ("041: length", r"041: Subfield _. must be evenly divisible by 3", ("subfield/invalidLength",)),
    ("041: control subfields taken for codes", r"041: Subfield _[23678],", ()),
    ("041: obsolete", r"041: Subfield _., .*may be obsolete", ("subfield/deprecatedValue",)),
    ("041: not valid", r"041: Subfield _., .*is not valid", ("subfield/invalidValue",)),
    ("043: length", r"043: Subfield _a must be exactly 7", ("subfield/invalidLength",)),
    ("043: obsolete", r"043: Subfield _a, .*may be obsolete", ("subfield/deprecatedValue",)),
    ("043: not valid", r"043: Subfield _a, .*is not valid", ("subfield/invalidValue",)),
    ("245: no $a", r"245: Must have a subfield _a", ("subfield/missingSubfield",)),
    ("245: final full stop", r"245: Must end with", ("dataField/isbdPunctuation",)),
    ("245: ? or !", r"245: MARC21 allows \? or !", ("dataField/isbdPunctuation",)),
    ("245: too few subfields", r"245: May have too few subfields", ("dataField/subfieldOrder",)),
    ("245: $6 first", r"245: First subfield must be _6", ("dataField/subfieldOrder",)),
    ("245: $a first", r"245: First subfield (?:after subfield _6 )?must be _a", ("dataField/subfieldOrder",)),
    ("245: $c after slash", r"245: Subfield _c must be preceded by /", ("dataField/isbdPunctuation",)),
    ("245: initials", r"245: Subfield _c initials", ("dataField/isbdPunctuation",)),
    ("245: $b after sign", r"245: Subfield _b should be preceded", ("dataField/isbdPunctuation",)),
    ("245: $h after blank", r"245: Subfield _h should not be preceded", ("dataField/isbdPunctuation",)),
    ("245: $h brackets", r"245: Subfield _h must have matching", ("dataField/isbdPunctuation",)),
    ("245: $n", r"245: Subfield _n must be preceded", ("dataField/isbdPunctuation",)),
    ("245: $p after $n", r"245: Subfield _p must be preceded by , ", ("dataField/isbdPunctuation",)),
    ("245: $p", r"245: Subfield _p must be preceded by \. ", ("dataField/isbdPunctuation",)),
    ("nonfiling not numeric", r"245: Non-filing indicator is non-numeric", ("indicator/nonfilingCharacters",)),
    ("article not skipped", r"245: First word, .*may be an article", ("indicator/nonfilingCharacters",)),
    ("no article, yet skipped", r"245: First word, .*does not appear to be an article", ("indicator/nonfilingCharacters",)),
]
# Warnings of these classes that we rightly do not give, with what must be true of the record; the documentation explains them.
EXPLAINED = {
    "245: final full stop": "the value ends with a bracket, quotation mark or parenthesis after the stop, or in a control subfield",
    "article not skipped": "the word is an article, but not in the language of 008/35-37",
    "no article, yet skipped": "the skipped word is an article that MARC::Lint does not list, or only signs are skipped",
    "subfield not allowed": "the subfield was defined after MARC::Lint 1.53, or is $9 of a heading",
    "245: $b after sign": "two $b: the second is found as repeated",
    "245: $a first": "$k opens the title of an archival record",
    "245: no $a": "$k stands instead of $a, in an archival record",
    "indicator": "the value was defined after MARC::Lint 1.53",
}

MADE = [
    record("100 1# $aA, B.", "110 2# $aC."),
    record("500 ## $ax", bare=True, c001="1"),
    record(TITLE, TITLE),
    record("880 1# $aА"),
    record("300 1# $a12 p.$q1$a2$b3$b4"),
    record("500 ## $aone\ttwo$5DLC$5DLC"),
    record("020 ## $aISBN 0306406152"),
    record("020 ## $a0306406152(pbk.)"),
    record("020 ## $a12345"),
    record("020 ## $a0306406153", "020 ## $a9780306406158"),
    record("041 0# $aen"),
    record("041 0# $ascr"),
    record("041 0# $axyz"),
    record("041 0# $aeng$6880"),
    record("043 ## $an-us"),
    record("043 ## $ae-ur-ai"),
    record("043 ## $ax-zz---"),
    record("245 10 $bRest."),
    record("245 10 $aTitle"),
    record("245 10 $aTitle!"),
    record("245 10 $6880-01"),
    record("245 10 $aTitle.$6880-01"),
    record("245 10 $bRest.$aTitle."),
    record("245 10 $aTitle$cWriter."),
    record("245 10 $aTitle /$cA. B. Writer."),
    record("245 10 $aTitle$brest."),
    record("245 10 $aTitle $h[text]."),
    record("245 10 $aTitle$htext."),
    record("245 10 $aTitle$nPart 1."),
    record("245 10 $aTitle.$nPart 1.$pName."),
    record("245 10 $aTitle,$pName."),
    record("245 1# $aTitle."),
    record("245 10 $aThe title."),
    record("245 14 $aSome title."),
    record("886 2# $2unimarc$aone$atwo"),
]


def lint(records: Sequence[BibRecord], folder: Path) -> list[tuple[int, str]]:
    """Number of the record and warning."""
    path = folder / "records.mrc"
    path.write_bytes(b"".join(to_iso2709(each) for each in records))
    done = subprocess.run(["perl", "-e", SCRIPT, str(path)], capture_output=True, text=True, encoding="utf-8", check=True)
    lines = [line.partition("\t") for line in done.stdout.splitlines()]
    assert lines[-1] == ("records", "\t", str(len(records)))
    return [(int(number) - 1, warning) for number, _, warning in lines[:-1]]


def class_of(warning: str) -> tuple[str, tuple[str, ...]]:
    for name, form, issues in CLASSES:
        if re.match(form, warning):
            return name, issues
    raise AssertionError(f"a class of warnings that nobody has looked at: {warning}")


def is_found(warning: str, issues: tuple[str, ...], findings: Sequence[Finding]) -> bool:
    tag = warning[:3]
    return any(finding.key in issues and finding.path[:3] in (tag, "880") for finding in findings)


def test_each_class_of_warnings_is_found_in_a_record_made_for_it(tmp_path: Path) -> None:
    """catalog 5"""
    checker, seen, found = Checker(), set(), set()
    for number, warning in lint(MADE, tmp_path):
        name, issues = class_of(warning)
        seen.add(name)
        findings = checker.check(MADE[number])
        if is_found(warning, issues, findings):
            found.add(name)
        else:
            assert not issues or name in EXPLAINED, f"{warning}: {[str(finding) for finding in findings]}"
    assert seen == {name for name, _, _ in CLASSES}
    assert found == {name for name, _, issues in CLASSES if issues}


@pytest.mark.skipif(not (DATA / "samples").is_dir(), reason="the shared sample records are not here (../shared/data/marc/samples)")
def test_what_it_says_of_the_sample_records_is_found_or_explained(tmp_path: Path) -> None:
    """catalog 5"""
    checker = Checker()
    records = [each for _, _, each in samples()]
    said = found = 0
    for number, warning in lint(records, tmp_path):
        name, issues = class_of(warning)
        if not issues:
            continue
        said += 1
        if is_found(warning, issues, checker.check(records[number])):
            found += 1
        else:
            assert name in EXPLAINED, f"{records[number]!r}: {warning}"
    assert said > 80
    assert found / said > 0.9


def test_the_documentation_has_a_line_for_each_class() -> None:
    """catalog 5"""
    text = DOCUMENTATION.read_text(encoding="utf-8")
    missing = [name for name, _, _ in CLASSES if f"| {name} |" not in text]
    assert not missing


def test_a_stray_delimiter_in_a_control_field_is_ours_alone_to_find() -> None:
    """catalog 5: MARC::Lint's test for it cannot be reached by a file, which is cut at the delimiter"""
    odd = record(DataField(tag="500", subfields=(Subfield("a", "x"),)), c003="D\x1fLC")
    assert "subfield/strayDelimiter" in {finding.key for finding in Checker().check(odd)}
