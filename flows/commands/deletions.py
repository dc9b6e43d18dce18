"""``windrow deletions``: deletions that were held because they are suspiciously many, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from flows.commands import output, subjects
from flows.harvest.desk.explanation import stamp
from flows.harvest.desk.standing import iso
from flows.harvest.desk.store import Held

app = typer.Typer(
    no_args_is_help=True,
    help="Deletions that wait for a person: a pass would have deleted more of a source's records than is plausible (delete_hold_share).",
)

Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the alarm that is closed.")]
EXAMPLES: Final = 10  # identifiers


@app.command(name="list")
def list_command(*, as_json: subjects.Json = False) -> None:
    """Lists the sources whose deletions are held."""
    with subjects.opened() as desk:
        found = desk.held()
    if as_json:
        output.as_json({"sources": [_shown(each) for each in found]})
    elif not found:
        typer.echo("no deletions are held")
    else:
        rows = [("source", "group", "held", "of", "since")]
        rows += [(each.source, each.group, f"{each.deletions:,}", f"{each.live:,}", stamp(each.since)) for each in found]
        output.columns(rows, right=[2, 3])
        typer.echo("windrow deletions show SOURCE shows some of them; approve or refuse decides")


@app.command()
def show(
    name: subjects.Name,
    *,
    examples: Annotated[int, typer.Option("--examples", metavar="N", min=0, help="Show so many identifiers.")] = EXAMPLES,
    as_json: subjects.Json = False,
    file: subjects.File = None,
) -> None:
    """Shows the held deletions of a source: how many of how many records, how they were noticed, and some of them."""
    with subjects.opened() as desk:
        subjects.stored(desk, name, file)
        found = next(iter(desk.held(name)), None)
        some = desk.examples(name, examples)
    if as_json:
        shown = _shown(found) if found is not None else {"source": name, "held": 0}
        listed = [{"identifier": each.identifier, "datestamp": each.datestamp, "reason": each.reason} for each in some]
        output.as_json(shown | {"examples": listed})
        return
    if found is None:
        typer.echo(f"no deletions of {name} are held")
        return
    share = f" ({found.deletions / found.live:.0%})" if found.live else ""
    typer.echo(f"{found.deletions:,} of {found.live:,} records of {name}{share} would be deleted; held since {stamp(found.since)}")
    for count, how in (
        (found.tombstones, "the repository says that they are deleted"),
        (found.unseen, "a full pass did not see them"),
        (found.vanished, "a sweep did not find them"),
    ):
        if count:
            typer.echo(f"{count:,}: {how}")
    output.columns([(each.reason, each.datestamp or "-", output.one_line(each.identifier)) for each in some])
    if found.deletions > len(some):
        typer.echo(f"and {found.deletions - len(some):,} more")
    typer.echo(f"windrow deletions approve {name} deletes them; windrow deletions refuse {name} keeps them")


@app.command()
def approve(
    name: subjects.Name, *, reason: Reason = "", yes: subjects.Yes = False, as_json: subjects.Json = False, file: subjects.File = None
) -> None:
    """Deletes the records whose deletion was held."""
    with subjects.opened() as desk:
        subjects.stored(desk, name, file)
        found = next(iter(desk.held(name)), None)
        if found is not None:
            subjects.confirm(f"Delete {found.deletions:,} of {found.live:,} records of {name}?", yes=yes)
        count = desk.approve(name, _decision("approved", found, reason))
    if as_json:
        output.as_json({"source": name, "decision": "approved", "deletions": count})
    else:
        typer.echo(f"{count:,} records of {name} are deleted now" if found is not None else f"no deletions of {name} are held")


@app.command()
def refuse(name: subjects.Name, *, reason: Reason = "", as_json: subjects.Json = False, file: subjects.File = None) -> None:
    """Keeps the records whose deletion was held. A later pass that misses them again holds them again."""
    with subjects.opened() as desk:
        subjects.stored(desk, name, file)
        found = next(iter(desk.held(name)), None)
        count = desk.refuse(name, _decision("refused", found, reason))
    if as_json:
        output.as_json({"source": name, "decision": "refused", "deletions": count})
    else:
        typer.echo(f"{count:,} records of {name} stay" if found is not None else f"no deletions of {name} are held")


def _decision(verb: str, found: Held | None, reason: str) -> str:
    count = f"{found.deletions:,} deletions" if found is not None else "nothing"
    return f"{count} {verb} by {subjects.operator()}" + (f": {reason.strip()}" if reason.strip() else "")


def _shown(each: Held) -> dict[str, object]:
    return {
        "source": each.source,
        "group": each.group,
        "held": each.deletions,
        "records": each.live,
        "tombstones": each.tombstones,
        "unseen": each.unseen,
        "vanished": each.vanished,
        "since": iso(each.since),
    }
