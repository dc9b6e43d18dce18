"""Which database, how it is reached, and what its errors become."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from db.embedded import Embedded
from db.engine import connect, database_url
from db.errors import (
    AccessDenied,
    Busy,
    ConnectionLost,
    Misconfigured,
    SchemaMismatch,
    StatementFailed,
    TooOld,
    Unreachable,
    translate,
    translated,
)
from db.urls import for_libpq, masked, split_password


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@h:5433/d", "postgresql+psycopg://u:p@h:5433/d"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("  postgresql+psycopg://u:p%40x@h/d?sslmode=require ", "postgresql+psycopg://u:p%40x@h/d?sslmode=require"),
        ("postgresql:///d?host=%2Frun%2Fpg", "postgresql+psycopg:///d?host=%2Frun%2Fpg"),
    ],
)
def test_every_usual_form_of_the_url_is_taken(given: str, expected: str) -> None:
    assert database_url({"WINDROW_DATABASE_URL": given}) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mysql://u:secret@h/d", "begins with mysql://, but Windrow needs PostgreSQL"),
        ("postgresql+asyncpg://u:secret@h/d", r"begins with postgresql\+asyncpg://"),
        ("host=h password=secret dbname=d", "cannot be read; write it as postgresql://USER"),
        ("postgresql://u:secret@h:port/d", "cannot be read"),
        ("postgresql://u:secret@h", "names no database"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_repeated(given: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as refused:
        database_url({"WINDROW_DATABASE_URL": given})
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "given", ["postgresql://u:secret@h/d", "postgresql://u@h/d?password=secret", "postgresql://u@h/d?sslpassword=secret&x=1"]
)
def test_a_url_for_people_holds_no_password(given: str) -> None:
    assert "secret" not in masked(given)
    assert masked(given).startswith("postgresql://u")
    assert "***" in masked(given)


@pytest.mark.parametrize("given", ["postgresql://u:se%40cret@h/d?x=1", "postgresql+psycopg://u@h/d?password=se%40cret&x=1"])
def test_a_url_for_a_command_line_holds_no_password(given: str) -> None:
    assert split_password(given) == ("postgresql://u@h/d?x=1", "se@cret")
    assert "se%40cret" in for_libpq(given)


def test_without_a_url_the_embedded_server_is_started(spare: Embedded) -> None:
    spare.stop()
    assert database_url({"WINDROW_HOME": str(spare.home)}) == spare.url()
    assert spare.state().status == "running"


@contextmanager
def fake_server(*answers: bytes) -> Iterator[str]:
    """A server that gives these answers to the packets of each client, then closes; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            with client:
                client.settimeout(5)
                for answer in answers:
                    if not client.recv(4096):
                        break
                    client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"postgresql://u:secret@127.0.0.1:{listener.getsockname()[1]}/d?sslmode=disable&gssencmode=disable"
    finally:
        over.set()
        thread.join()
        listener.close()


def packet(kind: bytes, body: bytes) -> bytes:
    """https://www.postgresql.org/docs/current/protocol-message-formats.html"""
    return kind + struct.pack("!i", len(body) + 4) + body


def greeting(version: str) -> bytes:
    """What a server without a password says: authenticated, its version, ready."""
    status = packet(b"S", b"server_version\0" + version.encode() + b"\0") + packet(b"S", b"client_encoding\0UTF8\0")
    return packet(b"R", struct.pack("!i", 0)) + status + packet(b"Z", b"I")


@pytest.mark.parametrize(("version", "name"), [("13.14", "13"), ("9.6.24", "9.6")])
def test_an_old_server_is_refused_before_anything_is_asked(version: str, name: str) -> None:
    with fake_server(greeting(version)) as url, pytest.raises(TooOld, match=f"is PostgreSQL {name}; Windrow needs 14 or newer"):
        connect(url)


def test_a_server_that_hangs_up_is_unreachable() -> None:
    with (
        fake_server() as url,
        pytest.raises(Unreachable, match=r"postgresql://u:\*\*\*@127.0.0.1:\d+/d.*cannot be reached: .*; start it") as error,
    ):
        connect(url)
    assert "secret" not in str(error.value)
    assert error.value.retryable


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="Connection refused"):
        connect(f"postgresql://u:secret@127.0.0.1:{port}/d")


