"""One request over a real socket: what goes out, what comes back, and which error is which."""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import socket
import struct
import threading
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest
from httpx import create_ssl_context
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester.client import INFLATE, REDIRECTS, Client, Reply, inflate
from harvester.errors import HarvestError, Interrupted, NotDelivered, Refused, RequestFailed, TooLarge
from harvester.oai import Request
from harvester.secrets import SecretRef
from harvester.sources import Source

ASKED = Request(verb="ListRecords", arguments=(("metadataPrefix", "marc21"), ("set", "a b&c")))
BODY = b"<OAI-PMH>" + b"<record>M\xc3\xbcller</record>" * 500 + b"</OAI-PMH>"
Answer = bytes | Iterable[bytes] | None


class Heard:
    """A request as it came in."""

    def __init__(self, raw: bytes) -> None:
        line, _, rest = raw.decode("latin-1").partition("\r\n")
        self.raw = raw
        self.target = line.split(" ")[1]
        self.query = parse_qsl(urlsplit(self.target).query, keep_blank_values=True)
        self.headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest.split("\r\n")) if value}


class Wire:
    """A server that says what it is told, byte for byte; an answer None cuts the connection with a reset."""

    def __init__(self, answer: Callable[[Heard], Answer]) -> None:
        self.answer = answer
        self.heard: list[Heard] = []
        self.over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/oai"

    def __enter__(self) -> Wire:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            raw = b""
            while not raw.endswith(b"\r\n\r\n"):
                chunk = connection.recv(65536)
                if not chunk:
                    return
                raw += chunk
            heard = Heard(raw)
            self.heard.append(heard)
            said = self.answer(heard)
            for part in [said] if isinstance(said, bytes) else said or ():
                connection.sendall(part)
            if said is None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drip(self, head: bytes) -> Iterator[bytes]:
        """A byte now and then, without end."""
        yield head
        while not self.over.wait(0.01):
            yield b"x"


