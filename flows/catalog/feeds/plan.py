"""Which files are to be read now, in the order of their names. Pure.

A file that was read is known by its name, size and time. A file is left for later while it has the ending of an
unfinished one, and until it has been left alone for a while or looks as it did the last time. A folder that is
delivered in full is read when none of its files is unfinished: half a delivery would look like deletions. Where a part
of such a delivery was spoilt, all of it is read again with what replaces that part. A folder of changes is read in order:
nothing is read that comes after a file which still changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from harvester.course import FileMark
from harvester.feeds import Feed

ENDINGS: Final = (".mrc", ".marc", ".iso2709", ".xml", ".rdf", ".ttl", ".nt", ".json", ".jsonld", ".jsonl", ".ndjson", ".mrk.json", ".dat")
PACKED: Final = (".gz", ".zip")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file in a folder: name without folder, size in bytes, time of the last change in seconds since the epoch."""

    name: str
    size: int
    mtime: float

    def mark(self, digest: str | None = None, *, part: bool = False) -> FileMark:
        """What is remembered of it."""
        return FileMark(name=self.name, size=self.size, mtime=self.mtime, digest=digest, part=part)

    def is_same(self, mark: FileMark) -> bool:
        """Whether it is as it was when it was marked."""
        return (self.name, self.size, self.mtime) == (mark.name, mark.size, mark.mtime)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be done with the files of a folder."""

    read: tuple[Entry, ...]
    """To be read now, in this order."""
    away: tuple[Entry, ...]
    """Read before, and still to be moved."""
    unfinished: tuple[str, ...]
    """Names of files that are left for the next pass."""
    marks: tuple[FileMark, ...]
    """What is remembered of the files that are there."""


def plan(entries: Iterable[Entry], marks: Sequence[FileMark], feed: Feed, *, now: float, whole: bool, fresh: bool = True) -> Plan:
    """What to do; ``whole``: the files are one full delivery; ``fresh``: no pass is under way."""
    known = {mark.name: mark for mark in marks}
    read: list[Entry] = []
    again: list[Entry] = []
    away: list[Entry] = []
    unfinished: list[str] = []
    remembered: list[FileMark] = []
    blocked = False
    for entry in sorted(entries, key=lambda each: each.name):
        ending = next((end for end in feed.unfinished if entry.name.endswith(end)), "")
        plain = entry.name.removesuffix(ending)
        if entry.name.startswith(".") or not (is_wanted(plain, feed) or is_list(plain, feed)):
            continue
        if ending:
            unfinished.append(entry.name)
            continue
        mark = known.get(entry.name)
        if mark is not None and mark.digest is not None and entry.is_same(mark):
            remembered.append(mark)
            if mark.part:
                again.append(entry)
            elif feed.move_to is not None:
                away.append(entry)
        elif entry.mtime <= now - feed.settle or (mark is not None and mark.digest is None and entry.is_same(mark)):
            if mark is not None:  # what was read before is remembered until it is read again: it may be the same
                remembered.append(mark)
            if not blocked:
                read.append(entry)
        else:
            unfinished.append(entry.name)
            remembered.append(entry.mark())
            blocked = not whole
    if whole and unfinished:
        read = []
    elif whole and fresh and read:
        read = sorted([*read, *again], key=lambda each: each.name)
    return Plan(read=tuple(read), away=tuple(away), unfinished=tuple(unfinished), marks=tuple(remembered))


def is_wanted(name: str, feed: Feed) -> bool:
    """Whether a file of this name holds records."""
    if feed.files:
        return any(fnmatchcase(name, pattern) for pattern in feed.files)
    plain = name.lower()
    return plain.endswith(ENDINGS) or plain.endswith(tuple(end + packed for end in ENDINGS for packed in PACKED)) or plain.endswith(".zip")


def is_list(name: str, feed: Feed) -> bool:
    """Whether a file of this name lists deletions."""
    return any(fnmatchcase(name, pattern) for pattern in feed.deleted_files)
