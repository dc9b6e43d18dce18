"""The characters of a record: delimiters and control characters within data, text decoded wrongly, text not in form C.

A record whose characters are all right, nearly every one, is recognised by looking once at all of its text together.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from flows.validation.findings import CONTROL_CHARACTER, STRAY_DELIMITER
from flows.validation.notes import Note

DELIMITERS: Final = re.compile("[\x1d\x1e\x1f]")
# C0 and C1 without the four that MARC 21 uses in text: non-sorting begin and end, and, as Unicode, joiner and non-joiner.
CONTROLS: Final = re.compile("[\x00-\x1c\x7f-\x97\x99-\x9b\x9d-\x9f\ufffe\uffff]")
UNWANTED: Final = re.compile(f"{CONTROLS.pattern[:-1]}\x1d-\x1f]")
REPLACEMENT: Final = "\ufffd"
# UTF-8 that was read as Latin-1 or Windows-1252: a lead byte and a continuation byte, seen as characters.
MISREAD_LEADS: Final = ("\u00c2", "\u00c3", "\u00c4", "\u00c5", "\u00e2\u20ac")
MISREAD: Final = re.compile(
    "[\u00c3-\u00c5][\u0080-\u00aa\u00ac-\u00ba\u00bc-\u00bf]|\u00c3[\u20ac\u0192\u2026\u2020\u2021\u02c6\u2030\u0160\u0152\u0161\u0153\u017e\u0178]|\u00e2\u20ac|\u00c2[\u00a0-\u00aa\u00ac-\u00ba\u00bc-\u00bf]"
)


def is_plain(text: str) -> bool:
    """Is there nothing to look at? True for text of ASCII without control characters, and for most other text."""
    if text.isascii():
        return text.isprintable()
    return not UNWANTED.search(text) and not is_misread(text) and unicodedata.is_normalized("NFC", text)


def character_notes(value: str, suffix: str) -> list[Note]:
    """Notes on delimiters and control characters in one value."""
    notes = []
    if DELIMITERS.search(value):
        notes.append(Note(STRAY_DELIMITER, suffix, "A delimiter of ISO 2709 (0x1D, 0x1E or 0x1F) stands within the text.", value))
    if CONTROLS.search(value):
        notes.append(Note(CONTROL_CHARACTER, suffix, "A control character, such as a tab or a line break, stands within the text.", value))
    return notes


def is_misread(value: str) -> bool:
    """Was the text decoded with the wrong encoding?"""
    if REPLACEMENT in value:
        return True
    for lead in MISREAD_LEADS:  # looking for a character is far cheaper than an expression
        if lead in value:
            return MISREAD.search(value) is not None
    return False
