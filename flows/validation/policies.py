"""A policy: what one source's records must, must not and may have, beyond what MARC 21 says; and how bad things are.

Policies are stated for all sources, for groups and for single sources; what is stated more narrowly wins. A policy is a
value; ``policyfile`` reads it from ``policies.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

from flows.validation.findings import Severity
from flows.validation.paths import Path
from flows.validation.personal import PrivacyRules


class Verb(StrEnum):
    """What a policy says of a path."""

    REQUIRE = "require"
    FORBID = "forbid"
    ALLOW = "allow"


@dataclass(frozen=True, kw_only=True, slots=True)
class GateLimits:
    """When a run of a source is doubted; all in percent of records. The defaults are those of the specification."""

    drop_warn: float = 15.0
    drop_hold: float = 30.0
    failure_warn: float = 20.0
    failure_hold: float = 40.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Statements:
    """What is stated on one level: for all, for a group or for a source."""

    require: tuple[Path, ...] = ()
    forbid: tuple[Path, ...] = ()
    allow: tuple[Path, ...] = ()
    values: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    patterns: Mapping[Path, re.Pattern[str]] = field(default_factory=dict)
    severity: Mapping[str, Severity | None] = field(default_factory=dict)
    """By issue key; None ignores it."""
    gate: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ban:
    """A path that is forbidden, and what is excepted from it by a narrower statement."""

    path: Path
    unless: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What holds for one source."""

    require: tuple[Path, ...] = ()
    forbid: tuple[Ban, ...] = ()
    allow: tuple[Ban, ...] = ()
    """Local fields and subfields that are not called undefined, and that pass the scrubber."""
    values: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    patterns: Mapping[Path, re.Pattern[str]] = field(default_factory=dict)
    severity: Mapping[str, Severity | None] = field(default_factory=dict)
    gate: GateLimits = field(default_factory=GateLimits)
    privacy: PrivacyRules = field(default_factory=PrivacyRules)

    def allows(self, tag: str, code: str = "") -> bool:
        """May this field, or this subfield of it, stand there although MARC 21 does not define it?"""
        return any(
            each.path.matches(tag)
            and (not each.path.codes or not code or code in each.path.codes)
            and not any(other.matches(tag) and (not other.codes or code in other.codes) for other in each.unless)
            for each in self.allow
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Policies:
    """Everything that is configured."""

    all: Statements = field(default_factory=Statements)
    groups: Mapping[str, Statements] = field(default_factory=dict)
    sources: Mapping[str, Statements] = field(default_factory=dict)
    privacy: PrivacyRules = field(default_factory=PrivacyRules)

    def for_source(self, source: str, group: str | None = None) -> Policy:
        """What holds for a source, the narrower statement winning: all, then its group, then the source itself."""
        levels = [self.all, self.groups.get(group or "", NOTHING_STATED), self.sources.get(source, NOTHING_STATED)]
        said = [(level, verb, path) for level, stated in enumerate(levels) for verb in Verb for path in _paths(stated, verb)]
        stands = [
            (level, verb, path)
            for level, verb, path in said
            if not any(wider > level and other is not verb and its.covers(path) for wider, other, its in said)
        ]

        def bans(wanted: Verb, against: tuple[Verb, ...]) -> tuple[Ban, ...]:
            return tuple(
                Ban(path=path, unless=tuple(its for wider, other, its in stands if wider > level and other in against and path.covers(its)))
                for level, verb, path in stands
                if verb is wanted
            )

        return Policy(
            require=tuple(dict.fromkeys(path for _, verb, path in stands if verb is Verb.REQUIRE)),
            forbid=bans(Verb.FORBID, (Verb.ALLOW, Verb.REQUIRE)),
            allow=bans(Verb.ALLOW, (Verb.FORBID,)),
            values={path: values for stated in levels for path, values in stated.values.items()},
            patterns={path: pattern for stated in levels for path, pattern in stated.patterns.items()},
            severity={key: value for stated in levels for key, value in stated.severity.items()},
            gate=GateLimits(**{key: value for stated in levels for key, value in stated.gate.items()}),
            privacy=self.privacy,
        )


NOTHING_STATED: Final = Statements()
GATE_KEYS: Final = tuple(each.name for each in fields(GateLimits))


def _paths(stated: Statements, verb: Verb) -> tuple[Path, ...]:
    return {Verb.REQUIRE: stated.require, Verb.FORBID: stated.forbid, Verb.ALLOW: stated.allow}[verb]
