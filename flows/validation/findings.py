"""What can be wrong with a record: every issue type once, and a finding of one.

An issue type is keyed by category and code, written ``category/code``. The types cover those of qa-catalogue (five
categories) and the rules of FOLIO's record specifications, and their severities are FOLIO's: what is missing or
repeated against the rules is an error; what is undefined, obsolete or wrongly coded is a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from flows.validation.facts import FormatName, formats

SITE: Final = "https://www.loc.gov/marc"
LONGEST_VALUE: Final = 200  # characters of a value that a finding shows
LONGEST_SHAPE: Final = 40  # characters of a shape


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """The record goes to quarantine."""
    WARNING = "warning"
    """The record passes; the finding is kept."""
    INFO = "info"
    """Worth knowing; never counted against a record."""


class Category(StrEnum):
    """What a finding is about, as qa-catalogue divides it."""

    RECORD = "record"
    CONTROL_FIELD = "controlField"
    DATA_FIELD = "dataField"
    INDICATOR = "indicator"
    SUBFIELD = "subfield"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Issue:
    """A type of issue."""

    category: Category
    code: str
    severity: Severity
    """Unless a policy says otherwise."""
    meaning: str
    """One line for the documentation and the quality page."""

    @property
    def key(self) -> str:
        """As policies and figures name it."""
        return f"{self.category}/{self.code}"

    def __repr__(self) -> str:
        return f"<Issue {self.key}: {self.severity}>"


ISSUES: Final[dict[str, Issue]] = {}


def _issue(category: Category, code: str, severity: Severity, meaning: str) -> Issue:
    issue = Issue(category=category, code=code, severity=severity, meaning=meaning)
    ISSUES[issue.key] = issue
    return issue


_R, _C, _D, _I, _S = Category
_E, _W, _N = Severity

UNDETECTABLE_TYPE = _issue(_R, "undetectableType", _E, "leader/06 does not say what kind of record it is")
INVALID_LINKAGE = _issue(_R, "invalidLinkage", _W, "$6 points to a field that is not there")
AMBIGUOUS_LINKAGE = _issue(_R, "ambiguousLinkage", _W, "$6 points to more than one field")
PARSING_ERROR = _issue(_R, "parsingError", _W, "the record could be read only by repairing it")
UNREADABLE = _issue(_R, "unreadable", _E, "nothing usable could be read")
LEADER_LENGTH = _issue(_R, "leaderLength", _W, "lengths in the leader do not fit the record, or the leader itself is not 24 characters")
ENCODING_MISMATCH = _issue(_R, "encodingMismatch", _W, "the text is not in the encoding that leader/09 names, or was decoded wrongly")
NOT_NORMALISED = _issue(_R, "nonNormalizedText", _N, "text that is not in Unicode form C; it is put right when stored")

MISSING_CONTROL = _issue(_C, "missingField", _E, "a required control field, or the leader, is missing or empty")
REPEATED_CONTROL = _issue(_C, "nonRepeatableField", _E, "a control field stands more than once")
UNDEFINED_CONTROL = _issue(_C, "undefinedField", _W, "a control field that MARC 21 does not define")
DEPRECATED_CONTROL = _issue(_C, "deprecatedField", _W, "an obsolete control field")
CONTROL_LENGTH = _issue(_C, "invalidLength", _W, "a fixed-length field has the wrong length")
OBSOLETE_POSITION = _issue(_C, "obsoleteControlPosition", _W, "a position holds a code that is obsolete")
INVALID_POSITION = _issue(_C, "controlValueContainsInvalidCode", _W, "a position holds a code that is not defined")
CONTROL_VALUE = _issue(_C, "invalidValue", _W, "a control field's value is not what it must be")
FORBIDDEN_CONTROL = _issue(_C, "forbiddenField", _E, "a control field that the policy forbids")

MISSING_FIELD = _issue(_D, "missingField", _E, "a required field is missing")
REPEATED_FIELD = _issue(_D, "nonRepeatableField", _E, "a field that must not be repeated stands more than once")
REPEATED_1XX = _issue(_D, "nonRepeatable1XXField", _E, "more than one main entry (1XX)")
REQUIRED_1XX = _issue(_D, "nonRepeatableRequired1XXField", _E, "an authority record has not exactly one heading (1XX)")
INVALID_TAG = _issue(_D, "invalidFieldTag", _E, "a tag that is not three digits")
UNDEFINED_FIELD = _issue(_D, "undefinedField", _W, "a field that MARC 21 does not define, local ones among them")
DEPRECATED_FIELD = _issue(_D, "deprecatedField", _W, "an obsolete field")
MISSING_REFERENCE = _issue(_D, "missingSubfield", _W, "880 without $6: nobody knows which field it belongs to")
EMPTY_FIELD = _issue(_D, "emptyField", _W, "a field without subfields")
FORBIDDEN_FIELD = _issue(_D, "forbiddenField", _E, "a field that the policy forbids")
PUNCTUATION = _issue(_D, "isbdPunctuation", _N, "245 is not punctuated as ISBD asks")
SUBFIELD_ORDER = _issue(_D, "subfieldOrder", _N, "245 does not begin with $a (after $6)")

OBSOLETE_INDICATOR = _issue(_I, "obsoleteIndicator", _W, "an indicator holds a code that is obsolete")
NON_EMPTY_INDICATOR = _issue(_I, "nonEmptyIndicator", _W, "an indicator that must be blank is not")
INVALID_INDICATOR_VALUE = _issue(_I, "invalidValue", _W, "an indicator holds a code that is not defined")
INVALID_INDICATOR = _issue(_I, "invalidIndicator", _E, "an indicator is not one character, or none of 0-9, a-z and blank")
NONFILING = _issue(_I, "nonfilingCharacters", _N, "the number of nonfiling characters does not fit the title's first word")

MISSING_SUBFIELD = _issue(_S, "missingSubfield", _E, "a required subfield is missing")
REPEATED_SUBFIELD = _issue(_S, "nonRepeatableSubfield", _E, "a subfield that must not be repeated stands more than once in its field")
UNDEFINED_SUBFIELD = _issue(_S, "undefinedSubfield", _W, "a subfield that MARC 21 does not define")
DEPRECATED_SUBFIELD = _issue(_S, "deprecatedSubfield", _W, "an obsolete subfield")
NULL_CODE = _issue(_S, "nullCode", _W, "a subfield code that is missing, or is neither a letter a-z nor a digit")
EMPTY_SUBFIELD = _issue(_S, "emptySubfield", _W, "a subfield without text")
FORBIDDEN_SUBFIELD = _issue(_S, "forbiddenSubfield", _E, "a subfield that the policy forbids")
INVALID_LENGTH = _issue(_S, "invalidLength", _W, "a coded value that is too short or too long")
INVALID_REFERENCE = _issue(_S, "invalidReference", _W, "indicator and $2 do not agree about the source of a term or number")
PATTERN_MISMATCH = _issue(_S, "patternMismatch", _W, "a value does not have the form it must have")
INVALID_ISBN = _issue(_S, "invalidISBN", _W, "an ISBN with a wrong check digit or number of digits")
ISBN_FORM = _issue(_S, "isbnForm", _N, "a right ISBN in the wrong place, or written with something around it")
INVALID_ISSN = _issue(_S, "invalidISSN", _W, "an ISSN with a wrong check digit or form")
INVALID_LCCN = _issue(_S, "invalidLccnSubfieldValue", _E, "010 $a is no LC control number")
LCCN_FORM = _issue(_S, "lccnForm", _W, "an LC control number that is not written in its 12 characters")
UNPARSABLE = _issue(_S, "unparsableContent", _W, "$6 or $8 cannot be understood")
INVALID_VALUE = _issue(_S, "invalidValue", _W, "a code that is not in its list")
DEPRECATED_VALUE = _issue(_S, "deprecatedValue", _W, "a code that is obsolete in its list")
MALFORMED_LINK = _issue(_S, "malformedLink", _W, "$0 or $9 is neither an address nor a number of a known form")
STRAY_DELIMITER = _issue(
    _S, "strayDelimiter", _E, "a delimiter of ISO 2709 (0x1D, 0x1E, 0x1F) within data: the record would fall apart when written"
)
CONTROL_CHARACTER = _issue(_S, "controlCharacter", _W, "a control character within text")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with one record."""

    category: str
    code: str
    severity: Severity
    path: str
    """Where: ``245$a``, ``100[1]$d`` (the first of several 100), ``245^1`` (an indicator), ``008/35-37``, ``LDR/06``."""
    message: str
    """A sentence for a cataloguer. It never repeats a value."""
    value: str = ""
    """The value, or its shape where the value may be personal; empty where none matters."""
    link: str = ""
    """The page of the MARC 21 format that describes the field; empty where there is none."""

    @property
    def key(self) -> str:
        """``category/code``."""
        return f"{self.category}/{self.code}"

    def __str__(self) -> str:
        return f"{self.severity}: {self.path}: {self.message}"


