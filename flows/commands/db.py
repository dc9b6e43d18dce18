"""``windrow db``: the database that Windrow keeps everything in."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, NoReturn

import typer

from db import programs
from db.check import Problem
from db.check import check as find_problems
from db.embedded import Embedded, State, home
from db.engine import HEAD, connect, database_url
from db.engine import upgrade as bring_up_to_date
from db.errors import DatabaseError, FolderRefused, Misconfigured, TooOld
from db.urls import for_libpq, masked, split_password

app = typer.Typer(
    no_args_is_help=True,
    help="The database: where it is, start and stop it, bring its tables up to date, check it. Without WINDROW_DATABASE_URL, Windrow "
    "brings its own PostgreSQL server, keeps its data below WINDROW_HOME, and starts it whenever a command needs it.",
)

EXTERNAL: Final = "WINDROW_DATABASE_URL names a database of its own, which Windrow neither starts nor stops"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


@app.command()
def url(
    json_: AsJson = False,
    show_password: Annotated[bool, typer.Option("--show-password", help="Show the password of a database of your own.")] = False,
) -> None:
    """Print where the database is, in the form that psql and other programs take. Starts our own server if need be."""
    with reported():
        found = database_url()
        shown = for_libpq(found) if show_password or not external() else masked(found)
    answer({"url": shown, "kind": kind()}, shown, json_)


@app.command()
def start(json_: AsJson = False) -> None:
    """Start our own server. Commands do that by themselves; this one is for doing it in advance."""
    if external():
        answer({"kind": kind(), "status": None}, f"{EXTERNAL}; nothing to start", json_)
        return
    server = Embedded(home=home())
    with reported():
        running = server.state().status == "running"
        state = server.start()
    text = f"{'already running' if running else 'started'}: process {state.pid}, data in {server.data}"
    answer(described(server, state) | {"changed": not running}, text, json_)


@app.command()
def stop(json_: AsJson = False) -> None:
    """Stop our own server; work that is under way in it is rolled back. Fine also when it does not run."""
    server = Embedded(home=home())
    with reported():
        stopped = server.stop()
        state = server.state()
    text = f"stopped; the data stays in {server.data}" if stopped else f"nothing to stop: no server runs for {server.home}"
    answer(described(server, state) | {"changed": stopped}, f"{text} ({EXTERNAL})" if external() else text, json_)


@app.command()
def status(json_: AsJson = False) -> None:
    """Show whether the server runs, without starting anything."""
    if external():
        with reported():
            shown = masked(database_url())
        try:
            engine = connect(pool_size=1)
        except DatabaseError as error:
            answer({"kind": kind(), "url": shown, "status": "unreachable", "error": str(error)}, str(error), json_)
            raise typer.Exit(1) from None
        engine.dispose()
        answer({"kind": kind(), "url": shown, "status": "running", "error": None}, f"answers: {shown}", json_)
        return
    server = Embedded(home=home())
    with reported():
        state = server.state()
    words = {
        "absent": "no database yet; the first command that needs it creates it",
        "stopped": "stopped; the next command that needs it starts it",
        "stale": "ended without tidying up; the next command that needs it starts and recovers it",
    }
    text = words.get(state.status, f"{state.status}: process {state.pid}")
    answer(described(server, state), f"{text}\ndata: {server.data}\nlog:  {server.log_file}", json_)


@app.command()
def upgrade(json_: AsJson = False) -> None:
    """Create the tables, or bring those of an older Windrow up to date. Commands that need them do that by themselves."""
    with reported():
        engine = connect(pool_size=1)
        changed = bring_up_to_date(engine)
        engine.dispose()
    text = f"the tables are now those of version {HEAD}" if changed else f"nothing to do: the tables are those of version {HEAD}"
    answer({"changed": changed, "migration": HEAD}, text, json_)


@app.command()
def check(json_: AsJson = False) -> None:
    """Look for everything that is wrong with the database: server, settings, tables. Exit status 1 if anything is."""
    try:
        engine = connect(pool_size=1)
    except DatabaseError as error:
        problems = [Problem(subject="server", message=str(error))]
    else:
        problems = find_problems(engine)
        engine.dispose()
    text = "\n".join(f"{problem.subject}: {problem.message}" for problem in problems) or "all is well"
    answer({"ok": not problems, "problems": [dataclasses.asdict(problem) for problem in problems]}, text, json_)
    if problems:
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def shell(context: typer.Context) -> None:
    """Open psql on the database. What follows is passed on: windrow db shell -c 'SELECT count(*) FROM harvest.record'"""
    with reported():
        # In the environment other users cannot read the password, in the list of processes they can.
        address, password = split_password(database_url())
        # The machine's own psql has line editing and TLS, which the one of the wheel may lack.
        program = shutil.which("psql") or str(programs.folder() / "psql")
    environ = {**os.environ, "PGAPPNAME": "windrow db shell", **({"PGPASSWORD": password} if password else {})}
    become(program, ["psql", *context.args, address], environ)


def become(program: str, arguments: list[str], environ: dict[str, str]) -> NoReturn:
    """Replace this process, so that signals and exit status are the other program's."""
    os.execve(program, arguments, environ)  # noqa: S606


def external() -> bool:
    """Whether an operator named a database of their own."""
    return bool(os.environ.get("WINDROW_DATABASE_URL", "").strip())


def kind() -> str:
    """``external`` or ``embedded``."""
    return "external" if external() else "embedded"


def described(server: Embedded, state: State) -> dict[str, Any]:
    """The embedded server for programs."""
    return {"kind": "embedded", "status": state.status, "pid": state.pid, "data": str(server.data), "log": str(server.log_file)}


def answer(value: dict[str, Any], text: str, json_: bool) -> None:
    """Print the answer in one of its two forms."""
    typer.echo(json.dumps(value) if json_ else text)


@contextmanager
def reported() -> Iterator[None]:
    """An error of the database becomes its message and exit status 2 (configuration) or 1 (everything else)."""
    try:
        yield
    except DatabaseError as error:
        typer.echo(f"windrow: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, Misconfigured | FolderRefused | TooOld) else 1) from None
