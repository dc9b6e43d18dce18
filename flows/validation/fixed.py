"""Leader, 005, 006, 007 and 008, position by position, by type of material.

A regular expression per field and material says at once that everything is right, which is the common case; only
otherwise is each position looked at. Source: MARC 21 format documentation of each field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Final

from flows.validation.codes import Standing, code_list
from flows.validation.facts import EVERY, FormatName, Position, formats
from flows.validation.findings import (
    CONTROL_LENGTH,
    CONTROL_VALUE,
    INVALID_POSITION,
    LEADER_LENGTH,
    OBSOLETE_POSITION,
)
from flows.validation.notes import Note

LEADER_LENGTH_IS: Final = 24
LENGTH_006: Final = 18
LENGTH_008: Final[dict[FormatName, int]] = {"bibliographic": 40, "holdings": 32, "authority": 40}
SHORT_007: Final = {"c": (6,), "m": (8,), "d": (5,)}  # lengths that older records rightly have besides the full one
NOT_JUDGED: Final = ("00-04", "12-16", "20", "21", "22", "23")  # 20-23 is judged as a whole
FILL: Final = "|"
TIMESTAMP: Final = re.compile(r"[12]\d{3}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-4])[0-5]\d[0-5]\d\.\d", re.ASCII)
DAY: Final = re.compile(r"\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)

# leader/06, and for language material leader/07, to the material whose 008 it has (008, general information).
MATERIALS: Final = {
    **dict.fromkeys("at", "Books"),
    **dict.fromkeys("cdij", "Music"),
    **dict.fromkeys("ef", "Maps"),
    **dict.fromkeys("gkor", "Visual Materials"),
    "m": "Computer Files",
    "p": "Mixed Materials",
    "b": "Mixed Materials",  # obsolete: archival and manuscripts control
    "h": "Books",  # obsolete: microform publications
    "n": "Visual Materials",  # obsolete: special instructional material
}
MATERIALS_006: Final = {**dict.fromkeys("at", "Books"), **MATERIALS, "s": "Continuing Resources"}
SERIAL_LEVELS: Final = frozenset("bis")


def format_of(leader: str) -> FormatName | None:
    """The format that leader/06 names; None when it names none."""
    kind = leader[6:7]
    if kind in MATERIALS and kind:
        return "bibliographic"
    if kind in ("u", "v", "x", "y"):
        return "holdings"
    return "authority" if kind == "z" else None


def material_of(leader: str) -> str:
    """The type of material whose 008 a bibliographic record has."""
    if leader[6] == "a" and leader[7:8] in SERIAL_LEVELS:
        return "Continuing Resources"
    return MATERIALS.get(leader[6], "Books")


@lru_cache(maxsize=4096)
def leader_notes(leader: str, format_name: FormatName) -> tuple[Note, ...]:
    """Notes on a leader; leader/00-04 and 12-16 describe a file, and their reader judges them."""
    if len(leader) != LEADER_LENGTH_IS:
        return (Note(LEADER_LENGTH, "", f"The leader has {len(leader)} characters instead of {LEADER_LENGTH_IS}.", leader),)
    return tuple(_by_position(leader, formats()[format_name].fields["LDR"].material(EVERY), skip=NOT_JUDGED))


@lru_cache(maxsize=1024)
def timestamp_notes(value: str) -> tuple[Note, ...]:
    """Notes on a 005."""
    if TIMESTAMP.fullmatch(value):
        return ()
    return (Note(CONTROL_VALUE, "", "The date and time must be written yyyymmddhhmmss.f, such as 20240131120000.0.", value),)


def notes_008(value: str, format_name: FormatName, material: str) -> Sequence[Note]:
    """Notes on an 008: length, date of entry, positions, and the codes for country and language."""
    if _ready("008", format_name, material).fullmatch(value):
        return _coded_008(value, format_name)
    length = LENGTH_008[format_name]
    if len(value) != length:
        return (Note(CONTROL_LENGTH, "", f"008 has {len(value)} characters instead of {length}; its positions cannot be read.", value),)
    notes = list(_by_position(value, _positions("008", format_name, material)))
    if not DAY.fullmatch(value[:6]):
        notes.append(Note(CONTROL_VALUE, "/00-05", "The date entered on file must be a date written yymmdd.", value[:6]))
    return (*notes, *_coded_008(value, format_name))


def notes_006(value: str) -> Sequence[Note]:
    """Notes on a 006; its first position says for which material it is."""
    material = MATERIALS_006.get(value[:1])
    if material is None or value[:1] in "bhn":
        return (Note(INVALID_POSITION, "/00", f"006/00 holds {_spoken(value[:1])}, which is no form of material.", value[:1]),)
    if _ready("006", "bibliographic", material).fullmatch(value):
        return ()
    if len(value) != LENGTH_006:
        return (Note(CONTROL_LENGTH, "", f"006 has {len(value)} characters instead of {LENGTH_006}.", value),)
    return tuple(_by_position(value, _positions("006", "bibliographic", material)))


@lru_cache(maxsize=4096)
def notes_007(value: str) -> Sequence[Note]:
    """Notes on a 007; its first position says for which category of material it is."""
    material = _categories().get(value[:1])
    if material is None:
        return (Note(INVALID_POSITION, "/00", f"007/00 holds {_spoken(value[:1])}, which is no category of material.", value[:1]),)
    positions = _positions("007", "bibliographic", material)
    length = positions[-1].last + 1
    if len(value) != length and len(value) not in SHORT_007.get(value[0], ()):
        return (Note(CONTROL_LENGTH, "", f"007 for {material.lower()} has {len(value)} characters instead of {length}.", value),)
    return tuple(_by_position(value, [each for each in positions if each.last < len(value)]))


@cache
def _categories() -> dict[str, str]:
    """The first character of a 007 to the category."""
    field = formats()["bibliographic"].fields["007"]
    return {char: name for name in field.materials for char in field.material(name)[0].characters}


@cache
def _positions(tag: str, format_name: FormatName, material: str) -> tuple[Position, ...]:
    """All positions that a field of this material has."""
    field = formats()[format_name].fields[tag]
    general = field.material("All Materials") or field.material(EVERY)
    return (*general, *(field.material(material) if material != EVERY else ())) if tag == "008" else field.material(material)


@cache
def _ready(tag: str, format_name: FormatName, material: str) -> re.Pattern[str]:
    """An expression that a field with nothing to note matches."""
    positions = sorted((each for each in _positions(tag, format_name, material) if not each.obsolete), key=lambda each: each.first)
    parts = []
    for position in positions:
        width = position.last - position.first + 1
        if position.characters:
            parts.append(f"[{re.escape(''.join(sorted(position.characters)))}]{{{width}}}")
        elif position.values:
            parts.append(f"(?:{'|'.join(map(re.escape, sorted(position.values)))})")
        elif position.is_undefined:
            parts.append(f"[ |]{{{width}}}")
        elif position.first == 0 and width == 6:
            parts.append(f"(?:{DAY.pattern})")
        else:
            parts.append(f"[^\\n]{{{width}}}")
    return re.compile("".join(parts), re.ASCII)


def _by_position(value: str, positions: Sequence[Position], *, skip: tuple[str, ...] = ()) -> Iterator[Note]:
    """A note for each group of positions that does not hold what it may."""
    for position in positions:
        if position.obsolete or position.place in skip:
            continue
        text = value[position.first : position.last + 1]
        if position.values:
            wrong = [] if text in position.values else [text]
        elif position.characters:
            wrong = [char for char in dict.fromkeys(text) if char not in position.characters]
        elif position.is_undefined:
            wrong = [char for char in dict.fromkeys(text) if char not in (" ", FILL)]
        else:
            continue
        for each in wrong:
            if each in position.past or _was_defined(each, position, positions):
                said = f"{position.label} holds {_spoken(each)}, a code that is obsolete."
                yield Note(OBSOLETE_POSITION, f"/{position.place}", said, text)
            elif position.is_undefined:
                yield Note(
                    INVALID_POSITION,
                    f"/{position.place}",
                    f"The positions are not defined and must be blank, but hold {_spoken(each)}.",
                    text,
                )
            else:
                yield Note(INVALID_POSITION, f"/{position.place}", f"{position.label} holds {_spoken(each)}, which is not defined.", text)


def _was_defined(code: str, position: Position, positions: Sequence[Position]) -> bool:
    """Did an obsolete element at the same place have this code?"""
    return any(
        each.obsolete
        and each.first <= position.last
        and each.last >= position.first
        and code in (each.characters | each.values | each.past)
        for each in positions
    )


def _coded_008(value: str, format_name: FormatName) -> Sequence[Note]:
    """Notes on the codes for place and language; nothing for authority records, which have none."""
    if format_name == "bibliographic":
        return (*_code(value[15:18], "/15-17", "country"), *_code(value[35:38], "/35-37", "language"))
    return _code(value[22:25], "/22-24", "language") if format_name == "holdings" else ()


@lru_cache(maxsize=2048)
def _code(text: str, suffix: str, name: str) -> tuple[Note, ...]:
    if text == FILL * 3 or (name == "language" and text == "   "):
        return ()
    standing = code_list(name).standing(text.rstrip(" ") if name == "country" else text)
    if standing is Standing.CURRENT:
        return ()
    if standing is Standing.OBSOLETE:
        return (Note(OBSOLETE_POSITION, suffix, f"The {name} code is obsolete.", text),)
    return (Note(INVALID_POSITION, suffix, f"The {name} code is not in the MARC code list.", text),)


def _spoken(code: str) -> str:
    """A code as a cataloguer reads it."""
    if not code:
        return "nothing"
    return "a blank" if code == " " else f"“{code}”" if code.isprintable() and code.isascii() and len(code) <= 6 else "another character"
