"""The XML of one repository's answers: envelope, headers, records, token element, errors, in any of the four namespace habits."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from tests.fakes.oai_records import MARC, XSI
from tests.fakes.oai_repository import DAYS, Repository

OAI: Final = "http://www.openarchives.org/OAI/2.0/"
_ILLEGAL: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # what XML 1.0 cannot hold
SCHEMA: Final = f"{OAI} http://www.openarchives.org/OAI/2.0/OAI-PMH.xsd"


@lru_cache(maxsize=50_000)
def second(moment: int) -> bytes:
    """A moment as an OAI-PMH datestamp with seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)).encode()


@lru_cache(maxsize=20_000)
def day(moment: int) -> bytes:
    """A moment as an OAI-PMH datestamp without time."""
    return time.strftime("%Y-%m-%d", time.gmtime(moment)).encode()


@dataclass(slots=True)
class Entry:
    """One record of an answer, as it will be written. Faults alter it before it is."""

    identifier: bytes
    stamp: int  # seconds since the epoch
    deleted: bool
    sets: tuple[str, ...] = ()
    payload: bytes | None = None  # the content of <metadata>; None: no metadata element
    status: bytes = b"deleted"  # what header/@status says of a deleted one


@dataclass(slots=True)
class TokenElement:
    """The resumptionToken element of a page; `value` None: no element, empty: an empty one."""

    value: str | None = None
    size: int | None = None
    cursor: int | None = None
    expires: int | None = None


@dataclass(slots=True)
class ListPage:
    """One page of ListRecords or ListIdentifiers before it is written."""

    verb: str
    entries: list[Entry] = field(default_factory=list)
    token: TokenElement = field(default_factory=TokenElement)


class Envelope:
    """Writes answers. Everything that does not change from answer to answer is prepared once."""

    def __init__(self, repository: Repository) -> None:
        self._datestamp = day if repository.granularity == DAYS else second
        self.p = p = "oai:" if repository.namespace == "prefixed" else ""
        xsi = f' xmlns:xsi="{XSI}" xsi:schemaLocation="{SCHEMA}"'
        declared = {"correct": f' xmlns="{OAI}"{xsi}', "prefixed": f' xmlns:oai="{OAI}"{xsi}', "none": "", "on-record": ""}
        marc = f' xmlns:marc="{MARC}"' if repository.payload == "inherited" else ""
        self._head = f'<?xml version="1.0" encoding="UTF-8"?>\n<{p}OAI-PMH{declared[repository.namespace]}{marc}>\n'
        self._foot = f"</{p}OAI-PMH>\n".encode()
        own = f' xmlns="{OAI}"' if repository.namespace == "on-record" else ""
        self._record_open = f"<{p}record{own}>\n<{p}header".encode()
        self._header_open = f"<{p}header{own}".encode()
        self._identifier = f">\n<{p}identifier>".encode()
        self._stamp = f"</{p}identifier>\n<{p}datestamp>".encode()
        self._set, self._set_end = f"\n<{p}setSpec>".encode(), f"</{p}setSpec>".encode()
        self._stamp_end = f"</{p}datestamp>".encode()
        self._header_end = f"\n</{p}header>\n".encode()
        self._metadata, self._metadata_end = f"<{p}metadata>\n".encode(), f"\n</{p}metadata>\n".encode()
        self._record_end = f"</{p}record>\n".encode()

    def wrap(self, now: float, url: str, arguments: dict[str, str], inner: Sequence[bytes]) -> tuple[bytes, ...]:
        """A whole answer, in pieces that are joined once, at the socket.

        Args:
            now: the responseDate, in seconds since the epoch.
            arguments: what the request element repeats.
        """
        told = "".join(f" {name}={quoteattr(_ILLEGAL.sub('?', value))}" for name, value in arguments.items())
        date = second(int(now)).decode()
        head = f"{self._head}<{self.p}responseDate>{date}</{self.p}responseDate>\n<{self.p}request{told}>{escape(url)}</{self.p}request>\n"
        return (head.encode(), *inner, self._foot)

    def element(self, name: str, text: str) -> str:
        return f"<{self.p}{name}>{escape(text)}</{self.p}{name}>\n"

    def block(self, name: str, inner: str) -> str:
        return f"<{self.p}{name}>\n{inner}</{self.p}{name}>\n"

    def error(self, code: str, text: str) -> bytes:
        return f'<{self.p}error code="{code}">{escape(_ILLEGAL.sub("?", text))}</{self.p}error>\n'.encode()

    def header(self, entry: Entry, opening: bytes) -> bytes:
        status = b' status="' + entry.status + b'"' if entry.deleted else b""
        stamp = self._datestamp(entry.stamp)
        sets = b"".join([self._set + escape(spec).encode() + self._set_end for spec in entry.sets]) if entry.sets else b""
        return b"".join(
            (opening, status, self._identifier, entry.identifier, self._stamp, stamp, self._stamp_end, sets, self._header_end),
        )

    def record(self, entry: Entry) -> bytes:
        header = self.header(entry, self._record_open)
        if entry.payload is None:
            return header + self._record_end
        return b"".join((header, self._metadata, entry.payload, self._metadata_end, self._record_end))

    def records(self, verb: str, entries: Sequence[Entry]) -> bytes:
        """The records, or for ListIdentifiers the headers, one after the other."""
        if verb == "ListIdentifiers":
            return b"".join([self.header(entry, self._header_open) for entry in entries])
        return b"".join([self.record(entry) for entry in entries])

    def list_element(self, verb: str, written: bytes, token: TokenElement) -> tuple[bytes, ...]:
        """The verb element around written records, with its token."""
        return (f"<{self.p}{verb}>\n".encode(), written, self._token(token) + f"</{self.p}{verb}>\n".encode())

    def list_page(self, page: ListPage) -> tuple[bytes, ...]:
        """The verb element of a page that is still in parts."""
        return self.list_element(page.verb, self.records(page.verb, page.entries), page.token)

    def _token(self, token: TokenElement) -> bytes:
        if token.value is None:
            return b""
        told = "" if token.expires is None else f' expirationDate="{second(token.expires).decode()}"'
        told += "" if token.size is None else f' completeListSize="{token.size}"'
        told += "" if token.cursor is None else f' cursor="{token.cursor}"'
        return f"<{self.p}resumptionToken{told}>{escape(token.value)}</{self.p}resumptionToken>\n".encode()
