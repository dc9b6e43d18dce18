"""The plain case of MARCXML without a tree: three times as fast as lxml, and only where the result is certain.

A payload is plain when it is one ``<record>`` in UTF-8 and every ``<`` in it belongs to one of its own leader,
controlfield, datafield and subfield tags, spelt with the same prefix and plain attributes. That is counted, not assumed:
whatever is left over (a comment, CDATA, a nested or unknown element, a damaged tag) makes ``fast`` give None, and lxml
reads the payload. A test compares the two on generated and damaged payloads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final

from flows.catalog.model import ControlField, DataField, Subfield, data_field

Content = tuple[str, list[ControlField], list[DataField]]  # leader, control fields, data fields
Find = Callable[[str], list[Any]]

OPENING: Final = re.compile(
    r"\s*(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'][Uu][Tt][Ff]-8[\"'])?\s*\?>\s*)?"
    r"<(?:([A-Za-z_][\w.-]*):)?record([^<>]*)>",
    re.ASCII,
)
ATTRIBUTE: Final = re.compile(r"\s+([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)=(?:\"([^\"<&\t\n\r]*)\"|'([^'<&\t\n\r]*)')", re.ASCII)
REFERENCE: Final = re.compile("&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));")
NAMED: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
NAMESPACE: Final = re.compile(r"(?:(?:https?://|urn:)[\w./-]+(?::[\w./-]+)*#?)?", re.ASCII)  # others are left to lxml to judge
FORBIDDEN: Final = bytes(set(range(0x20)) - {0x09, 0x0A, 0x0D})  # what XML 1.0 has no place for
KNOWN: Final = 4096  # spellings of start tags that are remembered

_subfield: Final = partial(tuple.__new__, Subfield)


def fast(payload: bytes) -> Content | None:
    """Leader, control fields and data fields of a plain payload; None when it is not plain."""
    if len(payload.translate(None, FORBIDDEN)) != len(payload):
        return None
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    if "]]>" in text or "\ufffe" in text or "\uffff" in text:
        return None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    opening = OPENING.match(text)
    if not opening or not declares(opening[1] or "", opening[2]):
        return None
    prefix = f"{opening[1]}:" if opening[1] else ""
    end_of_field, find_controls, find_subfields, find_leader, closing = grammar(prefix)
    references = text.count("&")
    if references and len(REFERENCE.findall(text)) != references:
        return None
    head, *parts = text[opening.end() :].split(f"<{prefix}datafield")
    controls = find_controls(head)
    leaders = find_leader(head)
    if len(leaders) != 1:
        return None
    tags = 2 * len(controls) + 2 + 1  # and the closing tag of the record
    fields = []
    for part in parts:
        attributes, _, body = part.partition(">")
        known = start(attributes)
        if known is None:
            return None
        inside, ended, after = body.partition(end_of_field)
        if not ended:
            return None
        found = find_subfields(inside)
        tags += 2 * len(found) + 2
        if "&" in inside:
            found = [(resolved(code), resolved(value)) for code, value in found]
            if any("\0" in value or len(code) != 1 for code, value in found):
                return None
        fields.append(data_field(*known, tuple(map(_subfield, found))))
    tail = after if parts else head
    if text.count("<", opening.end()) != tags or not closing.search(tail):
        return None
    made = []
    for attributes, value in controls:
        tag = control_tag(attributes)
        if tag is None or "\0" in (value := resolved(value) if "&" in value else value):
            return None
        made.append(ControlField(tag, value))
    leader = resolved(leaders[0])
    return None if "\0" in leader else (leader, made, fields)


@lru_cache(maxsize=64)
def grammar(prefix: str) -> tuple[str, Find, Find, Find, re.Pattern[str]]:
    """What is searched for in payloads whose elements have this prefix."""
    p = re.escape(prefix)
    return (
        f"</{prefix}datafield>",
        re.compile(rf"<{p}controlfield([^<>]*)>([^<]*)</{p}controlfield>").findall,
        re.compile(rf"""<{p}subfield code=["']([^"'<>&\s]| )["']>([^<]*)</{p}subfield>""").findall,
        re.compile(rf"<{p}leader>([^<]*)</{p}leader>").findall,
        re.compile(rf"</{p}record>\s*\Z"),
    )


@lru_cache(maxsize=KNOWN)
def attributes_of(text: str) -> dict[str, str] | None:
    """The attributes of a start tag; None when they are not plain."""
    found: dict[str, str] = {}
    at = 0
    while match := ATTRIBUTE.match(text, at):
        if match[1] in found:
            return None
        found[match[1]] = match[2] if match[2] is not None else match[3]
        at = match.end()
    return None if text[at:].strip() else found


@lru_cache(maxsize=KNOWN)
def start(text: str) -> tuple[str, str, str] | None:
    """Tag and indicators of a datafield's start tag; None when it is not plain."""
    found = attributes_of(text)
    if found is None or found.keys() != {"tag", "ind1", "ind2"} or [*map(len, map(found.get, ("tag", "ind1", "ind2")))] != [3, 1, 1]:  # type: ignore[arg-type]
        return None
    return None if found["tag"].startswith("00") else (found["tag"], found["ind1"], found["ind2"])


@lru_cache(maxsize=KNOWN)
def control_tag(text: str) -> str | None:
    """The tag of a controlfield's start tag; None when it is not plain."""
    found = attributes_of(text)
    return found["tag"] if found is not None and found.keys() == {"tag"} and found["tag"][:2] == "00" and len(found["tag"]) == 3 else None


@lru_cache(maxsize=KNOWN)
def declares(prefix: str, text: str) -> bool:
    """Whether the record's start tag is plain and declares the prefix that it uses, and no prefix of another is used undeclared."""
    found = attributes_of(text)
    if found is None or (prefix and not found.get(f"xmlns:{prefix}")):
        return False
    if not all(NAMESPACE.fullmatch(value) for name, value in found.items() if name.startswith("xmlns")):
        return False
    used = {name.partition(":")[0] for name in found if ":" in name} - {"xmlns", "xml"}
    return all(found.get(f"xmlns:{each}") for each in used)


def resolved(text: str) -> str:
    """The text with its references resolved; a null character stands for one that XML forbids."""
    return REFERENCE.sub(_character, text) if "&" in text else text


def _character(match: re.Match[str]) -> str:
    if match[1]:
        return NAMED[match[1]]
    code = int(match[2]) if match[2] else int(match[3], 16)
    allowed = code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF
    return chr(code) if allowed else "\0"
