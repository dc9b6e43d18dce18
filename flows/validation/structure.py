"""Tag, indicators and subfield codes of a data field, judged against the table.

Fields of one tag, with the same indicators and the same row of subfield codes, are all judged alike; a catalogue has a
few thousand such rows, so that each is judged once and remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from flows.validation.facts import Field, FormatName, formats
from flows.validation.findings import (
    DEPRECATED_FIELD,
    DEPRECATED_SUBFIELD,
    EMPTY_FIELD,
    INVALID_INDICATOR,
    INVALID_INDICATOR_VALUE,
    INVALID_REFERENCE,
    INVALID_TAG,
    MISSING_REFERENCE,
    MISSING_SUBFIELD,
    NON_EMPTY_INDICATOR,
    NULL_CODE,
    OBSOLETE_INDICATOR,
    REPEATED_SUBFIELD,
    UNDEFINED_FIELD,
    UNDEFINED_SUBFIELD,
)
from flows.validation.look import ALTERNATE
from flows.validation.notes import Note
from flows.validation.values import LOCAL_LINKED, Check, checks_for

TAG: Final = re.compile(r"[0-9]{3}")
LOCAL_TAG: Final = re.compile(r"9..|.9.|..9")
INDICATOR: Final = frozenset(" 0123456789abcdefghijklmnopqrstuvwxyz")
CODES: Final = frozenset("0123456789abcdefghijklmnopqrstuvwxyz")

# Which value of which indicator says that $2 names the source; 86X and 084 have no indicator for it.
SOURCE_IN_2: Final[dict[str, tuple[int, str]]] = {
    "016": (1, "7"), "024": (1, "7"), "041": (2, "7"), "052": (1, "7"), "072": (2, "7"), "082": (1, "7"), "083": (1, "7"),
    "086": (1, " "), "852": (1, "7"), "856": (1, "7"),
    **dict.fromkeys(("600", "610", "611", "630", "647", "648", "650", "651", "655"), (2, "7")),
}  # fmt: skip
ONLY_WITH_SOURCE: Final = frozenset({"600", "610", "611", "630", "647", "648", "650", "651", "655", "016"})  # elsewhere $2 has more uses
NEEDS_ONE_OF: Final[dict[tuple[FormatName, str], str]] = {("bibliographic", "245"): "ak"}  # $k: archival records without a title proper


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Verdict:
    """What is to be said of every field with this tag, these indicators and these subfield codes."""

    notes: tuple[Note, ...]
    checks: tuple[tuple[int, Check], ...]
    """Checks of values, each with the place of its subfield."""
    is_title: bool = False
    """Is it a title statement of a bibliographic record?"""

    @property
    def is_quiet(self) -> bool:
        """Is there nothing to say, nothing to check?"""
        return not (self.notes or self.checks or self.is_title)


def judge(format_name: FormatName, tag: str, ind1: str, ind2: str, codes: Sequence[str], linked: str = "") -> Verdict:
    """The verdict on a field. `linked` is the tag in $6 of an 880, whose rules it follows."""
    if not TAG.fullmatch(tag):
        return Verdict(notes=(Note(INVALID_TAG, "", "A tag must be three digits."),), checks=())
    table = formats()[format_name].fields
    alternate = tag == ALTERNATE
    fact = table.get(linked if alternate and linked in table and linked >= "010" else tag)
    if fact is None:
        return Verdict(notes=(_undefined(tag), *_always(ind1, ind2, codes)), checks=checks_for(tag, codes))
    notes = [*_always(ind1, ind2, codes)]
    if alternate and "6" not in codes:
        notes.append(Note(MISSING_REFERENCE, "$6", "An 880 must say in $6 which field it belongs to."))
    if fact.obsolete:
        notes.append(Note(DEPRECATED_FIELD, "", f"The field ({fact.label}) is obsolete."))
    title = fact.tag == "245" and format_name == "bibliographic"
    notes += [*_indicators(fact, ind1, ind2), *_subfields(fact, codes, format_name), *_source(fact.tag, ind1, ind2, codes)]
    return Verdict(notes=tuple(notes), checks=checks_for(fact.tag, codes), is_title=title)


def _undefined(tag: str) -> Note:
    if LOCAL_TAG.fullmatch(tag):
        return Note(UNDEFINED_FIELD, "", "A local field: MARC 21 does not define it, and it does not pass on unless the policy allows it.")
    return Note(UNDEFINED_FIELD, "", "MARC 21 does not define this field.")


def _always(ind1: str, ind2: str, codes: Sequence[str]) -> Iterator[Note]:
    """What must hold of any field, defined or not."""
    for number, value in ((1, ind1), (2, ind2)):
        if value not in INDICATOR:
            yield Note(INVALID_INDICATOR, f"^{number}", "An indicator must be one character: a digit, a letter a-z, or blank.", value[:1])
    if not codes:
        yield Note(EMPTY_FIELD, "", "The field has no subfields.")
    for code in dict.fromkeys(codes):
        if code not in CODES:
            yield Note(NULL_CODE, "", "A subfield code is missing, or is neither a letter a-z nor a digit.", code[:1])


def _indicators(fact: Field, ind1: str, ind2: str) -> Iterator[Note]:
    for number, value in ((1, ind1), (2, ind2)):
        known = fact.indicators[number - 1]
        if known is None or known.codes is None or value in known.codes or value not in INDICATOR:
            continue
        shown = "a blank" if value == " " else f"“{value}”"
        order = "first" if number == 1 else "second"
        if value in known.past:
            yield Note(OBSOLETE_INDICATOR, f"^{number}", f"The {order} indicator holds {shown}, which is obsolete.", value)
        elif known.is_undefined:
            yield Note(
                NON_EMPTY_INDICATOR, f"^{number}", f"The {order} indicator is not defined and must be blank, but holds {shown}.", value
            )
        else:
            allowed = ", ".join("blank" if code == " " else code for code in sorted(known.codes))
            said = f"The {order} indicator ({known.label}) holds {shown}; allowed: {allowed}."
            yield Note(INVALID_INDICATOR_VALUE, f"^{number}", said, value)


def _subfields(fact: Field, codes: Sequence[str], format_name: FormatName) -> Iterator[Note]:
    if fact.subfields is not None:
        for code in dict.fromkeys(codes):
            known = fact.subfields.get(code)
            if code not in CODES or (code == "9" and fact.tag in LOCAL_LINKED):
                continue
            if known is None:
                yield Note(UNDEFINED_SUBFIELD, f"${code}", f"Subfield ${code} is not defined in {fact.tag} ({fact.label}).")
                continue
            if known.obsolete:
                yield Note(DEPRECATED_SUBFIELD, f"${code}", f"Subfield ${code} ({known.label}) is obsolete.")
            if not known.repeatable and codes.count(code) > 1:
                yield Note(REPEATED_SUBFIELD, f"${code}", f"Subfield ${code} ({known.label}) must not be repeated.")
    needed = NEEDS_ONE_OF.get((format_name, fact.tag))
    if needed and not any(code in codes for code in needed):
        yield Note(MISSING_SUBFIELD, f"${needed[0]}", f"Subfield ${needed[0]} is required in {fact.tag} ({fact.label}).")


def _source(tag: str, ind1: str, ind2: str, codes: Sequence[str]) -> Iterator[Note]:
    """Do indicator and $2 agree about where a term or number comes from?"""
    if tag == "084" and "2" not in codes:
        yield Note(INVALID_REFERENCE, "$2", "$2 must name the classification.")
    if tag not in SOURCE_IN_2:
        return
    number, meaning = SOURCE_IN_2[tag]
    value = ind1 if number == 1 else ind2
    if value == meaning and "2" not in codes:
        yield Note(INVALID_REFERENCE, "$2", f"Indicator {number} says that $2 names the source, but there is no $2.")
    elif value != meaning and "2" in codes and tag in ONLY_WITH_SOURCE:
        yield Note(INVALID_REFERENCE, "$2", f"$2 names a source, but indicator {number} says otherwise.")
