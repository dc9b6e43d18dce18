"""What the value of a single subfield must be: numbers, codes, links.

``CHECKS`` says which check belongs to which subfield of which field. A check gets the field and the value and gives
notes without a suffix; most give none, so they look for the right case first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from flows.catalog.model import DataField
from flows.validation import numbers
from flows.validation.codes import Standing, code_list
from flows.validation.findings import (
    DEPRECATED_VALUE,
    INVALID_ISBN,
    INVALID_ISSN,
    INVALID_LCCN,
    INVALID_LENGTH,
    INVALID_VALUE,
    ISBN_FORM,
    LCCN_FORM,
    MALFORMED_LINK,
    PATTERN_MISMATCH,
    UNPARSABLE,
    Issue,
)

Said: TypeAlias = tuple[Issue, str]
Check: TypeAlias = Callable[[DataField, str], Sequence[Said]]

NOTHING: Final[Sequence[Said]] = ()
QUALIFIED: Final = re.compile(r"(?P<number>[0-9Xx\u2010-\u2013-]*)(?P<rest>.*)", re.DOTALL)
BOUNDED: Final = re.compile(r"(?<![0-9])(?:[0-9]{13}|[0-9]{9}[0-9Xx])(?![0-9])")
CONTROL_NUMBER: Final = re.compile(r"\([^()\s][^()]*\)\s*\S.*", re.DOTALL)
URI: Final = re.compile(r"(?:https?|info|urn|ftp|mailto):\S+", re.IGNORECASE)
UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
BARE_NUMBER: Final = re.compile(r"[A-Za-z]{0,4}\s?[0-9][0-9A-Za-z:._-]*")  # n79021164, a Koha authority number
LINKAGE: Final = re.compile(r"[0-9]{3}-[0-9]{2}(?:/[^/]{0,8}(?:/r)?)?", re.IGNORECASE)  # 880-01/(3/r, 880-02/$1, 880-03/Hani
SEQUENCE: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:\\[acprux])?")
WITH_SOURCE: Final = re.compile(r"[a-z]+[:/#].+", re.IGNORECASE | re.DOTALL)  # a relator of another list, such as rdaa:P50043


def _isbn(field: DataField, value: str) -> Sequence[Said]:
    form = numbers.isbn(value)
    if form is numbers.Form.RIGHT:
        return NOTHING
    if form is numbers.Form.WRONG_CHECK_DIGIT:
        return ((INVALID_ISBN, "The ISBN has a wrong check digit."),)
    # A qualifier after the number was right before 2013 and is harmless; it belongs in $q now.
    found = QUALIFIED.fullmatch(value)
    number, rest = (found["number"].rstrip("-"), found["rest"]) if found else ("", value)
    inner = numbers.isbn(number)
    if inner is numbers.Form.RIGHT:
        if rest.startswith("("):
            return ((ISBN_FORM, "A blank is missing between the ISBN and its qualifier."),)
        return NOTHING if rest.startswith(" ") else ((ISBN_FORM, "Something stands directly after the ISBN."),)
    if inner is numbers.Form.WRONG_CHECK_DIGIT:
        return ((INVALID_ISBN, "The ISBN has a wrong check digit."),)
    if any(numbers.isbn(each) is numbers.Form.RIGHT for each in BOUNDED.findall(numbers.HYPHENS.sub("", value))):
        return ((ISBN_FORM, "Something stands before the ISBN."),)
    return ((INVALID_ISBN, "An ISBN has 10 or 13 digits (the latter beginning with 978 or 979)."),)


def _cancelled_isbn(field: DataField, value: str) -> Sequence[Said]:
    number = value.removeprefix("ISBN").strip().split(" ")[0]
    return (
        ((ISBN_FORM, "$z is for invalid or cancelled numbers, but this ISBN is right by its check digit."),)
        if (("-" in number or value.startswith("ISBN")) and numbers.isbn(number) is numbers.Form.RIGHT)
        else NOTHING
    )


def _issn(field: DataField, value: str) -> Sequence[Said]:
    form = numbers.issn(value.rstrip(" ;,.:=)"))  # ISBD punctuation of 490 $x follows the number
    if form is numbers.Form.RIGHT:
        return NOTHING
    if form is numbers.Form.WRONG_CHECK_DIGIT:
        return ((INVALID_ISSN, "The ISSN has a wrong check digit."),)
    return ((INVALID_ISSN, "An ISSN is written as four digits, a hyphen and four digits (the last may be X)."),)


def _lccn(field: DataField, value: str) -> Sequence[Said]:
    form = numbers.lccn(value)
    if form is numbers.Form.RIGHT:
        return NOTHING
    if form is numbers.Form.UNUSUAL:
        return ((LCCN_FORM, "The LC control number is not written in its 12 characters: prefix, year, number, blanks between."),)
    return ((INVALID_LCCN, "This is no LC control number: prefix of up to three letters, year, serial number of six digits."),)


@lru_cache(maxsize=4096)
def _listed(name: str, code: str) -> Sequence[Said]:
    standing = code_list(name).standing(code)
    if standing is Standing.CURRENT:
        return NOTHING
    if standing is Standing.OBSOLETE:
        return ((DEPRECATED_VALUE, f"The {name} code is obsolete."),)
    return ((INVALID_VALUE, f"The {name} code is not in the MARC code list."),)


def _languages(field: DataField, value: str) -> Sequence[Said]:
    if field.ind2 == "7":  # codes of another list, named in $2
        return NOTHING
    if len(value) == 3:
        return _listed("language", value)
    if not value or len(value) % 3:
        return ((INVALID_LENGTH, "A language code has three characters; $2 and second indicator 7 name another list."),)
    found = dict.fromkeys(said for at in range(0, len(value), 3) for said in _listed("language", value[at : at + 3]))
    return tuple(found)  # codes that were written together before 2001


def _one_language(field: DataField, value: str) -> Sequence[Said]:
    if len(value) != 3:
        return ((INVALID_LENGTH, "A language code has three characters."),)
    return _listed("language", value)


def _country(field: DataField, value: str) -> Sequence[Said]:
    if not 2 <= len(value) <= 3:
        return ((INVALID_LENGTH, "A country code has two or three characters."),)
    return _listed("country", value.rstrip(" "))


def _area(field: DataField, value: str) -> Sequence[Said]:
    if len(value) != 7:
        return ((INVALID_LENGTH, "A geographic area code has seven characters, filled with hyphens."),)
    return _listed("area", value.rstrip("-"))


def _relator(field: DataField, value: str) -> Sequence[Said]:
    if len(value) != 3:
        if WITH_SOURCE.fullmatch(value):
            return NOTHING
        return ((INVALID_VALUE, "The relator is neither a code of three letters nor an address."),)
    return _listed("relator", value)


def _system_number(field: DataField, value: str) -> Sequence[Said]:
    if CONTROL_NUMBER.fullmatch(value):
        return NOTHING
    return ((PATTERN_MISMATCH, "The number must follow the code of its organisation in parentheses, such as (OCoLC)814782."),)


def _authority(field: DataField, value: str) -> Sequence[Said]:
    if CONTROL_NUMBER.fullmatch(value) or URI.fullmatch(value) or BARE_NUMBER.fullmatch(value):
        return NOTHING
    return ((MALFORMED_LINK, "$0 must be a number after its source in parentheses, or an address."),)


def _local_link(field: DataField, value: str) -> Sequence[Said]:
    if UUID.fullmatch(value) or BARE_NUMBER.fullmatch(value) or URI.fullmatch(value):
        return NOTHING
    return ((MALFORMED_LINK, "$9 of a heading must be the identifier (a UUID or a number) of its authority record."),)


def _linkage(field: DataField, value: str) -> Sequence[Said]:
    if LINKAGE.fullmatch(value):
        return NOTHING
    return ((UNPARSABLE, "$6 must name a tag and a number, such as 880-01, and a script after a slash where there is one."),)


def _sequence(field: DataField, value: str) -> Sequence[Said]:
    if SEQUENCE.fullmatch(value):
        return NOTHING
    return ((UNPARSABLE, "$8 must be a number, such as 1.2, and a type of link after a backslash where there is one."),)


_LINKING: Final = [f"{number}" for number in range(760, 788)]
_HEADINGS: Final = [f"{hundred}{rest}" for hundred in "1678" for rest in ("00", "10", "11", "30")] + [
    "240", "440", "647", "648", "650", "651", "655", "662", "751", "752", "754",
]  # fmt: skip
_NAMES: Final = ("100", "110", "111", "600", "610", "611", "700", "710", "711", "720", "800", "810", "811")
LOCAL_LINKED: Final = frozenset(_HEADINGS)  # headings may carry $9, where FOLIO and Koha keep the link to the authority record

CHECKS: Final[dict[str, dict[str, Check]]] = {
    "010": {"a": _lccn},
    "020": {"a": _isbn, "z": _cancelled_isbn},
    "022": {"a": _issn, "l": _issn},
    "035": {"a": _system_number},
    "040": {"b": _one_language},
    "041": dict.fromkeys("abdefghijkmnpqrt", _languages),
    "043": {"a": _area},
    "044": {"a": _country},
    "490": {"x": _issn},
    **{tag: {"x": _issn, "z": _isbn} for tag in _LINKING},
}
for _tag in _NAMES:
    CHECKS.setdefault(_tag, {})["4"] = _relator
for _tag in _HEADINGS:
    CHECKS.setdefault(_tag, {}).update({"0": _authority, "9": _local_link})
for _tag in ("800", "810", "811", "830"):
    CHECKS[_tag]["x"] = _issn
EVERYWHERE: Final[dict[str, Check]] = {"6": _linkage, "8": _sequence}
NO_SEQUENCE: Final = frozenset({"841", "852", "853", "854", "855", "863", "864", "865", "866", "867", "868", "876", "877", "878"})


def checks_for(tag: str, codes: Sequence[str]) -> tuple[tuple[int, Check], ...]:
    """The checks of a field that has subfields with these codes, each with the subfield's place in the field."""
    own = CHECKS.get(tag, {})
    found: list[tuple[int, Check]] = []
    for at, code in enumerate(codes):
        check = own.get(code) or (EVERYWHERE.get(code) if tag[:1] != "9" else None)
        if check is not None and not (check is _sequence and tag in NO_SEQUENCE):
            found.append((at, check))
    return tuple(found)
