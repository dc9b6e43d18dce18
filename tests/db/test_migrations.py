"""The migrations make exactly the tables of db.tables, once, whoever asks, and take them away again."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from db import tables
from db.check import check, differences
from db.engine import HEAD, connect, downgrade, revision, upgrade
from db.errors import SchemaMismatch, StatementFailed
from db.migrations import run

VERSIONS = Path(run.__file__).parent / "versions"


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    """An engine on a database without tables."""
    engine = connect(empty_database_url)
    yield engine
    engine.dispose()


def objects(engine: Engine) -> set[str]:
    """Tables, sequences and indexes outside of PostgreSQL's own schemas."""
    query = """
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    """
    with engine.connect() as connection:
        return set(connection.execute(text(query)).scalars())


def test_the_migrations_are_equal_to_the_tables(untouched: Engine) -> None:
    """harvest 22"""
    with untouched.connect() as connection:
        assert differences(connection) == []


@pytest.mark.parametrize(
    ("tampering", "noticed"),
    [
        ("ALTER TABLE harvest.source DROP COLUMN warning", "harvest.source.warning|warning"),
        ("ALTER TABLE harvest.source ADD COLUMN extra text", "remove column.*extra"),
        ("ALTER TABLE harvest.page ALTER COLUMN records TYPE bigint", "modify type.*records"),
        ("ALTER TABLE harvest.page ALTER COLUMN records DROP NOT NULL", "modify nullable.*records"),
        ("ALTER TABLE harvest.run ALTER COLUMN attempts SET DEFAULT 2", "harvest.run.attempts has the default 2 instead of 1"),
        ("ALTER TABLE harvest.run ALTER COLUMN attempts DROP DEFAULT", "harvest.run.attempts has the default None"),
        ("ALTER TABLE harvest.record ALTER COLUMN xid TYPE text", "modify type.*xid"),
        ("COMMENT ON COLUMN harvest.record.digest IS 'MD5'", "modify comment.*digest"),
        ("DROP INDEX harvest.ix_record_revision", "add index.*ix_record_revision"),
        ("ALTER TABLE harvest.failure DROP CONSTRAINT uq_failure_source_identifier", "add constraint.*uq_failure"),
        ("DROP TABLE harvest.deletion", "add table.*deletion"),
        ("DROP TABLE harvest.record_07", "15 partitions instead of 16"),
        ("ALTER TABLE harvest.record_03 RESET (autovacuum_vacuum_threshold)", "harvest.record_03 has the storage parameters"),
        ("ALTER TABLE harvest.source SET (fillfactor = 100)", "harvest.source has the storage parameters"),
        ("ALTER TABLE harvest.seen SET LOGGED", "harvest.seen is logged, it should be unlogged"),
        ("ALTER TABLE harvest.page SET UNLOGGED", "harvest.page is unlogged, it should be logged"),
        ("ALTER SEQUENCE harvest.revision RENAME TO other", "sequence harvest.revision is missing"),
    ],
)
def test_whatever_differs_from_the_tables_is_noticed(untouched: Engine, tampering: str, noticed: str) -> None:
    """harvest 22"""
    with untouched.connect() as connection:
        connection.execute(text(tampering))
        found = differences(connection)
        connection.rollback()
    assert any(re.search(noticed, line) for line in found), found


def test_records_are_spread_over_sixteen_partitions_with_their_own_autovacuum(database: Engine) -> None:
    """harvest 22"""
    insert = """
        INSERT INTO harvest.record (source, identifier, datestamp, deleted, sets, format, payload, run)
        SELECT 'library-' || n, 'oai:' || n, '2024-01-01', false, '{}', 'marc21', 'x', 1 FROM generate_series(1, 400) AS n
    """
    with database.begin() as connection:
        connection.execute(text(insert))
        used = connection.execute(text("SELECT DISTINCT tableoid::regclass::text FROM harvest.record")).scalars().all()
        assert sorted(used) == [f"harvest.record_{n:02d}" for n in range(16)]
        # One source is in one partition, and each row has the next revision and the transaction that wrote it.
        assert connection.execute(text("SELECT count(DISTINCT revision), count(DISTINCT xid) FROM harvest.record")).one() == (400, 1)
        assert connection.execute(text("SELECT bool_and(xid = pg_current_xact_id()) FROM harvest.record")).scalar() is True
        options = connection.execute(text("SELECT reloptions FROM pg_class WHERE relname = 'record_00'")).scalar_one()
        assert "autovacuum_vacuum_threshold=1000" in options


def test_payloads_are_compressed_by_lz4_where_the_server_can(untouched: Engine) -> None:
    """harvest 22"""
    with untouched.connect() as connection:
        can = connection.execute(text("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")).scalar()
        query = """
            SELECT DISTINCT attcompression::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
            WHERE attname = 'payload' AND relname LIKE 'record%' AND relkind = 'r'
        """
        assert connection.execute(text(query)).scalars().all() == ["l" if can else ""]


def test_the_known_head_is_the_newest_migration() -> None:
    assert run.head() == HEAD


def test_migrations_are_frozen_history_and_import_nothing_of_ours() -> None:
    for path in VERSIONS.glob("[0-9]*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not [name for name in imported if name.split(".")[0] in ("db", "harvester", "flows")], path.name


def test_upgrade_downgrade_upgrade(empty: Engine) -> None:
    assert upgrade(empty) is True
    assert upgrade(empty) is False
    with_tables = objects(empty)
    downgrade(empty, "base")
    assert objects(empty) == {"ops.alembic_version", "ops.alembic_version_pkc"}
    assert upgrade(empty) is True
    assert objects(empty) == with_tables
    with empty.connect() as connection:
        assert differences(connection) == []


def test_of_commands_that_upgrade_at_once_one_does_it(empty_database_url: str) -> None:
    """harvest 22"""
    engines = [connect(empty_database_url, pool_size=2) for _ in range(4)]
    together = threading.Barrier(len(engines))
    results: list[bool] = []

    def work(engine: Engine) -> None:
        together.wait()
        results.append(upgrade(engine))

    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.dispose()
    assert sorted(results) == [False, False, False, True]


def test_an_upgrade_that_fails_leaves_nothing_behind(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.execute(text("CREATE SCHEMA ops"))
        connection.execute(text("CREATE TABLE ops.alarm (id int)"))
    with pytest.raises(StatementFailed, match='"alarm" already exists'):
        upgrade(empty)
    assert objects(empty) == {"ops.alarm"}


def test_a_database_of_a_newer_windrow_is_left_alone(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE ops.alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="newer Windrow"):
        upgrade(database)
    assert [problem.subject for problem in check(database) if problem.subject != "setting"] == ["migrations"]
    with database.connect() as connection:
        assert revision(connection) == "9999"


def test_names_of_tables_that_have_storage_parameters_exist() -> None:
    known = {table.fullname for table in tables.metadata.tables.values()} | {
        f"harvest.record_{n:02d}" for n in range(tables.RECORD_PARTITIONS)
    }
    assert set(tables.STORAGE_PARAMETERS) <= known
