"""Written pages, kept while there is room, so that a benchmark's second round costs its stand-in nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class PageCache:
    """Bytes by name; the least recently used go first when `limit` bytes are exceeded. A limit of 0 keeps nothing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._pages: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, name: Hashable) -> bytes | None:
        page = self._pages.get(name)
        if page is not None:
            self._pages.move_to_end(name)
        return page

    def put(self, name: Hashable, page: bytes) -> None:
        if len(page) > self._limit:
            return
        self._pages[name] = page
        self._held += len(page)
        while self._held > self._limit:
            self._held -= len(self._pages.popitem(last=False)[1])
