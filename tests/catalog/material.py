"""Records to read: the shared samples and pairs where they are present, and generated ones."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import strategies as st

from flows.catalog import marcxml
from flows.catalog.model import BibRecord, ControlField, DataField, Reading, Subfield, canonical_leader

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"
NAMES = {"source": "member", "identifier": "oai:example.org:1"}

needs_samples = pytest.mark.skipif(not (SHARED / "marc" / "samples").is_dir(), reason="../shared/data/marc/samples is not present")
needs_pairs = pytest.mark.skipif(not (SHARED / "bibframe" / "pairs").is_dir(), reason="../shared/data/bibframe/pairs is not present")


def samples() -> list[bytes]:
    """The 396 real records, as payloads."""
    found = []
    for path in sorted((SHARED / "marc" / "samples").glob("*.xml")):
        with path.open("rb") as stream:
            found += list(marcxml.payloads(stream))
    return found


def pairs() -> list[tuple[str, bytes, bytes]]:
    """Name, MARCXML and BIBFRAME of the shared pairs."""
    folder = SHARED / "bibframe" / "pairs"
    return [
        (
            path.name.removesuffix(".marc.xml"),
            path.read_bytes(),
            path.with_name(path.name.replace(".marc.xml", ".bibframe.rdf")).read_bytes(),
        )
        for path in sorted(folder.glob("*.marc.xml"))
    ]


def record_of(reading: Reading) -> BibRecord:
    """The record of a reading that must have one."""
    assert reading.record is not None, reading.problems
    return reading.record


# Every character that all three forms can hold: XML 1.0's, without the delimiters of ISO 2709, which are none of XML's anyway.
TEXT = st.text(
    st.one_of(
        st.characters(min_codepoint=0x20, max_codepoint=0x7E),
        st.characters(min_codepoint=0xA0, max_codepoint=0x10FFFF, exclude_categories=("Cs", "Cn", "Co")),
        st.sampled_from("\t\n\r&<>\"'\u0301\u0303\u00e9{}[]\\"),
    ),
    max_size=40,
)
CODE = st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789")
INDICATOR = st.sampled_from(" 0123456789")
CONTROL = st.builds(ControlField, st.sampled_from(["001", "003", "005", "006", "007", "008"]), TEXT)
SUBFIELDS = st.lists(st.builds(Subfield, CODE, TEXT), min_size=1, max_size=6).map(tuple)
DATA = st.builds(DataField, tag=st.integers(10, 999).map("{:03d}".format), ind1=INDICATOR, ind2=INDICATOR, subfields=SUBFIELDS)
LEADER = st.builds(
    "00000{}{}{} a2200000{}{}{}4500".format,
    st.sampled_from("acdnp"),
    st.sampled_from("acdefgijkmoprt"),
    st.sampled_from("abcdims"),
    st.sampled_from(" 1234578uz"),
    st.sampled_from(" acinu"),
    st.sampled_from(" abc"),
)


@st.composite
def records(draw: st.DrawFn) -> BibRecord:
    """A record that every form can hold."""
    leader = canonical_leader(draw(LEADER))
    control = draw(st.lists(CONTROL, max_size=4, unique_by=lambda field: field.tag))
    return BibRecord(
        **NAMES,
        format="generated",
        leader=leader,
        control_fields=tuple(control),
        data_fields=tuple(draw(st.lists(DATA, min_size=1, max_size=8))),
        datestamp=draw(st.none() | st.just("2026-01-02T03:04:05Z")),
        deleted=leader[5] == "d",
        provenance=draw(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)),
    )


def composed(text: str) -> str:
    """Form C."""
    return unicodedata.normalize("NFC", text)
