"""What operator commands are about: the desk, and the sources, groups and moments that people name."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from db.engine import connect, upgrade
from db.switches import ScopeError, checked_scope
from flows.commands import output
from flows.harvest.desk.standing import Stored
from flows.harvest.desk.store import Desk
from harvester.configuration import load
from harvester.problems import ConfigurationError, meant
from harvester.settings import Settings
from harvester.sources import Configuration

File = Annotated[Path | None, typer.Option("--file", help="The sources; by default WINDROW_SOURCES, or sources.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Name = Annotated[str, typer.Argument(metavar="SOURCE", help="The name of a source, as in windrow status.")]
MOMENTS: Final = "write 2024-05-01 or 2024-05-01T12:30:00Z"


@contextmanager
def opened() -> Iterator[Desk]:
    """The desk, on tables that are up to date. Inside, errors of the database are one sentence and exit status 1."""
    with output.database_errors():
        database = connect(pool_size=2, application_name="windrow-desk")
        try:
            upgrade(database)
            yield Desk(database)
        finally:
            database.dispose()


def configured(file: Path | None) -> Configuration:
    """The configuration; every error of it is printed, with exit status 2."""
    try:
        settings = Settings.load()
        return load(file or settings.sources, settings)
    except ConfigurationError as error:
        output.problems(error)


def stored(desk: Desk, name: str, file: Path | None) -> Stored | None:
    """What is stored of a source; None where it is configured and was never harvested. Unknown ones are refused."""
    found = desk.sources([name]).get(name)
    if found is None and name not in (there := configured(file).sources):
        unknown("source", name, {*there, *desk.sources()})
    return found


def harvested(desk: Desk, name: str, file: Path | None) -> Stored | None:
    """As ``stored``, with a word to people where nothing was harvested yet."""
    found = stored(desk, name, file)
    if found is None:
        typer.echo(f"{name} was not harvested yet; windrow explain {name} says why", err=True)
    return found


def scope(desk: Desk, given: str, file: Path | None) -> str:
    """The scope, if there is something that it covers; otherwise refused."""
    try:
        value = checked_scope(given)
    except ScopeError as error:
        hint = f"; did you mean source:{given}?" if given in desk.sources() else ""
        output.refuse(f"{error}{hint}")
    kind, _, name = value.partition(":")
    if kind == "source":
        stored(desk, name, file)
    elif kind == "group":
        groups = {each.group for each in desk.sources().values()}
        if name not in groups:
            groups |= configured(file).groups.keys()
        if name not in groups:
            unknown("group", name, groups)
    return value


def unknown(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    """Refuses a name, with the one that was probably meant."""
    close = meant(name, known)
    hint = f"did you mean {close}?" if close else f"windrow {'status' if kind == 'source' else 'sources list'} shows what there is"
    output.refuse(f"there is no {kind} {name}; {hint}")


def moment(text: str) -> datetime:
    """A day or a moment in UTC; anything else is refused, and so is what is still to come."""
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        output.refuse(f"--from {text}: not a moment; {MOMENTS}")
    if value.tzinfo is None and len(text.strip()) > len("2024-05-01"):
        output.refuse(f"--from {text}: a time of day needs its zone; {MOMENTS}")
    value = (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).astimezone(UTC)
    if value > datetime.now(UTC):
        output.refuse(f"--from {text}: that is still to come; {MOMENTS}")
    return value


def confirm(question: str, *, yes: bool) -> None:
    """Asks on a terminal, unless told not to; "no" ends the command with exit status 1."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)


def operator() -> str:
    """Who gives this command: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "operator"
    return f"{user}@{socket.gethostname()}"
