"""Faults: which requests go wrong, and how. Values and bookkeeping; what each kind does stands in `oai_alterations` and `oai_replies`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

# kind: what the client sees. A kind in the second or third table goes through the protocol first, so tokens move on as they would.
INSTEAD: Final[dict[str, str]] = {
    "refused": "the connection is closed without an answer",
    "stall": "no answer, until the client gives up",
    "503": "503 with Retry-After in seconds",
    "503-date": "503 with Retry-After as an HTTP date",
    "429": "429 with Retry-After in seconds",
    "408": "408 without Retry-After",
    "500": "500 with a page of HTML",
    "502": "502 with a page of HTML",
    "504": "504 with a page of HTML",
    "404": "404 with a page of HTML",
    "403": "403 with a page of HTML",
    "401": "401 with WWW-Authenticate",
    "html": "200 with a page of HTML (a login form)",
    "bot-wall": "200 with a browser check (Just a moment...)",
    "empty-body": "200 without a byte of body",
    "foreign-xml": "200 with a well-formed RSS feed",
    "gzip-bomb": "a small gzip body that unpacks to `megabytes` (1024) of white space",
    "redirect-elsewhere": "302 to another host (localhost on the second port), or to `target`",
    "redirect-here": "302 to another path of the same server, which answers",
    "redirect-file": "302 to a file:// address",
    "redirect-ftp": "302 to an ftp:// address",
    "redirect-loop": "302 to a path that redirects to itself",
}
ON_THE_PAGE: Final[dict[str, str]] = {
    "illegal-characters": "a record holds U+000B raw, which XML 1.0 forbids",
    "illegal-reference": "a record holds the reference to U+001F, which XML 1.0 forbids as well",
    "nul": "a record holds a NUL byte",
    "malformed-record": "a record has an element that is never closed",
    "wrong-encoding": "a record holds a Latin-1 byte under the UTF-8 declaration",
    "no-metadata": "a live record has no metadata element",
    "loud-status": "tombstones say status='DELETED'",
    "empty-page": "no records, but a token; nothing is lost, the next request gets them",
    "repeated-token": "the token leads to this same page again",
    "duplicates": "the page begins with the last two records of the page before (page 1: ends with its first record)",
    "backward-datestamps": "the records of the page come in falling order of datestamps",
    "outside-set": "a record that is not in the asked set comes along",
    "outside-window": "a record from outside from/until comes along",
    "lost-arguments": "the token forgets from, until and set; the list goes on at the same offset among all records",
    "expired-token": "badResumptionToken",
    "no-records-match": "noRecordsMatch in mid-list",
    "oai-error": "an OAI error (`code`, badArgument) with HTTP status 500",
    "other-verb": "a valid envelope with another verb inside",
    "poison": "every list of records that holds record `number`, and GetRecord of it, answers 500; ListIdentifiers works",
}
ON_THE_WAY: Final[dict[str, str]] = {
    "reset": "the connection is reset when `fraction` of the body is out",
    "short-body": "Content-Length promises the body, the connection is closed in order after `fraction` of it",
    "stall-body": "`fraction` of the body, then silence until the client gives up",
    "drip": "the body comes in pieces of `piece` bytes every `interval` seconds",
    "truncated": "the XML is cut after `fraction`, with a Content-Length that fits the cut",
    "entity-bomb": "a DTD with nested entities (billion laughs), used in the document",
    "external-entity": "a DTD with an entity from a file:// address (`target`), used in the document",
    "huge-page": "`megabytes` (100) of white space inside the list; well-formed",
}
KINDS: Final = {**INSTEAD, **ON_THE_PAGE, **ON_THE_WAY}

_WITH_TOKEN: Final = ("expired-token", "no-records-match")  # without a token these would be another thing, so they ask for one
# Faults on the page need a page of their sort; they leave other requests alone, so that `times=1` is not spent on an Identify.
_PAYLOADS: Final = ("illegal-characters", "illegal-reference", "nul", "malformed-record", "wrong-encoding", "no-metadata", "poison")


def _possible(kind: str) -> frozenset[str] | None:
    """The verbs that a kind can do anything to; None: all."""
    if kind not in ON_THE_PAGE or kind == "oai-error":
        return None
    if kind in _PAYLOADS:
        return frozenset({"ListRecords", "GetRecord"})
    return frozenset({"ListRecords", "ListIdentifiers", "GetRecord"} if kind == "loud-status" else {"ListRecords", "ListIdentifiers"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One kind of failure and the requests that it hits.

    Filters (all must agree): `verb`, `page` (number of the page of a list, from 1), `token` (True: only requests with a resumption
    token, False: only those without). Among the requests that pass them: `nth` (counted from 1; empty: all), then at most `times`.
    Without any of them the fault hits every request until it is cleared. A fault on the page that finds nothing to spoil (no live record,
    or not the one with the `number`) has not hit.

    Settings, each for some kinds only: `record` (place in the page, from 0, of the first live record to spoil) or `number` (that record
    wherever it appears); `retry_after` in seconds; `status` (replaces the kind's own); `fraction` of the body; `piece` in bytes and
    `interval` in seconds; `megabytes`; `target` (an address); `code` (of an OAI error).

    Raises:
        ValueError: an unknown kind, a poison without a number, or a verb that the kind can do nothing to.
    """

    kind: str
    verb: str | None = None
    page: int | None = None
    token: bool | None = None
    nth: tuple[int, ...] = ()
    times: int | None = None
    record: int = 0
    number: int | None = None
    retry_after: int = 1
    status: int | None = None
    fraction: float = 0.5
    piece: int = 64
    interval: float = 0.02
    megabytes: int | None = None
    target: str | None = None
    code: str = "badArgument"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known: {', '.join(KINDS)}")
        if self.kind == "poison" and self.number is None:
            raise ValueError("a poison needs the number of its record")
        possible = _possible(self.kind)
        if possible is not None and self.verb is not None and self.verb not in possible:
            raise ValueError(f"{self.kind} does nothing to {self.verb}, only to {', '.join(sorted(possible))}")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Fault:
        """Reads a fault from JSON values. Raises ValueError for an unknown field or kind."""
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"fault {values.get('kind')}: unknown field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        given = dict(values)
        if isinstance(given.get("nth"), (list, int)):
            given["nth"] = tuple(given["nth"]) if isinstance(given["nth"], list) else (given["nth"],)
        return cls(**given)

    def as_json(self) -> dict[str, Any]:
        """The values that `parse` reads back into an equal fault."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def concerns(self, verb: str | None, page: int | None, token: bool) -> bool:
        """Whether a request passes the filters."""
        if self.verb is not None and verb != self.verb:
            return False
        if self.page is not None and page != self.page:
            return False
        if self.token is None and self.kind in _WITH_TOKEN and not token:
            return False
        possible = _possible(self.kind)
        if possible is not None and verb not in possible:
            return False
        return self.token is None or self.token == token


@dataclass(slots=True)
class Armed:
    """A fault on duty: how many requests passed its filters, and how many it hit."""

    handle: int
    name: str | None  # repository; None: all
    fault: Fault
    seen: int = 0
    hits: int = 0


@dataclass(slots=True)
class FaultBox:
    """All faults on duty, in the order they were set; a request is hit by the first that wants it."""

    armed: list[Armed] = field(default_factory=list)
    _last: int = 0

    def arm(self, name: str | None, fault: Fault) -> int:
        self._last += 1
        self.armed.append(Armed(self._last, name, fault))
        return self._last

    def clear(self, name: str | None = None, handle: int | None = None) -> None:
        """Ends one fault, those of one repository, or all."""
        self.armed = [a for a in self.armed if (handle is not None and a.handle != handle) or (name is not None and a.name != name)]

    def hits(self, handle: int) -> int:
        """How many requests a fault has hit. Raises KeyError when it was cleared."""
        for armed in self.armed:
            if armed.handle == handle:
                return armed.hits
        raise KeyError(f"no fault {handle}: it was cleared, or never set")

    def match(self, name: str, verb: str | None, page: int | None, token: bool) -> Armed | None:
        """The fault that hits this request, counted as a hit."""
        chosen: Armed | None = None
        for armed in self.armed:
            fault = armed.fault
            if armed.name not in (None, name) or not fault.concerns(verb, page, token):
                continue
            armed.seen += 1
            wanted = (not fault.nth or armed.seen in fault.nth) and (fault.times is None or armed.hits < fault.times)
            if wanted and chosen is None:
                chosen = armed
        if chosen is None:
            return None
        chosen.hits += 1
        return chosen
