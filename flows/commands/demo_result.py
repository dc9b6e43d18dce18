"""What the demonstration showed: both harvests by group, the two libraries that failed, and whatever was not intended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from flows.commands import output
from flows.commands.demo_members import LIMITS, Member
from flows.commands.harvest import Screen
from flows.harvest.run import Run
from flows.harvest.tally import Tally
from harvester.events import GroupView, Happening, Outcome, PageSaved, PassFinished
from harvester.sources import Configuration
from harvester.store import Totals

CHANGED, DELETED, ADDED = 3, 2, 1  # records of each library between the two harvests
MEANINGS: Final = {  # the figures of a group, in the order of the table
    "sources": "sources",
    "complete": "complete",
    "failed": "failed",
    "records": "records",
    "deleted": "of these deleted",
    "unreadable": "unreadable records",
    "pages": "pages",
    "limit": "limit of requests in flight",
    "in_flight_max": "most at once, counted here",
    "in_flight_max_at_server": "most at once, seen by the server",
}


@dataclass(kw_only=True, slots=True)
class Harvest:
    """One of the two harvests: what it did, by group and in all."""

    tally: Tally = field(default_factory=Tally)
    groups: dict[str, Totals] = field(default_factory=lambda: dict.fromkeys(LIMITS, Totals()))
    views: dict[str, GroupView] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    screen: Screen | None = None
    began: float = field(default_factory=time.monotonic)

    def take(self, happening: Happening) -> None:
        """Count it, and show it unless it is one of the many passes that simply succeed."""
        self.tally.take(happening)
        if isinstance(happening, PageSaved):
            self.groups[happening.group] += happening.page
        if self.screen is not None:
            plain = isinstance(happening, PassFinished) and happening.outcome is Outcome.COMPLETE and not happening.totals.failures
            (self.screen.tally if plain else self.screen).take(happening)

    def shown(self, configuration: Configuration, run: Run, said: Console) -> AbstractContextManager[object]:
        """A context in which the run is shown as ``windrow harvest`` shows it."""
        self.screen = Screen(configuration, as_json=False, console=said)
        return self.screen.shown(run)

    def close(self, run: Run, configuration: Configuration, now: float) -> None:
        """The run is over."""
        self.views = {view.name: view for view in (run.engine.views() if run.engine is not None else [])}
        self.summary = self.tally.summary(sources=len(configuration.sources), seconds=now - self.began, groups=self.views.values())


@dataclass(kw_only=True, slots=True)
class Result:
    """What the demonstration showed, and what of it was not intended."""

    listed: Sequence[Member]
    harvests: list[Harvest] = field(default_factory=list)
    servers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """How the last pass of each source ended."""
        return self.harvests[-1].tally.outcomes

    @property
    def failed(self) -> dict[str, str]:
        """The sources that failed at last, with the reason."""
        bad = (Outcome.FAILED, Outcome.BLOCKED)
        return {name: self.harvests[-1].tally.errors[name] for name, outcome in sorted(self.outcomes.items()) if outcome in bad}

    @property
    def surprises(self) -> list[str]:
        """What was not as intended, as sentences."""
        found = []
        meant = {each.name for each in self.listed if each.fails}
        working = [each for each in self.listed if not each.fails]
        found += [f"{name} did not fail" for name in sorted(meant - self.failed.keys())]
        found += [f"{name} failed" for name in sorted(self.failed.keys() - meant)]
        first, second = (harvest.tally.totals for harvest in self.harvests)
        count = len(working)
        for what, got, expected in (
            ("records of the first harvest (new, deleted or unreadable)", first.new + first.deleted + first.failures, _sum(working)),
            ("unreadable records", first.failures, sum(each.unreadable for each in working)),
            ("changed records", second.changed, CHANGED * count),
            ("deleted records", second.deleted, DELETED * count),
            ("new records", second.new, ADDED * count),
        ):
            if got != expected:
                found.append(f"{what}: {got:,} instead of {expected:,}")
        for group, limit in LIMITS.items():
            if (most := max(self._in_flight(group))) > limit:
                found.append(f"group {group} had {most} requests in flight under a limit of {limit}")
        return found

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            "event": "demo",
            "as_intended": not self.surprises,
            "surprises": self.surprises,
            "seconds": round(self.seconds, 3),
            "failed": [{"source": name, "error": error} for name, error in self.failed.items()],
            "groups": {group: self._row(group) for group in LIMITS},
            "harvests": [harvest.summary for harvest in self.harvests],
        }

    def show(self, said: Console) -> None:
        """The table, the two that failed, and what to do next."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Both harvests together")
        rows = {group: self._row(group) for group in LIMITS}
        for group in rows:
            table.add_column(group, justify="right")
        for key, meaning in MEANINGS.items():
            table.add_row(meaning, *(f"{row[key]:,}" for row in rows.values()))
        said.print()
        said.print(table)
        said.print()
        reasons = {each.name: each.fails for each in self.listed}
        for name, error in self.failed.items():
            meant = f" (as intended: {reasons[name]})" if reasons[name] else ""
            said.print(f"[red]{name}[/red] failed{meant}: {output.one_line(error)}", highlight=False)
        said.print(f"\nIt took {self.seconds:.0f} s; the servers are stopped.", highlight=False)
        for surprise in self.surprises:
            said.print(f"[red]This was not intended:[/red] {surprise}", highlight=False)
        said.print("To harvest libraries of your own: [bold]windrow sources add URL[/bold], then [bold]windrow harvest[/bold].")

    def _in_flight(self, group: str) -> tuple[int, int]:
        """The most requests at one moment: as the harvester counted, and as the servers did."""
        ours = [harvest.views[group].in_flight_max for harvest in self.harvests if group in harvest.views]
        return max(ours, default=0), int(self.servers.get(group, {}).get("in_flight_max", 0))

    def _row(self, group: str) -> dict[str, int]:
        outcomes = [self.outcomes.get(each.name) for each in self.listed if each.group == group]
        totals = sum((harvest.groups[group] for harvest in self.harvests), start=Totals())
        ours, theirs = self._in_flight(group)
        return {
            "sources": len(outcomes),
            "complete": outcomes.count(Outcome.COMPLETE),
            "failed": outcomes.count(Outcome.FAILED) + outcomes.count(Outcome.BLOCKED),
            "records": totals.records,
            "deleted": totals.deleted,
            "unreadable": totals.failures,
            "pages": totals.pages,
            "limit": LIMITS[group],
            "in_flight_max": ours,
            "in_flight_max_at_server": theirs,
        }


def _sum(listed: Sequence[Member]) -> int:
    return sum(each.records for each in listed)
