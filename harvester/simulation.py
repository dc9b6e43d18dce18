"""The real schedule in virtual time: what would these limits do to these sources?

The engine that harvests (``harvester.engine.Engine``) runs here unchanged: the same choice of sources, the same rules of
a pass, the same pauses. What is simulated is only what lies outside of it:

- ``Repositories`` answers every request after its latency, with a page that has a number of records but no records;
- ``CountingStore`` keeps what the engine must remember and counts the rest, in no time at all;
- trio's ``MockClock`` jumps to the next moment at which something happens, so hours pass in seconds.

What is left out: failures, time-outs, and the time that parsing and saving take (they hold no slot). Identify takes no
time unless ``identify`` says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Final

import anyio

from harvester.client import Reply
from harvester.course import Memory
from harvester.engine import Engine
from harvester.events import Happening, Notice, Outcome, PageSaved, PassFinished
from harvester.oai import Identity, Page, Record, Request, Token
from harvester.politeness import MINUTE, Pressure
from harvester.sources import Configuration, Source
from harvester.store import Commit, Committed, Totals, after

LOOKS: Final = 100  # times that the engine may look at the clock for each request; it needs about ten
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # when virtual time begins, unless blackout hours make it matter
IDENTITY: Final = Identity(
    repository_name="simulated",
    base_url="http://simulated.invalid/oai",
    protocol_version="2.0",
    earliest="2000-01-01T00:00:00Z",
    deleted_record="persistent",
    granularity="YYYY-MM-DDThh:mm:ssZ",
)


class SimulationFailed(RuntimeError):
    """A simulated pass did not complete, or time stands still, although nothing fails in a simulation: a mistake in this program."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What a source has to harvest: so many records on so many pages, each of which takes ``latency`` seconds to come.

    ``page_size`` None spreads the records evenly. ``delta``: it was harvested before, and these are the changes since.
    ValueError when a number makes no sense.
    """

    records: int
    pages: int
    latency: float
    page_size: int | None = None
    delta: bool = False

    def __post_init__(self) -> None:
        if self.records < 0 or self.pages < 1:
            raise ValueError(f"{self.records} records on {self.pages} pages cannot be; there is at least one page")
        if not (math.isfinite(self.latency) and self.latency >= 0.0):
            raise ValueError(f"a latency of {self.latency} s cannot be")

    @classmethod
    def of(cls, records: int, *, page_size: int, latency: float, delta: bool = False) -> Shape:
        """Full pages, and one that holds the rest."""
        if page_size < 1:
            raise ValueError(f"a page of {page_size} records cannot be")
        return cls(records=records, pages=max(1, -(-records // page_size)), page_size=page_size, latency=latency, delta=delta)

    def size(self, page: int) -> int:
        """Records on a page; pages are numbered from 0."""
        if self.page_size is not None:
            return max(0, min(self.page_size, self.records - page * self.page_size))
        return self.records * (page + 1) // self.pages - self.records * page // self.pages

    def rests(self, threshold: int) -> int:
        """How often the source pauses before its last page; what follows the last page delays nothing."""
        count = rests = 0
        for page in range(self.pages - 1 if threshold else 0):
            count += self.size(page)
            if count > threshold:
                count, rests = 0, rests + 1
        return rests


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupForecast:
    """A group in the simulation. ``utilisation``: the share of its slots that was in use until its last page came."""

    limit: int
    sources: int
    pages: int
    in_flight_max: int
    makespan: float
    ideal: float
    utilisation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a simulation says; durations are in virtual seconds.

    ``makespan`` is when the last pass was complete, ``ideal`` the least that any schedule could need (see ``ideal``).
    ``utilisation`` is the share of all slots, over the makespan, in which a request was in flight. ``lag`` is, by source,
    how long after it became due its pass was complete; all are due at the beginning.
    """

    makespan: float
    ideal: float
    utilisation: float
    in_flight_max: int
    pages: int
    records: int
    lag: Mapping[str, float]
    groups: Mapping[str, GroupForecast]


