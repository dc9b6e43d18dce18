"""MARC 21 as a table: which fields, indicators, subfields, positions and codes there are, for each of its formats.

The facts are in ``marc21.txt`` beside this module, made by ``scripts/make_marc21.py`` from the Library of Congress lists
of fields; they are read once. Source: MARC 21 formats for bibliographic, holdings and authority data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

FormatName: TypeAlias = Literal["bibliographic", "holdings", "authority"]

TABLE: Final = "marc21.txt"
EVERY: Final = "*"  # the type of positions that do not depend on the material


@dataclass(frozen=True, kw_only=True, slots=True)
class Subfield:
    """What the format says of a subfield."""

    code: str
    label: str
    repeatable: bool
    obsolete: bool = False
    local: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Indicator:
    """What the format says of an indicator."""

    label: str
    codes: frozenset[str] | None
    """Codes it may have; None where they are those of the linked field (880)."""
    past: frozenset[str] = frozenset()
    """Codes it had formerly."""

    @property
    def is_undefined(self) -> bool:
        """Must it be blank?"""
        return self.codes == frozenset(" ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """A group of positions of a fixed-length field, counted from 0."""

    material: str
    """The type of material it belongs to; ``*`` for all."""
    first: int
    last: int
    label: str
    obsolete: bool = False
    characters: frozenset[str] = frozenset()
    """What each position of the group may hold; empty where values are listed, or nothing is."""
    values: frozenset[str] = frozenset()
    """What the group as a whole may hold."""
    past: frozenset[str] = frozenset()
    """Characters or values that it held formerly."""

    @property
    def place(self) -> str:
        """As a cataloguer writes it: ``06`` or ``35-37``."""
        return f"{self.first:02}" if self.first == self.last else f"{self.first:02}-{self.last:02}"

    @property
    def is_undefined(self) -> bool:
        """Does the format leave it blank?"""
        return self.label.startswith("Undefined") and not self.characters and not self.values


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """What the format says of a field."""

    tag: str
    label: str
    repeatable: bool
    obsolete: bool
    local: bool
    indicators: tuple[Indicator | None, Indicator | None]
    """First and second; None where the format says nothing (control fields, obsolete fields)."""
    subfields: Mapping[str, Subfield] | None
    """By code; None where the format lists none."""
    positions: tuple[Position, ...]

    def material(self, name: str) -> tuple[Position, ...]:
        """The positions of one type of material, in order."""
        return tuple(position for position in self.positions if position.material == name)

    @property
    def materials(self) -> tuple[str, ...]:
        """The types of material whose positions differ."""
        return tuple(dict.fromkeys(position.material for position in self.positions))


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One of the MARC 21 formats."""

    name: FormatName
    fields: Mapping[str, Field]
    """By tag; the leader under ``LDR``."""

    def __repr__(self) -> str:
        return f"<Format {self.name}: {len(self.fields)} fields>"


@cache
def formats() -> Mapping[str, Format]:
    """All formats by name."""
    parts: dict[str, list[list[str]]] = {}
    for line in files(__package__).joinpath(TABLE).read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            parts[line[1:]] = []
        elif not line.startswith("#"):
            parts[next(reversed(parts))].append(line.split("\t"))
    names: tuple[FormatName, ...] = ("bibliographic", "holdings", "authority")
    return MappingProxyType({name: Format(name=name, fields=MappingProxyType(_fields(parts[name]))) for name in names})


def _fields(lines: list[list[str]]) -> dict[str, Field]:
    """The fields of a format; lines of positions follow their field."""
    positions: dict[str, list[Position]] = {}
    tag = ""
    for cells in lines:
        if cells[0] == ">":
            positions[tag].append(_position(cells))
        else:
            tag = cells[0]
            positions[tag] = []
    return {
        cells[0]: Field(
            tag=cells[0],
            label=cells[2],
            repeatable="+" in cells[1],
            obsolete="!" in cells[1],
            local="~" in cells[1],
            indicators=(_indicator(cells[3]), _indicator(cells[4])),
            subfields=None if cells[5] == "-" else MappingProxyType({each[0]: _subfield(each) for each in cells[5].split("|")}),
            positions=tuple(sorted(positions[cells[0]], key=lambda each: (each.material, each.first, each.obsolete))),
        )
        for cells in lines
        if cells[0] != ">"
    }


def _indicator(cell: str) -> Indicator | None:
    if cell == "-":
        return None
    written, _, label = cell.partition(" ")
    now, _, past = written.replace("#", " ").partition("!")
    return Indicator(label=label, codes=None if now == "*" else frozenset(now), past=frozenset(past))


def _subfield(cell: str) -> Subfield:
    flags, _, label = cell[1:].partition(" ")
    return Subfield(code=cell[0], label=label, repeatable="+" in flags, obsolete="!" in flags, local="~" in flags)


def _position(cells: list[str]) -> Position:
    _, material, spread, flags, label, now, past = cells
    first, last = map(int, spread.split("-"))
    return Position(
        material=material,
        first=first,
        last=last,
        label=label,
        obsolete="!" in flags,
        characters=_listed(now) if now.startswith(":") else frozenset(),
        values=_listed(now) if now.startswith("=") else frozenset(),
        past=_listed(past),
    )


def _listed(cell: str) -> frozenset[str]:
    """The characters or values of a cell, ranges written out."""
    if cell == "-":
        return frozenset()
    body = cell[1:].replace("#", " ")
    if cell[0] == ":":
        return frozenset(body)
    found: set[str] = set()
    for each in body.split(","):
        least, dash, most = each.partition("-")
        if dash and least.isdigit() and most.isdigit():
            found.update(f"{number:0{len(least)}}" for number in range(int(least), int(most) + 1))
        else:
            found.add(each)
    return frozenset(found)
