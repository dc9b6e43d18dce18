"""An SFTP server on loopback: a real one, asyncssh's, with a folder of this machine as its root."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType

import asyncssh


class SftpServer:
    """Runs in a thread of its own. ``asked`` are the names that clients logged in with, also those that failed."""

    def __init__(
        self, root: Path, *, username: str = "windrow", password: str | None = "open-sesame", client_key: str | None = None
    ) -> None:
        self.root = root
        self.username, self.password = username, password
        self.asked: list[str] = []
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self._client_key = client_key
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port = 0

    @property
    def host_key(self) -> str:
        """The server's key as ssh-keyscan shows it."""
        return self.key.export_public_key("openssh").decode().strip()

    @property
    def fingerprint(self) -> str:
        return self.key.get_fingerprint("sha256")

    def url(self, folder: str = "/") -> str:
        return f"sftp://127.0.0.1:{self.port}{folder}"

    def __enter__(self) -> SftpServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        outer = self

        class Server(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                outer.asked.append(username)
                return True

            def password_auth_supported(self) -> bool:
                return outer.password is not None

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == (outer.username, outer.password)

        keys = asyncssh.import_authorized_keys(self._client_key) if self._client_key else None
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[self.key],
            authorized_client_keys=keys,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(self.root).encode()),
        )
        self.port = server.get_port()
        self._started.set()
        await self._stop.wait()
        server.close()
        await server.wait_closed()
