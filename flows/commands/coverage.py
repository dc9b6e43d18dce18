"""``windrow coverage``: which spans of datestamps of a source are harvested, and which are missing."""

from __future__ import annotations

import typer

from flows.commands import output, subjects
from flows.harvest.desk.coverage import Coverage, Gap, Span
from flows.harvest.desk.explanation import stamp


def coverage(name: subjects.Name, *, as_json: subjects.Json = False, file: subjects.File = None) -> None:
    """Shows the spans of datestamps that complete windows cover, the gaps (why, and how often they are tried again), and drift.

    Drift is what the repository announced at its last full pass against what is stored.
    """
    with subjects.opened() as desk:
        known = subjects.harvested(desk, name, file)
        found = desk.coverage(known) if known is not None else Coverage(source=name, watermark=None, covered=(), gaps=())
    if as_json:
        output.as_json(found.shown())
    elif known is not None:
        _print(found)


def _print(found: Coverage) -> None:
    rows: list[tuple[str, ...]] = [("", "from", "until", "hours", "windows", "records", "")]
    rows += [_covered(span) for span in found.covered]
    rows += [_missing(gap) for gap in found.gaps]
    if len(rows) > 1:
        output.columns(rows, right=[3, 4, 5])
    else:
        typer.echo("no window was completed yet, and none failed")
    typer.echo(f"watermark: {stamp(found.watermark) if found.watermark is not None else 'none, the next pass is a full one'}")
    drift = found.drift
    if drift is not None:
        difference = drift.stored - drift.announced
        said = f"{abs(difference):,} {'more' if difference > 0 else 'fewer'} are stored now" if difference else "as many are stored now"
        when = f" ({stamp(drift.at)})" if drift.at is not None else ""
        typer.echo(f"drift: at the last full pass{when} the repository announced {drift.announced:,} records; {said}")


def _covered(span: Span) -> tuple[str, ...]:
    hours = f"{(span.until - span.since).total_seconds() / 3600:,.1f}" if span.since is not None else ""
    since = stamp(span.since) if span.since is not None else "the beginning"
    return ("covered", since, stamp(span.until), hours, f"{span.windows:,}", f"{span.records:,}", "")


def _missing(gap: Gap) -> tuple[str, ...]:
    hours = f"{(gap.until - gap.since).total_seconds() / 3600:,.1f}" if gap.since is not None and gap.until is not None else ""
    left = f"tried {gap.attempts} times, {gap.attempts_left} more to come" if gap.attempts_left else f"given up after {gap.attempts} tries"
    since = stamp(gap.since) if gap.since is not None else "the beginning"
    until = stamp(gap.until) if gap.until is not None else "now"
    return (gap.state, since, until, hours, "", "", f"{left}: {output.one_line(gap.reason or 'no reason is stored')}")
