"""How good the records of a source are: findings by rule, with and without undefined fields, completeness, and from day to day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from flows.validation import statements
from flows.validation.store import ValidationStore

WHOLE: Final = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One issue type in one source."""

    issue: str
    """``category/code``."""
    severity: str
    instances: int
    records: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """A day's figures, as of its last run."""

    day: date
    records: int
    quarantined: int
    warned: int
    score: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """The figures of one source."""

    source: str
    records: int
    """Clean and live."""
    deleted: int
    quarantined: int
    warned: int
    """Records with warnings and without errors."""
    with_findings: int
    """Records with any finding."""
    without_undefined: int
    """Records with a finding other than an undefined field or subfield."""
    score: float | None
    """Mean completeness of the clean records, 0 to 100."""
    rules: tuple[Rule, ...]
    days: tuple[Day, ...]

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"days": [asdict(each) | {"day": each.day.isoformat()} for each in self.days]}


def quality(store: ValidationStore, sources: Sequence[str] | None = None) -> list[Quality]:
    """The figures of these sources, or of all that were validated."""
    names = {"sources": None if sources is None else list(sources)}
    rules: dict[str, list[Rule]] = {}
    for source, issue, severity, instances, records in store.rows(statements.QUALITY_FINDINGS, names):
        rules.setdefault(source, []).append(Rule(issue=issue, severity=severity, instances=instances, records=records))
    affected = {row[0]: row[1:] for row in store.rows(statements.QUALITY_WITHOUT, names)}
    days: dict[str, list[Day]] = {}
    for source, day, records, quarantined, warned, score in store.rows(statements.DAYS, names):
        days.setdefault(source, []).append(Day(day=day, records=records, quarantined=quarantined, warned=warned, score=score))
    found = []
    for source, live, deleted, score, quarantined in store.rows(statements.QUALITY_RECORDS, names):
        with_findings, without_undefined, warned = affected.get(source, (0, 0, 0))
        found.append(
            Quality(
                source=source,
                records=live,
                deleted=deleted,
                quarantined=quarantined,
                warned=warned,
                with_findings=with_findings,
                without_undefined=without_undefined,
                score=None if score is None else round(float(score), 1),
                rules=tuple(rules.get(source, ())),
                days=tuple(days.get(source, ())),
            )
        )
    return found


def keep_day(store: ValidationStore, source: str) -> None:
    """Keep the figures of a source as those of today."""
    for each in quality(store, [source]):
        findings = {rule.issue: [rule.instances, rule.records] for rule in each.rules}
        figures = {"records": each.records, "quarantined": each.quarantined, "warned": each.warned, "score": each.score}
        store.save_day(source, figures | {"findings": findings})
