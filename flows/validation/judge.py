"""One payload through readers, rules and scrubber: what becomes of each record in it. No database.

A judge belongs to one source. What leaves it is clean: canonical JSON after the scrubber, findings with shapes instead of
values, names of what was dropped. Even the name of a record is made of clean parts only: of several instances in one
payload each is named by its control number, and by its place when the scrubber did not let that pass.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Final

from flows.catalog.model import BibRecord, Reading, canonical_json, digest, from_json
from flows.catalog.read import read_all
from flows.validation.completeness import completeness
from flows.validation.decisions import Fate, Verdict, verdict
from flows.validation.findings import Finding, Severity, shape
from flows.validation.look import Look
from flows.validation.policies import Policy
from flows.validation.privacy import Scrubber
from flows.validation.rules import Checker
from flows.validation.tokens import Tokeniser

EDITION: Final = "1"  # grows when rules, readers or the scrubber change what they say of the same record
FACTS: Final = ("marc21.txt", "codes.txt")
DATESTAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)
NOTHING: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """A record as harvested."""

    identifier: str
    datestamp: str
    deleted: bool
    format: str
    payload: bytes | None
    revision: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What came of one record of a payload."""

    identifier: str
    origin: str
    """The identifier of the payload."""
    revision: int
    """Of the payload in ``harvest.record``."""
    verdict: Verdict
    findings: tuple[Finding, ...]
    """Without values."""
    dropped: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    """What the scrubber took out, by name."""
    record: BibRecord | None = None
    """After the scrubber; None when nothing could be read."""
    digest: str | None = None

    @property
    def content(self) -> bytes | None:
        """Canonical JSON of the clean record; made when it is asked for, because most records are stored as they are already."""
        return None if self.record is None else canonical_json(self.record)

    @property
    def score(self) -> int | None:
        """Completeness of the clean record."""
        return None if self.record is None else completeness(self.record).score

    @property
    def passes(self) -> bool:
        """Has it no error?"""
        return self.verdict.fate is Fate.PASS


class Judge:
    """Readers, rules and scrubber for the records of one source."""

    def __init__(self, source: str, policy: Policy, tokeniser: Tokeniser | None = None) -> None:
        self.source = source
        self.version = version(policy)
        self._checker = Checker(policy)
        self._scrubber = Scrubber(policy, tokeniser=tokeniser)

    def __repr__(self) -> str:
        return f"<Judge {self.source}: {self.version}>"

    def judge(self, raw: Raw) -> tuple[Judged, ...]:
        """The records of a live payload, each with its findings and, unless it is unreadable, its clean content."""
        found: dict[str, Judged] = {}
        for position, reading in enumerate(self._readings(raw)):
            judged = self._judged(raw, reading, position)
            name = judged.identifier
            if name in found:  # two instances with one control number
                judged = replace(judged, identifier=f"{name}#{position + 1}")
            found[judged.identifier] = judged
        return tuple(found.values())

    def findings(self, raw: Raw) -> Iterator[tuple[str, tuple[Finding, ...]]]:
        """Only what the rules say, record by record: for trying a policy, and for the figures of the gate."""
        for position, reading in enumerate(self._readings(raw)):
            name = raw.identifier if position == 0 else f"{raw.identifier}#{position + 1}"
            yield name, self._check(reading, None)

    def _readings(self, raw: Raw) -> tuple[Reading, ...]:
        stamp = raw.datestamp if DATESTAMP.fullmatch(raw.datestamp) else None
        return read_all(raw.payload or b"", format=raw.format, source=self.source, identifier=raw.identifier, datestamp=stamp)

    def _check(self, reading: Reading, look: Look | None) -> tuple[Finding, ...]:
        if reading.record is None:
            return self._checker.unreadable(reading.problems)
        return self._checker.check(reading.record, reading.problems, look=look)

    def _judged(self, raw: Raw, reading: Reading, position: int) -> Judged:
        record = reading.record
        look = None if record is None else Look(record)
        findings = tuple(map(shaped, self._check(reading, look)))
        fate = verdict(findings)
        if record is None:
            name = raw.identifier if position == 0 else f"{raw.identifier}#{position + 1}"
            return Judged(identifier=name, origin=raw.identifier, revision=raw.revision, verdict=fate, findings=findings)
        scrubbed = self._scrubber.scrub(record, look=look)
        clean = named(scrubbed.record, raw.identifier, position, before=record.control_number)
        return Judged(
            identifier=clean.identifier,
            origin=raw.identifier,
            revision=raw.revision,
            verdict=fate,
            findings=findings,
            dropped=scrubbed.dropped,
            record=clean,
            digest=digest(clean),
        )


def named(record: BibRecord, origin: str, position: int, *, before: str | None) -> BibRecord:
    """The record under a name that holds nothing the scrubber took out."""
    number = record.control_number
    if position == 0 or (number is not None and number == before and number.isprintable()):  # PostgreSQL holds no NUL
        return record
    return replace(record, identifier=f"{origin}#{position + 1}")


def shaped(finding: Finding) -> Finding:
    """The finding with the shape of its value. Single characters stay: indicators and codes are what is wrong."""
    return finding if len(finding.value) <= 1 else replace(finding, value=shape(finding.value))


def warned(judged: Judged) -> bool:
    """Does it pass with warnings?"""
    return judged.passes and any(each.severity is Severity.WARNING for each in judged.findings)


def entombed(content: str) -> tuple[str, str]:
    """Canonical JSON of a record, and its digest, once it is deleted. ValueError when it is not the JSON of a record."""
    record = replace(from_json(content), deleted=True)
    return canonical_json(record).decode(), digest(record)


def version(policy: Policy) -> str:
    """Which rules, readers and policy: the same text means the same findings on the same bytes."""
    text = hashlib.sha256()
    for name in FACTS:
        text.update(files(__package__).joinpath(name).read_bytes())
    text.update(_spelled(policy).encode())
    return f"{EDITION}:{text.hexdigest()[:12]}"


def _spelled(policy: Policy) -> str:
    values = sorted((str(path), sorted(its)) for path, its in policy.values.items())
    patterns = sorted((str(path), its.pattern) for path, its in policy.patterns.items())
    severity = sorted((key, str(its)) for key, its in policy.severity.items())
    said = (policy.require, policy.forbid, policy.allow, values, patterns, severity, sorted(policy.privacy.patterns.items()))
    return f"{said} {policy.privacy.tokens}"
