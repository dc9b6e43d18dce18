"""HTTP replies: their value, those that faults put in the place of an answer, and those that faults spoil on the way."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from tests.fakes.oai_alterations import CLOSERS
from tests.fakes.oai_faults import Fault

MEGABYTE: Final = 1 << 20
XML: Final = "text/xml; charset=UTF-8"
HTML: Final = "text/html; charset=UTF-8"

LOGIN = b"""<!DOCTYPE html>
<html><head><title>Sign in</title><meta charset="utf-8"></head>
<body><h1>Library services</h1><form method="post"><input name="user"><br><input name="password" type="password"></form></body></html>
"""
BOT_WALL = b"""<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title><meta charset="UTF-8">
<meta name="robots" content="noindex,nofollow"></head><body><div class="main-wrapper"><h1>Checking your browser</h1>
<noscript>Enable JavaScript and cookies to continue</noscript></div>
<script>(function(){window._cf_chl_opt={cType:'managed'};})();</script>
<script src="/cdn-cgi/challenge-platform/h/g/orchestrate/chl_page/v1"></script></body></html>
"""
RSS = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>New books</title><link>https://example.org/</link><description>New books of the week</description>
<item><title>The stone raft</title></item></channel></rss>
"""
LAUGHS = "".join(f'<!ENTITY lol{n} "{f"&lol{n - 1};" * 10}">' for n in range(1, 10))
BOMB_DTD = f'<!DOCTYPE ROOT [<!ENTITY lol0 "lol">{LAUGHS}]>'


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One HTTP answer and the manner in which it is sent.

    Manners: "whole"; "stream" (head, then `pieces`, `length` bytes in all); "close" (no answer); "stall" (no answer, connection kept);
    and, after `fraction` of the body: "reset", "short" (closed in order), "stall-body"; "drip" (`piece` bytes every `interval` seconds).
    """

    status: int = 200
    body: bytes = b""
    parts: tuple[bytes, ...] = ()  # of the body, as long as nobody needs it whole
    content_type: str | None = XML
    headers: tuple[tuple[str, str], ...] = ()
    manner: str = "whole"
    pieces: Iterator[bytes] | None = None
    length: int = 0
    fraction: float = 0.5
    piece: int = 64
    interval: float = 0.02
    date: float | None = None  # the Date header, seconds since the epoch; None: ours
    plain: bool = False  # not to be compressed (again)
    error: str | None = None  # OAI error code, for the log


def joined(reply: Reply) -> Reply:
    """The same reply with its body in one piece."""
    return replace(reply, body=b"".join(reply.parts), parts=()) if reply.parts else reply


def _page(status: int, title: str, *headers: tuple[str, str]) -> Reply:
    body = f"<html><head><title>{status} {title}</title></head><body><center><h1>{status} {title}</h1></center></body></html>\n".encode()
    return Reply(status=status, body=body, content_type=HTML, headers=headers)


@lru_cache(maxsize=4)
def gzip_bomb(megabytes: int) -> bytes:
    """A gzip file of an OAI-PMH envelope, then `megabytes` of spaces; about 1 kB for each of them.

    One megabyte is compressed with a full flush, which makes its bytes good for repetition. The checksum at the end is not right: a
    client that gets there has unpacked everything already.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(b'<?xml version="1.0"?><OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><ListRecords>')
    start += packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b" " * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush() + bytes(8)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + start + block * megabytes + end


def _redirect(address: str, status: int | None) -> Reply:
    return Reply(status=status or 302, content_type=HTML, headers=(("Location", address),))


