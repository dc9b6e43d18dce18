"""A page that is complete but not well-formed, read record by record, so that one bad record costs only itself.

The page is cut where a record's ``<header>`` begins; each piece is parsed inside the head and tail of the page (so that
namespaces declared there hold). What parses is kept. What does not is a ``Damage`` with its identifier, its place and
a snippet; or, when the source asks for repair, is parsed once more without the characters that XML forbids.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from harvester import oai
from harvester.errors import Malformed, Unreadable

RECORD: Final = re.compile(rb"<(?:[\w.-]+:)?record\b[^>]*>\s*<(?:[\w.-]+:)?header\b")
# Where the start of a record is damaged, what stands before it tells as well; otherwise the record before would be lost, too.
NEXT: Final = re.compile(
    rb"(?:</(?:[\w.-]+:)?(?:metadata|header|about)\s*>\s*</(?:[\w.-]+:)?record\s*>|<(?:[\w.-]+:)?(?:ListRecords|GetRecord)\b[^>]*>)\s*"
)
HEADER: Final = re.compile(rb"<(?:[\w.-]+:)?header\b")
TAIL: Final = re.compile(rb"<(?:[\w.-]+:)?resumptionToken\b|</(?:[\w.-]+:)?(?:ListRecords|GetRecord|ListIdentifiers)\s*>")
IDENTIFIER: Final = re.compile(rb"<(?:[\w.-]+:)?identifier\s*>([^<&]+)</")
FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FORBIDDEN_REFERENCE: Final = re.compile(rb"&#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}));")
SNIPPET: Final = 500  # characters


def parse(body: bytes, *, verb: str, repair: bool, complaint: str) -> oai.Page:
    """The page, with what cannot be read as damage. Raises ``Unreadable`` when even its frame is broken."""
    if verb == "ListIdentifiers":
        starts = [match.start() for match in HEADER.finditer(body)]
    else:
        starts = sorted({match.start() for match in RECORD.finditer(body)} | {match.end() for match in NEXT.finditer(body)})
    found = TAIL.search(body, starts[-1]) if starts else None
    tail_at = found.start() if found else -1
    starts = [start for start in starts if start < tail_at]
    if not starts:
        raise Unreadable(f"the page is not well-formed: {complaint}")
    head, tail = body[: starts[0]], body[tail_at:]
    frame = parse_piece(head + tail, verb)
    if isinstance(frame, str) and repair:
        head, tail = repaired(head), repaired(tail)
        frame = parse_piece(head + tail, verb)
    if isinstance(frame, str):
        raise Unreadable(f"the page is not well-formed outside of its records: {frame}")
    end = re.compile(rb"</(?:[\w.-]+:)?(?:ListRecords|GetRecord|ListIdentifiers)\s*>.*", re.DOTALL).search(tail)
    closing = end[0] if end else tail
    records: list[oai.Record] = []
    damaged: list[oai.Damage] = []
    number = 1
    for start, stop in zip(starts, [*starts[1:], tail_at], strict=True):
        piece = body[start:stop]
        page = parse_piece(head + piece + closing, verb)
        if isinstance(page, str) and repair:
            mended = parse_piece(head + repaired(piece) + closing, verb)
            page = page if isinstance(mended, str) else mended
        place = f"record {number} of the page, byte {start:,}"
        if isinstance(page, str):
            damaged.append(oai.Damage(identifier=identifier(piece), place=place, reason=f"not well-formed: {page}", snippet=snippet(piece)))
        else:
            records.extend(page.records)
            damaged.extend(replace(damage, place=place) for damage in page.damaged)
            if not page.records and not page.damaged:
                continue  # a comment between two records
        number += 1
    return replace(frame, records=tuple(records), damaged=tuple(damaged), size=len(body), digest=oai.fingerprint(records, damaged))


def parse_piece(document: bytes, verb: str) -> oai.Page | str:
    """The page of a small document, or the parser's complaint."""
    try:
        return oai.read(document, verb)
    except Malformed as error:
        return str(error)


def repaired(piece: bytes) -> bytes:
    """The piece without characters that XML 1.0 forbids; bytes that are no UTF-8 become U+FFFD."""

    def reference(match: re.Match[bytes]) -> bytes:
        code = int(match[1], 16) if match[1] else int(match[2])
        return b"" if code > 0x10FFFF or FORBIDDEN.match(chr(code)) else match[0]

    return FORBIDDEN_REFERENCE.sub(reference, FORBIDDEN.sub("", piece.decode(errors="replace")).encode())


def identifier(piece: bytes) -> str | None:
    """The identifier in a header that no parser could read, where it is plain."""
    match = IDENTIFIER.search(piece)
    if not match:
        return None
    return FORBIDDEN.sub("", match[1].decode(errors="replace")).strip() or None


def snippet(piece: bytes) -> str:
    """The beginning of the piece, for people and for PostgreSQL (which takes no NUL)."""
    return FORBIDDEN.sub("\ufffd", piece[: 2 * SNIPPET].decode(errors="replace"))[:SNIPPET]
