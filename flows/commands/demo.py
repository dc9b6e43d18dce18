"""``windrow demo``: a consortium of simulated libraries is harvested into a PostgreSQL of its own, and nothing is left behind."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import anyio
import typer
from rich.console import Console
from rich.table import Table

import flows
from db.cluster import SETTINGS
from db.embedded import Embedded
from db.engine import connect, upgrade
from flows.commands import output
from flows.commands.demo_members import FEWEST, FEWEST_RECORDS, LIMITS, Member, members, sources_file
from flows.commands.harvest import Screen
from flows.harvest.run import Run
from flows.harvest.tally import Tally
from harvester.configuration import load
from harvester.events import GroupView, Happening, Outcome, PageSaved, PassFinished
from harvester.settings import PREFIX, Settings
from harvester.sources import Configuration
from harvester.store import Totals

LONGEST: Final = 120.0  # seconds of one harvest: a demonstration that takes longer has failed
SHOWN_LINES: Final = 16  # of sources.yaml
CHANGED, DELETED, ADDED = 3, 2, 1  # records of each library between the two harvests
LOOPBACK: Final = "127.0.0.1,localhost"  # where the libraries are, which no proxy reaches
PROXIES: Final = ("no_proxy", "NO_PROXY")  # variables that say so to httpx
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # signals after which everything is tidied up
THROW_AWAY: Final = {**SETTINGS, "fsync": "off"}  # a database that is removed in a minute need not survive a power cut


MEANINGS: Final = {  # the figures of a group, in the order of the table
    "sources": "sources",
    "complete": "complete",
    "failed": "failed",
    "records": "records",
    "deleted": "of these deleted",
    "unreadable": "unreadable records",
    "pages": "pages",
    "limit": "limit of requests in flight",
    "in_flight_max": "most at once, counted here",
    "in_flight_max_at_server": "most at once, seen by the server",
}


class Servers(Protocol):
    """The stand-in consortium, as this command uses it (``tests.fakes.oai_remote.RemoteConsortium``)."""

    def url(self, name: str) -> str: ...
    def dead_url(self) -> str: ...
    def stats(self) -> dict[str, Any]: ...
    def live(self, name: str) -> list[int]: ...
    def change(self, name: str, numbers: Sequence[int]) -> None: ...
    def delete(self, name: str, numbers: Sequence[int]) -> None: ...
    def add(self, name: str, count: int) -> object: ...


def demo(
    *,
    sources: Annotated[int, typer.Option("--sources", min=FEWEST, max=2000, help="How many libraries.")] = 100,
    records: Annotated[
        int, typer.Option("--records", min=FEWEST_RECORDS, max=100_000, help="About how many records each of them has.")
    ] = 500,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with the database, to look into it afterwards.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")] = False,
) -> None:
    """Shows a harvest: a hundred simulated libraries, sixty of them on one server that allows two requests at a time.

    Everything is in a temporary folder: a PostgreSQL server of its own, simulated OAI-PMH servers on this machine and the file
    of sources. Two libraries are meant to fail. When it is over, the servers are stopped and the folder is removed.

    Exit status: 0 it went as intended, 1 it did not.
    """
    said = Console(soft_wrap=True, quiet=as_json)
    with output.database_errors(), _signals(), _folder(keep=keep, said=said) as folder, _environment(folder):
        with ExitStack() as stage:
            try:
                result = _perform(stage, folder, members(sources, records), said, show=not as_json)
            finally:
                _ignore_signals()  # what follows stops the servers, and must not be cut short by an impatient second Ctrl-C
        if as_json:
            output.as_json(result.as_json())
        else:
            result.show(said)
    raise typer.Exit(0 if not result.surprises else 1)


# --------------------------------------------------------------------- course


def _perform(stage: ExitStack, folder: Path, listed: Sequence[Member], said: Console, *, show: bool) -> Result:
    """The demonstration from the start of its servers to the result; ``stage`` stops them."""
    began = time.monotonic()
    said.print(f"[bold]A consortium of {len(listed)} libraries[/bold], simulated on this machine in {folder}", highlight=False)
    consortium = _consortium(listed)  # before anything is started: it may not be there
    home = Embedded(home=folder)
    stage.callback(home.stop)
    home.start(THROW_AWAY)
    database = connect(home.url(), pool_size=8, application_name="windrow-demo")
    stage.callback(database.dispose)
    upgrade(database)
    servers = stage.enter_context(consortium)
    said.print(
        f"A PostgreSQL server and {len(listed) - 1} OAI-PMH repositories are up after {time.monotonic() - began:.1f} s.\n", highlight=False
    )

    text = sources_file(listed, {each.name: servers.url(each.name) if each.repository else servers.dead_url() for each in listed})
    file = folder / "sources.yaml"
    file.write_text(text, encoding="utf-8")
    lines = text.splitlines()
    said.print(f"[bold]{file.name}[/bold] lists them ({len(lines)} lines):")
    said.print("\n".join(f"  {line}" for line in [*lines[:SHOWN_LINES], "  ..."]), style="dim", highlight=False, markup=False)
    configuration = load(file, Settings.load())

    result = Result(listed=listed)
    for title in ("The first harvest", "The second harvest"):
        if result.harvests:
            for name in (each.name for each in listed if not each.fails):
                live = servers.live(name)
                servers.change(name, live[:CHANGED])
                servers.delete(name, live[CHANGED : CHANGED + DELETED])
                servers.add(name, ADDED)
            said.print(
                f"\nAt each library now {CHANGED} records are changed, {DELETED} are deleted and {ADDED} is new. Only these are asked for."
            )
        said.print(f"\n[bold]{title}[/bold]")
        harvest = Harvest()
        run = Run(configuration=configuration, database=database, observe=harvest.take)
        with harvest.shown(configuration, run, said) if show else nullcontext():
            anyio.run(partial(run.harvest, once=True, seconds=LONGEST))
        harvest.close(run, configuration, time.monotonic())
        result.harvests.append(harvest)
        if harvest.screen is not None:
            harvest.screen.summary(harvest.summary)
    result.servers = servers.stats()["groups"]
    result.seconds = time.monotonic() - began
    return result


def _consortium(listed: Sequence[Member]) -> AbstractContextManager[Servers]:
    """The stand-in servers, which are part of the project's checkout, not of an installation from a package index."""
    root = Path(flows.__file__).resolve().parents[1]
    if not (root / "tests" / "fakes" / "oai_remote.py").is_file():
        output.refuse(
            f"the demonstration needs the simulated libraries in {root / 'tests' / 'fakes'}, which only a checkout of Windrow has; "
            "clone the project and run make demo there"
        )
    sys.path.insert(0, str(root))
    try:
        remote = importlib.import_module("tests.fakes.oai_remote")
    finally:
        sys.path.remove(str(root))
    served = [dict(each.repository) for each in listed if each.repository]
    found: AbstractContextManager[Servers] = remote.spawn(served, [dict(fault) for each in listed for fault in each.faults])
    return found