def simulate(
    configuration: Configuration,
    shapes: Mapping[str, Shape],
    *,
    seed: int | None = None,
    identify: float = 0.0,
    began: float = BEGAN,
    progress: Callable[[int], None] = lambda pages: None,
) -> Forecast:
    """Let every source of ``shapes`` make one pass under the limits of ``configuration``.

    Of a source count its group, pauses, requests per minute and blackout hours; of a group all it says. ``identify`` is
    the latency of Identify in seconds, ``seed`` makes the random choice repeatable (None: that of the configuration),
    ``began`` is the moment at which virtual time begins, ``progress`` is called with the pages so far.

    Raises KeyError for a shape whose source is not configured, ``SimulationFailed`` when a pass did not complete.
    """
    import trio  # here, because no other command needs it
    from trio.testing import MockClock

    sources = {name: bare(configuration.sources[name]) for name in shapes}
    configuration = replace(configuration, sources=sources, seed=configuration.seed if seed is None else seed)
    limits = {source.group: configuration.groups[source.group].limit for source in sources.values()}
    clock = MockClock(autojump_threshold=0.0)
    moments = Moments(clock.current_time, began=began, patience=10_000 + LOOKS * sum(shape.pages + 1 for shape in shapes.values()))
    transport = Repositories(shapes, sleep=trio.sleep, identify=identify)
    lag: dict[str, float] = {}
    failed: list[str] = []
    pages = 0

    def observe(happening: Happening) -> None:
        nonlocal pages
        match happening:
            case PageSaved():
                pages += 1
                progress(pages)
            case PassFinished(outcome=Outcome.COMPLETE, source=name):
                lag[name] = clock.current_time()
            case PassFinished(source=name, error=error):
                failed.append(f"{name}: {error}")
            case Notice(message=message):
                failed.append(message)

    async def run() -> None:
        store = CountingStore(shapes)
        engine = Engine(
            configuration,
            store,
            transport,
            observe=observe,
            clock=moments,
            rng=Random(configuration.seed),  # noqa: S311  (fairness, not secrecy)
            read=carried,
            in_thread=False,
        )
        await engine.run(once=True)

    if shapes:
        try:
            with repeatable(configuration.seed):
                anyio.run(run, backend="trio", backend_options={"clock": clock})
        except* SimulationFailed as several:
            raise SimulationFailed(str(several.exceptions[0])) from several
    if failed or lag.keys() != shapes.keys():
        raise SimulationFailed(failed[0] if failed else f"{len(shapes) - len(lag)} sources never had their pass")
    makespan = max(lag.values(), default=0.0)
    slots = min(configuration.total_limit, sum(limits.values()))
    groups = {}
    for group, limit in sorted(limits.items()):
        members = {name: shapes[name] for name, source in sources.items() if source.group == group}
        took = max(lag[name] for name in members)
        gauge = transport.gauges[group]
        groups[group] = GroupForecast(
            limit=limit,
            sources=len(members),
            pages=sum(shape.pages for shape in members.values()),
            in_flight_max=gauge.most,
            makespan=took,
            ideal=ideal(configuration, members, identify=identify),
            utilisation=share(gauge.busy, limit * took),
        )
    return Forecast(
        makespan=makespan,
        ideal=ideal(configuration, shapes, identify=identify),
        utilisation=share(transport.total.busy, slots * makespan),
        in_flight_max=transport.total.most,
        pages=pages,
        records=sum(shape.records for shape in shapes.values()),
        lag=lag,
        groups=groups,
    )


@contextmanager
def repeatable(seed: int | None) -> Iterator[None]:
    """Inside, trio runs tasks that are ready at the same moment in an order that depends on the seed alone.

    By itself it shuffles them, on purpose. These two names of trio's scheduler are private, but they are what its own
    test plugin and hypothesis-trio set for the same reason; there is no public way. They are put back at the end.
    """
    from trio._core import _run as scheduler

    state, sorted_before = scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    if seed is not None:
        scheduler._r.seed(seed)
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    try:
        yield
    finally:
        scheduler._r.setstate(state)
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = sorted_before  # type: ignore[misc]


