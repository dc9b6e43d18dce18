"""One repository of the stand-in consortium: what it holds and how it behaves, as a value.

Every field is a habit of a real server; the defaults are what OAI-PMH 2.0 asks for. Nothing here is running: `oai_holdings`
holds the records, `oai_protocol` answers, `oai` serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

SECONDS: Final = "YYYY-MM-DDThh:mm:ssZ"
DAYS: Final = "YYYY-MM-DD"

# What each worded field may say; the first one is the default unless the class says otherwise.
CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "granularity": (SECONDS, DAYS),
    "deleted_record": ("persistent", "transient", "no"),
    "token": ("stateless", "single-use", "constant"),
    "complete_list_size": (True, False, "too-high", "too-low", "cursor-is-size"),
    "end_style": ("empty", "absent", "no_records_match", "empty_page_then_end"),
    "namespace": ("correct", "none", "prefixed", "on-record"),
    "payload": ("default", "prefixed", "inherited"),
    "gzip": ("never", "accepted", "always", "unlabelled", "deflate", "raw-deflate"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A repository: contents, manners and limits. All are fixed for its life, except through the consortium's mutations.

    Args:
        name: path of the repository (`/NAME/oai`) and part of its identifiers (`oai:NAME.example.org:000123`).
        group: whose requests in flight are counted together.
        records: how many identifiers it holds at the start, numbered from 0.
        deleted_share: deterministic share (0 to 1) of them that are tombstones at the start.
        page_size: records per page of a list.
        latency: seconds each answer takes; the request counts as in flight meanwhile.
        record_bytes: pad the MARC record to about this many bytes (0: natural, 1.5 to 2 kB).
        granularity: `SECONDS` or `DAYS`; a day repository stores days and refuses seconds.
        deleted_record: "persistent" and "transient" keep tombstones, "no" lets deleted records vanish.
        earliest, latest: the datestamps at the start are spread over this span, both ends included.
        formats: metadata prefixes; names that begin with "marc" carry MARC 21, `oai_dc` Dublin Core.
        sets: set specs, hierarchical ones with a colon; each record is in one or two of them.
        token: "stateless" carries its position, "single-use" is refused the second time, "constant" is one string per list whose
            position is kept by the server, so a lost answer is a lost page (as with session-bound servers).
        token_seconds: life of a token by the server's clock; None: for ever.
        announce_expiry: whether `expirationDate` says so.
        complete_list_size: True, False (absent), "too-high", "too-low", or "cursor-is-size" (a FOLIO consortium sends cursor = size
            with a live token).
        end_style: "empty" (an empty token element, what the protocol asks for), "absent", "no_records_match" (the last page carries
            a token that leads to the error), "empty_page_then_end" (it leads to a list without records).
        namespace: the OAI namespace: "correct", "none", "prefixed" (`oai:` everywhere), "on-record" (declared only on each record).
        payload: "default" (`<record xmlns=...>`), "prefixed" (`<marc:record xmlns:marc=...>`), "inherited" (the prefix is declared
            only on the envelope, so the bytes of the payload alone are not well-formed).
        gzip: "never", "accepted" (when asked for), "always" (also unasked), "unlabelled" (gzip bytes without a Content-Encoding),
            "deflate" and "raw-deflate" (always; the second is what some servers send under that name).
        clock_offset: seconds that the server's clock is ahead of ours.
        frozen_now: the server's clock when a test wants it fixed; the consortium's `advance` moves it.
        errors_status: HTTP status of OAI errors; "folio" for 400, 404 or 422 by kind of error.
        requires_authorization: exact Authorization header that is expected; otherwise 401.
        allowed_arguments: names of further query arguments that are accepted (FOLIO's `apikey`).
        requires_argument: name and value of a query argument that is expected (implies that it is allowed); otherwise 401.
        requests_per_minute: above it (any 60 seconds) the answer is 429 with Retry-After.
        seed: changes every record and the order of the datestamps.

    Raises:
        ValueError: a field is out of range; the message names the repository, the field and what is allowed.
    """

    name: str
    group: str = "default"
    records: int = 100
    deleted_share: float = 0.0
    page_size: int = 50
    latency: float = 0.0
    record_bytes: int = 0
    granularity: str = SECONDS
    deleted_record: str = "persistent"
    earliest: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    latest: datetime = datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)
    formats: tuple[str, ...] = ("marc21", "oai_dc")
    sets: tuple[str, ...] = ()
    token: str = "stateless"
    token_seconds: float | None = None
    announce_expiry: bool = True
    complete_list_size: bool | str = True
    end_style: str = "empty"
    namespace: str = "correct"
    payload: str = "default"
    gzip: str = "never"
    clock_offset: float = 0.0
    frozen_now: datetime | None = None
    errors_status: int | str = 200
    requires_authorization: str | None = None
    allowed_arguments: tuple[str, ...] = ()
    requires_argument: tuple[str, str] | None = None
    requests_per_minute: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"repository {self.name}: {field} is {getattr(self, field)!r}; allowed: {', '.join(map(repr, allowed))}")
        for field in ("earliest", "latest", "frozen_now"):
            moment = getattr(self, field)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"repository {self.name}: {field} has no time zone; give an aware datetime")
        for field, low, high in (("records", 0, 1 << 24), ("deleted_share", 0, 1), ("page_size", 1, 1 << 24), ("latency", 0, 3600)):
            if not low <= getattr(self, field) <= high:
                raise ValueError(f"repository {self.name}: {field} is {getattr(self, field)!r}; allowed: {low} to {high}")
        if self.latest < self.earliest:
            raise ValueError(f"repository {self.name}: latest is before earliest")
        if not self.name or set(self.name) & set("/?#&<> _:") or not self.formats:
            raise ValueError(f"repository {self.name!r}: the name must do in a path and in an identifier, and formats must not be empty")
        if isinstance(self.errors_status, str) and self.errors_status != "folio":
            raise ValueError(f"repository {self.name}: errors_status is {self.errors_status!r}; allowed: an HTTP status or 'folio'")

    def identifier(self, number: int) -> str:
        """The OAI identifier of record `number`."""
        return f"oai:{self.name}.example.org:{number:06d}"

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Repository:
        """Reads a repository from JSON values: datetimes as ISO 8601, tuples as lists.

        Raises:
            ValueError: an unknown field, or one out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"repository {values.get('name')}: unknown field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        given = dict(values)
        for field in ("earliest", "latest", "frozen_now"):
            if isinstance(given.get(field), str):
                given[field] = datetime.fromisoformat(given[field])
        for field in ("formats", "sets", "allowed_arguments", "requires_argument"):
            if isinstance(given.get(field), list):
                given[field] = tuple(given[field])
        return cls(**given)

    def as_json(self) -> dict[str, Any]:
        """The values that `parse` reads back into an equal repository."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }
