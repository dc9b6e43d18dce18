"""The harvest store in PostgreSQL: one answer of a repository, one transaction.

A commit does, in this order: look up what is known of the page's records (unchanged ones are not written at all, so
they leave no dead tuple); count the window in the ledger; COPY what is new or changed into a staging table and merge it;
note deletions, failures and what was seen; decide about deletions when a window is complete; and move the source on.
The last statement is fenced by owner and epoch: an engine that lost its group, or whose course a command changed,
changes nothing at all.

Commit points and the crashes they cover. A page: killed before it, the page is asked again; killed after it, the next
one is asked. Pages commit without waiting for the disk (``synchronous_commit = off``): a crash of the server itself may
take the last of them back, records and course together; an engine that lives on learns it from the mark of the source's
row (``updated_at``), goes back to what is stored, and they are asked again. The end of a window waits for the
disk, and with it everything before, so that a watermark never runs ahead of the records.

Everything runs in threads on a synchronous engine: COPY and libpq release the interpreter while they wait.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar

import anyio.to_thread
import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from db import switches
from db.errors import Busy, DatabaseError, OutOfSpace, Unreachable, translated
from flows.harvest import statements
from harvester.course import Gap, Memory, WindowKind, dump, load
from harvester.errors import OwnershipLost, StoreUnavailable
from harvester.oai import Record
from harvester.passes import REPAIRS, Closed
from harvester.politeness import Hold, Pressure, hold_deletions
from harvester.sources import Source
from harvester.store import MISSING, Commit, Committed, Totals

T = TypeVar("T")
Database: TypeAlias = Engine  # what db.engine.connect gives, for modules that only pass it on
LETTING_GO: Final = 10  # tenths of a second that a lost connection's locks may take to go
PAGES_KEPT: Final = "7 days"  # of harvest.page: long enough to see what happened at the weekend
STAGE_COLUMNS: Final = ["text", "text", "bool", "text[]", "bytea", "bytea"]
WAIT_FOR: Final = (Unreachable, Busy, OutOfSpace)  # the database may answer later; everything else is a mistake


class PostgresStore:
    """``harvester.store.Store`` on an engine of ``db.engine.connect``.

    One connection, the anchor, holds the advisory locks of the owned groups; when it is lost, so are they, and ``claim``
    has to be asked again. Another engine that claimed meanwhile has written its name into the sources, which fences
    this one off.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._anchor: Connection | None = None
        self._groups: set[str] = set()
        self._lost: set[str] = set()  # groups whose lock went with an anchor
        self._marks: dict[str, datetime] = {}  # of the rows of sources, as this store left or found them
        self._anchoring = threading.RLock()  # verbs of several groups come from several threads, and there is one anchor
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    # ------------------------------------------------------------- ownership

    async def claim(self, group: str) -> bool:
        """See ``Store``."""
        return await self._run(lambda: self._claim(group))

    async def release(self, group: str) -> None:
        """See ``Store``."""
        await self._run(lambda: self._release(group))

    async def recall(self, sources: Sequence[Source]) -> Mapping[str, Memory]:
        """See ``Store``."""
        return await self._run(lambda: self._recall(sources))

    async def forget(self, names: Sequence[str]) -> None:
        """See ``Store``."""

        def work() -> None:
            with self._transaction() as (_, cursor):
                cursor.execute(statements.FORGET, {"names": list(names)})

        await self._run(work)

    async def epochs(self) -> Mapping[str, int]:
        """See ``Store``. Asked on the anchor, so that its loss is noticed."""

        def work() -> dict[str, int]:
            with translated():
                rows = driver(self._anchored()).execute(statements.EPOCHS, {"owner": self.owner}).fetchall()
            return {str(name): int(epoch) for name, epoch in rows}

        return await self._run(work)

    async def switches(self) -> Mapping[str, str]:
        """See ``Store``."""
        return await self._run(lambda: {scope: switch.reason for scope, switch in switches.paused(self._engine).items()})

    async def pressure(self, source: Source) -> Pressure:
        """See ``Store``."""

        def work() -> Pressure:
            with self._transaction() as (_, cursor):
                row = cursor.execute(statements.PRESSURE, {"source": source.name}).fetchone()
            return (
                Pressure(dead=int(row[0]), trigger=int(row[1]), running=bool(row[2])) if row else Pressure(dead=0, trigger=1, running=False)
            )

        return await self._run(work)

    async def commit(self, commit: Commit) -> Committed:
        """See ``Store``."""
        return await self._run(lambda: self._commit(commit))

    async def close(self) -> None:
        """Give back the anchor, and with it all groups."""
        await self._run(self._let_go)

    # ------------------------------------------------------------- mechanics

    async def _run(self, work: Callable[[], T]) -> T:
        """Work in a thread; a database that does not answer now becomes ``StoreUnavailable``."""

        def guarded() -> T:
            try:
                return work()
            except WAIT_FOR as error:
                if isinstance(error, Unreachable):
                    self._let_go()
                raise StoreUnavailable(str(error)) from error

        return await anyio.to_thread.run_sync(guarded)

    @contextmanager
    def _transaction(self) -> Iterator[tuple[Connection, psycopg.Cursor[Any]]]:
        with translated(), self._engine.connect() as connection, driver(connection).cursor() as cursor:
            if "staged" not in connection.info:  # once a connection, in a transaction of its own: what follows may be rolled back
                cursor.execute(statements.STAGE)
                driver(connection).commit()
                connection.info["staged"] = True
            with connection.begin():
                yield connection, cursor

    def _anchored(self) -> Connection:
        with self._anchoring:
            if self._anchor is None:
                self._anchor = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            return self._anchor

    def _let_go(self) -> None:
        with self._anchoring:
            anchor, self._anchor = self._anchor, None
            self._lost |= self._groups
            self._groups.clear()
        if anchor is not None:
            try:
                anchor.invalidate()
                anchor.close()
            except DatabaseError:
                return  # it was lost already, which is why it is let go

    def _claim(self, group: str) -> bool:
        with self._anchoring, translated():
            connection = driver(self._anchored())
            if group in self._groups:
                connection.execute("SELECT 1")
                return True
            # A backend that was ended tells so before it has let its locks go; they may be our own of a moment ago.
            for attempt in range(LETTING_GO if group in self._lost else 1):
                if attempt:
                    time.sleep(0.1)
                row = connection.execute(statements.CLAIM, {"group": group}).fetchone()
                if row is not None and row[0]:
                    self._groups.add(group)
                    self._lost.discard(group)
                    return True
            self._lost.discard(group)
            return False

    def _release(self, group: str) -> None:
        with self._anchoring:
            if group in self._groups and self._anchor is not None:
                with translated():
                    driver(self._anchor).execute(statements.RELEASE, {"group": group, "owner": self.owner})
                self._groups.discard(group)

    def _recall(self, sources: Sequence[Source]) -> dict[str, Memory]:
        rows = [{"name": s.name, "group_name": s.group, "identity": s.identity, "configuration": s.shown()} for s in sources]
        names = [source.name for source in sources]
        with self._transaction() as (_, cursor):
            cursor.execute(statements.DROP_FOREIGN, {"sources": Jsonb(rows)})
            cursor.execute(statements.REGISTER, {"sources": Jsonb(rows), "owner": self.owner})
            found = memories(cursor, names)
            marks = dict(cursor.execute(statements.MARKS, {"names": names}).fetchall())
        self._marks.update(marks)
        return found

    # ---------------------------------------------------------------- commit

    def _commit(self, commit: Commit) -> Committed:
        step = commit.step
        with self._transaction() as (connection, cursor):
            if step.end is None and commit.end is None:
                cursor.execute(statements.NO_WAIT)
            changes = self._sort_out(cursor, commit)
            run = self._count(cursor, commit, changes)
            if changes.rows:
                self._merge(connection, cursor, commit, changes.rows, run)
            self._note(cursor, commit, changes, run)
            live_change, deleted_change = changes.live, changes.tombstones
            missing: tuple[str, ...] = ()
            hold: Hold | None = None
            lost, gone = False, 0
            if step.compare:
                missing, lost = self._compare(cursor, commit, run)
            if step.end is not None and step.end.state == "complete":
                gone, hold = self._delete(connection, cursor, commit, run, live_change)
                live_change, deleted_change = live_change - gone, deleted_change + gone
                changes.page = Totals(**{**fields(changes.page), "deleted": changes.page.deleted + gone})
            if step.end is not None:
                self._close_window(cursor, commit, run, gone)
            live, known, mark = self._move_on(connection, cursor, commit, live_change, deleted_change)
            over = commit.end is not None or isinstance(step.then, Closed)
            row = cursor.execute(statements.TOTALS, {"pass_id": commit.pass_id}).fetchone() if over else None
            totals = sums(row) if row is not None else Totals()
            told = memories(cursor, [commit.source.name])[commit.source.name] if commit.end is not None else None
        self._marks[commit.source.name] = mark  # only now: until the transaction is over, the row is as it was
        return Committed(page=changes.page, totals=totals, hold=hold, missing=missing, lost=lost, live=live, known=known, memory=told)

    @staticmethod
    def _sort_out(cursor: psycopg.Cursor[Any], commit: Commit) -> Changes:
        """What of the page is new, changed, unchanged or to be deleted; of records that come twice the last one counts."""
        step = commit.step
        headers = {record.identifier: record for record in step.records}
        records = {identifier: record for identifier, record in headers.items() if record.deleted or not step.bare}
        known: dict[str, tuple[bytes | None, bool]] = {}
        if records:
            cursor.execute(statements.KNOWN, {"source": commit.source.name, "identifiers": list(records)}, binary=True)
            known = {identifier: (digest, deleted) for identifier, digest, deleted in cursor}
        changes = Changes(incoming=records, alive=[identifier for identifier, record in headers.items() if not record.deleted])
        new = changed = tombstones = restored = 0
        for identifier, record in records.items():
            old = known.get(identifier)
            if old is None:
                new, tombstones = new + (not record.deleted), tombstones + record.deleted
            elif record.deleted and not old[1]:
                changes.gone.append(record)
                continue
            elif old[1] == record.deleted and (record.deleted or old[0] == record.digest):
                continue
            else:
                changed, restored = changed + 1, restored + old[1]
            changes.rows.append(record)
        count = 0 if step.bare else len(step.records)
        waiting = len(changes.gone)
        if changes.gone:
            gone = [record.identifier for record in changes.gone]
            cursor.execute(statements.COUNTED_BEFORE, {"source": commit.source.name, "pass_id": commit.pass_id, "identifiers": gone})
            row = cursor.fetchone()
            waiting -= int(row[0]) if row else 0
        changes.live, changes.tombstones = new + restored, tombstones - restored
        changes.page = Totals(
            records=count,
            new=new,
            changed=changed,
            unchanged=0 if step.bare else count - new - changed - tombstones - waiting,
            deleted=tombstones,
            failures=len(step.damaged),
            pages=int(commit.verb not in ("", "Identify")),
        )
        return changes

    @staticmethod
    def _count(cursor: psycopg.Cursor[Any], commit: Commit, changes: Changes) -> int:
        """Count the page in the ledger's row of its window; the row's id, 0 for what belongs to no window."""
        window, page = commit.step.window, changes.page
        if window is None:
            return 0
        course = commit.step.course
        row = cursor.execute(
            statements.COUNT,
            {
                **fields(page),
                "source": commit.source.name,
                "pass_id": commit.pass_id,
                "number": window.number,
                "kind": window.kind.value,
                "since": window.since,
                "until": window.until or commit.started,
                "attempts": window.attempts,
                "outside": commit.step.outside,
                "bytes": commit.size,
                "seconds": commit.seconds,
                "size": course.windows[0].size if course is not None and course.windows else window.size,
            },
        ).fetchone()
        run = int(row[0]) if row else 0
        if page.pages:
            cursor.execute(
                statements.PAGE,
                {
                    **fields(page),
                    "run": run,
                    "source": commit.source.name,
                    "verb": commit.verb,
                    "bytes": commit.size,
                    "milliseconds": commit.seconds * 1000.0,
                    "token": commit.token,
                },
            )
        return run

    @staticmethod
    def _merge(connection: Connection, cursor: psycopg.Cursor[Any], commit: Commit, rows: Sequence[Record], run: int) -> None:
        """COPY into the connection's staging table, then one INSERT ... ON CONFLICT DO UPDATE where something differs."""
        with cursor.copy(statements.COPY) as copy:
            copy.set_types(STAGE_COLUMNS)
            for record in rows:
                copy.write_row((record.identifier, record.datestamp, record.deleted, list(record.sets), record.payload, record.digest))
        cursor.execute(statements.MERGE, {"source": commit.source.name, "format": commit.source.metadata_prefix, "run": run})

    @staticmethod
    def _note(cursor: psycopg.Cursor[Any], commit: Commit, changes: Changes, run: int) -> None:
        """Deletions that wait for the end of the window, failures, and what was seen."""
        step, name = commit.step, commit.source.name
        if changes.incoming or changes.alive:
            cursor.execute(statements.SETTLED, {"source": name, "live": changes.alive, "all": list(changes.incoming)})
        if changes.gone:
            cursor.execute(
                statements.GONE,
                {
                    "source": name,
                    "identifiers": [record.identifier for record in changes.gone],
                    "datestamps": [record.datestamp for record in changes.gone],
                    "run": run,
                },
            )
        for damage in step.damaged:
            values = {"place": damage.place, "reason": damage.reason, "snippet": damage.snippet}
            values = {key: value.replace("\0", "\ufffd") for key, value in values.items()}
            cursor.execute(statements.FAILED, {"source": name, "identifier": damage.identifier, "run": run, "verb": commit.verb, **values})
        if step.note_seen:
            seen = [record.identifier for record in step.records if not record.deleted]
            seen += [damage.identifier for damage in step.damaged if damage.identifier]
            if seen:
                cursor.execute(statements.SEEN, {"source": name, "identifiers": seen})

    @staticmethod
    def _compare(cursor: psycopg.Cursor[Any], commit: Commit, run: int) -> tuple[tuple[str, ...], bool]:
        """Records that were not seen become deletions; records that were seen and are not here are missing."""
        name, window = commit.source.name, commit.step.window
        row = cursor.execute(statements.SEEN_ALL, {"source": name}).fetchone()
        if row is None or not row[0]:
            return (), True
        sweep = window is not None and window.kind is WindowKind.SWEEP
        cursor.execute(statements.UNSEEN, {"source": name, "reason": "vanished" if sweep else "unseen", "run": run})
        if not sweep:
            return (), False
        missing = [str(identifier) for (identifier,) in cursor.execute(statements.MISSING, {"source": name, "limit": MISSING + 1})]
        if len(missing) > MISSING:
            cursor.execute(statements.FULL_DUE, {"source": name})
            return (), False
        return tuple(missing), False

    @staticmethod
    def _delete(connection: Connection, cursor: psycopg.Cursor[Any], commit: Commit, run: int, come: int) -> tuple[int, Hold | None]:
        """The window is complete: its deletions happen, or are held for an operator. ``come``: live records of this page."""
        source = commit.source
        row = cursor.execute(statements.WAITING, {"source": source.name}).fetchone()
        count, live = (int(row[0]), int(row[1]) + come) if row else (0, 0)
        if not count:
            return 0, None
        hold = hold_deletions(count, live, share=source.delete_hold_share, minimum=source.delete_hold_minimum)
        if hold is not None:
            cursor.execute(statements.HOLD, {"source": source.name})
            switches.raise_alarm(connection, "delete.held", f"source:{source.name}", hold.reason)
            return 0, hold
        return apply_deletions(cursor, source.name, run, held=False), None

    @staticmethod
    def _close_window(cursor: psycopg.Cursor[Any], commit: Commit, run: int, gone: int) -> None:
        window, end = commit.step.window, commit.step.end
        if window is None or end is None:
            return
        state = "gap" if end.state == "failed" and window.attempts >= REPAIRS else end.state
        cursor.execute(statements.CLOSE, {"run": run, "state": state, "error": end.error, "deleted": gone})
        if end.settles is not None:
            cursor.execute(statements.SETTLE, {"run": end.settles})
        if state == "complete" and window.kind is not WindowKind.SWEEP:
            cursor.execute(statements.COVERED, {"run": run})
        if state == "complete" and window.kind is WindowKind.DELTA:
            cursor.execute(statements.ABSORB, {"run": run, "source": commit.source.name})

    def _move_on(
        self, connection: Connection, cursor: psycopg.Cursor[Any], commit: Commit, live: int, deleted: int
    ) -> tuple[int, int, datetime]:
        """The source's row after all this; the fence against engines and courses of yesterday."""
        step, end, name = commit.step, commit.end, commit.source.name
        values: dict[str, Any] = {
            "source": name,
            "owner": self.owner,
            "epoch": commit.epoch,
            "mark": self._marks.get(name),
            "pass": Jsonb(dump(step.course)) if step.course is not None else None,
            "watermark": step.watermark,
            "since_pause": commit.since_pause,
            "paused_until": instant(commit.paused_until),
            "waiting_until": instant(commit.waiting_until),
            "attempt": commit.attempt,
            "blocked": commit.blocked,
            "live": live,
            "deleted": deleted,
        }
        row = cursor.execute(statements.MOVE_ON, values).fetchone()
        if row is None:
            raise OwnershipLost(
                f"the course of {name} is not as it was left: a command changed it, another engine owns group {commit.source.group}, "
                "or the database crashed"
            )
        if step.identity is not None:
            identity = step.identity
            cursor.execute(
                statements.IDENTIFIED,
                {
                    "source": name,
                    "repository": Jsonb(
                        {
                            "name": identity.repository_name,
                            "protocol_version": identity.protocol_version,
                            "earliest": identity.earliest,
                            "deleted_record": identity.deleted_record,
                            "granularity": identity.granularity,
                        }
                    ),
                },
            )
            if step.course is not None and (step.course.full or step.course.sweep):
                cursor.execute(statements.LOOK_ANEW, {"source": name})
        if commit.blocked is not None:
            switches.raise_alarm(connection, "source.blocked", f"source:{name}", commit.blocked)
        if end is not None:
            cursor.execute(
                statements.END,
                {
                    "source": name,
                    "due_at": instant(end.due_at),
                    "failures": end.failures_in_a_row,
                    "error": end.error,
                    "warning": end.warning(live=int(row[0]), known=int(row[0]) + int(row[1])),
                    "at": instant(commit.at),
                    "full": end.full,
                    "swept": end.swept,
                    "kept": PAGES_KEPT,
                },
            )
            if end.error is None:
                switches.clear_alarm(connection, "source.blocked", f"source:{name}")
        return int(row[0]), int(row[0]) + int(row[1]), row[2]


