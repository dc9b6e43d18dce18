"""ISO 2709: a leader, a directory, fields. Whole records quickly, damaged ones as far as they go.

A record is cut at its terminators and the directory is checked against the cut. Where they agree (nearly always),
nothing else is looked at. Where they do not, the terminators are believed when there are as many fields as directory
entries, because offsets are what bad software gets wrong; otherwise the directory is believed, entry by entry.

In a file, records are cut at the record terminator (1D): the length in the leader is compared and reported, so one wrong
length costs nobody a neighbour. It is followed only past a terminator after which no record begins.

Source: ISO 2709:2008; MARC 21 Specifications for Record Structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import BinaryIO, Final

from flows.catalog.characters import from_marc8, looks_like_utf8
from flows.catalog.model import (
    LEADER_LENGTH,
    BibRecord,
    ControlField,
    DataField,
    Problem,
    Reading,
    Subfield,
    canonical_leader,
    data_field,
)

FIELD_END: Final = b"\x1e"
RECORD_END: Final = b"\x1d"
DELIMITER: Final = "\x1f"
ENTRY: Final = 12  # bytes of a directory entry: tag 3, length 4, start 5
CHUNK: Final = 1 << 16  # bytes read at a time
LARGEST: Final = 64 << 20  # bytes without a record terminator that are still taken for one record
SPACE: Final = b" \t\r\n\x00\x1a"  # what transfers leave between records

LONGEST: Final = 99_999  # bytes: what five digits can say
LOOK_AHEAD: Final = 32  # bytes after a terminator that tell whether a record begins there
RECORD_START: Final = re.compile(rb"[0-9]{5}[a-z ]{3}")
NEXT_RECORD: Final = re.compile(rb"\x1d\s*[0-9]{5}[a-z ]{3}")
_subfield: Final = partial(tuple.__new__, Subfield)


def read_one(payload: bytes, *, source: str, identifier: str, datestamp: str | None = None) -> Reading:
    """The record of a payload. What stands after its terminator is reported and left out."""
    found: list[Problem] = []
    data = payload.lstrip(SPACE)
    end = data.find(RECORD_END)
    if end < 0:
        found.append(Problem(kind="terminator", message="The record terminator is missing.", place=f"byte {len(payload)}"))
        end = len(data)
    elif (declared := _declared(data)) is not None:
        end = declared  # a record terminator inside the data is none; the field that it stands in is reported
    elif rest := data[end + 1 :].strip(SPACE + RECORD_END):
        found.append(Problem(kind="several-records", message=f"{len(rest)} bytes follow the record and were left out."))
    body = data[:end]
    if len(body) < LEADER_LENGTH:
        found.append(Problem(kind="unreadable", message=f"{len(body)} bytes are too few for a leader of 24."))
        return Reading(record=None, problems=tuple(found))
    encoding, text = _encoding(body, found)
    leader = text(body[:LEADER_LENGTH])
    if leader[:5].isdecimal() and end < len(data):
        if int(leader[:5]) not in (end + 1, 99999):
            found.append(
                Problem(
                    kind="record-length", message=f"The leader says {leader[:5]} bytes, the record has {end + 1}.", place="leader/00-04"
                )
            )
    elif not leader[:5].isdecimal():
        found.append(Problem(kind="record-length", message=f"{leader[:5]!r} is not a length.", place="leader/00-04"))
    control, fields = _fields(body, leader, text, found)
    if len(leader) != LEADER_LENGTH:
        found.append(Problem(kind="leader-length", message=f"The leader has {len(leader)} characters.", place="leader"))
    if sum(field.tag == "001" for field in control) > 1:
        found.append(Problem(kind="duplicate-001", message="The record has more than one control number (001).", place="001[1]"))
    if not control and not fields:
        found.append(Problem(kind="unreadable", message="No field could be read."))
        return Reading(record=None, problems=tuple(found))
    record = BibRecord(
        source=source,
        identifier=identifier,
        format="iso2709",
        leader=canonical_leader(leader),
        control_fields=tuple(control),
        data_fields=tuple(fields),
        datestamp=datestamp,
        deleted=leader[5:6] == "d",
        provenance={"reader": "iso2709", "encoding": encoding},
    )
    return Reading(record=record, problems=tuple(found))


def payloads(stream: BinaryIO) -> Iterator[bytes]:
    """The records of a file, one after the other, each with its terminator; at most one is in memory.

    White space and null bytes between records are left out. The end of a file without a terminator is a payload too.
    More than `LARGEST` bytes without a terminator are given away in pieces of that size.
    """
    buffer = bytearray()
    complete = False
    while not complete:
        chunk = stream.read(CHUNK)
        complete = not chunk
        searched = max(0, len(buffer) - LONGEST)  # a terminator further back would have been taken
        buffer += chunk
        start = 0
        while (end := buffer.find(RECORD_END, max(start, searched))) >= 0:
            stop = _end(buffer, start, end, complete)
            if stop is None:
                break
            if payload := bytes(buffer[start : stop + 1]).lstrip(SPACE + RECORD_END):
                yield payload
            start = stop + 1
        del buffer[:start]
        if len(buffer) > LARGEST:
            yield bytes(buffer)
            buffer.clear()
    if payload := bytes(buffer).strip(SPACE):
        yield payload


def _end(buffer: bytearray, start: int, end: int, complete: bool) -> int | None:
    """Where the record from ``start`` ends: at the terminator found, unless that one stands inside the data.

    It stands inside when no record begins after it, and the leader's length leads to another one. None: more bytes are needed.
    """
    while start < end and buffer[start] in SPACE:
        start += 1
    digits = bytes(buffer[start : start + 5])
    if not digits.isdigit() or start + int(digits) - 1 <= end:
        return end
    if len(buffer) < end + LOOK_AHEAD and not complete:
        return None
    following = bytes(buffer[end + 1 : end + LOOK_AHEAD]).lstrip(SPACE + RECORD_END)
    if not following or RECORD_START.match(following):
        return end
    last = start + int(digits) - 1
    if last >= len(buffer):
        return end if complete else None
    return last if buffer[last] == RECORD_END[0] and not NEXT_RECORD.search(buffer, start, last) else end


def _declared(data: bytes) -> int | None:
    """Where the record ends by its leader, when a terminator stands there, none of another record stands before, and it is the end."""
    if not data[:5].isdigit() or len(data.rstrip(SPACE)) != int(data[:5]) or data[int(data[:5]) - 1 : int(data[:5])] != RECORD_END:
        return None
    return None if NEXT_RECORD.search(data, 0, int(data[:5])) else int(data[:5]) - 1


class _Text:
    """Turns bytes of one encoding into text and counts what could not be turned."""

    __slots__ = ("lost", "marc8")

    def __init__(self, marc8: bool) -> None:
        self.marc8 = marc8
        self.lost = 0

    def __call__(self, data: bytes) -> str:
        if self.marc8:
            text, lost = from_marc8(data)
            self.lost += lost
            return text
        text = data.decode("utf-8", "replace")
        if "\ufffd" in text:
            self.lost += text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
        return text


def _encoding(body: bytes, found: list[Problem]) -> tuple[str, _Text]:
    """What the bytes are, whatever leader/09 says: valid UTF-8 is UTF-8, other high bytes are MARC-8."""
    declared_unicode = body[9:10] == b"a"
    if body.isascii():
        marc8 = not declared_unicode and b"\x1b" in body
    elif looks_like_utf8(body):
        marc8 = False
        if not declared_unicode:
            found.append(
                Problem(
                    kind="encoding",
                    message=f"leader/09 is {chr(body[9])!r}, but the record is in UTF-8; it must be 'a'.",
                    place="leader/09",
                )
            )
    else:
        marc8 = not declared_unicode
        if declared_unicode:
            found.append(
                Problem(
                    kind="encoding",
                    message="leader/09 says Unicode, but the bytes are not UTF-8; unreadable ones were replaced.",
                    place="leader/09",
                )
            )
    return ("marc-8" if marc8 else "utf-8"), _Text(marc8)


def _fields(body: bytes, leader: str, text: _Text, found: list[Problem]) -> tuple[list[ControlField], list[DataField]]:
    control: list[ControlField] = []
    fields: list[DataField] = []
    tags, contents = _plain(body, leader, text) or _damaged(body, leader, text, found)
    for tag, content in zip(tags, contents, strict=True):
        if tag[:2] == "00" or (DELIMITER not in content and not tag.isdecimal()):
            control.append(ControlField(tag, content))
        else:
            head, *subfields = content.split(DELIMITER)
            if len(head) != 2 or not subfields or "" in subfields:
                _odd(tag, content, head, subfields, control, fields, found)
            else:
                fields.append(data_field(tag, head[0], head[1], tuple([_subfield((each[0], each[1:])) for each in subfields])))
        if "\x1e" in content or "\x1d" in content:
            found.append(Problem(kind="delimiter", message="A field terminator stands inside the field.", place=tag))
    return control, fields


def _plain(body: bytes, leader: str, text: _Text) -> tuple[list[str], list[str]] | None:
    """Tags and texts of the fields when the directory says exactly what the terminators say; None otherwise."""
    pieces = body.split(FIELD_END)
    directory = pieces[0][LEADER_LENGTH:].decode("latin-1")
    if pieces.pop() or len(directory) != ENTRY * (len(pieces) - 1) or leader[12:17] != f"{len(pieces[0]) + 1:05d}":
        return None
    if not directory.isascii() or not directory.isalnum():
        return None
    start = 0
    tags = []
    for at, piece in zip(range(0, len(directory), ENTRY), pieces[1:], strict=True):
        size = len(piece) + 1
        numbers = directory[at + 3 : at + ENTRY]
        if not numbers.isdigit() or int(numbers) != size * 100_000 + start:
            return None
        start += size
        tags.append(directory[at : at + 3])
    if text.marc8:
        texts = [text(piece) for piece in pieces[1:]]
    else:
        texts = text(body[len(pieces[0]) + 1 :]).split("\x1e")
        texts.pop()
    return None if text.lost else (tags, texts)


def _damaged(body: bytes, leader: str, text: _Text, found: list[Problem]) -> tuple[list[str], list[str]]:
    """Tags and texts of the fields, as many as can be told apart."""
    text.lost = 0
    entries, pieces = _cut(body, leader, found)
    contents = []
    for (tag, *_), piece in zip(entries, pieces, strict=True):
        before = text.lost
        contents.append(text(piece))
        if text.lost > before:
            found.append(Problem(kind="character", message=f"{text.lost - before} characters could not be read.", place=tag))
    return [tag for tag, *_ in entries], contents


def _odd(
    tag: str,
    content: str,
    head: str,
    subfields: list[str],
    control: list[ControlField],
    fields: list[DataField],
    found: list[Problem],
) -> None:
    """A data field that is not two indicators and subfields."""
    if not subfields and len(head) > 2:
        found.append(Problem(kind="structure", message="The field has no subfield; its text was kept without indicators.", place=tag))
        control.append(ControlField(tag, content))
        return
    if len(head) != 2:
        found.append(Problem(kind="indicator", message=f"Two indicators expected, {head[:20]!r} found.", place=tag))
    if not subfields:
        found.append(Problem(kind="structure", message="The field is empty.", place=tag))
    if "" in subfields:
        found.append(Problem(kind="delimiter", message="A subfield delimiter has no code and no data after it.", place=tag))
    if len(head) > 2:  # more text than indicators: it is the cataloguer's, and kept
        subfields = [" " + head[2:], *subfields]
    kept = tuple([Subfield(each[0], each[1:]) for each in subfields if each])
    fields.append(data_field(tag, head[0:1] or " ", head[1:2] or " ", kept))


type_entry = tuple[str, int, int]  # tag, length with terminator, start after the base address


def _cut(body: bytes, leader: str, found: list[Problem]) -> tuple[list[type_entry], list[bytes]]:
    """Directory entries and the bytes of their fields, in the order of the directory."""
    pieces = body[LEADER_LENGTH:].split(FIELD_END)
    directory = pieces[0]
    base = LEADER_LENGTH + len(directory) + 1
    if pieces[-1]:
        found.append(Problem(kind="terminator", message="The last field has no terminator.", place=f"byte {len(body)}"))
    else:
        pieces.pop()
    del pieces[:1]
    if leader[12:17] != f"{base:05d}":
        found.append(
            Problem(kind="base-address", message=f"The leader says {leader[12:17]!r}, the data begin at {base}.", place="leader/12-16")
        )
    entries = _entries(directory, found)
    if len(entries) == len(pieces):
        start = 0
        wrong = False
        for (_, length, begin), piece in zip(entries, pieces, strict=True):
            size = len(piece) + 1
            wrong = wrong or begin != start or length != size
            start += size
        if not wrong:
            return entries, pieces
        data = body[base:] + FIELD_END
        if _consistent(entries, data):  # another order than that of the data, which is allowed
            return entries, [data[begin : begin + length - 1] for _, length, begin in entries]
        found.append(
            Problem(kind="directory", message="Lengths or starts in the directory are wrong; fields were cut at their terminators.")
        )
        return entries, pieces
    data = body[base:]
    if _consistent(entries, data + FIELD_END):
        message = f"The directory has {len(entries)} entries and there are {len(pieces)} field terminators; the directory was believed."
        found.append(Problem(kind="directory", message=message))
        return entries, [data[begin : begin + length - 1] for _, length, begin in entries]
    message = f"The directory has {len(entries)} entries, there are {len(pieces)} fields; as many as possible were matched in order."
    found.append(Problem(kind="directory", message=message))
    tagged = entries[: len(pieces)] + [("   ", 0, 0)] * (len(pieces) - len(entries))
    return tagged, pieces[: len(tagged)]


def _consistent(entries: list[type_entry], data: bytes) -> bool:
    """Whether every entry points to a field of its own, which ends with a terminator."""
    spans = sorted((begin, begin + length) for _, length, begin in entries)
    apart = all(first[1] <= second[0] for first, second in pairwise(spans))
    return bool(spans) and apart and all(0 <= begin < end <= len(data) and data[end - 1] == FIELD_END[0] for begin, end in spans)


def _entries(directory: bytes, found: list[Problem]) -> list[type_entry]:
    text = directory.decode("ascii", "replace")
    if len(text) % ENTRY:
        found.append(
            Problem(kind="directory", message=f"The directory has {len(text)} bytes, not a multiple of {ENTRY}.", place="directory")
        )
    entries: list[type_entry] = []
    for at in range(0, len(text) - ENTRY + 1, ENTRY):
        tag, numbers = text[at : at + 3], text[at + 3 : at + ENTRY]
        if numbers.isdecimal() and numbers.isascii():
            entries.append((tag, int(numbers[:4]), int(numbers[4:])))
        else:
            found.append(
                Problem(kind="directory", message=f"{text[at : at + ENTRY]!r} is not a directory entry.", place=f"directory byte {at}")
            )
            entries.append((tag, 0, -1))
        if not (tag.isascii() and tag.isalnum()):
            found.append(Problem(kind="tag", message=f"{tag!r} is not a tag.", place=f"directory byte {at}"))
    return entries
