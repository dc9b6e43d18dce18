"""What a policy demands of a record, beyond MARC 21: required, forbidden, listed values, patterns."""

from __future__ import annotations

from collections.abc import Iterator

from flows.catalog.model import BibRecord, DataField
from flows.validation.findings import (
    CONTROL_VALUE,
    FORBIDDEN_CONTROL,
    FORBIDDEN_FIELD,
    FORBIDDEN_SUBFIELD,
    INVALID_VALUE,
    MISSING_CONTROL,
    MISSING_FIELD,
    MISSING_SUBFIELD,
    PATTERN_MISMATCH,
)
from flows.validation.notes import Note
from flows.validation.paths import Path
from flows.validation.policies import Policy

Found = tuple[str, int, Note]  # tag, occurrence from 1, and the note


def demand_notes(record: BibRecord, policy: Policy) -> Iterator[Found]:
    """Notes on everything that the policy demands and the record does not keep."""
    for path in policy.require:
        yield from _required(record, path)
    for ban in policy.forbid:
        for tag, occurrence, codes in _present(record, ban.path):
            if ban.path.codes:
                for code in dict.fromkeys(codes):
                    excepted = any(each.matches(tag) and (not each.codes or code in each.codes) for each in ban.unless)
                    if code in ban.path.codes and not excepted:
                        yield tag, occurrence, Note(FORBIDDEN_SUBFIELD, f"${code}", f"The policy forbids subfield ${code} here.")
            elif not any(each.matches(tag) and not each.codes for each in ban.unless):
                issue = FORBIDDEN_CONTROL if ban.path.is_control else FORBIDDEN_FIELD
                yield tag, occurrence, Note(issue, "", f"The policy forbids this field ({ban.path}).")
    for path, values in policy.values.items():
        for tag, occurrence, suffix, value in _values(record, path):
            if value not in values:
                issue = CONTROL_VALUE if path.is_control else INVALID_VALUE
                yield tag, occurrence, Note(issue, suffix, "The value is not in the list that the policy gives.", value)
    for path, pattern in policy.patterns.items():
        for tag, occurrence, suffix, value in _values(record, path):
            if not pattern.search(value):
                issue = CONTROL_VALUE if path.is_control else PATTERN_MISMATCH
                yield tag, occurrence, Note(issue, suffix, "The value does not match the pattern that the policy gives.", value)


def _required(record: BibRecord, path: Path) -> Iterator[Found]:
    if path.is_control:
        count = sum(bool(value) for tag, value in _controls(record) if path.matches(tag))
        if count < (path.occurrence or 1):
            yield path.tag, 1, Note(MISSING_CONTROL, "", "The policy requires this field.")
        return
    present = [field for field in record.data_fields if path.matches(field.tag)]
    if len(present) < (path.occurrence or 1):
        yield path.tag, 1, Note(MISSING_FIELD, "", "The policy requires this field.")
    counts: dict[str, int] = {}
    for field in present:
        counts[field.tag] = counts.get(field.tag, 0) + 1
        if path.occurrence not in (None, counts[field.tag]):
            continue
        for code in path.codes:
            if not any(value.strip() for value in field.values(code)):
                yield field.tag, counts[field.tag], Note(MISSING_SUBFIELD, f"${code}", f"The policy requires subfield ${code} here.")


def _controls(record: BibRecord) -> Iterator[tuple[str, str]]:
    yield "LDR", record.leader
    yield from record.control_fields


def _present(record: BibRecord, path: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Tag, occurrence and subfield codes of each field that a path means."""
    counts: dict[str, int] = {}
    for tag, _ in record.control_fields:
        if path.matches(tag):
            counts[tag] = counts.get(tag, 0) + 1
            if path.occurrence in (None, counts[tag]):
                yield tag, counts[tag], ()
    for field in record.data_fields:
        if path.matches(field.tag):
            counts[field.tag] = counts.get(field.tag, 0) + 1
            if path.occurrence in (None, counts[field.tag]):
                yield field.tag, counts[field.tag], tuple(code for code, _ in field.subfields)


def _values(record: BibRecord, path: Path) -> Iterator[tuple[str, int, str, str]]:
    """Tag, occurrence, rest of the path and value of everything that a path means; derived fixed fields are left out."""
    counts: dict[str, int] = {}
    for tag, value in _controls(record):
        if path.matches(tag) and not (record.derived and tag in ("LDR", "006", "007", "008")):
            counts[tag] = counts.get(tag, 0) + 1
            if path.occurrence in (None, counts[tag]):
                if path.span is None:
                    yield tag, counts[tag], "", value
                else:
                    first, last = path.span
                    yield tag, counts[tag], path.written[path.written.index("/") :], value[first : last + 1]
    for field in record.data_fields:
        if path.matches(field.tag):
            counts[field.tag] = counts.get(field.tag, 0) + 1
            if path.occurrence in (None, counts[field.tag]):
                yield from ((field.tag, counts[field.tag], suffix, value) for suffix, value in _of_field(field, path))


def _of_field(field: DataField, path: Path) -> Iterator[tuple[str, str]]:
    for code, value in field.subfields:
        if not path.codes or code in path.codes:
            yield f"${code}", value
