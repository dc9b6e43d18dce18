"""Payloads byte for byte, by the fast way and by the slow one."""

from __future__ import annotations

from xml.parsers import expat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from harvester import oai, slices

OAI = "http://www.openarchives.org/OAI/2.0/"


def page(*payloads: str, root: str = f'xmlns="{OAI}"', on_metadata: str = "", between: str = "", before: str = "") -> str:
    records = between.join(
        f"<record><header><identifier>{number}</identifier><datestamp>2026-01-01</datestamp></header>"
        f"<metadata{on_metadata}>{payload}</metadata></record>"
        for number, payload in enumerate(payloads, 1)
    )
    return f"{before}<OAI-PMH {root}><responseDate>2026-01-01T00:00:00Z</responseDate><ListRecords>{records}</ListRecords></OAI-PMH>"


def harvested(document: str | bytes) -> list[bytes | None]:
    got = oai.parse(document if isinstance(document, bytes) else document.encode(), verb="ListRecords")
    assert got.damaged == ()
    return [each.payload for each in got.records]


def canonical(element: etree._Element | bytes) -> bytes:
    """Exclusive canonical form: what two payloads have in common that mean the same."""
    tree = etree.fromstring(element) if isinstance(element, bytes) else element
    return etree.tostring(tree, method="c14n", exclusive=True, with_comments=True)


def by_lxml(document: bytes) -> list[bytes]:
    """Every payload as lxml sees it in the whole document."""
    root = etree.fromstring(document)
    found = []
    for metadata in root.iter(f"{{{OAI}}}metadata", "{}metadata"):
        if (
            etree.QName(metadata.getparent()).localname == "record"
            and etree.QName(metadata.getparent().getparent()).localname == "ListRecords"
        ):
            found.append(etree.tostring(next(iter(metadata.iterchildren("*"))), method="c14n", exclusive=True, with_comments=True))
    return found


BYTE_FOR_BYTE = {
    "marc": '<record xmlns="http://www.loc.gov/MARC21/slim"><leader>  00000nam a </leader></record>',
    "prefixed": '<marc:record xmlns:marc="http://www.loc.gov/MARC21/slim"\n  type="Bibliographic"></marc:record >',
    "empty": "<a xmlns='u'/>",
    "quotes and references": "<a xmlns='u' b='\"&#10;&quot;' c=\"'\">&#xE9;&amp;&gt;é\u2028</a>",
    "greater in attributes": '<a xmlns="u" b="x > y"/>',
    "white space": '<a   xmlns = "u"  >\r\n\t <b/> \n</a>',
    "comments": '<a xmlns="u"><!-- <metadata> & --></a>',
    "cdata": '<a xmlns="u"><![CDATA[</metadata><b>&nbsp;]]></a>',
    "instructions": '<a xmlns="u"><?php echo "</metadata>" ?></a>',
    "nested metadata": '<a xmlns="u"><metadata>x</metadata><metadata/></a>',
    "prefixed nested metadata": '<m:metadata xmlns:m="u"><m:metadata/></m:metadata>',
    "nested record with metadata": '<record xmlns="u"><header/><metadata><b/></metadata></record>',
    "metadata in names": '<metadata-x xmlns="u"><xmetadata/><a.metadata/><metadata_/></metadata-x>',
    "metadata in text": '<a xmlns="u" metadata="metadata">metadata</a>',
    "several": '<a xmlns="u"/><b xmlns="v"/>',
    "four bytes": '<a xmlns="u">\U0001f4da\U00010000</a>',
    "declared deeper": '<a xmlns="u"><m:b xmlns:m="v"/></a>',
    "empty default": '<a xmlns=""><b/></a>',
}


@pytest.mark.parametrize("payload", BYTE_FOR_BYTE.values(), ids=list(BYTE_FOR_BYTE))
@pytest.mark.parametrize("way", ["fast", "slow"])
def test_a_payload_is_kept_byte_for_byte(payload: str, way: str) -> None:
    """harvest 18, 22"""
    document = page('<first xmlns="u"/>', payload, '<last xmlns="u"/>', between="\n" if way == "fast" else "<!-- slow -->")
    assert harvested(document) == [b'<first xmlns="u"/>', payload.encode(), b'<last xmlns="u"/>']


@pytest.mark.parametrize("way", ["fast", "slow"])
@pytest.mark.parametrize(
    ("around", "kept"),
    [
        ("\n  {}\r\n\t", True),
        ("text{}", True),
        ("text {} ", True),
    ],
)
def test_what_stands_before_a_payload_is_not_kept(around: str, kept: bool, way: str) -> None:
    """harvest 22: the same by both ways, so that a comment elsewhere in a page changes no digest."""
    document = page(around.format('<a xmlns="u"/>'), between="", before="" if way == "fast" else "<!-- slow -->")
    assert harvested(document) == [b'<a xmlns="u"/>']


