"""One request over HTTP, and the single place where httpx's errors become ours.

The client decides nothing about repetition; it gives a ``Reply`` for every status, or raises

- ``NotDelivered`` when no connection came about, so that the repository never saw the request,
- ``Interrupted`` when the answer broke off or exceeded its time,
- ``TooLarge`` when the decompressed body exceeds the source's cap,
- ``Refused`` for redirects that must not be followed.

Bodies are decompressed here rather than by httpx: some servers send gzip without announcing it, and a cap that is
checked after a whole chunk was inflated comes too late for a gzip bomb. Redirects are followed here as well: to
another origin they carry no header, no authentication and no query parameter that the source configured.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol
from urllib.parse import urlsplit

import anyio
import httpx

from harvester.errors import Interrupted, NotDelivered, Refused, TooLarge
from harvester.oai import Request
from harvester.secrets import OUTSIDE_PREFECT, Resolvers, SecretError, SecretRef
from harvester.sources import Source

REDIRECTS: Final = 5  # hops
REDIRECT_STATUS: Final = frozenset({301, 302, 303, 307, 308})
KEEP_ALIVE: Final = 15.0  # seconds: shorter than the idle limit of common servers, so that no request meets a closing connection
USER_AGENT: Final = "Windrow (OAI-PMH harvester; httpx)"
INFLATE: Final = 1 << 18  # bytes inflated at a time
GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back: status, the headers that mean something to us (lower case), the decompressed body, the duration."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    seconds: float = 0.0


class Transport(Protocol):
    """What the engine needs to ask a repository."""

    async def fetch(self, source: Source, request: Request, *, timeout: float) -> Reply:  # noqa: ASYNC109
        """Send one request and read the whole answer within ``timeout`` seconds."""
        ...


class Client:
    """A pool of connections to all repositories; an async context manager.

    ``resolvers`` give the values of secret references by scheme.
    """

    def __init__(
        self,
        *,
        user_agent: str = USER_AGENT,
        transport: httpx.AsyncBaseTransport | None = None,
        resolvers: Resolvers = OUTSIDE_PREFECT,
    ) -> None:
        self._resolvers = resolvers
        self._http = httpx.AsyncClient(
            transport=transport,
            headers={"User-Agent": user_agent, "Accept": "text/xml, application/xml;q=0.9, */*;q=0.1", "Accept-Encoding": "gzip, deflate"},
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=KEEP_ALIVE),
            timeout=None,  # noqa: S113  (every fetch sets its own)
            trust_env=True,
        )

    async def __aenter__(self) -> Client:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def fetch(self, source: Source, request: Request, *, timeout: float) -> Reply:  # noqa: ASYNC109  (a bound on the whole exchange, redirects included)
        """Send one request; the answer, whatever its status. Raises as the module says."""
        began = time.perf_counter()
        try:
            with anyio.fail_after(timeout):
                return await self._follow(source, request, timeout, began)
        except SecretError as error:
            raise Refused(f"a secret of the source cannot be read: {error}") from error
        except TimeoutError as error:
            raise Interrupted(f"no complete answer within {timeout:g} s") from error
        except httpx.ConnectTimeout as error:
            raise NotDelivered(f"no connection to {host(source.url)} within {source.connect_timeout:g} s") from error
        except (httpx.ConnectError, httpx.ProxyError, httpx.PoolTimeout) as error:
            raise NotDelivered(f"no connection to {host(source.url)}: {error or type(error).__name__}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Refused(f"the URL cannot be asked: {error}") from error
        except httpx.LocalProtocolError:
            # Its text, and that of what caused it, shows the header: it may be a secret with a line break at its end.
            raise Refused(f"a header for {host(source.url)} cannot be sent; look for line breaks in headers and secrets") from None
        except UnicodeError:
            raise Refused(f"{host(source.url)} cannot be asked: its name, or a header, has characters that HTTP cannot carry") from None
        except (httpx.TimeoutException, httpx.NetworkError, httpx.ProtocolError, httpx.DecodingError) as error:
            if "location header" in str(error):  # httpx looks at it although it is told not to follow
                raise Refused("the repository redirects to something that is no URL") from None
            raise Interrupted(f"the answer broke off ({type(error).__name__}{f': {error}' if str(error) else ''})") from error

    async def _follow(self, source: Source, request: Request, seconds: float, began: float) -> Reply:
        own = {name: self._value(value) for name, value in source.headers.items()}
        if source.bearer_token is not None:
            own["Authorization"] = f"Bearer {self._value(source.bearer_token)}"
        auth = None
        if source.username is not None and source.password is not None:
            auth = httpx.BasicAuth(self._value(source.username), self._value(source.password))
        parameters: list[tuple[str, str | int | float | bool | None]] = [
            *((name, self._value(value)) for name, value in source.query.items()),
            *request.parameters(),
        ]
        url = httpx.URL(source.url)
        url = url.copy_with(params=url.params.merge(httpx.QueryParams(parameters)))
        home = origin(url)
        limits = httpx.Timeout(seconds, connect=min(seconds, source.connect_timeout))
        for _ in range(REDIRECTS + 1):
            at_home = origin(url) == home
            async with self._http.stream(
                "GET", url, headers=own if at_home else {}, auth=auth if at_home else None, timeout=limits
            ) as response:
                if response.status_code not in REDIRECT_STATUS or "location" not in response.headers:
                    body = await inflate(response.aiter_raw(INFLATE), response.headers.get("content-encoding", ""), source.page_bytes_limit)
                    kept = {
                        name: response.headers[name]
                        for name in ("retry-after", "content-type", "server", "cf-mitigated", "link")
                        if name in response.headers
                    }
                    return Reply(status=response.status_code, headers=kept, body=body, seconds=time.perf_counter() - began)
                try:
                    target = url.join(response.headers["location"])
                except (httpx.InvalidURL, ValueError) as error:
                    raise Refused("the repository redirects to something that is no URL") from error
            if target.scheme not in {"http", "https"} or not target.host:
                raise Refused(f"the repository redirects to {target.scheme or 'no scheme'}:, only http and https are followed")
            if origin(target) == home:
                url = target if target.query else target.copy_with(params=httpx.QueryParams(parameters))
            else:  # a server that repeats our query in its Location must not hand on the keys in it
                url = target if target.query else target.copy_with(params=httpx.QueryParams(dict(request.parameters())))
                for name in source.query.keys() & url.params.keys():
                    url = url.copy_remove_param(name)
        raise Refused(f"the repository redirects more than {REDIRECTS} times")

    def _value(self, value: str | SecretRef) -> str:
        return value.resolve(self._resolvers) if isinstance(value, SecretRef) else value


async def inflate(chunks: AsyncIterator[bytes], encoding: str, limit: int) -> bytes:
    """The body, decompressed when it is gzip (announced or not) or announced as deflate; never more than ``limit`` bytes."""
    parts: list[bytes] = []
    size = 0
    pending = b""
    decoder: Callable[[bytes], tuple[bytes, bytes]] | None = None
    known = False
    async for chunk in chunks:
        pending += chunk
        if not known:
            if len(pending) < 2:
                continue
            known, decoder = True, decompressor(pending, encoding)
        full = False
        while pending or full:
            try:
                part, pending = decoder(pending) if decoder else (pending, b"")
            except zlib.error as error:
                raise Interrupted(f"the compressed answer is damaged: {error}") from error
            full = decoder is not None and len(part) == INFLATE  # the decompressor may keep more, and want no more bytes for it
            size += len(part)
            if size > limit:
                raise TooLarge(f"the page is larger than {limit:,} bytes after decompression; page_bytes_limit allows no more")
            parts.append(part)
    parts.append(b"" if known else pending)
    return b"".join(parts)


def decompressor(head: bytes, encoding: str) -> Callable[[bytes], tuple[bytes, bytes]] | None:
    """A step of decompression for a body that begins so: compressed bytes -> (some of the body, compressed bytes left)."""
    if head.startswith(GZIP):
        inflater = zlib.decompressobj(wbits=31)
    elif "deflate" in encoding.lower() and not head.lstrip().startswith(b"<"):
        # RFC 9110 means zlib; raw deflate is what some servers send.
        inflater = zlib.decompressobj(wbits=15 if head[0] & 0x0F == 8 and (head[0] * 256 + head[1]) % 31 == 0 else -15)
    else:
        return None

    def step(data: bytes) -> tuple[bytes, bytes]:
        nonlocal inflater
        if inflater.eof:
            if not (head.startswith(GZIP) and data and data.startswith(GZIP[: len(data)])):
                return b"", b""  # what follows the end is padding
            inflater = zlib.decompressobj(wbits=31)  # gzip may come in several members (RFC 1952, 2.2)
        part = inflater.decompress(data, INFLATE)
        return part, inflater.unused_data if inflater.eof else inflater.unconsumed_tail

    return step


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """What credentials belong to: scheme, host and port."""
    return url.scheme, url.host, url.port


def host(url: str) -> str:
    """Host and port of a URL, for messages."""
    return urlsplit(url).netloc.rpartition("@")[2]