def said(body: bytes = BODY, *, status: str = "200 OK", length: bool = True, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(location: str, status: int = 302) -> bytes:
    return said(b"moved", status=f"{status} Moved", Location=location)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


shared_context = functools.cache(create_ssl_context)


@pytest.fixture(autouse=True)
def plain_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the developer's shell, and one TLS context for all clients: making one takes longer than a test."""
    monkeypatch.setattr("httpx._transports.default.create_ssl_context", shared_context)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def source(url: str, **changes: object) -> Source:
    return Source(name="a", url=url, **changes)  # type: ignore[arg-type]


def fetch(asked: Source, backend: str = "asyncio", *, timeout: float = 10.0, request: Request = ASKED) -> Reply:
    async def run() -> Reply:
        async with Client() as client:
            return await client.fetch(asked, request, timeout=timeout)

    return anyio.run(run, backend=backend)


# ------------------------------------------------------------- what goes out


def test_a_request_carries_its_arguments_and_says_who_asks(backend: str) -> None:
    """harvest 15, 17"""
    with Wire(lambda heard: said(Content_Type="text/xml", Retry_After="7", Server="x", Set_Cookie="a=b")) as wire:
        reply = fetch(source(wire.url), backend)
    assert (reply.status, reply.body) == (200, BODY)
    assert reply.headers == {"content-type": "text/xml", "retry-after": "7", "server": "x"}
    assert reply.seconds > 0
    (heard,) = wire.heard
    assert heard.query == [("verb", "ListRecords"), ("metadataPrefix", "marc21"), ("set", "a b&c")]
    assert heard.headers["user-agent"].startswith("Windrow")
    assert heard.headers["accept-encoding"] == "gzip, deflate"
    assert "authorization" not in heard.headers


@pytest.mark.parametrize("token", ["a b", "a+b", "a&b=c", "a%20b", "é/漢", "!marc21:2026-01-01T00:00:00Z:100#x", "{}[]|\\^`"])
def test_a_token_arrives_as_the_repository_gave_it(token: str) -> None:
    """harvest 12"""
    with Wire(lambda heard: said()) as wire:
        fetch(source(wire.url), request=Request(verb="ListRecords", arguments=(("resumptionToken", token),)))
    assert parse_qsl(urlsplit(wire.heard[0].target).query, keep_blank_values=True)[1] == ("resumptionToken", token)


def test_headers_and_parameters_of_the_source_go_out_with_their_secrets(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20"""
    monkeypatch.setenv("ALPHA_KEY", "s3cret&=")
    key = SecretRef(scheme="env", name="ALPHA_KEY")
    asked = {"headers": {"X-Plain": "p", "X-Key": key}, "query": {"apikey": key, "lang": "en"}}
    with Wire(lambda heard: said()) as wire:
        fetch(source(wire.url + "?tenant=diku&verb=Identify", **asked), backend)
    (heard,) = wire.heard
    assert (heard.headers["x-plain"], heard.headers["x-key"]) == ("p", "s3cret&=")
    assert sorted(heard.query) == sorted(
        [
            ("tenant", "diku"),
            ("apikey", "s3cret&="),
            ("lang", "en"),
            ("verb", "ListRecords"),
            ("metadataPrefix", "marc21"),
            ("set", "a b&c"),
        ]
    )


def test_basic_and_bearer_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20"""
    monkeypatch.setenv("PASSWORD", "pä:ss")
    monkeypatch.setenv("TOKEN", "t0ken")
    with Wire(lambda heard: said()) as wire:
        fetch(source(wire.url, username="me", password=SecretRef(scheme="env", name="PASSWORD")))
        fetch(source(wire.url, bearer_token=SecretRef(scheme="env", name="TOKEN")))
    basic, bearer = (heard.headers["authorization"] for heard in wire.heard)
    assert basic == "Basic " + b64encode("me:pä:ss".encode()).decode()
    assert bearer == "Bearer t0ken"


@pytest.mark.parametrize("reference", [SecretRef(scheme="env", name="NOT_SET_AT_ALL"), SecretRef(scheme="prefect", name="a-block")])
@pytest.mark.parametrize("place", ["headers", "query", "bearer_token", "password"])
def test_a_secret_that_is_missing_is_a_refusal_and_nothing_is_sent(reference: SecretRef, place: str) -> None:
    """harvest 20"""
    value = {"X-Key": reference} if place in ("headers", "query") else reference
    with Wire(lambda heard: said()) as wire, pytest.raises(Refused, match=reference.name):
        fetch(source(wire.url, username="me", **{place: value}))
    assert wire.heard == []


def chain(error: BaseException | None) -> Iterator[str]:
    """All that a log or a traceback would show of an error."""
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("value", ["s3cret\n", "s3\r\nX-Evil: 1cret", "s3crét"])
@pytest.mark.parametrize("place", ["headers", "bearer_token"])
def test_a_secret_that_http_cannot_carry_is_refused_without_being_shown(value: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20: a file read into a variable often has a line break at its end, and the foreign error would show it all."""
    monkeypatch.setenv("KEY", value)
    key = SecretRef(scheme="env", name="KEY")
    with Wire(lambda heard: said()) as wire, pytest.raises(Refused) as caught:
        fetch(source(wire.url, **{place: {"X-Key": key} if place == "headers" else key}))
    assert not any("s3" in each for each in chain(caught.value))
    assert wire.heard == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda heard: None,
        lambda heard: b"",
        lambda heard: b"rubbish\r\n\r\n",
        lambda heard: said()[:-5],
        lambda heard: redirect(f"http://127.0.0.1:1{heard.target}"),
        lambda heard: redirect(f"ftp://x{heard.target}"),
        lambda heard: redirect(f"http://[{heard.target}"),
        lambda heard: redirect(heard.target),
    ],
)
def test_no_error_shows_a_credential(answer: Callable[[Heard], Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20"""
    monkeypatch.setenv("KEY", "s3cret")
    key = SecretRef(scheme="env", name="KEY")
    with Wire(answer) as wire, pytest.raises(HarvestError) as caught:
        fetch(source(wire.url, headers={"X-Key": key}, query={"apikey": key}, bearer_token=key))
    assert "s3cret" not in str(caught.value)


# ------------------------------------------------------------------- bodies


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


WAYS: dict[str, tuple[bytes, str | None]] = {
    "plain": (BODY, None),
    "gzip": (gzip.compress(BODY), "gzip"),
    "x-gzip": (gzip.compress(BODY), "x-gzip"),
    "gzip, unannounced": (gzip.compress(BODY), None),
    "gzip, announced as deflate": (gzip.compress(BODY), "deflate"),
    "gzip announced, but plain": (BODY, "gzip"),
    "gzip in two members": (gzip.compress(BODY[:5000]) + gzip.compress(BODY[5000:]), "gzip"),
    "gzip with padding": (gzip.compress(BODY) + b"\0" * 512, "gzip"),
    "deflate": (zlib.compress(BODY), "deflate"),
    "raw deflate": (raw_deflate(BODY), "deflate"),
    "deflate announced, but plain": (BODY, "deflate"),
    "deflate announced, but plain with a blank line": (b"\n" + BODY, "deflate"),
    "identity": (BODY, "identity"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("piece", [1, 7, 10**9], ids=["byte by byte", "by 7", "at once"])
def test_bodies_are_decompressed_however_they_come(way: str, piece: int) -> None:
    """harvest 17"""
    packed, encoding = WAYS[way]

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), piece):
            yield packed[start : start + piece]

    assert anyio.run(inflate, chunks(), encoding or "", 10**6).lstrip() == BODY


@pytest.mark.parametrize("way", WAYS)
def test_bodies_are_decompressed_over_the_wire(way: str, backend: str) -> None:
    """harvest 17"""
    packed, encoding = WAYS[way]
    with Wire(lambda heard: said(packed, **({"Content_Encoding": encoding} if encoding else {}))) as wire:
        assert fetch(source(wire.url), backend).body.lstrip() == BODY


def test_a_chunked_body_without_length_and_an_empty_one() -> None:
    """harvest 15, 17"""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\n<a/\r\n1\r\n>\r\n0\r\n\r\n"
    for answer, body in ((chunked, b"<a/>"), (said(b""), b""), (said(b"x"), b"x"), (said(b"<a/>", length=False), b"<a/>")):
        with Wire(lambda heard, answer=answer: answer) as wire:  # type: ignore[misc]
            assert fetch(source(wire.url)).body == body


@settings(deadline=None, max_examples=40)
@given(
    size=st.one_of(st.integers(0, 700_000), st.integers(-600, 600).map(lambda near: max(0, INFLATE + near))),
    kind=st.sampled_from(["gzip", "zlib", "raw"]),
    piece=st.sampled_from([1 << 16, 10**9, 600]),
    flat=st.booleans(),
)
@example(size=INFLATE + 1, kind="raw", piece=10**9, flat=True)
@example(size=2 * INFLATE + 2, kind="raw", piece=1 << 16, flat=True)
def test_not_a_byte_is_lost_at_the_bounds_of_the_decompressor(size: int, kind: str, piece: int, flat: bool) -> None:
    """harvest 12, 17: it may hold back its last bytes when its output is as large as it may be at once."""
    body = b"<" + (b"a" * size if flat else bytes(range(97, 123)) * (size // 26 + 1))[:size]
    packed = {"gzip": gzip.compress, "zlib": zlib.compress, "raw": raw_deflate}[kind](body)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), piece):
            yield packed[start : start + piece]

    assert anyio.run(inflate, chunks(), "" if kind == "gzip" else "deflate", 10**7) == body


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress], ids=["plain", "gzip", "deflate"])
def test_a_page_of_exactly_the_limit_is_read_and_one_byte_more_is_refused(pack: Callable[[bytes], bytes], backend: str) -> None:
    """harvest 17"""
    with Wire(lambda heard: said(pack(BODY), Content_Encoding="deflate")) as wire:
        assert fetch(source(wire.url, page_bytes_limit=len(BODY)), backend).body == BODY
        with pytest.raises(TooLarge, match=f"larger than {len(BODY) - 1:,} bytes after decompression; page_bytes_limit"):
            fetch(source(wire.url, page_bytes_limit=len(BODY) - 1), backend)


def test_a_gzip_bomb_stays_within_the_limit() -> None:
    """harvest 17: 64 MB in 64 kB; what is inflated at once is bounded, not only what is kept."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    with Wire(lambda heard: said(bomb, Content_Encoding="gzip")) as wire:
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge):
                fetch(source(wire.url, page_bytes_limit=2 << 20))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_damaged_compressed_body_is_an_interruption(encoding: str) -> None:
    """harvest 15"""
    packed = bytearray(gzip.compress(BODY) if encoding == "gzip" else zlib.compress(BODY))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) // 2)
    with Wire(lambda heard: said(bytes(packed), Content_Encoding=encoding)) as wire, pytest.raises(Interrupted, match="damaged"):
        fetch(source(wire.url))


# ---------------------------------------------------------------- failures


def test_a_refused_connection_was_never_delivered(backend: str) -> None:
    """harvest 15"""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NotDelivered, match=f"127.0.0.1:{port}"):
        fetch(source(f"http://127.0.0.1:{port}/oai"), backend)


def test_a_name_that_does_not_exist_was_never_delivered() -> None:
    """harvest 15"""
    for url in ("http://no-such-host.invalid/oai", f"http://{'a' * 63}.invalid/oai"):
        with pytest.raises(NotDelivered, match="invalid"):
            fetch(source(url))


@pytest.mark.parametrize(
    "url", ["http://a..b/oai", f"http://{'a' * 64}.org/oai", "ftp://x/oai", "file:///etc/passwd", "http://[::1/oai", "nothing"]
)
def test_a_url_that_cannot_be_asked_is_one_of_our_errors(url: str) -> None:
    """harvest 17"""
    with pytest.raises((Refused, NotDelivered)):
        fetch(source(url))


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"HTTP/1.1 200 OK\r\n", said()[:-1], [said()[:4000]], b"rubbish\r\n\r\n", said(BODY)[:-1]],
    ids=["reset", "closed", "half a head", "a byte short", "half a body", "no HTTP", "cut"],
)
def test_an_answer_that_breaks_off_is_an_interruption(answer: Answer, backend: str) -> None:
    """harvest 15"""
    with Wire(lambda heard: answer) as wire, pytest.raises(Interrupted, match="broke off"):
        fetch(source(wire.url), backend)
    assert len(wire.heard) == 1, "the client decides nothing about repetition"


def test_a_reset_in_mid_body_is_an_interruption(backend: str) -> None:
    """harvest 15"""

    def half() -> Iterator[bytes]:
        yield said()[:2000]
        raise ConnectionResetError

    with Wire(lambda heard: half()) as wire, pytest.raises(Interrupted):
        fetch(source(wire.url), backend)


def test_a_chunked_body_that_breaks_off_is_an_interruption() -> None:
    """harvest 12, 15"""
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n<a></\r\n"
    with Wire(lambda heard: cut) as wire, pytest.raises(Interrupted):
        fetch(source(wire.url))


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\n", said(b"", length=False), said(b"", length=False, Content_Encoding="deflate")]
)
def test_the_time_limit_is_one_of_the_whole_exchange_and_a_slow_drip_does_not_renew_it(head: bytes, backend: str) -> None:
    """harvest 16"""
    with (
        Wire(lambda heard: wire.drip(head)) as wire,
        pytest.raises(Interrupted, match=r"no complete answer within 0.15 s|damaged|broke off"),
    ):
        fetch(source(wire.url), backend, timeout=0.15)


def test_the_time_limit_holds_over_redirects() -> None:
    """harvest 16"""

    def slow(heard: Heard) -> Answer:
        wire.over.wait(0.05)
        return redirect("/oai?again")

    with Wire(slow) as wire, pytest.raises(Interrupted, match="no complete answer"):
        fetch(source(wire.url), timeout=0.12)


def test_a_connection_that_does_not_come_about_in_time_was_never_delivered(backend: str) -> None:
    """harvest 16: a server whose queue of connections is full lets new ones wait."""
    with socket.socket() as full, contextlib.ExitStack() as queue:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/oai"
        with pytest.raises(NotDelivered, match=r"within 0\.1 s"):
            fetch(source(url, connect_timeout=0.1), backend, timeout=5.0)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Oops", "503 Busy", "204 No Content", "304 Not Modified", "302 Found"])
def test_every_status_is_a_reply(status: str, backend: str) -> None:
    """harvest 13: also a redirect that names no place."""
    with Wire(lambda heard: said(b"" if status[:3] in ("204", "304") else b"body", status=status)) as wire:
        assert fetch(source(wire.url), backend).status == int(status[:3])


# --------------------------------------------------------------- redirects


def secrets_of(wire: Wire) -> list[bool]:
    return [b"s3cret" in heard.raw for heard in wire.heard]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("KEY", "s3cret")
    key = SecretRef(scheme="env", name="KEY")
    return {"headers": {"X-Key": key}, "query": {"apikey": key}, "bearer_token": key}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", "elsewhere", "?apikey=s3cret&verb=ListRecords", "http://127.0.0.1:{port}/elsewhere"])
def test_a_redirect_to_the_same_origin_keeps_credentials_and_the_request(
    status: int, location: str, backend: str, keys: dict[str, object]
) -> None:
    """harvest 17"""
    with Wire(lambda heard: redirect(location.format(port=wire.port), status) if len(wire.heard) < 2 else said()) as wire:
        assert fetch(source(wire.url, **keys), backend).body == BODY
    first, second = wire.heard
    assert second.headers["authorization"] == first.headers["authorization"] == "Bearer s3cret"
    assert second.headers["x-key"] == "s3cret"
    assert dict(second.query)["apikey"] == "s3cret"
    assert dict(second.query)["verb"] == "ListRecords"


@pytest.mark.parametrize("form", ["{url}", "{url}?{query}", "{url}/x?apikey=s3cret&session=1", "{local}?{query}"])
def test_a_redirect_to_another_host_or_port_carries_no_credential(form: str, backend: str, keys: dict[str, object]) -> None:
    """harvest 17: not even where the repository repeats our query in its Location."""
    with Wire(lambda heard: said()) as other:

        def away(heard: Heard) -> Answer:
            query = urlsplit(heard.target).query
            return redirect(form.format(url=other.url, query=query, local=f"http://localhost:{other.port}/oai"))

        with Wire(away) as wire:
            assert fetch(source(wire.url, **keys), backend).body == BODY
    assert secrets_of(wire) == [True]
    assert secrets_of(other) == [False]
    (heard,) = other.heard
    assert "authorization" not in heard.headers
    assert "x-key" not in heard.headers
    assert "apikey" not in dict(heard.query)
    assert dict(heard.query).get("verb") == "ListRecords" or "session" in dict(heard.query)


def test_basic_authentication_does_not_follow_to_another_port(keys: dict[str, object], backend: str) -> None:
    """harvest 17"""
    with Wire(lambda heard: said()) as other, Wire(lambda heard: redirect(other.url)) as wire:
        fetch(source(wire.url, username="me", password=keys["bearer_token"]), backend)
    assert "authorization" in wire.heard[0].headers
    assert "authorization" not in other.heard[0].headers


def test_credentials_are_sent_again_to_their_own_origin_only(keys: dict[str, object]) -> None:
    """harvest 17: away and back."""
    with (
        Wire(lambda heard: redirect(f"http://127.0.0.1:{home.port}/back")) as other,
        Wire(lambda heard: redirect(other.url) if len(home.heard) < 2 else said()) as home,
    ):
        fetch(source(home.url, **keys))
    assert (secrets_of(home), secrets_of(other)) == ([True, True], [False])


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("file:///etc/passwd", "file"),
        ("ftp://127.0.0.1/oai", "ftp"),
        ("gopher://127.0.0.1/", "gopher"),
        ("javascript:alert(1)", "URL"),
        ("data:text/xml,<a/>", "URL"),
        ("http://[::1", "no URL"),
        ("http://x:port/", "no URL"),
        ("http://[v1.x]/", "no URL"),
    ],
)
def test_a_redirect_to_anything_but_http_is_refused(location: str, why: str, backend: str) -> None:
    """harvest 17"""
    with Wire(lambda heard: redirect(location)) as wire, pytest.raises(Refused, match=why):
        fetch(source(wire.url), backend)
    assert len(wire.heard) == 1


def test_a_loop_of_redirects_ends(backend: str) -> None:
    """harvest 17"""
    with Wire(lambda heard: redirect("/oai?x=1")) as wire, pytest.raises(Refused, match=f"more than {REDIRECTS} times"):
        fetch(source(wire.url), backend)
    assert len(wire.heard) == REDIRECTS + 1


# ------------------------------------------------------------- many at once


def test_connections_are_used_again_and_many_requests_run_beside_each_other(backend: str) -> None:
    """harvest 9"""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    with Wire(lambda heard: [head, BODY]) as wire:
        got: list[int] = []

        async def run() -> None:
            async with Client() as client:

                async def one() -> None:
                    got.append(len((await client.fetch(source(wire.url), ASKED, timeout=10.0)).body))

                async with anyio.create_task_group() as tasks:
                    for _ in range(20):
                        tasks.start_soon(one)

        anyio.run(run, backend=backend)
    assert got == [len(BODY)] * 20


def test_a_request_that_is_cancelled_leaves_no_connection_behind(backend: str) -> None:
    """harvest 7, 9"""
    with Wire(lambda heard: wire.drip(said(b"", length=False))) as wire:

        async def run() -> int:
            async with Client() as client:
                with anyio.move_on_after(0.1):
                    await client.fetch(source(wire.url), ASKED, timeout=60.0)
                return len(client._http._transport._pool.connections)  # type: ignore[attr-defined]

        assert anyio.run(run, backend=backend) == 0


def test_failures_that_may_be_tried_again_and_refusals_are_told_apart() -> None:
    """harvest 15"""
    assert all(issubclass(each, RequestFailed) for each in (NotDelivered, Interrupted))
    assert not issubclass(Refused, RequestFailed)
    assert not issubclass(TooLarge, RequestFailed)
