"""The pages of a REST endpoint: what to ask next, and what an answer means. Pure; ``harvester.client`` does the asking.

A position is text, so that it can be stored with each page: the address of the next page (``paging: next``), its number,
or the number of records before it. An address keeps none of the query parameters that the source configures: they may
be secrets, and are added again. It is not followed to another server.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from flows.catalog.feeds.identify import damage, identify, tombstone, unusable
from flows.catalog.feeds.paths import find, text
from flows.catalog.read import sniff
from harvester.answers import ADVICE
from harvester.client import Reply
from harvester.errors import Busy, ListBroken, Refused, ServerFailed, Unreadable
from harvester.feeds import Content, Feed, Paging
from harvester.oai import Damage, Record, Request
from harvester.politeness import retry_after
from harvester.sources import Source

ACCEPTED: Final = "application/json, */*;q=0.1"
LINK: Final = re.compile(r"<([^>]*)>\s*;[^,]*\brel\s*=\s*\"?next\b", re.IGNORECASE)
PARAMETERS: Final = {Paging.PAGE: "page", Paging.OFFSET: "offset"}
YES: Final = frozenset({"true", "yes", "1", "y", "d", "deleted"})


class PageRequest(Request):
    """A page of a REST endpoint in the place of a request of OAI-PMH: nothing but query parameters."""

    __slots__ = ()

    def parameters(self) -> list[tuple[str, str]]:
        """The query parameters."""
        return list(self.arguments)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A page: records, what could not be read, and the position of the next page (None: it was the last)."""

    records: tuple[Record, ...]
    damaged: tuple[Damage, ...]
    next: str | None
    digest: str
    size: int
    format: str


def ask(source: Source, position: str | None, *, since: datetime | None) -> tuple[Source, Request]:
    """The request for the page at ``position`` (None: the first), as ``Client.fetch`` takes it."""
    feed = source.feed or Feed()
    arguments: list[tuple[str, str]] = []
    if not any(name.lower() == "accept" for name in source.headers):
        source = replace(source, headers={"Accept": ACCEPTED, **source.headers})
    if feed.paging is Paging.NEXT and position is not None:
        return replace(source, url=position), PageRequest(verb="GET")
    if feed.paging in PARAMETERS:
        start = str(feed.first_page) if feed.paging is Paging.PAGE else "0"
        arguments.append((feed.page_parameter or PARAMETERS[feed.paging], position or start))
    if feed.size_parameter is not None:
        arguments.append((feed.size_parameter, str(feed.page_size)))
    if feed.since_parameter is not None and since is not None:
        arguments.append((feed.since_parameter, since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
    return source, PageRequest(verb="GET", arguments=tuple(arguments))


def understand(source: Source, position: str | None, reply: Reply, *, now: float) -> Answer:
    """What an answer means. Raises Busy, ServerFailed, Refused, Unreadable or ListBroken."""
    feed = source.feed or Feed()
    _refuse(reply, now)
    try:
        content = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the answer is not JSON: {str(error)[:200]}") from error
    items = find(content, feed.records) if feed.records else content
    if items is None and feed.records and isinstance(content, dict):
        parent = find(content, feed.records.rpartition(".")[0]) if "." in feed.records else content
        if parent is None or feed.records.rpartition(".")[2] not in parent:
            raise Unreadable(f"there is nothing at {feed.records} in the answer; is the path of records right?")
        items = []
    if not isinstance(items, list):
        raise Unreadable(f"what stands at {feed.records or 'the root of the answer'} is no list of records")
    where = f"page {position}" if position is not None and feed.paging is not Paging.NEXT else "page"
    found = [_item(each, feed, place=f"{where}, record {number:,}") for number, each in enumerate(items, 1)]
    forms = [form for _, form in found if form]
    return Answer(
        records=tuple(each for each, _ in found if isinstance(each, Record)),
        damaged=tuple(each for each, _ in found if isinstance(each, Damage)),
        next=_next(source, feed, position, content, reply, len(items)),
        digest=hashlib.sha256(json.dumps(items).encode()).hexdigest(),
        size=len(reply.body),
        format=forms[0] if forms else feed.format.value,
    )


def _item(item: Any, feed: Feed, *, place: str) -> tuple[Record | Damage, str | None]:
    """A record of the list, and the form of its payload."""
    content = find(item, feed.record) if feed.record else item
    called = text(item, feed.identifier) if feed.identifier else None
    shown = json.dumps(item, ensure_ascii=False)[:1000].encode(errors="replace")
    if feed.identifier and called is None:
        return damage(f"there is no identifier at {feed.identifier}", shown, place=place), None
    if called is not None and feed.identifier_prefix is not None:
        called = feed.identifier_prefix + called
    if called is not None and (wrong := unusable(called)):
        return damage(wrong, shown, place=place), None
    gone = _is_true(find(item, feed.deleted)) if feed.deleted else False
    if gone and called is not None:
        return Record(identifier=called, datestamp="", deleted=True), None
    if content is None:
        return damage(f"there is no record at {feed.record}", shown, place=place, identifier=called), None
    payload = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    form = Content.MARCJSON.value if isinstance(content, dict) and feed.format is Content.AUTO else feed.format.value
    data = payload.encode(errors="replace")
    if gone and isinstance(content, str) and len(content) < 200 and not feed.identifier:
        return tombstone(content, feed, place=place), None
    made = identify(data, feed, format=form, place=place, identifier=called, deleted=gone)
    return made, sniff(data) or form


def _is_true(value: Any) -> bool:
    return value.strip().lower() in YES if isinstance(value, str) else bool(value)


def _next(source: Source, feed: Feed, position: str | None, content: Any, reply: Reply, count: int) -> str | None:
    """The position of the page after this one."""
    if feed.paging is Paging.NONE:
        return None
    if feed.paging is Paging.PAGE:
        return str(int(position or feed.first_page) + 1) if count else None
    if feed.paging is Paging.OFFSET:
        return str(int(position or 0) + count) if count else None
    if feed.next:
        link = text(content, feed.next)
    else:
        match = LINK.search(reply.headers.get("link", ""))
        link = match[1] if match else None
    return _address(source, position or source.url, link) if link else None


def _address(source: Source, here: str, link: str) -> str:
    """The address of the next page, on the same server, without what the source adds itself."""
    try:
        parts = urlsplit(urljoin(here, link))
        home = urlsplit(source.url)
        same = (parts.scheme, parts.hostname, parts.port or _port(parts.scheme)) == (
            home.scheme,
            home.hostname,
            home.port or _port(home.scheme),
        )
    except ValueError as error:
        raise ListBroken("the address of the next page cannot be read") from error
    if not same or "@" in parts.netloc:
        raise ListBroken(f"the next page is on another server ({parts.hostname}); it is not followed, because keys would go there")
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in source.query]
    return parts._replace(query=urlencode(kept), fragment="").geturl()


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _refuse(reply: Reply, now: float) -> None:
    """Raise what a status means that is none of success."""
    if 200 <= reply.status < 300:
        return
    if reply.status in (429, 503):
        at = retry_after(reply.headers.get("retry-after"), now)
        raise Busy(f"the endpoint is busy (status {reply.status}){f', back in {at - now:.0f} s' if at is not None else ''}", retry_at=at)
    if reply.status == 408 or reply.status >= 500:
        raise ServerFailed(f"the endpoint failed (status {reply.status})")
    advice = (
        ADVICE.get(reply.status, "sending it again would not help")
        .replace("OAI-PMH interface", "endpoint")
        .replace("repository", "endpoint")
    )
    raise Refused(f"the endpoint refuses the request (status {reply.status}): {advice}")
