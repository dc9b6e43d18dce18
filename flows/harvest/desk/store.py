"""The desk in PostgreSQL: what operators look at, and the few things they change.

Every change is one transaction. Those that concern the course of a source raise its epoch, which fences off pages that
an engine fetched before (see ``flows.harvest.statements.MOVE_ON``); killed before its commit, a command has changed
nothing. A change and a page of a running engine may lock the same rows in another order; PostgreSQL then ends one of
the two, and either is simply done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from db import switches
from db.errors import Busy, translated
from db.switches import Alarm, Switch
from flows.harvest.desk import statements
from flows.harvest.desk.coverage import Coverage, Drift, LedgerWindow, gaps, join
from flows.harvest.desk.standing import Owner, Stored
from flows.harvest.store import PostgresStore, apply_deletions, driver
from harvester.course import load

T = TypeVar("T")
TRIES: Final = 5  # of a change that meets a page of a running engine
BATCH: Final = 500  # rows fetched at a time: two megabytes of usual payloads


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A stored record. ``digest`` is hexadecimal; ``payload`` None unless it was asked for, and for deleted records."""

    identifier: str
    datestamp: str
    deleted: bool
    digest: str | None
    revision: int
    payload: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A record that could not be read, as of its last attempt."""

    identifier: str
    at: datetime
    place: str
    reason: str
    snippet: str
    attempts: int
    run: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Deletions of a source that wait for an operator, of ``live`` records; by how they were noticed."""

    source: str
    group: str
    live: int
    deletions: int
    tombstones: int
    unseen: int
    vanished: int
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A held deletion. ``datestamp`` is that of the tombstone; None where the record merely is not there any more."""

    identifier: str
    datestamp: str | None
    reason: str


class Desk:
    """Reads and changes what ``flows.harvest.store`` has stored. All methods raise the errors of ``db.errors``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --------------------------------------------------------------- looking

    def sources(self, names: Sequence[str] | None = None) -> dict[str, Stored]:
        """What is stored of these sources, or of all; those never harvested are missing."""
        with self._transaction() as (_, cursor):
            cursor.execute(statements.SOURCES, {"names": list(names) if names is not None else None})
            return {row[0]: stored(row) for row in cursor}

    def owners(self, groups: Sequence[str]) -> dict[str, Owner]:
        """The engines that are alive, by group."""
        with self._transaction() as (_, cursor):
            cursor.execute(statements.OWNERS, {"groups": list(groups)})
            return {name: Owner(name=owner, since=since) for name, owner, since in cursor}

    def switches(self) -> dict[str, Switch]:
        """What operators have paused, by scope."""
        return switches.paused(self._engine)

    def alarms(self) -> list[Alarm]:
        """What needs a person now."""
        return switches.open_alarms(self._engine)

    def records(
        self,
        source: str,
        *,
        deleted: bool | None = None,
        since_revision: int | None = None,
        limit: int | None = None,
        payload: bool = False,
    ) -> Iterator[Row]:
        """The records of a source, through a cursor on the server: memory stays flat.

        By identifier; above ``since_revision``, by revision. ``deleted`` None: live ones and tombstones.
        """
        statement = statements.RECORDS if since_revision is None else statements.CHANGED
        values = {"source": source, "deleted": deleted, "since": since_revision, "limit": limit, "payload": payload}
        for row in self._stream(statement, values):
            yield record(row)

    def record(self, source: str, identifier: str) -> Row | None:
        """One record without its payload."""
        with self._transaction() as (_, cursor):
            row = cursor.execute(statements.RECORD, {"source": source, "identifier": identifier}).fetchone()
        return record(row) if row is not None else None

    def failures(self, source: str) -> Iterator[Failure]:
        """Records that could not be read, oldest first."""
        for identifier, at, place, reason, snippet, attempts, run in self._stream(statements.FAILURES, {"source": source}):
            yield Failure(identifier=identifier, at=at, place=place, reason=reason, snippet=snippet, attempts=attempts, run=run)

    def coverage(self, known: Stored) -> Coverage:
        """What the ledger covers of a source."""
        with self._transaction() as (_, cursor):
            cursor.execute(statements.WINDOWS, {"source": known.name})
            windows = [
                LedgerWindow(
                    run=run,
                    kind=kind,
                    since=since,
                    until=until,
                    state="complete" if state == "held" else state,
                    attempts=attempts,
                    records=records,
                    error=error,
                    started_at=started,
                    finished_at=finished,
                )
                for run, kind, since, until, state, attempts, records, error, started, finished in cursor
            ]
            announced = cursor.execute(statements.ANNOUNCED, {"source": known.name}).fetchone()
        drift = None
        if announced is not None:
            drift = Drift(announced=int(announced[0]), stored=known.live + known.deleted, at=announced[1])
        by_days = "hh" not in str((known.repository or {}).get("granularity", "hh")).lower()
        unit = timedelta(days=1) if by_days else timedelta(seconds=1)
        return Coverage(source=known.name, watermark=known.watermark, covered=join(windows, unit=unit), gaps=gaps(windows), drift=drift)

    # -------------------------------------------------------------- changing

    def pause(self, scope: str, reason: str, by: str) -> bool:
        """Pause a scope; False where it already was. Raises ``db.switches.ScopeError``."""
        return switches.pause(self._engine, scope, reason, by)

    def resume(self, scope: str) -> bool:
        """End the pause of exactly this scope; False where there was none."""
        return switches.resume(self._engine, scope)

    def unblock(self, source: str) -> str | None:
        """Let a blocked source be asked again at once; why it was blocked, None where it was not."""

        def change(connection: Connection, cursor: psycopg.Cursor[Any]) -> str | None:
            row = cursor.execute(statements.UNBLOCK, {"source": source}).fetchone()
            switches.clear_alarm(connection, "source.blocked", f"source:{source}")
            return str(row[0]) if row is not None else None

        return self._change(change)

    def rewind(self, source: str, watermark: datetime) -> bool:
        """Let the next pass begin at ``watermark``, at once; an unfinished pass is dropped. False for an unknown source."""
        return self._set_course(source, watermark, "dropped: the source was rewound")

    def reset(self, source: str) -> bool:
        """Let the next pass be a full one, at once; records stay. False for an unknown source."""
        return self._set_course(source, None, "dropped: the source was reset")

    def _set_course(self, source: str, watermark: datetime | None, why: str) -> bool:
        def change(_: Connection, cursor: psycopg.Cursor[Any]) -> bool:
            cursor.execute(statements.DROP_WINDOWS, {"source": source, "why": why})
            return cursor.execute(statements.SET_COURSE, {"source": source, "watermark": watermark}).fetchone() is not None

        return self._change(change)

    # ------------------------------------------------------------- deletions

    def held(self, source: str | None = None) -> list[Held]:
        """Deletions that wait for an operator, of one source or of all."""
        with self._transaction() as (_, cursor):
            cursor.execute(statements.HELD, {"source": source})
            return [
                Held(source=name, group=group, live=live, deletions=count, tombstones=told, unseen=unseen, vanished=vanished, since=since)
                for name, group, live, count, told, unseen, vanished, since in cursor
            ]

    def examples(self, source: str, limit: int) -> list[Example]:
        """Some of the held deletions."""
        with self._transaction() as (_, cursor):
            cursor.execute(statements.EXAMPLES, {"source": source, "limit": limit})
            return [Example(identifier=identifier, datestamp=datestamp, reason=reason) for identifier, datestamp, reason in cursor]

    def approve(self, source: str, decision: str) -> int:
        """Mark the records of the held deletions as deleted; how many. ``decision`` is noted with the alarm it closes.

        The source's row is locked all the while; with the counters, the deletions and the alarm it is one transaction.
        """

        def change(connection: Connection, cursor: psycopg.Cursor[Any]) -> int:
            cursor.execute(statements.LOCK, {"source": source})
            row = cursor.execute(statements.HELD_BY, {"source": source}).fetchone()
            run = int(row[0]) if row is not None and row[0] is not None else None
            count = 0
            if run is not None:
                count = apply_deletions(cursor, source, run, held=True)
                cursor.execute(statements.DELETED, {"source": source, "count": count})
                cursor.execute(statements.COUNT_IN_RUN, {"run": run, "count": count})
            close_alarm(connection, source, decision, decided=run is not None)
            return count

        return self._change(change)

    def refuse(self, source: str, decision: str) -> int:
        """Drop the held deletions, so that their records stay; how many. ``decision`` is noted with the alarm it closes."""

        def change(connection: Connection, cursor: psycopg.Cursor[Any]) -> int:
            cursor.execute(statements.LOCK, {"source": source})
            count = cursor.execute(statements.DROP_HELD, {"source": source}).rowcount
            close_alarm(connection, source, decision, decided=count > 0)
            return count

        return self._change(change)

    # ------------------------------------------------------------- mechanics

    def keeper(self) -> PostgresStore:
        """The store of the harvest on the same database, for who takes the place of an engine for a moment."""
        return PostgresStore(self._engine)

    @contextmanager
    def _transaction(self) -> Iterator[tuple[Connection, psycopg.Cursor[Any]]]:
        with translated(), self._engine.begin() as connection, driver(connection).cursor() as cursor:
            yield connection, cursor

    def _change(self, work: Callable[[Connection, psycopg.Cursor[Any]], T]) -> T:
        """One transaction, again when it met a page of a running engine."""
        for _ in range(TRIES - 1):
            try:
                with self._transaction() as (connection, cursor):
                    return work(connection, cursor)
            except Busy:
                continue
        with self._transaction() as (connection, cursor):
            return work(connection, cursor)

    def _stream(self, statement: str, values: Mapping[str, object]) -> Iterator[Sequence[Any]]:
        with translated(), self._engine.begin() as connection, driver(connection).cursor(name="windrow_desk") as cursor:
            cursor.itersize = BATCH
            cursor.execute(statement, values, binary=True)
            yield from cursor


