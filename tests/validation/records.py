"""Records for tests, written as cataloguers write them: ``245 10 $aTitle /$cA. Writer.``, ``#`` for a blank indicator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from flows.catalog.model import BibRecord, ControlField, DataField, Subfield

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "marc"
NAMESPACE = "{http://www.loc.gov/MARC21/slim}"
LEADER = "00000nam a2200000 i 4500"
AUTHORITY = "00000nz  a2200000n  4500"
HOLDINGS = "00000nx  a2200000zn 4500"
F008 = "200131s2020    xxu           000 0 eng d"
F008_AUTHORITY = "200131n| azannaabn          |a aaa      "
F008_HOLDINGS = "2001310p    8   4001uueng0200131"
TITLE = "245 10 $aSome title :$bits rest /$cA. Writer."


def data_field(line: str) -> DataField:
    """A data field in one line."""
    tag, indicators, subfields = line[:3], line[4:6].replace("#", " "), line[7:]
    pairs = [Subfield(each[:1], each[1:]) for each in subfields.split("$")[1:]]
    return DataField(tag=tag, ind1=indicators[:1], ind2=indicators[1:], subfields=tuple(pairs))


def record(*lines: str | DataField, leader: str = LEADER, derived: bool = False, bare: bool = False, **controls: str) -> BibRecord:
    """A record with these data fields, and a title, 001 and 008 unless `bare`; control fields as ``c008="..."``."""
    fields = [line if isinstance(line, DataField) else data_field(line) for line in lines]
    given = {name.removeprefix("c"): value for name, value in controls.items()}
    if not bare:
        fixed = {"z": F008_AUTHORITY, "x": F008_HOLDINGS}.get(leader[6:7], F008)
        given = {"001": "1", "008": fixed} | given
        if leader[6:7] not in ("z", "x") and not any(field.tag == "245" for field in fields):
            fields.append(data_field(TITLE))
        if leader[6:7] == "x" and not any(field.tag == "852" for field in fields):
            fields.append(data_field("852 0# $bMAIN"))
    return BibRecord(
        source="alpha",
        identifier="oai:alpha:1",
        format="marcxml",
        leader=leader,
        control_fields=tuple(ControlField(tag[:3], value) for tag, value in sorted(given.items()) if value),
        data_fields=tuple(fields),
        derived=derived,
    )


def samples() -> Iterator[tuple[str, int, BibRecord]]:
    """The shared sample records: file, number in it from 1, and the record."""
    for path in sorted((DATA / "samples").glob("*.xml")):
        for number, element in enumerate(etree.parse(path).iter(NAMESPACE + "record"), start=1):
            yield path.stem, number, from_element(element, path.stem, number)


def from_element(element: etree._Element, source: str, number: int) -> BibRecord:
    """A record of MARCXML, read without any repair."""
    children = list(element.iterchildren("*"))
    return BibRecord(
        source=source,
        identifier=f"{source}:{number}",
        format="marcxml",
        leader=next((each.text or "" for each in children if each.tag == NAMESPACE + "leader"), ""),
        control_fields=tuple(
            ControlField(each.get("tag", ""), each.text or "") for each in children if each.tag == NAMESPACE + "controlfield"
        ),
        data_fields=tuple(
            DataField(
                tag=each.get("tag", ""),
                ind1=each.get("ind1", " "),
                ind2=each.get("ind2", " "),
                subfields=tuple(Subfield(its.get("code", ""), its.text or "") for its in each.iterchildren("*")),
            )
            for each in children
            if each.tag == NAMESPACE + "datafield"
        ),
    )
