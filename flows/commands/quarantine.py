"""``windrow quarantine``: records that do not pass and sources that are held; look at them, let them pass, send them to somebody."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from flows.catalog.write import TooLong, to_iso2709
from flows.commands import output, subjects, validate
from flows.validation.findings import Finding
from flows.validation.judge import Judge, Judged
from flows.validation.station import Judges
from flows.validation.store import Quarantined, ValidationStore

app = typer.Typer(
    no_args_is_help=True,
    help="Records with errors, which wait while their last clean version stays in use, and sources that the anomaly gate holds.",
)

Identifier = Annotated[str, typer.Argument(metavar="IDENTIFIER", help="The identifier of a record, as windrow quarantine list shows it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept.")]
LISTED: Final = 100  # records
EXPORTED: Final = 500  # records read at a time


class Form(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    MRC = "mrc"


@app.command(name="list")
def list_command(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Only this source, record by record.")] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many records.")] = LISTED,
    as_json: subjects.Json = False,
) -> None:
    """Lists how many records of each source are in quarantine, and which sources are held; of one source, each record."""
    with validate.opened() as database:
        store = ValidationStore(database)
        names = validate.known(store, [name] if name else None)
        counts, held = store.counts(), {each.source: each for each in store.held(names)}
        records = store.quarantined(name, limit=limit) if name or as_json else []
    sources = [each for each in sorted(counts.keys() | held.keys()) if names is None or each in names]
    if as_json:
        shown = [
            {
                "source": each,
                "quarantined": counts.get(each, 0),
                "held": each in held,
                "waiting": held[each].waiting if each in held else 0,
                "reason": held[each].reason if each in held else None,
            }
            for each in sources
        ]
        output.as_json({"sources": shown, "records": [_shown(each) for each in records]})
        return
    for each in held.values():
        typer.echo(
            f"{each.source} is held: {each.reason}; {each.waiting:,} changes wait; windrow quarantine approve {each.source} lets them pass"
        )
    if not sources:
        typer.echo("nothing is in quarantine")
    elif name:
        output.columns(
            [(output.one_line(each.identifier), f"{each.errors:,}", output.one_line(each.reason)) for each in records], right=[1]
        )
        if counts.get(name, 0) > len(records):
            typer.echo(f"and {counts[name] - len(records):,} more; --limit N shows them")
    else:
        output.columns([("source", "records"), *((each, f"{counts.get(each, 0):,}") for each in sources)], right=[1])


@app.command()
def show(name: subjects.Name, identifier: Identifier, *, as_json: subjects.Json = False) -> None:
    """Shows why a record is in quarantine: every finding, and the record as it is without what the scrubber takes out."""
    with validate.opened() as database:
        store = ValidationStore(database)
        validate.known(store, [name])
        entry = _entry(store, name, identifier)
        findings = store.findings(name, identifier)
        judged = _judged(store, _judge(store, name), [entry]).get(identifier)
    if as_json:
        output.as_json(_shown(entry) | {"findings": [_told(each) for each in findings], "record": _record(judged)})
        return
    typer.echo(f"{name}: {output.one_line(identifier)}: in quarantine since {entry.entered_at:%Y-%m-%d %H:%M} UTC")
    if entry.released_at is not None:
        typer.echo(f"released by {entry.released_by}: {output.one_line(entry.released_because or '')}")
    for each in findings:
        value = f" [{each.value}]" if each.value else ""
        typer.echo(f"    {each.severity}: {each.path or 'record'}: {each.message}{value} ({each.key})")
        if each.link and each.severity == "error":
            typer.echo(f"        {each.link}")
    record = judged.record if judged is not None else None
    if record is not None:
        typer.echo(f"LDR    {output.one_line(record.leader)}")
        for tag, text in record.control_fields:
            typer.echo(f"{tag}    {output.one_line(text)}")
        for field in record.data_fields:
            typer.echo(output.one_line(str(field)))


@app.command()
def release(
    name: subjects.Name,
    identifiers: Annotated[list[str], typer.Argument(metavar="IDENTIFIER...", help="Records of the source.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why it may pass with its errors; kept.")],
    as_json: subjects.Json = False,
) -> None:
    """Lets records pass in spite of their errors, as long as they stay as they are. The scrubber is not left out.

    Exit status 3 when one of them is not in quarantine, or cannot be read at all.
    """
    if not reason.strip():
        output.refuse("--reason is empty; say why the records may pass with their errors")
    with validate.opened() as database:
        store = ValidationStore(database)
        validate.known(store, [name])
        done = store.release(_judge(store, name), identifiers, by=subjects.operator(), reason=reason.strip())
    missed = [each for each in identifiers if each not in done]
    if as_json:
        output.as_json({"source": name, "released": done, "not_released": missed})
    else:
        for each in done:
            typer.echo(f"{each} passes now")
        for each in missed:
            typer.echo(f"{output.one_line(each)} is not in quarantine, or cannot be read", err=True)
    if missed:
        raise typer.Exit(output.SOME_FAILED)


@app.command()
def approve(name: subjects.Name, *, reason: Reason = "", as_json: subjects.Json = False) -> None:
    """Lets the changes of a held source pass with the next windrow validate; its wrong records go to quarantine as always."""
    with validate.opened() as database:
        store = ValidationStore(database)
        validate.known(store, [name])
        waiting = store.approve(name, by=subjects.operator(), reason=reason.strip())
    if as_json:
        output.as_json({"source": name, "approved": waiting is not None, "waiting": waiting or 0})
    else:
        typer.echo(f"{waiting:,} changes of {name} pass with the next windrow validate" if waiting is not None else f"{name} is not held")


@app.command()
def export(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Only this source.")] = None,
    *,
    form: Annotated[Form, typer.Option("--format", help="jsonl: records with their findings; mrc: ISO 2709.")] = Form.JSONL,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to; by default standard output.")] = None,
) -> None:
    """Writes the records in quarantine to a file for those who mend them, without what the scrubber takes out.

    Exit status 3 when a record cannot be written: it is unreadable, or too long for ISO 2709.
    """
    count = left = 0
    with validate.opened() as database, ExitStack() as stack:
        store = ValidationStore(database)
        validate.known(store, [name] if name else None)
        try:
            stream: BinaryIO = stack.enter_context(out.open("wb")) if out is not None else sys.stdout.buffer
        except OSError as error:
            output.refuse(f"{out} cannot be written: {error.strerror}")
        for entry, judged, findings in _exported(store, name):
            if form is Form.JSONL:
                line = _shown(entry) | {"findings": [_told(each) for each in findings], "record": _record(judged)}
                stream.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                count += 1
                continue
            try:
                if judged is None or judged.record is None:
                    raise ValueError("it cannot be read")
                stream.write(to_iso2709(judged.record))
                count += 1
            except (TooLong, ValueError) as error:
                left += 1
                typer.echo(f"{entry.source}: {output.one_line(entry.identifier)}: not written: {output.one_line(str(error))}", err=True)
        stream.flush()
    typer.echo(f"{count:,} record{'' if count == 1 else 's'} written", err=True)
    if left:
        raise typer.Exit(output.SOME_FAILED)


def _exported(store: ValidationStore, name: str | None) -> Iterator[tuple[Quarantined, Judged | None, list[Finding]]]:
    for source in [name] if name else sorted(store.counts()):
        judge = _judge(store, source)
        entries = store.quarantined(source)
        for at in range(0, len(entries), EXPORTED):
            some = entries[at : at + EXPORTED]
            judged = _judged(store, judge, some)
            for entry in some:
                yield entry, judged.get(entry.identifier), store.findings(source, entry.identifier)


def _entry(store: ValidationStore, name: str, identifier: str) -> Quarantined:
    found = store.quarantined(name, identifier, released=True)
    if not found:
        output.refuse(f"{output.one_line(identifier)} of {name} is not in quarantine; windrow quarantine list {name} shows what is")
    return found[0]


def _judge(store: ValidationStore, name: str) -> Judge:
    policies = validate.policies_of(None)
    return Judges(policies, validate.secret(policies))(name, store.known_sources().get(name))


def _judged(store: ValidationStore, judge: Judge, entries: list[Quarantined]) -> dict[str, Judged]:
    """The clean records of entries by identifier, made anew of what was harvested: quarantine keeps no content."""
    raws = store.raw(judge.source, sorted({each.origin for each in entries}))
    return {judged.identifier: judged for raw in raws if not raw.deleted for judged in judge.judge(raw)}


def _record(judged: Judged | None) -> Any:
    content = judged.content if judged is not None else None
    return json.loads(content) if content is not None else None


def _told(finding: Finding) -> dict[str, str]:
    return {name: str(getattr(finding, name)) for name in ("category", "code", "severity", "path", "message", "value", "link")}


def _shown(entry: Quarantined) -> dict[str, Any]:
    return {
        "source": entry.source,
        "identifier": entry.identifier,
        "reason": entry.reason,
        "errors": entry.errors,
        "readable": entry.digest is not None,
        "entered_at": entry.entered_at.isoformat(),
        "released_at": entry.released_at.isoformat() if entry.released_at is not None else None,
        "released_by": entry.released_by,
        "released_because": entry.released_because,
    }
