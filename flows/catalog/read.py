"""Payload in, record out: the reader of the source's format, checked against what the payload really is.

A source says what it sends, and now and then sends something else. The first bytes tell; then the reader of the content
is taken and a problem of kind ``format`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from flows.catalog import bibframe, iso2709, marcjson, marcxml
from flows.catalog.model import BibRecord, Problem, Reading, from_json

Format = Literal["marcxml", "iso2709", "marcjson", "bibframe", "canonical"]

# What sources call their formats: OAI metadata prefixes, file endings and everyday names, without case, - and _.
NAMES: Final[dict[str, Format]] = {
    **dict.fromkeys(
        ("marcxml", "marc21", "marc", "marc21xml", "oaimarc", "marc21plus1xml", "marc21withholdings", "xml", "slim"), "marcxml"
    ),
    **dict.fromkeys(("iso2709", "mrc", "usmarc", "marc21iso", "binary", "marc8", "utmarc"), "iso2709"),
    **dict.fromkeys(("marcjson", "marcinjson", "mij", "json"), "marcjson"),
    **dict.fromkeys(("bibframe", "bibframe2", "bf", "bf2", "rdf", "rdfxml", "turtle", "ttl", "jsonld", "ntriples", "nt"), "bibframe"),
    "canonical": "canonical",
}
BIBFRAME_NAMES: Final = (b"id.loc.gov/ontologies/bibframe", b"bibframe.org/", b"http://www.w3.org/1999/02/22-rdf-syntax-ns#")
HEAD: Final = 16_384  # bytes that tell what a payload is
ISO_LEADER: Final = re.compile(rb"\A[\s\x00]*[0-9 ]{5}[ -~]{4}[ a-zA-Z#|][0-9 ]{2}[ -~]{12}")
XML: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--|!DOCTYPE|[A-Za-z_][\w.:-]*[\s/>])")
TURTLE: Final = re.compile(
    rb"\A(?:\xef\xbb\xbf)?(?:\s|#[^\n]*\n)*(?:@prefix|@base|PREFIX\s|BASE\s|<[a-z][a-z0-9+.-]*:[^<>\s\"]*>|_:|\[)", re.IGNORECASE
)


def sniff(payload: bytes) -> Format | None:
    """What a payload is, by its beginning; None when it is nothing known."""
    head = payload[:HEAD]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head.decode("utf-16", "replace").encode()
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if XML.match(head):
        return "bibframe" if b"rdf-syntax-ns#" in head or any(name in head for name in BIBFRAME_NAMES[:2]) else "marcxml"
    if text[:1] in (b"{", b"["):
        if b'"control_fields"' in payload and b'"data_fields"' in payload:
            return "canonical"
        if b'"@context"' in head or b'"@graph"' in head or b'"@id"' in head or b'"@type"' in head:
            return "bibframe"
        if text[:1] == b"[" and TURTLE.match(head) and any(name in head for name in BIBFRAME_NAMES):
            return "bibframe"
        return "marcjson"
    if TURTLE.match(head):
        return "bibframe"
    if ISO_LEADER.match(head) or (b"\x1e" in head and b"\x1f" in head):
        return "iso2709"
    return None


def format_of(name: str) -> Format | None:
    """The format behind a name such as ``marc21``, ``MARC-XML``, ``mrc`` or ``rdf``; None for an unknown one."""
    plain = re.sub(r"[\s_.+/-]", "", name.lower())
    return NAMES.get(plain)


def read(payload: bytes, *, format: str, source: str, identifier: str, datestamp: str | None = None) -> Reading:
    """The record of a payload: of the first, when there are several. Never raises for what a payload may hold.

    ``format`` is a name that `format_of` knows, or ``auto``.
    """
    return read_all(payload, format=format, source=source, identifier=identifier, datestamp=datestamp, first=True)[0]


def read_all(
    payload: bytes, *, format: str, source: str, identifier: str, datestamp: str | None = None, first: bool = False
) -> tuple[Reading, ...]:
    """All records of a payload: BIBFRAME may hold several instances. At least one reading, of the only or failed record.

    The first has the identifier as given, the others ``identifier#control number``.
    """
    if not payload.strip(b" \t\r\n\x00"):
        return (Reading(record=None, problems=(Problem(kind="empty", message="The payload is empty."),)),)
    asked = format_of(format)
    seen = sniff(payload)
    form = seen or asked
    if form is None:
        return (Reading(record=None, problems=(Problem(kind="unreadable", message="The payload is none of the known formats."),)),)
    noted: tuple[Problem, ...] = ()
    if asked and seen and asked != seen:
        noted = (Problem(kind="format", message=f"The source is configured for {asked}; this is {seen}."),)
    if form == "bibframe":
        readings = bibframe.read_all(payload, source=source, identifier=identifier, datestamp=datestamp, first=first)
    elif form == "canonical":
        readings = (_canonical(payload, source=source, identifier=identifier, datestamp=datestamp),)
    else:
        module = {"marcxml": marcxml, "iso2709": iso2709, "marcjson": marcjson}[form]
        readings = (module.read_one(payload, source=source, identifier=identifier, datestamp=datestamp),)
    return tuple(Reading(record=each.record, problems=noted + each.problems) for each in readings) if noted else readings


def payloads(stream: BinaryIO, *, format: str) -> Iterator[bytes]:
    """The records of a file as payloads for `read`, one after the other in bounded memory.

    ``format`` is a name that `format_of` knows, or ``auto``; the stream must be seekable for ``auto``.
    Raises ValueError when the format is unknown and cannot be told from the content.
    """
    form: str | None = format_of(format)
    if stream.seekable():
        here = stream.tell()
        form = sniff(stream.read(HEAD)) or form
        stream.seek(here)
    if form == "iso2709":
        return iso2709.payloads(stream)
    if form == "marcxml":
        return marcxml.payloads(stream)
    if form in ("marcjson", "canonical"):
        return marcjson.payloads(stream)
    if form == "bibframe":
        return bibframe.payloads(stream)
    raise ValueError(
        f"unknown format {format!r}, and the content is none of the known ones; name one of marcxml, iso2709, marcjson, bibframe"
    )


def tombstone(*, source: str, identifier: str, datestamp: str | None = None) -> BibRecord:
    """The record of a deletion that came without content."""
    return BibRecord(source=source, identifier=identifier, format="deleted", leader="", datestamp=datestamp, deleted=True)


def _canonical(payload: bytes, *, source: str, identifier: str, datestamp: str | None) -> Reading:
    try:
        record = from_json(payload.decode())
    except ValueError as error:
        return Reading(record=None, problems=(Problem(kind="syntax", message=str(error)[:200]),))
    return Reading(
        record=BibRecord(
            source=source,
            identifier=identifier,
            format="canonical",
            leader=record.leader,
            control_fields=record.control_fields,
            data_fields=record.data_fields,
            datestamp=datestamp or record.datestamp,
            deleted=record.deleted,
            derived=record.derived,
            provenance={"reader": "canonical"},
        )
    )
