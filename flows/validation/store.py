"""The validation station in PostgreSQL: what waits, batches under a lease, quarantine, figures, purges.

A batch is one transaction: the lease of its shard, the raw records, findings, clean records, quarantine and the cursor. Killed
before the commit, the batch is done again by whoever leases the shard next; killed after it, the next batch follows. What
comes out the same as it is stored is not written, so doing it again leaves no trace.

A lease is the lock of a row of ``catalog.station_cursor``: it ends with the transaction, and a dead worker's with its
connection. The order per record holds because a record is in one shard, and a shard in one transaction at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from db.errors import Busy, translated
from db.switches import clear_alarm, raise_alarm
from flows.catalog.model import sound_text
from flows.validation import statements
from flows.validation.decisions import Gate, GateDecision, RunFigures
from flows.validation.findings import Finding, Severity
from flows.validation.judge import Judge, Judged, Raw, entombed

Database: TypeAlias = Engine  # what db.engine.connect gives, for modules that only pass it on
T = TypeVar("T")
BATCH: Final = 500  # records in a transaction
BATCH_BYTES: Final = 32 * 2**20  # payloads in a transaction: a batch of huge records is a small one
FETCH: Final = 50  # rows at a time
LOOK_BACK: Final = 100_000  # revisions below the last one in which a slow transaction may still turn up
TRIES: Final = 5  # of a change that met a batch
FAILED_GATE: Final = "validation.held"  # kind of alarm
NUL: Final = "\x00"


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Changes of a source that wait."""

    source: str
    group: str | None
    approved: bool
    since: int
    upto: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldSource:
    """A source that an operator is to look at."""

    source: str
    waiting: int
    reason: str
    since: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A record in quarantine. ``digest`` None: it cannot be read, and cannot be released."""

    source: str
    identifier: str
    origin: str
    reason: str
    errors: int
    digest: str | None
    entered_at: datetime
    released_at: datetime | None
    released_by: str | None
    released_because: str | None


@dataclass(kw_only=True, slots=True)
class Batch:
    """What a transaction did."""

    source: str
    read: int = 0
    judged: list[Judged] = field(default_factory=list)
    deleted: int = 0
    written: int = 0


JudgeOf: TypeAlias = Callable[[str, str | None], Judge]
"""The judge of a source, by name and group."""


class ValidationStore:
    """Everything the station does in the database. All methods raise the errors of ``db.errors``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -------------------------------------------------------------- noticing

    def notice(self) -> int:
        """Look at what changed since the last look and let it wait, source by source; how many records."""

        def work(_: Connection, cursor: psycopg.Cursor[Any]) -> int:
            cursor.execute(statements.OPEN_HORIZON)
            cursor.execute(statements.SETTLE)
            revision, horizon = cursor.execute(statements.HORIZON).fetchone() or (0, None)
            # Before the look: what is finished only after this is looked at again next time, and found to be the same.
            now = (cursor.execute(statements.NOW).fetchone() or (None,))[0]
            after = revision if horizon is None else max(0, revision - LOOK_BACK)
            changes = cursor.execute(statements.CHANGES, {"after": after, "revision": revision, "horizon": horizon}).fetchall()
            for source, count, low, high in changes:
                cursor.execute(statements.WAIT, {"source": source, "since": low - 1, "upto": high, "count": count})
            top = max([revision, *(high for *_, high in changes)])
            cursor.execute(statements.MOVE_HORIZON, {"revision": top, "horizon": now})
            return sum(count for _, count, _, _ in changes)

        return self._change(work)

    def again(self, sources: Sequence[str] | None = None) -> int:
        """Let everything that is stored wait again; how many records."""

        def work(_: Connection, cursor: psycopg.Cursor[Any]) -> int:
            rows = cursor.execute(statements.ALL_AGAIN, {"sources": listed(sources)}).fetchall()
            for source, count, since, upto in rows:
                cursor.execute(statements.WAIT, {"source": source, "since": since, "upto": upto, "count": count})
            return sum(count for _, count, _, _ in rows)

        return self._change(work)

    def settle(self) -> None:
        """Call sources idle whose shards are done."""
        self._change(lambda _, cursor: cursor.execute(statements.SETTLE).rowcount)

    def waiting(self, sources: Sequence[str] | None = None) -> list[Waiting]:
        """Sources whose changes wait and that nobody has paused or holds."""
        rows = self.rows(statements.WAITING, {"sources": listed(sources)})
        return [
            Waiting(source=source, group=group, approved=state == "approved", since=since, upto=upto, count=count)
            for source, state, since, upto, count, group in rows
        ]

    def held(self, sources: Sequence[str] | None = None) -> list[HeldSource]:
        """Sources that the gate holds."""
        rows = self.rows(statements.HELD, {"sources": listed(sources)})
        return [HeldSource(source=source, waiting=count, reason=reason or "", since=since) for source, count, reason, since in rows]

    # ------------------------------------------------------------------ gate

    def gone(self, waiting: Waiting) -> tuple[int, int]:
        """Live clean records of a source, and how many of them the waiting changes delete. Counted only if any are."""
        values = {"source": waiting.source, "since": waiting.since, "upto": waiting.upto}
        gone = int(self.rows(statements.GONE, values)[0][0])
        return (int(self.rows(statements.FORMER, values)[0][0]) if gone else 0), gone

    def sample(self, waiting: Waiting, step: int) -> Iterator[Raw]:
        """Live records that wait: every ``step``-th, always the same ones."""
        values = {"source": waiting.source, "since": waiting.since, "upto": waiting.upto, "step": step}
        return self._stream(statements.SAMPLE, values)

    def decide(self, source: str, decision: GateDecision, figures: RunFigures, *, pass_on: bool) -> None:
        """Keep a decision of the gate; a held source raises an alarm, which an approval closes."""
        values = {
            "source": source,
            "state": "pending" if pass_on else "held",
            "gate": decision.gate.value,
            "reason": decision.reason,
            "figures": Jsonb({"former": figures.former, "gone": figures.gone, "checked": figures.checked, "failed": figures.failed}),
        }

        def work(connection: Connection, cursor: psycopg.Cursor[Any]) -> None:
            cursor.execute(statements.DECIDE, values)
            scope = f"source:{source}"
            if decision.gate is Gate.HOLD:
                raise_alarm(connection, FAILED_GATE, scope, f"{decision.reason}; windrow quarantine approve {source} lets it pass")
            elif decision.gate is Gate.WARN:
                raise_alarm(connection, "validation.warned", scope, decision.reason)
            else:
                clear_alarm(connection, "validation.warned", scope)

        self._change(work)

    def approve(self, source: str, *, by: str, reason: str) -> int | None:
        """Let a held source pass with the next run; how many changes wait, None when it is not held."""

        def work(connection: Connection, cursor: psycopg.Cursor[Any]) -> int | None:
            row = cursor.execute(statements.APPROVE, {"source": source, "by": by, "reason": reason}).fetchone()
            if row is None:
                return None
            scope = f"source:{source}"
            raise_alarm(connection, FAILED_GATE, scope, f"approved by {by}" + (f": {reason}" if reason else ""))
            clear_alarm(connection, FAILED_GATE, scope)
            return int(row[0])

        return self._change(work)

    def feed(self, waiting: Waiting, *, shards: int, rules: str) -> None:
        """Give what waits to the workers."""
        values = {"source": waiting.source, "shards": shards, "rules": rules}
        self._change(lambda _, cursor: cursor.execute(statements.FEED, values).rowcount)

    # --------------------------------------------------------------- batches

    def batch(self, judge_of: JudgeOf, sources: Sequence[str] | None = None) -> Batch | None:
        """One batch of whatever shard is free; None when none is (done, leased by others, or paused by an operator)."""

        def work(connection: Connection, cursor: psycopg.Cursor[Any]) -> Batch | None:
            cursor.execute(statements.NO_WAIT)
            row = cursor.execute(statements.LEASE, {"sources": listed(sources)}).fetchone()
            if row is None:
                return None
            source, shard, shards, revision, upto, group = row
            place = {"source": source, "shard": shard}
            values = {**place, "shards": shards, "revision": revision, "upto": upto, "limit": BATCH}
            raws = list(bounded(stream(connection, statements.RAW, values)))
            batch = self._work(cursor, judge_of(source, group), raws)
            if raws:
                cursor.execute(statements.MOVE, {**place, "revision": raws[-1].revision})
            else:
                cursor.execute(statements.DONE, place)
            return batch

        return self._change(work)

    def redo(self, judge: Judge, origins: Sequence[str]) -> Batch:
        """Judge these stored records again now, in one transaction; those that are not stored are passed over."""

        def work(_: Connection, cursor: psycopg.Cursor[Any]) -> Batch:
            return self._redo(cursor, judge, origins)

        return self._change(work)

    def _redo(self, cursor: psycopg.Cursor[Any], judge: Judge, origins: Sequence[str]) -> Batch:
        cursor.execute(statements.LOCK_SHARDS, {"source": judge.source})
        cursor.execute(statements.ONE, {"source": judge.source, "origins": list(origins)}, binary=True)
        return self._work(cursor, judge, [raw(row) for row in cursor.fetchall()])

    def _work(self, cursor: psycopg.Cursor[Any], judge: Judge, raws: Sequence[Raw]) -> Batch:
        """Judge raw records and store what comes of them, in the transaction of the cursor."""
        batch = Batch(source=judge.source, read=len(raws))
        if not raws:
            return batch
        gone = [each.identifier for each in raws if each.deleted]
        live = [each for each in raws if not each.deleted]
        batch.deleted = len(gone)
        for each in live:
            batch.judged += judge.judge(each)
        origins = [each.identifier for each in raws]
        scope = {"source": judge.source, "origins": origins}
        released = dict(cursor.execute(statements.RELEASED, scope).fetchall())
        passing = [each for each in batch.judged if each.passes or (each.digest and released.get(each.identifier) == each.digest)]
        batch.written = self._save(cursor, judge, batch, passing, gone, {each.identifier: each for each in raws})
        self._findings(cursor, judge.source, origins, batch.judged)
        self._quarantine(cursor, judge, origins, [each for each in batch.judged if not each.passes])
        return batch

    @staticmethod
    def _save(
        cursor: psycopg.Cursor[Any],
        judge: Judge,
        batch: Batch,
        passing: Sequence[Judged],
        gone: Sequence[str],
        raws: Mapping[str, Raw],
    ) -> int:
        """Clean records that differ from what is stored, and deletions; how many rows were written."""
        alive = [identifier for identifier, each in raws.items() if not each.deleted]
        cursor.execute(statements.KNOWN, {"source": judge.source, "gone": list(gone), "live": alive})
        known = {row[0]: row for row in cursor.fetchall()}
        rows: list[tuple[Any, ...]] = []
        for each in passing:
            old = known.get(each.identifier)
            if each.record is not None and (old is None or old[2] or old[3] != each.digest):
                number = None if each.record.control_number is None else sound_text(each.record.control_number).replace(NUL, "\ufffd")
                content = (each.content or b"").decode()
                rows.append((each.identifier, each.origin, number, False, content, each.digest, each.score, each.revision))
        # What the payload no longer holds is gone as well, unless the payload could not be read.
        present = {each.identifier for each in batch.judged}
        unsure = {each.origin for each in batch.judged if each.record is None}
        for identifier, origin, deleted, _, former in known.values():
            if deleted or identifier in present or (origin in unsure and not raws[origin].deleted):
                continue
            if former is None:
                row = cursor.execute(statements.CONTENT, {"source": judge.source, "identifier": identifier}).fetchone()
                former = str(row[0]) if row and row[0] is not None else None
            buried, digest = entombed(former) if former is not None else (None, None)
            rows.append((identifier, origin, None, True, buried, digest, None, raws[origin].revision))
        if rows:
            given = [list(column) for column in zip(*rows, strict=True)]
            names = ("identifiers", "origins", "control_numbers", "deletions", "contents", "digests", "scores", "harvested")
            cursor.execute(statements.SAVE, {"source": judge.source, "rules": judge.version, **dict(zip(names, given, strict=True))})
        return len(rows)

    @staticmethod
    def _findings(cursor: psycopg.Cursor[Any], source: str, origins: Sequence[str], judged: Sequence[Judged]) -> None:
        """Replace the findings of those records whose findings are others now."""
        stored: dict[str, dict[str, list[tuple[str, ...]]]] = {}
        for identifier, origin, *rest in cursor.execute(statements.FINDINGS, {"source": source, "origins": list(origins)}):
            stored.setdefault(origin, {}).setdefault(identifier, []).append(tuple(rest))
        found: dict[str, dict[str, list[tuple[str, ...]]]] = {}
        for each in judged:
            if each.findings:
                found.setdefault(each.origin, {})[each.identifier] = [columns(finding) for finding in each.findings]
        changed = [origin for origin in origins if stored.get(origin) != found.get(origin)]
        if old := [origin for origin in changed if origin in stored]:
            cursor.execute(statements.FORGET_FINDINGS, {"source": source, "origins": old})
        if any(origin in found for origin in changed):
            with cursor.copy(statements.COPY_FINDINGS) as copy:
                for origin in changed:
                    for identifier, rows in found.get(origin, {}).items():
                        for position, row in enumerate(rows):
                            copy.write_row((source, identifier, position, origin, *row))

    @staticmethod
    def _quarantine(cursor: psycopg.Cursor[Any], judge: Judge, origins: Sequence[str], failed: Sequence[Judged]) -> None:
        """Enter those that fail; those that do not fail any more leave by themselves."""
        there = {
            row[0]: tuple(row[2:]) for row in cursor.execute(statements.QUARANTINED, {"source": judge.source, "origins": list(origins)})
        }
        entering = [each for each in failed if there.get(each.identifier) != (each.digest, each.verdict.reason, len(each.verdict.errors))]
        if leaving := sorted(there.keys() - {each.identifier for each in failed}):
            cursor.execute(statements.LEAVE, {"source": judge.source, "identifiers": leaving})
        if entering:
            cursor.execute(
                statements.ENTER,
                {
                    "source": judge.source,
                    "rules": judge.version,
                    "identifiers": [each.identifier for each in entering],
                    "origins": [each.origin for each in entering],
                    "reasons": [each.verdict.reason for each in entering],
                    "errors": [len(each.verdict.errors) for each in entering],
                    "digests": [each.digest for each in entering],
                    "harvested": [each.revision for each in entering],
                },
            )

    # ------------------------------------------------------------ quarantine

    def quarantined(
        self, source: str | None = None, identifier: str | None = None, *, released: bool = False, limit: int | None = None
    ) -> list[Quarantined]:
        """What is in quarantine; with ``released``, also what an operator let pass."""
        values = {"source": source, "identifier": identifier, "released": released, "limit": limit}
        return [
            Quarantined(
                source=row[0],
                identifier=row[1],
                origin=row[2],
                reason=row[3],
                errors=row[4],
                digest=row[5],
                entered_at=row[6],
                released_at=row[7],
                released_by=row[8],
                released_because=row[9],
            )
            for row in self.rows(statements.LIST_QUARANTINE, values)
        ]

    def counts(self) -> dict[str, int]:
        """Records in quarantine by source."""
        return dict(self.rows(statements.COUNT_QUARANTINE, {}))

    def findings(self, source: str, identifier: str) -> list[Finding]:
        """The findings on a record, with shapes of values."""
        return [
            Finding(category=row[0], code=row[1], severity=Severity(row[2]), path=row[3], message=row[4], value=row[5], link=row[6])
            for row in self.rows(statements.FINDINGS_OF, {"source": source, "identifier": identifier})
        ]

    def release(self, judge: Judge, identifiers: Sequence[str], *, by: str, reason: str) -> list[str]:
        """Let records pass in spite of their errors, as long as they stay as they are; which ones were released."""

        def work(_: Connection, cursor: psycopg.Cursor[Any]) -> list[str]:
            values = {"source": judge.source, "identifiers": list(identifiers), "by": by, "reason": reason}
            rows = cursor.execute(statements.RELEASE, values).fetchall()
            self._redo(cursor, judge, sorted({origin for _, origin in rows}))
            return sorted(identifier for identifier, _ in rows)

        return self._change(work)

    def raw(self, source: str, origins: Sequence[str]) -> list[Raw]:
        """Records as harvested."""
        return [raw(row) for row in self.rows(statements.ONE, {"source": source, "origins": list(origins)})]

    # --------------------------------------------------------------- the rest

    def known_sources(self) -> dict[str, str | None]:
        """Sources that were harvested, or from which something came otherwise, and their groups."""
        return dict(self.rows(statements.GROUPS, {}))

    def sources(self, names: Sequence[str] | None = None) -> list[tuple[str, str | None]]:
        """Sources with stored records, and their groups."""
        return sorted((name, group) for name, group in self.known_sources().items() if names is None or name in names)

    def stored(self, source: str) -> Iterator[Raw]:
        """All live records of a source, through a cursor on the server."""
        return self._stream(statements.STORED, {"source": source})

    def save_day(self, source: str, figures: Mapping[str, Any]) -> None:
        """Keep the figures of today."""
        values = {**figures, "source": source, "findings": Jsonb(figures["findings"])}
        self._change(lambda _, cursor: cursor.execute(statements.SAVE_DAY, values).rowcount)

    def purge(self, source: str, identifier: str, *, by: str, reason: str) -> dict[str, int]:
        """Remove a record and everything that came of it; rows by table, empty when nothing was there.

        The purge itself is kept, without any content. A source that still offers the record brings it back with its next
        change or full pass.
        """

        def work(_: Connection, cursor: psycopg.Cursor[Any]) -> dict[str, int]:
            scope = {"source": source, "identifier": identifier}
            cursor.execute(statements.LOCK_SHARDS, {"source": source})
            row = cursor.execute(statements.PURGE_LIVE, scope).fetchone()
            places = {table: cursor.execute(statement, scope).rowcount for table, statement in statements.PURGE_HARVEST.items()}
            places["catalog.bib"] = cursor.execute(statements.PURGE_BIB, scope).rowcount
            places = {table: count for table, count in sorted(places.items()) if count}
            if row is not None:
                cursor.execute(statements.PURGE_COUNT, {"source": source, "live": int(not row[0]), "dead": int(row[0])})
            if places:
                cursor.execute(statements.PURGED, {**scope, "reason": reason, "by": by, "places": Jsonb(places)})
            return places

        return self._change(work)

    # ------------------------------------------------------------- mechanics

    def rows(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """All rows of a statement of this station."""
        with translated(), self._engine.begin() as connection, driver(connection).cursor(binary=True) as cursor:
            return cursor.execute(statement, values).fetchall()

    def _stream(self, statement: str, values: Mapping[str, object]) -> Iterator[Raw]:
        with translated(), self._engine.begin() as connection:
            yield from stream(connection, statement, values)

    def _change(self, work: Callable[[Connection, psycopg.Cursor[Any]], T]) -> T:
        """One transaction, again when it met another one."""
        for attempt in range(TRIES):
            try:
                with translated(), self._engine.begin() as connection, driver(connection).cursor() as cursor:
                    return work(connection, cursor)
            except Busy:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError("the loop returns or raises")


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection under an SQLAlchemy connection."""
    found = connection.connection.driver_connection
    if not isinstance(found, psycopg.Connection):
        raise TypeError(f"psycopg is the only driver, not {type(found).__name__}")
    return found


def stream(connection: Connection, statement: str, values: Mapping[str, object]) -> Iterator[Raw]:
    """Raw records through a cursor on the server: memory stays flat."""
    with driver(connection).cursor(name="windrow_validation") as cursor:
        cursor.itersize = FETCH
        cursor.execute(statement, values, binary=True)
        for row in cursor:
            yield raw(row)


def bounded(raws: Iterator[Raw]) -> Iterator[Raw]:
    """As many as a transaction may hold in memory; at least one."""
    size = 0
    for each in raws:
        yield each
        size += len(each.payload or b"")
        if size >= BATCH_BYTES:
            return


def raw(row: Sequence[Any]) -> Raw:
    """A row of the statements that read ``harvest.record``."""
    identifier, datestamp, deleted, form, payload, revision = row
    content = None if payload is None else bytes(payload)
    return Raw(identifier=identifier, datestamp=datestamp, deleted=deleted, format=form, payload=content, revision=revision)


def columns(finding: Finding) -> tuple[str, ...]:
    """A finding as it is stored."""
    values = (
        finding.category,
        finding.code,
        finding.severity.value,
        finding.path,
        finding.message,
        finding.value,
        finding.link,
    )
    return tuple(value.replace(NUL, "\ufffd") for value in values)


def listed(names: Sequence[str] | None) -> list[str] | None:
    """Names as a parameter; None for all."""
    return None if names is None else list(names)
