"""The embedded server: start, stop, crash of the server, crash of a command, several commands and several users."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import text

from db import accounts
from db.cluster import SETTINGS
from db.embedded import PORT, Embedded, home
from db.engine import connect
from db.errors import EmbeddedError, FolderRefused, StartFailed

ROOT = Path(__file__).parents[2]
FAST = {**SETTINGS, "fsync": "off", "shared_buffers": "32MB"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about the accounts that root uses")

START = """
import os, sys
from pathlib import Path
from db.cluster import SETTINGS
from db.embedded import Embedded
if sys.argv[2:]:  # the program may lie where only root can read it, so the user is changed when it is loaded
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
server = Embedded(home=Path(sys.argv[1]))
print(server.start({**SETTINGS, "fsync": "off", "shared_buffers": "32MB"}).pid)
"""

_numbers = itertools.count()


def command(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process of Windrow."""
    words = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended well."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def gone(pid: int | None) -> bool:
    """Whether the process has ended; whoever is to collect its exit status may be slow."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def run_sql(server: Embedded, *statements: str) -> list[object]:
    """First column of the first row of each statement that has one."""
    engine = connect(server.url(), pool_size=1)
    try:
        with engine.begin() as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            return [result.scalar() for result in results if result.returns_rows]
    finally:
        engine.dispose()


@pytest.fixture
def fresh(short_tmp: Path) -> Iterator[Embedded]:
    """A home without anything; whatever runs there afterwards is stopped."""
    server = Embedded(home=short_tmp / f"fresh-{next(_numbers)}")
    yield server
    if os.path.isdir(server.home):
        server.stop("immediate")


@pytest.fixture(scope="module")
def used(spare: Embedded) -> Embedded:
    """The shared home, with something in it; a test may leave it stopped or crashed."""
    spare.start()
    run_sql(spare, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('before')")
    return spare


def copied(source: Embedded, target: Path) -> Embedded:
    """The shared home once more: much faster than a new one."""
    source.stop()
    target.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", str(source.folder), str(target)], check=True)
    return Embedded(home=target)


@pytest.fixture
def server(used: Embedded) -> Embedded:
    """The shared home, running."""
    used.start()
    return used


def test_the_server_is_closed_and_reached_by_its_socket_only(server: Embedded) -> None:
    state = server.state()
    assert (state.status, state.socket) == ("running", server.folder)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (server.folder, server.data)} == {0o700}
    assert server.folder.stat().st_uid != 0
    assert psutil.Process(state.pid).net_connections("tcp") == []
    settings = ("listen_addresses", "server_encoding", "autovacuum_naptime", "synchronous_commit", "max_wal_size")
    assert run_sql(server, *(f"SHOW {name}" for name in settings)) == ["", "UTF8", "15s", "on", "2GB"]
    assert run_sql(server, "SELECT 'z' < 'é'", "SELECT lower('ÉŁ')") == [True, "éł"]  # by code point, and beyond ASCII


def test_where_nothing_runs_there_is_no_url(fresh: Embedded) -> None:
    assert fresh.state().status == "absent"
    with pytest.raises(EmbeddedError, match="is absent; `windrow db start`"):
        fresh.url()


def test_the_settings_of_the_shell_are_meant_for_another_server(used: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    used.stop()
    for name, value in {"PGDATA": "/nonexistent", "PGPORT": "1", "PGHOST": "nowhere", "PGDATABASE": "none"}.items():
        monkeypatch.setenv(name, value)
    used.start()
    assert run_sql(used, "SELECT current_database()") == ["windrow"]


def test_a_second_start_finds_the_first_and_a_stop_keeps_the_data(server: Embedded) -> None:
    pid = server.state().pid
    assert server.start().pid == pid
    assert server.stop() is True
    assert server.state().status == "stopped"
    until(lambda: gone(pid))
    assert server.stop() is False
    assert server.start().pid != pid
    assert run_sql(server, "SELECT word FROM kept") == ["before"]


def test_stop_says_that_nothing_runs_where_nothing_ever_ran(fresh: Embedded) -> None:
    assert fresh.stop() is False
    assert not fresh.home.exists()


def test_a_killed_server_is_started_again_with_everything_that_was_committed(server: Embedded) -> None:
    """harvest 21"""
    run_sql(server, "DROP TABLE IF EXISTS crash", "CREATE TABLE crash AS SELECT generate_series(1, 1000) AS n")
    pid = server.state().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: server.state().status == "stale")
    assert server.stop() is False
    assert server.start().pid != pid
    assert run_sql(server, "SELECT count(*) FROM crash") == [1000]


def test_a_start_waits_for_the_last_clients_of_a_killed_server(server: Embedded) -> None:
    """harvest 21"""
    pid = server.state().pid
    assert pid is not None
    client = psycopg.connect(server.url().replace("+psycopg", ""))
    backend = client.info.backend_pid
    os.kill(backend, signal.SIGSTOP)  # as one that is busy with a long statement
    later = threading.Timer(0.2, os.kill, (backend, signal.SIGCONT))
    later.start()
    try:
        os.kill(pid, signal.SIGKILL)
        until(lambda: server.state().status == "stale")
        assert server.start().pid != pid
        assert gone(backend)
    finally:
        later.join()
        client.close()
    assert "is still in use" in server.log_file.read_text()


def test_a_lock_file_whose_process_number_is_another_program_now_is_recovered_from(server: Embedded) -> None:
    pid = server.state().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: server.state().status == "stale")
    account = accounts.owner(server.folder)
    # A program of the same user: PostgreSQL alone would take it for a living server and refuse to start.
    stranger = subprocess.Popen(["sleep", "60"], **account.identity)
    try:
        for path in (server.data / "postmaster.pid", server.folder / f".s.PGSQL.{PORT}.lock"):
            path.write_text(path.read_text().replace(str(pid), str(stranger.pid), 1))
        assert server.state().status == "stale"
        assert server.start().status == "running"
        assert run_sql(server, "SELECT word FROM kept") == ["before"]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("content", ["", "nonsense", "999999999\n", "1\n/elsewhere\n"])
def test_a_spoilt_lock_file_is_stale(used: Embedded, content: str) -> None:
    used.stop()
    (used.data / "postmaster.pid").write_text(content)
    assert used.state().status == "stale"
    assert used.start().status == "running"


def test_a_killed_command_leaves_a_server_that_others_use_and_stop(server: Embedded) -> None:
    """harvest 21"""
    holding = """