def ideal(configuration: Configuration, shapes: Mapping[str, Shape], *, identify: float = 0.0) -> float:
    """The least makespan, in seconds, that any schedule could reach: the largest of these lower bounds.

    - for each group, the slot time it needs over its slots: sum of (``identify`` + pages x latency) / limit;
    - the same for all groups together under ``total_limit``;
    - for each source, its own chain, whose pages come one after the other: ``identify`` + pages x latency + the pauses
      before its last page x their length;
    - where requests per minute are limited to m, n requests (with Identify) cannot start in less than
      60 x floor((n - 1) / m) seconds.

    Blackout hours are not in the bound.
    """
    bounds = [0.0]
    work: dict[str, float] = {}
    requests: dict[str, int] = {}
    for name, shape in shapes.items():
        source = configuration.sources[name]
        needed = identify + shape.pages * shape.latency
        work[source.group] = work.get(source.group, 0.0) + needed
        requests[source.group] = requests.get(source.group, 0) + shape.pages + 1
        bounds.append(needed + shape.rests(source.pause_after_records) * source.pause_seconds)
        bounds.append(by_rate(shape.pages + 1, source.requests_per_minute))
    for group, seconds in work.items():
        bounds.append(seconds / configuration.groups[group].limit)
        bounds.append(by_rate(requests[group], configuration.groups[group].requests_per_minute))
    bounds.append(sum(work.values()) / configuration.total_limit)
    return max(bounds)


