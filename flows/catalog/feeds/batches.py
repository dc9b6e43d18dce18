"""A file as batches of records, in bounded memory, whatever its size: the records, and what could not be read.

One bad record costs only itself. A fault that goes through the whole file (a damaged archive, no known form) raises
``Spoilt`` where it is met; the batches before it stand.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from flows.catalog.feeds.archives import opened
from flows.catalog.feeds.errors import Spoilt
from flows.catalog.feeds.identify import damage, identify, tombstone
from flows.catalog.feeds.plan import is_list, is_wanted
from flows.catalog.read import HEAD, payloads, sniff
from harvester.feeds import Content, Feed
from harvester.oai import Damage, Record

RECORDS: Final = 500  # in a batch: what a page of a large repository has
BYTES: Final = 8 * 2**20  # of payloads in a batch
LONGEST_LINE: Final = 10_000  # bytes of a line in a list of identifiers


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Some records of a file. ``format`` is the form of its payloads, ``size`` their bytes."""

    records: tuple[Record, ...]
    damaged: tuple[Damage, ...]
    format: str
    size: int


def batches(path: Path, name: str, feed: Feed) -> Generator[Batch, None, None]:
    """The content of the file at ``path``, which its folder calls ``name``. At least one batch, unless it is spoilt."""
    some = False
    with opened(path, name, limit=feed.unpacked_limit) as members:
        for called, stream in members:
            inner = called.rpartition("/")[2].rpartition(": ")[2]
            listed = is_list(name, feed) or is_list(inner, feed)
            if called != name and not listed and not feed.files and not is_wanted(inner, feed):
                continue
            for batch in _of_stream(stream, called, feed, listed=listed):
                some = True
                yield batch
    if not some:
        raise Spoilt(f"{name} has no records in it")


def _of_stream(stream: BinaryIO, name: str, feed: Feed, *, listed: bool) -> Iterator[Batch]:
    head = stream.read(HEAD)
    stream.seek(0)
    form = sniff(head) or (None if listed or feed.format is Content.AUTO else feed.format.value)
    if form is None and not listed:
        if not head.strip():
            raise Spoilt(f"{name} is empty")
        raise Spoilt(f"{name} is none of the known forms (MARCXML, ISO 2709, MARC-in-JSON, BIBFRAME)")
    found = _lines(stream, name, feed) if form is None else _records(stream, name, feed, form=form, deleted=listed)
    records: list[Record] = []
    damaged: list[Damage] = []
    size = 0
    for each, length in found:
        if isinstance(each, Record):
            records.append(each)
        else:
            damaged.append(each)
        size += length
        if len(records) + len(damaged) >= RECORDS or size >= BYTES:
            yield Batch(records=tuple(records), damaged=tuple(damaged), format=form or "", size=size)
            records, damaged, size = [], [], 0
    if records or damaged:
        yield Batch(records=tuple(records), damaged=tuple(damaged), format=form or "", size=size)


def _records(stream: BinaryIO, name: str, feed: Feed, *, form: str, deleted: bool) -> Iterator[tuple[Record | Damage, int]]:
    for number, payload in enumerate(payloads(stream, format=form), 1):
        yield identify(payload, feed, format=form, place=f"{name}, record {number:,}", deleted=deleted), len(payload)


def _lines(stream: BinaryIO, name: str, feed: Feed) -> Iterator[tuple[Record | Damage, int]]:
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        place = f"{name}, line {number:,}"
        if text := line.strip(b"\xef\xbb\xbf \t\r\n"):
            try:
                yield tombstone(text.decode(), feed, place=place), len(line)
            except UnicodeDecodeError:
                yield damage("the line is not UTF-8", line, place=place), len(line)
