"""``windrow sources``: check, add and list what is harvested, and the JSON Schema of the file that says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from flows.commands import output, proposal
from flows.commands.additions import Addition, Draft, Value, draft
from flows.commands.feedprobe import look
from flows.commands.probe import NO_DELETIONS, Probe, check, introduce, list_sets
from harvester.client import Client
from harvester.configuration import load
from harvester.durations import spoken
from harvester.keys import schema as json_schema
from harvester.problems import ConfigurationError, Problem, meant
from harvester.settings import Settings
from harvester.sources import Configuration, Deletions, Feed, Source

app = typer.Typer(no_args_is_help=True, help="The sources that are harvested: check them, add one, list them.")

File = Annotated[Path | None, typer.Option("--file", help="The file; by default WINDROW_SOURCES, or sources.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
SHOWN_NAMES: Final = 10  # sets or formats that are listed; some repositories have thousands of sets


def schema_text() -> str:
    """The JSON Schema of the file as it is published."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


@app.command(name="check")
def check_command(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Also ask every source: Identify, the formats and the first page, or what files are there.")
    ] = False,
    as_json: Json = False,
    file: File = None,
) -> None:
    """Finds everything that is wrong with the file at once: file:line: path: what is wrong, what is allowed.

    Exit status: 0 nothing wrong, 2 the file or a variable is wrong (nothing is requested), 3 a repository is (--live).
    """
    path = file
    try:
        settings = Settings.load()
        path = file or settings.sources
        configuration = load(path, settings)
    except ConfigurationError as error:
        if not as_json:
            output.problems(error, to=sys.stdout)
        output.as_json({"file": str(path) if path else None, "problems": output.problems_as_values(error)})
        raise typer.Exit(output.BAD_CONFIGURATION) from None
    enabled = [source for source in configuration.sources.values() if source.enabled]
    probes = _ask_all(configuration, enabled) if live else []
    if as_json:
        used = len({source.group for source in configuration.sources.values()})
        summary: dict[str, object] = {"file": str(path), "sources": len(configuration.sources), "groups": used, "problems": []}
        output.as_json(summary | ({"live": [probe.shown() for probe in probes]} if live else {}))
    elif live:
        _print_probes(probes)
        failed = sum(bool(probe.problems) for probe in probes)
        typer.echo(f"{path}: {_counted(len(probes), 'source')} asked, {failed} with problems")
    else:
        typer.echo(f"{path}: {_summary(configuration)}, nothing wrong")
    if any(probe.problems for probe in probes):
        raise typer.Exit(output.SOME_FAILED)


@app.command(name="list")
def list_command(*, as_json: Json = False, file: File = None) -> None:
    """Lists the sources and the groups whose limits they share; secrets as references."""
    _, configuration = _load(file)
    if as_json:
        output.as_json(
            {
                "sources": [source.shown() for source in configuration.sources.values()],
                "groups": [group.shown() for group in configuration.groups.values()],
                "total_limit": configuration.total_limit,
            }
        )
        return
    rows = [("source", "group", "limit", "prefix", "sets", "every", "deletions", "url")]
    for source in configuration.sources.values():
        sets = ", ".join(source.sets) or "all"
        every = spoken(source.interval) if source.enabled else "disabled"
        limit = str(configuration.group_of(source.name).limit)
        form = source.metadata_prefix if source.transport == "oai" else f"{source.transport}: {(source.feed or Feed()).format.value}"
        rows.append((source.name, source.group, limit, form, sets, every, source.deletions.value, source.url))
    output.columns(rows, right=[2])
    typer.echo(_summary(configuration))


@app.command(name="schema")
def schema_command() -> None:
    """Prints the JSON Schema of the file, with which editors complete and check it."""
    typer.echo(schema_text(), nl=False)


