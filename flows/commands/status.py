"""``windrow status`` and ``windrow explain``: how the sources are, and why one is not running now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from db.switches import Alarm, Switch
from flows.commands import output, subjects
from flows.harvest.desk.explanation import explain as sentences
from flows.harvest.desk.explanation import stamp
from flows.harvest.desk.standing import Standing, State, standing
from flows.harvest.desk.store import Desk
from harvester.sources import Configuration

FEW: Final = 40  # sources that are all listed; of more, those in trouble or under way, and a line for each group
REASON: Final = 100  # characters of a reason in the table; windrow explain shows all of it
RESTING: Final = (State.READY, State.IDLE, State.DISABLED, State.REMOVED)
UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def status(
    *,
    as_json: subjects.Json = False,
    everything: Annotated[bool, typer.Option("--all", help=f"List every source also when there are more than {FEW}.")] = False,
    file: subjects.File = None,
) -> None:
    """Shows how every source is: its state, its records, when it last succeeded, when it is due, and what is wrong.

    Sources in trouble come first, with the reason; below stand what operators have paused and the open alarms. Sources
    that are no longer configured are shown as removed.
    """
    now = datetime.now(UTC)
    with subjects.opened() as desk:
        found = standings(desk, subjects.configured(file), now)
        switches, alarms = desk.switches(), desk.alarms()
    if as_json:
        output.as_json({"sources": [each.shown(now) for each in found]})
        return
    ordered = sorted(found, key=lambda each: (not each.troubled, each.state is State.REMOVED, each.name))
    whole = everything or len(ordered) <= FEW
    _print_sources([each for each in ordered if whole or each.troubled or (each.state not in RESTING and each.switch is None)], now)
    if not whole:
        _print_groups(ordered)
        typer.echo("windrow status --all lists every source")
    _print_totals(ordered)
    _print_needs(switches.values(), alarms)


def explain(name: subjects.Name, *, as_json: subjects.Json = False, file: subjects.File = None) -> None:
    """Says in sentences why a source is not running now (or that it is), when it goes on, and what would help."""
    now = datetime.now(UTC)
    with subjects.opened() as desk:
        configuration = subjects.configured(file)
        everyone = {each.name: each for each in standings(desk, configuration, now)}
        if name not in everyone:
            subjects.unknown("source", name, everyone)
        subject = everyone[name]
        busy = sum(each.group == subject.group and each.state in (State.READY, State.HARVESTING) for each in everyone.values())
        coverage = desk.coverage(subject.stored) if subject.stored is not None else None
    said = sentences(subject, group=configuration.groups.get(subject.group), busy=busy, coverage=coverage, now=now)
    if as_json:
        output.as_json({"name": name, "group": subject.group, "state": subject.state.value, "sentences": said})
    else:
        typer.echo("\n".join(map(output.one_line, said)))


def standings(desk: Desk, configuration: Configuration, now: datetime) -> list[Standing]:
    """Every source that is configured or stored, by name."""
    known = desk.sources()
    groups = {each.group for each in known.values()} | {each.group for each in configuration.sources.values()}
    switches, owners = desk.switches(), desk.owners(sorted(groups))
    found = []
    for name in sorted({*known, *configuration.sources}):
        configured, stored = configuration.sources.get(name), known.get(name)
        group = configured.group if configured is not None else known[name].group
        found.append(standing(name, configured=configured, stored=stored, switches=switches, owner=owners.get(group), now=now))
    return found


def _print_sources(found: Sequence[Standing], now: datetime) -> None:
    rows = [("source", "group", "state", "records", "deleted", "last success", "next", "failed", "")]
    for each in found:
        shown = each.shown(now)
        stored = each.stored
        rows.append(
            (
                each.name,
                each.group,
                each.state.value,
                f"{shown['records']:,}",
                f"{shown['deleted']:,}",
                f"{_rough(now - stored.last_success)} ago" if stored is not None and stored.last_success is not None else "never",
                _next(each, now),
                str(shown["failures_in_a_row"] or ""),
                _remark(each),
            )
        )
    if len(rows) > 1:
        output.columns(rows, right=[3, 4, 5, 6, 7])


def _next(each: Standing, now: datetime) -> str:
    stored = each.stored
    until = None
    if stored is not None:
        until = {State.PAUSED: stored.paused_until, State.WAITING: stored.waiting_until, State.IDLE: stored.due_at}.get(each.state)
    if until is not None:
        return f"in {_rough(until - now)}"
    return "now" if each.state in (State.READY, State.HARVESTING) else ""


def _remark(each: Standing) -> str:
    stored = each.stored
    if each.state in (State.REMOVED, State.DISABLED):
        return ""
    said = each.error or ""
    if stored is not None and stored.held:
        said += f"{'; ' if said else ''}{stored.held:,} deletions are held"
    return _short(said or (f"warning: {stored.warning}" if stored is not None and stored.warning else ""))


def _short(text: str) -> str:
    line = output.one_line(text)
    return line if len(line) <= REASON else line[: REASON - 1] + "…"


def _rough(span: timedelta) -> str:
    """A duration in its largest unit."""
    seconds = max(0.0, span.total_seconds())
    return next((f"{int(seconds // size)}{unit}" for size, unit in UNITS if seconds >= size), "0s")


def _print_groups(found: Iterable[Standing]) -> None:
    groups: dict[str, Counter[State]] = {}
    records: Counter[str] = Counter()
    for each in found:
        groups.setdefault(each.group, Counter())[each.state] += 1
        records[each.group] += each.stored.live if each.stored is not None else 0
    typer.echo()
    rows = [("group", "sources", *(state.value for state in State), "records")]
    for name, counts in sorted(groups.items()):
        rows.append((name, f"{counts.total():,}", *(f"{counts[state] or ''}" for state in State), f"{records[name]:,}"))
    output.columns(rows, right=range(1, len(State) + 3))


def _print_totals(found: Sequence[Standing]) -> None:
    states = Counter(each.state for each in found)
    known = [each.stored for each in found if each.stored is not None]
    parts = [f"{states[state]:,} {state.value}" for state in State if states[state]]
    troubled = sum(each.troubled for each in found)
    typer.echo(
        f"{len(found):,} source{'' if len(found) == 1 else 's'}{': ' if parts else ''}{', '.join(parts)}; "
        f"{sum(each.live for each in known):,} records, {sum(each.deleted for each in known):,} deleted; "
        + (f"{troubled:,} in trouble" if troubled else "none in trouble")
    )


def _print_needs(switches: Iterable[Switch], alarms: Iterable[Alarm]) -> None:
    for switch in switches:
        typer.echo(f"paused since {stamp(switch.since)} by {switch.by}: {switch.scope} ({output.one_line(switch.reason)})")
    for alarm in alarms:
        typer.echo(f"alarm since {stamp(alarm.raised_at)}: {alarm.kind} {alarm.scope}: {output.one_line(alarm.message)}")