# -------------------------------------------------------------------- result


@dataclass(kw_only=True, slots=True)
class Harvest:
    """One of the two harvests: what it did, by group and in all."""

    tally: Tally = field(default_factory=Tally)
    groups: dict[str, Totals] = field(default_factory=lambda: dict.fromkeys(LIMITS, Totals()))
    views: dict[str, GroupView] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    screen: Screen | None = None
    began: float = field(default_factory=time.monotonic)

    def take(self, happening: Happening) -> None:
        """Count it, and show it unless it is one of the many passes that simply succeed."""
        self.tally.take(happening)
        if isinstance(happening, PageSaved):
            self.groups[happening.group] += happening.page
        if self.screen is not None:
            plain = isinstance(happening, PassFinished) and happening.outcome is Outcome.COMPLETE and not happening.totals.failures
            (self.screen.tally if plain else self.screen).take(happening)

    def shown(self, configuration: Configuration, run: Run, said: Console) -> AbstractContextManager[object]:
        """A context in which the run is shown as ``windrow harvest`` shows it."""
        self.screen = Screen(configuration, as_json=False, console=said)
        return self.screen.shown(run)

    def close(self, run: Run, configuration: Configuration, now: float) -> None:
        """The run is over."""
        self.views = {view.name: view for view in (run.engine.views() if run.engine is not None else [])}
        self.summary = self.tally.summary(sources=len(configuration.sources), seconds=now - self.began, groups=self.views.values())


