"""Connect to the database: WINDROW_DATABASE_URL, or the embedded server.

An engine from :func:`connect` is checked (somebody answers, PostgreSQL 14 or newer), speaks UTC, tests pooled
connections before it lends them, and raises only errors of ``db.errors``; SQLAlchemy's and psycopg's stay inside.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import Engine, ExceptionContext

from db.embedded import Embedded, home
from db.errors import ConnectionLost, DatabaseError, TooOld, Unreachable, translate
from db.urls import masked, parsed

OLDEST: Final = 140000  # PostgreSQL 14, as server_version_num: the oldest with LZ4 payloads
HEAD: Final = "0002"  # the newest migration; here too, so that a command that finds it need not load Alembic
CONNECT_SECONDS: Final = 10  # for one attempt to reach the server
POOL_SIZE: Final = 5
MIGRATION_LOCK: Final = 0x57494E44  # "WIND": advisory lock of whoever migrates


def database_url(environ: Mapping[str, str] = os.environ) -> str:
    """The database's URL for SQLAlchemy, with its password.

    WINDROW_DATABASE_URL where it is set (``postgresql://``, ``postgres://`` or ``postgresql+psycopg://``), otherwise the
    embedded server of WINDROW_HOME, which is started if need be. Raises :class:`~db.errors.Misconfigured` or
    :class:`~db.errors.EmbeddedError`.
    """
    given = environ.get("WINDROW_DATABASE_URL", "").strip()
    if given:
        return parsed(given).render_as_string(hide_password=False)
    server = Embedded(home=home(environ))
    server.start()
    return server.url()


def connect(url: str | None = None, *, pool_size: int = POOL_SIZE, application_name: str = "windrow", wait: float = 0.0) -> Engine:
    """A checked engine (synchronous, psycopg 3) with at most ``pool_size`` connections.

    ``url`` None means :func:`database_url`. ``application_name`` is what ``pg_stat_activity`` shows. ``wait``: seconds
    during which an unreachable server is asked again, for one that is just being started. Raises the errors of
    ``db.errors``; so do all later statements on the engine.
    """
    value = parsed(url if url is not None else database_url())
    options = " ".join(part for part in (str(value.query.get("options", "")), "-c timezone=UTC") if part)
    arguments: dict[str, Any] = {"application_name": application_name, "options": options}
    if "connect_timeout" not in value.query:
        arguments["connect_timeout"] = CONNECT_SECONDS
    engine = create_engine(
        value.difference_update_query(["options", "application_name"]),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args=arguments,
        hide_parameters=True,  # parameters are payloads
    )
    event.listen(engine, "handle_error", _translate, retval=True)
    event.listen(engine, "connect", _check_version, insert=True)  # before SQLAlchemy asks an old server things it does not know
    deadline = time.monotonic() + wait
    while True:
        try:
            with engine.connect():
                return engine
        except Unreachable as error:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            engine.dispose()
            why = str(error).removeprefix("database: ").rstrip(".")
            raise Unreachable(
                f"the database {masked(value)} cannot be reached: {why}; start it, or correct WINDROW_DATABASE_URL"
            ) from error
        except DatabaseError:
            engine.dispose()
            raise


def _translate(context: ExceptionContext) -> DatabaseError | None:
    if context.is_pre_ping:
        return None  # the pool replaces such a connection by itself, if it sees the error it knows
    ours = translate(context.sqlalchemy_exception or context.original_exception)
    if context.is_disconnect and isinstance(ours, Unreachable) and not isinstance(ours, ConnectionLost):
        return ConnectionLost(str(ours), sqlstate=ours.sqlstate)
    return ours


def _check_version(connection: Any, _record: Any) -> None:
    found: int = connection.info.server_version
    if found < OLDEST:
        name = f"{found // 10000}" if found >= 100000 else f"{found // 10000}.{found // 100 % 100}"
        raise TooOld(f"the database server is PostgreSQL {name}; Windrow needs {OLDEST // 10000} or newer")


def revision(connection: Connection) -> str | None:
    """The newest migration that the database has had; None for an empty one."""
    there = connection.execute(text("SELECT to_regclass('ops.alembic_version') IS NOT NULL")).scalar_one()
    if not there:
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM ops.alembic_version")).scalar_one_or_none()
    return found


def upgrade(engine: Engine, target: str = "head") -> bool:
    """Bring the tables up to date; False where they already were, which costs one query.

    One transaction under an advisory lock: of commands that come at once the first migrates, the others wait and find
    it done, and one that is killed leaves nothing behind. A database newer than this Windrow raises
    :class:`~db.errors.SchemaMismatch`.
    """
    with engine.connect() as connection:
        if target == "head" and revision(connection) == HEAD:
            return False
    from db.migrations import run  # Alembic costs a fifth of a second, which most commands need not pay

    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        if target == "head" and revision(connection) == HEAD:
            return False
        run.upgrade(connection, target)
        return True


def downgrade(engine: Engine, target: str) -> None:
    """Take migrations back, down to ``target`` (``base``: all of them, with all data)."""
    from db.migrations import run

    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        run.downgrade(connection, target)
