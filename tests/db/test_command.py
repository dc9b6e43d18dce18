"""`windrow db`, as people and programs use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from typer.testing import CliRunner, Result

from db.embedded import Embedded
from db.engine import HEAD
from flows.commands.db import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(short_tmp: Path) -> Iterator[Embedded]:
    """The embedded server of the home that the commands use."""
    value = Embedded(home=short_tmp / "command")
    yield value
    value.stop("immediate")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, server: Embedded) -> None:
    """A home of our own, and no external database."""
    monkeypatch.setenv("WINDROW_HOME", str(server.home))
    monkeypatch.delenv("WINDROW_DATABASE_URL", raising=False)


def windrow_db(*arguments: str, status: int = 0) -> Result:
    """Run it in this process."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status, result.output
    return result


def answer(*arguments: str, status: int = 0) -> Any:
    """What a program reads."""
    return json.loads(windrow_db(*arguments, "--json", status=status).stdout)


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, with pipes: it must end although the server goes on."""
    words = [sys.executable, "-c", "from flows.commands.db import app; app()", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_life_of_the_embedded_server(server: Embedded) -> None:
    assert "no database yet" in windrow_db("status").stdout
    assert answer("stop")["changed"] is False
    started = answer("start")
    assert started == {
        "kind": "embedded",
        "status": "running",
        "pid": server.state().pid,
        "data": str(server.data),
        "log": str(server.log_file),
    } | {"changed": True}
    assert "already running: process" in windrow_db("start").stdout
    assert answer("status")["pid"] == started["pid"]
    assert answer("upgrade") == {"changed": True, "migration": HEAD}
    assert windrow_db("upgrade").stdout == "nothing to do: the tables are those of version " + HEAD + "\n"
    assert answer("check") == {"ok": True, "problems": []}
    assert windrow_db("stop").stdout == f"stopped; the data stays in {server.data}\n"
    assert windrow_db("stop").stdout == f"nothing to stop: no server runs for {server.home}\n"
    assert answer("status")["status"] == "stopped"


def test_url_starts_the_server_and_prints_what_psql_takes(server: Embedded) -> None:
    server.stop()
    done = process("url")
    assert (done.returncode, done.stdout) == (0, server.url().replace("+psycopg", "") + "\n"), done.stderr
    assert make_url(answer("url")["url"]).database == "windrow"


def test_stop_works_after_the_server_was_killed(server: Embedded) -> None:
    pid = server.start().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert answer("stop")["changed"] is False
    server.start()


def test_shell_is_psql_on_the_database(server: Embedded) -> None:
    done = process("shell", "-At", "-c", "SELECT current_database()", "-c", "SHOW application_name")
    assert (done.returncode, done.stdout) == (0, "windrow\nwindrow db shell\n"), done.stderr
    assert process("shell", "-v", "ON_ERROR_STOP=1", "-c", "nonsense").returncode == 1


def test_shell_hands_the_password_over_where_nobody_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20"""
    monkeypatch.setenv("WINDROW_DATABASE_URL", "postgres://u:s%40cret@localhost:1/d")
    seen: list[Any] = []

    def become(*arguments: Any) -> None:
        seen.extend(arguments)

    monkeypatch.setattr("flows.commands.db.become", become)
    windrow_db("shell", "-c", "SELECT 1")
    program, arguments, environ = seen
    assert program.endswith("psql")
    assert arguments == ["psql", "-c", "SELECT 1", "postgresql://u@localhost:1/d"]
    assert environ["PGPASSWORD"] == "s@cret"


def test_an_external_database_is_neither_started_nor_stopped(monkeypatch: pytest.MonkeyPatch, server: Embedded, database_url: str) -> None:
    server.start()
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)
    assert "neither starts nor stops" in windrow_db("start").stdout
    assert answer("status")["status"] == "running"
    assert answer("url", "--show-password") == {"url": database_url.replace("+psycopg", ""), "kind": "external"}
    assert answer("upgrade") == {"changed": False, "migration": HEAD}
    stopped = windrow_db("stop").stdout
    assert "stopped; the data stays in" in stopped  # our own may run from earlier, and is stopped
    assert "neither starts nor stops" in stopped
    assert answer("status")["status"] == "running"


def test_a_password_is_shown_on_demand_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20"""
    monkeypatch.setenv("WINDROW_DATABASE_URL", "postgres://u:secret@localhost:1/d")
    assert windrow_db("url").stdout == "postgresql://u:***@localhost:1/d\n"
    assert windrow_db("url", "--show-password").stdout == "postgresql://u:secret@localhost:1/d\n"
    for arguments in (["check"], ["check", "--json"], ["status"], ["status", "--json"], ["upgrade"]):
        result = windrow_db(*arguments, status=1)
        assert "secret" not in result.output
        assert "cannot be reached" in result.output


@pytest.mark.parametrize("arguments", [["url"], ["status"], ["upgrade"], ["shell"]])
def test_a_wrong_configuration_is_a_message_and_status_2(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setenv("WINDROW_DATABASE_URL", "mysql://u:secret@localhost/d")
    result = windrow_db(*arguments, status=2)
    assert result.stderr.startswith("windrow: the database URL (WINDROW_DATABASE_URL) begins with mysql://")
    assert "secret" not in result.output


@pytest.mark.parametrize("name", ["url", "start", "stop", "status", "upgrade", "check", "shell"])
def test_every_command_explains_itself(name: str) -> None:
    assert "Usage" in windrow_db(name, "--help").stdout
