"""The frozen values that a configuration is: sources, the groups that share limits, and all of them together.

`harvester.configuration` reads them from ``sources.yaml``; nothing here knows about files. Every duration is in
seconds, every size in bytes. A changed source is another value with another `Source.fingerprint`; that is how the
engine notices it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from harvester.blackouts import Blackout as Blackout
from harvester.feeds import Feed as Feed
from harvester.feeds import Transport as Transport
from harvester.secrets import SecretRef as SecretRef

DEFAULT_GROUP: Final = "default"


class Deletions(StrEnum):
    """How it is learnt that a record was deleted."""

    TOMBSTONES = "tombstones"  # headers with status deleted
    SWEEP = "sweep"  # ListIdentifiers now and then: what is not listed any more has vanished
    FULL = "full"  # a full pass marks the unseen deleted


class TokenRetry(StrEnum):
    """May the same resumption token be asked with again? Axiell's and FOLIO's withholdings tokens work once."""

    IDEMPOTENT = "idempotent"  # as often as a page may be tried
    ONCE = "once"  # one more time, then the window is started again
    NEVER = "never"  # the window is started again at once


class EndOfList(StrEnum):
    """What noRecordsMatch means after a resumption token."""

    STRICT = "strict"  # the end only when completeListSize records have come; otherwise a failure
    NO_RECORDS_MATCH = "no_records_match"  # the end


class PauseMode(StrEnum):
    """When a pause ends."""

    FIXED = "fixed"  # after pause_seconds
    VACUUM = "vacuum"  # as soon as autovacuum has caught up


class Kind(StrEnum):
    """What a source's records are, or how they come: files, sftp and rest are bibliographic records by that feed."""

    BIBLIOGRAPHIC = "bibliographic"
    AUTHORITY = "authority"
    FILES = "files"
    SFTP = "sftp"
    REST = "rest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One list of records of one OAI-PMH repository, or of another feed, and how it is harvested."""

    name: str
    """Unique; lower-case letters, digits, dot, underscore, hyphen."""
    url: str
    """The OAI-PMH base URL, or the folder or endpoint of another feed; without credentials."""
    group: str = DEFAULT_GROUP
    """The group whose limits it shares."""
    metadata_prefix: str = "marc21"
    """The format it is asked for."""
    sets: tuple[str, ...] = ()
    """setSpecs, harvested one after the other; none means everything."""
    headers: Mapping[str, str | SecretRef] = field(default_factory=dict)
    """Extra request headers."""
    query: Mapping[str, str | SecretRef] = field(default_factory=dict)
    """Extra query parameters, such as FOLIO's apikey."""
    username: str | SecretRef | None = None
    """Basic authentication, together with `password`."""
    password: SecretRef | None = None
    """Basic authentication, together with `username`."""
    bearer_token: SecretRef | None = None
    """Bearer authentication, instead of the other two."""

    interval: float = 120.0
    """Seconds from one pass to the next."""
    overlap: float = 300.0
    """Seconds by which a window starts before the watermark."""
    granularity: Literal["day", "second"] | None = None
    """Overrides what Identify declares."""
    start: datetime | None = None
    """Nothing older is harvested; aware, in UTC."""
    windows: float | None = None
    """Seconds: a long history is cut into windows of this length."""
    deletions: Deletions = Deletions.TOMBSTONES
    """How deleted records are found."""
    sweep_every: float | None = None
    """Seconds between sweeps; always set when `deletions` is sweep."""
    full_every: float | None = None
    """Seconds between full passes; always set when `deletions` is full."""
    token_retry: TokenRetry = TokenRetry.ONCE
    """Whether a token may be used again."""
    end_of_list: EndOfList = EndOfList.STRICT
    """What noRecordsMatch means after a token."""
    repair: bool = False
    """Characters that XML forbids are replaced instead of failing the record."""
    enabled: bool = True
    """False: known, but not harvested."""
    kind: Kind = Kind.BIBLIOGRAPHIC
    """What the records are, or by which feed they come."""
    feed: Feed | None = None
    """How files or pages are found and read, when the kind is files, sftp or rest; None: as `Feed` has it by default."""

    connect_timeout: float = 10.0
    """Seconds to wait for a connection."""
    first_page_timeout: float = 600.0
    """Seconds for the first page of a window: FOLIO needs 6 to 7 minutes for 8 million instances."""
    page_timeout: float = 120.0
    """Seconds for every later page."""
    page_bytes_limit: int = 64 * 2**20
    """Bytes of one page after decompression."""
    attempts: int = 5
    """How often one page is tried."""
    breaker_failures: int = 3
    """Failures in a row after which the source waits, ever longer, instead of being asked."""
    requests_per_minute: int | None = None
    """The most requests that start in a minute; None: no limit of its own."""
    blackouts: tuple[Blackout, ...] = ()
    """When no request starts, besides the group's."""

    pause_after_records: int = 10_000
    """More records than this since the last pause, and it pauses; 0: it never does."""
    pause_seconds: float = 120.0
    """Seconds that a pause lasts."""
    pause_mode: PauseMode = PauseMode.FIXED
    """What ends the pause."""
    delete_hold_share: float = 0.25
    """A run that deletes more than this share of the known records is held, unless it deletes fewer than the next."""
    delete_hold_minimum: int = 100
    """Fewer deletions than this are never held."""

    @property
    def identity(self) -> str:
        """Digest of what makes it another list of records: url, prefix and sets. Another identity starts from nothing."""
        if self.transport == "oai":
            return _digest([self.url, self.metadata_prefix, sorted(self.sets)])
        feed = self.feed or Feed()
        return _digest([self.url, self.transport, feed.identifier_prefix, feed.identifier])

    @property
    def transport(self) -> Transport:
        """By what the records come."""
        match self.kind:
            case Kind.FILES:
                return "files"
            case Kind.SFTP:
                return "sftp"
            case Kind.REST:
                return "rest"
            case _:
                return "oai"

    @property
    def fingerprint(self) -> str:
        """Digest of everything that is configured. Another fingerprint means: drain it and start it again."""
        return _digest(self.shown())

    def shown(self) -> dict[str, object]:
        """Everything for JSON: secrets as their references, enums and moments as text."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    def references(self) -> tuple[SecretRef, ...]:
        """Every secret that it refers to."""
        key = self.feed.private_key if self.feed is not None else None
        candidates = (*self.headers.values(), *self.query.values(), self.username, self.password, self.bearer_token, key)
        return tuple(each for each in candidates if isinstance(each, SecretRef))


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Sources that share limits, usually because they share a server."""

    name: str
    """Unique; spelt like the name of a source."""
    limit: int
    """The most requests in flight at any moment."""
    requests_per_minute: int | None = None
    """The most requests that start in a minute; None: no such limit."""
    blackouts: tuple[Blackout, ...] = ()
    """When no request to any of its sources starts."""

    def shown(self) -> dict[str, object]:
        """Everything for JSON."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """Everything that is to be harvested, and within which limits."""

    sources: Mapping[str, Source]
    """By name, in the order of the names."""
    groups: Mapping[str, Group]
    """By name, in the order of the names; ``default`` is always there."""
    total_limit: int = 64
    """The most requests in flight over all groups."""
    seed: int | None = None
    """Makes the random choice of the next source repeatable."""

    def group_of(self, name: str) -> Group:
        """The group of the source called `name`. KeyError when there is no such source."""
        return self.groups[self.sources[name].group]


def _plain(value: object) -> object:
    """`value` as JSON knows it."""
    match value:
        case SecretRef():
            return str(value)
        case Blackout() | Feed():
            return value.shown()
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case StrEnum():
            return value.value
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case tuple():
            return [_plain(each) for each in value]
        case _:
            return value


def _digest(value: object) -> str:
    """Sixteen hexadecimal digits that stand for `value`."""
    written = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()[:16]
