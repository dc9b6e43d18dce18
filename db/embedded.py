"""The embedded PostgreSQL server: a real one, started on demand, shared by all commands.

::

    WINDROW_HOME/
    ├── postgres.lock        held (flock) while a command starts or stops the server
    └── postgres/            0700, owned by the account that runs the server (db.accounts)
        ├── data/            PostgreSQL's data folder; appears complete, by one rename, or not at all
        ├── server.log       what the server says; an older one is server.log.1
        └── .s.PGSQL.5432    the only way in: a unix socket, never a TCP port

**Life.** The first command starts the server (about a second), the others find it (a millisecond), and it stays up when
they end, until ``windrow db stop`` or the machine's shutdown. Nobody counts clients: a count is wrong for ever once a
client is killed.

**Crashes.** A killed client leaves nothing behind. A killed server leaves a ``postmaster.pid``: the next start sees
that its process is gone, or is another program that got the same number, and PostgreSQL recovers from its own log. A
command killed in the middle of a start leaves a server that is starting, for which the next one waits; killed in the
middle of creating the data folder it leaves a ``new-...`` folder, which the next one removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import platformdirs
import psutil
from sqlalchemy.engine import URL

from db import accounts, cluster, programs
from db.accounts import Account
from db.cluster import DATABASE, ROLE, SETTINGS
from db.errors import EmbeddedError, FolderRefused, StartFailed

log = logging.getLogger(__name__)

PORT: Final = 5432  # only part of the socket's file name
SOCKET_PATH_LIMIT: Final = 103  # bytes: 107 on Linux, 103 on macOS
LOG_LIMIT: Final = 10 * 1024 * 1024  # bytes: a larger log is put aside at a start
START_SECONDS: Final = 300  # recovering 2 GB of write-ahead log takes a slow disk minutes
STOP_SECONDS: Final = 120
LOCK_SECONDS: Final = 330.0  # longer than the start or stop that it covers
ORPHAN_SECONDS: Final = 30.0  # backends of a killed server finish their statement before they notice
POLL_SECONDS: Final = 0.02

Status = Literal["absent", "stopped", "stale", "starting", "running", "stopping"]
WORDS: Final[dict[str, Status]] = {"ready": "running", "stopping": "stopping"}  # of postmaster.pid


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """WINDROW_HOME, by default the user's data folder for Windrow; absolute."""
    given = environ.get("WINDROW_HOME", "").strip()
    return (Path(given).expanduser() if given else platformdirs.user_data_path("windrow")).absolute()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of the server at one moment.

    ``absent``: no data folder yet. ``stopped``: data, but no server. ``stale``: it ended without tidying up, and the
    next start recovers. ``pid`` and ``socket`` (a folder) are those of a live server only.
    """

    status: Status
    pid: int | None = None
    socket: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The server of one WINDROW_HOME. A value that holds no process: everything is read from the folder."""

    home: Path

    @property
    def folder(self) -> Path:
        """Everything of the server; owned by the account that runs it."""
        return self.home.resolve() / "postgres"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    def state(self) -> State:
        """Look, without changing anything. Raises :class:`FolderRefused` where the folder is another user's."""
        try:
            # https://www.postgresql.org/docs/current/storage-file-layout.html: pid, data folder, start, port, socket folder,
            # address, shared memory, status; the later lines are added while it starts.
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return State(status="stopped" if (self.data / "PG_VERSION").exists() else "absent")
        except PermissionError as error:
            raise self._foreign() from error
        pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
        if not self._is_ours(pid):
            return State(status="stale")
        status = WORDS.get(lines[7].strip(), "starting") if len(lines) > 7 else "starting"
        return State(status=status, pid=pid, socket=Path(lines[4]) if len(lines) > 4 and lines[4] else None)

    def url(self, database: str = DATABASE) -> str:
        """Where the running server is reached, for SQLAlchemy; raises :class:`EmbeddedError` where none runs."""
        state = self.state()
        if state.status != "running" or state.socket is None:
            raise EmbeddedError(f"the embedded server of {self.home} is {state.status}; `windrow db start` starts it")
        where = {"host": str(state.socket), "port": str(PORT)}
        return URL.create("postgresql+psycopg", username=ROLE, database=database, query=where).render_as_string(hide_password=False)

    def start(self, settings: Mapping[str, str] = SETTINGS) -> State:
        """Make it run, and return when it answers; at once where it already does.

        ``settings`` go into a new data folder; an existing one keeps its own. Raises :class:`FolderRefused` and
        :class:`StartFailed`.
        """
        if (state := self.state()).status == "running":
            return state
        with self._lock():
            account = self._prepare()
            state = self._settled()
            if state.status == "running":
                return state
            self._remove_leftovers(stale=state.status == "stale")
            if state.status == "absent":
                self._end_orphans()
                cluster.create(self.data, settings, account)
            cluster.check_version(self.data)
            self._launch(account)
            state = self.state()
        log.info("embedded database started", extra={"action": "database.started", "folder": str(self.folder), "pid": state.pid})
        return state

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> bool:
        """End it; False where nothing ran.

        ``fast`` rolls back what is open and writes everything down, ``smart`` waits for clients first, ``immediate``
        leaves the recovery to the next start. Raises :class:`FolderRefused` and :class:`StartFailed`.
        """
        if self.state().pid is None and not self.folder.exists():
            return False
        with self._lock():
            state = self._settled()
            if state.pid is None:
                return False
            done = programs.run(
                *("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", str(STOP_SECONDS)),
                account=accounts.owner(self.folder),
                cwd=self.folder,
            )
            if done.returncode != 0 and self.state().pid is not None:
                raise StartFailed(f"the embedded server (process {state.pid}) did not stop: {programs.last_words(done.stdout)}")
            if state.socket not in (None, self.folder):
                with suppress(OSError):
                    state.socket.rmdir()
        log.info("embedded database stopped", extra={"action": "database.stopped", "folder": str(self.folder), "pid": state.pid})
        return True

    # ------------------------------------------------------------ the folder

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One start or stop at a time. The lock ends with the process that holds it, however that ends."""
        path = self.home / "postgres.lock"
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.geteuid() == 0:  # its owner shall not be locked out by a command of root
                os.fchown(handle, self.home.stat().st_uid, -1)
        except OSError as error:
            raise FolderRefused(f"{path} cannot be used ({error.strerror}); set WINDROW_HOME to a folder of your own") from error
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StartFailed(f"another command has held {path} for {LOCK_SECONDS:.0f} s; end it and try again") from None
                    time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(handle)

    def _prepare(self) -> Account:
        """The folder with the right owner and permissions, and the account that will run the server."""
        if re.search(r'["$`\\\n\r]', str(self.folder)):
            raise FolderRefused(
                f'{self.home} holds a character that pg_ctl cannot pass on (one of " $ ` \\); set WINDROW_HOME to another folder'
            )
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise FolderRefused(f"{self.folder} cannot be created ({error.strerror}); set WINDROW_HOME to a folder of your own") from error
        account = accounts.owner(self.folder)
        if os.geteuid() == 0:
            if account.uid == 0:
                if self.data.exists():
                    raise FolderRefused(
                        f"{self.data} belongs to root, and PostgreSQL refuses to run as root; give {self.folder} to another user"
                    )
                above = accounts.owner(self.home)
                account = above if above.uid != 0 else accounts.system_user()
                os.chown(self.folder, account.uid, account.gid)
            accounts.open_the_way(self.folder, account)
            programs.open_to(account)
        elif account.uid != os.geteuid():
            raise self._foreign()
        self.folder.chmod(0o700)
        return account

    def _foreign(self) -> FolderRefused:
        found = next(
            (path for path in (self.folder, *self.folder.parents) if path.parent == path or os.access(path.parent, os.X_OK)), self.home
        )
        whose = accounts.owner(found).name if found.exists() else "another user"
        return FolderRefused(
            f"{found} belongs to {whose} and is closed to {accounts.current().name}; run the command as {whose}, "
            "or set WINDROW_HOME to a folder of your own"
        )

    def _socket_folder(self, account: Account) -> Path:
        """The server's folder, or a short one where its path cannot be a socket address (too long, or with a comma)."""
        if len(os.fsencode(self.folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT and "," not in str(self.folder):
            return self.folder
        # The name can be guessed, so what is found there must be ours and closed.
        short = Path("/tmp") / f"windrow-{account.uid}-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]}"  # noqa: S108
        with suppress(FileExistsError):
            short.mkdir(mode=0o700)
            os.chown(short, account.uid, account.gid)
        info = short.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != account.uid or stat.S_IMODE(info.st_mode) != 0o700:
            raise FolderRefused(f"{short} is not a closed folder of {account.name}; remove it, or set WINDROW_HOME to a shorter path")
        return short

    def _remove_leftovers(self, *, stale: bool) -> None:
        """Remove half-made data folders, and the lock files of a server that is gone.

        PostgreSQL removes the latter by itself, unless their process number now is another program's of the same user. It
        still finds living backends of the old server, by its shared memory.
        """
        for leftover in self.folder.glob(f"{cluster.UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if stale:
            with suppress(OSError, IndexError):
                socket = (self.data / "postmaster.pid").read_text().splitlines()[4]
                Path(socket, f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    # ------------------------------------------------------------ the process

    def _is_ours(self, pid: int) -> bool:
        """Whether the process is the server of this data folder, and not another program that got its number."""
        try:
            return pid > 0 and _serves(psutil.Process(pid).cmdline(), self.data)
        except psutil.Error:  # gone, a zombie, or of another user, as ours can never be
            return False

    def _settled(self) -> State:
        """The state once a start or stop is over that a killed command, or another program, has begun."""
        deadline = time.monotonic() + START_SECONDS
        while (state := self.state()).status in ("starting", "stopping"):
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"the embedded server (process {state.pid}) is still {state.status} after {START_SECONDS} s; see {self.log_file}"
                )
            time.sleep(POLL_SECONDS)
        return state

    def _end_orphans(self) -> None:
        """End a server whose data folder was removed under it: when it notices, it would remove the new one's socket."""
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if _serves(process.cmdline(), self.data):
                    log.warning(
                        "ending a database server whose folder was removed", extra={"action": "database.orphan", "pid": process.pid}
                    )
                    doomed = [process, *process.children()]
                    for one in doomed:
                        one.kill()  # there is nothing left to save
                    psutil.wait_procs(doomed, timeout=ORPHAN_SECONDS)

    def _launch(self, account: Account) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_LIMIT:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        where = f"-c listen_addresses='' -c unix_socket_permissions=0700 -c port={PORT}"
        options = f"{where} -c unix_socket_directories={_quoted(self._socket_folder(account))}"
        deadline = time.monotonic() + ORPHAN_SECONDS
        while True:
            before = self.log_file.stat().st_size if self.log_file.exists() else 0
            done = programs.run(
                *("pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-D", str(self.data), "-l", str(self.log_file), "-o", options),
                account=account,
                cwd=self.folder,
            )
            # A command that was killed may have begun the same start a moment before: then ours fails, and it runs.
            if self._settled().status == "running":
                return
            said = self.log_file.read_bytes()[before:].decode(errors="replace") if self.log_file.exists() else ""
            # The backends of a killed server live until they notice.
            if "shared memory block" not in said or time.monotonic() > deadline:
                raise StartFailed(f"the embedded server did not start: {programs.last_words(said or done.stdout)} (see {self.log_file})")
            time.sleep(0.1)


def _serves(command_line: list[str], data: Path) -> bool:
    """Whether it is the command line of a server (its backends have titles instead) of the data folder."""
    return bool(command_line) and Path(command_line[0]).name == "postgres" and "-D" in command_line and str(data) in command_line


def _quoted(folder: Path) -> str:
    """For pg_ctl's -o, which goes through a shell, and for PostgreSQL, which splits a list at blanks and commas outside of quotes."""
    return "'" + f'"{folder}"'.replace("'", "'\\''") + "'"
