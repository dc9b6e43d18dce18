"""PostgreSQL for every test that asks: one server per session, one fresh and migrated database per test.

WINDROW_TEST_DATABASE_URL names a server to use (its user must be allowed to create databases); without it an embedded
one runs in a temporary folder until the session ends.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine, make_url

from db.cluster import SETTINGS
from db.embedded import Embedded
from db.engine import connect, upgrade

_numbers = itertools.count()


def administer(url: str, *statements: str) -> None:
    """Run statements that cannot be in a transaction, such as CREATE DATABASE."""
    engine = connect(url, pool_size=1, application_name="windrow-tests")
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def named(url: str, database: str) -> str:
    """The same server, another database."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell reaches a test, and none reaches the developer's own database."""
    for name in [name for name in os.environ if name.startswith("WINDROW_") and name != "WINDROW_TEST_DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WINDROW_HOME", "/dev/null/name-a-home-in-the-test")


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A folder that every user may pass, with a path short enough for a unix socket; pytest's own is neither."""
    folder = Path(tempfile.mkdtemp(prefix="wr-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(short_tmp: Path) -> Iterator[str]:
    """URL of a database of a running server; not for tables, but to create databases from."""
    if given := os.environ.get("WINDROW_TEST_DATABASE_URL"):
        yield given
        return
    server = Embedded(home=short_tmp / "home")
    try:
        server.start({**SETTINGS, "fsync": "off", "shared_buffers": "64MB"})
        yield server.url()
    finally:
        server.stop("immediate")


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """Name of a migrated database that others are copied from."""
    name = f"windrow_template_{os.getpid()}"
    administer(postgres_url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    engine = connect(named(postgres_url, name), pool_size=1)
    upgrade(engine)
    engine.dispose()
    yield name
    administer(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """URL of a fresh database with all migrations; dropped after the test, whoever is still connected."""
    name = f"windrow_test_{os.getpid()}_{next(_numbers)}"
    administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield named(postgres_url, name)
    administer(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def untouched(postgres_url: str, template_database: str) -> Iterator[Engine]:
    """An engine on the migrated template itself, for tests that only look or roll back: faster than a copy."""
    engine = connect(named(postgres_url, template_database), application_name="windrow-tests")
    yield engine
    engine.dispose()


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """URL of a fresh database without anything."""
    name = f"windrow_test_{os.getpid()}_{next(_numbers)}"
    administer(postgres_url, f"CREATE DATABASE {name}")
    yield named(postgres_url, name)
    administer(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh, migrated database."""
    engine = connect(database_url, application_name="windrow-tests")
    yield engine
    engine.dispose()
