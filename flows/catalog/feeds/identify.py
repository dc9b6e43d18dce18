"""What a payload is called, and whether it is a deletion: a payload becomes a ``Record``, or the ``Damage`` that it is.

A record is called by its 001, with the configured prefix before it; without one, with the 003 in parentheses, as MARC 21
has it in 035. Leader/05 ``d`` says that it was deleted. Its datestamp is its 005.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from flows.catalog.model import BibRecord
from flows.catalog.read import read
from harvester import salvage
from harvester.feeds import Feed
from harvester.oai import Damage, Record

LONGEST: Final = 500  # characters of an identifier: more is something else
STAMP: Final = re.compile(r"\A(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.\d)?\Z", re.ASCII)


def identify(
    payload: bytes, feed: Feed, *, format: str, place: str, identifier: str | None = None, deleted: bool = False
) -> Record | Damage:
    """The record of a payload. ``identifier`` is what the feed itself calls it; ``deleted`` what the feed says of it."""
    reading = read(payload, format=format, source="", identifier="")
    record = reading.record
    if record is None:
        reason = "; ".join(problem.message for problem in reading.problems) or "there is no record in it"
        return damage(reason, payload, place=place, identifier=identifier)
    called = identifier if identifier is not None else name_of(record, feed)
    if called is None:
        return damage("it has no control number (001), so that nothing tells which record it is", payload, place=place)
    if wrong := unusable(called):
        return damage(wrong, payload, place=place)
    gone = deleted or record.deleted or record.leader[5:6] == "d"
    return Record(
        identifier=called,
        datestamp=stamp(record),
        deleted=gone,
        payload=None if gone else payload,
        digest=None if gone else hashlib.sha256(payload).digest(),
    )


def name_of(record: BibRecord, feed: Feed) -> str | None:
    """What a record is called; None without a control number."""
    number = (record.control_number or "").strip()
    if not number:
        return None
    if feed.identifier_prefix is not None:
        return feed.identifier_prefix + number
    agency = (record.control("003") or "").strip()
    return f"({agency}){number}" if agency else number


def stamp(record: BibRecord) -> str:
    """The 005 as a moment; empty without a usable one."""
    found = STAMP.match((record.control("005") or "").strip())
    return f"{found[1]}-{found[2]}-{found[3]}T{found[4]}:{found[5]}:{found[6]}Z" if found else ""


def tombstone(text: str, feed: Feed, *, place: str) -> Record | Damage:
    """A line of a list of deletions: an identifier, or a control number that is given the configured prefix."""
    called = text.strip()
    prefix = feed.identifier_prefix
    if prefix is not None and not called.startswith(prefix):
        called = prefix + called
    if wrong := unusable(called):
        return damage(wrong, text.encode(), place=place)
    return Record(identifier=called, datestamp="", deleted=True)


def damage(reason: str, payload: bytes, *, place: str, identifier: str | None = None) -> Damage:
    """A record that cannot be taken."""
    return Damage(identifier=identifier, place=place, reason=reason, snippet=salvage.snippet(payload))


def unusable(identifier: str) -> str | None:
    """Why nothing can be called so; None when it can."""
    if not identifier or len(identifier) > LONGEST:
        return "its identifier is empty" if not identifier else f"its identifier has {len(identifier):,} characters"
    if not identifier.isprintable():
        return "its identifier has invisible characters"
    return None
