"""A folder on an SFTP server, by asyncssh: the single place where its errors become ours.

The server's key is compared with those that the configuration names before anything secret is sent. Files are brought
into a temporary folder of this machine, one at a time, so that memory stays flat however large they are.
"""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import anyio
import asyncssh

from flows.catalog.feeds.folder import is_plain, path_of
from flows.catalog.feeds.plan import Entry
from harvester.errors import HarvestError, Interrupted, NotDelivered, Refused
from harvester.feeds import Feed
from harvester.secrets import OUTSIDE_PREFECT, Resolvers, SecretError, SecretRef
from harvester.sources import Source

PORT: Final = 22
KEEP_ALIVE: Final = 20.0  # seconds between two signs of life; after four that are not answered the connection is gone
HOME: Final = "/~"
KEY_START: Final = "-----BEGIN"


class SftpFolder:
    """The folder of a source of kind sftp; an async context manager that holds the connection."""

    def __init__(self, source: Source, *, resolvers: Resolvers = OUTSIDE_PREFECT) -> None:
        self._source = source
        self._feed = source.feed or Feed()
        self._resolvers = resolvers
        parts = urlsplit(source.url)
        self._host, self._port = parts.hostname or "", parts.port or PORT
        path = path_of(source.url)
        self._path = (path[len(HOME) :].lstrip("/") or ".") if path == HOME or path.startswith(HOME + "/") else path
        self._stack = AsyncExitStack()
        self._client: asyncssh.SFTPClient | None = None
        self._spool: Path | None = None

    async def __aenter__(self) -> SftpFolder:
        async with AsyncExitStack() as stack:
            self._spool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="windrow-sftp-")))
            with self._translated("the connection"):
                with anyio.fail_after(self._source.connect_timeout + self._source.page_timeout):
                    connection = await stack.enter_async_context(self._connect())
                    self._client = await stack.enter_async_context(connection.start_sftp_client())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client = None
        with anyio.CancelScope(shield=True), anyio.move_on_after(5.0):
            await self._stack.aclose()

    async def entries(self) -> list[Entry]:
        """See ``Folder``."""
        with self._translated(self._path), anyio.fail_after(self._source.page_timeout):
            listed = await self._sftp.readdir(self._path)
        return [_entry(str(each.filename), each.attrs) for each in listed if is_plain(str(each.filename)) and _is_file(each.attrs)]

    async def entry(self, name: str) -> Entry | None:
        """See ``Folder``."""
        try:
            with self._translated(name), anyio.fail_after(self._source.page_timeout):
                found = await self._sftp.lstat(self._at(name))
        except NotDelivered:
            return None
        return _entry(name, found) if _is_file(found) else None

    async def fetch(self, entry: Entry) -> Path:
        """See ``Folder``: a copy, which the next one replaces."""
        if self._spool is None:
            raise NotDelivered("the connection is closed")
        target = self._spool / "file"
        with self._translated(entry.name):
            await self._sftp.get(self._at(entry.name), str(target), follow_symlinks=False)
        return target

    async def put_away(self, entry: Entry, target: str) -> None:
        """See ``Folder``."""
        with self._translated(entry.name), anyio.fail_after(self._source.page_timeout):
            if not await self._sftp.isdir(self._at(target)):
                await self._sftp.mkdir(self._at(target))
            place = f"{self._at(target)}/{entry.name}"
            if await self._sftp.exists(place):
                place = f"{place}.{int(entry.mtime)}"
            await self._sftp.rename(self._at(entry.name), place)

    # ------------------------------------------------------------- mechanics

    @property
    def _sftp(self) -> asyncssh.SFTPClient:
        if self._client is None:
            raise NotDelivered("the connection is closed")
        return self._client

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    def _connect(self) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
        source, feed = self._source, self._feed
        keys = [key for key in feed.host_keys if not key.startswith("SHA256:")]
        fingerprints = {key.rstrip("=") for key in feed.host_keys if key.startswith("SHA256:")}
        try:
            trusted = [asyncssh.import_public_key(key) for key in keys]
            password = self._value(source.password) if source.password is not None else None
            client_keys = [self._private_key(self._value(feed.private_key))] if feed.private_key is not None else None
            username = self._value(source.username) if source.username is not None else ""
        except asyncssh.KeyImportError as error:
            raise Refused(f"a key of the source cannot be used: {error}") from error
        except SecretError as error:
            raise Refused(f"a secret of the source cannot be read: {error}") from error
        return asyncssh.connect(
            self._host,
            self._port,
            username=username,
            password=password,
            client_keys=client_keys,
            known_hosts=(trusted, [], []),
            client_factory=lambda: _Pinned(fingerprints),
            agent_path=None,
            config=None,
            connect_timeout=source.connect_timeout,
            login_timeout=source.page_timeout,
            keepalive_interval=KEEP_ALIVE,
            keepalive_count_max=4,
            preferred_auth="publickey" if client_keys else "password,keyboard-interactive",
        )

    @staticmethod
    def _private_key(text: str) -> asyncssh.SSHKey:
        if text.lstrip().startswith(KEY_START):
            return asyncssh.import_private_key(text)
        try:
            return asyncssh.read_private_key(text.strip())
        except OSError as error:
            raise Refused(f"the file of the private key cannot be read: {error.strerror}") from None

    def _value(self, value: str | SecretRef) -> str:
        return value.resolve(self._resolvers) if isinstance(value, SecretRef) else value

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """asyncssh's errors as ours. A message never shows a key or a password."""
        try:
            yield
        except HarvestError:
            raise
        except asyncssh.HostKeyNotVerifiable as error:
            raise Refused(
                f"{self._host} has another key than host_keys names ({error.reason}); nothing was sent. "
                "Ask its operators whether they changed it before you change the configuration"
            ) from error
        except asyncssh.PermissionDenied as error:
            raise Refused(f"{self._host} refuses the user name, or the password or key with it") from error
        except asyncssh.SFTPNoSuchFile as error:
            raise NotDelivered(f"{what} is not there on {self._host}") from error
        except asyncssh.SFTPPermissionDenied as error:
            raise Refused(f"{what} may not be read or moved on {self._host}; see the permissions there") from error
        except TimeoutError as error:
            raise Interrupted(f"{self._host} did not answer in time ({what})") from error
        except asyncssh.SFTPError as error:
            raise Interrupted(f"{what} on {self._host}: {error.reason}") from error
        except asyncssh.Error as error:
            raise Interrupted(f"the connection to {self._host} broke off: {error.reason}") from error
        except OSError as error:
            raise NotDelivered(f"no connection to {self._host}:{self._port}: {error.strerror or type(error).__name__}") from error


class _Pinned(asyncssh.SSHClient):
    """Trusts a server whose key has one of some fingerprints; asked only about keys that are not trusted already."""

    def __init__(self, fingerprints: set[str]) -> None:
        self._fingerprints = fingerprints

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return key.get_fingerprint("sha256").rstrip("=") in self._fingerprints


def _is_file(found: asyncssh.SFTPAttrs) -> bool:
    if found.permissions is not None:
        return stat.S_ISREG(found.permissions)
    return found.type == asyncssh.FILEXFER_TYPE_REGULAR


def _entry(name: str, found: asyncssh.SFTPAttrs) -> Entry:
    return Entry(name=name, size=int(found.size or 0), mtime=float(found.mtime or 0))