def by_rate(requests: int, per_minute: int | None) -> float:
    """The time between the first and the last start of so many requests."""
    return MINUTE * ((requests - 1) // per_minute) if per_minute is not None else 0.0


def share(part: float, whole: float) -> float:
    """A share of 0 to 1; of nothing, all."""
    return part / whole if whole > 0.0 else 1.0


def bare(source: Source) -> Source:
    """The source without what would make it ask for something other than one undivided list."""
    return Source(
        name=source.name,
        url=IDENTITY.base_url,
        group=source.group,
        interval=source.interval,
        requests_per_minute=source.requests_per_minute,
        blackouts=source.blackouts,
        pause_after_records=source.pause_after_records,
        pause_seconds=source.pause_seconds,
    )


class Moments:
    """The engine's clock, in seconds since the epoch.

    Virtual time goes on only when everything sleeps. An engine that asked again and again without ever sleeping would
    ask for ever, so after ``patience`` looks at the same moment it is told so by ``SimulationFailed``.
    """

    def __init__(self, elapsed: Callable[[], float], *, began: float, patience: int) -> None:
        self._elapsed = elapsed
        self._began = began
        self._patience = patience
        self._last = -1.0
        self._looks = 0

    def __call__(self) -> float:
        now = self._elapsed()
        if now != self._last:
            self._last, self._looks = now, 0
        self._looks += 1
        if self._looks > self._patience:
            raise SimulationFailed(f"the engine does not come to rest {now:g} s after the beginning")
        return self._began + now


class Blank(tuple[Record, ...]):
    """As many records as ``count`` says, for those who only count them; there is nothing to iterate over."""

    count_of: int

    def __new__(cls, count: int) -> Blank:
        blank = super().__new__(cls)
        blank.count_of = count
        return blank

    def __len__(self) -> int:
        return self.count_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PageReply(Reply):
    """A reply that carries its page."""

    page: Page


def carried(reply: Reply, request: Request, *, now: float, repair: bool = False) -> Page:
    """What the engine reads replies with."""
    if not isinstance(reply, PageReply):
        raise TypeError("only simulated repositories answer here")
    return reply.page


@dataclass(kw_only=True, slots=True)
class Gauge:
    """Requests in flight at this moment and at most, and the slot seconds they took: what the servers see."""

    now: int = 0
    most: int = 0
    busy: float = 0.0


class Repositories:
    """``harvester.client.Transport`` to repositories that hold what ``shapes`` says."""

    def __init__(self, shapes: Mapping[str, Shape], *, sleep: Callable[[float], Awaitable[None]], identify: float = 0.0) -> None:
        self.total = Gauge()
        self.gauges: dict[str, Gauge] = {}
        self._shapes = shapes
        self._sleep = sleep
        self._identify = identify
        self._blanks: dict[int, Blank] = {}

    async def fetch(self, source: Source, request: Request, *, timeout: float) -> PageReply:  # noqa: ASYNC109  (nothing is late here)
        """The page, after its latency."""
        shape = self._shapes[source.name]
        latency = self._identify if request.verb == "Identify" else shape.latency
        gauges = (self.total, self.gauges.setdefault(source.group, Gauge()))
        for gauge in gauges:
            gauge.now += 1
            gauge.most = max(gauge.most, gauge.now)
        try:
            await self._sleep(latency)
        finally:
            for gauge in gauges:
                gauge.now -= 1
                gauge.busy += latency
        return PageReply(status=200, seconds=latency, page=self._page(shape, request))

    def _page(self, shape: Shape, request: Request) -> Page:
        if request.verb == "Identify":
            return Page(verb="Identify", response_date=datetime.fromtimestamp(BEGAN, UTC), identity=IDENTITY)
        number = int(request.token or 0)
        size = shape.size(number)
        blank = self._blanks.get(size)
        if blank is None:
            blank = self._blanks[size] = Blank(size)
        return Page(
            verb=request.verb,
            response_date=None,
            records=blank,
            token=Token(value=str(number + 1)) if number + 1 < shape.pages else None,
            complete_list_size=shape.records,
            digest=number.to_bytes(8, "big"),  # no two pages of a list are the same
        )


@dataclass(kw_only=True, slots=True)
class Counts:
    """What is stored of a source: numbers."""

    pass_id: str = ""
    totals: Totals = field(default_factory=Totals)
    live: int = 0


class CountingStore:
    """``harvester.store.Store`` that keeps memories and counts, and no record."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        harvested = Memory(watermark=datetime.fromtimestamp(BEGAN, UTC))
        self._memories = {name: harvested if shape.delta else Memory() for name, shape in shapes.items()}
        self._counts = {name: Counts() for name in shapes}

    async def claim(self, group: str) -> bool:
        """Nobody else is here."""
        return True

    async def release(self, group: str) -> None:
        """Nothing is held."""

    async def recall(self, sources: Sequence[Source]) -> Mapping[str, Memory]:
        """See ``Store``."""
        return {source.name: self._memories[source.name] for source in sources}

    async def forget(self, names: Iterable[str]) -> None:
        """The configuration of a simulation does not change."""

    async def commit(self, commit: Commit) -> Committed:
        """See ``Store``: every record is new in a first pass, and changed in a later one."""
        name, count = commit.source.name, len(commit.step.records)
        counts = self._counts[name]
        if counts.pass_id != commit.pass_id:
            counts.pass_id, counts.totals = commit.pass_id, Totals()
        again = self._memories[name].watermark is not None
        page = Totals(
            records=count, new=0 if again else count, changed=count if again else 0, pages=int(commit.verb not in ("", "Identify"))
        )
        counts.totals += page
        counts.live += page.new
        self._memories[name] = after(self._memories[name], commit, live=counts.live)
        return Committed(page=page, totals=counts.totals, live=counts.live, known=counts.live)

    async def epochs(self) -> Mapping[str, int]:
        """No command changes a course."""
        return {}

    async def switches(self) -> Mapping[str, str]:
        """No operator pauses anything."""
        return {}

    async def pressure(self, source: Source) -> Pressure:
        """Nothing is ever vacuumed."""
        return Pressure(dead=0, trigger=1, running=False)
