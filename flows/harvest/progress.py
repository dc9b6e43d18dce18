"""What people see of a run in Prefect: how far it is, what became of each source, and what that makes of the run. Pure."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from flows.harvest.tally import Tally
from harvester import durations
from harvester.events import GroupView, Happening, Notice, Outcome, PageSaved, PassFinished
from harvester.schedule import State
from harvester.sources import Configuration
from harvester.store import Totals

RATE_SPAN: Final = 60.0  # seconds over which records per second are measured
NAMED: Final = 10  # failed sources that a message names; the table has all of them
LONGEST_SAID: Final = 300  # characters of what a repository says that are shown
ELSEWHERE: Final = "group.owned-elsewhere"  # action of the notice that another engine has a group
BUSY: Final = (State.READY, State.IN_FLIGHT, State.SAVING, State.PAUSED, State.WAITING)
BAD: Final = (Outcome.FAILED, Outcome.BLOCKED)


class Verdict(StrEnum):
    """How a run ended; the values are names of Prefect states."""

    COMPLETED = "Completed"
    WITH_FAILURES = "CompletedWithFailures"
    FAILED = "Failed"  # too large a share of the sources
    OWNED_ELSEWHERE = "OwnedElsewhere"  # another engine harvests all these groups


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The end of a run: the verdict, and a sentence that names what failed."""

    verdict: Verdict
    message: str


@dataclass(kw_only=True, slots=True)
class SourceLine:
    """What a run did with one source. ``outcome`` is of its last finished pass, None while it has not finished one."""

    group: str
    outcome: Outcome | None = None
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    error: str | None = None


