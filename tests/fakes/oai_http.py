"""HTTP/1.1 over asyncio for the stand-in: one small protocol, keep-alive, one exchange at a time per connection.

Written by hand because it shares the machine with what it measures, and because half of its work is to answer badly: reset, cut,
drip, stall.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Final

from tests.fakes.oai_replies import Reply
from tests.fakes.oai_site import Exchange, Request, Site

HEAD_LIMIT: Final = 64 * 1024  # bytes
SEND_BUFFER: Final = 1 << 20  # bytes: a page of some hundred records goes out in one piece
_LINGER_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: closing sends RST


def _head(reply: Reply, length: int, close: bool) -> bytes:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {reply.status} {phrase}", f"Date: {formatdate(reply.date, usegmt=True)}", f"Content-Length: {length}"]
    if reply.content_type:
        lines.append(f"Content-Type: {reply.content_type}")
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, site: Site, elsewhere: bool, register: Callable[[Connection, bool], None]) -> None:
        self._site = site
        self._elsewhere = elsewhere
        self._register = register
        self._buffer = bytearray()
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._close = False
        self.transport: asyncio.Transport

    # -- what asyncio calls ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._register(self, True)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._writable.set()
        if self._exchange is not None:
            self._site.end(self._exchange, None, 0)
            self._exchange = None
        self._register(self, False)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        while self._exchange is None and not self.transport.is_closing():
            request = self._read()
            if request is None:
                return
            if request.path.startswith("/_"):
                self._send(self._site.control(request))
                continue
            taken = self._site.begin(request)
            if isinstance(taken, Reply):
                self._send(taken)
                continue
            self._exchange = taken
            self._start(taken)

    def _read(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                self._refuse(431)
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        try:
            method, target, version = lines[0].split(" ")
            pairs = [line.split(":", 1) for line in lines[1:]]
            headers = [(name.strip().lower(), value.strip()) for name, value in pairs]
            fields = dict(headers)
            length = int(fields.get("content-length", "0"))
        except ValueError:
            self._refuse(400)
            return None
        if "transfer-encoding" in fields:
            self._refuse(501)
            return None
        if len(self._buffer) < end + 4 + length:
            return None
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        self._close = fields.get("connection", "").lower() == "close" or version == "HTTP/1.0"
        path, _, query = target.partition("?")
        return Request(method=method, path=path, query=query, headers=headers, body=body, elsewhere=self._elsewhere)

    def _refuse(self, status: int) -> None:
        self._close = True
        self._send(Reply(status=status))

    # -- answering -------------------------------------------------------------------------------------------------------------

    def _start(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        if exchange.gates or exchange.reply.manner != "whole":
            self._task = loop.create_task(self._perform(exchange))
            self._task.add_done_callback(self._done)
        elif exchange.repository.latency > 0:
            self._timer = loop.call_later(exchange.repository.latency, self._finish, exchange)
        else:
            self._finish(exchange)

    def _done(self, task: asyncio.Task[None]) -> None:
        """An error of the stand-in itself: shown to the loop's handler, and the client is not left waiting."""
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "the stand-in failed", "exception": error})
            self.transport.abort()

    def _finish(self, exchange: Exchange) -> None:
        """The ordinary end: everything at once, then the next request, which may be waiting in the buffer."""
        self._timer = None
        sent = self._send(exchange.reply)
        self._over(exchange, sent)
        if self._buffer:
            self._next()

    def _over(self, exchange: Exchange, sent: int) -> None:
        self._site.end(exchange, exchange.reply.status, sent)
        self._exchange = None

    def _send(self, reply: Reply) -> int:
        parts = reply.parts or (reply.body,)
        length = sum(map(len, parts))
        self.transport.write(b"".join((_head(reply, length, self._close), *parts)))
        if self._close:
            self.transport.close()
        return length

    async def _perform(self, exchange: Exchange) -> None:
        """The ways that take time. Cancelled when the client goes away."""
        for gate in exchange.gates:
            await gate.wait()
        if exchange.repository.latency > 0:
            await asyncio.sleep(exchange.repository.latency)
        self._task = None  # from here on only `_send_badly` waits, and it sets the task again
        reply = exchange.reply
        if reply.manner == "whole":
            self._finish(exchange)
            return
        self._task = asyncio.current_task()
        sent = await self._send_badly(reply)
        self._task = None
        self._over(exchange, sent)
        if reply.manner in ("drip", "stream") and not self.transport.is_closing():
            self._next()

    async def _send_badly(self, reply: Reply) -> int:
        cut = int(len(reply.body) * reply.fraction)
        match reply.manner:
            case "close":
                self.transport.close()
                return 0
            case "stall":
                await asyncio.Event().wait()
            case "reset" | "short" | "stall-body":
                self.transport.write(_head(reply, len(reply.body), self._close) + reply.body[:cut])
                if reply.manner == "stall-body":
                    await asyncio.Event().wait()
                if reply.manner == "reset":
                    await asyncio.sleep(0.01)  # lets the first part arrive, so that the reset falls into the body
                    self._reset()
                else:
                    self.transport.close()
                return cut
            case "drip":
                self.transport.write(_head(reply, len(reply.body), self._close))
                for start in range(0, len(reply.body), reply.piece):
                    self.transport.write(reply.body[start : start + reply.piece])
                    await asyncio.sleep(reply.interval)
            case "stream":
                self.transport.write(_head(reply, reply.length, self._close))
                for piece in reply.pieces or ():
                    await self._writable.wait()
                    self.transport.write(piece)
                return reply.length
        return len(reply.body)

    def _reset(self) -> None:
        own = self.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self.transport.abort()


class Server:
    """The two listening sockets of a site. Runs in the loop that calls `start`."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._dead = socket.socket()
        self._quiet = asyncio.Event()  # set when there is no connection
        self._quiet.set()
        self._stopping = False

    async def start(self, port: int = 0) -> None:
        """Binds to 127.0.0.1. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        for elsewhere, wanted in ((False, port), (True, 0)):
            server = await loop.create_server(partial(Connection, self.site, elsewhere, self._register), "127.0.0.1", wanted, backlog=1024)
            self._servers.append(server)
            bound = server.sockets[0].getsockname()[1]
            if elsewhere:
                self.site.elsewhere_url = f"http://localhost:{bound}"
            else:
                self.site.url = f"http://127.0.0.1:{bound}"
        self._dead.bind(("127.0.0.1", 0))  # bound and never listening: nobody else takes the port, and connecting is refused

    @property
    def dead_url(self) -> str:
        """An address that refuses connections as long as this server lives."""
        return f"http://127.0.0.1:{self._dead.getsockname()[1]}/oai"

    async def stop(self) -> None:
        """Closes the sockets and cuts every connection, those that are just being made too."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        await self._quiet.wait()
        for server in self._servers:
            await server.wait_closed()
        self._dead.close()

    def _register(self, connection: Connection, alive: bool) -> None:
        if alive:
            self._connections.add(connection)
            self._quiet.clear()
            if self._stopping:
                connection.transport.abort()
        else:
            self._connections.discard(connection)
            if not self._connections:
                self._quiet.set()
