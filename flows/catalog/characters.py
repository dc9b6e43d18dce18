"""Bytes of ISO 2709 fields as text: UTF-8, MARC-8, and what claims to be one and is the other.

MARC-8 keeps two sets of graphic characters at hand (G0 for bytes 21-7E, G1 for A1-FE) and changes them by escape
sequences; combining characters stand before their letter, EACC characters are three bytes wide. The result is in form
C. A combining character without a letter after it is kept, an unknown code becomes U+FFFD and is counted: nothing is
dropped. The code tables are pymarc's, which were made from those of the Library of Congress; the walk over them is our
own, because pymarc's loses trailing combining characters and does not know ``ESC $ ) 1`` and ``ESC ) ! E``.

Source: MARC 21 Specifications for Record Structure, Character Sets, and Exchange Media, MARC-8 Environment (2007).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Final

from pymarc import marc8_mapping

ESCAPE: Final = 0x1B
BASIC_LATIN: Final = 0x42
ANSEL: Final = 0x45
EACC: Final = 0x31
TO_G0: Final = frozenset(b"(,")
TO_G1: Final = frozenset(b")-")
SHORT: Final = {0x67: 0x67, 0x62: 0x62, 0x70: 0x70, 0x73: BASIC_LATIN}  # ESC g, b, p: Greek symbols, sub-, superscripts; s: back
# Control characters of MARC-8 that have a meaning in text: non-sorting begin and end, joiner, non-joiner.
CONTROLS: Final = {0x88: "\u0098", 0x89: "\u009c", 0x8D: "\u200d", 0x8E: "\u200c"}
UNKNOWN: Final = "\ufffd"


@cache
def table(charset: int) -> Mapping[int, tuple[str, bool]]:
    """Code -> character and whether it combines; codes of one byte are those of G0 (high bit off)."""
    given: Mapping[int, tuple[int, int]] = marc8_mapping.CODESETS.get(charset, {})
    if charset == EACC:
        odd = {code: (chr(char), False) for code, char in marc8_mapping.ODD_MAP.items()}
        return odd | {code: (chr(char), bool(combines)) for code, (char, combines) in given.items()}
    return {code & 0x7F: (chr(char), bool(combines)) for code, (char, combines) in given.items() if code & 0x7F > 0x20}


def from_marc8(data: bytes) -> tuple[str, int]:
    """The text of one field, and how many codes were unknown. Sets change back to Basic Latin and ANSEL with every field."""
    if data.isascii() and ESCAPE not in data:
        return data.decode("ascii"), 0
    sets = [BASIC_LATIN, ANSEL]
    out: list[str] = []
    waiting: list[str] = []  # combining characters, until their letter comes
    unknown = at = 0
    while at < len(data):
        byte = data[at]
        if byte == ESCAPE:
            length, which, charset = escape(data, at)
            if length:
                sets[which] = charset
                at += length
                continue
        if byte <= 0x20 or byte in (0x7F, 0x80, 0xA0, 0xFF) or 0x80 < byte < 0xA0:
            char = CONTROLS.get(byte) or (UNKNOWN if byte >= 0x7F or byte == ESCAPE else chr(byte))
            unknown += char == UNKNOWN
            at += 1
            if byte in (0x1F, 0x1E):  # a new subfield: a letter is not coming any more, and the sets are the first ones again
                out += waiting
                waiting.clear()
                sets = [BASIC_LATIN, ANSEL]
            out.append(char)
            out += waiting
            waiting.clear()
            continue
        charset = sets[byte > 0x7F]
        width = 3 if charset == EACC else 1
        code = int.from_bytes(bytes(each & 0x7F for each in data[at : at + width]), "big")
        found = table(charset).get(code)
        if found is None and width == 3 and not all(0x21 <= each & 0x7F <= 0x7E for each in data[at : at + 3]):
            width = 1  # damaged: the next byte may be an escape
        at += width
        if found is None:
            unknown += 1
            found = (UNKNOWN, False)
        char, combines = found
        if combines:
            waiting.append(char)
        else:
            out.append(char)
            out += waiting
            waiting.clear()
    return unicodedata.normalize("NFC", "".join(out + waiting)), unknown


def escape(data: bytes, at: int) -> tuple[int, int, int]:
    """Length of the escape sequence at a place, the set it changes (0 is G0) and the new charset; length 0 when it is none."""
    after = data[at + 1 : at + 5]
    if after[:1] and after[0] in SHORT:
        return 2, 0, SHORT[after[0]]
    which, used = 0, 1
    several = after[:1] == b"$"
    if several:
        after = after[1:]
        used += 1
    if after[:1] and (after[0] in TO_G0 or after[0] in TO_G1):
        which = int(after[0] in TO_G1)
        after = after[1:]
        used += 1
    elif not several:
        return 0, 0, 0
    if after[:1] == b"!":  # second intermediate character of ANSEL's sequence
        after = after[1:]
        used += 1
    if after[:1] and after[0] in marc8_mapping.CODESETS:
        return used + 1, which, after[0]
    return 0, 0, 0


def looks_like_utf8(data: bytes) -> bool:
    """Whether bytes above 7F are there and all of them are UTF-8; MARC-8 that is also UTF-8 is practically never met."""
    if data.isascii():
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
