"""What looks like a person within a value: patron barcodes, e-mail addresses, what circulation staff write in notes.

A pattern is a regular expression with a name. E-mail addresses and barcodes are looked for in every passing value,
phrases only in notes and the like, because titles speak of borrowers and patrons, too. Nothing here keeps or logs a
value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from harvester.secrets import SecretRef

# Codabar numbers of 14 digits: 2 is a patron's card, 3 an item's.
BARCODE: Final = r"(?<![0-9])2[0-9]{13}(?![0-9])"
EMAIL: Final = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
PHRASE: Final = (
    r"\b(?:borrowed (?:by|from .{0,40} by)|borrower(?:'s)?\s*(?:id|name|number|no\b|card|barcode|[:#])|checked[ -]out (?:to|by)"
    r"|charged (?:out )?to|on loan to|loaned to|lent to|returned by|lost by|damaged by"
    r"|patron(?:'s)?\s*(?:id|name|number|no\b|card|barcode|record|[:#])|library card|reader(?:'?s'?)? ticket|overdue notice"
    r"|(?:on )?hold(?: placed)? (?:for|by)|reserved (?:for|by) (?:patron|borrower|reader))"
)
DEFAULTS: Final[Mapping[str, str]] = MappingProxyType({"barcode": BARCODE, "email": EMAIL, "phrase": PHRASE})
# A record without any of these needs no search for the default phrases: looking for a word is far cheaper than an expression.
PHRASE_WORDS: Final = (
    "borrow", "checked out", "checked-out", "charged to", "charged out", "on loan to", "loaned to", "lent to", "returned by",
    "lost by", "damaged by", "patron", "library card", "s ticket", "s' ticket", "r ticket", "overdue notice", "hold for", "hold by",
    "hold placed", "reserved for", "reserved by",
)  # fmt: skip
NO_NOTES: Final = re.compile(
    r"1..|2[0-4].|6..|7..|80.|81.|830"
)  # fields of names, titles and subjects, where phrases are no sign of a person


class Treatment(StrEnum):
    """What becomes of a value in which a patron was found."""

    DROP = "drop"
    TOKENISE = "tokenise"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacyRules:
    """How personal data is looked for, and what becomes of it."""

    tokens: Treatment = Treatment.DROP
    key: SecretRef | None = None
    """Where the key of the tokens is kept; without a key, everything found is dropped."""
    patterns: Mapping[str, str] = field(default_factory=lambda: DEFAULTS)
    """Regular expressions by name; ``phrase`` is searched in notes only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """A place in a value that looks like a person."""

    name: str
    """The pattern's name."""
    whole: bool
    """Does the whole value belong to it? A phrase announces a name that no pattern knows."""
    span: tuple[int, int]


class Detector:
    """Finds what looks personal."""

    def __init__(self, patterns: Mapping[str, str] = DEFAULTS) -> None:
        self._patterns = {name: re.compile(text, re.IGNORECASE if name == "phrase" else 0) for name, text in patterns.items()}
        self._ordinary = patterns.get("phrase") in (None, PHRASE)
        self._needs_at = patterns.get("email") == EMAIL
        self._digits = re.compile(r"2[0-9]{13}") if patterns.get("barcode") == BARCODE else None
        self._own = [compiled for name, compiled in self._patterns.items() if name not in DEFAULTS or patterns[name] != DEFAULTS[name]]

    def suspects(self, text: str) -> bool:
        """May anything be found in it? False is certain; meant for all values of a record together."""
        if self._needs_at and "@" in text:
            return True
        if self._digits is not None and self._digits.search(text):
            return True
        if self._ordinary and "phrase" in self._patterns:
            lowered = text.lower()
            for word in PHRASE_WORDS:
                if word in lowered:
                    return True
        return any(pattern.search(text) for pattern in self._own)

    def signs(self, value: str, tag: str = "") -> list[Sign]:
        """All places in one value, in order; phrases not in fields of names, titles and subjects."""
        found = []
        for name, pattern in self._patterns.items():
            if name == "phrase" and NO_NOTES.fullmatch(tag):
                continue
            found += [Sign(name=name, whole=name == "phrase", span=match.span()) for match in pattern.finditer(value) if match[0]]
        return sorted(found, key=lambda each: each.span)

    def looks_personal(self, value: str) -> bool:
        """Does anything in it look like a person?"""
        return self.suspects(value) and bool(self.signs(value))
