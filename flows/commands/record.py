"""``windrow record``: the records of a file, checked and shown without any database."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final, cast

import typer

from flows.catalog.model import BibRecord, Problem, Reading, canonical_json, sound_text
from flows.catalog.read import format_of, payloads, read_all
from flows.commands import output
from flows.validation.findings import Finding, Severity
from flows.validation.policies import Policies
from flows.validation.policyfile import load
from flows.validation.rules import Checker
from harvester.problems import ConfigurationError

app = typer.Typer(
    no_args_is_help=True, help="Records of a file: what is wrong with them, and how Windrow reads them. No database is needed."
)

IN_MEMORY: Final = 16 * 2**20  # bytes of standard input; what is longer goes to a temporary file
CHUNK: Final = 2**20
SOURCE: Final = "file"  # records of a file have no source; the same record in two forms is to give the same bytes
FORMATS: Final = "marcxml, iso2709, marcjson, bibframe or auto"

File = Annotated[str, typer.Argument(metavar="FILE", help="A file of records; - is standard input.")]
Form = Annotated[str, typer.Option("--format", help=f"{FORMATS}; the content decides where it says something else.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object for every record, on a line of its own.")]


@app.command()
def check(
    file: File,
    *,
    form: Form = "auto",
    policy: Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="Also check by these policies.")] = None,
    source: Annotated[str, typer.Option("--source", metavar="NAME", help="By the policy of this source.")] = SOURCE,
    as_json: Json = False,
) -> None:
    """Checks every record by all rules, and shows every finding with its value. Exit status 3 when a record has an error.

    With --json, {"control_number", "valid", "findings": [{"category", "code", "severity", "path", "message", "value"}]}.
    """
    try:
        policies = load(policy) if policy is not None else Policies()
    except ConfigurationError as error:
        output.problems(error)
    checker = Checker(policies.for_source(source), show_values=True)
    checked = failed = 0
    for reading in readings(file, form):
        record = reading.record
        found = checker.check(record, reading.problems) if record is not None else checker.unreadable(reading.problems)
        valid = not any(each.severity is Severity.ERROR for each in found)
        checked, failed = checked + 1, failed + (not valid)
        number = sound_text(record.control_number) if record is not None and record.control_number is not None else None
        if as_json:
            output.as_json({"control_number": number, "valid": valid, "findings": [_shown(each) for each in found]})
        elif found:
            typer.echo(f"{checked:,}: {output.one_line(number or 'no control number')}: {'passes' if valid else 'does not pass'}")
            for each in found:
                value = f" [{output.one_line(each.value)}]" if each.value else ""
                typer.echo(
                    f"    {each.severity}: {output.one_line(each.path) or 'record'}: {output.one_line(each.message)}{value} ({each.key})"
                )
                if each.severity is Severity.ERROR and each.link:
                    typer.echo(f"        {each.link}")
    if not as_json:
        typer.echo(f"{checked:,} record{'' if checked == 1 else 's'} checked, {failed:,} with errors")
    if failed:
        raise typer.Exit(output.SOME_FAILED)


@app.command()
def show(file: File, *, form: Form = "auto", as_json: Json = False) -> None:
    """Shows every record as Windrow reads it, and what its reader noticed. Exit status 3 when one cannot be read.

    With --json, the canonical JSON of the record; of one that cannot be read, {"control_number": null, "problems": [...]}.
    """
    failed = False
    for number, reading in enumerate(readings(file, form), start=1):
        record = reading.record
        failed = failed or record is None
        if not as_json:
            if number > 1:
                typer.echo("")
            _print(record, reading.problems)
            continue
        for problem in reading.problems if record is not None else ():
            typer.echo(f"{number}: {_said(problem)}", err=True)
        if record is not None:
            typer.echo(canonical_json(record))
        else:
            problems = [
                {"kind": each.kind, "message": sound_text(each.message), "place": sound_text(each.place)} for each in reading.problems
            ]
            output.as_json({"control_number": None, "problems": problems})
    if failed:
        raise typer.Exit(output.SOME_FAILED)


def readings(file: str, form: str) -> Iterator[Reading]:
    """What comes of a file, record by record. A call that cannot work is refused; whatever is in the file is a reading."""
    if form != "auto" and format_of(form) is None:
        output.refuse(f"--format {form}: not a known format; write {FORMATS}")
    with _opened(file) as stream:
        try:
            each_payload = payloads(stream, format=form)
        except ValueError:
            stream.seek(0)
            each_payload = iter([stream.read(IN_MEMORY)])  # one reading that says that it is none of the known forms
        number = 0
        for number, payload in enumerate(each_payload, start=1):
            yield from read_all(payload, format=form, source=SOURCE, identifier=str(number))
        if not number:
            yield Reading(record=None, problems=(Problem(kind="empty", message="There is no record in it."),))


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as kept:
            while chunk := sys.stdin.buffer.read(CHUNK):
                kept.write(chunk)
            kept.seek(0)
            yield cast(BinaryIO, kept)
        return
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            output.refuse(f"{file} cannot be read: {error.strerror}; name a file of records, or - for standard input")
        yield stream


def _print(record: BibRecord | None, problems: tuple[Problem, ...]) -> None:
    if record is None:
        typer.echo("not readable")
    else:
        typer.echo(f"LDR    {output.one_line(record.leader)}")
        for tag, value in record.control_fields:
            typer.echo(f"{_printable(tag)}    {_printable(value)}")
        for field in record.data_fields:
            typer.echo(_printable(str(field)))
    for problem in problems:
        typer.echo(f"# {_said(problem)}")


def _said(problem: Problem) -> str:
    place = f" ({output.one_line(problem.place)})" if problem.place else ""
    return f"{problem.kind}: {output.one_line(problem.message)}{place}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "·" for char in text)


def _shown(finding: Finding) -> dict[str, str]:
    return {name: sound_text(str(getattr(finding, name))) for name in ("category", "code", "severity", "path", "message", "value")}
