"""Fields in another script: does every $6 point to a field that points back?

Source: MARC 21 Appendix A, Control Subfields ($6 Linkage), and field 880.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.catalog.model import DataField
from flows.validation.findings import AMBIGUOUS_LINKAGE, INVALID_LINKAGE
from flows.validation.notes import Note
from flows.validation.values import LINKAGE

NOT_LINKED = "00"  # 880 $6 245-00: there is no field to point to


def linkage_notes(linked: Sequence[tuple[int, DataField]]) -> Iterator[tuple[int, Note]]:
    """Notes on all fields that have $6, each with the number it came with."""
    ends: dict[tuple[str, str, bool], int] = {}
    parsed: list[tuple[int, str, str, bool]] = []
    for number, field in linked:
        value = field.first("6") or ""
        if not LINKAGE.fullmatch(value):
            continue
        alternate = field.tag == "880"
        own, other = field.tag, value[:3]
        regular = other if alternate else own
        key = (regular, value[4:6], alternate)
        if not alternate and other != "880":
            yield number, Note(INVALID_LINKAGE, "$6", "$6 of a regular field must point to an 880.")
            continue
        if value[4:6] == NOT_LINKED:
            if not alternate:
                yield number, Note(INVALID_LINKAGE, "$6", "$6 with the number 00 belongs only into an 880.")
            continue
        ends[key] = ends.get(key, 0) + 1
        parsed.append((number, *key))
    for number, regular, occurrence, alternate in parsed:
        there = ends.get((regular, occurrence, not alternate), 0)
        if not there:
            said = (
                f"No field {regular} points back with 880-{occurrence}."
                if alternate
                else f"No 880 points back with {regular}-{occurrence}."
            )
            yield number, Note(INVALID_LINKAGE, "$6", said)
        elif there > 1 or ends[(regular, occurrence, alternate)] > 1:
            yield number, Note(AMBIGUOUS_LINKAGE, "$6", f"More than one pair of fields is linked as {regular}-{occurrence}.")
