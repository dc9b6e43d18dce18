"""Operator switches and alarms."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from db.switches import (
    ScopeError,
    Switch,
    checked_scope,
    clear_alarm,
    is_paused,
    open_alarms,
    pause,
    paused,
    raise_alarm,
    resume,
    scopes_of,
)


def test_a_pause_lasts_until_it_is_resumed(database: Engine) -> None:
    """harvest 27"""
    assert paused(database) == {}
    assert pause(database, "group:hosted-folio", "vendor's maintenance", "anna") is True
    (found,) = paused(database).values()
    assert (found.scope, found.reason, found.by) == ("group:hosted-folio", "vendor's maintenance", "anna")
    assert timedelta(0) <= datetime.now(UTC) - found.since < timedelta(minutes=1)
    assert resume(database, "all") is False
    assert resume(database, "group:hosted-folio") is True
    assert resume(database, "group:hosted-folio") is False
    assert paused(database) == {}


def test_a_second_pause_changes_the_reason_but_not_since_when(database: Engine) -> None:
    """harvest 27"""
    pause(database, "source:a", "first", "anna")
    since = paused(database)["source:a"].since
    assert pause(database, " source:a ", "second", "ben") is False
    assert paused(database) == {"source:a": Switch(scope="source:a", reason="second", by="ben", since=since)}


def test_switches_are_values(database: Engine) -> None:
    pause(database, "all", "r", "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        paused(database)["all"].reason = "other"  # type: ignore[misc]


@pytest.mark.parametrize("scope", ["all", "group:a", "source:mobius-alpha", "target:folio", "source:with blank", "source:a:b", "group:é"])
def test_these_are_scopes(scope: str) -> None:
    assert checked_scope(scope) == scope


@pytest.mark.parametrize("scope", ["", "ALL", "everything", "group", "group:", "group: a", "sources:a", "source:a\nb", "all:x", ":a"])
def test_these_are_none_and_the_message_says_what_is(scope: str) -> None:
    """harvest 27"""
    with pytest.raises(ScopeError, match="is not a scope; write all, group:NAME, source:NAME or target:NAME"):
        checked_scope(scope)


def test_nothing_is_switched_or_raised_for_a_scope_that_is_none(untouched: Engine) -> None:
    """harvest 27"""
    for attempt in (
        lambda: pause(untouched, "everything", "r", "b"),
        lambda: resume(untouched, "everything"),
        lambda: raise_alarm(untouched, "k", "everything", "m"),
        lambda: clear_alarm(untouched, "k", "everything"),
    ):
        with pytest.raises(ScopeError):
            attempt()
    assert (paused(untouched), open_alarms(untouched)) == ({}, [])


@pytest.mark.parametrize(
    ("scopes", "who", "expected"),
    [
        ([], {"source": "a", "group": "g"}, None),
        (["source:b", "group:h", "target:a"], {"source": "a", "group": "g"}, None),
        (["source:a"], {"source": "a", "group": "g"}, "source:a"),
        (["source:a", "group:g"], {"source": "a", "group": "g"}, "group:g"),
        (["source:a", "group:g", "all"], {"source": "a", "group": "g"}, "all"),
        (["all"], {}, "all"),
        (["target:folio"], {"target": "folio"}, "target:folio"),
    ],
)
def test_the_widest_switch_that_covers_something_pauses_it(scopes: list[str], who: dict[str, str], expected: str | None) -> None:
    """harvest 27"""
    now = datetime.now(UTC)
    found = is_paused({scope: Switch(scope=scope, reason="r", by="b", since=now) for scope in scopes}, **who)
    assert (found.scope if found else None) == expected


def test_the_scopes_that_cover_a_source_are_named_widest_first() -> None:
    assert scopes_of(source="a", group="g") == ("all", "group:g", "source:a")


def test_an_alarm_is_new_once_until_it_is_cleared(database: Engine) -> None:
    assert raise_alarm(database, "source.blocked", "source:a", "a bot wall") is True
    assert raise_alarm(database, "source.blocked", "source:a", "still a bot wall") is False
    assert raise_alarm(database, "delete.held", "source:a", "40 % would go") is True
    assert [(one.kind, one.message, one.cleared_at) for one in open_alarms(database)] == [
        ("source.blocked", "still a bot wall", None),
        ("delete.held", "40 % would go", None),
    ]
    assert clear_alarm(database, "source.blocked", "source:b") is False
    assert clear_alarm(database, "source.blocked", "source:a") is True
    assert clear_alarm(database, "source.blocked", "source:a") is False
    assert [one.kind for one in open_alarms(database)] == ["delete.held"]
    assert raise_alarm(database, "source.blocked", "source:a", "again") is True
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM ops.alarm")).scalar() == 3  # the cleared one stays as history


def test_an_alarm_that_is_raised_with_every_pass_leaves_no_dead_row(database: Engine) -> None:
    raise_alarm(database, "k", "all", "m")
    with database.connect() as connection:
        before = connection.execute(text("SELECT ctid::text FROM ops.alarm")).scalar()
    raise_alarm(database, "k", "all", "m")
    with database.connect() as connection:
        assert connection.execute(text("SELECT ctid::text FROM ops.alarm")).scalar() == before


def test_on_a_connection_switches_and_alarms_belong_to_its_transaction(database: Engine) -> None:
    with database.connect() as connection:
        assert raise_alarm(connection, "k", "all", "m") is True
        assert pause(connection, "all", "r", "b") is True
        assert paused(database) == {}
        connection.rollback()
    assert (open_alarms(database), paused(database)) == ([], {})


def test_of_many_who_raise_an_alarm_at_once_one_hears_that_it_is_new(database: Engine) -> None:
    together = threading.Barrier(4)
    results: list[bool] = []

    def work() -> None:
        together.wait()
        results.append(raise_alarm(database, "k", "all", "m"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]
