"""The faults of the stand-in consortium, each seen by a strict client: `proof 2` rests on every one of them."""

from __future__ import annotations

import re
import socket
import threading
import zlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
import pytest
from lxml import etree

from tests.fakes.oai import KINDS, Consortium, Fault, Repository

LIST = {"verb": "ListRecords", "metadataPrefix": "marc21"}
OAI = "{http://www.openarchives.org/OAI/2.0/}"
SEEN: set[str] = set()  # kinds that a test of this module has observed


def fault(kind: str, **settings: object) -> Fault:
    SEEN.add(kind)
    return Fault(kind=kind, **settings)  # type: ignore[arg-type]


@pytest.fixture
def consortium() -> Iterator[Consortium]:
    repositories = [
        Repository(name="alpha", records=120, deleted_share=0.1, sets=("a", "b", "c")),
        Repository(name="locked", requires_authorization="Bearer open"),
    ]
    with Consortium(repositories) as running:
        yield running


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, verify=False, timeout=5) as client:
        yield client


def identifiers(body: bytes) -> list[str]:
    return [found.decode() for found in re.findall(rb"<identifier>(.*?)</identifier>", body)]


def error_code(body: bytes) -> str | None:
    found = re.search(rb'<error code="(\w+)"', body)
    return found[1].decode() if found else None


def token_of(body: bytes) -> str:
    found = re.search(rb"<resumptionToken[^>]*>([^<]+)<", body)
    assert found is not None, "no token in the page"
    return found[1].decode()


def follow(http: httpx.Client, url: str, body: bytes) -> httpx.Response:
    return http.get(url, params={"verb": "ListRecords", "resumptionToken": token_of(body)})


