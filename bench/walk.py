"""Walks through a repository as plainly as possible: to warm the stand-in's page cache, and to have pages in memory."""

from __future__ import annotations

import html
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator

TOKEN = re.compile(rb"<resumptionToken[^>]*>([^<]+)</resumptionToken>\s*</ListRecords>")


def pages(url: str) -> Iterator[bytes]:
    """The bodies of all pages of ListRecords."""
    arguments = {"verb": "ListRecords", "metadataPrefix": "marc21"}
    while True:
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(arguments)}", timeout=60) as answer:
            body: bytes = answer.read()
        yield body
        found = TOKEN.search(body[-4096:])
        if found is None:
            return
        arguments = {"verb": "ListRecords", "resumptionToken": html.unescape(found[1].decode())}
