"""Typed access: what a title, a contributor, an identifier is."""

from __future__ import annotations

import pytest

from flows.catalog import access
from flows.catalog.model import BibRecord, ControlField, DataField, Subfield
from tests.catalog.material import NAMES, needs_samples, record_of, samples


def field(text: str) -> DataField:
    """``245 10 $aTitle$bsub`` as a field; ``#`` is a blank indicator."""
    tag, indicators, rest = text.split(" ", 2)
    subfields = tuple(Subfield(part[0], part[1:]) for part in rest.split("$")[1:])
    return DataField(tag=tag, ind1=indicators[0].replace("#", " "), ind2=indicators[1].replace("#", " "), subfields=subfields)


def record(*fields: str, leader: str = "00000nam a2200000 a 4500", **control: str) -> BibRecord:
    """A record of fields in that notation; control fields as ``f008=...``."""
    return BibRecord(
        **NAMES,
        format="x",
        leader=leader,
        control_fields=tuple(ControlField(name[1:], value) for name, value in control.items()),
        data_fields=tuple(map(field, fields)),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nightmare in Morocco /", "Nightmare in Morocco"),
        ("Waterville, Me. :", "Waterville, Me"),
        ("The final country.", "The final country"),
        ("To be continued...", "To be continued..."),
        ("Crumley, J.", "Crumley, J."),
        ("1939-2008.", "1939-2008"),
        (" ; ", None),
        (None, None),
    ],
)
def test_isbd_punctuation_is_trimmed(text: str | None, expected: str | None) -> None:
    """catalog 1"""
    assert access.trimmed(text) == expected


def test_a_title_has_its_parts() -> None:
    """catalog 1"""
    assert access.title(record("245 14 $aThe final country :$ba novel.$nPart 1,$pBeginnings /$cJames Crumley.")) == access.Title(
        main="The final country", sub="a novel", number="Part 1", part="Beginnings", responsibility="James Crumley", non_filing=4
    )
    assert access.title(record("246 14 $aOther")) is None


def test_contributors_have_roles_and_titles() -> None:
    """catalog 1"""
    found = access.contributors(
        record(
            "100 1# $aCrumley, James,$d1939-2008,$eauthor.$0http://id.loc.gov/1",
            "700 12 $aVivaldi, Antonio,$d1678-1741.$tConcertos,$nRV 429$4cmp",
            "711 2# $aCongress$n(2nd :$d1999 :$cBonn)$jorganizer",
            "710 2# $aLibrary,$bDept.",
        )
    )
    assert found == (
        access.Contributor(
            kind="person", name="Crumley, James, 1939-2008", primary=True, roles=("author",), authority=("http://id.loc.gov/1",)
        ),
        access.Contributor(kind="person", name="Vivaldi, Antonio, 1678-1741", primary=False, title="Concertos", roles=("cmp",)),
        access.Contributor(kind="meeting", name="Congress (2nd : 1999 : Bonn)", primary=False, roles=("organizer",)),
        access.Contributor(kind="organisation", name="Library, Dept", primary=False),
    )


def test_a_heading_in_another_script_alone_is_a_contributor() -> None:
    """catalog 1, 2. And one with its counterpart is not counted twice."""
    alone = record("880 1# $6100-01/(3/r$aحسن، مير", "245 00 $6880-02$aT", "880 00 $6245-02$aت")
    assert [each.name for each in access.contributors(alone)] == ["حسن، مير"]
    together = record("100 1# $6880-01$aLi, Bai", "880 1# $6100-01$a李白")
    assert [each.name for each in access.contributors(together)] == ["Li, Bai"]


def test_identifiers_have_kinds_qualifiers_and_states() -> None:
    """catalog 1"""
    found = access.identifiers(
        record(
            "010 ## $a   86754393$z  12",
            "020 ## $a1587244128 (Wheeler : cased)",
            "020 ## $z0754019314$qbad",
            "022 0# $a1234-5678$l1111-1111$y2222-2222$m3333-3333",
            "024 7# $a10.1/2$2doi",
            "024 3# $a4006381333931",
            "035 ## $a(OCoLC)ocm12345",
            "035 ## $a(DE-1)77",
            "015 ## $aGBB$2bnb",
        )
    )
    assert [(each.kind, each.value, each.qualifier, each.cancelled) for each in found] == [
        ("lccn", "86754393", None, False),
        ("lccn", "12", None, True),
        ("isbn", "1587244128", "Wheeler : cased", False),
        ("isbn", "0754019314", "bad", True),
        ("issn", "1234-5678", None, False),
        ("issn-l", "1111-1111", None, False),
        ("issn", "2222-2222", None, True),
        ("issn", "3333-3333", None, True),
        ("doi", "10.1/2", None, False),
        ("ean", "4006381333931", None, False),
        ("oclc", "12345", None, False),
        ("system", "(DE-1)77", None, False),
        ("nbn", "GBB", None, False),
    ]


