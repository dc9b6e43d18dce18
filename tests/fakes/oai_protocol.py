"""The rules of OAI-PMH 2.0 for one repository, without I/O: arguments in, an answer out.

The stand-in enforces the protocol (http://www.openarchives.org/OAI/openarchivesprotocol.html): unknown, repeated or missing arguments,
dates, granularities, sets, prefixes and tokens are checked as sections 2.5, 2.7, 3.5, 3.6 and 4 ask, so that a harvester that asks
wrongly is told so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.fakes.oai_arguments import ProtocolError, check, date
from tests.fakes.oai_cache import PageCache
from tests.fakes.oai_envelope import Entry, Envelope, ListPage, TokenElement, day, second
from tests.fakes.oai_holdings import DAY, MASK, SHIFT, Holdings
from tests.fakes.oai_records import DUBLIN_CORE, MARC, OAI_DC
from tests.fakes.oai_repository import DAYS, Repository
from tests.fakes.oai_tokens import EVER, BadToken, Position, Tokens

# What mod-oai-pmh of FOLIO answers when its errorsProcessing is set to HTTP statuses.
FOLIO_STATUS: Final = {"noRecordsMatch": 404, "idDoesNotExist": 404, "noMetadataFormats": 422, "cannotDisseminateFormat": 422}
EMPTY: Final = "The combination of from, until, set and metadataPrefix gives an empty list"


class ServerError(Exception):
    """The repository breaks down over this request: a plain HTTP status without any OAI answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Status and XML of an answer; `error` is the OAI error code, if it is one."""

    status: int
    parts: tuple[bytes, ...]  # of the XML
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What an alteration of a page may look at: the endpoint, where the list stands and where it goes on."""

    endpoint: Endpoint
    position: Position
    following: Position | None
    token: str | None  # the token of the request


Alteration = Callable[[ListPage, Asked], None]
_NOWHERE: Final = Position(verb="", prefix="", of_set=None, low=-EVER, high=EVER)  # of a request that is no list


