"""``windrow simulate``: what would these limits do to these sources? The real schedule in virtual time, without a request."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from db.engine import connect, upgrade
from flows.commands import output
from flows.harvest.history.store import last_passes
from harvester import durations
from harvester.configuration import load
from harvester.problems import ConfigurationError
from harvester.settings import Settings
from harvester.simulation import Forecast, Shape, simulate
from harvester.sources import DEFAULT_GROUP, Configuration, Group, PauseMode, Source

SOURCES: Final = 60  # when there is no configuration to take them from: a consortium of the size that Windrow is made for
RECORDS: Final = 10_000
PAGE_SIZE: Final = 100  # records: what most repositories send
LATENCY: Final = 500.0  # milliseconds
SEED: Final = 1  # the same question gives the same answer
MOST_SOURCES: Final = 100_000
MOST_RECORDS: Final = 100_000_000
SLOWEST_LATENCY: Final = 600_000.0  # milliseconds: no page is waited for longer
LONG: Final = 3_000  # pages: about a second of real time; longer simulations show how far they are
QUIET_PROGRESS: Final = 10.0  # seconds between two lines of progress where there is no terminal
SHOWN: Final = 5  # sources that are shown by name


def simulation(
    *,
    sources: Annotated[
        int | None,
        typer.Option("--sources", min=1, max=MOST_SOURCES, help=f"So many equal sources; by default those configured, or {SOURCES}."),
    ] = None,
    groups: Annotated[
        int | None, typer.Option("--groups", min=1, max=MOST_SOURCES, help="Spread them over so many groups; by default one.")
    ] = None,
    deltas: Annotated[
        int, typer.Option("--deltas", min=0, max=MOST_SOURCES, help="So many of them were harvested before and have one page of changes.")
    ] = 0,
    records: Annotated[
        int | None, typer.Option("--records", min=0, max=MOST_RECORDS, help=f"Records of each source; by default {RECORDS:,}.")
    ] = None,
    page_size: Annotated[
        int | None, typer.Option("--page-size", min=1, max=MOST_RECORDS, help=f"Records on a page; by default {PAGE_SIZE}.")
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option("--latency", metavar="MS", help=f"Milliseconds that a page takes to come; by default {LATENCY:g}."),
    ] = None,
    identify: Annotated[float, typer.Option("--identify", metavar="MS", help="Milliseconds that Identify takes.")] = 0.0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Requests in flight in each group; by default as configured.")] = None,
    total_limit: Annotated[
        int | None, typer.Option("--total-limit", min=1, help="Requests in flight over all groups; by default as configured.")
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option("--threshold", min=0, help="A source pauses after more records than this; 0: never; by default as configured."),
    ] = None,
    pause: Annotated[
        str | None, typer.Option("--pause", metavar="TIME", help="How long it pauses (120, 2m); by default as configured.")
    ] = None,
    from_history: Annotated[
        bool,
        typer.Option("--from-history", help="Pages, page sizes and latencies of the configured sources as in their last harvest."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another random order.")] = SEED,
    file: Annotated[Path | None, typer.Option("--file", help="The sources; by default WINDROW_SOURCES, or sources.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")] = False,
) -> None:
    """Shows how long one pass of all sources takes under these limits, and how close that is to the best possible.

    No request is sent and nothing is stored: the real schedule runs in virtual time against simulated repositories.

    Exit status: 0, or 2 when a number or the configuration is wrong.
    """
    made_up = [("--sources", sources), ("--groups", groups), ("--records", records), ("--page-size", page_size), ("--latency", latency)]
    if from_history and (given := [option for option, value in [*made_up, ("--deltas", deltas or None)] if value is not None]):
        output.refuse(f"--from-history takes the sources and their pages from the database; it cannot be combined with {given[0]}")
    seconds = checked_milliseconds("--latency", LATENCY if latency is None else latency)
    identify_seconds = checked_milliseconds("--identify", identify)
    try:
        rest = durations.seconds(pause) if pause is not None else None
    except ValueError as error:
        output.refuse(f"--pause {pause}: {error}; {durations.DURATION_ALLOWED}")
    try:
        settings = Settings.load()
        configuration = chosen(settings, file, made_up=sources is not None or groups is not None, needed=from_history)
        if configuration is None:
            configuration = equal(sources or SOURCES, groups or 1, settings)
    except ConfigurationError as error:
        output.problems(error)
    configuration = overridden(configuration, limit=limit, total_limit=total_limit, threshold=threshold, rest=rest)
    names = [name for name, source in configuration.sources.items() if source.enabled]
    if deltas > len(names):
        output.refuse(f"--deltas {deltas}: there are only {len(names)} sources")
    if from_history:
        shapes = remembered(names)
    else:
        many, size = RECORDS if records is None else records, PAGE_SIZE if page_size is None else page_size
        whole = Shape.of(many, page_size=size, latency=seconds)
        change = Shape.of(min(many, size), page_size=size, latency=seconds, delta=True)
        shapes = {name: change if number < deltas else whole for number, name in enumerate(names)}
    with progress(sum(shape.pages for shape in shapes.values()), quiet=as_json) as report:
        forecast = simulate(configuration, shapes, seed=seed, identify=identify_seconds, began=time.time(), progress=report)
    if as_json:
        output.as_json(as_values(forecast))
    else:
        show(forecast)


# ----------------------------------------------------------- what is simulated


def checked_milliseconds(option: str, value: float) -> float:
    """Milliseconds as seconds; exits with 2 when no page could take so long."""
    if not (math.isfinite(value) and 0.0 <= value <= SLOWEST_LATENCY):
        output.refuse(f"{option} {value:g}: allowed: milliseconds from 0 to {SLOWEST_LATENCY:g}")
    return value / 1000.0


def chosen(settings: Settings, file: Path | None, *, made_up: bool, needed: bool) -> Configuration | None:
    """The configuration that was meant, or None when the sources are made up. Raises ConfigurationError."""
    if made_up and file is None:
        return None
    path = file or settings.sources
    if not needed and file is None and not settings.states("sources") and not path.exists():
        return None
    configuration = load(path, settings)
    if made_up:
        output.refuse("--file names the sources, so --sources and --groups cannot say how many there are")
    if not any(source.enabled for source in configuration.sources.values()):
        output.refuse(f"{path}: no source is enabled; --sources simulates made-up ones")
    return configuration


def equal(sources: int, groups: int, settings: Settings) -> Configuration:
    """So many equal sources, spread over so many groups, under the limits of the environment."""
    if groups > sources:
        output.refuse(f"--groups {groups}: there are only {sources} sources")
    names = [DEFAULT_GROUP] if groups == 1 else [f"group-{number:0{len(str(groups))}}" for number in range(1, groups + 1)]
    found = {}
    for number in range(sources):
        name = f"source-{number + 1:0{len(str(sources))}}"
        found[name] = Source(
            name=name,
            url="http://simulated.invalid/oai",
            group=names[number % groups],
            pause_after_records=settings.pause_after_records,
            pause_seconds=settings.pause_seconds,
        )
    limits = {name: Group(name=name, limit=settings.default_group_limit) for name in names}
    return Configuration(sources=found, groups=limits, total_limit=settings.total_limit)


def overridden(
    configuration: Configuration, *, limit: int | None, total_limit: int | None, threshold: int | None, rest: float | None
) -> Configuration:
    """The configuration with what the options say instead."""
    sources = {
        name: replace(
            source,
            pause_after_records=source.pause_after_records if threshold is None else threshold,
            pause_seconds=source.pause_seconds if rest is None else rest,
            pause_mode=PauseMode.FIXED,  # there is no autovacuum to wait for
        )
        for name, source in configuration.sources.items()
    }
    groups = {name: group if limit is None else replace(group, limit=limit) for name, group in configuration.groups.items()}
    total = configuration.total_limit if total_limit is None else total_limit
    return replace(configuration, sources=sources, groups=groups, total_limit=total)


def remembered(names: list[str]) -> dict[str, Shape]:
    """The shapes of the configured sources in their last passes; those without one are named and left out."""
    with output.database_errors():
        database = connect(pool_size=1, application_name="windrow-simulate")
        upgrade(database)
        known = last_passes(database)
        database.dispose()
    shapes = {name: known[name] for name in names if name in known}
    if not shapes:
        output.refuse("no pass of a configured source is in the database yet; windrow harvest first, or simulate without --from-history")
    unknown = [name for name in names if name not in known]
    if unknown:
        some = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
        typer.echo(f"left out, because they were never harvested: {len(unknown)} sources ({some})", err=True)
    return shapes


# --------------------------------------------------------------- what is shown


@contextmanager
def progress(pages: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Tells on standard error how far a long simulation is: a bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if pages < LONG:
        yield lambda done: None
        return
    if not console.is_terminal:
        told = time.monotonic()

        def line(done: int) -> None:
            nonlocal told
            if not quiet and time.monotonic() >= told + QUIET_PROGRESS:
                told = time.monotonic()
                sys.stderr.write(f"{done:,} of {pages:,} pages simulated\n")

        yield line
        return
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TextColumn("pages"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("simulating", total=pages)
        yield lambda done: bar.update(task, completed=done) if done % 100 == 0 else None


def as_values(forecast: Forecast) -> dict[str, Any]:
    """The object of ``windrow simulate --json``; durations in seconds."""
    return {
        "makespan": round(forecast.makespan, 6),
        "ideal": round(forecast.ideal, 6),
        "utilisation": round(forecast.utilisation, 6),
        "in_flight_max": forecast.in_flight_max,
        "pages": forecast.pages,
        "records": forecast.records,
        "lag": {**spread(forecast.lag), "sources": {name: round(lag, 6) for name, lag in sorted(forecast.lag.items())}},
        "groups": {
            name: {
                "limit": group.limit,
                "sources": group.sources,
                "pages": group.pages,
                "in_flight_max": group.in_flight_max,
                "makespan": round(group.makespan, 6),
                "ideal": round(group.ideal, 6),
                "utilisation": round(group.utilisation, 6),
            }
            for name, group in forecast.groups.items()
        },
    }


def spread(lag: Mapping[str, float]) -> dict[str, float]:
    """The least, the middle and the greatest."""
    values = list(lag.values()) or [0.0]
    return {"min": round(min(values), 6), "median": round(statistics.median(values), 6), "max": round(max(values), 6)}


def show(forecast: Forecast) -> None:
    """The same for people."""
    lag = spread(forecast.lag)
    typer.echo(f"{len(forecast.lag):,} sources, {forecast.pages:,} pages, {forecast.records:,} records")
    times = f" ({forecast.makespan / forecast.ideal:.3f} times the ideal)" if forecast.ideal else ""
    output.columns(
        [
            ("makespan", spoken(forecast.makespan) + times),
            ("ideal", spoken(forecast.ideal)),
            ("utilisation", f"{forecast.utilisation:.1%} of all slots"),
            ("in flight", f"{forecast.in_flight_max} at most"),
            ("lag", f"{spoken(lag['min'])} at least, {spoken(lag['median'])} in the middle, {spoken(lag['max'])} at most"),
        ]
    )
    typer.echo("")
    heading = ("group", "limit", "in flight", "sources", "pages", "makespan", "ideal", "utilisation")
    rows = [
        (
            name,
            str(group.limit),
            str(group.in_flight_max),
            f"{group.sources:,}",
            f"{group.pages:,}",
            spoken(group.makespan),
            spoken(group.ideal),
            f"{group.utilisation:.1%}",
        )
        for name, group in forecast.groups.items()
    ]
    output.columns([heading, *rows], right=range(1, len(heading)))
    last = sorted(forecast.lag.items(), key=lambda each: -each[1])[:SHOWN]
    typer.echo(f"\nlast to finish: {', '.join(f'{name} ({spoken(seconds)})' for name, seconds in last)}")


def spoken(seconds: float) -> str:
    """A duration for people: whole seconds from two minutes on."""
    return durations.spoken(float(round(seconds)) if seconds >= 120.0 else round(seconds, 2))
