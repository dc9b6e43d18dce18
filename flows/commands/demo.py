"""``windrow demo``: a consortium of simulated libraries is harvested into a PostgreSQL of its own, and nothing is left behind."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import anyio
import typer
from rich.console import Console

import flows
from db.cluster import SETTINGS
from db.embedded import Embedded
from db.engine import connect, upgrade
from flows.commands import output
from flows.commands.demo_members import FEWEST, FEWEST_RECORDS, Member, members, sources_file
from flows.commands.demo_result import ADDED, CHANGED, DELETED, Harvest, Result
from flows.harvest.run import Run
from harvester.configuration import load
from harvester.settings import PREFIX, Settings

LONGEST: Final = 120.0  # seconds of one harvest: a demonstration that takes longer has failed
SHOWN_LINES: Final = 16  # of sources.yaml
LOOPBACK: Final = "127.0.0.1,localhost"  # where the libraries are, which no proxy reaches
PROXIES: Final = ("no_proxy", "NO_PROXY")  # variables that say so to httpx
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # signals after which everything is tidied up
THROW_AWAY: Final = {**SETTINGS, "fsync": "off"}  # a database that is removed in a minute need not survive a power cut


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
