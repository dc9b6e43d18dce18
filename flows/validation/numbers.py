"""ISBN, ISSN and LCCN: check digits and forms.

Sources: ISO 2108 (ISBN), ISO 3297 (ISSN), "LCCN Namespace" and "Structure of the LC Control Number" of the Library of
Congress.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

HYPHENS: Final = re.compile("[-\u2010-\u2013\u2212]")
ISBN: Final = re.compile(r"[0-9]{9}[0-9Xx]|[0-9]{13}")
ISBN_START: Final = re.compile(r"[0-9Xx-]+")
ISSN: Final = re.compile(r"[0-9]{4}-[0-9]{3}[0-9Xx]")
LCCN: Final = re.compile(r"(?: {3}|[a-z][ a-z]{2})[0-9]{8} |(?: {2}|[a-z][ a-z])[0-9]{10}")
LCCN_NORMAL: Final = re.compile(r"[a-z]{0,3}[0-9]{8}|[a-z]{0,2}[0-9]{10}")
LCCN_HYPHEN: Final = re.compile(r"([a-z ]{0,3}[0-9]{2,4})-([0-9]{1,6})")


class Form(Enum):
    """What a number turned out to be."""

    RIGHT = "right"
    MALFORMED = "malformed"
    """Not as many digits as it must have, or something that is no digit."""
    WRONG_CHECK_DIGIT = "wrong check digit"
    UNUSUAL = "unusual"
    """It can be understood, but is not written as the format says."""


def isbn(text: str) -> Form:
    """An ISBN of 10 or 13 digits, hyphens allowed, without anything around it."""
    digits = HYPHENS.sub("", text)
    if not ISBN.fullmatch(digits):
        return Form.MALFORMED
    if len(digits) == 10:
        total = sum((10 - at) * (10 if digit in "Xx" else int(digit)) for at, digit in enumerate(digits))
        return Form.WRONG_CHECK_DIGIT if total % 11 else Form.RIGHT
    if not digits.startswith(("978", "979")):
        return Form.MALFORMED
    total = sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits))
    return Form.WRONG_CHECK_DIGIT if total % 10 else Form.RIGHT


def issn(text: str) -> Form:
    """An ISSN, with its hyphen; UNUSUAL without."""
    plain = text.strip()
    form = Form.RIGHT
    if re.fullmatch(r"[0-9]{7}[0-9Xx]", plain):
        plain, form = f"{plain[:4]}-{plain[4:]}", Form.UNUSUAL
    if not ISSN.fullmatch(plain):
        return Form.MALFORMED
    digits = plain.replace("-", "")
    total = sum((8 - at) * (10 if digit in "Xx" else int(digit)) for at, digit in enumerate(digits))
    return Form.WRONG_CHECK_DIGIT if total % 11 else form


def lccn(text: str) -> Form:
    """An LC control number in one of its two structures of 12 characters; UNUSUAL when only blanks, a hyphen or a suffix differ."""
    if LCCN.fullmatch(text):
        return Form.RIGHT
    plain = text.partition("/")[0].strip()
    if hyphenated := LCCN_HYPHEN.fullmatch(plain):
        plain = hyphenated[1] + hyphenated[2].zfill(6)
    return Form.UNUSUAL if LCCN_NORMAL.fullmatch(plain.replace(" ", "")) else Form.MALFORMED