@pytest.mark.parametrize(
    ("severity", "code", "sentence", "kind"),
    [
        ("FATAL", "28P01", 'password authentication failed for user "u"', AccessDenied),
        ("FATAL", "28000", 'no pg_hba.conf entry for host "1.2.3.4"', AccessDenied),
        ("FATAL", "3D000", 'database "d" does not exist', AccessDenied),
        ("FATAL", "53300", "sorry, too many clients already", Busy),
        ("FATAL", "57P03", "the database system is starting up", Unreachable),
    ],
)
def test_what_a_server_says_to_a_refused_client_decides_the_error(severity: str, code: str, sentence: str, kind: type[Exception]) -> None:
    fields = b"".join(f"{key}{value}\0".encode() for key, value in (("S", severity), ("V", severity), ("C", code), ("M", sentence)))
    with fake_server(packet(b"E", fields + b"\0")) as url, pytest.raises(kind, match=sentence) as error:
        connect(url)
    assert type(error.value) is kind
    assert "secret" not in str(error.value)


def test_waiting_for_a_server_that_is_being_started(spare: Embedded) -> None:
    spare.start()
    url = spare.url()
    spare.stop()
    later = threading.Timer(0.1, spare.start)
    later.start()
    try:
        connect(url, wait=30).dispose()
    finally:
        later.join()


def test_an_engine_speaks_utc_and_says_who_it_is(database_url: str) -> None:
    separator = "&" if "?" in database_url else "?"
    engine = connect(f"{database_url}{separator}options=-c%20work_mem%3D5MB", application_name="windrow harvest")
    with engine.connect() as connection:
        shown = [connection.execute(text(f"SHOW {name}")).scalar() for name in ("timezone", "application_name", "work_mem")]
    engine.dispose()
    assert shown == ["UTC", "windrow harvest", "5MB"]


@pytest.mark.parametrize(
    ("statement", "kind", "state"),
    [
        ("SELECT 1 FROM harvest.nowhere", SchemaMismatch, "42P01"),
        ("SELECT nothing FROM harvest.record", SchemaMismatch, "42703"),
        ("SELECT 1/0", StatementFailed, "22012"),
        ("SELEC", StatementFailed, "42601"),
        ("DO $$ BEGIN RAISE deadlock_detected; END $$", Busy, "40P01"),
    ],
)
def test_a_refused_statement_becomes_one_of_our_errors(untouched: Engine, statement: str, kind: type[Exception], state: str) -> None:
    with untouched.connect() as connection, pytest.raises(kind) as error:
        connection.execute(text(statement))
    assert type(error.value) is kind
    assert error.value.sqlstate == state  # type: ignore[attr-defined]


def test_an_error_quotes_no_payload(database: Engine) -> None:
    """harvest 20"""
    statement = text("INSERT INTO ops.switch VALUES (:scope, :reason, 'me')")
    with database.connect() as connection:
        connection.execute(statement, {"scope": "all", "reason": "payload"})
        with pytest.raises(StatementFailed, match="duplicate key value") as error:
            connection.execute(statement, {"scope": "all", "reason": "payload"})
    assert "payload" not in f"{error.value} {error.value.__cause__}"
    assert database.hide_parameters is True  # nor does SQLAlchemy's own log, where somebody switches it on


def test_a_lost_connection_is_said_and_replaced(database: Engine) -> None:
    """harvest 21"""
    with database.connect() as connection, pytest.raises(ConnectionLost) as error:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert error.value.retryable
    with database.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_an_engine_survives_a_restart_of_the_server(spare: Embedded) -> None:
    """harvest 21"""
    spare.start()
    engine = connect(spare.url())
    try:
        with engine.connect(), engine.connect():
            pass
        spare.stop("immediate")
        spare.start()
        with engine.connect() as one, engine.connect() as two:  # both were in the pool, and are replaced unseen
            assert [one.execute(text("SELECT 1")).scalar(), two.execute(text("SELECT 2")).scalar()] == [1, 2]
        spare.stop("immediate")
        with pytest.raises(Unreachable):
            engine.connect()
        spare.start()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
    finally:
        engine.dispose()


def test_work_on_a_raw_connection_is_translated_too(database: Engine) -> None:
    with database.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        with pytest.raises(SchemaMismatch, match="run `windrow db upgrade`"), translated():
            raw.execute("COPY nowhere FROM STDIN")
        raw.rollback()
    with pytest.raises(ZeroDivisionError), translated():
        _ = 1 / 0


def test_a_pool_that_is_used_up_is_busy(database_url: str) -> None:
    engine = connect(database_url, pool_size=1)
    engine.pool._timeout = 0  # type: ignore[attr-defined]
    with engine.connect(), pytest.raises(Exception, match="QueuePool") as error:
        engine.connect()
    engine.dispose()
    assert isinstance(translate(error.value), Busy)


def test_an_error_of_something_else_is_not_ours() -> None:
    assert translate(ValueError("x")) is None
