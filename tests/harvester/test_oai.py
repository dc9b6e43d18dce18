"""Pages of the protocol: what counts as one, and what it says."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester import oai
from harvester.errors import (
    BadArgument,
    BadResumptionToken,
    BotWall,
    HarvestError,
    NoRecordsMatch,
    NotOai,
    ProtocolError,
    Truncated,
    Unreadable,
)

OAI = "http://www.openarchives.org/OAI/2.0/"
MARC = '<marc:record xmlns:marc="http://www.loc.gov/MARC21/slim"><marc:leader>00000nam</marc:leader></marc:record>'


def record(identifier: str = "oai:x:1", payload: str = MARC, *, status: str = "", stamp: str = "2026-01-01T00:00:00Z") -> str:
    header = f"<header{status}><identifier>{identifier}</identifier><datestamp>{stamp}</datestamp><setSpec>a:b</setSpec></header>"
    return f"<record>{header}<metadata>{payload}</metadata></record>" if payload else f"<record>{header}</record>"


def page(*records: str, token: str = "", verb: str = "ListRecords", before: str = "", attributes: str = f' xmlns="{OAI}"') -> str:
    return (
        f"{before}<OAI-PMH{attributes}><responseDate>2026-03-01T12:00:00Z</responseDate><request>http://x/</request>"
        f"<{verb}>{''.join(records)}{token}</{verb}></OAI-PMH>"
    )


def parse(document: str | bytes, verb: str = "ListRecords") -> oai.Page:
    return oai.parse(document.encode() if isinstance(document, str) else document, verb=verb)


def test_a_page_of_records_says_everything_that_is_in_it() -> None:
    """harvest 12, 19, 22"""
    got = parse(page(record(), record("oai:x:2", "", status=' status="deleted"'), token='<resumptionToken cursor="0">t</resumptionToken>'))
    first, second = got.records
    assert (first.identifier, first.datestamp, first.deleted, first.sets) == ("oai:x:1", "2026-01-01T00:00:00Z", False, ("a:b",))
    assert first.payload == MARC.encode()
    assert first.digest == hashlib.sha256(MARC.encode()).digest()
    assert (second.identifier, second.deleted, second.payload, second.digest) == ("oai:x:2", True, None, None)
    assert got.response_date == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert got.token == oai.Token(value="t", cursor=0)
    assert got.damaged == ()


def without(document: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in document
        document = document.replace(old, new)
    return document


def prefixed(document: str) -> str:
    for name in (
        "OAI-PMH",
        "responseDate",
        "request",
        "ListRecords",
        "record>",
        "header",
        "identifier",
        "datestamp",
        "setSpec",
        "metadata",
    ):
        document = document.replace(f"<{name}", f"<oai:{name}").replace(f"</{name}", f"</oai:{name}")
    return document.replace("<oai:OAI-PMH xmlns=", "<oai:OAI-PMH xmlns:oai=")


@pytest.mark.parametrize(
    "document",
    [
        page(record()),
        page(record(), attributes=""),
        page(record(), attributes=' xmlns="http://www.openarchives.org/OAI/1.1/"'),
        page(record(), attributes=' xmlns="urn:something-else"'),
        prefixed(page(record())),
        without(page(record(), attributes=""), ("<record><header>", f'<record xmlns="{OAI}"><header>')),
        without(page(record(), attributes=""), ("<header>", f'<header xmlns="{OAI}">')),
        without(page(record()), ("<metadata>", '<metadata xmlns="">')),
        without(page(record()), ("<ListRecords>", '<ListRecords xmlns="">')),
    ],
    ids=["right", "none", "old", "foreign", "prefixed", "on the record", "on the header", "undone at metadata", "undone at the verb"],
)
def test_names_are_matched_where_a_server_gets_namespaces_wrong(document: str) -> None:
    """harvest 18"""
    (got,) = parse(document).records
    assert (got.identifier, got.sets) == ("oai:x:1", ("a:b",))
    assert got.payload is not None
    assert (
        got.payload.replace(b' xmlns="urn:something-else"', b"")
        .replace(b' xmlns="http://www.openarchives.org/OAI/1.1/"', b"")
        .replace(b' xmlns=""', b"")
        == MARC.encode()
    )


@pytest.mark.parametrize("status", ["deleted", "Deleted", "DELETED", " deleted ", pytest.param("dElEtEd", id="mixed")])
def test_deleted_is_understood_in_any_letter_case(status: str) -> None:
    """harvest 19"""
    assert parse(page(record(payload="", status=f' status="{status}"'))).records[0].deleted


@pytest.mark.parametrize("status", ["", ' status=""', ' status="active"', ' status="delete"', ' status="deleted by x"', ' deleted="true"'])
def test_nothing_else_is_a_deletion_and_a_live_header_without_metadata_is_a_failure(status: str) -> None:
    """harvest 19"""
    got = parse(page(record(payload="", status=status)))
    assert got.records == ()
    (damage,) = got.damaged
    assert damage.identifier == "oai:x:1"
    assert "not a deletion" in damage.reason
    assert not parse(page(record(status=status))).records[0].deleted


def test_a_deleted_record_that_still_carries_metadata_is_deleted() -> None:
    """harvest 19"""
    (got,) = parse(page(record(status=' status="deleted"'))).records
    assert (got.deleted, got.payload, got.digest) == (True, None, None)


@pytest.mark.parametrize("metadata", ["<metadata/>", "<metadata></metadata>", "<metadata>\n \t</metadata>", "<metadata >text</metadata >"])
def test_metadata_without_an_element_is_a_failure(metadata: str) -> None:
    """harvest 19"""
    got = parse(without(page(record(), record("oai:x:2")), (f"<metadata>{MARC}</metadata></record></List", f"{metadata}</record></List")))
    assert [each.identifier for each in got.records] == ["oai:x:1"]
    assert [each.identifier for each in got.damaged] == ["oai:x:2"]


@pytest.mark.parametrize(
    "header", ["<header/>", "<header><datestamp>2026</datestamp></header>", "<header><identifier> </identifier></header>", ""]
)
def test_a_record_without_an_identifier_is_a_failure_that_says_where_it_is(header: str) -> None:
    """harvest 18"""
    got = parse(page(record(), f"<record>{header}<metadata>{MARC}</metadata></record>", record("oai:x:3")))
    assert [each.identifier for each in got.records] == ["oai:x:1", "oai:x:3"]
    (damage,) = got.damaged
    assert (damage.identifier, damage.place) == (None, "record 2 of the page")
    assert len(damage.snippet) <= 500


# ------------------------------------------------------- what is no page


CUT_UP = page(
    record(),
    record("oai:x:2", "<a xmlns='u'><![CDATA[</OAI-PMH>]]>é</a>"),
    token="<resumptionToken>t</resumptionToken>",
    before="<?xml version='1.0'?>\n",
).encode()


def test_a_page_cut_at_any_byte_is_never_a_page() -> None:
    """harvest 12: peers parse with recovery and report a cut page as the end of the list."""
    for end in range(len(CUT_UP)):
        with pytest.raises((Truncated, NotOai, Unreadable)):
            oai.parse(CUT_UP[:end], verb="ListRecords")
    assert len(parse(CUT_UP).records) == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "iso-8859-1", "utf-8-sig"])
def test_a_page_in_another_encoding_cut_at_any_byte_is_never_a_page(encoding: str) -> None:
    """harvest 12"""
    declared = encoding.removesuffix("-le").removesuffix("-sig")
    whole = page(record(), before=f"<?xml version='1.0' encoding='{declared}'?>").encode(encoding)
    for end in range(len(whole)):
        with pytest.raises(Unreadable):
            oai.parse(whole[:end], verb="ListRecords", repair=bool(end % 2))
    assert len(parse(whole).records) == 1


@pytest.mark.parametrize("document", ["", "  \r\n", "\ufeff", "\ufeff \n"])
def test_an_empty_answer_is_no_page(document: str) -> None:
    """harvest 12"""
    with pytest.raises(NotOai, match="empty"):
        parse(document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("<!DOCTYPE html><html><head><title>Wartung &amp; Pause</title>", 'titled "Wartung'),
        ("\n<!doctype HTML>\n<p>unfinished", "HTML page"),
        ("<html><body>fine and well-formed</body></html>", "HTML page"),
        (
            '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x.dtd"><html xmlns="u"><p>x</p></html>',
            "HTML page",
        ),
        ("<HTML><BODY><P>old</BODY></HTML>", "HTML page"),
        ('{"error": 1}', "not XML"),
        ("[]", "not XML"),
        ("Fatal error: Out of memory", "not XML"),
        ("%PDF-1.4", "not XML"),
        ("<rss><channel/></rss>", "root element is <rss>"),
        ('<sru:searchRetrieveResponse xmlns:sru="u"/>', "root element is <searchRetrieveResponse>"),
        ("<oai-pmh><ListRecords/></oai-pmh>", "root element is <oai-pmh>"),
        ("<x><OAI-PMH><ListRecords/></OAI-PMH></x>", "root element is <x>"),
    ],
)
def test_foreign_documents_are_no_pages(document: str, said: str) -> None:
    """harvest 12"""
    with pytest.raises(NotOai, match=said):
        parse(document)


@pytest.mark.parametrize(
    "body",
    [
        "<title>Just a moment...</title><div class='cf-chl-widget'>",
        "<title>Attention Required! | Cloudflare</title>",
        "<script src='/_Incapsula_Resource?x'></script>",
        "<h1>Pardon Our Interruption</h1>",
        "<p>Checking your browser before accessing</p>",
        "<p>Verifying you are human. This may take a few seconds.</p>",
        "<title>Making sure you&#39;re not a bot!</title>",
        "<script id='anubis_challenge'>",
        "<script>awsWafCookieDomainList; AwsWAF</script>",
        "<p>Please complete the CAPTCHA</p>",
        "<p>DDoS protection by X</p>",
        "<p>Access denied: your request looks automated</p>",
        "<noscript>Enable JavaScript and cookies to continue</noscript>",
    ],
)
def test_walls_of_many_makers_are_recognised(body: str) -> None:
    """harvest 12"""
    for document in (f"<!DOCTYPE html><html><head></head><body>{body}", f"<html><body>{' ' * 9000}{body}"):
        with pytest.raises(BotWall):
            parse(document)


def test_a_record_that_speaks_of_walls_is_no_wall_and_html_in_a_record_is_no_html_page() -> None:
    """harvest 12, 18: not even where the page is damaged, so that its beginning is looked at."""
    html = "<a xmlns='u'>&lt;html> captcha <![CDATA[<html><title>Just a moment</title>]]></a>"
    assert len(parse(page(record(payload=html))).records) == 1
    damaged = parse(page(record(payload=html), record("oai:x:2", "<a>&nope;</a>")))
    assert [each.identifier for each in damaged.records] == ["oai:x:1"]
    assert [each.identifier for each in damaged.damaged] == ["oai:x:2"]


@pytest.mark.parametrize(
    "document",
    [
        page(verb="ListIdentifiers"),
        f'<OAI-PMH xmlns="{OAI}"><responseDate>2026-03-01T12:00:00Z</responseDate></OAI-PMH>',
        "<OAI-PMH/>",
    ],
)
def test_a_page_that_holds_neither_the_verb_nor_an_error_is_none(document: str) -> None:
    """harvest 12"""
    with pytest.raises(Unreadable, match="neither <ListRecords> nor an <error>"):
        parse(document)


@pytest.mark.parametrize("comment", ["", "<!-- -->"], ids=["cut", "whole"])
def test_a_page_that_holds_its_list_twice_is_refused_rather_than_half_read(comment: str) -> None:
    """harvest 12"""
    twice = without(page(record()), ("</ListRecords>", f"</ListRecords>{comment}<ListRecords>{record('oai:x:2')}</ListRecords>"))
    with pytest.raises(Unreadable, match="twice"):
        parse(twice)
    elsewhere = without(page(record()), ("</ListRecords>", f"</ListRecords>{comment}<Identify>{record('oai:x:2')}</Identify>"))
    with pytest.raises(Unreadable, match="more than one place"):
        parse(elsewhere)


# ------------------------------------------------------- doctypes, entities


def test_a_document_type_is_refused() -> None:
    """harvest 17"""
    with pytest.raises(Unreadable, match="document type"):
        parse(page(record(), before="<?xml version='1.0'?><!-- x --><!DOCTYPE OAI-PMH SYSTEM 'http://127.0.0.1:9/x.dtd'>"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "utf-7", "utf-32"])
@pytest.mark.parametrize("place", ["text", "attribute", "payload"])
def test_an_entity_bomb_is_not_expanded(place: str, encoding: str) -> None:
    """harvest 17: expanded it would be 10 GB."""
    entities = '<!ENTITY a0 "aaaaaaaaaa">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    bomb = {
        "text": record("&a9;"),
        "attribute": record(payload='<a b="&a9;"/>'),
        "payload": record(payload="<a>&a9;</a>"),
    }[place]
    document = page(bomb, before=f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE OAI-PMH [{entities}]>')
    with pytest.raises(Unreadable, match="document type"):
        parse(document.encode(encoding))


@pytest.mark.parametrize("declaration", ['<!ENTITY x SYSTEM "{url}">', '<!ENTITY % p SYSTEM "{url}"> %p; <!ENTITY x "y">'])
def test_an_external_entity_is_never_read(declaration: str, tmp_path: Path) -> None:
    """harvest 17"""
    secret = tmp_path / "secret.txt"
    secret.write_text("<!ENTITY x 'THE-SECRET'>")
    declared = declaration.format(url=secret.as_uri())
    document = page(record("&x;"), before=f'<?xml version="1.0"?><!DOCTYPE OAI-PMH [{declared}]>')
    for repair in (False, True):
        with pytest.raises(Unreadable) as caught:
            oai.parse(document.encode(), verb="ListRecords", repair=repair)
        assert "THE-SECRET" not in str(caught.value)


def test_an_entity_that_nobody_declared_costs_its_record() -> None:
    """harvest 17, 18"""
    got = parse(page(record(), record("oai:x:2", "<a>&nbsp;</a>")))
    assert ([each.identifier for each in got.records], [each.identifier for each in got.damaged]) == (["oai:x:1"], ["oai:x:2"])


def test_many_comments_behind_a_damaged_page_take_no_exponential_time() -> None:
    """harvest 12: a pattern that tries every way to divide them would need longer than the universe has."""
    with pytest.raises(Unreadable):
        parse(page(record("&bad;")) + "<!---->" * 500 + "x")


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize(
    ("element", "token", "size"),
    [
        ("<resumptionToken>t</resumptionToken>", oai.Token(value="t"), None),
        ("<resumptionToken> t\n</resumptionToken>", oai.Token(value="t"), None),
        ("<resumptionToken>a&amp;b=c d</resumptionToken>", oai.Token(value="a&b=c d"), None),
        ("<resumptionToken><![CDATA[a&b]]></resumptionToken>", oai.Token(value="a&b"), None),
        ("<resumptionToken>a<!-- x -->b</resumptionToken>", oai.Token(value="ab"), None),
        ("", None, None),
        ("<resumptionToken/>", None, None),
        ("<resumptionToken></resumptionToken>", None, None),
        ("<resumptionToken> \n </resumptionToken>", None, None),
        ('<resumptionToken completeListSize="812" cursor="800"/>', None, 812),
        (
            '<resumptionToken completeListSize="812" cursor="100" expirationDate="2026-03-01T13:00:00Z">t</resumptionToken>',
            oai.Token(value="t", complete_list_size=812, cursor=100, expires=datetime(2026, 3, 1, 13, tzinfo=UTC)),
            812,
        ),
        ('<resumptionToken completeListSize="-1" cursor="x">t</resumptionToken>', oai.Token(value="t"), None),
        ('<resumptionToken completeListSize="1e3" cursor="">t</resumptionToken>', oai.Token(value="t"), None),
        ('<resumptionToken completeListSize="1,000" cursor="1.0">t</resumptionToken>', oai.Token(value="t"), None),
        (f'<resumptionToken completeListSize="{"9" * 400}" cursor="²">t</resumptionToken>', oai.Token(value="t"), None),
        ('<resumptionToken completeListSize="0" cursor="0">t</resumptionToken>', oai.Token(value="t", complete_list_size=0, cursor=0), 0),
        ('<resumptionToken expirationDate="never">t</resumptionToken>', oai.Token(value="t"), None),
    ],
)
@pytest.mark.parametrize("verb", ["ListRecords", "ListIdentifiers", "ListSets"])
def test_only_a_token_that_says_something_goes_on(verb: str, element: str, token: oai.Token | None, size: int | None) -> None:
    """harvest 12"""
    got = parse(page(token=element, verb=verb), verb)
    assert (got.token, got.complete_list_size) == (token, size)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01T13:00:00Z", datetime(2026, 3, 1, 13, tzinfo=UTC)),
        ("2026-03-01T13:00:00.123Z", datetime(2026, 3, 1, 13, 0, 0, 123000, tzinfo=UTC)),
        ("2026-03-01T13:00:00.123456789Z", datetime(2026, 3, 1, 13, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-01T13:00:00+02:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        ("2026-03-01T13:00:00", datetime(2026, 3, 1, 13, tzinfo=UTC)),
        ("2026-03-01 13:00:00", datetime(2026, 3, 1, 13, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        (" 2026-03-01\n", datetime(2026, 3, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("", None),
        ("yesterday", None),
        ("2026-13-01", None),
        ("0000-00-00T00:00:00Z", None),
        ("1772366400", None),
    ],
)
def test_moments_are_read_in_every_form_that_repositories_send(value: str, expected: datetime | None) -> None:
    """harvest 11"""
    assert oai.parse_moment(value) == expected


@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(1, 1, 1, tzinfo=UTC))
def test_a_moment_that_is_written_is_read_back_in_its_granularity(moment: datetime) -> None:
    """harvest 11"""
    assert oai.parse_moment(oai.format_moment(moment, seconds=True)) == moment.replace(microsecond=0)
    assert oai.parse_moment(oai.format_moment(moment, seconds=False)) == moment.replace(hour=0, minute=0, second=0, microsecond=0)
    assert (len(oai.format_moment(moment, seconds=True)), len(oai.format_moment(moment, seconds=False))) == (20, 10)


def test_a_naive_moment_is_refused() -> None:
    """harvest 11"""
    with pytest.raises(ValueError, match="naive"):
        oai.format_moment(datetime(2026, 1, 1), seconds=True)  # noqa: DTZ001


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("code", ["badResumptionToken", "BADRESUMPTIONTOKEN", "badresumptiontoken", " badResumptionToken "])
def test_error_codes_are_read_in_any_case(code: str) -> None:
    """harvest 13, 14"""
    with pytest.raises(BadResumptionToken, match="expired"):
        parse(f'<OAI-PMH><error code="{code}"> expired </error></OAI-PMH>')


def test_of_several_errors_the_first_counts() -> None:
    """harvest 13"""
    with pytest.raises(BadArgument, match="from"):
        parse('<OAI-PMH><error code="badArgument">from</error><error code="noRecordsMatch">none</error></OAI-PMH>')


@pytest.mark.parametrize("attribute", ["", ' code=""', ' code="internalError"', ' kind="badArgument"'])
def test_an_error_with_an_unknown_code_or_none_is_a_protocol_error(attribute: str) -> None:
    """harvest 13"""
    with pytest.raises(ProtocolError) as caught:
        parse(f"<OAI-PMH><error{attribute}>sorry</error></OAI-PMH>")
    assert type(caught.value) is ProtocolError


@pytest.mark.parametrize("listed", ["<ListRecords/>", f"<ListRecords>{record()}</ListRecords>"])
@pytest.mark.parametrize("first", [True, False])
def test_an_error_beside_a_list_is_an_error(listed: str, first: bool) -> None:
    """harvest 12, 13: taken for a list it would be the end of one."""
    error = '<error code="badResumptionToken">gone</error>'
    with pytest.raises(BadResumptionToken):
        parse(f"<OAI-PMH>{error if first else listed}{listed if first else error}</OAI-PMH>")


def test_no_records_match_is_its_own_error() -> None:
    """harvest 12"""
    with pytest.raises(NoRecordsMatch):
        parse(f'<OAI-PMH xmlns="{OAI}"><error code="noRecordsMatch"/></OAI-PMH>')


# ------------------------------------------------------------ other verbs


def test_identify_says_what_a_repository_is() -> None:
    """harvest 10"""
    inner = (
        "<repositoryName>Bücher</repositoryName><baseURL>http://x/oai</baseURL><protocolVersion>2.0</protocolVersion>"
        "<adminEmail>a@x</adminEmail><earliestDatestamp>1990-02-01T12:00:00Z</earliestDatestamp><deletedRecord>Persistent</deletedRecord>"
        "<granularity>YYYY-MM-DDThh:mm:ssZ</granularity><description><x xmlns='u'><granularity>no</granularity></x></description>"
    )
    got = parse(page(inner, verb="Identify"), "Identify").identity
    assert got is not None
    assert got.repository_name == "Bücher"
    assert (got.base_url, got.protocol_version, got.earliest) == ("http://x/oai", "2.0", "1990-02-01T12:00:00Z")
    assert (got.deleted_record, got.granularity, got.seconds) == ("persistent", "YYYY-MM-DDThh:mm:ssZ", True)


@pytest.mark.parametrize(
    ("granularity", "seconds"),
    [("YYYY-MM-DD", False), ("YYYY-MM-DDThh:mm:ssZ", True), ("YYYY-MM-DDTHH:MM:SSZ", True), ("", False), ("yyyy-mm-dd", False)],
)
def test_the_granularity_is_told_by_its_hours(granularity: str, seconds: bool) -> None:
    """harvest 10, 11"""
    got = parse(page(f"<granularity>{granularity}</granularity>", verb="Identify"), "Identify").identity
    assert got is not None
    assert got.seconds is seconds


def test_formats_and_sets_are_listed_without_what_stands_between_them() -> None:
    """harvest 20, 26"""
    formats = (
        "<!-- x --><metadataFormat><metadataPrefix>marc21</metadataPrefix><schema>s</schema>"
        "<metadataNamespace>n</metadataNamespace></metadataFormat>"
    )
    assert parse(page(formats, verb="ListMetadataFormats"), "ListMetadataFormats").formats == (
        oai.Format(prefix="marc21", namespace="n", schema="s"),
    )
    sets = "<set><setSpec>a:b</setSpec><setName>A &amp; B</setName></set><!-- x --><set><setSpec>c</setSpec></set>"
    assert parse(page(sets, verb="ListSets"), "ListSets").sets == (oai.Set(spec="a:b", name="A & B"), oai.Set(spec="c", name=""))


def test_list_identifiers_gives_headers_without_payloads_and_damages_without_identifiers() -> None:
    """harvest 10, 18"""
    headers = (
        "<header><identifier>1</identifier></header><header status='deleted'><identifier>2</identifier></header>"
        "<header><datestamp>2026-01-01</datestamp></header>"
    )
    got = parse(page(headers, verb="ListIdentifiers"), "ListIdentifiers")
    assert [(each.identifier, each.deleted, each.payload) for each in got.records] == [("1", False, None), ("2", True, None)]
    assert [(each.identifier, each.place) for each in got.damaged] == [(None, "header 3 of the page")]


def test_get_record_is_a_page_of_one() -> None:
    """harvest 18"""
    assert [each.identifier for each in parse(page(record(), verb="GetRecord"), "GetRecord").records] == ["oai:x:1"]


# ------------------------------------------------------- pages told apart


def test_the_digest_of_a_page_tells_content_and_not_time_or_token() -> None:
    """harvest 12"""
    one = parse(page(record(), token="<resumptionToken>a</resumptionToken>"))
    same = parse(page(record(), token="<resumptionToken>b</resumptionToken>").replace("12:00:00Z", "13:00:00Z"))
    assert one.digest == same.digest
    others = [page(record(payload="<a/>")), page(record("oai:x:2")), page(record(stamp="2026-01-02")), page(record(), record("oai:x:2"))]
    others.append(page(record(payload="", status=' status="deleted"')))
    assert len({one.digest, *(parse(each).digest for each in others)}) == 6


def test_a_page_knows_its_size_in_the_bytes_that_came() -> None:
    """harvest 24"""
    for encoding in ("utf-8", "utf-16", "iso-8859-1"):
        body = page(record(), before=f"<?xml version='1.0' encoding='{encoding}'?>").encode(encoding)
        assert parse(body).size == len(body)
        damaged = body.replace("00000nam".encode(encoding.replace("16", "16-le")), "&a;&b;&c".encode(encoding.replace("16", "16-le")))
        assert parse(damaged).size == len(body)


def test_a_request_shows_its_arguments_and_its_token() -> None:
    """harvest 20"""
    asked = oai.Request(verb="ListRecords", arguments=(("resumptionToken", "t" * 80),))
    assert asked.parameters() == [("verb", "ListRecords"), ("resumptionToken", "t" * 80)]
    assert asked.token == "t" * 80
    assert str(asked) == f"ListRecords resumptionToken={'t' * 57}..."
    assert oai.Request(verb="Identify").token is None


# ------------------------------------------------------------------ fuzz


WHOLE = page(
    record(),
    record("oai:x:2", "<a xmlns='u'><!-- c --><![CDATA[x]]><?pi y?>&#233;&amp;</a>"),
    record("oai:x:3", "", status=" status='deleted'"),
    token="<resumptionToken completeListSize='9' cursor='0'>t</resumptionToken>",
    before="<?xml version='1.0' encoding='UTF-8'?>\n",
).encode()
PIECES = st.sampled_from(
    [
        b"<",
        b">",
        b"/>",
        b"&",
        b"&#0;",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?x",
        b"?>",
        b"<!DOCTYPE a [",
        b"\n",
        b"<metadata>",
        b"</metadata>",
        b"<record>",
        b"</record>",
        b"<header>",
        b"</OAI-PMH>",
        b"<ListRecords>",
        b"</ListRecords>",
        b"<html",
        b'"',
        b"'",
        b"encoding='utf-16'",
        b"encoding='shift_jis'",
        b"<error code='x'/>",
        b"xmlns:a='b'",
        b"a:",
        b"status='deleted'",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    body = WHOLE
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 12)))
        middle = draw(PIECES | st.binary(max_size=4) | st.just(body[start : start + 200]))
        body = body[:start] + middle + body[end:]
    return body


def tried(body: bytes, verb: str, repair: bool) -> None:
    try:
        got = oai.parse(body, verb=verb, repair=repair)
    except HarvestError:
        return
    for each in got.records:
        assert each.identifier
        assert "\0" not in each.identifier
        assert each.deleted or verb == "ListIdentifiers" or (each.payload is not None and b"\0" not in each.payload)
    for damage in got.damaged:
        assert "\0" not in damage.snippet
        assert len(damage.snippet) <= 500


@settings(deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode), st.sampled_from(["ListRecords", "Identify", "ListIdentifiers"]))
@example(
    b"<?xml version='1.0' encoding='shift_jis'?><OAI-PMH><ListRecords><record><header/><metadata/></record></ListRecords></OAI-PMH>",
    "ListRecords",
)
@example(b"<?xml version='1.0' encoding='none-such'?><OAI-PMH/>", "ListRecords")
def test_random_bytes_raise_nothing_but_our_errors(body: bytes, verb: str) -> None:
    """harvest 12, 17, 18"""
    tried(body, verb, repair=False)
    tried(b"<OAI-PMH>" + body + b"</OAI-PMH>", verb, repair=True)


@settings(deadline=None, max_examples=250)
@given(
    body=mutated(), verb=st.sampled_from(["ListRecords", "ListRecords", "GetRecord", "ListIdentifiers", "Identify"]), repair=st.booleans()
)
def test_mutated_pages_raise_nothing_but_our_errors_and_give_no_nul(body: bytes, verb: str, repair: bool) -> None:
    """harvest 12, 17, 18, 19"""
    tried(body, verb, repair)
    tried(body.replace(b"ListRecords", verb.encode()), verb, repair)