def instead(fault: Fault, path: str, query: str, elsewhere: str, now: float) -> Reply | None:
    """What a fault answers in the place of the repository; None when it is not of that kind.

    Args:
        path: of the request; `query` likewise.
        elsewhere: address of the second port.
        now: the server's time in seconds since the epoch.
    """
    kind, after = fault.kind, fault.retry_after
    question = f"?{query}" if query else ""
    host, _, name = path.lstrip("/").partition("/")
    here = f"/{host}/{name.split('/')[0]}"
    replies = {
        "refused": lambda: Reply(manner="close"),
        "stall": lambda: Reply(manner="stall"),
        "503": lambda: _page(fault.status or 503, "Service Unavailable", ("Retry-After", str(after))),
        "503-date": lambda: _page(fault.status or 503, "Service Unavailable", ("Retry-After", formatdate(int(now) + after, usegmt=True))),
        "429": lambda: _page(fault.status or 429, "Too Many Requests", ("Retry-After", str(after))),
        "408": lambda: _page(fault.status or 408, "Request Timeout"),
        "500": lambda: _page(fault.status or 500, "Internal Server Error"),
        "502": lambda: _page(fault.status or 502, "Bad Gateway"),
        "504": lambda: _page(fault.status or 504, "Gateway Timeout"),
        "404": lambda: _page(fault.status or 404, "Not Found"),
        "403": lambda: _page(fault.status or 403, "Forbidden"),
        "401": lambda: _page(fault.status or 401, "Unauthorized", ("WWW-Authenticate", 'Basic realm="library"')),
        "html": lambda: Reply(status=fault.status or 200, body=LOGIN, content_type=HTML),
        "bot-wall": lambda: Reply(
            status=fault.status or 200, body=BOT_WALL, content_type=HTML, headers=(("Server", "cloudflare"), ("cf-mitigated", "challenge"))
        ),
        "empty-body": lambda: Reply(status=fault.status or 200),
        "foreign-xml": lambda: Reply(status=fault.status or 200, body=RSS),
        "gzip-bomb": lambda: Reply(
            status=fault.status or 200, body=gzip_bomb(fault.megabytes or 1024), headers=(("Content-Encoding", "gzip"),), plain=True
        ),
        "redirect-elsewhere": lambda: _redirect(fault.target or f"{elsewhere}{here}{question}", fault.status),
        "redirect-here": lambda: _redirect(fault.target or f"{here}/moved{question}", fault.status),
        "redirect-file": lambda: _redirect(fault.target or "file:///etc/hostname", fault.status),
        "redirect-ftp": lambda: _redirect(fault.target or "ftp://127.0.0.1/pub/oai.xml", fault.status),
        "redirect-loop": lambda: _redirect(f"{here}/loop{question}", fault.status),
    }
    return replies[kind]() if kind in replies else None


def _with_dtd(body: bytes, dtd: str, reference: bytes) -> bytes:
    declaration, rest = body.split(b"\n", 1)
    root = rest[1:].split(None, 1)[0].split(b">")[0]
    used = next((closer for closer in (*CLOSERS, b"</request>", b"</oai:request>") if closer in rest), b"")
    return declaration + b"\n" + dtd.replace("ROOT", root.decode()).encode() + rest.replace(used, reference + used, 1)


def _huge(reply: Reply, megabytes: int) -> Reply:
    cut = reply.body.rindex(b"</", 0, reply.body.rindex(b"</"))

    def pieces() -> Iterator[bytes]:
        yield reply.body[:cut]
        block = b" " * (MEGABYTE - 1) + b"\n"
        for _ in range(megabytes):
            yield block
        yield reply.body[cut:]

    return replace(reply, manner="stream", pieces=pieces(), length=len(reply.body) + megabytes * MEGABYTE, plain=True)


def spoil(fault: Fault, reply: Reply) -> Reply:
    """What a fault makes of a good answer on its way out."""
    reply = joined(reply)
    match fault.kind:
        case "reset" | "stall-body":
            return replace(reply, manner=fault.kind, fraction=fault.fraction)
        case "short-body":
            return replace(reply, manner="short", fraction=fault.fraction)
        case "drip":
            return replace(reply, manner="drip", piece=fault.piece, interval=fault.interval)
        case "truncated":
            return replace(reply, body=reply.body[: int(len(reply.body) * fault.fraction)])
        case "entity-bomb":
            return replace(reply, body=_with_dtd(reply.body, BOMB_DTD, b"&lol9;"))
        case "external-entity":
            dtd = f'<!DOCTYPE ROOT [<!ENTITY outside SYSTEM "{fault.target or "file:///etc/hostname"}">]>'
            return replace(reply, body=_with_dtd(reply.body, dtd, b"&outside;"))
        case "huge-page":
            return _huge(reply, fault.megabytes or 100)
        case _:
            return reply


def compress(reply: Reply, manner: str, accepted: str) -> Reply:
    """Compresses the body as the repository's habit asks; `accepted` is the Accept-Encoding of the request."""
    if manner == "never" or reply.plain or (manner == "accepted" and "gzip" not in accepted.lower()):
        return reply
    reply = joined(reply)
    if manner in ("deflate", "raw-deflate"):
        packer = zlib.compressobj(1, zlib.DEFLATED, 15 if manner == "deflate" else -15)
        return replace(
            reply, body=packer.compress(reply.body) + packer.flush(), headers=(*reply.headers, ("Content-Encoding", "deflate")), plain=True
        )
    headers = reply.headers if manner == "unlabelled" else (*reply.headers, ("Content-Encoding", "gzip"))
    return replace(reply, body=gzip.compress(reply.body, 1, mtime=0), headers=headers, plain=True)
