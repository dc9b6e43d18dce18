"""All repositories of a consortium together: which one is asked, what it answers, what was counted. No sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from tests.fakes.oai_alterations import alteration
from tests.fakes.oai_cache import PageCache
from tests.fakes.oai_faults import Fault, FaultBox
from tests.fakes.oai_protocol import Endpoint, ServerError
from tests.fakes.oai_replies import HTML, Reply, compress, instead, spoil
from tests.fakes.oai_repository import Repository
from tests.fakes.oai_statistics import LogEntry, Statistics

MUTATIONS = ("change", "touch", "delete", "restore", "vanish")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request as read from the socket. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    elsewhere: bool  # it came to the second port

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def arguments(self) -> list[tuple[str, str]]:
        """Query and form together, in order, with repetitions and empty values."""
        pairs = parse_qsl(self.query, keep_blank_values=True)
        if self.method == "POST":
            pairs += parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        return pairs


@dataclass(slots=True)
class Exchange:
    """A request in flight: what will be sent, how long that takes, and what holds it."""

    repository: Repository
    reply: Reply
    entry: LogEntry
    gates: list[asyncio.Event]
    over: bool = False


class Site:
    """The repositories, their faults, gates and statistics. Used from the server's thread only."""

    def __init__(self, repositories: Iterable[Repository], *, cache_bytes: int = 0) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults = FaultBox()
        self.statistics = Statistics()
        self.gates: dict[int, tuple[str | None, asyncio.Event]] = {}
        self.last_headers: dict[str, list[tuple[str, str]]] = {}
        self.elsewhere_headers: deque[list[tuple[str, str]]] = deque(maxlen=100)
        self.url = ""  # both set when the sockets are bound
        self.elsewhere_url = ""
        self._cache = PageCache(cache_bytes)
        self._endpoints: dict[str, Endpoint] = {}
        self._minute: dict[str, deque[float]] = {}
        self._last_gate = 0
        for repository in repositories:
            self.serve(repository)

    def __repr__(self) -> str:
        return f"<Site {self.url}: {len(self.repositories)} repositories, {self.statistics.total.in_flight} in flight>"

    def serve(self, repository: Repository) -> None:
        """Adds a repository. Raises ValueError when the name is taken."""
        if repository.name in self.repositories:
            raise ValueError(f"there is a repository {repository.name} already")
        self.repositories[repository.name] = repository
        self.statistics.know(repository.name, repository.group)

    def endpoint(self, name: str) -> Endpoint:
        """The running repository, made when first used. Raises KeyError for an unknown name."""
        if name not in self._endpoints:
            self._endpoints[name] = Endpoint(self.repositories[name], self._cache)
        return self._endpoints[name]

    # -- requests --------------------------------------------------------------------------------------------------------------

    def begin(self, request: Request) -> Exchange | Reply:
        """Takes a request in: counted, answered in full, not yet sent. A bare Reply is for paths that are no repository's."""
        name, _, rest = request.path.lstrip("/").partition("/")
        place, _, suffix = rest.partition("/")
        if name not in self.repositories or place != "oai" or suffix not in ("", "moved", "loop"):
            return Reply(status=404, body=b"<html><body>There is no repository here</body></html>\n", content_type=HTML)
        if request.method not in ("GET", "POST"):
            return Reply(status=405, headers=(("Allow", "GET, POST"),))
        repository = self.repositories[name]
        arguments = request.arguments()
        told = dict(arguments)
        entry = LogEntry(time.time(), name, told.get("verb"), told, elsewhere=request.elsewhere)
        self.statistics.begin(repository.group, entry)
        self.last_headers[name] = request.headers
        if request.elsewhere:
            self.elsewhere_headers.append(request.headers)
        reply = self._reply(repository, request, arguments, told, suffix, entry)
        entry.error = reply.error
        reply = replace(reply, date=self.endpoint(name).holdings.clock.now())
        gates = [gate for held, gate in self.gates.values() if held in (None, name)]
        return Exchange(repository, reply, entry, gates)

    def end(self, exchange: Exchange, status: int | None, sent: int) -> None:
        """A request is over: its last byte is out, or its connection is gone."""
        if exchange.over:
            return
        exchange.over = True
        exchange.entry.status, exchange.entry.bytes = status, sent
        self.statistics.end(exchange.repository.group, exchange.entry)

    def _reply(
        self, repository: Repository, request: Request, arguments: list[tuple[str, str]], told: dict[str, str], suffix: str, entry: LogEntry
    ) -> Reply:
        wait = self._too_many(repository)
        if wait is not None:
            return Reply(status=429, content_type=HTML, headers=(("Retry-After", str(wait)),))
        if repository.requires_authorization not in (None, request.header("authorization")):
            return Reply(status=401, content_type=HTML, headers=(("WWW-Authenticate", 'Basic realm="library"'),))
        if repository.requires_argument is not None and repository.requires_argument not in arguments:
            return Reply(status=401, body=b"Access requires an API key\n", content_type="text/plain")
        if suffix == "loop":
            return Reply(status=302, content_type=HTML, headers=(("Location", f"{request.path}?{request.query}"),))
        endpoint = self.endpoint(repository.name)
        armed = None
        if self.faults.armed and not suffix and not request.elsewhere:
            page = endpoint.page_number(told)
            armed = self.faults.match(repository.name, told.get("verb"), page, "resumptionToken" in told)
        if armed is not None:
            entry.fault, before = armed.fault.kind, armed.hits - 1
            reply = instead(armed.fault, request.path, request.query, self.elsewhere_url, endpoint.holdings.clock.now())
            if reply is not None:
                return reply
        base = (self.elsewhere_url if request.elsewhere else self.url) + request.path
        try:
            answer = endpoint.answer(arguments, base, alteration(armed))
        except ServerError as error:
            return Reply(status=error.status, body=b"<html><body>Internal error</body></html>\n", content_type=HTML)
        reply = Reply(status=answer.status, parts=answer.parts, error=answer.error)
        if armed is not None:
            if armed.hits == before:
                entry.fault = None  # it found nothing to spoil
            reply = spoil(armed.fault, reply)
        return compress(reply, repository.gzip, request.header("accept-encoding") or "")

    def _too_many(self, repository: Repository) -> int | None:
        """Seconds to wait when there were too many requests in the last 60; refused ones do not count."""
        if repository.requests_per_minute is None:
            return None
        times = self._minute.setdefault(repository.name, deque())
        now = time.monotonic()
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= repository.requests_per_minute:
            return int(times[0] + 60 - now) + 1
        times.append(now)
        return None

    # -- gates and watchers ----------------------------------------------------------------------------------------------------

    def hold(self, name: str | None) -> int:
        """Holds all answers of one repository, or of all, that are asked for from now on; `release` lets them out."""
        self._last_gate += 1
        self.gates[self._last_gate] = (name, asyncio.Event())
        return self._last_gate

    def release(self, gate: int | None = None) -> None:
        """Opens one gate, or all. An open gate stays open and holds nobody any more."""
        for number in [gate] if gate is not None else list(self.gates):
            held = self.gates.pop(number, None)
            if held is not None:
                held[1].set()

    def watch(self, condition: Callable[[Statistics], bool], done: Callable[[], None]) -> None:
        """Calls `done` as soon as the statistics meet the condition, at once when they do already."""

        def watcher() -> bool:
            if not condition(self.statistics):
                return False
            done()
            return True

        if not watcher():
            self.statistics.watchers.append(watcher)

    # -- control ---------------------------------------------------------------------------------------------------------------

    def mutate(self, name: str, action: str, numbers: Iterable[int], backdated: datetime | None = None) -> None:
        """One of MUTATIONS on one repository. Raises ValueError or KeyError."""
        if action not in MUTATIONS:
            raise ValueError(f"unknown change {action!r}; known: {', '.join(MUTATIONS)}, add, advance")
        holdings = self.endpoint(name).holdings
        if action == "vanish":
            holdings.vanish(numbers)
        else:
            getattr(holdings, action)(numbers, backdated)

    def control(self, request: Request) -> Reply:
        """The control endpoints for a consortium in another process; what they do is what the methods of that name do."""
        try:
            given = {**dict(parse_qsl(request.query)), **json.loads(request.body or b"{}")}
            result = self._control(request.path, given)
        except (KeyError, ValueError, TypeError) as error:
            return Reply(status=400, body=json.dumps({"error": str(error)}).encode(), content_type="application/json")
        return Reply(body=json.dumps(result).encode(), content_type="application/json")

    def _control(self, path: str, given: dict[str, Any]) -> Any:
        name = given.pop("name", None)
        match path:
            case "/_stats":
                return self.statistics.as_json()
            case "/_log":
                return [entry.as_json() for entry in self.statistics.log if name in (None, entry.repository)]
            case "/_reset_stats":
                return self.statistics.reset()
            case "/_fault":
                return self.faults.arm(name, Fault.parse(given))
            case "/_hits":
                return self.faults.hits(given["handle"])
            case "/_clear":
                return self.faults.clear(name, given.get("handle"))
            case "/_hold":
                return self.hold(name)
            case "/_release":
                return self.release(given.get("gate"))
            case "/_serve":
                return self.serve(Repository.parse({"name": name, **given}))
            case "/_headers":
                return {"last": self.last_headers.get(name or "", []), "elsewhere": list(self.elsewhere_headers)}
            case "/_truth":
                held = self.endpoint(name or "").holdings.truth(given.get("prefix"), given.get("of_set"))
                return {identifier: [truth.datestamp.isoformat(), truth.deleted, truth.digest] for identifier, truth in held.items()}
            case "/_live":
                return self.endpoint(name or "").holdings.live()
            case "/_change":
                return self._change(name or "", given)
            case _:
                raise ValueError(f"no control endpoint {path}")

    def _change(self, name: str, given: dict[str, Any]) -> Any:
        action = given.get("action", "change")
        backdated = datetime.fromisoformat(given["backdated"]) if given.get("backdated") else None
        if action == "add":
            return list(self.endpoint(name).holdings.add(given["count"], backdated))
        if action == "advance":
            return self.endpoint(name).holdings.clock.advance(given["seconds"])
        if action == "forget_tokens":
            return self.endpoint(name).tokens.forget()
        return self.mutate(name, action, given["numbers"], backdated)
