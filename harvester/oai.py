"""OAI-PMH 2.0 without I/O: what to ask, and what the bytes of an answer say.

``parse(body, verb=...)`` gives a ``Page`` or raises one of ``harvester.errors``. A page counts only when it is
well-formed to its end, its root is an OAI-PMH envelope and it holds the verb that was asked, or an error. Elements
are matched by local name, because repositories get the namespace wrong (absent, prefixed, on the record only).

When a page is complete but not well-formed, one bad record must not cost its neighbours: ``harvester.salvage`` reads
it record by record and gives the bad ones as ``Damage``.

Source of the rules: Open Archives Initiative Protocol for Metadata Harvesting 2.0 (2002, document version 2015).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from xml.parsers import expat

from lxml import etree

from harvester import encoding, slices
from harvester.errors import BotWall, Malformed, NotOai, ProtocolError, Truncated, Unreadable, protocol_error

LISTS: Final = frozenset({"ListRecords", "ListIdentifiers"})
HEAD: Final = 4096  # bytes: enough of a document's beginning to tell what it is
# Each comment ends at its first "-->": a pattern that may try others would take exponential time over many comments.
END_OF_ENVELOPE: Final = re.compile(rb"</(?:[\w.-]+:)?OAI-PMH\s*>\s*(?:<!--(?:(?!-->).)*-->\s*)*\Z", re.DOTALL)
ENVELOPE: Final = re.compile(rb"<(?:[\w.-]+:)?OAI-PMH\b")
# What the challenge pages of Cloudflare, Imperva, Akamai, AWS, Anubis and their like have in common.
BOT_WALL: Final = re.compile(
    rb"just a moment|cf[-_]chl|challenge-platform|attention required|captcha|checking (?:if|your) .{0,40}(?:browser|connection)|"
    rb"verify(?:ing)? (?:that )?you are (?:a )?human|making sure you(?:&#39;|')re not a bot|_incapsula_|pardon our interruption|"
    rb"enable javascript and cookies|access denied.{0,200}(?:bot|automated)|awswaf|anubis_challenge|ddos protection",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request of the protocol: a verb and its arguments, in the order in which they are sent."""

    verb: str
    arguments: tuple[tuple[str, str], ...] = ()

    def parameters(self) -> list[tuple[str, str]]:
        """The query parameters."""
        return [("verb", self.verb), *self.arguments]

    @property
    def token(self) -> str | None:
        """The resumption token it carries, if any."""
        return dict(self.arguments).get("resumptionToken")

    def __str__(self) -> str:
        return " ".join([self.verb, *(f"{name}={value if len(value) < 60 else value[:57] + '...'}" for name, value in self.arguments)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A header and, of a live record, its metadata.

    ``datestamp`` is as the repository gave it. ``payload`` is the element inside ``<metadata>`` as harvested, byte for
    byte (see ``harvester.slices``); ``digest`` is its SHA-256. Both are None for deleted records and bare headers.
    """

    identifier: str
    datestamp: str
    deleted: bool
    sets: tuple[str, ...] = ()
    payload: bytes | None = field(default=None, repr=False)
    digest: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A record that could not be taken.

    ``identifier`` is None where not even the header could be read. ``place`` tells a person where to look (number of
    the record in its page, byte offset), ``snippet`` shows at most 500 characters around it.
    """

    identifier: str | None
    place: str
    reason: str
    snippet: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A resumption token that goes on. Size and cursor are advisory; ``expires`` is by the repository's clock."""

    value: str
    expires: datetime | None = None
    complete_list_size: int | None = None
    cursor: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What Identify says of a repository."""

    repository_name: str
    base_url: str
    protocol_version: str
    earliest: str
    deleted_record: str
    granularity: str

    @property
    def seconds(self) -> bool:
        """Whether datestamps carry a time of day."""
        return "hh" in self.granularity.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A metadata format that a repository offers."""

    prefix: str
    namespace: str
    schema: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Set:
    """A set of a repository: its spec, as sent in requests, and its name."""

    spec: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One answer of a repository.

    ``token`` is None when the list ends here. ``complete_list_size`` may be told by an empty token, too. ``digest``
    tells two pages apart without regard to the time of the answer. ``size`` is in bytes, after decompression.
    """

    verb: str
    response_date: datetime | None
    records: tuple[Record, ...] = ()
    damaged: tuple[Damage, ...] = ()
    token: Token | None = None
    complete_list_size: int | None = None
    identity: Identity | None = None
    formats: tuple[Format, ...] = ()
    sets: tuple[Set, ...] = ()
    size: int = 0
    digest: bytes = b""


class _Parsers(threading.local):
    """One parser a thread: lxml's are not shared between threads."""

    def __init__(self) -> None:
        # huge_tree lifts libxml2's own bounds (10 MB a text node); ours is the cap on page bytes, and a document type
        # is refused, so nothing can be amplified.
        self.xml = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, remove_pis=True)


_parsers = _Parsers()


def parse(body: bytes, *, verb: str, repair: bool = False) -> Page:
    """The page that these bytes are.

    Raises ``NotOai``, ``Truncated``, ``Unreadable``, ``BotWall``, or a ``ProtocolError`` when the page is an <error>.
    With ``repair``, characters that XML forbids are removed from records that would fail because of them.
    """
    size, body = len(body), encoding.as_utf8(body)
    try:
        return replace(read(body, verb), size=size)
    except Malformed as error:
        complaint = str(error)
    refuse_foreign(body)
    if not END_OF_ENVELOPE.search(body[-HEAD:]):
        raise Truncated(f"the page ends in the middle of the document, after {size:,} bytes: {complaint}")
    from harvester import salvage  # they need each other: a page is salvaged by parsing its records one by one

    return replace(salvage.parse(body, verb=verb, repair=repair, complaint=complaint), size=size)


def read(body: bytes, verb: str) -> Page:
    """The page of a well-formed document in UTF-8; raises ``Malformed`` otherwise."""
    try:
        root, spans = tree(body, cutting=verb in {"ListRecords", "GetRecord"})
    except (expat.ExpatError, etree.XMLSyntaxError, LookupError, ValueError) as error:  # expat: an encoding that it does not know
        raise Malformed(str(error)) from error
    if local(root) != "OAI-PMH":
        refuse_foreign(body)
        raise NotOai(f"the root element is <{local(root)}>, not <OAI-PMH>; is the URL that of the OAI-PMH interface?")
    info: Any = root.getroottree().docinfo  # the stubs do not know all of it
    if info.doctype:
        raise Unreadable("the page declares a document type; entities are not expanded, so the page is refused")
    if (info.encoding or "UTF-8").upper() not in {"UTF-8", "US-ASCII"}:
        raise Unreadable(f"the page is in {info.encoding}, but does not say so in a way that can be trusted")

    response_date: datetime | None = None
    errors: list[ProtocolError] = []
    answer: etree._Element | None = None
    for element in root:
        name = local(element)
        if name == "responseDate":
            response_date = parse_moment(text(element))
        elif name == "error":
            errors.append(protocol_error(element.get("code") or "", text(element)))
        elif name == verb and answer is None:
            answer = element
        elif name == verb:
            raise Unreadable(f"the page holds <{verb}> twice")
    if errors:  # beside a list, too: a list that an error has cut short is no whole page
        raise errors[0]
    if answer is None:
        raise Unreadable(f"the page holds neither <{verb}> nor an <error>")
    if verb == "Identify":
        return Page(verb=verb, response_date=response_date, identity=identity(answer), size=len(body))
    if verb == "ListMetadataFormats":
        formats = tuple(
            Format(prefix=child(f, "metadataPrefix"), namespace=child(f, "metadataNamespace"), schema=child(f, "schema"))
            for f in elements(answer)
        )
        return Page(verb=verb, response_date=response_date, formats=formats, size=len(body))
    token, size = resumption(answer)
    if verb == "ListSets":
        sets = tuple(Set(spec=child(s, "setSpec"), name=child(s, "setName")) for s in elements(answer) if local(s) == "set")
        return Page(verb=verb, response_date=response_date, sets=sets, token=token, complete_list_size=size, size=len(body))
    records, damaged = list_records(answer, body, spans) if verb != "ListIdentifiers" else list_headers(answer)
    return Page(
        verb=verb,
        response_date=response_date,
        records=tuple(records),
        damaged=tuple(damaged),
        token=token,
        complete_list_size=size,
        size=len(body),
        digest=fingerprint(records, damaged),
    )


def tree(body: bytes, *, cutting: bool) -> tuple[etree._Element, list[tuple[int, int]] | None]:
    """The root of a document; of one that can be cut, that of its skeleton, with the spans of the payloads cut out."""
    if cutting and (found := slices.cut(body)) is not None:
        skeleton, spans = found
        try:
            root = etree.fromstring(skeleton, _parsers.xml)
            if sum(1 for _ in root.iter("{*}metadata")) == len(spans):
                return root, spans
        except etree.XMLSyntaxError:
            pass  # expat has read the page to its end, so it is the cut that was wrong: a ">" in an attribute of <metadata>
    return etree.fromstring(body, _parsers.xml), None


def list_records(answer: etree._Element, body: bytes, spans: list[tuple[int, int]] | None) -> tuple[list[Record], list[Damage]]:
    """Records and damages of a ListRecords or GetRecord element, whose payloads are at these spans of the body."""
    found: list[tuple[etree._Element, etree._Element | None]] = []
    for element in answer:
        if local(element) != "record":
            continue
        header = metadata = None
        for part in element:
            name = local(part)
            if name == "header":
                header = part
            elif name == "metadata" and metadata is None:
                metadata = part
        if header is None:
            header = element  # reported below as a record without an identifier
        found.append((header, metadata))
    elements_found = [metadata for _, metadata in found if metadata is not None]
    if spans is None or len(spans) != len(elements_found):
        try:
            spans = slices.by_expat(body)
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise Malformed(str(error)) from error
        if len(spans) != len(elements_found):
            raise Unreadable("the page holds records in more than one place")
    payloads = slices.payloads(body, elements_found, spans)
    records: list[Record] = []
    damaged: list[Damage] = []
    for number, (header, metadata) in enumerate(found, 1):
        payload = next(payloads) if metadata is not None else None
        record = read_header(header)
        if not record.identifier:
            damaged.append(
                Damage(identifier=None, place=f"record {number} of the page", reason="the header has no identifier", snippet=shown(header))
            )
        elif record.deleted:
            records.append(record)
        elif not payload:
            reason = "the header is live, but there is no metadata; that is not a deletion"
            damaged.append(Damage(identifier=record.identifier, place=f"record {number} of the page", reason=reason, snippet=shown(header)))
        else:
            records.append(
                Record(
                    identifier=record.identifier,
                    datestamp=record.datestamp,
                    deleted=False,
                    sets=record.sets,
                    payload=payload,
                    digest=hashlib.sha256(payload).digest(),
                )
            )
    return records, damaged


def list_headers(answer: etree._Element) -> tuple[list[Record], list[Damage]]:
    """Headers and damages of a ListIdentifiers element."""
    records: list[Record] = []
    damaged: list[Damage] = []
    for number, header in enumerate((element for element in answer if local(element) == "header"), 1):
        record = read_header(header)
        if record.identifier:
            records.append(record)
        else:
            damaged.append(
                Damage(identifier=None, place=f"header {number} of the page", reason="the header has no identifier", snippet=shown(header))
            )
    return records, damaged


def read_header(header: etree._Element) -> Record:
    """The record without its metadata. Deleted is ``status="deleted"``, in any case, and nothing else."""
    identifier = datestamp = ""
    sets: list[str] = []
    for element in header:
        name = local(element)
        if name == "identifier":
            identifier = text(element)
        elif name == "datestamp":
            datestamp = text(element)
        elif name == "setSpec":
            sets.append(text(element))
    status = header.get("status") or next((value for key, value in header.attrib.items() if str(key).endswith("}status")), "")
    return Record(identifier=identifier, datestamp=datestamp, deleted=str(status).strip().lower() == "deleted", sets=tuple(sets))


def resumption(answer: etree._Element) -> tuple[Token | None, int | None]:
    """The token that goes on (None at the end of the list) and the completeListSize, which an empty token may carry."""
    for element in reversed(answer):
        if local(element) == "resumptionToken":
            size, cursor = number(element.get("completeListSize")), number(element.get("cursor"))
            value = text(element)
            if not value:
                return None, size
            return Token(
                value=value, expires=parse_moment(element.get("expirationDate") or ""), complete_list_size=size, cursor=cursor
            ), size
    return None, None


def identity(answer: etree._Element) -> Identity:
    """What an Identify element says."""
    return Identity(
        repository_name=child(answer, "repositoryName"),
        base_url=child(answer, "baseURL"),
        protocol_version=child(answer, "protocolVersion"),
        earliest=child(answer, "earliestDatestamp"),
        deleted_record=child(answer, "deletedRecord").lower(),
        granularity=child(answer, "granularity"),
    )


def refuse_foreign(body: bytes) -> None:
    """Raise when the body is empty, HTML or a challenge for browsers; return when it may be XML."""
    head = body[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        raise NotOai("the answer is empty")
    if found := ENVELOPE.search(head):
        head = head[: found.start()] or head[:1]  # what looks like HTML inside of the envelope is a record's
    low = head.lower()
    if b"<html" in low or low.startswith(b"<!doctype html"):
        if BOT_WALL.search(body[: 16 * HEAD]):
            raise BotWall(
                "the repository is behind a page that checks for browsers; ask its operators to let the harvester's address through"
            )
        title = re.search(rb"<title[^>]*>(.*?)</title>", body[: 4 * HEAD], re.IGNORECASE | re.DOTALL)
        said = f', titled "{title[1].decode(errors="replace").strip()[:80]}"' if title else ""
        raise NotOai(f"the answer is an HTML page{said}, not OAI-PMH")
    if not head.startswith(b"<") and not head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00", b"\x4c")):
        raise NotOai(f"the answer is not XML; it begins with {head[:40].decode(errors='replace')!r}")


def parse_moment(value: str) -> datetime | None:
    """A UTC instant from any datestamp form repositories send; None where it cannot be read.

    Accepts both granularities of the protocol, fractions of a second, offsets, and a missing Z (taken as UTC, which
    the protocol demands).
    """
    value = value.strip()
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: an offset that leads out of the years 1 to 9999
        return None


def format_moment(moment: datetime, *, seconds: bool) -> str:
    """A datestamp argument in the granularity asked for; naive moments are refused."""
    if moment.tzinfo is None:
        raise ValueError(f"a naive datetime ({moment}) says nothing about an instant")
    moment = moment.astimezone(UTC).replace(tzinfo=None)  # not strftime: it writes the year 1 as "1"
    return moment.isoformat(timespec="seconds") + "Z" if seconds else moment.date().isoformat()


def fingerprint(records: list[Record], damaged: list[Damage]) -> bytes:
    """16 bytes that tell the content of two pages apart."""
    digest = hashlib.blake2b(digest_size=16)
    for record in records:
        digest.update(f"{record.identifier}\0{record.datestamp}\0{record.deleted}\0".encode())
        digest.update(record.digest or b"")
    for damage in damaged:
        digest.update(f"{damage.identifier}\0{damage.snippet}\0".encode())
    return digest.digest()


def local(element: etree._Element) -> str:
    """The tag without its namespace; the empty string for comments."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def text(element: etree._Element) -> str:
    """The text of an element, trimmed; text around comments inside it is joined."""
    return "".join(str(part) for part in element.itertext()).strip() if len(element) else (element.text or "").strip()


def child(element: etree._Element, name: str) -> str:
    """The text of the first child with that local name, or the empty string."""
    return next((text(part) for part in element if local(part) == name), "")


def elements(element: etree._Element) -> Iterator[etree._Element]:
    """The children that are elements, without comments."""
    return (part for part in element if isinstance(part.tag, str))


def number(value: str | None) -> int | None:
    """A whole number of 0 or more, or None: repositories put anything into completeListSize and cursor."""
    value = (value or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def shown(element: etree._Element) -> str:
    """The beginning of an element, for people."""
    return etree.tostring(element, encoding="unicode", with_tail=False)[:500]