def raw(url: str, *, patience: float = 2.0) -> bytes:
    """All bytes of an answer up to the end of the connection, or up to the first silence of `patience` seconds."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=patience) as connection:
        connection.sendall(f"GET {parts.path}?verb=ListRecords&metadataPrefix=marc21 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while True:
            try:
                data = connection.recv(65536)
            except TimeoutError:
                return received + b"[silence]"
            except ConnectionResetError:
                return received + b"[reset]"
            if not data:
                return received
            received += data


# -- in the place of an answer --------------------------------------------------------------------------------------------------

STATUSES = [
    ("503", 503, "Retry-After", "7"),
    ("429", 429, "Retry-After", "7"),
    ("408", 408, None, None),
    ("500", 500, None, None),
    ("502", 502, None, None),
    ("504", 504, None, None),
    ("404", 404, None, None),
    ("403", 403, None, None),
    ("401", 401, "WWW-Authenticate", 'Basic realm="library"'),
    ("html", 200, "Content-Type", "text/html; charset=UTF-8"),
    ("bot-wall", 200, "cf-mitigated", "challenge"),
    ("empty-body", 200, "Content-Length", "0"),
    ("foreign-xml", 200, "Content-Type", "text/xml; charset=UTF-8"),
]


@pytest.mark.parametrize(("kind", "status", "header", "value"), STATUSES)
def test_answers_that_are_none(
    consortium: Consortium, http: httpx.Client, kind: str, status: int, header: str | None, value: str | None
) -> None:
    consortium.fault("alpha", fault(kind, retry_after=7))
    answer = http.get(consortium.url("alpha"), params=LIST)
    assert answer.status_code == status
    assert header is None or answer.headers[header] == value
    assert b"OAI-PMH" not in answer.content
    entry = consortium.log("alpha")[-1]
    assert (entry.fault, entry.status) == (kind, status)


def test_the_contents_of_answers_that_are_none(consortium: Consortium, http: httpx.Client) -> None:
    bodies = {}
    for kind in ("html", "bot-wall", "foreign-xml", "empty-body"):
        consortium.fault("alpha", fault(kind, times=1))
        bodies[kind] = http.get(consortium.url("alpha"), params=LIST).content
    assert b"<title>Sign in" in bodies["html"]
    assert b"Just a moment..." in bodies["bot-wall"]
    assert etree.fromstring(bodies["foreign-xml"]).tag == "rss"
    assert bodies["empty-body"] == b""


def test_a_retry_after_may_be_a_date_by_the_servers_clock(consortium: Consortium, http: httpx.Client) -> None:
    consortium.advance("alpha", 600)
    consortium.fault("alpha", fault("503-date", retry_after=30))
    answer = http.get(consortium.url("alpha"), params=LIST)
    wait = parsedate_to_datetime(answer.headers["Retry-After"]) - parsedate_to_datetime(answer.headers["Date"])
    assert (answer.status_code, wait.total_seconds()) == (503, 30)


def test_a_connection_is_closed_without_an_answer(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("refused"))
    assert raw(consortium.url("alpha")) == b""
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(consortium.url("alpha"), params=LIST)
    with pytest.raises(httpx.ConnectError):
        http.get(consortium.dead_url())


def test_a_stalled_request_stays_in_flight_until_the_client_gives_up(consortium: Consortium) -> None:
    consortium.fault("alpha", fault("stall"))
    assert raw(consortium.url("alpha"), patience=0.05) == b"[silence]"
    consortium.wait_in_flight(0)


def test_a_gzip_bomb_is_small_on_the_wire_and_large_inside(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("gzip-bomb"))
    with http.stream("GET", consortium.url("alpha"), params=LIST) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(packed) < 2 << 20
    unpacker = zlib.decompressobj(31)
    start = unpacker.decompress(packed, 10 << 20)
    assert len(start) == 10 << 20
    assert start.startswith(b'<?xml version="1.0"?><OAI-PMH ')
    assert start[-100:].strip() == b""
    # The rest is the same block again and again: 1,024 MB in all.
    blocks = packed.count(packed[200_000:200_900])
    assert len(packed) > 1_000_000
    assert blocks >= 1_000


def test_a_redirect_to_another_host_is_seen_there_with_the_headers_that_came_along(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault(None, fault("redirect-elsewhere"))
    secret = {"Authorization": "Bearer open"}
    first = http.get(consortium.url("locked"), params=LIST, headers=secret)
    assert first.status_code == 302
    assert first.headers["Location"].startswith(consortium.elsewhere + "/locked/oai?verb=ListRecords")
    followed = http.get(consortium.url("locked"), params=LIST, headers=secret, follow_redirects=True)
    assert followed.status_code == 401, "httpx strips the header, so the other host refuses"
    assert "authorization" not in dict(consortium.elsewhere_headers()[-1])
    http.get(first.headers["Location"], headers=secret)
    assert dict(consortium.elsewhere_headers()[-1])["authorization"] == "Bearer open", "and it would be seen if it travelled"
    open_one = http.get(consortium.url("alpha"), params=LIST, follow_redirects=True)
    assert len(identifiers(open_one.content)) == 50


def test_redirects_that_lead_nowhere_good(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("redirect-file", times=1))
    assert http.get(consortium.url("alpha"), params=LIST).headers["Location"].startswith("file:///")
    consortium.fault("alpha", fault("redirect-ftp", times=1))
    assert http.get(consortium.url("alpha"), params=LIST).headers["Location"].startswith("ftp://")
    consortium.fault("alpha", fault("redirect-loop", times=1))
    with pytest.raises(httpx.TooManyRedirects):
        http.get(consortium.url("alpha"), params=LIST, follow_redirects=True)


def test_a_redirect_on_the_same_host_is_answered(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("redirect-here", status=301))
    answer = http.get(consortium.url("alpha"), params=LIST, follow_redirects=True)
    assert [one.status_code for one in answer.history] == [301]
    assert len(identifiers(answer.content)) == 50


# -- on the way ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "end"), [("reset", b"[reset]"), ("short-body", b""), ("stall-body", b"[silence]")])
def test_bodies_that_stop_half_way(consortium: Consortium, kind: str, end: bytes) -> None:
    consortium.fault("alpha", fault(kind, fraction=0.25))
    head, _, body = raw(consortium.url("alpha"), patience=0.2).partition(b"\r\n\r\n")
    promised = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
    assert body.endswith(end)
    assert len(body) - len(end) == promised // 4
    consortium.wait_in_flight(0)


def test_a_reset_is_a_read_error_for_a_client(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("reset"))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        http.get(consortium.url("alpha"), params=LIST)


def test_a_truncated_page_has_a_length_that_fits(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("truncated", fraction=0.9))
    answer = http.get(consortium.url("alpha"), params=LIST)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(answer.content)
    recovered = etree.fromstring(answer.content, etree.XMLParser(recover=True))
    assert 0 < len(list(recovered.iter(f"{OAI}header"))) < 50, "a reader that recovers sees fewer records, and no error"


def test_a_drip_arrives_in_pieces_and_in_full(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("drip", piece=400, interval=0.001, verb="Identify"))
    with http.stream("GET", consortium.url("alpha"), params={"verb": "Identify"}) as answer:
        pieces = list(answer.iter_raw())
    assert len(pieces) >= 2
    assert b"".join(pieces).endswith(b"</OAI-PMH>\n")
    assert http.get(consortium.url("alpha"), params=LIST).status_code == 200


def test_a_huge_page_is_well_formed_and_as_large_as_asked(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("huge-page", megabytes=3))
    answer = http.get(consortium.url("alpha"), params=LIST)
    assert len(answer.content) == int(answer.headers["Content-Length"]) > 3 << 20
    assert len(list(etree.fromstring(answer.content, etree.XMLParser(huge_tree=True)).iter(f"{OAI}header"))) == 50


@pytest.mark.parametrize(("kind", "entity"), [("entity-bomb", b"&lol9;"), ("external-entity", b"&outside;")])
@pytest.mark.parametrize("arguments", [LIST, {"verb": "Identify"}])
def test_entities_are_declared_and_used(
    consortium: Consortium, http: httpx.Client, kind: str, entity: bytes, arguments: dict[str, str]
) -> None:
    consortium.fault("alpha", fault(kind, target="file:///nowhere/at/all"))
    body = http.get(consortium.url("alpha"), params=arguments).content
    assert b"<!DOCTYPE OAI-PMH [" in body
    assert body.count(entity) == 1
    if kind == "external-entity":
        etree.fromstring(body, etree.XMLParser(resolve_entities=False))
        assert b'SYSTEM "file:///nowhere/at/all"' in body
    else:
        assert re.findall(rb"<!ENTITY lol(\d)", body) == [b"%d" % n for n in range(10)], "nine times tenfold: a thousand million lol"


# -- in the page ---------------------------------------------------------------------------------------------------------------

BROKEN = [
    ("illegal-characters", b"\x0b"),
    ("illegal-reference", b"&#x1F;"),
    ("nul", b"\x00"),
    ("wrong-encoding", b"Caf\xe9"),
    ("malformed-record", b""),
]


@pytest.mark.parametrize(("kind", "trace"), BROKEN)
def test_one_record_of_a_page_is_broken(consortium: Consortium, http: httpx.Client, kind: str, trace: bytes) -> None:
    clean = http.get(consortium.url("alpha"), params=LIST).content
    consortium.fault("alpha", fault(kind, record=4))
    broken = http.get(consortium.url("alpha"), params=LIST).content
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(broken)
    assert trace in broken
    records = (body.split(b"<record>\n<header")[1:] for body in (clean, broken))
    assert sum(before != after for before, after in zip(*records, strict=True)) == 1


def test_a_broken_record_may_be_named_by_number_and_is_broken_wherever_it_appears(consortium: Consortium, http: httpx.Client) -> None:
    number = consortium.live("alpha")[7]
    consortium.fault("alpha", fault("malformed-record", number=number))
    whole = {"verb": "GetRecord", "metadataPrefix": "marc21"}
    bad = http.get(consortium.url("alpha"), params={**whole, "identifier": consortium.identifier("alpha", number)}).content
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(bad)
    other = consortium.identifier("alpha", consortium.live("alpha")[8])
    etree.fromstring(http.get(consortium.url("alpha"), params={**whole, "identifier": other}).content)


def test_a_live_record_without_metadata(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("no-metadata", record=2))
    root = etree.fromstring(http.get(consortium.url("alpha"), params=LIST).content)
    bare = [r for r in root.iter(f"{OAI}record") if r.find(f"{OAI}metadata") is None and r[0].get("status") is None]
    assert len(bare) == 1


def test_tombstones_may_shout(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("loud-status"))
    root = etree.fromstring(http.get(consortium.url("alpha"), params=LIST).content)
    assert {header.get("status") for header in root.iter(f"{OAI}header")} == {None, "DELETED"}


@pytest.mark.parametrize("token", ["stateless", "single-use", "constant"])
def test_an_empty_page_with_a_token_loses_nothing(http: httpx.Client, token: str) -> None:
    with Consortium([Repository(name="alpha", records=120, token=token)]) as consortium:
        url = consortium.url("alpha")
        consortium.fault("alpha", fault("empty-page", page=2, times=1))
        first = http.get(url, params=LIST).content
        empty = follow(http, url, first).content
        rest = follow(http, url, empty).content
        last = follow(http, url, rest).content
        seen = [identifiers(page) for page in (first, empty, rest, last)]
        assert [len(page) for page in seen] == [50, 0, 50, 20]
        assert {identifier for page in seen for identifier in page} == consortium.truth("alpha").keys()


@pytest.mark.parametrize("token", ["stateless", "single-use", "constant"])
def test_a_repeated_token_leads_to_the_same_page_for_ever(http: httpx.Client, token: str) -> None:
    with Consortium([Repository(name="alpha", records=120, token=token)]) as consortium:
        url = consortium.url("alpha")
        consortium.fault("alpha", fault("repeated-token", page=2))
        pages = [http.get(url, params=LIST).content]
        for _ in range(3):
            pages.append(follow(http, url, pages[-1]).content)
        assert identifiers(pages[1]) == identifiers(pages[2]) == identifiers(pages[3]) != identifiers(pages[0])
        tokens = {token_of(page) for page in pages}
        assert len(tokens) == {"stateless": 1, "single-use": 4, "constant": 1}[token]
        consortium.clear("alpha")
        assert len(identifiers(follow(http, url, follow(http, url, pages[3]).content).content)) == 20


def test_duplicates_across_pages(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("duplicates"))
    first = http.get(consortium.url("alpha"), params=LIST).content
    second = follow(http, consortium.url("alpha"), first).content
    assert identifiers(first)[-1] == identifiers(first)[0]
    assert identifiers(second)[:2] == identifiers(first)[48:50]
    assert len(identifiers(second)) == 52


def test_datestamps_may_run_backwards(consortium: Consortium, http: httpx.Client) -> None:
    ordered = identifiers(http.get(consortium.url("alpha"), params=LIST).content)
    consortium.fault("alpha", fault("backward-datestamps"))
    assert identifiers(http.get(consortium.url("alpha"), params=LIST).content) == ordered[::-1]


def test_records_from_outside_the_asked_set_or_window_come_along(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("outside-set", times=1))
    inside = consortium.truth("alpha", of_set="a").keys()
    assert len(set(identifiers(http.get(consortium.url("alpha"), params={**LIST, "set": "a"}).content)) - inside) == 1
    consortium.fault("alpha", fault("outside-window", times=1))
    page = http.get(consortium.url("alpha"), params={**LIST, "from": "2024-01-01"}).content
    stamps = [stamp for stamp in re.findall(rb"<datestamp>(.*?)<", page) if stamp < b"2024-01-01"]
    assert len(stamps) == 1


def test_a_token_forgets_the_arguments_of_its_list(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("lost-arguments", page=1))
    url = consortium.url("alpha")
    page = http.get(url, params={**LIST, "set": "a", "from": "2021-01-01"}).content
    asked = identifiers(page)
    seen = set()
    while "<resumptionToken" in page.decode() and re.search(rb"<resumptionToken[^>]*>[^<]", page):
        page = follow(http, url, page).content
        seen |= set(identifiers(page))
    assert seen - consortium.truth("alpha", of_set="a").keys(), "records of other sets follow"
    assert len(seen) == 120 - len(asked), "from the same offset among all records"


REFUSALS = [("expired-token", "badResumptionToken", 200), ("no-records-match", "noRecordsMatch", 200)]


@pytest.mark.parametrize(("kind", "code", "status"), REFUSALS)
@pytest.mark.parametrize("token", ["stateless", "single-use", "constant"])
def test_errors_in_mid_list_hit_only_requests_with_a_token(http: httpx.Client, kind: str, code: str, status: int, token: str) -> None:
    with Consortium([Repository(name="alpha", records=120, token=token)]) as consortium:
        url = consortium.url("alpha")
        consortium.fault("alpha", fault(kind, times=1))
        first = http.get(url, params=LIST)
        assert error_code(first.content) is None
        failed = follow(http, url, first.content)
        assert (error_code(failed.content), failed.status_code) == (code, status)
        again = follow(http, url, first.content)
        # An internal failure leaves the token good; an expired one stays expired where the server keeps tokens.
        gone = kind == "expired-token" and token != "stateless"
        assert error_code(again.content) == ("badResumptionToken" if gone else None)
        if not gone:
            assert not set(identifiers(first.content)) & set(identifiers(again.content))
            assert len(identifiers(again.content)) == 50


def test_an_oai_error_may_come_with_status_500(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("oai-error", code="noRecordsMatch", verb="ListRecords"))
    answer = http.get(consortium.url("alpha"), params=LIST)
    assert (answer.status_code, error_code(answer.content)) == (500, "noRecordsMatch")


def test_a_valid_envelope_may_hold_another_verb(consortium: Consortium, http: httpx.Client) -> None:
    consortium.fault("alpha", fault("other-verb"))
    root = etree.fromstring(http.get(consortium.url("alpha"), params=LIST).content)
    assert [child.tag.removeprefix(OAI) for child in root][2:] == ["ListMetadataFormats"]


def test_a_poisoned_record_breaks_every_list_that_holds_it_and_nothing_else(consortium: Consortium, http: httpx.Client) -> None:
    url = consortium.url("alpha")
    order = identifiers(http.get(url, params=LIST).content)
    number = int(order[10][-6:])
    consortium.fault("alpha", fault("poison", number=number))
    assert http.get(url, params=LIST).status_code == 500
    stamp = next(truth.datestamp for identifier, truth in consortium.truth("alpha").items() if identifier == order[11])
    after = http.get(url, params={**LIST, "from": f"{stamp:%Y-%m-%dT%H:%M:%SZ}"})
    assert (after.status_code, identifiers(after.content)[0]) == (200, order[11])
    assert order[10] in identifiers(http.get(url, params={**LIST, "verb": "ListIdentifiers"}).content)
    one = {"verb": "GetRecord", "metadataPrefix": "marc21"}
    assert http.get(url, params={**one, "identifier": order[10]}).status_code == 500
    assert http.get(url, params={**one, "identifier": order[9]}).status_code == 200


# -- which requests ------------------------------------------------------------------------------------------------------------

IDENTIFY = {"verb": "Identify"}
CHOICES = [
    ({}, [500, 500, 500, 500]),
    ({"times": 2}, [500, 500, 200, 200]),
    ({"nth": (2, 4)}, [200, 500, 200, 500]),
    ({"verb": "ListRecords"}, [200, 500, 500, 500]),
    ({"verb": "ListRecords", "nth": (1,)}, [200, 500, 200, 200]),
    ({"page": 2}, [200, 200, 500, 200]),
    ({"token": True}, [200, 200, 500, 500]),
    ({"token": False}, [500, 500, 200, 200]),
    ({"nth": (2, 3, 4), "times": 1}, [200, 500, 200, 200]),
]


@pytest.mark.parametrize(("filters", "statuses"), CHOICES)
def test_a_fault_hits_the_requests_it_is_told_to(
    consortium: Consortium, http: httpx.Client, filters: dict[str, object], statuses: list[int]
) -> None:
    url = consortium.url("alpha")
    second = {"verb": "ListRecords", "resumptionToken": token_of(http.get(url, params=LIST).content)}
    third = {"verb": "ListRecords", "resumptionToken": token_of(http.get(url, params=second).content)}
    handle = consortium.fault("alpha", fault("500", **filters))
    seen = [http.get(url, params=arguments).status_code for arguments in (IDENTIFY, LIST, second, third)]
    assert seen == statuses
    assert consortium.hits(handle) == statuses.count(500)


def test_the_first_fault_wins_and_clearing_goes_by_handle_by_repository_or_all(consortium: Consortium, http: httpx.Client) -> None:
    def statuses() -> tuple[int, int]:
        answers = (
            http.get(consortium.url(name), params=IDENTIFY, headers={"Authorization": "Bearer open"}) for name in ("alpha", "locked")
        )
        first, second = (answer.status_code for answer in answers)
        return first, second

    first = consortium.fault("alpha", fault("403"))
    consortium.fault("alpha", fault("500"))
    consortium.fault(None, fault("404"))
    assert statuses() == (403, 404)
    consortium.clear(handle=first)
    assert statuses() == (500, 404)
    consortium.clear("alpha")
    assert statuses() == (404, 404)
    consortium.clear()
    assert statuses() == (200, 200)
    with pytest.raises(KeyError):
        consortium.hits(first)


def test_a_fault_on_the_page_is_not_spent_on_requests_that_it_cannot_spoil(consortium: Consortium, http: httpx.Client) -> None:
    url = consortium.url("alpha")
    first = http.get(url, params=LIST).content
    second = follow(http, url, first).content
    number = next(int(identifier[-6:]) for identifier in identifiers(second) if int(identifier[-6:]) in consortium.live("alpha"))
    handle = consortium.fault("alpha", fault("malformed-record", number=number, times=1))
    http.get(url, params=IDENTIFY)
    etree.fromstring(http.get(url, params=LIST).content)
    assert consortium.hits(handle) == 0
    assert consortium.log("alpha")[-1].fault is None
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(follow(http, url, first).content)
    assert consortium.hits(handle) == 1
    consortium.fault("alpha", fault("oai-error", verb="Identify"))
    assert error_code(http.get(url, params=IDENTIFY).content) == "badArgument"


def test_wrong_faults_are_refused() -> None:
    with pytest.raises(ValueError, match="malformed-record does nothing to Identify, only to GetRecord, ListRecords"):
        Fault(kind="malformed-record", verb="Identify")
    with pytest.raises(ValueError, match="unknown fault 'flood'"):
        Fault(kind="flood")
    with pytest.raises(ValueError, match="number of its record"):
        Fault(kind="poison")
    with pytest.raises(ValueError, match="unknown field secnds"):
        Fault.parse({"kind": "drip", "secnds": 1})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"token": "eternal"}, "token is 'eternal'; allowed: 'stateless'"), ({"page_size": 0}, "page_size is 0"), ({"name": "a b"}, "name"),
     ({"errors_status": "sometimes"}, "errors_status"), ({"records": -1}, "records is -1")],
)  # fmt: skip
def test_wrong_repositories_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Repository(**{"name": "alpha", **wrong})  # type: ignore[arg-type]


def test_a_page_of_a_hundred_requests_at_once_is_answered(consortium: Consortium) -> None:
    """Pipelined requests on one connection are answered in order, one at a time."""
    parts = urlsplit(consortium.url("alpha"))
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        line = "GET /alpha/oai?verb=Identify HTTP/1.1\r\nHost: x\r\n\r\n"
        threading.Thread(target=connection.sendall, args=(line.encode() * 100,)).start()
        received = b""
        while received.count(b"</OAI-PMH>") < 100:
            received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 200 OK") == 100
    assert consortium.stats()["total"]["in_flight_max"] == 1


def test_every_kind_of_fault_is_observed_here(request: pytest.FixtureRequest) -> None:
    """The last test of the module. It can only judge when the whole module was selected."""
    chosen = {item.name.split("[")[0] for item in request.session.items}
    if not chosen >= {name for name in globals() if name.startswith("test_")}:
        pytest.skip("only a part of this module was selected")
    assert set(KINDS) == SEEN