def shape(value: str) -> str:
    """What a value looks like, without what it says: letters become a and A, digits 9.

    >>> shape("Jane Doe, 29001234")
    'Aaaa Aaa, 99999999'
    """
    shown = value[:LONGEST_SHAPE]
    out = "".join(
        "9"
        if char.isdigit()
        else ("A" if char.isupper() else "a")
        if char.isalpha()
        else char
        if char.isascii() and char.isprintable()
        else "·"
        for char in shown
    )
    return out + ("…" if len(value) > LONGEST_SHAPE else "")


def clipped(value: str) -> str:
    """A value for a finding: not too long, and without what a screen cannot show."""
    shown = value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"
    return shown if shown.isprintable() else "".join(char if char.isprintable() else "·" for char in shown)


@lru_cache(maxsize=2048)
def link(format_name: FormatName, tag: str) -> str:
    """The page of the format documentation for a field; that of its group for local fields; empty when there is none."""
    if tag in _HOLDINGS_PAGES and format_name != "authority":
        return f"{SITE}/holdings/hd{_HOLDINGS_PAGES[tag]}.html"
    letter = {"bibliographic": "bd", "holdings": "hd", "authority": "ad"}[format_name]
    if tag == "LDR":
        return f"{SITE}/{format_name}/{letter}leader.html"
    if tag in formats()[format_name].fields:
        return f"{SITE}/{format_name}/{letter}{tag}.html"
    if len(tag) == 3 and tag.isdigit() and format_name == "bibliographic" and tag[0] == "9":
        return f"{SITE}/bibliographic/bd9xx.html"
    return f"{SITE}/{format_name}/"


# Several holdings fields share a page.
_HOLDINGS_PAGES: Final = {
    **{tag: tag for tag in ("841", "842", "843", "844", "845")},
    **dict.fromkeys(("853", "854", "855"), "853855"),
    **dict.fromkeys(("863", "864", "865"), "863865"),
    **dict.fromkeys(("866", "867", "868"), "866868"),
    **dict.fromkeys(("876", "877", "878"), "876878"),
}
