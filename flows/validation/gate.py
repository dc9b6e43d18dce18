"""The anomaly gate of a source: what waits is looked at before any of it passes.

The records that would go are counted. The records that would fail are found by reading them and asking the rules: all of
them as long as they are few, and of many every n-th, spread evenly and always the same ones. Nothing is written but the
decision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from flows.validation.decisions import Gate, GateDecision, RunFigures, gate
from flows.validation.findings import Severity
from flows.validation.judge import Judge
from flows.validation.policies import GateLimits
from flows.validation.store import ValidationStore, Waiting

LOOKED_AT: Final = 2_000  # records: beyond it a sample tells the share of failures to a percent or two
SMALLEST: Final = 5  # records: fewer that go or fail are no anomaly, whatever their share; they are in quarantine anyway


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What was found before a source was fed."""

    figures: RunFigures
    decision: GateDecision


def survey(store: ValidationStore, waiting: Waiting, judge: Judge, limits: GateLimits) -> Survey:
    """Look at what waits, and decide. The decision is not kept here."""
    former, gone = store.gone(waiting)
    step = max(1, waiting.count // LOOKED_AT)  # so up to twice as many are all looked at
    checked = failed = 0
    for raw in store.sample(waiting, step):
        for _, findings in judge.findings(raw):
            checked += 1
            failed += any(each.severity is Severity.ERROR for each in findings)
    figures = RunFigures(former=former, gone=min(gone, former), checked=checked, failed=failed)
    decision = gate(without_trifles(figures), limits)
    if step > 1 and decision.gate is not Gate.OPEN and checked:
        decision = replace(decision, reason=f"{decision.reason}; of {waiting.count:,} records one in {step} was looked at")
    return Survey(figures=figures, decision=decision)


def without_trifles(figures: RunFigures) -> RunFigures:
    """The figures without what is too little to be an anomaly."""
    return replace(
        figures,
        gone=figures.gone if figures.gone >= SMALLEST else 0,
        failed=figures.failed if figures.failed >= SMALLEST else 0,
    )