class Changes:
    """What a page changes: rows to merge, tombstones of live records, and the counts."""

    __slots__ = ("alive", "gone", "incoming", "live", "page", "rows", "tombstones")

    def __init__(self, *, incoming: dict[str, Record], alive: list[str]) -> None:
        self.incoming = incoming
        self.alive = alive  # identifiers whose header says so, also where nothing is known of the content
        self.rows: list[Record] = []
        self.gone: list[Record] = []
        self.live = 0
        self.tombstones = 0
        self.page = Totals()


def apply_deletions(cursor: psycopg.Cursor[Any], source: str, run: int, *, held: bool) -> int:
    """Mark the records of the waiting (or the held) deletions as deleted; how many."""
    rows = cursor.execute(statements.TAKE_DELETIONS, {"source": source, "held": held}).fetchall()
    if not rows:
        return 0
    identifiers, datestamps = [row[0] for row in rows], [row[1] for row in rows]
    cursor.execute(statements.DELETE, {"source": source, "identifiers": identifiers, "datestamps": datestamps, "run": run})
    return cursor.rowcount


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection under an SQLAlchemy connection, for COPY and binary results."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        raise TypeError(f"psycopg is the only driver, not {type(raw).__name__}")
    return raw


def memories(cursor: psycopg.Cursor[Any], names: Sequence[str]) -> dict[str, Memory]:
    """What is known of these sources."""
    gaps: dict[str, list[Gap]] = {}
    for name, run, since, until, attempts in cursor.execute(statements.GAPS, {"names": names}):
        gaps.setdefault(name, []).append(Gap(run=run, since=since, until=until, attempts=attempts))
    cursor.execute(statements.RECALL, {"names": names})
    return {row[0]: memory(row, tuple(gaps.get(row[0], ()))) for row in cursor}


