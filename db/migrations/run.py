"""Upgrade and downgrade on a given connection, inside the caller's transaction; no alembic.ini is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from db.errors import SchemaMismatch

VERSION_SCHEMA: Final = "ops"  # holds alembic_version; stays when everything else is taken back


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, built here; ``connection`` is what ``env`` works on."""
    value = Config()
    # ConfigParser would read a % of the path as interpolation.
    value.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    value.set_main_option("path_separator", "os")
    value.attributes["connection"] = connection
    return value


def head() -> str | None:
    """The newest migration of this Windrow."""
    return ScriptDirectory.from_config(config()).get_current_head()


def upgrade(connection: Connection, target: str = "head") -> None:
    """Apply what is missing up to ``target``; raises :class:`SchemaMismatch` for a database of a newer Windrow."""
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}"))
    _checked(command.upgrade, connection, target)


def downgrade(connection: Connection, target: str) -> None:
    """Take back what came after ``target``."""
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}"))
    _checked(command.downgrade, connection, target)


def _checked(step: object, connection: Connection, target: str) -> None:
    try:
        step(config(connection), target)  # type: ignore[operator]
    except CommandError as error:
        raise SchemaMismatch(f"the tables cannot be migrated to {target}: {error}; is the database of a newer Windrow?") from error