def close_alarm(connection: Connection, source: str, decision: str, *, decided: bool) -> None:
    """Close the alarm of held deletions; its history keeps who decided what and why."""
    scope = f"source:{source}"
    if decided:
        switches.raise_alarm(connection, "delete.held", scope, decision)
    switches.clear_alarm(connection, "delete.held", scope)


def stored(row: Sequence[Any]) -> Stored:
    """A row of ``statements.SOURCES``."""
    course = load(row[5])
    between = course is not None and course.closed  # what a folder remembers of its files is no unfinished pass
    return Stored(
        name=row[0],
        group=row[1],
        removed=row[2],
        repository=row[3],
        watermark=row[4],
        course=None if between else course,
        unfinished=row[5] is not None and not between,
        full_due=row[6],
        due_at=row[7],
        since_pause=row[8],
        paused_until=row[9],
        waiting_until=row[10],
        attempt=row[11],
        blocked=row[12],
        failures_in_a_row=row[13],
        error=row[14],
        warning=row[15],
        last_success=row[16],
        last_full=row[17],
        live=row[18],
        deleted=row[19],
        failures=row[20],
        held=row[21],
    )


def record(row: Sequence[Any]) -> Row:
    """A row of ``statements.RECORDS``, ``CHANGED`` or ``RECORD``."""
    identifier, datestamp, deleted, digest, revision, payload = row
    return Row(identifier=identifier, datestamp=datestamp, deleted=deleted, digest=digest, revision=revision, payload=payload)