import sys, time, psycopg
connection = psycopg.connect(sys.argv[1])
connection.execute("INSERT INTO kept VALUES ('uncommitted')")
print("ready", flush=True)
time.sleep(60)
"""
    client = command(holding, server.url().replace("+psycopg", ""))
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    client.kill()
    client.communicate()
    assert run_sql(server, "SELECT count(*) FROM kept WHERE word = 'uncommitted'") == [0]
    assert server.stop() is True
    assert server.state().status == "stopped"


@pytest.mark.parametrize("moment", ["new-*", "data/postmaster.pid"])
def test_a_command_killed_while_it_starts_the_server_hinders_nobody(fresh: Embedded, moment: str) -> None:
    client = command(START, fresh.home)
    until(lambda: fresh.folder.is_dir() and any(fresh.folder.glob(moment)))
    client.kill()
    client.communicate()
    assert fresh.start(FAST).status == "running"
    assert run_sql(fresh, "SELECT current_database()") == ["windrow"]
    assert fresh.stop() is True
    assert sorted(path.name for path in fresh.folder.iterdir()) == ["data", "server.log"]


def test_commands_that_start_at_once_in_an_empty_folder_share_one_server(short_tmp: Path) -> None:
    home_ = short_tmp / "at-once"
    home_.mkdir()
    user: list[int] = []
    if os.geteuid() == 0:  # then they are an ordinary user's, and root comes along later
        user = [pwd.getpwnam("nobody").pw_uid]
        os.chown(home_, user[0], -1)
    server = Embedded(home=home_)
    try:
        clients = [command(START, home_, *user) for _ in range(3)]
        (pid,) = {int(finished(client)) for client in clients}
        assert server.start().pid == pid
        assert [psutil.Process(pid).uids().real] == (user or [os.geteuid()])
        assert run_sql(server, "SELECT 1") == [1]
        assert server.stop() is True
        assert [psutil.Process(server.start().pid).uids().real] == (user or [os.geteuid()])
        assert int(finished(command(START, home_, *user))) == server.state().pid
    finally:
        server.stop("immediate")


def test_a_path_that_cannot_be_a_socket_address_gets_a_short_one(short_tmp: Path, used: Embedded) -> None:
    server = copied(used, short_tmp / ("with a blank, comma and 'quote' " + "a" * 70))
    try:
        state = server.start()
        assert state.socket is not None
        assert state.socket != server.folder
        assert stat.S_IMODE(state.socket.stat().st_mode) == 0o700
        assert run_sql(server, "SELECT 1") == [1]
    finally:
        server.stop("immediate")
    assert not state.socket.exists()
    state.socket.mkdir(mode=0o755)  # somebody else's trap
    try:
        with pytest.raises(FolderRefused, match="is not a closed folder of"):
            server.start()
    finally:
        state.socket.rmdir()


def test_a_path_that_the_shell_would_read_is_refused(short_tmp: Path) -> None:
    with pytest.raises(FolderRefused, match="set WINDROW_HOME to another folder"):
        Embedded(home=short_tmp / "a$b").start()


def test_a_home_that_cannot_be_a_folder_is_refused() -> None:
    server = Embedded(home=Path("/dev/null/windrow"))
    assert server.state().status == "absent"
    assert server.stop() is False
    with pytest.raises(FolderRefused, match=r"/dev/null/windrow/postgres.lock cannot be used .*; set WINDROW_HOME to a folder of your own"):
        server.start()


def test_a_server_whose_folder_was_removed_gives_way_to_a_new_one(
    fresh: Embedded, used: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    old = copied(used, fresh.home).start().pid
    assert old is not None
    os.kill(old, signal.SIGSTOP)  # sooner or later it would notice and end by itself
    shutil.rmtree(fresh.folder)
    try:
        assert fresh.start(FAST).pid != old
        assert gone(old)
    finally:
        with suppress(ProcessLookupError):
            os.kill(old, signal.SIGKILL)
    assert "ending a database server whose folder was removed" in caplog.text
    assert run_sql(fresh, "SELECT 1") == [1]


def test_data_of_another_major_version_is_refused(fresh: Embedded) -> None:
    fresh.data.mkdir(parents=True)
    (fresh.data / "PG_VERSION").write_text("16\n")
    if os.geteuid() == 0:
        shutil.chown(fresh.folder, accounts.SYSTEM_USER)
    with pytest.raises(EmbeddedError, match="written by PostgreSQL 16, and this Windrow brings 18"):
        fresh.start()


def test_a_failed_start_shows_the_end_of_the_log(used: Embedded) -> None:
    used.stop()
    configuration = used.data / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "no_such_setting = 1\n")
    try:
        with pytest.raises(StartFailed, match='unrecognized configuration parameter "no_such_setting"'):
            used.start()
    finally:
        configuration.write_text(good)
    assert used.start().status == "running"


def test_a_large_log_is_put_aside(used: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    used.stop()
    monkeypatch.setattr("db.embedded.LOG_LIMIT", 10)
    used.start()
    assert (used.folder / "server.log.1").exists()
    assert "ready to accept connections" in used.log_file.read_text()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WINDROW_HOME": "/srv/windrow"}, "/srv/windrow"),
        ({"WINDROW_HOME": "~/here"}, os.path.expanduser("~/here")),
        ({"WINDROW_HOME": "relative"}, f"{Path.cwd()}/relative"),
    ],
)
def test_windrow_home_is_made_absolute(environ: dict[str, str], expected: str) -> None:
    assert str(home(environ)) == expected


def test_windrow_home_is_the_users_data_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert home({}).name == "windrow"
    assert home({"WINDROW_HOME": "  "}) == home({})


# ------------------------------------------------------------------ users


@as_root
def test_root_opens_its_own_folders_for_passing_only_and_says_so(short_tmp: Path, used: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    closed = short_tmp / "closed"
    closed.mkdir(mode=0o700)
    server = copied(used, closed / "home")
    try:
        server.start()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o701
        assert f"{closed} may now be passed (not listed) by other users" in caplog.text
        caplog.clear()
        server.stop("immediate")
        server.start()
        assert "may now be passed" not in caplog.text
    finally:
        server.stop("immediate")


@as_root
def test_root_leaves_the_folders_of_others_closed(short_tmp: Path) -> None:
    closed = short_tmp / "private"
    closed.mkdir(mode=0o700)
    shutil.chown(closed, "nobody")
    with pytest.raises(FolderRefused, match=rf"may not pass the folder {closed}; allow that \(chmod o\+x {closed}\), or set WINDROW_HOME"):
        Embedded(home=closed / "home").start(FAST)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_a_folder_of_another_user_is_refused_by_name(server: Embedded) -> None:
    process = command(START, server.home, pwd.getpwnam("nobody").pw_uid)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"FolderRefused: {server.folder} belongs to windrow and is closed to nobody; run the command as windrow" in err
