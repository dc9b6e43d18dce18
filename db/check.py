"""Is the database as Windrow needs it? Everything that is not, at once, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, DefaultClause, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import Engine

from db.engine import HEAD, revision
from db.errors import DatabaseError
from db.tables import RECORD_PARTITIONS, STORAGE_PARAMETERS, Xid8, metadata

# setting: (the values it may have, why)
NEEDED: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "autovacuum": (("on",), "without it dead rows stay, and pauses in mode vacuum never end by themselves"),
    "track_counts": (("on",), "autovacuum finds its work by these counts"),
    "synchronous_commit": (("on", "local", "remote_write", "remote_apply"), "a cursor that was committed must survive a crash"),
    "fsync": (("on",), "a crash of the machine can destroy the database"),
    "full_page_writes": (("on",), "a crash of the machine can destroy the database"),
    "server_encoding": (("UTF8",), "catalogue records hold every script"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """``subject`` is stable (``server``, ``migrations``, ``table``, ``setting``), ``message`` is for reading."""

    subject: str
    message: str


def check(engine: Engine) -> list[Problem]:
    """What is wrong, most basic first; an empty list when all is well. An unreachable server is a problem, not an error."""
    try:
        with engine.connect() as connection:
            return list(_problems(connection))
    except DatabaseError as error:
        return [Problem(subject="server", message=str(error))]


def _problems(connection: Connection) -> Iterator[Problem]:
    rows = connection.execute(text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), {"names": list(NEEDED)})
    for name, value in sorted((row.name, row.setting) for row in rows):
        allowed, why = NEEDED[name]
        if value not in allowed:
            yield Problem(subject="setting", message=f"{name} is {value}, it should be {allowed[0]}: {why}")
    found = revision(connection)
    if found != HEAD:
        state = "has no tables of Windrow" if found is None else f"is at migration {found}"
        yield Problem(subject="migrations", message=f"the database {state}, this Windrow needs {HEAD}; run `windrow db upgrade`")
        return
    for difference in differences(connection):
        yield Problem(subject="table", message=f"{difference}; something other than `windrow db upgrade` changed the tables")


def differences(connection: Connection) -> list[str]:
    """Where the database and ``db.tables`` differ: columns, types, defaults, indexes, comments, partitions, storage.

    An empty list is the proof that the migrations are equal to the tables.
    """
    return [*_structure(connection), *_defaults(connection), *_storage(connection)]


def _structure(connection: Connection) -> Iterator[str]:
    from alembic.autogenerate import compare_metadata  # loaded only for a check
    from alembic.migration import MigrationContext

    ischema_names.setdefault("xid8", Xid8)  # SQLAlchemy warns of types it does not know
    schemas = {table.schema for table in metadata.tables.values()}

    def ours(name: str | None, kind: str, parents: Any) -> bool:
        """Only our schemas, and no partitions: SQLAlchemy takes them for tables."""
        if kind == "schema":
            return name in schemas
        return not (kind == "table" and _is_partition(f"{parents['schema_name']}.{name}"))

    options = {
        "include_schemas": True,
        "include_name": ours,
        "compare_type": True,
        "compare_server_default": False,  # Alembic evaluates both, and stumbles over identities; see _defaults
        "version_table_schema": "ops",
        "target_metadata": metadata,
    }
    context = MigrationContext.configure(connection, opts=options)
    for difference in compare_metadata(context, metadata):
        for one in difference if isinstance(difference, list) else [difference]:
            yield _sentence(one)
    query = "SELECT schemaname || '.' || sequencename AS name FROM pg_sequences"
    sequences = {row.name for row in connection.execute(text(query))}
    for name in sorted({f"{sequence.schema}.{sequence.name}" for sequence in metadata._sequences.values()} - sequences):
        yield f"the sequence {name} is missing"


def _is_partition(name: str) -> bool:
    return name.startswith("harvest.record_") and name in STORAGE_PARAMETERS


def _defaults(connection: Connection) -> Iterator[str]:
    query = """
        SELECT n.nspname || '.' || c.relname || '.' || a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS value
        FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('harvest', 'catalog', 'ops')
    """
    found = {row.name: row.value for row in connection.execute(text(query))}
    for table in metadata.tables.values():
        for column in table.columns:
            default = column.server_default.arg if isinstance(column.server_default, DefaultClause) else None
            wanted = None if default is None else str(default if isinstance(default, str) else default.compile(dialect=connection.dialect))
            name = f"{table.fullname}.{column.name}"
            if _plain(found.get(name)) != _plain(wanted):
                yield f"{name} has the default {found.get(name)} instead of {wanted}"


def _plain(default: str | None) -> str | None:
    """Without what PostgreSQL adds when it shows an expression."""
    return None if default is None else default.replace("::regclass", "").replace("'", "")


def _sentence(difference: tuple[Any, ...]) -> str:
    """Alembic's tuple as words: what would have to be done to make them equal."""
    parts = [getattr(part, "fullname", None) or getattr(part, "name", None) or str(part) for part in difference[1:] if part is not None]
    return f"{difference[0].replace('_', ' ')}: {', '.join(str(part) for part in parts)}"


def _storage(connection: Connection) -> Iterator[str]:
    query = """
        SELECT n.nspname || '.' || c.relname AS name, c.relpersistence AS persistence,
               coalesce(c.reloptions, '{}') AS options, pg_get_expr(c.relpartbound, c.oid) AS bound,
               a.attcompression::text AS compression
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'payload'
        WHERE n.nspname IN ('harvest', 'catalog', 'ops') AND c.relkind = 'r'
    """
    tables = {row.name: row for row in connection.execute(text(query))}
    lz4 = connection.execute(text("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")).scalar()
    partitions = sorted(name for name, row in tables.items() if row.bound is not None)
    if len(partitions) != RECORD_PARTITIONS:
        yield f"harvest.record has {len(partitions)} partitions instead of {RECORD_PARTITIONS}"
    for n, name in enumerate(partitions):
        bound = f"FOR VALUES WITH (modulus {RECORD_PARTITIONS}, remainder {n})"
        if tables[name].bound != bound:
            yield f"{name} holds {tables[name].bound} instead of {bound}"
        if lz4 and tables[name].compression != "l":
            yield f"the payload of {name} is not compressed by LZ4"
    for name, wanted in STORAGE_PARAMETERS.items():
        found = dict(option.split("=", 1) for option in tables[name].options) if name in tables else None
        if found is not None and found != wanted:
            yield f"{name} has the storage parameters {found} instead of {wanted}"
    for table in metadata.tables.values():
        row = tables.get(table.fullname)
        unlogged = "UNLOGGED" in table._prefixes
        if row is not None and (row.persistence == "u") != unlogged:
            yield f"{table.fullname} is {'logged' if unlogged else 'unlogged'}, it should be {'unlogged' if unlogged else 'logged'}"
