"""How much a record tells its reader: a score from 0 to 100, and what it lacks.

The elements are those that discovery and deduplication live on; the weights are ours and add up to 100. A score compares
sources and days; it says nothing about whether what is there is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flows.catalog.model import BibRecord

# element: weight, and the fields of which one is enough (with subfields where the field alone says little)
ELEMENTS: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "title": (15, ("245",)),
    "responsibility": (10, ("100", "110", "111", "700", "710", "711", "720", "245$c")),
    "identifier": (10, ("010", "015", "020", "022", "024", "027", "028", "030")),
    "publisher": (7, ("260$b", "264$b", "502")),
    "date": (8, ("260$c", "264$c", "362", "046", "502", "245$f")),
    "language": (8, ("041",)),
    "extent": (5, ("300",)),
    "content and carrier": (5, ("336", "337", "338", "245$h")),
    "subject": (12, ("600", "610", "611", "630", "647", "648", "650", "651", "653")),
    "genre": (3, ("655",)),
    "classification": (7, ("050", "055", "060", "070", "080", "082", "083", "084", "086")),
    "summary or contents": (5, ("505", "520")),
    "cataloguing source": (5, ("040",)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Completeness:
    """A score and its reason."""

    score: int
    """0 to 100."""
    missing: tuple[str, ...]
    """Elements that are not there."""


def completeness(record: BibRecord) -> Completeness:
    """The score of a record. Language and date also count when 008 says them, unless it was inferred."""
    there: set[str] = set()
    for field in record.data_fields:
        there.add(field.tag)
        if field.tag in ("245", "260", "264"):
            there.update([f"{field.tag}${code}" for code, _ in field.subfields])
    fixed = "" if record.derived else record.control("008") or ""
    coded = set()
    if len(fixed) == 40:
        if fixed[35:38].isalpha():
            coded.add("language")
        if fixed[7:11].isdigit():
            coded.add("date")
    missing = tuple(name for name, (_, tags) in ELEMENTS.items() if name not in coded and there.isdisjoint(tags))
    return Completeness(score=100 - sum(ELEMENTS[name][0] for name in missing), missing=missing)
