"""What a run of the harvest did, counted as it happens: for the summary, the exit status and whoever watches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harvester.events import GroupView, Happening, Outcome, PageSaved, PassFinished
from harvester.store import Totals


class Tally:
    """Counts of a run. ``totals`` are of the pages saved in it; a source counts by the outcome of its last pass."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.pages: dict[str, int] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.errors: dict[str, str] = {}
        self._lists: dict[str, tuple[int, int]] = {}

    def take(self, happening: Happening) -> None:
        """Count something that happened."""
        if isinstance(happening, PageSaved):
            self.totals += happening.page
            self.pages[happening.group] = self.pages.get(happening.group, 0) + happening.page.pages
            if happening.size is not None:
                self._lists[happening.source] = (happening.received, happening.size)
        elif isinstance(happening, PassFinished):
            self.outcomes[happening.source] = happening.outcome
            self._lists.pop(happening.source, None)
            if happening.error is not None:
                self.errors[happening.source] = happening.error
            else:
                self.errors.pop(happening.source, None)

    def count(self, *outcomes: Outcome) -> int:
        """How many sources ended like this."""
        return sum(outcome in outcomes for outcome in self.outcomes.values())

    @property
    def failed(self) -> int:
        """Sources whose last pass failed or could not be made."""
        return self.count(Outcome.FAILED, Outcome.BLOCKED)

    @property
    def remaining(self) -> int:
        """Records still to come in the lists under way, as far as the repositories announced how many there are."""
        return sum(max(0, size - received) for received, size in self._lists.values())

    def summary(self, *, sources: int, seconds: float, groups: Iterable[GroupView]) -> dict[str, Any]:
        """The summary object of ``windrow harvest --json``."""
        totals = self.totals
        return {
            "event": "summary",
            "sources": sources,
            "complete": self.count(Outcome.COMPLETE),
            "failed": self.failed,
            "held": self.count(Outcome.HELD),
            "records": totals.records,
            "new": totals.new,
            "changed": totals.changed,
            "unchanged": totals.unchanged,
            "deleted": totals.deleted,
            "failures": totals.failures,
            "pages": totals.pages,
            "seconds": round(seconds, 3),
            "groups": {
                view.name: {"limit": view.limit, "in_flight_max": view.in_flight_max, "pages": self.pages.get(view.name, 0)}
                for view in groups
            },
        }


def pass_event(event: PassFinished) -> dict[str, Any]:
    """The object of ``windrow harvest --json`` for a finished pass."""
    totals = event.totals
    return {
        "event": "pass",
        "source": event.source,
        "group": event.group,
        "outcome": event.outcome.value,
        "records": totals.records,
        "new": totals.new,
        "changed": totals.changed,
        "unchanged": totals.unchanged,
        "deleted": totals.deleted,
        "failures": totals.failures,
        "pages": totals.pages,
        "seconds": round(event.seconds, 3),
        "error": event.error,
    }
