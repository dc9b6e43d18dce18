"""Decisions on records and runs, and the completeness score."""

from __future__ import annotations

import pytest

from flows.validation.completeness import ELEMENTS, completeness
from flows.validation.decisions import Fate, Gate, RunFigures, gate, verdict
from flows.validation.policies import GateLimits
from flows.validation.rules import Checker
from tests.validation.records import record


def test_errors_send_to_quarantine_and_warnings_pass() -> None:
    """catalog 7"""
    checker = Checker()
    passed = verdict(checker.check(record("949 ## $ax", "245 10 $aTitle")))
    assert (passed.fate, passed.reason, passed.warnings) == (Fate.PASS, "", 1)
    failed = verdict(checker.check(record("245 10 $aOne.$aTwo.", "949 ## $ax", c001="")))
    assert failed.fate is Fate.QUARANTINE
    assert failed.reason == "001 controlField/missingField; 245$a subfield/nonRepeatableSubfield"
    assert (len(failed.errors), failed.warnings) == (2, 1)


def test_a_fixed_record_passes_by_itself() -> None:
    """catalog 7"""
    checker = Checker()
    assert verdict(checker.check(record(c001=""))).fate is Fate.QUARANTINE
    assert verdict(checker.check(record())).fate is Fate.PASS


def test_a_long_reason_is_cut() -> None:
    """catalog 7"""
    wrong = record(*(f"{tag} ## $aOne$aTwo" for tag in ("100", "240", "245", "250", "254")), c001="")
    assert verdict(Checker().check(wrong)).reason.count(";") == 2
    assert " more" in verdict(Checker().check(wrong)).reason


FIGURES = [
    # former, gone, checked, failed -> decision
    (1000, 0, 1000, 0, Gate.OPEN),
    (1000, 149, 1000, 199, Gate.OPEN),
    (1000, 150, 0, 0, Gate.WARN),  # 15.0 %
    (1000, 299, 0, 0, Gate.WARN),
    (1000, 300, 0, 0, Gate.HOLD),
    (0, 0, 100, 19, Gate.OPEN),
    (0, 0, 100, 20, Gate.WARN),
    (0, 0, 100, 40, Gate.HOLD),
    (1000, 150, 100, 40, Gate.HOLD),  # the worse of both
    (1000, 300, 100, 20, Gate.HOLD),
    (0, 0, 0, 0, Gate.OPEN),
]


@pytest.mark.parametrize(("former", "gone", "checked", "failed", "decision"), FIGURES)
def test_a_run_is_warned_of_or_held_from_its_limits_on(former: int, gone: int, checked: int, failed: int, decision: Gate) -> None:
    """catalog 8: dropped 15 % warn, 30 % hold; failure rate 20 % warn, 40 % hold"""
    decided = gate(RunFigures(former=former, gone=gone, checked=checked, failed=failed), GateLimits())
    assert decided.gate is decision
    assert bool(decided.reason) == (decision is not Gate.OPEN)


def test_the_reason_says_how_much_and_from_when() -> None:
    """catalog 8"""
    decided = gate(RunFigures(former=1000, gone=400, checked=100, failed=25), GateLimits())
    assert decided.reason == ("400 of 1000 records are gone (40.0 %, held from 30 %); 25 of 100 records fail (25.0 %, warned from 20 %)")


def test_limits_are_configuration() -> None:
    """catalog 8"""
    figures = RunFigures(former=100, gone=5, checked=100, failed=0)
    assert gate(figures, GateLimits(drop_warn=1, drop_hold=5)).gate is Gate.HOLD
    assert gate(figures, GateLimits(drop_warn=6, drop_hold=9)).gate is Gate.OPEN


@pytest.mark.parametrize("figures", [(-1, 0, 0, 0), (0, 0, 1, 2)])
def test_impossible_figures_are_refused(figures: tuple[int, int, int, int]) -> None:
    former, gone, checked, failed = figures
    with pytest.raises(ValueError, match="figures of a run"):
        RunFigures(former=former, gone=gone, checked=checked, failed=failed)


def test_the_weights_add_up_to_100() -> None:
    """catalog 9"""
    assert sum(weight for weight, _ in ELEMENTS.values()) == 100


def test_a_full_record_scores_100_and_an_empty_one_0() -> None:
    """catalog 9"""
    full = record(
        "100 1# $aAdams, D.", "020 ## $a0306406152", "264 #1 $aLondon :$bPan,$c1979.", "300 ## $a1 p.", "336 ## $atext",
        "650 #0 $aCats.", "655 #7 $aNovels.$2lcgft", "082 04 $a823", "520 ## $aSummary.", "040 ## $aDLC",
    )  # fmt: skip
    assert completeness(full).score == 100
    assert completeness(full).missing == ()
    empty = record(bare=True)
    assert completeness(empty).score == 0
    assert set(completeness(empty).missing) == set(ELEMENTS)


def test_coded_language_and_date_count_unless_they_were_inferred() -> None:
    """catalog 9"""
    assert not {"language", "date"} & set(completeness(record()).missing)
    assert {"language", "date"} <= set(completeness(record(derived=True)).missing)
