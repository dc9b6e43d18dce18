"""Keys of a source that are right by themselves and wrong together.

A key from ``defaults:`` gives way when a source says something that it does not go with: defaults are for the sources
that they fit. Only what one and the same hand wrote can contradict itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harvester.document import Place, Wrong
from harvester.feedkeys import FEED_ALLOWED, FILE_ALLOWED, SFTP_ALLOWED
from harvester.feeds import FITS, SOURCE_FITS, Feed, Paging
from harvester.forms import URL_ALLOWED, WRONG, Stated, usable
from harvester.secrets import REFERENCE_ALLOWED
from harvester.sources import Deletions, Kind

DAY: Final = 86400.0  # seconds
BASIC: Final = ("username", "password")
ADDRESSES: Final = {
    "oai": ("http", URL_ALLOWED),
    "rest": ("http", URL_ALLOWED),
    "files": ("file", FILE_ALLOWED),
    "sftp": ("sftp", SFTP_ALLOWED),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """What is wrong about the key at `place`, given the other keys."""

    place: Place
    what: str
    allowed: str


def fitting(own: Mapping[str, Stated], inherited: Mapping[str, Stated]) -> dict[str, Stated]:
    """What a source takes over from the defaults, besides what it states itself."""
    given_way: set[str] = set(own)
    deletions = _value(own, "deletions")
    if deletions is Deletions.FULL or (deletions is None and _value(inherited, "deletions") is Deletions.FULL and "windows" in own):
        given_way.add("windows")
    if deletions not in (None, Deletions.SWEEP):
        given_way.add("sweep_every")
    if _value(own, "granularity") == "day" and (_value(inherited, "windows") or DAY) < DAY:
        given_way.add("windows")
    if _is_given(own, "bearer_token") or authorization(own):
        given_way |= {*BASIC, "bearer_token"}
    if _is_given(own, "username") or _is_given(own, "password"):
        given_way.add("bearer_token")
    transport = _transport({**inherited, **own})
    given_way |= {key for key, fits in SOURCE_FITS.items() if transport not in fits}
    if transport != "oai" and _value(inherited, "deletions") is Deletions.SWEEP:
        given_way.add("deletions")
    return {key: each for key, each in inherited.items() if key not in given_way}


def authorization(stated: Mapping[str, Stated]) -> Place | None:
    """The place of the headers, when they have an Authorization among them."""
    headers = stated.get("headers")
    if headers is None or headers.value is WRONG:
        return None
    return headers.place if any(name.lower() == "authorization" for name in headers.value) else None


def contradictions(own: Mapping[str, Stated], inherited: Mapping[str, Stated]) -> Iterator[Contradiction]:
    """Everything about a source that cannot be meant."""
    stated = {**inherited, **own}
    deletions = _value(stated, "deletions") or Deletions.TOMBSTONES
    windows, sweep = _value(stated, "windows"), _value(stated, "sweep_every")
    if windows and deletions is Deletions.FULL:
        yield Contradiction(
            place=stated["windows"].place,
            what="windows cannot be used with deletions: full, whose pass must be one list",
            allowed="leave out windows, or choose deletions: tombstones or sweep",
        )
    if sweep and deletions is not Deletions.SWEEP and "sweep_every" in own:
        yield Contradiction(
            place=stated["sweep_every"].place,
            what=f"sweep_every does nothing with deletions: {deletions.value}",
            allowed="leave out sweep_every, or add deletions: sweep",
        )
    if windows and windows < DAY and _value(stated, "granularity") == "day":
        yield Contradiction(
            place=stated["windows"].place,
            what="windows are shorter than the granularity day",
            allowed="allowed: 1d or more, or granularity: second",
        )
    yield from _about_authentication(stated)
    yield from _about_feeds(own, stated)


def _transport(stated: Mapping[str, Stated]) -> str:
    """oai, files, sftp or rest."""
    kind = _value(stated, "kind")
    return kind.value if kind in (Kind.FILES, Kind.SFTP, Kind.REST) else "oai"


def _about_feeds(own: Mapping[str, Stated], stated: Mapping[str, Stated]) -> Iterator[Contradiction]:
    """What does not go with the kind of source, and what the kind needs."""
    transport = _transport(stated)
    kind = _value(stated, "kind") or Kind.BIBLIOGRAPHIC
    url = _value(own, "url")
    if isinstance(url, str):
        scheme, allowed = ADDRESSES[transport]
        if url.partition(":")[0].lower().removesuffix("s" if scheme == "http" else "") != scheme:
            yield Contradiction(
                place=own["url"].place,
                what=f"the URL has {url.partition(':')[0] + ':'!r}, which does not go with kind: {kind.value}",
                allowed=allowed,
            )
    for key, fits in SOURCE_FITS.items():
        if transport not in fits and _is_given(own, key):
            kinds = sorted(each for each in fits if each != "oai")
            where = f"it goes with kind: {', '.join(kinds)}" if kinds else "it is for OAI-PMH"
            yield Contradiction(
                place=own[key].place, what=f"{key} does nothing with kind: {kind.value}", allowed=f"leave out {key}; {where}"
            )
    if transport == "oai":
        return
    if "deletions" in own and _value(own, "deletions") is Deletions.SWEEP:
        yield Contradiction(
            place=own["deletions"].place,
            what=f"deletions: sweep cannot be used with kind: {kind.value}, which has no list of identifiers",
            allowed="allowed: tombstones, full",
        )
    feed = _value(stated, "feed") or Feed()
    if "feed" in own and own["feed"].value is not WRONG:
        yield from _about_feed_keys(own["feed"].place, transport)
        if transport == "rest" and feed.paging in (Paging.NEXT, Paging.NONE) and feed.page_parameter is not None:
            yield Contradiction(
                place=own["feed"].place,
                what=f"page_parameter does nothing with paging: {feed.paging.value}",
                allowed="leave it out, or write paging: page or paging: offset",
            )
    if transport == "sftp" and "url" in own:
        place = own["feed"].place if "feed" in own else own["url"].place
        if not (stated.get("feed") is not None and stated["feed"].value is WRONG) and not feed.host_keys:
            yield Contradiction(
                place=place, what="an SFTP server is not trusted without its key", allowed="add feed: {host_keys: [ssh-ed25519 AAAA...]}"
            )
        if not _is_given(stated, "username"):
            yield Contradiction(place=own["url"].place, what="username is missing", allowed="add username:, the name to log in with")
        if (feed.private_key is None) == (not _is_given(stated, "password")) and _is_given(stated, "username"):
            yield Contradiction(
                place=own["url"].place,
                what="neither password nor private_key is there"
                if feed.private_key is None
                else "password and private_key contradict each other",
                allowed="write password: env:NAME, or feed: {private_key: env:NAME}, and not both",
            )


def _about_feed_keys(place: Place, transport: str) -> Iterator[Contradiction]:
    """Keys under feed: that do not go with this kind."""
    try:
        for name, value in place.entries(FEED_ALLOWED):
            if name in FITS and transport not in FITS[name]:
                yield Contradiction(
                    place=value,
                    what=f"{name} does nothing with kind: {transport}",
                    allowed=f"leave it out; it goes with kind: {', '.join(sorted(FITS[name]))}",
                )
    except Wrong:
        return  # it was reported when it was read


def _about_authentication(stated: Mapping[str, Stated]) -> Iterator[Contradiction]:
    username, password, bearer = (_is_given(stated, key) for key in (*BASIC, "bearer_token"))
    header = authorization(stated)
    if username and not password and _transport(stated) != "sftp":
        yield Contradiction(
            place=stated["username"].place, what="username without password", allowed=f"add password: and {REFERENCE_ALLOWED}"
        )
    if password and not username:
        yield Contradiction(place=stated["password"].place, what="password without username", allowed="add username: to it")
    ways = [key for key, given in (("username", username), ("bearer_token", bearer)) if given] + (
        ["an Authorization header"] if header else []
    )
    if len(ways) > 1:
        place = header or stated["bearer_token"].place
        yield Contradiction(place=place, what=f"{' and '.join(ways)} contradict each other", allowed="keep one of them")


def _value(stated: Mapping[str, Stated], key: str) -> Any:
    """The value that is stated for `key`; None when there is none, or none that could be read."""
    return usable(stated).get(key)


def _is_given(stated: Mapping[str, Stated], key: str) -> bool:
    """Is there a value for `key`, be it one that could not be read?"""
    return key in stated and stated[key].value is not None
