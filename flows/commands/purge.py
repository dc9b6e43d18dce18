"""``windrow purge``: one record out of everything that is stored."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import output, subjects, validate
from flows.validation.store import ValidationStore


def purge(
    name: subjects.Name,
    identifier: Annotated[str, typer.Argument(metavar="IDENTIFIER", help="The identifier of a record, as windrow records shows it.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with who did it and when.")],
    yes: subjects.Yes = False,
    as_json: subjects.Json = False,
) -> None:
    """Removes a record and its copies: as harvested, clean, findings, quarantine. Says where it was.

    Its name stays as a deletion without content, so that later stations remove theirs. A source that still offers the record
    brings it back with its next change or full pass. Exit status 3 when there was no such record.
    """
    if not reason.strip():
        output.refuse("--reason is empty; say why the record is removed")
    with validate.opened() as database:
        store = ValidationStore(database)
        validate.known(store, [name])
        subjects.confirm(f"Remove {output.one_line(identifier)} of {name} from everything that is stored?", yes=yes)
        places = store.purge(name, identifier, by=subjects.operator(), reason=reason.strip())
    if as_json:
        output.as_json({"source": name, "identifier": identifier, "removed": places})
    else:
        for table, count in places.items():
            typer.echo(f"{table}: {count:,} row{'' if count == 1 else 's'}" + (" emptied" if table == "catalog.bib" else " removed"))
    if not places:
        typer.echo(f"{name} has no record {output.one_line(identifier)}; nothing was removed", err=True)
        raise typer.Exit(output.SOME_FAILED)
