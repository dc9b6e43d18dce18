"""What can go wrong between a repository and the store, as one tree.

::

    HarvestError
    ├── RequestFailed              the request may be sent again
    │   ├── NotDelivered           the repository never saw it: repeating is always safe
    │   ├── Busy                   it was turned away unread (429, 503): come back at ``retry_at``
    │   ├── Interrupted            it was sent, the answer was lost: a single-use token may be spent
    │   ├── ServerFailed           408 or 5xx without an OAI error inside
    │   └── Unreadable             an answer came, but it is no whole page
    │       ├── Malformed          not well-formed XML
    │       ├── Truncated          the document ends before its root does
    │       └── NotOai             empty, HTML, or another kind of document
    ├── TooLarge                   more bytes than allowed, after decompression
    ├── Refused                    401, 403, 404 and the other 4xx, forbidden redirects: the same again helps nobody
    ├── BotWall                    a challenge page meant for browsers
    ├── ListBroken                 a list that does not end, repeats itself or ends where it must not
    ├── ProtocolError              an <error> of the protocol; ``code`` says which
    │   ├── BadArgument  BadVerb  BadResumptionToken  CannotDisseminateFormat
    │   └── IdDoesNotExist  NoRecordsMatch  NoMetadataFormats  NoSetHierarchy
    ├── StoreUnavailable           the database does not answer now
    └── OwnershipLost              another engine owns the group

Foreign errors (httpx, lxml, psycopg) are translated once, where they come in: ``client``, ``oai`` and the store.
Messages never carry a header, a query parameter that the source configured, or a payload.

The classes of ``ProtocolError`` are sickle's, so that code written for sickle catches them.
"""

from __future__ import annotations

from typing import Final

from sickle import oaiexceptions


class HarvestError(Exception):
    """The root of every error this package raises on purpose."""


class RequestFailed(HarvestError):
    """No page came of a request; the same request may be sent again."""


class NotDelivered(RequestFailed):
    """The connection could not be made: name, route, refusal, TLS, or the time to connect ran out."""


class Busy(RequestFailed):
    """The repository asks to be left alone for a while.

    ``retry_at`` is the moment it named (seconds since the epoch), or None when it named none.
    """

    def __init__(self, message: str, *, retry_at: float | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class Interrupted(RequestFailed):
    """The request went out, but the answer broke off or did not come in time."""


class ServerFailed(RequestFailed):
    """The repository answered with a status that means it failed (408, 5xx)."""


class Unreadable(RequestFailed):
    """The answer is not a well-formed OAI-PMH document."""


class Malformed(Unreadable):
    """The document is not well-formed; the message is the parser's."""


class Truncated(Unreadable):
    """The document breaks off. Parsers that recover take such a page for the end of the list."""


class NotOai(Unreadable):
    """The body is empty, HTML, or some other document."""


class TooLarge(HarvestError):
    """The page exceeds ``page_bytes_limit`` after decompression."""


class Refused(HarvestError):
    """The repository will not answer this request, however often it is sent."""


class BotWall(HarvestError):
    """A page that asks a browser to prove that it is one stands before the repository."""


class ListBroken(HarvestError):
    """The chain of resumption tokens cannot be followed to a trustworthy end. ``loop``: it leads back to where it was."""

    def __init__(self, message: str, *, loop: bool = False) -> None:
        super().__init__(message)
        self.loop = loop


class StoreUnavailable(HarvestError):
    """The database cannot be reached; what was fetched is kept and saved when it can."""


class OwnershipLost(HarvestError):
    """The group of this source is owned by another engine now; nothing was written."""


class ProtocolError(HarvestError):
    """An <error> element. ``code`` is its code attribute, as given by the repository."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class BadArgument(ProtocolError, oaiexceptions.BadArgument):  # type: ignore[misc]
    """An argument is missing, repeated, unknown or malformed."""


class BadVerb(ProtocolError, oaiexceptions.BadVerb):  # type: ignore[misc]
    """The verb is unknown to the repository."""


class BadResumptionToken(ProtocolError, oaiexceptions.BadResumptionToken):  # type: ignore[misc]
    """The token is unknown, spent or expired."""


class CannotDisseminateFormat(ProtocolError, oaiexceptions.CannotDisseminateFormat):  # type: ignore[misc]
    """The repository (or this item) does not offer the metadataPrefix."""


class IdDoesNotExist(ProtocolError, oaiexceptions.IdDoesNotExist):  # type: ignore[misc]
    """The identifier is unknown to the repository."""


class NoRecordsMatch(ProtocolError, oaiexceptions.NoRecordsMatch):  # type: ignore[misc]
    """Nothing in this window and set: an empty success on a first request, ambiguous after a token."""


class NoMetadataFormats(ProtocolError, oaiexceptions.NoMetadataFormat):  # type: ignore[misc]
    """The item has no format at all."""


class NoSetHierarchy(ProtocolError, oaiexceptions.NoSetHierarchy):  # type: ignore[misc]
    """The repository has no sets."""


BY_CODE: Final[dict[str, type[ProtocolError]]] = {
    "badargument": BadArgument,
    "badverb": BadVerb,
    "badresumptiontoken": BadResumptionToken,
    "cannotdisseminateformat": CannotDisseminateFormat,
    "iddoesnotexist": IdDoesNotExist,
    "norecordsmatch": NoRecordsMatch,
    "nometadataformats": NoMetadataFormats,
    "nosethierarchy": NoSetHierarchy,
}


def protocol_error(code: str, message: str) -> ProtocolError:
    """The error for an <error code="..."> element; codes are compared without regard to case."""
    return BY_CODE.get(code.strip().lower(), ProtocolError)(code.strip(), message.strip())