def memory(row: Sequence[Any], gaps: tuple[Gap, ...]) -> Memory:
    """A row of ``statements.RECALL``."""
    (
        _,
        course,
        watermark,
        full_due,
        due_at,
        since_pause,
        paused,
        waiting,
        attempt,
        blocked,
        failures,
        success,
        full,
        sweep,
        live,
        error,
        epoch,
    ) = row
    return Memory(
        course=load(course),
        watermark=watermark,
        full_due=full_due,
        gaps=gaps,
        due_at=seconds(due_at) or 0.0,
        since_pause=since_pause,
        paused_until=seconds(paused),
        waiting_until=seconds(waiting),
        attempt=attempt,
        blocked=blocked,
        failures_in_a_row=failures,
        last_success=seconds(success),
        last_full=seconds(full),
        last_sweep=seconds(sweep),
        live=live,
        error=error,
        epoch=epoch,
    )


def sums(row: Sequence[Any]) -> Totals:
    """A row of ``statements.TOTALS``."""
    records, new, changed, unchanged, deleted, failures, pages = (int(value) for value in row)
    return Totals(records=records, new=new, changed=changed, unchanged=unchanged, deleted=deleted, failures=failures, pages=pages)


def fields(totals: Totals) -> dict[str, int]:
    """The counts by name."""
    return {name: getattr(totals, name) for name in ("records", "new", "changed", "unchanged", "deleted", "failures", "pages")}


def instant(moment: float | None) -> datetime | None:
    """Seconds since the epoch as a timestamp."""
    return datetime.fromtimestamp(min(moment, 253402300799.0), UTC) if moment is not None else None


def seconds(moment: datetime | None) -> float | None:
    """A timestamp as seconds since the epoch."""
    return moment.timestamp() if moment is not None else None