class Endpoint:
    """One running repository: its holdings, its tokens and the protocol."""

    def __init__(self, repository: Repository, cache: PageCache | None = None) -> None:
        self.repository = repository
        self.cache = cache or PageCache(0)
        self.holdings = Holdings(repository)
        self.tokens = Tokens(repository, self.holdings.clock)
        self.envelope = Envelope(repository)

    def answer(self, arguments: Sequence[tuple[str, str]], url: str, alter: Alteration | None = None) -> Answer:
        """Answers one request.

        Args:
            arguments: names and values in the order received, repetitions included.
            url: what the request element says.
            alter: a fault's chance to change a page of a list, or a record, before it is written.

        Raises:
            ServerError: from an alteration; nothing in the protocol itself raises it.
        """
        now = self.holdings.clock.now()
        extra = {*self.repository.allowed_arguments, *(self.repository.requires_argument or ())[:1]}
        asked = [(name, value) for name, value in arguments if name not in extra]
        told = dict(asked)
        try:
            verb = check(asked)
            inner = self._perform(verb, told, url, alter)
        except ProtocolError as error:
            shown = {} if error.code in ("badVerb", "badArgument") else told
            status = error.status or self._status(error.code)
            return Answer(
                status=status,
                parts=self.envelope.wrap(now, url, shown, [self.envelope.error(error.code, str(error))]),
                error=error.code,
            )
        return Answer(status=200, parts=self.envelope.wrap(now, url, told, inner))

    def page_number(self, told: dict[str, str]) -> int | None:
        """Which page of a list a request asks for, from 1; None when it asks for no list, or with a token that leads nowhere."""
        if not told.get("verb", "").startswith("List"):
            return None
        if "resumptionToken" not in told:
            return 1
        position = self.tokens.peek(told["resumptionToken"])
        return position.page if position else None

    def entry(self, number: int, prefix: str, verb: str = "ListRecords") -> Entry:
        """Record `number` as it is written into an answer."""
        deleted = self.holdings.is_deleted(number)
        return Entry(
            identifier=self.repository.identifier(number).encode(),
            stamp=self.holdings.stamp(number),
            deleted=deleted,
            sets=self.holdings.sets_of(number),
            payload=None if deleted or verb == "ListIdentifiers" else self.holdings.payload(number, prefix),
        )

    def _status(self, code: str) -> int:
        if self.repository.errors_status == "folio":
            return FOLIO_STATUS.get(code, 400)
        return int(self.repository.errors_status)

    def _perform(self, verb: str, told: dict[str, str], url: str, alter: Alteration | None) -> Sequence[bytes]:
        if alter is not None and verb not in ("ListRecords", "ListIdentifiers", "GetRecord"):
            alter(ListPage(verb), Asked(endpoint=self, position=_NOWHERE, following=None, token=None))
        if verb == "Identify":
            return [self._identify(url)]
        if verb == "ListMetadataFormats":
            return [self._formats(told.get("identifier"))]
        if verb == "ListSets":
            return [self._sets(told)]
        if verb == "GetRecord":
            return self._get(told, alter)
        return self._list(verb, told, alter)

    def _identify(self, url: str) -> bytes:
        e, r = self.envelope, self.repository
        stamp = (day if r.granularity == DAYS else second)(int(r.earliest.timestamp())).decode()
        parts = [
            e.element("repositoryName", f"Library {r.name}"),
            e.element("baseURL", url),
            e.element("protocolVersion", "2.0"),
            e.element("adminEmail", f"oai@{r.name}.example.org"),
            e.element("earliestDatestamp", stamp),
            e.element("deletedRecord", r.deleted_record),
            e.element("granularity", r.granularity),
        ]
        if r.gzip != "never":
            parts.append(e.element("compression", "deflate" if "deflate" in r.gzip else "gzip"))
        return e.block("Identify", "".join(parts)).encode()

    def _formats(self, identifier: str | None) -> bytes:
        e = self.envelope
        if identifier is not None and self.holdings.number(identifier) is None:
            raise ProtocolError("idDoesNotExist", f"No item {identifier}")
        blocks = []
        for prefix in self.repository.formats:
            marc = prefix.startswith("marc")
            schema = (
                "http://www.loc.gov/standards/marcxml/schema/MARC21slim.xsd" if marc else "http://www.openarchives.org/OAI/2.0/oai_dc.xsd"
            )
            namespace = MARC if marc else OAI_DC if prefix == "oai_dc" else DUBLIN_CORE
            inner = e.element("metadataPrefix", prefix) + e.element("schema", schema) + e.element("metadataNamespace", namespace)
            blocks.append(e.block("metadataFormat", inner))
        return e.block("ListMetadataFormats", "".join(blocks)).encode()

    def _sets(self, told: dict[str, str]) -> bytes:
        e = self.envelope
        if not self.repository.sets:
            raise ProtocolError("noSetHierarchy", "This repository has no sets")
        if "resumptionToken" in told:
            raise ProtocolError("badResumptionToken", "ListSets is answered in one piece here")
        blocks = [e.block("set", e.element("setSpec", s) + e.element("setName", f"Set {s}")) for s in self.repository.sets]
        return e.block("ListSets", "".join(blocks)).encode()

    def _prefix(self, told: dict[str, str]) -> str:
        prefix = told["metadataPrefix"]
        if prefix not in self.repository.formats:
            raise ProtocolError("cannotDisseminateFormat", f"No metadata format {prefix}; there are {', '.join(self.repository.formats)}")
        return prefix

    def _get(self, told: dict[str, str], alter: Alteration | None) -> Sequence[bytes]:
        number = self.holdings.number(told["identifier"])
        if number is None:
            raise ProtocolError("idDoesNotExist", f"No item {told['identifier']}")
        prefix = self._prefix(told)
        page = ListPage("GetRecord", [self.entry(number, prefix)])
        if alter is not None:
            alter(page, Asked(endpoint=self, position=_NOWHERE, following=None, token=None))
        return self.envelope.list_page(page)

    def _list(self, verb: str, told: dict[str, str], alter: Alteration | None) -> Sequence[bytes]:
        token = told.get("resumptionToken")
        if token is None:
            position = self._start(verb, told)
        else:
            try:
                position = self.tokens.use(token)
            except BadToken as error:
                raise ProtocolError("badResumptionToken", str(error)) from error
            if position.verb != verb:
                raise ProtocolError("badResumptionToken", f"The token belongs to {position.verb}")
        if position.end and self.repository.end_style == "no_records_match":
            raise ProtocolError("noRecordsMatch", "No more records")
        keys, following, element = self._slice(position)
        if alter is None:
            if token is None and not keys:
                raise ProtocolError("noRecordsMatch", EMPTY)
            return self.envelope.list_element(verb, self._written(position, keys), element)
        page = ListPage(verb, [self.entry(key & MASK, position.prefix, verb) for key in keys], element)
        try:
            alter(page, Asked(endpoint=self, position=position, following=following, token=token))
        except (ProtocolError, ServerError) as error:
            if token is not None and getattr(error, "code", None) == "badResumptionToken":
                self.tokens.drop(token)
            elif token is not None:
                self.tokens.give_back(token, position)
            raise
        if token is None and not page.entries and page.token.value is None and page.verb == verb:
            raise ProtocolError("noRecordsMatch", EMPTY)
        return self.envelope.list_page(page)

    def _written(self, position: Position, keys: Sequence[int]) -> bytes:
        """The records of an unaltered page, from the cache if they are there."""
        name = (
            self.repository.name,
            self.holdings.revision,
            position.verb,
            position.prefix,
            position.of_set,
            len(keys),
            keys[0] if keys else 0,
        )
        written = self.cache.get(name)
        if written is None:
            entries = [self.entry(key & MASK, position.prefix, position.verb) for key in keys]
            written = self.envelope.records(position.verb, entries)
            self.cache.put(name, written)
        return written

    def _slice(self, position: Position) -> tuple[Sequence[int], Position | None, TokenElement]:
        """The keys of a page, where the list goes on, and the token element that says so."""
        keys = self.holdings.order(position.of_set)
        first, last = bisect_left(keys, position.low), bisect_left(keys, position.high)
        begin = max(first, bisect_left(keys, position.after + 1))
        end = min(last, begin + self.repository.page_size)
        size, cursor = last - first, position.cursor
        following = None
        late_end = self.repository.end_style in ("no_records_match", "empty_page_then_end")
        if end < last or (late_end and not position.end and end > begin):
            after = keys[end - 1]
            following = replace(position, after=after, cursor=cursor + end - begin, page=position.page + 1, end=end >= last)
        return keys[begin:end], following, self.token_element(following, size, cursor, resumed=position.page > 1)

    def token_element(self, following: Position | None, size: int, cursor: int, *, resumed: bool) -> TokenElement:
        """The token element of a page of a list of `size` records that has handed out `cursor` before this page."""
        r = self.repository
        if following is None and (r.end_style == "absent" or not resumed):
            return TokenElement()
        shown: int | None = size
        at: int | None = cursor
        if r.complete_list_size is False:
            shown, at = None, None
        elif r.complete_list_size == "too-high":
            shown = size + size // 10 + 1
        elif r.complete_list_size == "too-low":
            shown = max(0, size - size // 10 - 1)
        elif r.complete_list_size == "cursor-is-size":
            at = size
        if following is None:
            return TokenElement("", shown, at)
        life = r.token_seconds if r.announce_expiry else None
        expires = None if life is None else int(self.holdings.clock.now() + life)
        return TokenElement(self.tokens.issue(following), shown, at, expires)

    def _start(self, verb: str, told: dict[str, str]) -> Position:
        prefix = self._prefix(told)
        of_set = told.get("set")
        if of_set is not None and not self.repository.sets:
            raise ProtocolError("noSetHierarchy", "This repository has no sets")
        begin, begin_days = date("from", told.get("from"), self.repository.granularity)
        end, end_days = date("until", told.get("until"), self.repository.granularity)
        if begin is not None and end is not None:
            if begin_days != end_days:
                raise ProtocolError("badArgument", "from and until have different granularities")
            if end < begin:
                raise ProtocolError("badArgument", "until is before from")
        low = -EVER if begin is None else begin << SHIFT
        high = EVER if end is None else (end + (DAY if end_days else 1)) << SHIFT
        return Position(verb=verb, prefix=prefix, of_set=of_set, low=low, high=high)
