"""What becomes of a record, and of a run: decisions as values with a reason. Nothing is carried out here.

A record with an error goes to quarantine. A run of a source is doubted when many of its records are gone or many of them
fail: then a person looks before anything passes on, and the former clean records stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flows.validation.findings import Finding, Severity
from flows.validation.policies import GateLimits


class Fate(StrEnum):
    """What becomes of a record."""

    PASS = "pass"  # noqa: S105 (the fate of a record, no word of access)
    QUARANTINE = "quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A decision on a record."""

    fate: Fate
    reason: str
    """One line: the rules that failed and where, without values; empty when it passes."""
    errors: tuple[Finding, ...] = ()
    warnings: int = 0


def verdict(findings: Sequence[Finding]) -> Verdict:
    """Errors send a record to quarantine; warnings pass and are kept as findings."""
    errors = tuple(each for each in findings if each.severity is Severity.ERROR)
    warnings = sum(each.severity is Severity.WARNING for each in findings)
    if not errors:
        return Verdict(fate=Fate.PASS, reason="", warnings=warnings)
    named = list(dict.fromkeys(f"{each.path} {each.key}" for each in errors))
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return Verdict(fate=Fate.QUARANTINE, reason="; ".join(named[:3]) + more, errors=errors, warnings=warnings)


class Gate(StrEnum):
    """What becomes of a run."""

    OPEN = "open"
    WARN = "warn"
    """It passes, and an operator is told."""
    HOLD = "hold"
    """Nothing of it passes on until an operator approves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFigures:
    """What a run of one source came to, in records."""

    former: int
    """Live records of the source before the run; 0 at its first."""
    gone: int
    """Of those, how many the run would take away: deleted, or no longer offered."""
    checked: int
    """How many records the rules looked at."""
    failed: int
    """Of those, how many go to quarantine."""

    def __post_init__(self) -> None:
        if min(self.former, self.gone, self.checked, self.failed) < 0 or self.failed > self.checked:
            raise ValueError(f"figures of a run cannot be negative, nor more fail than were checked: {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateDecision:
    """A decision on a run."""

    gate: Gate
    reason: str
    """One line for the operator; empty when the gate is open."""
    dropped: float
    """Records gone, in percent of the former ones."""
    failure_rate: float
    """Records that failed, in percent of those checked."""


def gate(figures: RunFigures, limits: GateLimits) -> GateDecision:
    """Whether a run may pass. A limit is reached at its figure, not only above it; nothing to compare with is no anomaly."""
    dropped = 100 * figures.gone / figures.former if figures.former else 0.0
    failing = 100 * figures.failed / figures.checked if figures.checked else 0.0
    reasons: list[tuple[Gate, str]] = []
    for share, warn, hold, said in (
        (dropped, limits.drop_warn, limits.drop_hold, f"{figures.gone} of {figures.former} records are gone"),
        (failing, limits.failure_warn, limits.failure_hold, f"{figures.failed} of {figures.checked} records fail"),
    ):
        if share >= hold:
            reasons.append((Gate.HOLD, f"{said} ({share:.1f} %, held from {hold:g} %)"))
        elif share >= warn:
            reasons.append((Gate.WARN, f"{said} ({share:.1f} %, warned from {warn:g} %)"))
    worst = max((each for each, _ in reasons), key=list(Gate).index, default=Gate.OPEN)
    return GateDecision(gate=worst, reason="; ".join(said for _, said in reasons), dropped=dropped, failure_rate=failing)
