"""The port of a folder, and a folder of this machine.

Errors are those of ``harvester.errors``: ``Refused`` when asking again helps nobody, ``NotDelivered`` and
``Interrupted`` when it may.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import anyio.to_thread

from flows.catalog.feeds.plan import Entry
from harvester.errors import HarvestError, Interrupted, NotDelivered, Refused

BLOCK: Final = 1 << 20  # bytes read at a time


class Folder(AbstractAsyncContextManager["Folder"], Protocol):
    """Files that somebody delivers."""

    async def entries(self) -> list[Entry]:
        """The files that are there now."""
        ...

    async def entry(self, name: str) -> Entry | None:
        """One file as it is now; None when it is not there."""
        ...

    async def fetch(self, entry: Entry) -> Path:
        """Where the content can be read on this machine, until the folder is left or the next file is fetched."""
        ...

    async def put_away(self, entry: Entry, target: str) -> None:
        """Move a file that was read into the folder ``target`` below this one."""
        ...


def path_of(url: str) -> str:
    """The path that a file: or sftp: address names."""
    return unquote(urlsplit(url).path) or "/"


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in this folder, leads nowhere else, and can be stored and shown."""
    return name.isprintable() and name not in ("", ".", "..") and not set(name) & set("/\\")


class LocalFolder:
    """A folder of this machine. Links are not followed: what is delivered are files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __aenter__(self) -> LocalFolder:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    async def entries(self) -> list[Entry]:
        """See ``Folder``."""

        def work() -> list[Entry]:
            with os.scandir(self.path) as found:
                listed = [(each.name, each.stat(follow_symlinks=False)) for each in found if is_plain(each.name)]
            return [Entry(name=name, size=each.st_size, mtime=each.st_mtime) for name, each in listed if stat.S_ISREG(each.st_mode)]

        try:
            return await anyio.to_thread.run_sync(work)
        except OSError as error:
            raise _translated(error, str(self.path)) from error

    async def entry(self, name: str) -> Entry | None:
        """See ``Folder``."""

        def work() -> os.stat_result:
            return (self.path / name).lstat()

        try:
            found = await anyio.to_thread.run_sync(work)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _translated(error, name) from error
        return Entry(name=name, size=found.st_size, mtime=found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    async def fetch(self, entry: Entry) -> Path:
        """See ``Folder``: the file itself."""
        return self.path / entry.name

    async def put_away(self, entry: Entry, target: str) -> None:
        """See ``Folder``."""

        def work() -> None:
            folder = self.path / target
            folder.mkdir(exist_ok=True)
            place = folder / entry.name
            if place.exists():
                place = folder / f"{entry.name}.{int(entry.mtime)}"
            (self.path / entry.name).rename(place)

        try:
            await anyio.to_thread.run_sync(work)
        except OSError as error:
            raise _translated(error, entry.name) from error


def digest(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits. Raises the translated errors of reading."""
    made = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                made.update(block)
    except OSError as error:
        raise _translated(error, path.name) from error
    return made.hexdigest()


def _translated(error: OSError, what: str) -> HarvestError:
    why = error.strerror or type(error).__name__
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotDelivered(f"{what} is not there ({why}); is the folder mounted?")
    if isinstance(error, PermissionError):
        return Refused(f"{what} may not be read or moved ({why}); see the permissions of the folder and of its files")
    return Interrupted(f"{what} cannot be read: {why}")
