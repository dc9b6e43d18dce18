"""What all commands print alike."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, NoReturn, TextIO

import typer

from db.errors import DatabaseError
from harvester.problems import ConfigurationError

BAD_CONFIGURATION: Final = 2  # exit status: nothing was requested or changed
SOME_FAILED: Final = 3  # exit status: the work was done, but not for all


LONGEST_SAID: Final = 500  # characters of what a repository says that are shown


def problems(error: ConfigurationError, *, to: TextIO | None = None) -> NoReturn:
    """Prints every problem on its own line (on standard error, unless the problems are what was asked for) and exits with 2."""
    for problem in error.problems:
        typer.echo(str(problem), file=to or sys.stderr)
    raise typer.Exit(BAD_CONFIGURATION)


def refuse(message: str) -> NoReturn:
    """Prints one sentence on standard error and exits with 2: nothing was done."""
    typer.echo(message, err=True)
    raise typer.Exit(BAD_CONFIGURATION)


@contextmanager
def database_errors() -> Iterator[None]:
    """Inside: a database that cannot be used is one sentence on standard error and exit status 1."""
    try:
        yield
    except* DatabaseError as group:  # one, or those of several tasks
        for line in dict.fromkeys(str(error) for error in leaves(group)):
            typer.echo(line, err=True)
        failed = True
    else:
        failed = False
    if failed:
        raise typer.Exit(1)


def leaves(group: BaseExceptionGroup[DatabaseError]) -> Iterator[DatabaseError]:
    """The errors in a group of groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def problems_as_values(error: ConfigurationError) -> list[dict[str, object]]:
    """The same for JSON."""
    return [asdict(problem) for problem in error.problems]


def as_json(value: object) -> None:
    """Prints one JSON value on a line of its own."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def columns(rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Prints rows as columns, as wide as their widest cell; those numbered in `right` are flush right."""
    table = [[str(cell) for cell in row] for row in rows]
    flush_right = set(right)
    widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))] if table else []
    for row in table:
        cells = [
            cell.rjust(width) if n in flush_right else cell.ljust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def one_line(text: str) -> str:
    """`text`, which others wrote, without line breaks and without control characters that a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))[:LONGEST_SAID]
