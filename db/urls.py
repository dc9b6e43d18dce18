"""Database URLs: read, made safe to show, and put as other programs want them."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from db.errors import Misconfigured

SECRET_QUERY_KEYS: Final = ("password", "sslpassword")


def parsed(url: str) -> URL:
    """The URL with our driver; raises :class:`Misconfigured`, which does not repeat the URL: it may hold a password."""
    form = "write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE (special characters of the password as %XX)"
    try:
        value = make_url(url)
    except (ArgumentError, ValueError):
        raise Misconfigured(f"the database URL (WINDROW_DATABASE_URL) cannot be read; {form}") from None
    if value.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise Misconfigured(
            f"the database URL (WINDROW_DATABASE_URL) begins with {value.drivername}://, but Windrow needs PostgreSQL; {form}"
        )
    if not value.database:
        raise Misconfigured(f"the database URL (WINDROW_DATABASE_URL) names no database; {form}")
    return value.set(drivername="postgresql+psycopg")


def masked(url: str | URL) -> str:
    """The URL for people: without passwords."""
    value = parsed(url) if isinstance(url, str) else url
    hidden = {name: "***" if name in SECRET_QUERY_KEYS else part for name, part in value.query.items()}
    return unquote(value.set(drivername="postgresql", query=hidden).render_as_string(hide_password=True))


def for_libpq(url: str) -> str:
    """The URL as psql and other programs want it: without the name of a Python driver."""
    return parsed(url).set(drivername="postgresql").render_as_string(hide_password=False)


def split_password(url: str) -> tuple[str, str | None]:
    """The URL for psql without its password, and the password: for a command line, which every user can read."""
    value = parsed(url).set(drivername="postgresql")
    password = value.password if value.password is not None else value.query.get("password")
    bare = URL.create(
        "postgresql", value.username, None, value.host, value.port, value.database, value.difference_update_query(["password"]).query
    )
    return bare.render_as_string(hide_password=False), str(password) if password is not None else None
