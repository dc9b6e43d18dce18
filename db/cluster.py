"""The data folder of the embedded server: how it comes into being, and with which settings."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from db import programs
from db.accounts import Account
from db.errors import EmbeddedError, StartFailed

DATABASE: Final = "windrow"
ROLE: Final = "windrow"
UNFINISHED: Final = "new-"  # begins the name of a data folder that is being made

# Written into postgresql.conf when the data folder is created; from then on it is the operator's file.
SETTINGS: Final[Mapping[str, str]] = {
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "max_connections": "100",
    "synchronous_commit": "on",  # a cursor that was committed must survive
    "wal_compression": "on",
    "max_wal_size": "2GB",  # a first harvest writes without a checkpoint every minute
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
    "autovacuum_naptime": "15s",  # shorter than the pauses in which it is to catch up
    "autovacuum_max_workers": "3",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_error_verbosity": "terse",  # DETAIL and CONTEXT would quote rows, and a log is no place for payloads
    "log_min_error_statement": "panic",
}


def create(data: Path, settings: Mapping[str, str], account: Account) -> None:
    """Create it with the database in it, under a name of its own, and publish it by a rename.

    Killed anywhere, it is either complete or not there; what is left is removed by the next start. Raises
    :class:`~db.errors.StartFailed`.
    """
    new = data.parent / f"{UNFINISHED}{secrets.token_hex(6)}"
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    if settings.get("fsync") == "off":
        options.append("--no-sync")
    # The built-in locale sorts by code point, the same everywhere and for ever: no index breaks with a new C library.
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    base = ("-D", str(new), "-U", ROLE, "--auth=trust")  # the socket's folder is closed to other users
    done = programs.run("initdb", *base, *locale, *options, account=account, cwd=data.parent)
    if done.returncode == 0:
        statement = f"CREATE DATABASE {DATABASE};\n"
        done = programs.run("postgres", "--single", "-D", str(new), "postgres", account=account, cwd=data.parent, stdin=statement)
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise StartFailed(f"the data folder {data} could not be created: {programs.last_words(done.stdout)}")
    new.rename(data)


def check_version(data: Path) -> None:
    """Raises :class:`~db.errors.EmbeddedError` for the data of another major version, which our server cannot read."""
    found = (data / "PG_VERSION").read_text().strip()
    if found != str(programs.MAJOR):
        raise EmbeddedError(
            f"{data} was written by PostgreSQL {found}, and this Windrow brings {programs.MAJOR}; dump it with the Windrow that wrote it, "
            "or move the folder away and harvest again"
        )