class Progress:
    """An observer that knows how far a run is. ``clock`` gives seconds, from anywhere."""

    def __init__(self, configuration: Configuration, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.configuration = configuration
        self.tally = Tally()
        self.elsewhere: set[str] = set()
        self.lines: dict[str, SourceLine] = {}
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def take(self, happening: Happening) -> None:
        """Something happened."""
        self.tally.take(happening)
        match happening:
            case PageSaved(source=source, group=group, page=page):
                line = self._line(source, group)
                line.totals += page
            case PassFinished(source=source, group=group, outcome=outcome, seconds=seconds, error=error):
                if group not in self.elsewhere:
                    line = self._line(source, group)
                    line.outcome, line.error, line.seconds = outcome, error, line.seconds + seconds
            case Notice(action=action, group=group) if action == ELSEWHERE and group is not None:
                self.elsewhere.add(group)

    @property
    def participants(self) -> int:
        """Enabled sources of the groups that this run harvests."""
        return sum(source.enabled and source.group not in self.elsewhere for source in self.configuration.sources.values())

    @property
    def owned_elsewhere(self) -> bool:
        """Whether another engine has every group of this run."""
        groups = {source.group for source in self.configuration.sources.values()}
        return bool(groups) and groups <= self.elsewhere

    @property
    def failed(self) -> dict[str, str]:
        """The sources whose last pass failed or could not be made, with the reason."""
        return {name: line.error or "" for name, line in sorted(self.lines.items()) if line.outcome in BAD}

    def idle(self, views: Sequence[GroupView]) -> bool:
        """Whether every group that this run has is seated, and none of their sources has anything to do now."""
        seats: dict[str, int] = {}
        for source in self.configuration.sources.values():
            if source.group not in self.elsewhere:
                seats[source.group] = seats.get(source.group, 0) + 1
        states = {view.name: view.states for view in views}
        return all(
            sum(states.get(group, {}).values()) >= count and not any(states[group].get(state, 0) for state in BUSY)
            for group, count in seats.items()
        )

    # ---------------------------------------------------------------- shown

    def percent(self, views: Sequence[GroupView]) -> float:
        """How much is done, 0 to 100: of the records announced by the lists under way, or else of the sources."""
        records, remaining = self.tally.totals.records, self.tally.remaining
        if remaining:
            return round(100.0 * records / (records + remaining), 1)
        busy = sum(view.states.get(state, 0) for view in views for state in BUSY)
        all_of_them = max(1, self.participants)
        return round(100.0 * max(0, all_of_them - busy) / all_of_them, 1)

    def sentence(self) -> str:
        """Records, speed and what is still to come; called every few seconds, it measures the speed."""
        now, totals, remaining = self._clock(), self.tally.totals, self.tally.remaining
        self._samples.append((now, totals.records))
        while len(self._samples) > 2 and self._samples[0][0] < now - RATE_SPAN:
            self._samples.popleft()
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        rate = (after - before) / (last - first) if last > first else 0.0
        said = f"{totals.records:,} records on {totals.pages:,} pages, {rate:,.0f} a second"
        if remaining and rate >= 1:
            said += f"; {remaining:,} to come in about {durations.spoken(float(round(remaining / rate)))}"
        elif remaining:
            said += f"; {remaining:,} to come"
        return f"{said}; {len(self.tally.outcomes):,} of {self.participants:,} sources finished a pass, {len(self.failed):,} failed"

    def table(self) -> list[list[Any]]:
        """A row of names, and one for each source with which something was done; what failed comes first."""
        heads = ["source", "group", "outcome", "records", "new", "changed", "deleted", "failures", "pages", "seconds", "error"]
        listed = sorted(self.lines.items(), key=lambda item: (item[1].outcome not in BAD, item[0]))
        return [heads] + [
            [
                *(name, line.group, line.outcome.value if line.outcome else "under way"),
                *(line.totals.records, line.totals.new, line.totals.changed, line.totals.deleted, line.totals.failures, line.totals.pages),
                *(round(line.seconds, 1), _one_line(line.error or "")),
            ]
            for name, line in listed
        ]

    def markdown(self, judgement: Judgement, views: Sequence[GroupView], seconds: float) -> str:
        """The summary of the run."""
        totals = self.tally.totals
        lines = [
            f"## {judgement.verdict.value}",
            "",
            f"{judgement.message}",
            "",
            f"{totals.records:,} records on {totals.pages:,} pages in {durations.spoken(round(seconds, 1))}: {totals.new:,} new, "
            f"{totals.changed:,} changed, {totals.unchanged:,} unchanged, {totals.deleted:,} deleted, "
            f"{totals.failures:,} could not be read.",
            "",
            "| group | limit | in flight at most | pages | idle | under way | paused | waiting | blocked |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for view in views:
            states = view.states
            if view.name in self.elsewhere:
                lines.append(f"| {view.name} | {view.limit} | harvested by another engine | | | | | | |")
                continue
            under_way = sum(states.get(state, 0) for state in (State.READY, State.IN_FLIGHT, State.SAVING))
            rest = (states.get(state, 0) for state in (State.PAUSED, State.WAITING, State.BLOCKED))
            cells = (view.limit, view.in_flight_max, self.tally.pages.get(view.name, 0), states.get(State.IDLE, 0), under_way, *rest)
            lines.append(f"| {view.name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
        if self.failed:
            lines += ["", "### What failed", ""]
            lines += [f"- **{name}**: `{_one_line(error).replace('`', chr(39))}`" for name, error in self.failed.items()]
        return "\n".join(lines)

    def judge(self, failed_share: float) -> Judgement:
        """What the run comes to. More than ``failed_share`` of the participating sources failed: the run failed."""
        if self.owned_elsewhere:
            names = ", ".join(sorted(self.elsewhere))
            return Judgement(
                verdict=Verdict.OWNED_ELSEWHERE, message=f"Another engine harvests all these groups ({names}); nothing was asked."
            )
        totals, failed = self.tally.totals, self.failed
        said = (
            f"{totals.records:,} records: {totals.new:,} new, {totals.changed:,} changed, {totals.deleted:,} deleted, "
            f"{totals.failures:,} could not be read"
        )
        if not failed:
            return Judgement(verdict=Verdict.COMPLETED, message=f"No source failed. {said}.")
        named = ", ".join(list(failed)[:NAMED]) + (f" and {len(failed) - NAMED:,} more" if len(failed) > NAMED else "")
        too_many = len(failed) > failed_share * self.participants
        return Judgement(
            verdict=Verdict.FAILED if too_many else Verdict.WITH_FAILURES,
            message=f"{len(failed):,} of {self.participants:,} sources failed: {named}. {said}.",
        )

    def _line(self, source: str, group: str) -> SourceLine:
        return self.lines.setdefault(source, SourceLine(group=group))


def _one_line(text: str) -> str:
    """What others wrote, on one line, without control characters."""
    return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))[:LONGEST_SAID]
