"""What an HTTP answer means: every status with every kind of body."""

from __future__ import annotations

import pytest

from harvester import answers, oai
from harvester.client import Reply
from harvester.errors import (
    BadArgument,
    BadResumptionToken,
    BotWall,
    Busy,
    HarvestError,
    IdDoesNotExist,
    NoRecordsMatch,
    NotOai,
    ProtocolError,
    Refused,
    RequestFailed,
    ServerFailed,
    Truncated,
    Unreadable,
)

ASKED = oai.Request(verb="ListRecords", arguments=(("metadataPrefix", "marc21"),))
NOW = 1_000_000.0


def envelope(inner: str) -> bytes:
    return (
        f'<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><responseDate>2026-01-01T00:00:00Z</responseDate>{inner}</OAI-PMH>'.encode()
    )


def error(code: str) -> bytes:
    return envelope(f'<error code="{code}">said so</error>')


PAGE = envelope("<ListRecords><record><header><identifier>1</identifier></header><metadata><a/></metadata></record></ListRecords>")
HTML = b"<!DOCTYPE html><html><head><title>Oops</title></head><body>Internal error</body></html>"
WALL = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>cf-chl</body></html>"
JSON = b'{"error": "teapot"}'
BODIES = {
    "a page": PAGE,
    "an OAI error": error("badArgument"),
    "HTML": HTML,
    "a wall": WALL,
    "nothing": b"",
    "JSON": JSON,
    "a cut page": PAGE[:-9],
}
# For each status: what comes of a page, an OAI error, HTML, a wall, nothing, JSON, a cut page.
MATRIX: dict[int, tuple[type[HarvestError] | None, ...]] = {
    200: (None, BadArgument, NotOai, BotWall, NotOai, NotOai, Truncated),
    206: (None, BadArgument, NotOai, BotWall, NotOai, NotOai, Truncated),
    302: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    304: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    400: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    401: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    403: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    404: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    408: (ServerFailed, BadArgument, ServerFailed, BotWall, ServerFailed, ServerFailed, ServerFailed),
    410: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    422: (Refused, BadArgument, Refused, BotWall, Refused, Refused, Refused),
    429: (Busy, BadArgument, Busy, BotWall, Busy, Busy, Busy),
    500: (ServerFailed, BadArgument, ServerFailed, BotWall, ServerFailed, ServerFailed, ServerFailed),
    502: (ServerFailed, BadArgument, ServerFailed, BotWall, ServerFailed, ServerFailed, ServerFailed),
    503: (Busy, BadArgument, Busy, BotWall, Busy, Busy, Busy),
    504: (ServerFailed, BadArgument, ServerFailed, BotWall, ServerFailed, ServerFailed, ServerFailed),
    599: (ServerFailed, BadArgument, ServerFailed, BotWall, ServerFailed, ServerFailed, ServerFailed),
}


def read(status: int, body: bytes, **headers: str) -> oai.Page:
    return answers.read(Reply(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()}), ASKED, now=NOW)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(status, body, expected) for status, row in MATRIX.items() for body, expected in zip(BODIES, row, strict=True)],
)
def test_every_status_with_every_body_is_a_page_or_one_of_our_errors(status: int, body: str, expected: type[HarvestError] | None) -> None:
    """harvest 12, 13, 15"""
    if expected is None:
        assert [record.identifier for record in read(status, BODIES[body]).records] == ["1"]
        return
    with pytest.raises(HarvestError) as caught:
        read(status, BODIES[body])
    assert type(caught.value) is expected


@pytest.mark.parametrize("status", [200, 400, 404, 422, 500])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("noRecordsMatch", NoRecordsMatch),
        ("badResumptionToken", BadResumptionToken),
        ("idDoesNotExist", IdDoesNotExist),
        ("outOfMemory", ProtocolError),
    ],
)
def test_oai_errors_are_read_whatever_the_status(status: int, code: str, expected: type[ProtocolError]) -> None:
    """harvest 13: FOLIO answers 400, 404, 422 and 500 with an OAI error inside."""
    with pytest.raises(ProtocolError) as caught:
        read(status, error(code))
    assert type(caught.value) is expected
    assert caught.value.code == code


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "body", "retry_at"),
    [
        ("90", HTML, NOW + 90),
        ("90", error("badResumptionToken"), NOW + 90),  # it says when to come back, so the error can wait
        ("90", b"", NOW + 90),
        (None, HTML, None),
        (None, b"", None),
        ("rubbish", HTML, None),
        ("31536000", b"", NOW + 86400),
    ],
)
def test_busy_knows_when_to_come_back(status: int, header: str | None, body: bytes, retry_at: float | None) -> None:
    """harvest 15"""
    with pytest.raises(Busy) as caught:
        read(status, body, **({"retry_after": header} if header is not None else {}))
    assert caught.value.retry_at == retry_at
    assert isinstance(caught.value, RequestFailed)


@pytest.mark.parametrize("status", [429, 503])
def test_an_oai_error_in_a_busy_answer_counts_when_no_time_is_named(status: int) -> None:
    """harvest 13, 15"""
    with pytest.raises(BadResumptionToken):
        read(status, error("badResumptionToken"), retry_after="rubbish")


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_challenge_of_cloudflare_is_known_by_its_header_alone(status: int) -> None:
    """harvest 12"""
    with pytest.raises(BotWall, match="Cloudflare"):
        read(status, b"", cf_mitigated="challenge")


def test_a_challenge_goes_before_retry_after() -> None:
    """harvest 12: a wall is not taken for a busy repository, which would be asked again and again."""
    with pytest.raises(BotWall):
        read(503, WALL, retry_after="5")


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "credentials"), (403, "forbids"), (404, "OAI-PMH interface"), (410, "gone"), (418, "418")]
)
def test_a_refusal_says_what_to_do(status: int, advice: str) -> None:
    """harvest 15"""
    with pytest.raises(Refused, match=advice):
        read(status, HTML)


def test_the_verb_asked_for_is_the_one_that_counts() -> None:
    """harvest 12"""
    with pytest.raises(Unreadable, match="neither <ListRecords> nor an <error>"):
        read(200, envelope("<Identify><granularity>YYYY-MM-DD</granularity></Identify>"))


def test_repair_reaches_the_parser() -> None:
    """harvest 18"""
    page = PAGE.replace(b"<a/>", b"<a>\x0b</a>")
    reply = Reply(status=200, body=page)
    assert answers.read(reply, ASKED, now=NOW, repair=True).records[0].payload == b"<a></a>"
    assert answers.read(reply, ASKED, now=NOW).damaged[0].identifier == "1"
