"""A run of the validation station: notice, look at, decide, feed, and count.

::

    notice ─► what waits, by source ─► survey ─► gate ─┬─ open, warn ─► shards ─► batches ─► clean records
                                                       └─ hold ─► waits for windrow quarantine approve

    Exception
    └── WorkerLost      a worker process was killed; what was finished is kept

Batches are worked by this process, or by several that take shards from the same table; so do runs on other machines.
Operators' pauses take hold between two batches. A run that is stopped loses nothing: its cursors are in the database.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import Any, Final

from db.engine import connect
from flows.validation.findings import Severity
from flows.validation.gate import survey
from flows.validation.judge import Judge, warned
from flows.validation.policies import Policies
from flows.validation.quality import keep_day
from flows.validation.store import Batch, Database, ValidationStore
from flows.validation.tokens import Tokeniser
from harvester.secrets import OUTSIDE_PREFECT, Resolvers

SHARDS: Final = 8  # of a source with many changes
SMALL: Final = 2_000  # changes: up to so many, one shard is enough
ROUNDS: Final = 3  # what an interrupted run left is finished first; what waits behind it comes in the next round
STINT: Final = 2.0  # seconds that a worker works before it tells how far it is


@dataclass(kw_only=True, slots=True)
class Tally:
    """What a run, or a part of it, did. A payload with several instances counts once as read, and each instance as what became of it."""

    read: int = 0
    valid: int = 0
    warned: int = 0
    """Of the valid ones, those with warnings."""
    quarantined: int = 0
    deleted: int = 0
    written: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    scrubbed: Counter[str] = field(default_factory=Counter)
    sources: set[str] = field(default_factory=set)
    held: list[str] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)
    """What the gate warns of, by source."""
    seconds: float = 0.0

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.read += batch.read
        self.deleted += batch.deleted
        self.written += batch.written
        self.sources.add(batch.source)
        for each in batch.judged:
            self.valid += each.passes
            self.warned += warned(each)
            self.quarantined += not each.passes
            self.findings.update(finding.key for finding in each.findings)
            self.scrubbed.update(each.dropped)

    def join(self, other: Tally) -> None:
        """Count what another worker did."""
        for name in ("read", "valid", "warned", "quarantined", "deleted", "written"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.findings.update(other.findings)
        self.scrubbed.update(other.scrubbed)
        self.sources |= other.sources

    def summary(self) -> dict[str, Any]:
        """The last line of ``windrow validate --json``."""
        return {
            "event": "summary",
            "read": self.read,
            "valid": self.valid,
            "warned": self.warned,
            "quarantined": self.quarantined,
            "deleted": self.deleted,
            "held_sources": sorted(self.held),
            "findings": dict(sorted(self.findings.items())),
            "scrubbed": dict(sorted(self.scrubbed.items())),
            "seconds": round(self.seconds, 3),
        }


Progress = Callable[[Tally], None]


class WorkerLost(Exception):
    """A worker process was killed from outside, by a lack of memory for instance."""


def silent(_: Tally) -> None:
    """No progress."""


class Judges:
    """The judges of all sources, each made when it is needed first."""

    def __init__(self, policies: Policies, secret: str | None = None) -> None:
        self.policies = policies
        self._tokeniser = Tokeniser.read(secret) if secret else None
        self._judges: dict[tuple[str, str | None], Judge] = {}

    def __call__(self, source: str, group: str | None) -> Judge:
        """The judge of a source."""
        judge = self._judges.get((source, group))
        if judge is None:
            judge = self._judges[source, group] = Judge(source, self.policies.for_source(source, group), self._tokeniser)
        return judge


@dataclass(kw_only=True, slots=True)
class Station:
    """A run that can be watched and stopped between two batches (``stop``, from any thread)."""

    database: Database
    policies: Policies
    secret: str | None = None
    """The key of the tokens, resolved."""
    workers: int = 1
    progress: Progress = silent
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End the run after the batches that are under way."""
        self._stopped.set()

    def run(self, sources: Sequence[str] | None = None, *, everything: bool = False) -> Tally:
        """Validate what changed since the last run, or everything again. Raises the errors of ``db.errors``, KeyRefused."""
        began = time.monotonic()
        store, tally = ValidationStore(self.database), Tally()
        judges = Judges(self.policies, self.secret)
        store.notice()
        if everything:
            store.again(sources)
        for _ in range(ROUNDS):
            self._admit(store, judges, tally, sources)
            if self.workers > 1:
                self._work_together(tally, sources)
            else:
                while work_for(store, judges, sources, tally, stopped=self._stopped.is_set):
                    self.progress(tally)
            store.settle()
            if self._stopped.is_set() or not store.waiting(sources):
                break
        for source in sorted(tally.sources):
            keep_day(store, source)
        tally.held = [each.source for each in store.held(sources)]
        tally.seconds = time.monotonic() - began
        self.progress(tally)
        return tally

    def _admit(self, store: ValidationStore, judges: Judges, tally: Tally, sources: Sequence[str] | None) -> None:
        """Let sources in whose changes look as they should, and those that an operator approved."""
        for waiting in store.waiting(sources):
            if self._stopped.is_set():
                return
            judge = judges(waiting.source, waiting.group)
            if not waiting.approved:
                found = survey(store, waiting, judge, self.policies.for_source(waiting.source, waiting.group).gate)
                pass_on = found.decision.gate != "hold"
                store.decide(waiting.source, found.decision, found.figures, pass_on=pass_on)
                if found.decision.reason:
                    tally.warnings[waiting.source] = found.decision.reason
                if not pass_on:
                    continue
            store.feed(waiting, shards=1 if waiting.count <= SMALL else SHARDS, rules=judge.version)

    def _work_together(self, tally: Tally, sources: Sequence[str] | None) -> None:
        """Several processes, each asked for one stint after the other."""
        url = self.database.url.render_as_string(hide_password=False)
        names = None if sources is None else list(sources)
        privacy = replace(self.policies.privacy, patterns=dict(self.policies.privacy.patterns))  # a read-only view cannot be sent
        policies = replace(self.policies, privacy=privacy)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=self.workers, mp_context=context, initializer=leave_interrupts_to_the_parent) as pool:
            running: set[Future[tuple[Tally, bool]]] = {pool.submit(stint, url, policies, self.secret, names) for _ in range(self.workers)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    try:
                        part, more = each.result()
                    except BrokenProcessPool:
                        raise WorkerLost("a worker process was killed; what was finished is kept, run windrow validate again") from None
                    tally.join(part)
                    if more and not self._stopped.is_set():
                        running.add(pool.submit(stint, url, policies, self.secret, names))
                self.progress(tally)


def work_for(
    store: ValidationStore,
    judges: Judges,
    sources: Sequence[str] | None,
    tally: Tally,
    *,
    seconds: float = STINT,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Batches for some seconds; True when there may be more."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if stopped():
            return False
        batch = store.batch(judges, sources)
        if batch is None:
            return False
        tally.add(batch)
    return True


def leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of a terminal; only the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_at_work: dict[str, tuple[ValidationStore, Judges]] = {}  # of a worker process: its connection and its judges


def stint(url: str, policies: Policies, secret: str | None, sources: Sequence[str] | None) -> tuple[Tally, bool]:
    """What a worker process does when it is asked: batches for some seconds. What it did, and whether there may be more."""
    if url not in _at_work:
        _at_work[url] = ValidationStore(connect(url, pool_size=2, application_name="windrow-validate")), Judges(policies, secret)
    store, judges = _at_work[url]
    tally = Tally()
    return tally, work_for(store, judges, sources, tally)


# ------------------------------------------------------------------- dry run


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFailure:
    """A record that passes now and would not under another policy."""

    source: str
    identifier: str
    findings: tuple[tuple[str, str, str], ...]
    """Key, path and message of the errors that are new."""


def try_policies(
    store: ValidationStore, now: Policies, then: Policies, sources: Sequence[str] | None, told: Callable[[NewFailure], None]
) -> Tally:
    """Judge everything that is stored by another policy, and tell what would newly fail. Nothing is written."""
    began, tally = time.monotonic(), Tally()
    judges, others = Judges(now), Judges(then)
    for source, group in store.sources(sources):
        former, latter = judges(source, group), others(source, group)
        for raw in store.stored(source):
            tally.read += 1
            passing = {name: not _errors(findings) for name, findings in former.findings(raw)}
            for name, findings in latter.findings(raw):
                wrong = _errors(findings)
                tally.valid += not wrong
                tally.quarantined += bool(wrong)
                tally.warned += not wrong and any(each.severity is Severity.WARNING for each in findings)
                tally.findings.update(each.key for each in findings)
                if wrong and passing.get(name, True):
                    told(NewFailure(source=source, identifier=name, findings=tuple((e.key, e.path, e.message) for e in wrong)))
    tally.held = [each.source for each in store.held(sources)]
    tally.seconds = time.monotonic() - began
    return tally


def _errors(findings: Iterable[Any]) -> list[Any]:
    return [each for each in findings if each.severity is Severity.ERROR]


def secret_of(policies: Policies, resolvers: Resolvers = OUTSIDE_PREFECT) -> str | None:
    """The key of the tokens; None when there is none to read. Raises SecretError when it cannot be read."""
    rules = policies.privacy
    return rules.key.resolve(resolvers) if rules.key is not None and rules.tokens == "tokenise" else None
