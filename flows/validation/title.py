"""The title field: ISBD punctuation of 245, its order of subfields, and nonfiling characters, all of severity info.

The rules are those of MARC::Lint 1.53, put in our own words; its check of initial articles knows no languages, ours asks
008/35-37. Sources: ISBD; MARC 21 245; LCPS 1.7.1; "Initial Definite and Indefinite Articles" of the Library of Congress.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from flows.catalog.model import DataField
from flows.validation.findings import NONFILING, PUNCTUATION, SUBFIELD_ORDER
from flows.validation.notes import Note

SPACED_INITIALS: Final = re.compile(r"\b\w\. \b\w\.")
MEDIUM: Final = re.compile(r"\[[^\[\]]+\]")
OPENING: Final = "\"'[(*‘’“”«„¡¿ʻʼ`"
WORD: Final = re.compile(r"[^\s()\[\]'\"’ʻʼ‘“”«»-]+")
LINKED: Final = frozenset("0123456789")  # subfields of control, which do not end the title

# Initial articles by language code. Forms that end in an apostrophe or hyphen are kept without it.
ARTICLES: Final[dict[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "afr": "die n",
        "ara": "al el",
        "cat": "el els en l la les lo los na un una",
        "dan": "de den det en et",
        "dut": "de een eene het n t",
        "eng": "a an the",
        "epo": "la l",
        "fre": "l la le les un une",
        "ger": "das dem den der des die ein eine einem einen einer eines",
        "glg": "a as o os unha un",
        "gre": "hai he ho ta to",
        "heb": "ha ho",
        "hun": "a az egy",
        "ice": "hinn hin hið",
        "ita": "gl gli i il l la le lo un una uno",
        "lat": "",
        "mlt": "il l",
        "nor": "de dei den det ei ein eit en et",
        "por": "a as o os um uma umas uns",
        "rum": "o un",
        "scc": "",
        "spa": "el la las lo los un una unas unos",
        "swe": "de den det en ett",
        "wel": "y yr",
        "yid": "a an der di dos",
    }.items()
}
ANY_ARTICLE: Final = frozenset().union(*ARTICLES.values())
# Titles that begin with such a word as a name or a letter, not as an article.
NO_ARTICLE: Final = re.compile(
    r"a ?& ?|a[-+]|a (?:is|isn't|l'|la|posteriori|priori|to) |a (?:posteriori|priori)|el (?:ni[nñ]o|salvador)|l is |l-|la salle|las vegas"
    r"|lo (?:cual|mein|que)|los (?:alamos|angeles)",
    re.IGNORECASE,
)


def title_notes(field: DataField, language: str) -> tuple[Note, ...]:
    """Notes on a 245, or an 880 that stands for one. `language` is 008/35-37, empty where it is not known."""
    return (*_order(field), *_punctuation(field), *_nonfiling(field, language))


def _order(field: DataField) -> Iterator[Note]:
    codes = [code for code, _ in field.subfields]
    if "6" in codes and codes[0] not in "68":
        yield Note(SUBFIELD_ORDER, "$6", "$6 must be the first subfield.")
    rest = [code for code in codes if code not in LINKED]
    if not rest:
        yield Note(SUBFIELD_ORDER, "", "The title field has only subfields of control.")
    elif rest[0] not in "ak":  # $k opens the titles of archival records
        yield Note(SUBFIELD_ORDER, f"${rest[0]}", "The first subfield must be $a.")


def _punctuation(field: DataField) -> Iterator[Note]:
    told = [(code, value) for code, value in field.subfields if code not in LINKED]
    if not told:
        return
    last_code, last = told[-1]
    if last[-1:] not in (".", "?", "!") and last[-2:] not in (".]", "?]", "!]", '."', ".)"):
        yield Note(PUNCTUATION, f"${last_code}", "The title field must end with a full stop.")
    elif last[-1:] in ("?", "!"):
        yield Note(PUNCTUATION, f"${last_code}", "MARC 21 allows ? and ! at the end, but LCPS 1.7.1 asks for a full stop after them.")
    before_code, before = "", ""
    for code, value in told:
        if before_code:
            if code == "c" and not before.endswith(" /"):
                yield Note(PUNCTUATION, "$c", "A statement of responsibility must follow a blank and a slash.")
            elif code == "b" and before[-2:] not in (" :", " ;", " ="):
                yield Note(PUNCTUATION, "$b", "$b must follow a blank and a colon, semicolon or equals sign.")
            elif code == "h" and before.endswith(" ") and not before.endswith("-- "):
                yield Note(PUNCTUATION, "$h", "No blank may stand before $h.")
            elif code == "n" and not _ends(before, "."):
                yield Note(PUNCTUATION, "$n", "$n must follow a full stop.")
            elif code == "p" and before_code == "n" and not _ends(before, ","):
                yield Note(PUNCTUATION, "$p", "$p must follow a comma when it follows $n.")
            elif code == "p" and before_code != "n" and not _ends(before, "."):
                yield Note(PUNCTUATION, "$p", "$p must follow a full stop when it follows another subfield than $n.")
        if code == "h" and not MEDIUM.match(value):
            yield Note(PUNCTUATION, "$h", "The medium must stand in square brackets.")
        if code == "c" and SPACED_INITIALS.search(value) and "[i.e. " not in value:
            yield Note(PUNCTUATION, "$c", "No blank may stand between initials.")
        before_code, before = code, value


def _ends(text: str, sign: str) -> bool:
    """Does a sign follow directly, or after the dash that stands for an omission?"""
    return text.endswith(sign) and (text[-2:-1] not in ("", " ") or text.endswith(f"-- {sign}"))


def _nonfiling(field: DataField, language: str) -> Iterator[Note]:
    title = field.first("a") or ""
    if not title:
        return
    if field.ind2 not in tuple("0123456789"):
        yield Note(NONFILING, "^2", "The number of nonfiling characters is no number.", field.ind2)
        return
    said = _nonfiling_said(title[:80], int(field.ind2), language)
    if said:
        yield Note(NONFILING, "^2", said, field.ind2)


@lru_cache(maxsize=256)
def _expected(word: str, language: str) -> bool:
    """Is the word an article of the language, or of English where no language is known?"""
    return word in ARTICLES.get(language, ARTICLES["eng"] if not language.isalpha() else frozenset())


def _nonfiling_said(title: str, skipped: int, language: str) -> str:
    opening = len(title) - len(title.lstrip(OPENING))
    found = WORD.match(title, opening)
    word = found[0].lower() if found else ""
    after = found.end() if found else opening
    tail = len(title) - after - len(title[after:].lstrip(" -" + OPENING + ")]"))
    length = after + tail
    if skipped == 0:
        if word and tail and _expected(word, language) and not NO_ARTICLE.match(title, opening):
            return f"The title begins with what may be an article; if so, the indicator must be {min(length, 9)}."
        return ""
    if skipped == opening:  # only signs are skipped
        return ""
    if word not in ANY_ARTICLE:
        return "Characters are skipped in filing, but the title does not begin with an article."
    return (
        ""
        if skipped in (length, after + 1, after)
        else f"The article and what follows it are {length} characters, which the indicator does not say."
    )
