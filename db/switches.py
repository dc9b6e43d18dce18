"""Operator switches and alarms: what people have paused, and what needs a person.

A switch pauses a scope until it is resumed; every station reads :func:`paused` before it starts something. An alarm is
raised once and stays open until it is cleared, however often its cause comes back: :func:`raise_alarm` tells whether it
is new, so that one cause sends one message.

Scopes: ``all``, ``group:NAME``, ``source:NAME``, ``target:NAME`` (a system that is written to).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Engine

from db.tables import alarm, switch

SCOPE: Final = re.compile(r"all|(?:group|source|target):[^\s:](?:[^\r\n\t]*\S)?")
REASON_LIMIT: Final = 2000  # characters: a reason is read by people


class ScopeError(ValueError):
    """Not a scope; the message says what one looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A pause: of what, why, by whom, since when (aware)."""

    scope: str
    reason: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that needs a person. ``kind`` is stable (``source.blocked``), ``message`` is for reading."""

    id: int
    kind: str
    scope: str
    message: str
    raised_at: datetime
    cleared_at: datetime | None


def checked_scope(scope: str) -> str:
    """The scope, without blanks around it; raises :class:`ScopeError`."""
    value = scope.strip()
    if not SCOPE.fullmatch(value):
        raise ScopeError(f"{scope!r} is not a scope; write all, group:NAME, source:NAME or target:NAME")
    return value


def scopes_of(*, source: str | None = None, group: str | None = None, target: str | None = None) -> tuple[str, ...]:
    """The scopes that cover something, widest first: whichever of them is paused, pauses it."""
    named = (("group", group), ("source", source), ("target", target))
    return ("all", *(f"{kind}:{name}" for kind, name in named if name is not None))


def pause(where: Engine | Connection, scope: str, reason: str, by: str) -> bool:
    """Pause a scope; False where it already was, and then the new reason and name replace the old ones.

    Raises :class:`ScopeError`.
    """
    values = {"scope": checked_scope(scope), "reason": reason.strip()[:REASON_LIMIT], "by": by}
    with _transaction(where) as connection:
        there = select(switch.c.scope).where(switch.c.scope == values["scope"]).with_for_update()
        known = connection.execute(there).first() is not None
        # "since" stays: it tells how long nothing has run. A rival's pause in between makes it known, too.
        statement = insert(switch).values(values)
        changed = {"reason": statement.excluded.reason, "by": statement.excluded.by}
        connection.execute(statement.on_conflict_do_update(index_elements=[switch.c.scope], set_=changed))
        return not known


def resume(where: Engine | Connection, scope: str) -> bool:
    """End the pause of exactly this scope (not of wider or narrower ones); False where it was not paused."""
    with _transaction(where) as connection:
        return connection.execute(delete(switch).where(switch.c.scope == checked_scope(scope))).rowcount > 0


def paused(where: Engine | Connection) -> dict[str, Switch]:
    """All switches by scope."""
    with _transaction(where) as connection:
        return {row.scope: Switch(**row._mapping) for row in connection.execute(select(switch).order_by(switch.c.scope))}


def raise_alarm(where: Engine | Connection, kind: str, scope: str, message: str) -> bool:
    """Open an alarm; True only when it was not open already. An open one gets the newer message.

    On a connection it becomes true with that connection's transaction. Raises :class:`ScopeError`.
    """
    values = {"kind": kind, "scope": checked_scope(scope), "message": message}
    with _transaction(where) as connection:
        fresh = insert(alarm).values(values).on_conflict_do_nothing(
            index_elements=[alarm.c.kind, alarm.c.scope], index_where=alarm.c.cleared_at.is_(None)
        )  # fmt: skip
        if connection.execute(fresh.returning(alarm.c.id)).first() is not None:
            return True
        # Unchanged messages are not written again: an alarm that comes with every pass would be a dead row each time.
        newer = update(alarm).where(
            alarm.c.kind == kind, alarm.c.scope == values["scope"], alarm.c.cleared_at.is_(None), alarm.c.message != message
        )  # fmt: skip
        connection.execute(newer.values(message=message))
        return False


def clear_alarm(where: Engine | Connection, kind: str, scope: str) -> bool:
    """Close an alarm, which stays in the history; False where none was open. Raises :class:`ScopeError`."""
    mine = (alarm.c.kind == kind, alarm.c.scope == checked_scope(scope), alarm.c.cleared_at.is_(None))
    with _transaction(where) as connection:
        return connection.execute(update(alarm).where(*mine).values(cleared_at=func.now())).rowcount > 0


def open_alarms(where: Engine | Connection) -> list[Alarm]:
    """What needs a person now, oldest first."""
    with _transaction(where) as connection:
        rows: Iterator[RowMapping] = iter(
            connection.execute(select(alarm).where(alarm.c.cleared_at.is_(None)).order_by(alarm.c.raised_at, alarm.c.id)).mappings()
        )
        return [Alarm(**row) for row in rows]


def is_paused(
    switches: Mapping[str, Switch], *, source: str | None = None, group: str | None = None, target: str | None = None
) -> Switch | None:
    """The widest switch that pauses it, None where it may run."""
    return next((switches[scope] for scope in scopes_of(source=source, group=group, target=target) if scope in switches), None)


@contextmanager
def _transaction(where: Engine | Connection) -> Iterator[Connection]:
    """A transaction of its own on an engine; on a connection the caller's, who commits."""
    if isinstance(where, Connection):
        yield where
    else:
        with where.begin() as connection:
            yield connection
