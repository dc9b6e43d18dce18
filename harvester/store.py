"""Where harvested records go: the verbs that the engine needs, and a store in memory.

One ``Commit`` is one transaction: the page's records, the course after it, the counters and the pause. Killed before
it, the same page is asked again; killed after it, the next one. Deletions of a window take effect when the window is
complete, all together, unless they are so many that an operator has to look (``politeness.hold_deletions``).

``MemoryStore`` is the twin of the PostgreSQL store (``flows.harvest.store``); both pass the same tests. Simulations and
unit tests use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from harvester.course import Gap, Memory, Window, WindowKind
from harvester.errors import OwnershipLost
from harvester.oai import Damage, Record
from harvester.passes import REPAIRS, Step
from harvester.politeness import Hold, Pressure, hold_deletions
from harvester.sources import Source

MISSING: Final = 1000  # records that a sweep found and the store lacks: so many are fetched one by one, more by a full pass


@dataclass(frozen=True, kw_only=True, slots=True)
class PassEnd:
    """The end of a pass: ``error`` None is success. ``full`` and ``swept`` say what it may be counted as.

    ``announced`` is the completeListSize of a full pass, for comparison with what is stored after it.
    """

    error: str | None
    due_at: float
    failures_in_a_row: int
    full: bool
    swept: bool
    warnings: tuple[str, ...] = ()
    announced: int | None = None

    def warning(self, *, live: int, known: int) -> str | None:
        """What an operator should know although the pass succeeded: as one text, None when there is nothing."""
        said = list(self.warnings)
        # Some repositories count their tombstones, some do not.
        if self.announced is not None and self.error is None and self.announced not in (live, known):
            said.append(
                f"drift: the repository announced {self.announced:,} records, {live:,} are stored, and {known - live:,} deleted ones"
            )
        return "; ".join(said) or None


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """All that one answer changes. ``epoch`` is that of the memory it is based on; moments are seconds since the epoch."""

    source: Source
    step: Step
    pass_id: str
    at: float
    epoch: int = 0
    verb: str = ""
    token: str | None = None
    size: int = 0
    seconds: float = 0.0
    since_pause: int = 0
    paused_until: float | None = None
    waiting_until: float | None = None
    attempt: int = 0
    blocked: str | None = None
    started: datetime | None = None
    end: PassEnd | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Counts of a page, a window or a pass. A record is new, changed, unchanged or deleted; failures are not records."""

    records: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    failures: int = 0
    pages: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            records=self.records + other.records,
            new=self.new + other.new,
            changed=self.changed + other.changed,
            unchanged=self.unchanged + other.unchanged,
            deleted=self.deleted + other.deleted,
            failures=self.failures + other.failures,
            pages=self.pages + other.pages,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """What a commit did. ``hold`` is set when deletions of this window wait for an operator.

    ``missing`` are identifiers that a sweep saw and the store lacks; ``lost`` means that the side table of what was seen
    was emptied meanwhile (an unlogged table after a crash), so nothing may be concluded from it. ``totals`` are of the
    whole pass so far. ``live`` records are not deleted, ``known`` are all. ``memory`` comes with the end of a pass: what
    is known of the source then, gaps in its history and a full pass that became due included.
    """

    page: Totals = field(default_factory=Totals)
    totals: Totals = field(default_factory=Totals)
    hold: Hold | None = None
    missing: tuple[str, ...] = ()
    lost: bool = False
    live: int = 0
    known: int = 0
    memory: Memory | None = None


class Store(Protocol):
    """What the engine needs of a store. Every verb may raise ``StoreUnavailable``; it is then called again."""

    async def claim(self, group: str) -> bool:
        """Become the only engine that harvests this group; False when another one does. Held until ``release``."""
        ...

    async def release(self, group: str) -> None:
        """Give the group up."""
        ...

    async def recall(self, sources: Sequence[Source]) -> Mapping[str, Memory]:
        """What is known of these sources, which this engine owns from now on.

        A source whose identity has changed (url, prefix, sets) begins from nothing; its records stay.
        """
        ...

    async def forget(self, names: Sequence[str]) -> None:
        """Note that these sources are no longer configured. Their records stay."""
        ...

    async def commit(self, commit: Commit) -> Committed:
        """Save all of it, or nothing. Raises ``OwnershipLost`` when another engine, or a command, changed the course."""
        ...

    async def epochs(self) -> Mapping[str, int]:
        """The epoch of every source that this engine owns."""
        ...

    async def switches(self) -> Mapping[str, str]:
        """Scopes that operators paused (``all``, ``group:NAME``, ``source:NAME``), with their reasons."""
        ...

    async def pressure(self, source: Source) -> Pressure:
        """How far autovacuum is behind on the partition of this source."""
        ...


