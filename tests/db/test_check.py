"""What `windrow db check` finds."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from db.check import Problem, check
from db.embedded import Embedded
from db.engine import HEAD, connect

TEST_SERVER = {"fsync", "full_page_writes"}  # an embedded server for tests does not wait for its disk


def found(engine: Engine) -> list[Problem]:
    """Without what a server that is only for tests may have."""
    return [problem for problem in check(engine) if problem.message.split()[0] not in TEST_SERVER]


def test_a_good_database_has_no_problem(database: Engine) -> None:
    assert found(database) == []


def test_an_empty_database_is_told_to_be_upgraded(empty_database_url: str) -> None:
    engine = connect(empty_database_url)
    try:
        assert found(engine) == [
            Problem(
                subject="migrations", message=f"the database has no tables of Windrow, this Windrow needs {HEAD}; run `windrow db upgrade`"
            )
        ]
    finally:
        engine.dispose()


def test_changed_tables_are_named(database: Engine) -> None:
    """harvest 22"""
    with database.begin() as connection:
        connection.execute(text("DROP INDEX harvest.ix_page_source_at"))
        connection.execute(text("ALTER TABLE harvest.record_11 SET (autovacuum_enabled = off)"))
    problems = found(database)
    assert [problem.subject for problem in problems] == ["table", "table"]
    assert "ix_page_source_at" in problems[0].message
    assert "harvest.record_11" in problems[1].message
    assert "autovacuum_enabled" in problems[1].message


@pytest.mark.parametrize("setting", ["synchronous_commit", "track_counts"])
def test_a_setting_that_loses_work_is_named(database_url: str, setting: str) -> None:
    """harvest 4, 21"""
    separator = "&" if "?" in database_url else "?"
    engine = connect(f"{database_url}{separator}options=-c%20{setting}%3Doff")
    try:
        (problem,) = found(engine)
    finally:
        engine.dispose()
    assert problem.subject == "setting"
    assert problem.message.startswith(f"{setting} is off, it should be on: ")


def test_an_unreachable_server_is_a_problem_and_not_an_error(spare: Embedded) -> None:
    spare.start()
    engine = connect(spare.url())
    spare.stop()
    try:
        (problem,) = check(engine)
    finally:
        engine.dispose()
    assert problem.subject == "server"
    assert "connection to server on socket" in problem.message
