"""``windrow pause``, ``resume``, ``rewind`` and ``reset``: what operators change in the course of things.

An engine that runs obeys within seconds: a request in flight is finished, the next one is another course or none.
"""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import output, subjects
from flows.harvest.desk.explanation import stamp
from flows.harvest.desk.standing import Stored, iso
from flows.harvest.desk.store import Desk

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="all, group:NAME, source:NAME or target:NAME.")]


def pause(
    scope: Scope,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown to everybody until it is resumed.")],
    as_json: subjects.Json = False,
    file: subjects.File = None,
) -> None:
    """Pauses everything, a group, a source or a target, until it is resumed; an engine that runs obeys within seconds.

    A page that is on its way is still fetched and saved.
    """
    if not reason.strip():
        output.refuse("--reason is empty; write why, so that others know when to resume")
    with subjects.opened() as desk:
        value = subjects.scope(desk, scope, file)
        new = desk.pause(value, reason, subjects.operator())
    if as_json:
        output.as_json({"scope": value, "paused": True, "changed": new, "reason": reason.strip()})
    else:
        typer.echo(f"{value} is paused" if new else f"{value} was paused already; the reason is now the new one")
        typer.echo(f"to go on: windrow resume {value}")


def resume(scope: Scope, *, as_json: subjects.Json = False, file: subjects.File = None) -> None:
    """Ends the pause of a scope. For a source it also ends a block by the harvester itself (such as a browser check).

    Ends exactly this pause: a source whose group is paused as well goes on only when both are resumed.
    """
    with subjects.opened() as desk:
        value = subjects.scope(desk, scope, file)
        lifted = desk.resume(value)
        kind, _, name = value.partition(":")
        blocked = desk.unblock(name) if kind == "source" else None
        still = _still_paused(desk, kind, name, file)
    if as_json:
        output.as_json(
            {"scope": value, "paused": bool(still), "changed": lifted or blocked is not None, "blocked": blocked, "still": still}
        )
        return
    if lifted:
        typer.echo(f"{value} is resumed")
    if blocked is not None:
        typer.echo(f"{name} is not blocked any more and due now; it was because: {output.one_line(blocked)}")
    if not lifted and blocked is None:
        typer.echo(f"{value} was not paused")
    for other in still:
        typer.echo(f"it is still paused by {other}: windrow resume {other}")


def _still_paused(desk: Desk, kind: str, name: str, file: subjects.File) -> list[str]:
    """Wider pauses that cover it all the same."""
    wider = {"all"} if kind != "all" else set()
    if kind == "source":
        known = desk.sources([name]).get(name)
        wider.add(f"group:{known.group if known is not None else subjects.configured(file).sources[name].group}")
    return [each for each in desk.switches() if each in wider]


def rewind(
    name: subjects.Name,
    *,
    from_: Annotated[str, typer.Option("--from", metavar="DATE", help="2024-05-01, or a moment such as 2024-05-01T12:30:00Z.")],
    yes: subjects.Yes = False,
    as_json: subjects.Json = False,
    file: subjects.File = None,
) -> None:
    """Harvests a source again from a date on: its next pass begins there, and now.

    Records that did not change are compared, not written. An unfinished pass is dropped.
    """
    moment = subjects.moment(from_)
    with subjects.opened() as desk:
        known = subjects.stored(desk, name, file)
        if known is None:
            output.refuse(f"{name} was not harvested yet, so there is nothing to rewind; its first pass fetches everything")
        plan = [f"The next pass of {name} asks for what changed from {stamp(moment)} on, and is due now."]
        if known.watermark is not None and moment > known.watermark:
            plan.append(f"That is later than now ({stamp(known.watermark)}): what changed in between is not harvested.")
        elif known.watermark is None:
            plan.append("It had no complete pass yet: what is older than that and not stored yet is not harvested.")
        _go_ahead([*plan, *_dropped(known)], yes=yes, as_json=as_json)
        desk.rewind(name, moment)
    if as_json:
        output.as_json({"name": name, "watermark": iso(moment), "before": iso(known.watermark), "dropped": known.unfinished})


def reset(name: subjects.Name, *, yes: subjects.Yes = False, as_json: subjects.Json = False, file: subjects.File = None) -> None:
    """Harvests a source anew: its next pass fetches everything, and begins now. Its records stay.

    Records that did not change are compared, not written. An unfinished pass is dropped.
    """
    with subjects.opened() as desk:
        known = subjects.stored(desk, name, file)
        if known is None:
            output.refuse(f"{name} was not harvested yet, so there is nothing to reset; its first pass fetches everything")
        plan = [f"The next pass of {name} fetches everything, and is due now. Its {known.live:,} records stay."]
        _go_ahead([*plan, *_dropped(known)], yes=yes, as_json=as_json)
        desk.reset(name)
    if as_json:
        output.as_json({"name": name, "watermark": None, "before": iso(known.watermark), "dropped": known.unfinished})


def _dropped(known: Stored) -> list[str]:
    if not known.unfinished:
        return []
    course = known.course
    received = course.window.received if course is not None and course.windows else 0
    return [f"Its unfinished pass is dropped ({received:,} records received in the current window; they stay)."]


def _go_ahead(plan: list[str], *, yes: bool, as_json: bool) -> None:
    """Says what will happen, and asks."""
    typer.echo(" ".join(plan), err=as_json)
    subjects.confirm("Go ahead?", yes=yes)
