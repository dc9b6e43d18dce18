"""``windrow harvest``: ask the repositories for what is new, within the limits of their groups."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from db.engine import connect, upgrade
from flows.commands import output
from flows.harvest.run import Choice, Run, Watch
from flows.harvest.tally import Tally, pass_event
from harvester import durations
from harvester.configuration import load
from harvester.events import Happening, Notice, Outcome, PageSaved, PassFinished
from harvester.problems import ConfigurationError
from harvester.schedule import State
from harvester.settings import Settings
from harvester.sources import Configuration

REFRESH: Final = 4  # times a second that the live table is drawn anew
QUIET_PROGRESS: Final = 10.0  # seconds between two lines of progress where there is no terminal
MARKS: Final = {Outcome.COMPLETE: "green", Outcome.HELD: "yellow", Outcome.FAILED: "red", Outcome.BLOCKED: "red"}


def harvest(
    *,
    source: Annotated[list[str] | None, typer.Option("--source", help="Only this source; may be given several times.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="Only the sources of this group; may be given several times.")] = None,
    once: Annotated[bool, typer.Option("--once", help="One pass of every source, whether it is due or not, then stop.")] = False,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Stop cleanly after this time (25m); the next run goes on from there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for every finished pass, and a summary last.")] = False,
    file: Annotated[Path | None, typer.Option("--file", help="The sources; by default WINDROW_SOURCES, or sources.yaml.")] = None,
) -> None:
    """Harvests the sources that are due, again and again, until it is stopped (Ctrl-C stops at the next page).

    What was fetched is kept whatever happens: the next run goes on with the next page. Changes of the file of sources
    are followed while it runs.

    Exit status: 0 no source failed, 3 some did, 2 the configuration is wrong (nothing was requested).
    """
    try:
        settings = Settings.load()
        path = file or settings.sources
        seconds = durations.seconds(for_) if for_ is not None else None
        everything = load(path, settings)
    except ConfigurationError as error:
        output.problems(error)
    except ValueError as error:
        output.refuse(f"--for {for_}: {error}; {durations.DURATION_ALLOWED}")
    choice = Choice(sources=tuple(source or ()), groups=tuple(group or ()))
    if unknown := choice.unknown(everything):
        output.refuse(f"{path}: there is no {', no '.join(unknown)}; windrow sources list shows what there is")
    configuration = choice.of(everything)

    with output.database_errors():
        database = connect(pool_size=8, application_name="windrow-harvest")
        upgrade(database)
        view = Screen(configuration, as_json=as_json)
        watch = Watch(path=path, settings=settings, choice=choice, complain=view.complain)
        run = Run(configuration=configuration, database=database, observe=view.take, watch=watch)
        began = time.monotonic()
        with view.shown(run):
            anyio.run(_until_signalled, run, once, seconds)
        groups = run.engine.views() if run.engine is not None else []
        participants = sum(each.enabled for each in (watch.current or configuration).sources.values())
        view.summary(view.tally.summary(sources=participants, seconds=time.monotonic() - began, groups=groups))
        database.dispose()
    raise typer.Exit(output.SOME_FAILED if view.tally.failed else 0)


async def _until_signalled(run: Run, once: bool, seconds: float | None) -> None:
    """The first SIGINT or SIGTERM stops at page boundaries, the second at once."""

    async def listen() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            told = 0
            async for _ in signals:
                told += 1
                if told > 1:
                    tasks.cancel_scope.cancel()
                    return
                sys.stderr.write("stopping at the next page; once more stops at once\n")
                run.stop()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await run.harvest(once=once, seconds=seconds)
        tasks.cancel_scope.cancel()


class Screen:
    """What a person, or a program, sees of a run: a live table on a terminal, lines otherwise, JSON when asked."""

    def __init__(self, configuration: Configuration, *, as_json: bool, console: Console | None = None) -> None:
        self.tally = Tally()
        self._json = as_json
        self._configuration = configuration
        self._console = console or Console(soft_wrap=True)
        self._run: Run | None = None
        self._records: dict[str, int] = {}
        self._rates: list[tuple[float, int]] = []
        self._printed = time.monotonic()

    def shown(self, run: Run) -> nullcontext[None] | Live:
        """A context in which the run is shown."""
        self._run = run
        if self._json or not self._console.is_terminal:
            return nullcontext()
        return Live(get_renderable=self.table, console=self._console, refresh_per_second=REFRESH, transient=True)

    def take(self, happening: Happening) -> None:
        """Something happened."""
        self.tally.take(happening)
        match happening:
            case PassFinished():
                self._finished(happening)
            case PageSaved(group=group, page=page):
                self._records[group] = self._records.get(group, 0) + page.records
                self._progress()
            case Notice(message=message, source=source):
                self._say(f"{source}: {message}" if source else message)

    def complain(self, error: ConfigurationError) -> None:
        """The changed file of sources is wrong."""
        for problem in error.problems:
            self._say(f"{problem} (the former configuration stays in force)")

    def summary(self, values: dict[str, object]) -> None:
        """The end."""
        if self._json:
            output.as_json(values)
            return
        tally = self.tally
        totals = tally.totals
        self._console.print(
            f"{values['sources']} sources: {values['complete']} complete, {values['failed']} failed, {values['held']} held. "
            f"{totals.records:,} records on {totals.pages:,} pages in {durations.spoken(round(float(str(values['seconds'])), 1))}: "
            f"{totals.new:,} new, {totals.changed:,} changed, {totals.unchanged:,} unchanged, {totals.deleted:,} deleted, "
            f"{totals.failures:,} could not be read."
        )
        for name, error in sorted(tally.errors.items()):
            self._console.print(f"[red]{name}[/red]: {output.one_line(error)}", highlight=False)

    def table(self) -> Table:
        """The live table: a row for each group."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("group", "in flight", "ready", "paused", "waiting", "blocked", "idle", "records", "records/s", "to come"):
            table.add_column(heading, justify="left" if heading == "group" else "right")
        views = self._run.engine.views() if self._run is not None and self._run.engine is not None else []
        for view in views:
            states = view.states
            table.add_row(
                view.name,
                f"{view.in_flight} of {view.limit}",
                *(f"{states[state]:,}" for state in (State.READY, State.PAUSED, State.WAITING, State.BLOCKED, State.IDLE)),
                f"{self._records.get(view.name, 0):,}",
                "",
                "",
            )
        rate = self._rate()
        remaining = self.tally.remaining
        eta = f"{remaining:,} in {durations.spoken(float(round(remaining / rate)))}" if rate >= 1 and remaining else f"{remaining:,}"
        table.add_section()
        table.add_row("all", "", "", "", "", "", "", f"{self.tally.totals.records:,}", f"{rate:,.0f}", eta)
        return table

    def _rate(self) -> float:
        """Records a second over the last ten seconds."""
        now = time.monotonic()
        self._rates.append((now, self.tally.totals.records))
        while len(self._rates) > 2 and self._rates[0][0] < now - 10.0:
            self._rates.pop(0)
        (first, before), (last, after) = self._rates[0], self._rates[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def _finished(self, event: PassFinished) -> None:
        if self._json:
            output.as_json(pass_event(event))
            sys.stdout.flush()
            return
        totals = event.totals
        said = f"{totals.records:,} records, {totals.new:,} new, {totals.changed:,} changed, {totals.deleted:,} deleted"
        if totals.failures:
            said += f", {totals.failures:,} could not be read"
        if event.error or event.warning:
            said += f"; {output.one_line(event.error or event.warning or '')}"
        mark = MARKS[event.outcome]
        self._console.print(f"{self._clock()} [{mark}]{event.outcome.value:8}[/{mark}] {event.source}: {said}", highlight=False)

    def _progress(self) -> None:
        """Where there is no terminal, a line now and then."""
        if self._json or self._console.is_terminal or time.monotonic() < self._printed + QUIET_PROGRESS:
            return
        self._printed = time.monotonic()
        self._console.print(f"{self._clock()} {self.tally.totals.records:,} records so far, {self._rate():,.0f} a second", highlight=False)

    def _say(self, message: str) -> None:
        line = f"{self._clock()} {output.one_line(message)}"
        if self._json:
            sys.stderr.write(line + "\n")
        else:
            self._console.print(line, style="dim", highlight=False, markup=False)

    @staticmethod
    def _clock() -> str:
        return datetime.now(UTC).astimezone().strftime("%H:%M:%S")
