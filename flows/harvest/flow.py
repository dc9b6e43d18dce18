"""The Prefect flow ``harvest``: one bounded run of the engine, shown while it runs, judged when it is over.

::

    parameters ─► sources.yaml ─► Secret blocks ─► Run ─┬─ every few seconds: the progress artifact
                                                        └─ the end ─► table, summary, final state

The flow decides nothing about the harvest. Groups are owned through advisory locks in PostgreSQL, so that two runs at
once never exceed a group's limit; what a run did not finish, the next one goes on with from the stored course.

Crashes: Prefect may be unreachable, which costs what is shown and nothing else. Cancelled, the run stops at the next page
boundary of every source, waits ``STOPPING`` seconds for pages that are under way, and gives up on later ones, which are
asked again; a worker kills what has not ended after 30 seconds.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

import anyio
import anyio.to_thread
from prefect import flow, get_client, get_run_logger
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from db.engine import connect, upgrade
from db.errors import DatabaseError
from flows.harvest.options import HarvestOptions, Mode
from flows.harvest.progress import Judgement, Progress, Verdict
from flows.harvest.run import Choice, Run, Watch
from harvester.configuration import load
from harvester.events import Happening, Notice, Outcome, PassFinished
from harvester.problems import ConfigurationError
from harvester.secrets import OUTSIDE_PREFECT, SecretError, SecretRef
from harvester.settings import Settings
from harvester.sources import Configuration

REFRESH: Final = 5.0  # seconds between two updates of the progress artifact: never per page
LOOK: Final = 0.5  # seconds between two looks whether anything is left to do
STOPPING: Final = 15.0  # seconds for pages under way when the run is cancelled; a worker kills after 30
PUBLISHING: Final = 8.0  # seconds for artifacts after that
POOL_SIZE: Final = 8  # connections: the savers of the engine, its anchor, and who looks on
TAGGED: Final = 50  # groups that become tags of the run; more would hide everything else

DEFAULTS: Final = HarvestOptions()


@flow(name="harvest", retries=0, persist_result=False, timeout_seconds=None)
async def harvest(options: HarvestOptions = DEFAULTS) -> State[Any]:
    """Asks the repositories for what is new and stores it, within the limits of their groups, until it is done or the time is up.

    Final states: Completed; CompletedWithFailures, which names the sources that failed; Failed, when they are more than the
    share given; OwnedElsewhere, when another run has all of the groups.
    """
    said = get_run_logger()
    began = time.monotonic()
    try:
        settings = Settings.load()
        path = Path(options.file) if options.file else settings.sources
        everything = load(path, settings)
    except ConfigurationError as error:
        return Failed(message="Nothing was requested. " + "; ".join(str(problem) for problem in error.problems))
    choice = Choice(sources=tuple(options.sources), groups=tuple(options.groups))
    if unknown := choice.unknown(everything):
        return Failed(message=f"Nothing was requested. {path}: there is no {', no '.join(unknown)}.")
    configuration = choice.of(everything)
    progress = Progress(configuration)

    def observe(happening: Happening) -> None:
        progress.take(happening)
        tell(happening, said.info, said.warning)

    watch = Watch(
        path=path, settings=settings, choice=choice, complain=lambda error: said.warning("The former configuration stays: %s", error)
    )

    def look() -> Configuration | None:
        new = watch()
        progress.configuration = new or progress.configuration
        return new

    try:
        database = await anyio.to_thread.run_sync(partial(connect, pool_size=POOL_SIZE, application_name="windrow-harvest-flow"))
    except DatabaseError as error:
        return Failed(message=f"Nothing was requested. {error}")
    try:
        await anyio.to_thread.run_sync(partial(upgrade, database))
        resolvers = {**OUTSIDE_PREFECT, "prefect": await secret_blocks(configuration)}
        run = Run(configuration=configuration, database=database, observe=observe, watch=look, resolvers=resolvers)
        display = Display(run, progress, said.warning)
        said.info("Harvesting %s sources for at most %g minutes.", f"{progress.participants:,}", options.budget_minutes)
        try:
            await stoppable(run, display, options)
        finally:
            judgement = progress.judge(options.failed_share)
            with anyio.CancelScope(shield=True), anyio.move_on_after(PUBLISHING):
                await display.finish(judgement, time.monotonic() - began)
    except (DatabaseError, ExceptionGroup) as error:
        if not all(isinstance(each, DatabaseError) for each in leaves(error)):
            raise
        return Failed(message=f"The harvest stopped; what was fetched is kept. {leaves(error)[0]}")
    finally:
        database.dispose()
    if judgement.verdict is Verdict.FAILED:
        return Failed(message=judgement.message)
    return Completed(name=judgement.verdict.value, message=judgement.message)


def leaves(error: Exception) -> list[Exception]:
    """The errors in a group of errors, as task groups raise them, or the error itself."""
    return [leaf for each in error.exceptions for leaf in leaves(each)] if isinstance(error, ExceptionGroup) else [error]


# ----------------------------------------------------------------------- run


async def stoppable(run: Run, display: Display, options: HarvestOptions) -> None:
    """Run until it is over. Cancelled, or told to by SIGTERM, stop at page boundaries and wait for them.

    Raises TerminationSignal after a SIGTERM, which Prefect turns into Cancelled or Crashed, whichever it meant.
    """
    over = anyio.Event()
    work_scope = anyio.CancelScope(shield=True)
    once = options.mode is Mode.EVERY_SOURCE_ONCE

    async def work() -> None:
        with work_scope:
            try:
                await run.harvest(once=once, seconds=options.budget_minutes * 60.0)
            finally:
                over.set()

    async def wind_up() -> None:
        """No new page; what is under way gets a moment to arrive."""
        run.stop()
        with anyio.CancelScope(shield=True), anyio.move_on_after(STOPPING):
            await over.wait()
        work_scope.cancel()

    async def obey(stop: anyio.Event) -> None:
        await stop.wait()
        await wind_up()

    stop = anyio.Event()
    with terminations(stop.set) as told:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            tasks.start_soon(display.follow)
            tasks.start_soon(display.end_when_done, options.mode)
            tasks.start_soon(obey, stop)
            try:
                await over.wait()
            except anyio.get_cancelled_exc_class():
                await wind_up()
                raise
            tasks.cancel_scope.cancel()
    if told():
        raise TerminationSignal(signal.SIGTERM)


@contextmanager
def terminations(stop: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Inside: SIGTERM, by which a worker cancels a run, calls ``stop`` in the loop. Gives a function: was there one?

    Prefect's own handler raises into whatever the loop is doing at that moment, which would break off pages under way. It is
    put back at the end. Outside of the main thread, where no signal arrives, nothing is done.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: object) -> None:
        arrived.append(number)
        loop.call_soon_threadsafe(stop)

    former = signal.signal(signal.SIGTERM, handle)
    try:
        yield lambda: bool(arrived)
    finally:
        signal.signal(signal.SIGTERM, former)


# ------------------------------------------------------------------- display


class Display:
    """What Prefect shows of a run. Trouble with Prefect's server is told once and never reaches the harvest."""

    def __init__(self, run: Run, progress: Progress, warn: Callable[..., None]) -> None:
        self._run = run
        self._progress = progress
        self._warn = warn
        self._artifact: UUID | None = None
        self._troubled = False

    async def follow(self) -> None:
        """Show the beginning, and every few seconds how far it is."""
        await self._try(self._tag)
        while True:
            await self._try(self._show)
            await anyio.sleep(REFRESH)

    async def end_when_done(self, mode: Mode) -> None:
        """Stop the run when another engine has all of its groups, or when nothing is left to do and that is what was asked for."""
        while True:
            await anyio.sleep(LOOK)
            if self._progress.owned_elsewhere or (mode is Mode.UNTIL_IDLE and self._progress.idle(self._views())):
                self._run.stop()
                return

    async def finish(self, judgement: Judgement, seconds: float) -> None:
        """The last progress, the table and the summary."""
        await self._try(self._show)
        await self._try(lambda: acreate_table_artifact(self._progress.table(), key="harvest-sources", description=judgement.message))
        summary = self._progress.markdown(judgement, self._views(), seconds)
        await self._try(lambda: acreate_markdown_artifact(summary, key="harvest-summary", description=judgement.message))

    async def _show(self) -> None:
        percent, sentence = self._progress.percent(self._views()), self._progress.sentence()
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(percent, key="harvest-progress", description=sentence)
        else:
            await aupdate_progress_artifact(self._artifact, percent, description=sentence)

    async def _tag(self) -> None:
        """The groups become tags of this run, so that the runs of a group can be found."""
        groups = sorted({source.group for source in self._progress.configuration.sources.values()})[:TAGGED]
        if (run_id := flow_run.get_id()) is not None:
            async with get_client() as client:
                await client.update_flow_run(UUID(run_id), tags={*flow_run.get_tags(), *(f"group:{group}" for group in groups)})

    def _views(self) -> list[Any]:
        return self._run.engine.views() if self._run.engine is not None else []

    async def _try(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001  (whatever is wrong with what is shown, the harvest goes on)
            if not self._troubled:
                self._troubled = True
                self._warn("What Prefect shows of this run is not up to date: %s: %s", type(error).__name__, error)


def tell(happening: Happening, say: Callable[..., None], warn: Callable[..., None]) -> None:
    """A sentence in the log for what people should know; passes that found nothing new are only counted."""
    match happening:
        case PassFinished(outcome=Outcome.COMPLETE, totals=totals, warning=None) if not (
            totals.new or totals.changed or totals.deleted or totals.failures
        ):
            return
        case PassFinished(source=source, outcome=outcome, totals=totals):
            told = f"{totals.records:,} records, {totals.new:,} new, {totals.changed:,} changed, {totals.deleted:,} deleted"
            unreadable = f", {totals.failures:,} could not be read" if totals.failures else ""
            reason = happening.error or happening.warning
            line = " ".join(f"{told}{unreadable}{f'; {reason}' if reason else ''}".split())
            (say if outcome is Outcome.COMPLETE else warn)("%s is %s: %s.", source, outcome.value, line)
        case Notice(message=message, source=source):
            say("%s%s.", f"{source}: " if source else "", " ".join(message.split()))


# ------------------------------------------------------------------- secrets


async def secret_blocks(configuration: Configuration) -> Callable[[str], str]:
    """A resolver of ``prefect:NAME``. The blocks are read now, since resolving has no time to wait; none ever leaves memory.

    A block that cannot be read fails only the sources that need it, with a SecretError that names the reference.
    """
    values: dict[str, str] = {}
    refusals: dict[str, str] = {}
    for name in sorted(names_of_blocks(configuration)):
        try:
            block = cast("Secret[Any]", await Secret.aload(name))
        except ValueError:
            refusals[name] = "there is no Prefect Secret block of this name; create it in the Prefect UI under Blocks"
        else:
            values[name] = str(block.value.get_secret_value())  # get() would read a number in it as a number

    def resolve(name: str) -> str:
        if name in values:
            return values[name]
        raise SecretError(f"prefect:{name}", refusals.get(name, "it was added after this run began; the next run reads it"))

    return resolve


def names_of_blocks(configuration: Configuration) -> set[str]:
    """The Secret blocks that sources refer to."""
    found = set()
    for source in configuration.sources.values():
        given = (*source.headers.values(), *source.query.values(), source.username, source.password, source.bearer_token)
        found |= {each.name for each in given if isinstance(each, SecretRef) and each.scheme == "prefect"}
    return found