def test_languages_dates_and_publication() -> None:
    """catalog 1"""
    made = record(
        "041 1# $aengger$hfre",
        "260 ## $aBonn :$bVerlag ;$aBath :$bChivers,$c2003, c2001.",
        "264 #4 $c©2001",
        f008="040423r20032001xxu    |d|||||||||1|eng  ",
    )
    assert access.languages(made) == ("eng", "ger")
    assert access.dates(made) == ("2003", "2001")
    assert access.publications(made) == (
        access.Publication(kind="publication", places=("Bonn", "Bath"), publishers=("Verlag", "Chivers"), date="2003, c2001"),
        access.Publication(kind="copyright", date="©2001"),
    )
    assert access.dates(record(f008="100326n        xx ")) == ("", "")
    assert access.dates(record()) == ("", "")


def test_subjects_and_classification() -> None:
    """catalog 1"""
    made = record(
        "650 #0 $aTour guides (Persons)$vFiction.", "600 17 $aKant, Immanuel,$d1724-1804.$2fast", "655 #4 $aNovels", "653 ## $afree"
    )
    assert [(each.kind, each.heading, each.scheme) for each in access.subjects(made)] == [
        ("topic", "Tour guides (Persons)--Fiction", "lcsh"),
        ("person", "Kant, Immanuel, 1724-1804", "fast"),
        ("genre", "Novels", None),
        ("uncontrolled", "free", None),
    ]
    classes = access.classifications(record("050 #4 $aPG3479.K453$bZ25 2011", "082 04 $a813.54$223", "084 ## $aQA$2rvk"))
    assert [(each.scheme, each.number, each.item) for each in classes] == [
        ("lcc", "PG3479.K453", "Z25 2011"),
        ("ddc", "813.54", None),
        ("rvk", "QA", None),
    ]


@pytest.mark.parametrize(
    ("made", "content", "media", "carrier"),
    [
        (record("336 ## $btxt", "337 ## $bn", "338 ## $bnc"), ("txt",), ("n",), ("nc",)),
        (record(f008=" " * 40), ("txt",), ("n",), ()),
        (record(f008=" " * 23 + "o" + " " * 16), ("txt",), ("c",), ("cr",)),
        (record(leader="00000njm a2200000 a 4500", f007="sd fsngnn"), ("prm",), ("s",), ("sd",)),
        (record(leader="00000nem a2200000 a 4500", f008=" " * 40), ("cri",), ("n",), ()),
        (record(leader=""), (), (), ()),
    ],
)
def test_the_format_comes_from_33x_or_else_from_the_fixed_fields(
    made: BibRecord, content: tuple[str, ...], media: tuple[str, ...], carrier: tuple[str, ...]
) -> None:
    """catalog 1"""
    found = access.format_of(made)
    assert (found.content, found.media, found.carrier) == (content, media, carrier)


def test_holdings_and_items() -> None:
    """catalog 1"""
    made = record("852 41 $aBritish Library$bHMNTS$jLT.2012.x.3883", "876 ## $a7$p2000123$lStacks$tc.2")
    assert access.holdings(made) == (access.Holding(library="British Library", location="HMNTS", call_number="LT.2012.x.3883"),)
    assert access.items(made) == (access.Item(identifier="7", barcode="2000123", location="Stacks", copy="c.2"),)


@needs_samples
def test_nothing_raises_on_the_samples_and_every_one_has_a_title() -> None:
    """catalog 1"""
    from flows.catalog import marcxml

    for payload in samples():
        made = record_of(marcxml.read_one(payload, **NAMES))
        assert access.title(made) is not None
        for function in (
            access.contributors,
            access.identifiers,
            access.languages,
            access.publications,
            access.subjects,
            access.classifications,
        ):
            assert isinstance(function(made), tuple)
        access.format_of(made)
        access.holdings(made)
        access.items(made)
        access.dates(made)
