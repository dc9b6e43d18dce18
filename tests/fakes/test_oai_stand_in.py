"""The stand-in consortium itself: protocol, tokens, contents, statistics. What it does wrong on purpose is tested beside."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from lxml import etree
from sickle import Sickle

from tests.fakes.oai import DAYS, Consortium, Fault, Repository, Truth
from tests.fakes.oai_remote import ROOT, spawn

NAMESPACE = "{http://www.openarchives.org/OAI/2.0/}"
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, verify=False, timeout=10) as client:
        yield client


def ask(http: httpx.Client, url: str, verb: str, **arguments: str) -> httpx.Response:
    """One request; `from_` stands for `from`."""
    return http.get(url, params={"verb": verb, **{name.rstrip("_"): value for name, value in arguments.items()}})


def error_code(answer: httpx.Response) -> str | None:
    found = re.search(rb'<(?:oai:)?error[^>]* code="(\w+)"', answer.content)
    return found[1].decode() if found else None


def token_of(answer: httpx.Response) -> str | None:
    """The text of the token element; None when there is no element."""
    found = re.search(rb"<(?:oai:)?resumptionToken[^>]*>([^<]*)<", answer.content)
    return found[1].decode() if found else None


def local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def read(body: bytes) -> list[tuple[str, Truth]]:
    """The records of a page as a strict reader sees them; payloads by slicing, in the order of the document."""
    root = etree.fromstring(body)
    payloads = iter(re.findall(rb"<(?:oai:)?metadata>\s*(.*?)\s*</(?:oai:)?metadata>", body, re.DOTALL))
    found = []
    for record in root.iter():
        if local(record) != "record" or not len(record) or local(record[0]) != "header":
            continue
        fields = {local(child): child.text for child in record[0]}
        deleted = record[0].get("status") == "deleted"
        assert fields["identifier"] is not None
        assert fields["datestamp"] is not None
        stamp = datetime.fromisoformat(fields["datestamp"])
        digest = None if deleted else hashlib.sha256(next(payloads)).hexdigest()
        found.append((fields["identifier"], Truth(stamp.replace(tzinfo=UTC), deleted, digest)))
    return found


def pages(http: httpx.Client, url: str, **arguments: str) -> list[httpx.Response]:
    """The pages of a list, as the simplest correct loop gets them."""
    answers = [ask(http, url, "ListRecords", **arguments)]
    while token := token_of(answers[-1]):
        answers.append(ask(http, url, "ListRecords", resumptionToken=token))
    return answers


def harvest(http: httpx.Client, url: str, prefix: str = "marc21", **arguments: str) -> dict[str, Truth]:
    return {identifier: truth for page in pages(http, url, metadataPrefix=prefix, **arguments) for identifier, truth in read(page.content)}


# -- protocol ------------------------------------------------------------------------------------------------------------------

LIST = {"verb": "ListRecords", "metadataPrefix": "marc21"}
RULES: list[tuple[dict[str, Any], str | None]] = [
    ({}, "badVerb"),
    ({"verb": "Harvest"}, "badVerb"),
    ({"verb": ["Identify", "Identify"]}, "badVerb"),
    ({"verb": "Identify", "set": "a"}, "badArgument"),
    ({"verb": "ListRecords"}, "badArgument"),
    ({**LIST, "identifier": "x"}, "badArgument"),
    ({**LIST, "from": ["2020-01-01", "2021-01-01"]}, "badArgument"),
    ({**LIST, "from": ""}, "badArgument"),
    ({**LIST, "from": "yesterday"}, "badArgument"),
    ({**LIST, "from": "2021-02-30"}, "badArgument"),
    ({**LIST, "from": "2021-01-01T00:00:00"}, "badArgument"),
    ({**LIST, "from": "2022-01-01", "until": "2021-01-01"}, "badArgument"),
    ({**LIST, "from": "2020-01-01", "until": "2021-01-01T00:00:00Z"}, "badArgument"),
    ({**LIST, "resumptionToken": "x"}, "badArgument"),
    ({"verb": "ListRecords", "resumptionToken": "x"}, "badResumptionToken"),
    ({"verb": "ListRecords", "resumptionToken": ""}, "badResumptionToken"),
    ({"verb": "ListRecords", "metadataPrefix": "mods"}, "cannotDisseminateFormat"),
    ({**LIST, "from": "2035-01-01"}, "noRecordsMatch"),
    ({**LIST, "set": "nothing"}, "noRecordsMatch"),
    ({"verb": "GetRecord", "metadataPrefix": "marc21"}, "badArgument"),
    ({"verb": "GetRecord", "metadataPrefix": "marc21", "identifier": "oai:alpha.example.org:999999"}, "idDoesNotExist"),
    ({"verb": "GetRecord", "metadataPrefix": "mods", "identifier": "oai:alpha.example.org:000001"}, "cannotDisseminateFormat"),
    ({"verb": "ListMetadataFormats", "identifier": "oai:other.example.org:000001"}, "idDoesNotExist"),
    ({"verb": "ListSets", "resumptionToken": "x"}, "badResumptionToken"),
    ({"verb": "Identify"}, None),
    ({"verb": "ListSets"}, None),
    ({"verb": "ListMetadataFormats"}, None),
    ({"verb": "ListIdentifiers", "metadataPrefix": "oai_dc"}, None),
    ({**LIST, "from": "2020-01-01", "until": "2030-01-01"}, None),
    ({**LIST, "set": "books"}, None),
]


def test_arguments_are_judged_by_the_rules_of_the_protocol(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", sets=("books", "books:rare", "films"))]) as consortium:
        seen = [error_code(http.get(consortium.url("alpha"), params=arguments)) for arguments, _ in RULES]
    assert seen == [expected for _, expected in RULES]


def test_a_repository_without_sets_says_so(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha")]) as consortium:
        assert error_code(ask(http, consortium.url("alpha"), "ListSets")) == "noSetHierarchy"
        assert error_code(ask(http, consortium.url("alpha"), "ListRecords", metadataPrefix="marc21", set="a")) == "noSetHierarchy"


def test_a_day_repository_keeps_days_and_refuses_seconds(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", granularity=DAYS)]) as consortium:
        url = consortium.url("alpha")
        assert b"<granularity>YYYY-MM-DD</granularity>" in ask(http, url, "Identify").content
        assert error_code(ask(http, url, "ListRecords", metadataPrefix="marc21", from_="2020-01-01T00:00:00Z")) == "badArgument"
        page = ask(http, url, "ListRecords", metadataPrefix="marc21", from_="2020-01-01")
        assert all(len(stamp) == 10 for stamp in re.findall(rb"<datestamp>(.*?)<", page.content))
        assert harvest(http, url) == consortium.truth("alpha")


def test_from_and_until_are_inclusive(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=10, frozen_now=NOON)]) as consortium:
        consortium.change("alpha", [3], backdated=NOON)
        consortium.change("alpha", [4], backdated=NOON + timedelta(seconds=1))
        url, moment = consortium.url("alpha"), "2025-06-01T12:00:00Z"
        assert list(harvest(http, url, from_=moment, until=moment)) == [consortium.identifier("alpha", 3)]
        assert len(harvest(http, url, from_=moment)) == 2
        assert len(harvest(http, url, until=moment)) == 9
        assert len(harvest(http, url, from_="2025-06-01", until="2025-06-01")) == 2


def test_lists_are_sorted_by_datestamp_and_a_changed_record_moves_to_its_new_place(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=30, page_size=10, frozen_now=NOON)]) as consortium:
        url = consortium.url("alpha")
        first = ask(http, url, "ListRecords", metadataPrefix="marc21")
        before = [identifier for identifier, _ in read(first.content)]
        moved = int(before[0][-6:])
        consortium.change("alpha", [moved])
        token = token_of(first)
        rest: list[tuple[str, Truth]] = []
        while token:
            page = ask(http, url, "ListRecords", resumptionToken=token)
            rest += read(page.content)
            token = token_of(page)
        assert [identifier for identifier, _ in rest][-1] == before[0]
        assert len(rest) == 21, "20 that were left and the one that moved; none is skipped"
        stamps = [truth.datestamp for _, truth in rest]
        assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    ("code", "status"), [("badArgument", 400), ("badResumptionToken", 400), ("noRecordsMatch", 404), ("cannotDisseminateFormat", 422)]
)
def test_errors_may_carry_the_statuses_of_folio(http: httpx.Client, code: str, status: int) -> None:
    asked = next(arguments for arguments, expected in RULES if expected == code and "set" not in arguments)
    with Consortium([Repository(name="alpha", errors_status="folio")]) as consortium:
        answer = http.get(consortium.url("alpha"), params=asked)
    assert (error_code(answer), answer.status_code) == (code, status)


def test_a_form_and_a_query_are_the_same_request(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=3)]) as consortium:
        by_form = http.post(consortium.url("alpha"), data=LIST)
        assert read(by_form.content) == read(http.get(consortium.url("alpha"), params=LIST).content)
        assert http.put(consortium.url("alpha")).status_code == 405
        assert http.get(consortium.base + "/nowhere/oai").status_code == 404


# -- lists ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["stateless", "single-use", "constant"])
@pytest.mark.parametrize("records", [0, 1, 49, 50, 51, 100, 120])
def test_a_list_loop_sees_exactly_the_truth(http: httpx.Client, token: str, records: int) -> None:
    with Consortium([Repository(name="alpha", records=records, deleted_share=0.1, token=token)]) as consortium:
        seen = harvest(http, consortium.url("alpha"))
        assert seen == consortium.truth("alpha")
        assert len(seen) == records


@pytest.mark.parametrize("end_style", ["empty", "absent", "no_records_match", "empty_page_then_end"])
@pytest.mark.parametrize("records", [100, 120])
def test_lists_end_in_each_of_four_ways(http: httpx.Client, end_style: str, records: int) -> None:
    with Consortium([Repository(name="alpha", records=records, end_style=end_style)]) as consortium:
        answers = pages(http, consortium.url("alpha"), metadataPrefix="marc21")
    full = 2 if records == 100 else 3
    last = answers[-1]
    assert sum(len(read(answer.content)) for answer in answers) == records
    expected: dict[str, tuple[str | None, str | None, int]] = {"empty": ("", None, full), "absent": (None, None, full)}
    expected |= {"no_records_match": (None, "noRecordsMatch", full + 1), "empty_page_then_end": ("", None, full + 1)}
    assert (token_of(last), error_code(last), len(answers)) == expected[end_style]


def test_the_three_kinds_of_token_differ_in_what_a_second_use_gives(http: httpx.Client) -> None:
    kinds = ("stateless", "single-use", "constant")
    with Consortium([Repository(name=kind, token=kind, records=200) for kind in kinds]) as consortium:
        seen = {}
        for kind in kinds:
            token = token_of(ask(http, consortium.url(kind), "ListRecords", metadataPrefix="marc21")) or ""
            second = ask(http, consortium.url(kind), "ListRecords", resumptionToken=token)
            again = ask(http, consortium.url(kind), "ListRecords", resumptionToken=token)
            seen[kind] = (token_of(second) == token, error_code(again), read(again.content) == read(second.content))
    assert seen["stateless"] == (False, None, True)
    assert seen["single-use"] == (False, "badResumptionToken", False)
    assert seen["constant"] == (True, None, False)


def test_a_token_expires_by_the_servers_clock_and_announces_it(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", token_seconds=60, frozen_now=NOON)]) as consortium:
        url = consortium.url("alpha")
        first = ask(http, url, "ListRecords", metadataPrefix="marc21")
        assert b'expirationDate="2025-06-01T12:01:00Z"' in first.content
        consortium.advance("alpha", 59)
        assert error_code(ask(http, url, "ListRecords", resumptionToken=token_of(first) or "")) is None
        consortium.advance("alpha", 1)
        assert error_code(ask(http, url, "ListRecords", resumptionToken=token_of(first) or "")) == "badResumptionToken"


def test_a_restarted_server_forgets_the_tokens_it_keeps(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", token="single-use")]) as consortium:
        token = token_of(ask(http, consortium.url("alpha"), "ListRecords", metadataPrefix="marc21")) or ""
        consortium.forget_tokens("alpha")
        assert error_code(ask(http, consortium.url("alpha"), "ListRecords", resumptionToken=token)) == "badResumptionToken"


def test_a_damaged_token_and_a_token_of_another_verb_are_refused(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha")]) as consortium:
        url = consortium.url("alpha")
        token = token_of(ask(http, url, "ListRecords", metadataPrefix="marc21")) or ""
        for wrong in (token[:-8] + "AAAA" + token[-4:], token[1:], "é"):
            assert error_code(ask(http, url, "ListRecords", resumptionToken=wrong)) == "badResumptionToken"
        assert error_code(ask(http, url, "ListIdentifiers", resumptionToken=token)) == "badResumptionToken"


@pytest.mark.parametrize(
    ("mode", "size", "cursor"),
    [(True, "100", "50"), (False, None, None), ("too-high", "111", "50"), ("too-low", "89", "50"), ("cursor-is-size", "100", "100")],
)  # fmt: skip
def test_the_size_of_a_list_is_told_in_each_of_five_ways(
    http: httpx.Client, mode: bool | str, size: str | None, cursor: str | None
) -> None:
    with Consortium([Repository(name="alpha", records=100, page_size=25, complete_list_size=mode)]) as consortium:
        third = pages(http, consortium.url("alpha"), metadataPrefix="marc21")[2]
    element = etree.fromstring(third.content).find(f".//{NAMESPACE}resumptionToken")
    assert element is not None
    assert (element.get("completeListSize"), element.get("cursor")) == (size, cursor)
    assert element.text


def test_sets_hold_their_records_and_those_of_their_subsets(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=60, sets=("books", "books:rare", "films"))]) as consortium:
        url = consortium.url("alpha")
        by_set = {name: harvest(http, url, set=name) for name in ("books", "books:rare", "films")}
        for name, held in by_set.items():
            assert held == consortium.truth("alpha", of_set=name)
        assert by_set["books:rare"].keys() < by_set["books"].keys()
        assert {**by_set["books"], **by_set["films"]} == consortium.truth("alpha")


def test_list_identifiers_gives_the_headers_of_list_records(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=40, deleted_share=0.2)]) as consortium:
        headers = etree.fromstring(ask(http, consortium.url("alpha"), "ListIdentifiers", metadataPrefix="marc21").content)
        seen = {header[0].text: header.get("status") == "deleted" for header in headers.iter(f"{NAMESPACE}header")}
        assert seen == {identifier: truth.deleted for identifier, truth in consortium.truth("alpha").items()}
        assert 0 < sum(seen.values()) < 40


# -- what is written ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["correct", "none", "prefixed", "on-record"])
@pytest.mark.parametrize("payload", ["default", "prefixed", "inherited"])
def test_pages_are_well_formed_with_every_namespace_habit(http: httpx.Client, namespace: str, payload: str) -> None:
    with Consortium([Repository(name="alpha", namespace=namespace, payload=payload)]) as consortium:
        page = pages(http, consortium.url("alpha"), metadataPrefix="marc21")[0]
        assert harvest(http, consortium.url("alpha")) == consortium.truth("alpha")
    root = etree.fromstring(page.content)
    record = next(element for element in root.iter() if local(element) == "record")
    spaces = {"correct": (NAMESPACE, NAMESPACE), "none": ("", ""), "prefixed": (NAMESPACE, NAMESPACE), "on-record": ("", NAMESPACE)}
    assert (root.tag, record.tag) == (f"{spaces[namespace][0]}OAI-PMH", f"{spaces[namespace][1]}record")
    assert root.find(".//{http://www.loc.gov/MARC21/slim}datafield[@tag='245']") is not None


def test_records_are_deterministic_and_differ_by_number_version_repository_and_seed() -> None:
    def digests(repository: Repository, *changed: int) -> set[str | None]:
        with Consortium([repository]) as consortium:
            if changed:
                consortium.change(repository.name, changed)
            return {truth.digest for truth in consortium.truth(repository.name).values()}

    plain = digests(Repository(name="alpha"))
    assert len(plain) == 100
    assert plain == digests(Repository(name="alpha"))
    assert not plain & digests(Repository(name="beta"))
    assert not plain & digests(Repository(name="alpha", seed=1))
    assert len(plain - digests(Repository(name="alpha"), 1, 2, 3)) == 3


def test_marc_records_have_a_real_structure(http: httpx.Client) -> None:
    marc = "{http://www.loc.gov/MARC21/slim}"
    tags: set[str] = set()
    with Consortium([Repository(name="alpha", records=48)]) as consortium:
        page = ask(http, consortium.url("alpha"), "ListRecords", metadataPrefix="marc21")
    for record in etree.fromstring(page.content).iter(f"{marc}record"):
        assert len(record.findtext(f"{marc}leader") or "") == 24
        assert len(record.findtext(f"{marc}controlfield[@tag='008']") or "") == 40
        isbn = [int(digit) for digit in record.findtext(f"{marc}datafield[@tag='020']/{marc}subfield") or ""]
        assert len(isbn) == 13
        assert sum(digit * (3 if place % 2 else 1) for place, digit in enumerate(isbn)) % 10 == 0
        tags |= {field.get("tag", "") for field in record}
    wanted = (
        "001 003 005 007 008 010 020 022 035 040 100 110 245 246 250 264 300 336 337 338 490 500 520 650 651 700 776 852 856 876 880 952"
    )
    assert set(wanted.split()) <= tags


@pytest.mark.parametrize("size", [4_000, 20_000])
def test_records_are_padded_to_about_the_size_asked(http: httpx.Client, size: int) -> None:
    with Consortium([Repository(name="alpha", records=24, record_bytes=size)]) as consortium:
        page = ask(http, consortium.url("alpha"), "ListRecords", metadataPrefix="marc21")
    payloads = re.findall(rb"<metadata>\n(.*?)\n</metadata>", page.content, re.DOTALL)
    assert len(payloads) == 24
    assert all(size * 0.98 <= len(payload) <= size * 1.05 for payload in payloads)


@pytest.mark.parametrize(
    ("habit", "asked", "label"),
    [("never", "gzip", None), ("accepted", "gzip", "gzip"), ("accepted", "identity", None), ("always", "identity", "gzip"),
     ("deflate", "identity", "deflate"), ("raw-deflate", "identity", "deflate")],
)  # fmt: skip
def test_compression_is_labelled_and_unpacks_to_the_page(http: httpx.Client, habit: str, asked: str, label: str | None) -> None:
    with Consortium([Repository(name="alpha", gzip=habit)]) as consortium:
        answer = http.get(consortium.url("alpha"), params=LIST, headers={"Accept-Encoding": asked})
    assert answer.headers.get("Content-Encoding") == label
    assert len(read(answer.content)) == 50


def test_unlabelled_gzip_comes_without_a_content_encoding(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", gzip="unlabelled")]) as consortium:
        answer = http.get(consortium.url("alpha"), params=LIST)
    assert "Content-Encoding" not in answer.headers
    assert answer.content[:2] == b"\x1f\x8b"


# -- changes -------------------------------------------------------------------------------------------------------------------


def test_changes_are_stamped_with_the_servers_time_and_seen_in_the_truth(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=10, frozen_now=NOON, clock_offset=600)]) as consortium:
        url, at = consortium.url("alpha"), NOON + timedelta(minutes=10)
        before = harvest(http, url)
        consortium.change("alpha", [1])
        consortium.touch("alpha", [2])
        consortium.delete("alpha", [3])
        consortium.vanish("alpha", [4])
        assert list(consortium.add("alpha", 2)) == [10, 11]
        after = harvest(http, url)
        assert after == consortium.truth("alpha")
        one, two, three, four = (consortium.identifier("alpha", number) for number in (1, 2, 3, 4))
        assert after[one].datestamp == at
        assert after[one].digest != before[one].digest
        assert after[two] == Truth(at, False, before[two].digest)
        assert after[three] == Truth(at, True, None)
        assert four not in after
        assert len(after) == 11
        assert b"<responseDate>2025-06-01T12:10:00Z" in ask(http, url, "Identify").content
        consortium.restore("alpha", [3, 4])
        assert harvest(http, url)[three] == Truth(at, False, before[three].digest)
        assert harvest(http, url)[four].digest == before[four].digest
        with pytest.raises(ValueError, match="no record 12"):
            consortium.change("alpha", [12])


def test_a_repository_without_deleted_records_lets_them_vanish(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=100, deleted_share=0.2, deleted_record="no")]) as consortium:
        held = len(consortium.truth("alpha"))
        assert 70 < held < 90
        consortium.delete("alpha", consortium.live("alpha")[:5])
        assert len(harvest(http, consortium.url("alpha"))) == held - 5
        assert b"<deletedRecord>no<" in ask(http, consortium.url("alpha"), "Identify").content


def test_a_port_that_is_taken_is_an_error() -> None:
    with Consortium() as first:
        taken = int(first.base.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"), Consortium(port=taken):
            pass


def test_a_repository_joins_while_others_are_served(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha")]) as consortium:
        url = consortium.serve(Repository(name="beta", group="late", records=7))
        assert harvest(http, url) == consortium.truth("beta")
        assert consortium.stats()["groups"]["late"]["requests"] == 1
        with pytest.raises(ValueError, match="beta already"):
            consortium.serve(Repository(name="beta"))


# -- access --------------------------------------------------------------------------------------------------------------------


def test_authorization_and_keys_are_demanded_exactly(http: httpx.Client) -> None:
    repositories = [
        Repository(name="basic", requires_authorization="Bearer open"),
        Repository(name="keyed", requires_argument=("apikey", "secret")),
        Repository(name="loose", allowed_arguments=("apikey",)),
    ]
    with Consortium(repositories) as consortium:
        identify = {"verb": "Identify"}
        assert http.get(consortium.url("basic"), params=identify).status_code == 401
        assert http.get(consortium.url("basic"), params=identify, headers={"Authorization": "Bearer shut"}).status_code == 401
        good = http.get(consortium.url("basic"), params=identify, headers={"Authorization": "Bearer open"})
        assert (good.status_code, error_code(good)) == (200, None)
        assert ("authorization", "Bearer open") in consortium.last_headers("basic")
        assert http.get(consortium.url("keyed"), params=identify).status_code == 401
        assert error_code(http.get(consortium.url("keyed"), params={**identify, "apikey": "secret"})) is None
        assert error_code(http.get(consortium.url("loose"), params={**identify, "apikey": "any"})) is None
        assert (
            error_code(http.get(consortium.url("basic"), params={**identify, "apikey": "any"}, headers=good.request.headers))
            == "badArgument"
        )


def test_too_many_requests_in_a_minute_are_refused_with_a_time(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", requests_per_minute=3)]) as consortium:
        answers = [ask(http, consortium.url("alpha"), "Identify") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 58 <= int(answers[3].headers["Retry-After"]) <= 61


# -- statistics ----------------------------------------------------------------------------------------------------------------


def test_requests_in_flight_are_counted_per_repository_and_group() -> None:
    repositories = [Repository(name=f"s{n}", group="even" if n % 2 == 0 else "odd") for n in range(6)]
    with Consortium(repositories) as consortium, ThreadPoolExecutor(6) as threads:
        with consortium.hold():
            asked = [threads.submit(httpx.get, consortium.url(f"s{n}"), params={"verb": "Identify"}) for n in (0, 1, 2, 4)]
            consortium.wait_in_flight(3, group="even")
            consortium.wait_in_flight(4)
            during = consortium.stats()
            assert not any(one.done() for one in asked)
        assert [one.result().status_code for one in asked] == [200] * 4
        after = consortium.stats()
    assert (during["groups"]["even"]["in_flight"], during["groups"]["odd"]["in_flight"]) == (3, 1)
    assert (after["groups"]["even"]["in_flight"], after["groups"]["even"]["in_flight_max"]) == (0, 3)
    assert (after["total"]["in_flight_max"], after["repositories"]["s3"]["requests"]) == (4, 0)
    assert after["groups"]["even"]["seconds"].keys() == {"0", "1", "2", "3"}
    assert after["repositories"]["s0"]["verbs"] == {"Identify": 1}
    assert after["repositories"]["s0"]["statuses"] == {"200": 1}


def test_a_client_that_goes_away_is_no_longer_in_flight() -> None:
    with Consortium([Repository(name="alpha")]) as consortium:
        consortium.fault("alpha", Fault(kind="stall"))
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(consortium.url("alpha"), params={"verb": "Identify"}, timeout=0.05)
        consortium.wait_in_flight(0)
        assert consortium.stats()["total"]["in_flight_max"] == 1
        assert consortium.log()[-1].status is None


def test_the_log_and_a_reset(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha"), Repository(name="beta")]) as consortium:
        http.get(consortium.url("alpha"), params={**LIST, "from": "2035-01-01"})
        ask(http, consortium.url("beta"), "Identify")
        entry = consortium.log("alpha")[0]
        assert (entry.verb, entry.arguments["from"], entry.status, entry.error) == ("ListRecords", "2035-01-01", 200, "noRecordsMatch")
        consortium.reset_stats()
        assert consortium.log() == []
        assert consortium.stats()["total"]["requests"] == 0
        consortium.wait_requests(0)
        with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 requests"):
            consortium.wait_requests(1, timeout=0.01)


def test_latency_counts_as_in_flight(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", latency=0.05)]) as consortium:
        ask(http, consortium.url("alpha"), "Identify")
        assert consortium.stats()["groups"]["default"]["seconds"]["1"] >= 0.05


def test_written_pages_from_the_cache_are_the_same_and_changes_are_seen(http: httpx.Client) -> None:
    with Consortium([Repository(name="alpha", records=120)], cache_megabytes=1) as consortium:
        first, second = harvest(http, consortium.url("alpha")), harvest(http, consortium.url("alpha"))
        consortium.change("alpha", [5])
        third = harvest(http, consortium.url("alpha"))
        assert first == second
        assert third == consortium.truth("alpha")
        assert third != first


# -- a process of its own, and a peer -------------------------------------------------------------------------------------------


def test_the_consortium_runs_as_a_process_of_its_own(http: httpx.Client) -> None:
    repositories: list[Repository | dict[str, Any]]
    repositories = [Repository(name="alpha", deleted_share=0.1, frozen_now=NOON), {"name": "s{number:03d}", "repeat": 3, "records": 5}]
    with spawn(repositories, [{"name": "s001", "kind": "500"}]) as consortium:
        assert ask(http, consortium.url("s001"), "Identify").status_code == 500
        assert len(consortium.truth("s002")) == 5
        consortium.change("alpha", [1, 2])
        assert consortium.add("alpha", 2) == [100, 101]
        consortium.delete("alpha", [3])
        consortium.advance("alpha", 10)
        assert harvest(http, consortium.url("alpha")) == consortium.truth("alpha")
        handle = consortium.fault("alpha", Fault(kind="503", nth=(2,)))
        assert [ask(http, consortium.url("alpha"), "Identify").status_code for _ in range(3)] == [200, 503, 200]
        assert consortium.hits(handle) == 1
        consortium.clear()
        assert ask(http, consortium.url("s001"), "Identify").status_code == 200
        assert consortium.log("s001")[-1]["status"] == 200
        assert consortium.stats()["total"]["in_flight_max"] == 1
        assert http.get(consortium.base + "/_stats").json()["repositories"]["s001"]["requests"] == 2
        with pytest.raises(ValueError, match="unknown fault 'flood'"):
            consortium._ask("/_fault", name="alpha", kind="flood")


def test_the_command_says_when_it_is_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    spec, ready = tmp_path / "spec.json", tmp_path / "ready"
    spec.write_text(json.dumps({"repositories": [{"name": "alpha", "records": 3}]}), encoding="utf-8")
    command = [sys.executable, "-m", "tests.fakes.oai", "--spec", str(spec), "--ready-file", str(ready)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert json.loads(ready.read_text(encoding="utf-8")) == line
        assert httpx.get(f"{line['url']}/alpha/oai", params={"verb": "Identify"}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_a_wrong_specification_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.fakes.oai import main

    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"repositories": [{"name": "alpha", "tokens": 3}]}), encoding="utf-8")
    assert main(["--spec", str(spec)]) == 2
    assert "repository alpha: unknown field tokens" in capsys.readouterr().err


def test_sickle_harvests_the_truth() -> None:
    with Consortium([Repository(name="alpha", records=130, deleted_share=0.1, token="single-use")]) as consortium:
        records = Sickle(consortium.url("alpha")).ListRecords(metadataPrefix="marc21")
        seen = {record.header.identifier: (record.header.datestamp, record.header.deleted) for record in records}
        truth = {
            identifier: (held.datestamp.strftime("%Y-%m-%dT%H:%M:%SZ"), held.deleted)
            for identifier, held in consortium.truth("alpha").items()
        }
    assert seen == truth