def test_a_page_with_nothing_odd_in_it_goes_the_fast_way_and_any_other_the_slow_one() -> None:
    """harvest 22"""
    assert slices.cut(page("<a/>", before="<?xml version='1.0'?>").encode()) is not None
    assert slices.cut(b"\xef\xbb\xbf" + page("<a/>", before="<?xml version='1.0'?>").encode()) is not None
    for odd in ("<!-- -->", "<?x y?>"):
        assert slices.cut(page("<a/>", "<b/>", between=odd).encode()) is None
    for payload in ("<![CDATA[x]]>", "<metadata/>"):
        assert slices.cut(page(f"<a>{payload}</a>").encode()) is None


def test_the_skeleton_is_the_page_without_its_payloads() -> None:
    """harvest 22"""
    body = page("<a>one</a>", "<b/>").encode()
    found = slices.cut(body)
    assert found is not None
    skeleton, spans = found
    assert [body[start:end] for start, end in spans] == [b"<a>one</a>", b"<b/>"]
    assert skeleton == page("", "").encode()


def test_a_page_that_is_not_well_formed_is_not_cut() -> None:
    """harvest 12, 18"""
    for bad in ("<a>", "<a>&x;</a>", "<x:a/>", "<a b='1' b='2'/>", "<a>\x01</a>", "<a>]]></a>"):
        with pytest.raises(expat.ExpatError):
            slices.cut(page(bad).encode())


@pytest.mark.parametrize(
    "on_metadata",
    ["", " ", ' xmlns=""', ' id="a>b"', " id='>'", """ a='"' b=">" """, ' xmlns:x="u"', '\n\tid="metadata"\n'],
)
def test_attributes_of_the_metadata_element_lead_nobody_astray(on_metadata: str) -> None:
    """harvest 18"""
    assert harvested(page('<a xmlns="u"/>', on_metadata=on_metadata)) == [b'<a xmlns="u"/>']


def test_metadata_elements_elsewhere_are_no_payloads() -> None:
    """harvest 18: in an about container, in Identify-like descriptions, under a prefix of any length."""
    long = "p" * 60
    about = f'<about><metadata><no xmlns="u"/></metadata><{long}:metadata xmlns:{long}="v"><no/></{long}:metadata></about>'
    document = page('<a xmlns="u"/>', '<b xmlns="u"/>').replace("</record>", f"{about}</record>")
    assert harvested(document) == [b'<a xmlns="u"/>', b'<b xmlns="u"/>']
    long_only = page('<a xmlns="u"/>', '<b xmlns="u"/>', root=f'xmlns="{OAI}" xmlns:{long}="{OAI}"')
    long_only = long_only.replace("<metadata><a", f"<{long}:metadata><a", 1).replace("/></metadata>", f"/></{long}:metadata>", 1)
    long_only = long_only.replace("</record></ListRecords>", "<about><metadata><no/></metadata></about></record></ListRecords>")
    assert harvested(long_only) == [b'<a xmlns="u"/>', b'<b xmlns="u"/>']


def test_only_the_first_metadata_of_a_record_counts() -> None:
    """harvest 18"""
    for comment in ("", "<!-- -->"):
        document = page('<a xmlns="u"/>').replace("</record>", f'{comment}<metadata><no xmlns="u"/></metadata></record>')
        assert harvested(document) == [b'<a xmlns="u"/>']


DECLARED = [
    # a prefix that only an ancestor declares
    ("<m:a><m:b/></m:a>", b'<m:a xmlns:m="urn:m"><m:b/></m:a>'),
    ("<m:a/>", b'<m:a xmlns:m="urn:m"/>'),
    ('<a xmlns="urn:u" xsi:type="x"/>', b'<a xmlns:xsi="urn:xsi?a=1&amp;b=2" xmlns="urn:u" xsi:type="x"/>'),
    # the payload declares it itself
    ('<m:a xmlns:m="urn:own"/>', b'<m:a xmlns:m="urn:own"/>'),
    ('<a xmlns="urn:u"><m:b xmlns:m="urn:own"/></a>', b'<a xmlns="urn:u"><m:b xmlns:m="urn:own"/></a>'),
    # it is declared inside, but used outside of that
    ('<m:a><m:b xmlns:m="urn:inner"/></m:a>', b'<m:a xmlns:m="urn:m"><m:b xmlns:m="urn:inner"/></m:a>'),
    ('<a xmlns="urn:u"><m:b xmlns:m="urn:inner"/><m:c/></a>', b'<a xmlns:m="urn:m" xmlns="urn:u"><m:b xmlns:m="urn:inner"/><m:c/></a>'),
    # not used at all
    ('<a xmlns="urn:u"/>', b'<a xmlns="urn:u"/>'),
]


