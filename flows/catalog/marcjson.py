"""MARC-in-JSON: one object per record, in either of the two shapes in use, alone, in a list, or one a line.

``{"leader": ..., "fields": [{"001": "..."}, {"245": {"ind1": "1", "ind2": "0", "subfields": [{"a": "..."}]}}]}`` is the
common one (pymarc, ruby-marc, FOLIO); ``{"leader", "controlfield": [{"tag", "data"}], "datafield": [{"tag", "ind",
"subfield": [{"code", "data"}]}]}`` is Koha's and pazpar2's.

Source: Ross Singer, A proposal to serialize MARC in JSON (2010).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

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
    sound_text,
)

CHUNK: Final = 1 << 16  # bytes read at a time
LARGEST: Final = 64 << 20  # characters of one record
STRUCTURE: Final = re.compile(r'["\\{}]')
SURROGATE: Final = re.compile("[\ud800-\udfff]")


def read_one(payload: bytes, *, source: str, identifier: str, datestamp: str | None = None) -> Reading:
    """The record of a payload: an object, or a list whose first object it is."""
    found: list[Problem] = []
    try:
        content = json.loads(decoded(payload, found))
    except (ValueError, RecursionError) as error:
        found.append(Problem(kind="syntax", message=f"Not JSON: {sound_text(str(error))[:200]}"))
        return Reading(record=None, problems=tuple(found))
    if isinstance(content, list):
        if len(content) > 1:
            found.append(Problem(kind="several-records", message=f"{len(content) - 1} records follow the first and were left out."))
        content = content[0] if content else None
    if not isinstance(content, dict) or not (content.keys() & {"leader", "fields", "controlfield", "datafield"}):
        found.append(Problem(kind="unreadable", message="There is no object with a leader and fields."))
        return Reading(record=None, problems=tuple(found))
    control: list[ControlField] = []
    fields: list[DataField] = []
    leader = content.get("leader")
    if not isinstance(leader, str):
        found.append(Problem(kind="leader-missing", message="The record has no leader.", place="leader"))
        leader = ""
    elif len(leader) != LEADER_LENGTH:
        found.append(Problem(kind="leader-length", message=f"The leader has {len(leader)} characters, not 24.", place="leader"))
    elif leader[9] == " ":
        found.append(
            Problem(
                kind="encoding", message="leader/09 is blank (MARC-8), but the record is in Unicode; it must be 'a'.", place="leader/09"
            )
        )
    for tag, value in _members(content, found):
        _field(_clean(tag, tag, found), value, control, fields, found)
    if sum(field.tag == "001" for field in control) > 1:
        found.append(Problem(kind="duplicate-001", message="The record has more than one control number (001).", place="001[1]"))
    if not control and not fields:
        found.append(Problem(kind="unreadable", message="The record has no field."))
        return Reading(record=None, problems=tuple(found))
    leader = _clean(leader, "leader", found)
    record = BibRecord(
        source=source,
        identifier=identifier,
        format="marcjson",
        leader=canonical_leader(leader),
        control_fields=tuple(control),
        data_fields=tuple(fields),
        datestamp=datestamp,
        deleted=leader[5:6] == "d",
        provenance={"reader": "marcjson", "encoding": "utf-8"},
    )
    return Reading(record=record, problems=tuple(found))


def decoded(payload: bytes, found: list[Problem]) -> str:
    """The text of a payload in UTF-8, or UTF-16 or UTF-32 where its first bytes say so."""
    encoding = json.detect_encoding(payload)
    try:
        return payload.decode(encoding)
    except UnicodeDecodeError as error:
        found.append(
            Problem(
                kind="encoding", message=f"Not {encoding}: {error.reason}; unreadable bytes were replaced.", place=f"byte {error.start}"
            )
        )
        return payload.decode(encoding, "replace")


def payloads(stream: BinaryIO) -> Iterator[bytes]:
    """The outermost objects of a file, whether in a list, one a line or one after the other; at most one is in memory.

    Braces are counted outside of strings. An object that does not end before the next line that begins with ``{`` at its
    start, when it itself began a line, is damaged and given away as it is.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    text = ""
    at = depth = start = 0
    quoted = False
    while True:
        chunk = stream.read(CHUNK)
        text += decoder.decode(chunk, final=not chunk)
        while match := STRUCTURE.search(text, at):
            char, at = match[0], match.end()
            if char == "\\" and quoted:
                if at == len(text) and chunk:
                    at -= 1
                    break
                at += 1
            elif char == '"':
                quoted = not quoted if depth else False
            elif quoted:
                if char == "{" and text[max(0, at - 2) : at] == "\n{":  # a string cannot hold a bare newline: the one before is damaged
                    yield text[start : at - 1].encode()
                    start, depth, quoted = at - 1, 1, False
            elif char == "{":
                if depth and text[max(0, at - 2) : at] == "\n{":
                    yield text[start : at - 1].encode()
                    depth = 0
                if not depth:
                    start = at - 1
                depth += 1
            elif char == "}" and depth:
                depth -= 1
                if not depth:
                    yield text[start:at].encode()
                    start = at
        else:
            at = len(text)
        if not depth:
            text, at, start = text[at:], 0, 0
        elif start:
            text, at, start = text[start:], at - start, 0
        if len(text) > LARGEST:
            yield text.encode()
            text, at, start, depth, quoted = "", 0, 0, 0, False
        if not chunk:
            break
    if depth and text[start:].strip():
        yield text[start:].encode()


def _members(content: Mapping[str, Any], found: list[Problem]) -> Iterator[tuple[str, Any]]:
    """Tag and value of every field, in either shape."""
    for each in _list(content.get("fields"), "fields", found):
        if isinstance(each, dict):
            yield from each.items()
        else:
            found.append(Problem(kind="structure", message=f"{each!r:.40} is not a field.", place="fields"))
    for each in _list(content.get("controlfield"), "controlfield", found):
        if isinstance(each, dict):
            yield str(each.get("tag", "")), each.get("data")
    for each in _list(content.get("datafield"), "datafield", found):
        if isinstance(each, dict):
            inds = each.get("ind")
            inds = inds if isinstance(inds, str) else ""
            subfields = [
                {str(sub.get("code", "")): sub.get("data")}
                for sub in _list(each.get("subfield"), "subfield", found)
                if isinstance(sub, dict)
            ]
            yield str(each.get("tag", "")), {"ind1": inds[0:1] or None, "ind2": inds[1:2] or None, "subfields": subfields}


def _list(value: Any, place: str, found: list[Problem]) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, list):
        return value
    found.append(Problem(kind="structure", message=f"A list is expected, not {value!r:.40}.", place=place))
    return (value,) if isinstance(value, dict) else ()