@app.command(name="add")
def add_command(
    url: Annotated[str, typer.Argument(help="The OAI-PMH base URL; one copied from a browser with its arguments will do.")],
    *,
    name: Annotated[str | None, typer.Option("--name", help="By default from what the repository calls itself.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="A group of the file.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="By default the richest that the repository offers.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="A setSpec; may be given several times.")] = None,
    headers: Annotated[list[str] | None, typer.Option("--header", help="NAME=VALUE; a secret as NAME=env:VARIABLE.")] = None,
    query: Annotated[list[str] | None, typer.Option("--query", help="NAME=VALUE, such as apikey=env:VARIABLE for FOLIO.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the lines without writing them.")] = False,
    file: File = None,
) -> None:
    """Asks a repository what it is, and writes it into the file as a source; comments and formatting stay.

    Exit status: 0 written (or printed), 2 the file or an option is wrong, 3 the repository cannot be harvested so. The
    file is not touched when anything is wrong.
    """
    try:
        settings = Settings.load()
        path = file or settings.sources
        keys: dict[str, Value] = {"url": proposal.base_url(url)}
        keys |= {"group": group} if group else {}
        keys |= {"metadata_prefix": prefix} if prefix else {}
        keys |= {"sets": sets} if sets else {}
        keys |= {"headers": _pairs("--header", headers)} if headers else {}
        keys |= {"query": _pairs("--query", query)} if query else {}
        probe = Probe(source=_draft(path, name, "", keys, settings).source)  # refuses bad options before anything is requested
        anyio.run(_ask_one, probe)
        keys |= _proposed(probe, prefix=prefix)
        _print_findings(probe)
        if probe.problems:
            typer.echo(f"{path}: not changed", err=True)
            raise typer.Exit(output.SOME_FAILED)
        repository = probe.identity.repository_name if probe.identity else ""
        final = _draft(path, name, repository, keys, settings)
        _refuse_double(path, final)
        if not dry_run:
            final.write()
    except ConfigurationError as error:
        output.problems(error)
    typer.echo("\n".join(final.lines))
    typer.echo(f"{path}: {'nothing written (--dry-run)' if dry_run else _summary(final.configuration)}", err=dry_run)


def _load(file: Path | None) -> tuple[Path, Configuration]:
    try:
        settings = Settings.load()
        path = file or settings.sources
        return path, load(path, settings)
    except ConfigurationError as error:
        output.problems(error)


def _draft(path: Path, name: str | None, repository: str, keys: dict[str, Value], settings: Settings) -> Draft:
    """The file with the new source, called `name` or as the repository suggests."""
    taken = load(path, settings).sources if path.exists() else {}
    called = name or proposal.name(repository=repository, url=str(keys["url"]), taken=taken)
    return draft(path, Addition(name=called, keys=keys, comment=repository), settings)


def _refuse_double(path: Path, final: Draft) -> None:
    for other in final.configuration.sources.values():
        if other.identity == final.source.identity and other.name != final.source.name:
            what = f"the same list of records (url, prefix and sets) is already the source {other.name}"
            raise ConfigurationError([Problem(file=str(path), line=None, path="sources", what=what, allowed="allowed: each list once")])


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, several times."""
    bad = [each for each in given if "=" not in each]
    if bad:  # what was written may be a secret, so it is not repeated
        raise ConfigurationError(
            [Problem(file="command line", line=None, path=option, what="there is no =", allowed="allowed: NAME=VALUE")]
        )
    return dict(each.split("=", 1) for each in given)


async def _ask_one(probe: Probe) -> None:
    async with Client() as client:
        await introduce(client, probe)
        if probe.identity is not None:
            await list_sets(client, probe)


def _proposed(probe: Probe, *, prefix: str | None) -> dict[str, Value]:
    """Keys that the repository's answers suggest; what does not fit is noted in `probe`."""
    found: dict[str, Value] = {}
    source = probe.source
    if prefix is None and probe.formats:
        chosen = proposal.prefix(probe.formats) or source.metadata_prefix
        probe.problems = [each for each in probe.problems if each != probe.missing_prefix]
        found |= {"metadata_prefix": chosen} if chosen != source.metadata_prefix else {}
    if probe.identity is not None and probe.identity.deleted_record == "no" and source.deletions is Deletions.TOMBSTONES:
        found["deletions"] = Deletions.SWEEP.value
        probe.warnings.remove(NO_DELETIONS)
    specs = [each.spec for each in probe.sets]
    for spec in source.sets if probe.sets_complete else ():
        if spec not in specs:
            close = meant(spec, specs)
            hint = f"did you mean {close}?" if close else f"it has {_some(specs)}"
            probe.problems.append(f"the repository has no set {spec}; {hint}")
    return found


def _print_findings(probe: Probe) -> None:
    """What a repository said, for the person who adds it."""
    known = probe.identity
    rows = [("url", probe.source.url)]
    if known is not None:
        rows += [
            ("repository", output.one_line(known.repository_name)),
            ("granularity", known.granularity),
            ("deletions", known.deleted_record),
            ("earliest", known.earliest),
            ("formats", _some([each.prefix for each in probe.formats])),
            ("sets", _some([each.spec for each in probe.sets])),
        ]
    output.columns([(name, output.one_line(value)) for name, value in rows])
    for problem in probe.problems:
        typer.echo(f"problem: {problem}", err=True)
    for warning in probe.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _ask_all(configuration: Configuration, sources: Sequence[Source]) -> list[Probe]:
    """What all repositories and feeds answer, with a progress bar where somebody watches."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("asking"), BarColumn(), MofNCompleteColumn(), console=console, transient=True, disable=not console.is_terminal
    )

    async def ask(done: Callable[[Probe], None]) -> list[Probe]:
        async with Client() as client:
            asked = await check(client, configuration, [source for source in sources if source.transport == "oai"], done=done)
            return asked + await look(client, [source for source in sources if source.transport != "oai"])

    with bar:
        task = bar.add_task("", total=len(sources))
        return anyio.run(ask, lambda _: bar.advance(task))


def _print_probes(probes: Sequence[Probe]) -> None:
    """A line for each source, and what is to be said about it below."""
    rows = [("source", "group", "granularity", "deletions", "prefix", "offered", "page", "of", "ms")]
    for probe in probes:
        known = probe.identity
        rows.append(
            (
                probe.source.name,
                probe.source.group,
                output.one_line(known.granularity) if known else "-",
                output.one_line(known.deleted_record) if known else "-",
                probe.source.metadata_prefix,
                {True: "yes", False: "no", None: "-"}[probe.prefix_exists],
                "-" if probe.page_size is None else str(probe.page_size),
                "-" if probe.complete_list_size is None else str(probe.complete_list_size),
                f"{sum(probe.milliseconds.values()):.0f}" if probe.milliseconds else "-",
            )
        )
    output.columns(rows, right=[6, 7, 8])
    for probe in probes:
        for said, kind in ((probe.problems, "problem"), (probe.warnings, "warning")):
            for each in said:
                typer.echo(f"{probe.source.name}: {kind}: {output.one_line(each)}")


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "") or "none"


def _summary(configuration: Configuration) -> str:
    groups = {source.group for source in configuration.sources.values()}
    return f"{_counted(len(configuration.sources), 'source')} in {_counted(len(groups), 'group')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
