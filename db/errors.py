"""What can go wrong with the database, in words an operator can act upon.

::

    DatabaseError                 anything below; ``retryable`` says whether trying again by itself can help
    ├── Misconfigured             WINDROW_DATABASE_URL cannot be used as it is written
    ├── Unreachable        retry  nobody answers there, or the server is starting or stopping
    │   └── ConnectionLost retry  a connection broke while it was used
    ├── AccessDenied              the server answers, but refuses this user, password, database or table
    ├── TooOld                    older than PostgreSQL 14
    ├── SchemaMismatch            tables are missing or belong to another version of Windrow
    ├── Busy               retry  deadlock, lock or connection limit: somebody else was first
    ├── OutOfSpace                the server has no room left
    ├── StatementFailed           any other refusal of a statement: a mistake in Windrow or in the data
    └── EmbeddedError             the embedded server
        ├── FolderRefused         its folder cannot be used: owner or permissions
        └── StartFailed           it did not start, or did not stop; the end of its log is in the message

Foreign errors (SQLAlchemy's, psycopg's) become these in :func:`translate`, which every engine made by
``db.engine.connect`` applies by itself. Neither passwords nor parameters of statements stand in any message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

import psycopg
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class DatabaseError(Exception):
    """Root of the tree. ``sqlstate`` is PostgreSQL's five-character code where there is one."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Misconfigured(DatabaseError):
    """The database URL cannot be used as it is written."""


class Unreachable(DatabaseError):
    """Nobody answers, or the server is starting or stopping."""

    retryable = True


class ConnectionLost(Unreachable):
    """The connection broke while it was used; what was not committed is rolled back."""


class AccessDenied(DatabaseError):
    """The server answers, but refuses this user, password, database or table."""


class TooOld(DatabaseError):
    """The server is older than what Windrow needs."""


class SchemaMismatch(DatabaseError):
    """Tables are missing, or belong to another version of Windrow."""


class Busy(DatabaseError):
    """Deadlock, lock timeout, serialisation conflict or connection limit."""

    retryable = True


class OutOfSpace(DatabaseError):
    """The server cannot write because a disk or a memory limit is reached."""


class StatementFailed(DatabaseError):
    """The server refused a statement for any other reason."""


class EmbeddedError(DatabaseError):
    """Something about the embedded server."""


class FolderRefused(EmbeddedError):
    """The folder of the embedded server cannot be used: owner or permissions."""


class StartFailed(EmbeddedError):
    """The embedded server did not start, or did not stop."""


# https://www.postgresql.org/docs/current/errcodes-appendix.html; a longer key wins over its class.
BY_SQLSTATE: Final[dict[str, type[DatabaseError]]] = {
    "08": ConnectionLost,
    "57P01": ConnectionLost,  # admin shutdown
    "57P02": ConnectionLost,  # crash of another backend
    "57P03": Unreachable,  # starting up, shutting down, in recovery
    "28": AccessDenied,
    "3D000": AccessDenied,  # no such database
    "42501": AccessDenied,  # insufficient privilege
    "3F000": SchemaMismatch,  # no such schema
    "42P01": SchemaMismatch,  # no such table
    "42703": SchemaMismatch,  # no such column
    "40": Busy,
    "55P03": Busy,  # lock not available
    "53300": Busy,  # too many connections
    "53": OutOfSpace,
}

# A connection that fails has no SQLSTATE in libpq, only the server's English (or translated) sentence.
BY_SENTENCE: Final[tuple[tuple[str, type[DatabaseError]], ...]] = (
    ("authentication failed", AccessDenied),
    ("no password supplied", AccessDenied),
    ("no pg_hba.conf entry", AccessDenied),
    ("permission denied for database", AccessDenied),
    ('" does not exist', AccessDenied),
    ("is not permitted to log in", AccessDenied),
    ("too many clients already", Busy),
    ("remaining connection slots are reserved", Busy),
    ("too many connections for", Busy),
)

ADVICE: Final[dict[type[DatabaseError], str]] = {
    SchemaMismatch: "; run `windrow db upgrade`",
    AccessDenied: "; see user, password and database name in WINDROW_DATABASE_URL",
    OutOfSpace: "; free some space on the database server",
}


def translate(error: BaseException) -> DatabaseError | None:
    """Our error for a foreign one; None for an error that does not come from the database."""
    if isinstance(error, DatabaseError):
        return error
    if isinstance(error, PoolTimeout):
        return Busy("all connections of the pool are in use; fewer tasks at once, or a larger pool")
    lost = False
    if isinstance(error, DBAPIError):
        lost = error.connection_invalidated
        if error.orig is None:
            return None
        error = error.orig
    elif isinstance(error, ArgumentError):
        return Misconfigured("the database URL cannot be read")
    elif isinstance(error, SQLAlchemyError):
        return StatementFailed(f"{type(error).__name__}: {error}")
    if isinstance(error, psycopg.Error):
        return _from_psycopg(error, lost=lost)
    return None


def _from_psycopg(error: psycopg.Error, *, lost: bool) -> DatabaseError:
    code = error.sqlstate
    sentence = " ".join((error.diag.message_primary or str(error)).split()).removeprefix("connection failed: ")
    for advice in (" Is the server running", " This probably means"):  # libpq's; ours is more to the point
        sentence = sentence.partition(advice)[0]
    kind: type[DatabaseError] | None
    if code is not None:
        kind = BY_SQLSTATE.get(code) or BY_SQLSTATE.get(code[:2]) or StatementFailed
    else:
        kind = next((kind for part, kind in BY_SENTENCE if part in sentence), None)
        if kind is None:
            # libpq reports a broken or refused connection without a code: as OperationalError or InterfaceError.
            broken = lost or isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
            kind = Unreachable if broken else StatementFailed
            if lost:
                kind = ConnectionLost
    return kind(f"database: {sentence}{ADVICE.get(kind, '')}", sqlstate=code)


@contextmanager
def translated() -> Iterator[None]:
    """Turn foreign errors into ours inside the block: for COPY and other work on a raw psycopg connection."""
    try:
        yield
    except (SQLAlchemyError, psycopg.Error) as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error
