"""``windrow records``, ``failures`` and ``fetch``: the records of a source, those that could not be read, and one asked for now."""

from __future__ import annotations

from typing import Annotated, Final

import anyio
import typer

from flows.commands import output, subjects
from flows.harvest.desk.errand import Occupied, ask, ask_and_save
from flows.harvest.desk.explanation import stamp
from flows.harvest.desk.standing import iso
from flows.harvest.desk.store import Row
from harvester.errors import HarvestError, StoreUnavailable
from harvester.oai import Record

LINE: Final = "{:>10}  {:<20}  {:<7}  {:<16}  {}"  # revision, datestamp, state, digest, identifier
DIGEST_SHOWN: Final = 16  # characters


def records(
    name: subjects.Name,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for every record, on a line of its own.")] = False,
    payload: Annotated[bool, typer.Option("--payload", help="With the metadata as harvested.")] = False,
    deleted: Annotated[bool | None, typer.Option("--deleted/--live", help="Only deleted records, or only live ones.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=0, help="At most so many.")] = None,
    since_revision: Annotated[
        int | None,
        typer.Option("--since-revision", metavar="N", min=0, help="Only what changed after this revision, in the order of the changes."),
    ] = None,
    file: subjects.File = None,
) -> None:
    """Lists the stored records of a source, by identifier; any number of them, as they come.

    A program that keeps the last revision it has seen gets what changed since then by --since-revision.
    """
    with subjects.opened() as desk:
        if subjects.harvested(desk, name, file) is None:
            return
        if not as_json:
            typer.echo(LINE.format("revision", "datestamp", "state", "digest", "identifier"))
        for row in desk.records(name, deleted=deleted, since_revision=since_revision, limit=limit, payload=payload):
            if as_json:
                output.as_json(_shown(row, payload=payload))
                continue
            state, digest = "deleted" if row.deleted else "live", (row.digest or "-")[:DIGEST_SHOWN]
            typer.echo(LINE.format(row.revision, output.one_line(row.datestamp), state, digest, output.one_line(row.identifier)).rstrip())
            if row.payload is not None:
                typer.echo(_text(row.payload))


def _shown(row: Row, *, payload: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "identifier": row.identifier,
        "datestamp": row.datestamp,
        "deleted": row.deleted,
        "digest": row.digest,
        "revision": row.revision,
    }
    return shown | {"payload": _text(row.payload)} if payload else shown


def _text(payload: bytes | None) -> str | None:
    return payload.decode("utf-8", "replace") if payload is not None else None


def failures(
    name: subjects.Name,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for every record, on a line of its own.")] = False,
    file: subjects.File = None,
) -> None:
    """Lists the records of a source that could not be read: which, where in the answer, why, and what stands there.

    They come off the list by themselves when they are read well.
    """
    with subjects.opened() as desk:
        if subjects.harvested(desk, name, file) is None:
            return
        count = 0
        for each in desk.failures(name):
            count += 1
            if as_json:
                output.as_json(
                    {
                        "identifier": each.identifier,
                        "at": iso(each.at),
                        "place": each.place,
                        "reason": each.reason,
                        "snippet": each.snippet,
                        "attempts": each.attempts,
                        "run": each.run,
                    }
                )
                continue
            times = "" if each.attempts == 1 else f", {each.attempts} times"
            typer.echo(f"{output.one_line(each.identifier)}: {output.one_line(each.reason)}")
            typer.echo(f"    {output.one_line(each.place)}, {stamp(each.at)}{times}")
            if each.snippet:
                typer.echo(f"    {output.one_line(each.snippet)}")
    if not as_json:
        typer.echo(f"{count:,} record{'' if count == 1 else 's'} could not be read" if count else "every record could be read")


def fetch(
    name: subjects.Name,
    identifier: Annotated[str, typer.Argument(metavar="IDENTIFIER", help="The OAI identifier of a record.")],
    *,
    store: Annotated[bool, typer.Option("--store", help="Also save it, unless an engine harvests the group just now.")] = False,
    as_json: subjects.Json = False,
    file: subjects.File = None,
) -> None:
    """Asks a repository for one record now (GetRecord), and shows it, or says why it does not come.

    That is one request, besides the limits of the group. Exit status: 0 it came, 2 nothing was asked, 3 it did not come.
    """
    with subjects.opened() as desk:
        there = subjects.configured(file).sources
        source = there.get(name)
        if source is None:
            if name in desk.sources([name]):
                output.refuse(f"{name} is no longer configured, so it cannot be asked")
            subjects.unknown("source", name, there)
        before = desk.record(name, identifier)
        try:
            page = anyio.run(ask_and_save, source, identifier, desk.keeper()) if store else anyio.run(ask, source, identifier)
        except Occupied as error:
            owner = desk.owners([source.group]).get(source.group)
            who = f" ({owner.name})" if owner is not None and owner.name else ""
            output.refuse(f"{error}{who}, so nothing was asked; stop it, or leave out --store")
        except StoreUnavailable as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
        except HarvestError as error:
            typer.echo(f"{name}: {identifier}: {error}", err=True)
            raise typer.Exit(output.SOME_FAILED) from None
    for damage in page.damaged:
        typer.echo(f"{name}: {identifier}: {damage.reason} ({damage.place})\n{output.one_line(damage.snippet)}", err=True)
    if not page.records:
        if not page.damaged:
            typer.echo(f"{name}: {identifier}: the repository answers without a record", err=True)
        raise typer.Exit(output.SOME_FAILED)
    for record in page.records:
        facts = _facts(record, before, saved=store)
        if as_json:
            output.as_json(facts | {"payload": _text(record.payload)})
        else:
            output.columns([(key, _word(value)) for key, value in facts.items()])
            if record.payload is not None:
                typer.echo(_text(record.payload))


def _facts(record: Record, before: Row | None, *, saved: bool) -> dict[str, object]:
    digest = record.digest.hex() if record.digest is not None else None
    if before is None:
        compared = "new"
    elif before.deleted != record.deleted or (not record.deleted and before.digest != digest):
        compared = "changed"
    else:
        compared = "unchanged"
    return {
        "identifier": record.identifier,
        "datestamp": record.datestamp,
        "deleted": record.deleted,
        "sets": list(record.sets),
        "digest": digest,
        "compared": compared,
        "saved": saved,
    }


def _word(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return output.one_line({True: "yes", False: "no", None: "-"}.get(value, str(value)) if isinstance(value, bool | None) else str(value))
