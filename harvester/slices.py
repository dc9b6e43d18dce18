"""Payloads as the repository sent them: cut out of the page, not written anew by a parser.

A payload is the content of ``<metadata>``, without the white space around it, as the bytes of the page. Two things are
added or changed only where the bytes alone would lose their meaning: a page in another encoding is first turned into
UTF-8, and a namespace prefix that only an ancestor declares is declared on the payload's first tag.

Nearly every page can be ``cut``: where there are no comments, CDATA sections or declarations, every ``<`` begins a tag,
so plain search finds the ``<metadata>`` elements exactly. expat then checks the whole page (18 microseconds a record of
4 kB), and lxml builds a tree only of the skeleton that is left without the payloads (2 instead of 95). Any other page
goes through lxml as a whole, and expat reports the exact byte positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from xml.parsers import expat

from lxml import etree

TAG_BEFORE: Final = re.compile(rb"<(/?)(?:[A-Za-z_][\w.-]{0,40}:)?\Z")
FIRST_TAG: Final = re.compile(rb"<[A-Za-z_][\w.:-]*")
OAI: Final = "http://www.openarchives.org/OAI/2.0/"
SPACE: Final = b" \t\r\n"
TAG_GOES_ON: Final = frozenset({b">", b"/", b" ", b"\t", b"\r", b"\n"})  # what may follow an element's name


def cut(body: bytes) -> tuple[bytes, list[tuple[int, int]]] | None:
    """The page without its payloads, and where they are; None for a page that cannot be cut by plain search.

    Raises ``xml.parsers.expat.ExpatError`` when the page is not well-formed.
    """
    if b"<!" in body or body.find(b"<?", 5) >= 0:
        return None
    spans = by_search(body)
    if not spans:
        return None
    expat.ParserCreate(namespace_separator=" ").Parse(body, True)
    edges = [0, *(edge for span in spans for edge in span), len(body)]
    return b"".join(body[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)), spans


def payloads(body: bytes, metadata: Sequence[etree._Element], spans: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """The payloads of these elements, which stand in the page in this order at these spans; empty bytes for an empty element."""
    for element, (start, end) in zip(metadata, spans, strict=True):
        first = body.find(b"<", start, end)  # text before the first element is no part of a record
        yield declared(body[first:end].rstrip(SPACE), element) if first >= 0 else b""


def by_search(body: bytes) -> list[tuple[int, int]] | None:
    """Spans of the contents by plain search, or None when a payload has a <metadata> of its own."""
    spans: list[tuple[int, int]] = []
    opened: int | None = None
    at = body.find(b"metadata")
    while at >= 0:
        after = at + 8
        before = TAG_BEFORE.search(body, max(0, at - 48), at) if body[after : after + 1] in TAG_GOES_ON else None
        if before:
            close = body.find(b">", after)
            if before[1]:
                if opened is None:
                    return None
                spans.append((opened, before.start()))
                opened = None
            elif opened is not None:
                return None
            elif body[close - 1 : close] == b"/":
                spans.append((close + 1, close + 1))
            else:
                opened = close + 1
        at = body.find(b"metadata", after)
    return spans if opened is None else None


def by_expat(body: bytes) -> list[tuple[int, int]]:
    """Spans of the contents of every ``record/metadata`` directly under a verb, by exact byte positions."""
    spans: list[tuple[int, int]] = []
    path: list[str] = []
    taken = [False]
    start: list[int | None] = [None]
    parser = expat.ParserCreate()

    def opened(name: str, _: object) -> None:
        if len(path) == 4 and start[0] is None and path[3] == "metadata":
            start[0] = parser.CurrentByteIndex
        path.append(name.rpartition(":")[2])
        if len(path) == 3:
            taken[0] = False

    def closed(_: str) -> None:
        if len(path) == 4 and path[2] == "record" and path[3] == "metadata" and not taken[0]:
            end = parser.CurrentByteIndex
            spans.append((start[0] if start[0] is not None else end, end))
            taken[0] = True
        if len(path) == 4:
            start[0] = None
        path.pop()

    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.Parse(body, True)
    return spans


def declared(payload: bytes, metadata: etree._Element) -> bytes:
    """The payload with the prefixes it uses but only an ancestor declares; almost always the payload itself."""
    missing = b""
    for prefix, uri in metadata.nsmap.items():
        if prefix is None:
            # A payload that leans on a default namespace of an ancestor other than OAI's own, which it never means.
            if uri != OAI and b"xmlns=" not in payload[: payload.find(b">")]:
                missing += b' xmlns="' + escaped(uri) + b'"'
            continue
        name = prefix.encode()
        if name + b":" in payload and leans(payload, b"xmlns:" + name + b"="):
            missing += b" xmlns:" + name + b'="' + escaped(uri) + b'"'
    if not missing:
        return payload
    first = FIRST_TAG.match(payload)
    return payload[: first.end()] + missing + payload[first.end() :] if first else payload


def leans(payload: bytes, declaration: bytes) -> bool:
    """Whether a prefix that the payload seems to use is not declared by the payload itself."""
    if declaration not in payload:
        return True
    if declaration in payload[: payload.find(b">")]:
        return False
    try:  # it is declared further inside; only a parser can tell whether that is early enough
        expat.ParserCreate(namespace_separator=" ").Parse(payload, True)
    except expat.ExpatError as error:
        return error.code == expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]
    return False


def escaped(uri: str) -> bytes:
    """A namespace name as an attribute value."""
    return uri.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").encode()
