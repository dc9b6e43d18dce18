"""``windrow quality``: how good the records of the sources are, for people, spreadsheets, browsers and programs."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from flows.commands import output, validate
from flows.validation.findings import ISSUES
from flows.validation.quality import Day, Quality, quality
from flows.validation.store import ValidationStore

WIDTH: Final = 360  # pixels of the trend
HEIGHT: Final = 60
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1b1b1b}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}"
)


def quality_command(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="One source, with its trend; without it, all of them.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a line for each rule of each source.")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="Print a page for a browser; it loads nothing.")] = False,
) -> None:
    """Shows findings by rule and source, in instances and in records, completeness, and the trend from day to day.

    Undefined fields and subfields are mostly local ones: figures are shown with and without them.
    """
    if as_json + as_csv + as_html > 1:
        output.refuse("choose one of --json, --csv and --html")
    with validate.opened() as database:
        store = ValidationStore(database)
        found = quality(store, validate.known(store, [name] if name else None))
    if as_json:
        output.as_json({"sources": [each.shown() for each in found]})
    elif as_csv:
        typer.echo(_csv(found), nl=False)
    elif as_html:
        typer.echo(_html(found))
    elif not found:
        typer.echo("nothing was validated yet; windrow validate does it")
    else:
        _print(found, detailed=name is not None or len(found) == 1)


def _print(found: Sequence[Quality], *, detailed: bool) -> None:
    rows = [("source", "clean", "in quarantine", "with warnings", "with findings", "without undefined", "complete")]
    rows += [
        (
            each.source,
            f"{each.records:,}",
            f"{each.quarantined:,}",
            f"{each.warned:,}",
            f"{each.with_findings:,}",
            f"{each.without_undefined:,}",
            _score(each.score),
        )
        for each in found
    ]
    output.columns(rows, right=range(1, 7))
    for each in found if detailed else ():
        typer.echo("")
        output.columns(
            [
                ("instances", "records", "severity", "rule"),
                *((f"{r.instances:,}", f"{r.records:,}", r.severity, r.issue) for r in each.rules),
            ],
            right=[0, 1],
        )
        typer.echo("")
        output.columns(
            [
                ("day", "clean", "in quarantine", "with warnings", "complete"),
                *((d.day.isoformat(), f"{d.records:,}", f"{d.quarantined:,}", f"{d.warned:,}", _score(d.score)) for d in each.days),
            ],
            right=range(1, 5),
        )
    if not detailed:
        typer.echo("windrow quality SOURCE shows the rules and the trend")


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"


def _csv(found: Sequence[Quality]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source", "rule", "severity", "instances", "records", "source_records", "source_quarantined", "source_score"))
    for each in found:
        for rule in each.rules:
            figures = (each.records, each.quarantined, "" if each.score is None else each.score)
            writer.writerow((_cell(each.source), rule.issue, rule.severity, rule.instances, rule.records, *figures))
    return text.getvalue()


def _cell(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text


def _html(found: Sequence[Quality]) -> str:
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'><title>Quality of the catalogues</title>", f"<style>{STYLE}</style>"]
    parts.append("<h1>Quality of the catalogues</h1>")
    for each in found:
        parts.append(f"<h2>{html.escape(each.source)}</h2>")
        parts.append(
            f"<p>{each.records:,} clean records, {each.quarantined:,} in quarantine, {each.warned:,} with warnings. "
            f"{each.with_findings:,} records have findings, {each.without_undefined:,} besides undefined fields. "
            f"Completeness {_score(each.score)} of 100.</p>"
        )
        parts.append(_trend(each.days))
        parts.append("<table><tr><th>Rule</th><th>Meaning</th><th>Severity</th><th>Instances</th><th>Records</th></tr>")
        for rule in each.rules:
            meaning = ISSUES[rule.issue].meaning if rule.issue in ISSUES else ""
            parts.append(
                f"<tr><td>{html.escape(rule.issue)}</td><td>{html.escape(meaning)}</td><td>{html.escape(rule.severity)}</td>"
                f"<td class='n'>{rule.instances:,}</td><td class='n'>{rule.records:,}</td></tr>"
            )
        parts.append("</table>")
    return "\n".join([*parts, "</html>"])


def _trend(days: Sequence[Day]) -> str:
    """Records in quarantine, day by day, as a line; nothing for a single day."""
    if len(days) < 2:
        return ""
    top = max(1, *(each.quarantined for each in days))
    points = " ".join(
        f"{at * WIDTH / (len(days) - 1):.1f},{HEIGHT - each.quarantined * (HEIGHT - 4) / top - 2:.1f}" for at, each in enumerate(days)
    )
    said = f"In quarantine from {days[0].day} ({days[0].quarantined:,}) to {days[-1].day} ({days[-1].quarantined:,})"
    return (
        f"<figure><svg width='{WIDTH}' height='{HEIGHT}' role='img' aria-label='{said}'><polyline fill='none' stroke='#a33' "
        f"stroke-width='2' points='{points}'/></svg><figcaption>{said}</figcaption></figure>"
    )