def _field(tag: str, value: Any, control: list[ControlField], fields: list[DataField], found: list[Problem]) -> None:
    if len(tag) != 3:
        found.append(Problem(kind="tag", message=f"{tag[:20]!r} is not a tag of three characters.", place=tag[:20]))
    if not isinstance(value, dict):
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            if tag[:2] != "00" and tag.isdecimal():
                found.append(
                    Problem(kind="structure", message="A data field without subfields; its text was kept without indicators.", place=tag)
                )
            control.append(ControlField(tag, _clean(str(value), tag, found)))
        else:
            found.append(Problem(kind="structure", message=f"{value!r:.40} is not the content of a field.", place=tag))
        return
    if tag[:2] == "00":
        found.append(Problem(kind="structure", message="A control field with subfields.", place=tag))
    subfields: list[Subfield] = []
    for each in _list(value.get("subfields"), tag, found):
        if not isinstance(each, dict):
            found.append(Problem(kind="structure", message=f"{each!r:.40} is not a subfield.", place=tag))
            continue
        for code, text in each.items():
            if not isinstance(text, str):
                found.append(
                    Problem(kind="structure", message=f"The value of a subfield must be text, not {text!r:.40}.", place=f"{tag}${code[:1]}")
                )
                if text is None or isinstance(text, dict | list | bool):
                    continue
                text = str(text)
            if len(code) != 1:
                found.append(Problem(kind="subfield-code", message=f"{code[:20]!r} is not a subfield code.", place=tag))
            subfields.append(Subfield(_clean(code, tag, found), _clean(text, tag, found)))
    indicators = []
    for name in ("ind1", "ind2"):
        indicator = value.get(name)
        if not isinstance(indicator, str) or len(indicator) != 1:
            found.append(Problem(kind="indicator", message=f"{name} must be one character, not {indicator!r:.40}.", place=tag))
            indicator = (indicator if isinstance(indicator, str) else "")[:1] or " "
        indicators.append(_clean(indicator, tag, found))
    fields.append(data_field(tag, indicators[0], indicators[1], tuple(subfields)))


def _clean(text: str, place: str, found: list[Problem]) -> str:
    if SURROGATE.search(text):
        found.append(Problem(kind="character", message="Half of a surrogate pair; it was replaced.", place=place[:20]))
        return sound_text(text)
    return text
