"""Pages in UTF-8, whatever they came in: what the first bytes show counts more than what a declaration says."""

from __future__ import annotations

import re
from typing import Final

from harvester.errors import Unreadable

DECLARATION: Final = re.compile(rb"""\A<\?xml\s[^>]*?\bencoding\s*=\s*["']([A-Za-z][\w.-]*)["'][^>]*\?>""")
MARK: Final = b"\xef\xbb\xbf"
WIDE: Final = (  # how documents begin whose characters are wider than a byte
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)


def as_utf8(body: bytes) -> bytes:
    """The document in UTF-8, without a declaration of another encoding; nearly always the document itself.

    White space in front of the declaration, which PHP sites send, is dropped. What the first bytes show counts more than
    what the declaration says: .NET declares UTF-16 and sends UTF-8. Raises ``Unreadable`` for unknown encodings.
    """
    wide = next((encoding for mark, encoding in WIDE if body.startswith(mark)), None)
    if wide is not None:
        return to_utf8(body, wide)
    start = len(MARK) if body.startswith(MARK) else 0
    if body[start : start + 1].isspace():
        body, start = body[start:].lstrip(), 0
    found = DECLARATION.match(body[start : start + 200])
    if found is None:
        return body
    encoding = found[1].decode().upper()
    if encoding == "UTF-8":
        return body
    if start or encoding in {"UTF8", "ASCII", "US-ASCII"} or encoding.startswith(("UTF-16", "UTF16")):
        return body[start + found.end() :]
    return to_utf8(body, encoding)


def to_utf8(body: bytes, encoding: str) -> bytes:
    """The document in UTF-8, without the declaration that named another encoding."""
    try:
        document = body.decode(encoding)
        return re.sub(r"\A\ufeff?\s*<\?xml[^>]*\?>", "", document).encode()
    except (LookupError, UnicodeError) as error:
        raise Unreadable(f"the page cannot be decoded as {encoding}: {error}") from error
