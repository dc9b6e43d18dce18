"""The consortium in a thread of this process, as tests use it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from tests.fakes.oai_faults import Fault
from tests.fakes.oai_holdings import Truth
from tests.fakes.oai_http import Server
from tests.fakes.oai_repository import Repository
from tests.fakes.oai_site import Site
from tests.fakes.oai_statistics import Figures, LogEntry, Statistics

T = TypeVar("T")


class Consortium:
    """The servers in a thread of this process. Every method may be called from any other thread.

    Args:
        repositories: what is served; names are unique.
        port: of the server, 0 for any free one.
        cache_megabytes: room for written pages, so that they are written once.

    Leaving the `with` raises the first error that the server itself made (a bug of the stand-in, never a fault that was asked for).
    """

    def __init__(self, repositories: Iterable[Repository] = (), *, port: int = 0, cache_megabytes: int = 16) -> None:
        self._site = Site(repositories, cache_bytes=cache_megabytes << 20)
        self._server = Server(self._site)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._bugs: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="oai-consortium", daemon=True)
        self._stop: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Consortium {self._site.url}: {len(self._site.repositories)} repositories>"

    def __enter__(self) -> Consortium:
        started: Future[None] = Future()
        self._loop.set_exception_handler(self._note)
        self._started = started
        self._thread.start()
        try:
            started.result()
        except OSError:
            self._thread.join()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._bugs and error is None:
            raise self._bugs[0]

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._bugs.append(context.get("exception") or RuntimeError(context["message"]))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        try:
            await self._server.start(self._port)
        except OSError as error:
            await self._server.stop()
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        await self._stop.wait()
        await self._server.stop()

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a function in the server's thread."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except Exception as error:  # noqa: BLE001  handed to the caller, in whose name it runs
                future.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return future.result()

    # -- addresses -------------------------------------------------------------------------------------------------------------

    @property
    def base(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._site.url

    @property
    def elsewhere(self) -> str:
        """`http://localhost:PORT2`: another host for a client, with the same repositories and without faults."""
        return self._site.elsewhere_url

    @property
    def names(self) -> list[str]:
        return list(self._site.repositories)

    def url(self, name: str) -> str:
        """Base URL of a repository."""
        return f"{self._site.url}/{name}/oai"

    def dead_url(self) -> str:
        """An address at which connections are refused."""
        return self._server.dead_url

    # -- contents --------------------------------------------------------------------------------------------------------------

    def serve(self, repository: Repository) -> str:
        """Adds a repository while running; returns its URL. Raises ValueError when the name is taken."""
        self._call(self._site.serve, repository)
        return self.url(repository.name)

    def repository(self, name: str) -> Repository:
        return self._site.repositories[name]

    def identifier(self, name: str, number: int) -> str:
        """The OAI identifier of a record."""
        return self._site.repositories[name].identifier(number)

    def truth(self, name: str, *, prefix: str | None = None, of_set: str | None = None) -> dict[str, Truth]:
        """What a perfect harvest holds now, by identifier; in the first metadata format unless told."""
        return self._call(lambda: self._site.endpoint(name).holdings.truth(prefix, of_set))

    def live(self, name: str) -> list[int]:
        """Numbers of the records that are neither deleted nor gone."""
        return self._call(lambda: self._site.endpoint(name).holdings.live())

    def change(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        """New content and datestamp (the server's time, or `backdated`). A tombstone stays one, with the new datestamp."""
        self._call(self._site.mutate, name, "change", numbers, backdated)

    def touch(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        """New datestamp, same content."""
        self._call(self._site.mutate, name, "touch", numbers, backdated)

    def delete(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        """Tombstones; in a repository with deleted_record="no" the records vanish."""
        self._call(self._site.mutate, name, "delete", numbers, backdated)

    def restore(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        """Deleted or vanished records come back with the content they had."""
        self._call(self._site.mutate, name, "restore", numbers, backdated)

    def vanish(self, name: str, numbers: Iterable[int]) -> None:
        """Records go without a tombstone."""
        self._call(self._site.mutate, name, "vanish", numbers)

    def add(self, name: str, count: int, *, backdated: datetime | None = None) -> range:
        """New records; returns their numbers."""
        return self._call(lambda: self._site.endpoint(name).holdings.add(count, backdated))

    def advance(self, name: str, seconds: float) -> None:
        """Moves the repository's clock: tokens age, new datestamps and responseDates follow."""
        self._call(lambda: self._site.endpoint(name).holdings.clock.advance(seconds))

    def forget_tokens(self, name: str) -> None:
        """The server forgets the tokens it keeps, as after a restart. Stateless ones survive."""
        self._call(lambda: self._site.endpoint(name).tokens.forget())

    # -- faults and gates ------------------------------------------------------------------------------------------------------

    def fault(self, name: str | None, fault: Fault) -> int:
        """Sets a fault on one repository, or on all (None); returns its handle."""
        return self._call(self._site.faults.arm, name, fault)

    def hits(self, handle: int) -> int:
        """How many requests a fault has hit. Raises KeyError when it was cleared."""
        return self._call(self._site.faults.hits, handle)

    def clear(self, name: str | None = None, handle: int | None = None) -> None:
        """Ends one fault, those of one repository, or (without arguments) all."""
        self._call(self._site.faults.clear, name, handle)

    @contextlib.contextmanager
    def hold(self, name: str | None = None) -> Iterator[None]:
        """Within the `with`, requests (to one repository or all) are taken in but not answered; leaving it lets them all out."""
        gate = self._call(self._site.hold, name)
        try:
            yield
        finally:
            self._call(self._site.release, gate)

    # -- what was seen ---------------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """`{"total": FIGURES, "groups": {NAME: FIGURES}, "repositories": {NAME: FIGURES}}`, see `oai_statistics.Figures`."""
        return self._call(self._site.statistics.as_json)

    def reset_stats(self) -> None:
        """Counts from now on; the log is emptied too."""
        self._call(self._site.statistics.reset)

    def log(self, name: str | None = None) -> list[LogEntry]:
        """The last requests (up to 5,000), oldest first."""
        return self._call(lambda: [entry for entry in self._site.statistics.log if name in (None, entry.repository)])

    def last_headers(self, name: str) -> list[tuple[str, str]]:
        """The headers of the last request to a repository; names in lower case. Empty when there was none."""
        return self._call(lambda: list(self._site.last_headers.get(name, [])))

    def elsewhere_headers(self) -> list[list[tuple[str, str]]]:
        """The headers of each of the last 100 requests that came to the second port."""
        return self._call(lambda: list(self._site.elsewhere_headers))

    def wait_in_flight(self, count: int, *, group: str | None = None, name: str | None = None, timeout: float = 10.0) -> None:
        """Waits until exactly `count` requests are in flight (in a group, at a repository, or in all).

        Raises:
            TimeoutError: not within `timeout` seconds.
        """
        self._wait(lambda s: _figures(s, group, name).in_flight == count, f"{count} in flight", timeout)

    def wait_requests(self, count: int, *, group: str | None = None, name: str | None = None, timeout: float = 10.0) -> None:
        """Waits until at least `count` requests were taken in. Raises TimeoutError."""
        self._wait(lambda s: _figures(s, group, name).requests >= count, f"{count} requests", timeout)

    def _wait(self, condition: Callable[[Statistics], bool], what: str, timeout: float) -> None:
        done = threading.Event()
        self._call(self._site.watch, condition, done.set)
        if not done.wait(timeout):
            total = self._site.statistics.total
            raise TimeoutError(f"waited {timeout} s for {what}; now {total.in_flight} in flight after {total.requests} requests in all")


def _figures(statistics: Statistics, group: str | None, name: str | None) -> Figures:
    if name is not None:
        return statistics.repositories[name]
    return statistics.total if group is None else statistics.groups[group]
