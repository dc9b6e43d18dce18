"""Our issue types beside those of qa-catalogue and FOLIO, for people who come from there.

Sources: ``ValidationErrorType`` of pkiraly/qa-catalogue (24 types in five categories); ``MarcRuleCode`` of
folio-org/mod-record-specifications (12 codes) and the severities its validators give.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

QA_CATALOGUE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "record/undetectableType": ("record/undetectableType",),
        "record/invalidLinkage": ("record/invalidLinkage",),
        "record/ambiguousLinkage": ("record/ambiguousLinkage",),
        "record/parsingError": ("record/parsingError", "record/unreadable"),
        "control field/obsoleteControlPosition": ("controlField/obsoleteControlPosition",),
        "control field/controlValueContainsInvalidCode": ("controlField/controlValueContainsInvalidCode",),
        "control field/invalidValue": ("controlField/invalidValue", "controlField/invalidLength"),
        "data field/missingSubfield": ("dataField/missingSubfield",),
        "data field/nonrepeatableField": ("dataField/nonRepeatableField", "controlField/nonRepeatableField"),
        "data field/undefinedField": ("dataField/undefinedField", "controlField/undefinedField"),
        "indicator/obsoleteIndicator": ("indicator/obsoleteIndicator",),
        "indicator/nonEmptyIndicator": ("indicator/nonEmptyIndicator",),
        "indicator/invalidValue": ("indicator/invalidValue",),
        "subfield/undefinedSubfield": ("subfield/undefinedSubfield", "subfield/deprecatedSubfield"),
        "subfield/invalidLength": ("subfield/invalidLength",),
        "subfield/invalidReference": ("subfield/invalidReference",),
        "subfield/patternMismatch": ("subfield/patternMismatch",),
        "subfield/nonrepeatableSubfield": ("subfield/nonRepeatableSubfield",),
        "subfield/invalidISBN": ("subfield/invalidISBN",),
        "subfield/invalidISSN": ("subfield/invalidISSN",),
        "subfield/unparsableContent": ("subfield/unparsableContent",),
        "subfield/nullCode": ("subfield/nullCode",),
        "subfield/invalidValue": ("subfield/invalidValue",),
        "subfield/deprecatedValue": ("subfield/deprecatedValue",),
    }
)
"""``category/code`` of qa-catalogue to the types that find the same."""

FOLIO: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "undefinedField": ("dataField/undefinedField", "controlField/undefinedField"),
        "missingField": ("dataField/missingField", "controlField/missingField"),
        "invalidFieldTag": ("dataField/invalidFieldTag",),
        "nonRepeatable1XXField": ("dataField/nonRepeatable1XXField",),
        "nonRepeatableRequired1XXField": ("dataField/nonRepeatableRequired1XXField",),
        "nonRepeatableField": ("dataField/nonRepeatableField", "controlField/nonRepeatableField"),
        "undefinedIndicatorCode": ("indicator/invalidValue", "indicator/nonEmptyIndicator", "indicator/obsoleteIndicator"),
        "invalidIndicator": ("indicator/invalidIndicator",),
        "missingSubfield": ("subfield/missingSubfield",),
        "undefinedSubfield": ("subfield/undefinedSubfield", "subfield/nullCode"),
        "nonRepeatableSubfield": ("subfield/nonRepeatableSubfield",),
        # FOLIO refuses every LCCN that is not in its 12 characters; ours is an error only when it is none at all.
        "invalidLccnSubfieldValue": ("subfield/invalidLccnSubfieldValue", "subfield/lccnForm"),
    }
)
"""Codes of FOLIO's rules to the types that find the same."""

FOLIO_ERRORS: Final = frozenset(FOLIO) - {"undefinedField", "undefinedIndicatorCode", "undefinedSubfield"}
"""Those that prevent saving; the others warn."""
