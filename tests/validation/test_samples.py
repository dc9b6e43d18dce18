"""The rules on real records of four libraries: no error that is not explained."""

from __future__ import annotations

import pytest

from flows.validation.findings import Severity
from flows.validation.policies import Policy
from flows.validation.privacy import Scrubber
from flows.validation.rules import Checker
from tests.validation.records import DATA, samples

pytestmark = pytest.mark.skipif(
    not (DATA / "samples").is_dir(), reason="the shared sample records are not here (../shared/data/marc/samples)"
)

# file, path and issue of every error, and why it is none of ours
EXPLAINED = {
    ("gwu", "245$b", "subfield/nonRepeatableSubfield"): "two $b in one title statement: MARC 21 has $b once (NR), the record is wrong",
}
# What the warnings of the samples rest on; a change of the rules that adds another has to be looked at.
SEEN = {
    "controlField/controlValueContainsInvalidCode",
    "controlField/invalidLength",
    "controlField/obsoleteControlPosition",
    "dataField/deprecatedField",
    "dataField/undefinedField",
    "indicator/invalidValue",
    "indicator/obsoleteIndicator",
    "record/ambiguousLinkage",
    "record/invalidLinkage",
    "subfield/emptySubfield",
    "subfield/lccnForm",
    "subfield/nullCode",
    "subfield/patternMismatch",
    "subfield/undefinedSubfield",
}


def test_no_sample_record_has_an_error_that_is_not_explained() -> None:
    """catalog 5"""
    checker = Checker()
    count, found = 0, set()
    for name, number, record in samples():
        count += 1
        for finding in checker.check(record):
            if finding.severity is Severity.ERROR:
                assert (name, finding.path, finding.key) in EXPLAINED, f"{name} {number}: {finding}"
                found.add((name, finding.path, finding.key))
    assert count == 396
    assert found == set(EXPLAINED), "an explanation is no longer needed"


def test_the_sample_records_have_the_warnings_that_were_looked_at() -> None:
    """catalog 5"""
    checker = Checker()
    found = {finding.key for _, _, record in samples() for finding in checker.check(record) if finding.severity is Severity.WARNING}
    assert found == SEEN


def test_what_is_dropped_from_the_sample_records_is_local_or_private() -> None:
    """catalog 11"""
    scrubber, dropped = Scrubber(Policy()), set()
    for _, _, record in samples():
        dropped |= set(scrubber.scrub(record).dropped)
    # 012 and 891 are no bibliographic fields of MARC 21, 886 holds those of other formats; $x, 541 $h and 544 $b are notes,
    # prices and addresses that are not for the public; $9 outside headings and codes that are none have no meaning
    expected = {"012", "035$9", "541$h", "544$b", "583$?", "583$x", "856$x", "886", "891"}
    assert {name for name in dropped if name in expected or not (name[0] == "9" or name[1] == "9" or name[2] == "9")} == expected


def test_no_field_of_the_sample_records_that_passes_is_taken_for_a_patrons() -> None:
    """catalog 12"""
    scrubber = Scrubber(Policy())
    assert not [name for _, _, record in samples() for name in scrubber.scrub(record).dropped if "(" in name]