@dataclass(kw_only=True, slots=True)
class Held:
    """One record in memory."""

    record: Record
    revision: int


class MemoryStore:
    """A store without a database: the same rules, on dictionaries."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Held]] = {}
        self.failures: dict[str, dict[str, Damage]] = {}
        self.memories: dict[str, Memory] = {}
        self.pending: dict[str, dict[str, Record | None]] = {}
        self.held: dict[str, set[str]] = {}
        self.paused: dict[str, str] = {}
        self.vacuum = Pressure(dead=0, trigger=1, running=False)
        self._identities: dict[str, str] = {}
        self._seen: dict[str, tuple[str, set[str]]] = {}
        self._noted: dict[str, dict[str, str]] = {}  # pending deletions: the pass that noted them
        self._ledger: dict[int, tuple[str, Window, str, int]] = {}
        self._runs: dict[tuple[str, int], int] = {}
        self._totals: dict[str, Totals] = {}
        self._revision = 0

    async def claim(self, group: str) -> bool:
        """Nobody else can see this memory."""
        return bool(group)

    async def release(self, group: str) -> None:
        """Nothing is held."""

    async def recall(self, sources: Sequence[Source]) -> Mapping[str, Memory]:
        """See ``Store``."""
        for source in sources:
            if self._identities.get(source.name) != source.identity:
                former = self.memories.get(source.name)
                self._identities[source.name] = source.identity
                self.memories[source.name] = reborn(former) if former is not None else Memory()
                held = self.held.get(source.name, set())
                pending = self.pending.get(source.name, {})
                self.pending[source.name] = {identifier: record for identifier, record in pending.items() if identifier in held}
        return {source.name: replace(self.memories[source.name], gaps=self._gaps(source.name)) for source in sources}

    async def forget(self, names: Sequence[str]) -> None:
        """Records stay; so does the memory, for when the source comes back."""

    async def commit(self, commit: Commit) -> Committed:
        """See ``Store``."""
        name, step = commit.source.name, commit.step
        memory = self.memories[name]
        if memory.epoch != commit.epoch:
            raise OwnershipLost(f"the course of {name} was changed from outside")
        page = self._save(commit)
        hold = None
        missing: tuple[str, ...] = ()
        if step.compare:
            missing = self._compare(commit)
            if len(missing) > MISSING:
                missing, self.memories[name] = (), replace(memory, full_due=True)
        if step.end is not None and step.end.state == "complete":
            deleted, hold = self._delete(commit)
            page = replace(page, deleted=page.deleted + deleted)
        self._note(commit)
        self._totals[commit.pass_id] = self._totals.get(commit.pass_id, Totals()) + page
        live = sum(not held.record.deleted for held in self.records.get(name, {}).values())
        self.memories[name] = after(self.memories[name], commit, live=live)
        return Committed(
            page=page,
            totals=self._totals[commit.pass_id],
            hold=hold,
            missing=missing,
            live=live,
            known=len(self.records[name]),
            memory=replace(self.memories[name], gaps=self._gaps(name)) if commit.end is not None else None,
        )

    async def epochs(self) -> Mapping[str, int]:
        """See ``Store``."""
        return {name: memory.epoch for name, memory in self.memories.items()}

    async def switches(self) -> Mapping[str, str]:
        """See ``Store``."""
        return dict(self.paused)

    async def pressure(self, source: Source) -> Pressure:
        """What the test says."""
        return self.vacuum

    def _save(self, commit: Commit) -> Totals:
        name, step = commit.source.name, commit.step
        known = self.records.setdefault(name, {})
        pending = self.pending.setdefault(name, {})
        failures = self.failures.setdefault(name, {})
        noted = self._noted.setdefault(name, {})
        held = self.held.setdefault(name, set())
        new = changed = deleted = waiting = 0
        if step.note_seen:
            seen = self._seen_by(commit)
            seen.update(record.identifier for record in step.records if not record.deleted)
            seen.update(damage.identifier for damage in step.damaged if damage.identifier)
        for identifier, record in {record.identifier: record for record in step.records}.items():  # of duplicates the last one counts
            if not record.deleted:
                pending.pop(identifier, None)
                held.discard(identifier)
                if step.bare:
                    continue
            failures.pop(identifier, None)
            old = known.get(identifier)
            if record.deleted and old is not None and not old.record.deleted:
                waiting += not (identifier in held or (identifier in pending and noted.get(identifier) == commit.pass_id))
                pending[identifier], noted[identifier] = record, commit.pass_id
                continue
            if old is not None and old.record.deleted == record.deleted and (record.deleted or old.record.digest == record.digest):
                continue
            new, changed, deleted = new + (old is None and not record.deleted), changed + (old is not None), deleted + record.deleted
            self._put(name, record)
        for damage in step.damaged:
            failures[damage.identifier or f"unidentified:{damage.snippet}"] = damage
        return Totals(
            records=0 if step.bare else len(step.records),
            new=new,
            changed=changed,
            unchanged=0 if step.bare else len(step.records) - new - changed - deleted - waiting,
            deleted=deleted,
            failures=len(step.damaged),
            pages=int(commit.verb not in ("", "Identify")),
        )

    def _seen_by(self, commit: Commit) -> set[str]:
        """What this pass has seen so far."""
        owner, seen = self._seen.get(commit.source.name, ("", set()))
        if owner != commit.pass_id:
            seen = set()
            self._seen[commit.source.name] = (commit.pass_id, seen)
        return seen

    def _put(self, name: str, record: Record) -> None:
        self._revision += 1
        self.records[name][record.identifier] = Held(record=record, revision=self._revision)

    def _compare(self, commit: Commit) -> tuple[str, ...]:
        name, window = commit.source.name, commit.step.window
        seen = self._seen_by(commit)
        known = self.records[name]
        for identifier, held in known.items():
            if not held.record.deleted and identifier not in seen and commit.source.deletions.value != "tombstones":
                self.pending[name].setdefault(identifier, None)
        if window is None or window.kind is not WindowKind.SWEEP:
            return ()
        return tuple(sorted(identifier for identifier in seen if identifier not in known or known[identifier].record.deleted))

    def _delete(self, commit: Commit) -> tuple[int, Hold | None]:
        source = commit.source
        held = self.held.setdefault(source.name, set())
        pending = {identifier: record for identifier, record in self.pending[source.name].items() if identifier not in held}
        live = sum(not each.record.deleted for each in self.records[source.name].values())
        hold = hold_deletions(len(pending), live, share=source.delete_hold_share, minimum=source.delete_hold_minimum)
        if hold is not None:
            held.update(pending)
            return 0, hold
        for identifier, tombstone in pending.items():
            old = self.records[source.name][identifier].record
            stamp = tombstone.datestamp if tombstone is not None else old.datestamp
            self._put(source.name, replace(old, deleted=True, datestamp=stamp))
            del self.pending[source.name][identifier]
        return len(pending), None

    def _note(self, commit: Commit) -> None:
        window, end = commit.step.window, commit.step.end
        if window is None:
            return
        key = (commit.pass_id, window.number)
        run = self._runs.setdefault(key, len(self._runs) + 1)
        state = end.state if end is not None else "running"
        if state == "failed" and window.attempts >= REPAIRS:
            state = "gap"
        until = window.until or commit.started
        self._ledger[run] = (commit.source.name, replace(window, until=until), state, window.attempts)
        if state == "complete" and window.kind is not WindowKind.SWEEP:
            for other, (name, old, was, attempts) in self._ledger.items():
                covered = window.since is None or (old.since is not None and old.since >= window.since)
                if name == commit.source.name and was in ("failed", "gap") and covered and old.until and until and old.until <= until:
                    self._ledger[other] = (name, old, "replaced", attempts)
        if end is not None and end.settles is not None:
            name, old, _, attempts = self._ledger[end.settles]
            self._ledger[end.settles] = (name, old, "replaced", attempts)

    def _gaps(self, name: str) -> tuple[Gap, ...]:
        watermark = self.memories[name].watermark
        return tuple(
            Gap(run=run, since=window.since, until=window.until, attempts=attempts)
            for run, (owner, window, state, attempts) in self._ledger.items()
            if owner == name and state == "failed" and watermark is not None and window.until is not None and window.until <= watermark
        )


def reborn(memory: Memory) -> Memory:
    """The memory of a source that became another list of records: its records and its pause stay, all else begins anew."""
    return Memory(
        since_pause=memory.since_pause,
        paused_until=memory.paused_until,
        last_success=memory.last_success,
        live=memory.live,
        epoch=memory.epoch + 1,
    )


def after(memory: Memory, commit: Commit, *, live: int) -> Memory:
    """The memory of a source after a commit, the same in every store."""
    step, end = commit.step, commit.end
    memory = replace(
        memory,
        course=step.course,
        watermark=step.watermark or memory.watermark,
        since_pause=commit.since_pause,
        paused_until=commit.paused_until,
        waiting_until=commit.waiting_until,
        attempt=commit.attempt,
        blocked=commit.blocked,
        live=live,
    )
    if end is None:
        return memory
    succeeded = end.error is None
    return replace(
        memory,
        due_at=end.due_at,
        failures_in_a_row=end.failures_in_a_row,
        error=end.error,
        last_success=commit.at if succeeded else memory.last_success,
        last_full=commit.at if succeeded and end.full else memory.last_full,
        last_sweep=commit.at if succeeded and end.swept else memory.last_sweep,
        full_due=memory.full_due and not (succeeded and end.full),
    )