@dataclass(kw_only=True, slots=True)
class Result:
    """What the demonstration showed, and what of it was not intended."""

    listed: Sequence[Member]
    harvests: list[Harvest] = field(default_factory=list)
    servers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """How the last pass of each source ended."""
        return self.harvests[-1].tally.outcomes

    @property
    def failed(self) -> dict[str, str]:
        """The sources that failed at last, with the reason."""
        bad = (Outcome.FAILED, Outcome.BLOCKED)
        return {name: self.harvests[-1].tally.errors[name] for name, outcome in sorted(self.outcomes.items()) if outcome in bad}

    @property
    def surprises(self) -> list[str]:
        """What was not as intended, as sentences."""
        found = []
        meant = {each.name for each in self.listed if each.fails}
        working = [each for each in self.listed if not each.fails]
        found += [f"{name} did not fail" for name in sorted(meant - self.failed.keys())]
        found += [f"{name} failed" for name in sorted(self.failed.keys() - meant)]
        first, second = (harvest.tally.totals for harvest in self.harvests)
        count = len(working)
        for what, got, expected in (
            ("records of the first harvest (new, deleted or unreadable)", first.new + first.deleted + first.failures, _sum(working)),
            ("unreadable records", first.failures, sum(each.unreadable for each in working)),
            ("changed records", second.changed, CHANGED * count),
            ("deleted records", second.deleted, DELETED * count),
            ("new records", second.new, ADDED * count),
        ):
            if got != expected:
                found.append(f"{what}: {got:,} instead of {expected:,}")
        for group, limit in LIMITS.items():
            if (most := max(self._in_flight(group))) > limit:
                found.append(f"group {group} had {most} requests in flight under a limit of {limit}")
        return found

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            "event": "demo",
            "as_intended": not self.surprises,
            "surprises": self.surprises,
            "seconds": round(self.seconds, 3),
            "failed": [{"source": name, "error": error} for name, error in self.failed.items()],
            "groups": {group: self._row(group) for group in LIMITS},
            "harvests": [harvest.summary for harvest in self.harvests],
        }

    def show(self, said: Console) -> None:
        """The table, the two that failed, and what to do next."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Both harvests together")
        rows = {group: self._row(group) for group in LIMITS}
        for group in rows:
            table.add_column(group, justify="right")
        for key, meaning in MEANINGS.items():
            table.add_row(meaning, *(f"{row[key]:,}" for row in rows.values()))
        said.print()
        said.print(table)
        said.print()
        reasons = {each.name: each.fails for each in self.listed}
        for name, error in self.failed.items():
            meant = f" (as intended: {reasons[name]})" if reasons[name] else ""
            said.print(f"[red]{name}[/red] failed{meant}: {output.one_line(error)}", highlight=False)
        said.print(f"\nIt took {self.seconds:.0f} s; the servers are stopped.", highlight=False)
        for surprise in self.surprises:
            said.print(f"[red]This was not intended:[/red] {surprise}", highlight=False)
        said.print("To harvest libraries of your own: [bold]windrow sources add URL[/bold], then [bold]windrow harvest[/bold].")

    def _in_flight(self, group: str) -> tuple[int, int]:
        """The most requests at one moment: as the harvester counted, and as the servers did."""
        ours = [harvest.views[group].in_flight_max for harvest in self.harvests if group in harvest.views]
        return max(ours, default=0), int(self.servers.get(group, {}).get("in_flight_max", 0))

    def _row(self, group: str) -> dict[str, int]:
        outcomes = [self.outcomes.get(each.name) for each in self.listed if each.group == group]
        totals = sum((harvest.groups[group] for harvest in self.harvests), start=Totals())
        ours, theirs = self._in_flight(group)
        return {
            "sources": len(outcomes),
            "complete": outcomes.count(Outcome.COMPLETE),
            "failed": outcomes.count(Outcome.FAILED) + outcomes.count(Outcome.BLOCKED),
            "records": totals.records,
            "deleted": totals.deleted,
            "unreadable": totals.failures,
            "pages": totals.pages,
            "limit": LIMITS[group],
            "in_flight_max": ours,
            "in_flight_max_at_server": theirs,
        }


def _sum(listed: Sequence[Member]) -> int:
    return sum(each.records for each in listed)


# --------------------------------------------------------------- surroundings


@contextmanager
def _folder(*, keep: bool, said: Console) -> Iterator[Path]:
    """A folder with a short path that the account of the database server may pass, removed at the end."""
    parent = Path("/tmp")  # noqa: S108  (mkdtemp makes a folder of our own in it; TMPDIR may be long or closed to others)
    folder = Path(tempfile.mkdtemp(prefix="windrow-demo-", dir=parent if os.access(parent, os.W_OK | os.X_OK) else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if keep:
            here = f"WINDROW_HOME={folder}"
            said.print(
                f"\nKept: {folder}. Look into it with\n  {here} WINDROW_SOURCES={folder}/sources.yaml windrow status\nand afterwards\n"
                f"  {here} windrow db stop; rm -r {folder}",
                highlight=False,
            )
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Windrow's variables are those of the demonstration: no setting of the user's reaches it."""
    former = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) or name in PROXIES}
    ours = {name: ",".join(filter(None, (former.get(name), LOOPBACK))) for name in PROXIES} | {f"{PREFIX}HOME": str(folder)}
    for name in former:
        del os.environ[name]
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(former)


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demonstration as Ctrl-C does: with everything tidied up."""
    former = {number: signal.getsignal(number) for number in ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    for number in ENDING[1:]:
        if former[number] is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """From now until the end of ``_signals``, nothing interrupts."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
