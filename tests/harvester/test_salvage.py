"""One bad record costs only itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester import oai, salvage
from harvester.errors import HarvestError, Unreadable

OAI = "http://www.openarchives.org/OAI/2.0/"


def record(number: int, payload: str = '<m:a xmlns:m="u">x</m:a>', *, header: str = "") -> str:
    header = header or f"<header><identifier>oai:x:{number}</identifier><datestamp>2026-01-01</datestamp></header>"
    return f"<record>{header}<metadata>{payload}</metadata></record>"


def page(records: list[str], *, token: str = "<resumptionToken completeListSize='9'>t</resumptionToken>", before: str = "") -> str:
    head = f'{before}<OAI-PMH xmlns="{OAI}"><responseDate>2026-03-01T12:00:00Z</responseDate><ListRecords>\n'
    return head + "\n".join(records) + f"\n{token}</ListRecords></OAI-PMH>\n"


def parse(document: str | bytes, *, repair: bool = False, verb: str = "ListRecords") -> oai.Page:
    return oai.parse(document.encode() if isinstance(document, str) else document, verb=verb, repair=repair)


HEAD = "<header><identifier>oai:x:{0}</identifier><datestamp>2026-01-01</datestamp></header>"
# name: (the record, is its identifier known, does repair help)
DAMAGES: dict[str, tuple[bytes, bool, bool]] = {
    "control character": (record(0, "<a>\x0b</a>").encode(), True, True),
    "nul": (record(0, "<a>\x00</a>").encode(), True, True),
    "reference to a control character": (record(0, "<a>&#x1F;&#0;</a>").encode(), True, True),
    "forbidden non-character": (record(0, "<a>\ufffe</a>").encode(), True, True),
    "bytes that are no UTF-8": (record(0, "<a>L\xfcbeck</a>").encode("latin-1"), True, True),
    "surrogates in UTF-8": (record(0, "<a>?</a>").encode().replace(b"?", b"\xed\xa0\x80"), True, True),
    "bare ampersand": (record(0, "<a>Smith & Sons</a>").encode(), True, False),
    "unknown entity": (record(0, "<a>&eacute;</a>").encode(), True, False),
    "bare less-than": (record(0, "<a>1 < 2</a>").encode(), True, False),
    "element left open": (record(0, "<a><b></a>").encode(), True, False),
    "element closed twice": (record(0, "<a/></a>").encode(), True, False),
    "attribute without quotes": (record(0, "<a b=1/>").encode(), True, False),
    "attribute twice": (record(0, "<a b='1' b='2'/>").encode(), True, False),
    "prefix nobody declares": (record(0, "<z:a/>").encode(), True, False),
    "metadata left open": (record(0).replace("</metadata>", "").encode(), True, False),
    "record left open": (record(0).replace("</record>", "").encode(), True, False),
    "damaged start of the record": (record(0).replace("<record>", "<\x01record>", 1).encode(), True, True),
    "CDATA left open": (record(0, "<a><![CDATA[x</a>").encode(), True, False),
    "comment left open": (record(0, "<a><!-- x</a>").encode(), True, False),
    "ampersand in the identifier": (record(0).replace("oai:x:0", "a&b").encode(), False, False),
    "identifier left open": (record(0).replace("</identifier>", "").encode(), False, False),
    "control character in the identifier": (record(0).replace("oai:x:0", "oai:x:\x0b0").encode(), True, True),
    "damaged start of the header": (record(0).replace("<header>", "<\x01header>").encode(), True, True),
    "no header at all": (record(0).replace(HEAD.format(0), "&nbsp;").encode(), False, False),
}


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_costs_only_itself(name: str, place: int) -> None:
    """harvest 18, 19"""
    bad, known, helped = DAMAGES[name]
    good = [record(number).encode() for number in (1, 2, 3)]
    good[place] = bad
    body = page(["@"]).encode().replace(b"@", b"\n".join(good))
    kept = [f"oai:x:{number}" for number in (1, 2, 3) if number != place + 1]
    got = parse(body)
    assert [each.identifier for each in got.records] == kept
    assert all(each.payload == b'<m:a xmlns:m="u">x</m:a>' for each in got.records)
    (damage,) = got.damaged
    assert damage.identifier == ("oai:x:0" if known else None)
    assert damage.place.startswith(f"record {place + 1} of the page, byte ")
    assert int(damage.place.rpartition(" ")[2].replace(",", "")) == body.index(bad)
    assert damage.reason.startswith("not well-formed: ")
    assert damage.snippet.replace("\ufffd", "").startswith("<record>")
    assert "\0" not in damage.snippet
    assert (got.token, got.complete_list_size, got.size) == (oai.Token(value="t", complete_list_size=9), 9, len(body))

    mended = parse(body, repair=True)
    if helped:
        assert mended.damaged == ()
        assert [each.identifier for each in mended.records] == [*kept[:place], "oai:x:0", *kept[place:]]
        assert b"\0" not in (mended.records[place].payload or b"")
    else:
        assert len(mended.damaged) == 1


def test_every_record_may_be_damaged_and_the_page_still_goes_on() -> None:
    """harvest 18"""
    got = parse(page([record(number, "<a>&b</a>") for number in range(5)]))
    assert got.records == ()
    assert [each.identifier for each in got.damaged] == [f"oai:x:{number}" for number in range(5)]
    assert got.token is not None


def test_the_last_page_may_be_damaged_and_the_list_still_ends() -> None:
    """harvest 12, 18"""
    got = parse(page([record(1), record(2, "<a>&b</a>")], token=""))
    assert (len(got.records), len(got.damaged), got.token) == (1, 1, None)


@pytest.mark.parametrize(
    "token", ["<resumptionToken>a&b</resumptionToken>", "<resumptionToken>a\x01</resumptionToken>", "<resumptionToken>a"]
)
def test_a_token_that_cannot_be_read_makes_the_page_unreadable(token: str) -> None:
    """harvest 12: a list must not end because its token is damaged."""
    with pytest.raises(Unreadable):
        parse(page([record(1)], token=token))


def test_damage_outside_of_the_records_is_repaired_where_the_source_asks_for_it() -> None:
    """harvest 18"""
    document = page([record(1)]).replace("<ListRecords>", "<request>\x01</request><ListRecords>")
    with pytest.raises(Unreadable, match="outside of its records"):
        parse(document)
    assert len(parse(document, repair=True).records) == 1


@pytest.mark.parametrize("verb", ["Identify", "ListSets", "ListMetadataFormats"])
def test_a_page_without_records_cannot_be_salvaged(verb: str) -> None:
    """harvest 12"""
    with pytest.raises(Unreadable, match="not well-formed"):
        parse(f"<OAI-PMH><{verb}><baseURL>a&b</baseURL></{verb}></OAI-PMH>", verb=verb)


def test_headers_of_list_identifiers_are_salvaged_one_by_one() -> None:
    """harvest 18"""
    headers = [HEAD.format(1), HEAD.format(2).replace("2026-01-01", "&x;"), HEAD.format(3)]
    got = parse(page(headers).replace("ListRecords", "ListIdentifiers"), verb="ListIdentifiers")
    assert [each.identifier for each in got.records] == ["oai:x:1", "oai:x:3"]
    assert [each.identifier for each in got.damaged] == ["oai:x:2"]


def test_a_damaged_get_record_is_a_damage() -> None:
    """harvest 18"""
    got = parse(page([record(1, "<a>&b</a>")], token="").replace("ListRecords", "GetRecord"), verb="GetRecord")
    assert (got.records, [each.identifier for each in got.damaged]) == ((), ["oai:x:1"])


def test_records_with_prefixes_are_salvaged_too_and_keep_the_namespaces_of_the_envelope() -> None:
    """harvest 18"""
    document = (
        f'<o:OAI-PMH xmlns:o="{OAI}" xmlns:m="urn:m"><o:ListRecords>'
        + "".join(
            f"<o:record><o:header><o:identifier>{number}</o:identifier></o:header><o:metadata><m:a>{text}</m:a></o:metadata></o:record>"
            for number, text in enumerate(["x", "&bad", "y"])
        )
        + "</o:ListRecords></o:OAI-PMH>"
    )
    got = parse(document)
    assert [(each.identifier, each.payload) for each in got.records] == [
        ("0", b'<m:a xmlns:m="urn:m">x</m:a>'),
        ("2", b'<m:a xmlns:m="urn:m">y</m:a>'),
    ]
    assert [each.identifier for each in got.damaged] == ["1"]


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16"])
@pytest.mark.parametrize("repair", [True, False])
def test_a_damaged_page_in_another_encoding_keeps_its_letters(encoding: str, repair: bool) -> None:
    """harvest 18"""
    document = page([record(1, "<a>é</a>"), record(2, "<a>é\x0b</a>")], before=f"<?xml version='1.0' encoding='{encoding}'?>")
    got = parse(document.encode(encoding), repair=repair)
    assert [each.payload for each in got.records] == ["<a>é</a>".encode()] * (2 if repair else 1)
    assert len(got.damaged) == (0 if repair else 1)


def test_repair_touches_only_the_record_that_needs_it_and_only_what_is_forbidden() -> None:
    """harvest 18"""
    got = parse(
        page([record(1, "<a>&#233;&#x1F4DA;\t\r\n\ue000\U0010fffd</a>"), record(2, "<a>a\x0bb&#x8;c&#9;d&#x110000;</a>")]), repair=True
    )
    assert [each.payload for each in got.records] == [
        "<a>&#233;&#x1F4DA;\t\r\n\ue000\U0010fffd</a>".encode(),
        b"<a>abc&#9;d</a>",
    ]


def test_a_live_header_without_metadata_is_placed_by_its_byte_in_a_salvaged_page() -> None:
    """harvest 18, 19"""
    got = parse(page([record(1, "<a>&b</a>"), f"<record>{HEAD.format(2)}</record>", record(3)]))
    assert [each.identifier for each in got.damaged] == ["oai:x:1", "oai:x:2"]
    assert got.damaged[1].place.startswith("record 2 of the page, byte ")
    assert "not a deletion" in got.damaged[1].reason


def test_a_snippet_is_short_and_fit_for_postgresql() -> None:
    """harvest 18, 19"""
    assert salvage.snippet(b"<record>\0" + "é".encode() * 2000) == "<record>\ufffd" + "é" * 491
    assert len(salvage.snippet("\U0001f4da".encode() * 2000)) <= 500


@settings(deadline=None, max_examples=150)
@given(
    damages=st.lists(st.sampled_from([None, None, "&x", "\x0b", "<", "</a>", "<![CDATA["]), min_size=1, max_size=8),
    repair=st.booleans(),
)
def test_every_record_of_a_page_is_kept_or_accounted_for(damages: list[str | None], repair: bool) -> None:
    """harvest 18"""
    records = [record(number, f"<a>{damage or ''}</a>") for number, damage in enumerate(damages)]
    got = parse(page(records), repair=repair)
    found = [each.identifier for each in got.records] + [each.identifier for each in got.damaged]
    assert sorted(each or "" for each in found) == sorted(f"oai:x:{number}" for number in range(len(damages)))
    bad = {f"oai:x:{number}" for number, damage in enumerate(damages) if damage and not (repair and damage == "\x0b")}
    assert {each.identifier for each in got.damaged} == bad


@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, 2000), junk=st.binary(min_size=1, max_size=3))
def test_junk_at_any_place_of_a_page_costs_at_most_the_records_it_touches(at: int, junk: bytes) -> None:
    """harvest 18"""
    body = page([record(number) for number in range(6)]).encode()
    at %= len(body)
    damaged = body[:at] + junk + body[at:]
    try:
        got = parse(damaged)
    except HarvestError:
        return  # it stands in the frame
    starts = [body.index(record(number).encode()) for number in range(6)]
    touched = {number for number, start in enumerate(starts) if start <= at <= start + len(record(number)) + 1}  # the line break is its own
    kept = {each.identifier for each in got.records}
    assert {f"oai:x:{number}" for number in range(6) if number not in touched} <= kept


def test_comments_between_records_are_not_counted_as_records() -> None:
    """harvest 18"""
    got = parse(page(["<!-- 1 -->" + record(1), "<!-- 2 -->", record(2, "<a>&b</a>"), "<!-- 3 -->" + record(3)]))
    assert [each.identifier for each in got.records] == ["oai:x:1", "oai:x:3"]
    assert [each.place.partition(",")[0] for each in got.damaged] == ["record 2 of the page"]


def test_a_record_with_about_is_not_lost_to_a_damaged_start_of_the_next() -> None:
    """harvest 18"""
    about = record(1).replace("</record>", "<about><x xmlns='u'/></about></record>")
    got = parse(page([about, record(2).replace("<record>", "<\x01record>", 1), record(3)]))
    assert [each.identifier for each in got.records] == ["oai:x:1", "oai:x:3"]
    assert [each.identifier for each in got.damaged] == ["oai:x:2"]