@pytest.mark.parametrize("way", ["fast", "slow"])
@pytest.mark.parametrize(("payload", "expected"), DECLARED)
@pytest.mark.parametrize("where", ["root", "metadata"])
def test_a_prefix_that_only_an_ancestor_declares_is_declared_on_the_payload(payload: str, expected: bytes, way: str, where: str) -> None:
    """harvest 18, 22"""
    names = 'xmlns:m="urn:m" xmlns:xsi="urn:xsi?a=1&amp;b=2" xmlns:unused="urn:unused"'
    document = page(
        payload,
        root=f'xmlns="{OAI}" {names if where == "root" else ""}',
        on_metadata=f" {names}" if where == "metadata" else "",
        before="" if way == "fast" else "<!-- slow -->",
    )
    (got,) = harvested(document)
    assert got == expected
    assert canonical(got) == by_lxml(document.encode())[0]


def test_a_default_namespace_of_an_ancestor_is_declared_unless_it_is_that_of_the_protocol() -> None:
    """harvest 18: a payload without a namespace never means the one of OAI-PMH."""
    assert harvested(page("<record><leader/></record>")) == [b"<record><leader/></record>"]
    assert harvested(page("<record/>", on_metadata=' xmlns="urn:marc"')) == [b'<record xmlns="urn:marc"/>']
    assert harvested(page('<record xmlns="urn:own"/>', on_metadata=' xmlns="urn:marc"')) == [b'<record xmlns="urn:own"/>']


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("iso-8859-1", "ISO-8859-1"),
        ("iso-8859-15", "iso-8859-15"),
        ("cp1252", "windows-1252"),
        ("utf-16", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-16-le", "utf-16le"),
        ("utf-32", "UTF-32"),
        ("shift_jis", "Shift_JIS"),
        ("gb18030", "GB18030"),
        ("koi8-r", "KOI8-R"),
        ("utf-8", "UTF-8"),
        ("utf-8", "utf8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-8-sig", "ISO-8859-1"),  # the mark is right, the declaration is not
        ("utf-8", "UTF-16"),  # .NET writes a string and sends it as UTF-8
        ("utf-8", "US-ASCII"),
    ],
)
@pytest.mark.parametrize("slow", [False, True])
def test_pages_in_other_encodings_become_utf_8(encoding: str, name: str, slow: bool) -> None:
    """harvest 22"""
    letters = {"shift_jis": "漢字", "gb18030": "漢字", "koi8-r": "Книга"}.get(encoding, "Müller à façade")
    payload = f'<a xmlns="urn:u">{letters}</a>'
    document = page(payload, before=f'<?xml version="1.0" encoding="{name}" standalone=\'yes\'?>\n' + ("<!-- x -->" if slow else ""))
    assert harvested(document.encode(encoding)) == [payload.encode()]


def test_white_space_in_front_of_the_declaration_is_forgiven() -> None:
    """harvest 12: PHP sites send it."""
    for space in (b"\n", b" \r\n\n", b"\xef\xbb\xbf\n"):
        document = page('<a xmlns="urn:u">é</a>', before='<?xml version="1.0" encoding="UTF-8"?>').encode()
        assert harvested(space + document) == ['<a xmlns="urn:u">é</a>'.encode()]


# ---------------------------------------------------- the two ways agree

NAMES = st.sampled_from(["a", "record", "metadata", "header", "m:b", "metadata-x", "resumptionToken"])
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=6).map(
    lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "")
)
VALUES = TEXT.map(lambda text: text.replace('"', "&quot;"))


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    name = draw(NAMES)
    declared = draw(st.sampled_from(["", ' xmlns="urn:u"', ' xmlns:m="urn:own"', ' xmlns="" xmlns:m="urn:own"']))
    attribute = draw(st.sampled_from(["", ' q="{}"', ' m:q="{}"', " metadata = '>'"])).format(draw(VALUES))
    if depth == 0 and "xmlns=" not in declared:
        declared += ' xmlns="urn:top"'
    if depth > 2 or draw(st.booleans()):
        return f"<{name}{declared}{attribute}/>"
    inner = "".join(draw(st.lists(TEXT | elements(depth + 1), max_size=3)))
    return f"<{name}{declared}{attribute}>{inner}</{name}>"


@settings(deadline=None, max_examples=150)
@given(
    payloads=st.lists(elements(), min_size=1, max_size=4),
    space=st.sampled_from(["", "\n", "  "]),
    on_metadata=st.sampled_from(["", ' id="x"', ' xmlns:m="urn:near"', ' id=">"']),
)
def test_the_fast_way_and_the_slow_one_agree_with_each_other_and_with_lxml(payloads: list[str], space: str, on_metadata: str) -> None:
    """harvest 22"""
    spaced = [space + payload + space for payload in payloads]
    document = page(*spaced, root=f'xmlns="{OAI}" xmlns:m="urn:far"', on_metadata=on_metadata)
    slow = document.replace("<ListRecords>", "<ListRecords><!-- the slow way -->")
    fast = harvested(document)
    assert fast == harvested(slow)
    assert [canonical(payload or b"") for payload in fast] == by_lxml(document.encode())
    for payload, given_as in zip(fast, payloads, strict=True):
        assert payload is not None
        assert payload.replace(b' xmlns:m="urn:far"', b"").replace(b' xmlns:m="urn:near"', b"") == given_as.encode()
