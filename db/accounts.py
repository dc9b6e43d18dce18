"""The system user that runs the embedded server, and what it may reach.

PostgreSQL refuses to run as root. For root the server runs as the owner of WINDROW_HOME or of an existing data folder
where that is somebody else, otherwise as the system user ``windrow``, which is created once.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import stat
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from db.errors import EmbeddedError, FolderRefused

log = logging.getLogger(__name__)

SYSTEM_USER: Final = "windrow"
ATTEMPTS: Final = 20  # to create it, a tenth of a second apart: useradd locks the file of users


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A system user by its numbers. For root, programs are run as this user; anybody else can only be themselves."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """For messages; the number of a user without a name, as containers have."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @property
    def identity(self) -> dict[str, Any]:
        """Arguments of ``subprocess.run`` that make a program run as this user; none where we are it."""
        return {} if self.uid == os.geteuid() else {"user": self.uid, "group": self.gid, "extra_groups": []}


def current() -> Account:
    """The user of this process."""
    return Account(uid=os.geteuid(), gid=os.getegid())


def owner(path: Path) -> Account:
    """The owner of a file or folder."""
    info = path.stat()
    return Account(uid=info.st_uid, gid=info.st_gid)


def system_user() -> Account:
    """The system user ``windrow``, created where it does not exist; needs root. Raises :class:`EmbeddedError`."""
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    said = "there is no program useradd"
    for _ in range(ATTEMPTS):
        with suppress(KeyError):
            entry = pwd.getpwnam(SYSTEM_USER)
            return Account(uid=entry.pw_uid, gid=entry.pw_gid)
        if useradd is None:
            break
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        done = subprocess.run([useradd, *options, SYSTEM_USER], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            log.warning("system user %s created, to run the embedded database", SYSTEM_USER, extra={"action": "database.user_created"})
        else:  # another command may be creating it at this moment: look again
            said = done.stderr.strip()
            time.sleep(0.1)
    raise EmbeddedError(
        f"PostgreSQL refuses to run as root, and the system user {SYSTEM_USER} could not be created ({said}); create it "
        f"(useradd --system {SYSTEM_USER}), run the command as an ordinary user, or set WINDROW_DATABASE_URL"
    )


def may(account: Account, right: str, path: Path) -> bool:
    """Whether the account has the right (``r``, ``w``, ``x``) on the path.

    The kernel is asked as that account, since permission bits are not all there is (access lists, mounts).
    """
    command = ["/bin/sh", "-c", f'test -{right} "$1"', "sh", str(path)]
    return subprocess.run(command, cwd="/", capture_output=True, check=False, **account.identity).returncode == 0  # noqa: S603


def open_the_way(folder: Path, account: Account) -> None:
    """Let the account pass the parents of the folder, which is its own.

    Parents of root's get the permission to be passed, by which nobody can list or read them, and a warning says so.
    Raises :class:`FolderRefused` for a parent of anybody else: whose home is open to whom is not ours to decide.
    """
    if may(account, "x", folder):
        return
    for parent in reversed(folder.parents):
        if may(account, "x", parent):
            continue
        refusal = FolderRefused(
            f"the database server runs as {account.name}, who may not pass the folder {parent}; allow that (chmod o+x {parent}), "
            "or set WINDROW_HOME to a folder that everybody may pass, such as /var/lib/windrow"
        )
        info = parent.stat()
        if info.st_uid != 0:
            raise refusal
        with suppress(OSError):
            parent.chmod(stat.S_IMODE(info.st_mode) | stat.S_IXOTH)
        if not may(account, "x", parent):
            raise refusal
        log.warning(
            "%s may now be passed (not listed) by other users: the database server runs as %s and needs a folder below it",
            *(parent, account.name),
            extra={"action": "database.folder_opened", "folder": str(parent)},
        )


def open_tree(folder: Path, account: Account, *probes: Path) -> None:
    """Let everybody read and run the programs below the folder, where the account may not read one of the probes.

    Root's pip under umask 077 installs for root alone. Raises :class:`FolderRefused` like :func:`open_the_way`.
    """
    open_the_way(folder, account)
    if all(may(account, "r", probe) for probe in probes):
        return
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
    log.warning(
        "everything in %s may now be read by other users", folder, extra={"action": "database.folder_opened", "folder": str(folder)}
    )
