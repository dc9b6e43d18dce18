"""A paged REST endpoint on loopback, with the ways of paging that are met, and faults on demand."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Endpoint:
    """``items`` are paged by ``size``; ``style`` is next, link, page or offset.

    ``faults`` are status and headers of answers that come before the right one.
    """

    items: list[Any]
    size: int = 2
    style: str = "next"
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    key: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    elsewhere: str | None = None

    def __enter__(self) -> Endpoint:
        outer = self
        lock = threading.Lock()
        at_once = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nonlocal at_once
                with lock:
                    at_once += 1
                    outer.most_at_once = max(outer.most_at_once, at_once)
                try:
                    outer.answer(self)
                finally:
                    with lock:
                        at_once -= 1

            def log_message(self, format: str, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/records"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        self.asked.append(query)
        if self.faults:
            status, headers = self.faults.pop(0)
            self.send(request, status, b"no", headers)
            return
        if self.key is not None and query.get("apikey") != self.key:
            self.send(request, 401, b"no", {})
            return
        start = {"page": (int(query.get("page", 1)) - 1) * self.size, "offset": int(query.get("offset", 0))}.get(
            self.style, int(query.get("start", 0))
        )
        part = self.items[start : start + self.size]
        following = start + self.size
        body: dict[str, Any] = {"data": {"items": part}, "links": {}}
        headers = {}
        if following < len(self.items):
            base = self.elsewhere or self.url
            address = f"{base}?start={following}" + (f"&apikey={self.key}" if self.key else "")
            if self.style == "next":
                body["links"]["next"] = address
            elif self.style == "link":
                headers["Link"] = f'<{self.url}?start=0>; rel="first", <{address}>; rel="next"'
        self.send(request, 200, json.dumps(body).encode(), headers)

    @staticmethod
    def send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)
