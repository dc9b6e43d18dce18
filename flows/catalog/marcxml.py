"""MARCXML: with its namespace, with a prefix, with another namespace or with none.

Elements are known by their local names, because exports get the namespace wrong. The plain case is read without a tree
(``fastxml``); everything else, damaged XML included, by lxml, and what had to be guessed is reported.

Source: MARCXML schema 1.2 (Library of Congress, http://www.loc.gov/MARC21/slim).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from lxml import etree

from flows.catalog.fastxml import fast
from flows.catalog.model import LEADER_LENGTH, BibRecord, ControlField, DataField, Problem, Reading, Subfield, canonical_leader, data_field

CHUNK: Final = 1 << 16  # bytes read at a time
LARGEST: Final = 64 << 20  # characters of one record
DECLARED: Final = re.compile(rb"""\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
DECLARATION: Final = re.compile(r"\A\s*<\?xml.*?\?>", re.DOTALL)
PIECE: Final = re.compile(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<(/?)((?:[A-Za-z_][\w.-]*:)?)record(?=[\s/>])[^<>]*>", re.DOTALL)
NAMESPACE: Final = re.compile(r"""\sxmlns(?::[\w.-]+)?=(?:"[^"<]*"|'[^'<]*')""")
INSIDE: Final = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?(?:leader|controlfield|datafield)[\s>]")
LONGEST_TAG: Final = 4096  # characters: a tag or the beginning of a comment that the end of a chunk may have cut


def read_one(payload: bytes, *, source: str, identifier: str, datestamp: str | None = None) -> Reading:
    """The record of a payload; of a collection the first, and the rest is reported."""
    found: list[Problem] = []
    content = fast(payload)
    reader = "marcxml"
    if content is None:
        element = _element(payload, found)
        if element is None:
            return Reading(record=None, problems=tuple(found))
        content = _walk(element, found)
        reader = "marcxml-tree"
    leader, control, fields = content
    if not leader:
        found.append(Problem(kind="leader-missing", message="The record has no leader.", place="leader"))
    elif len(leader) != LEADER_LENGTH:
        found.append(Problem(kind="leader-length", message=f"The leader has {len(leader)} characters, not 24.", place="leader"))
    elif leader[9] == " ":
        found.append(
            Problem(
                kind="encoding", message="leader/09 is blank (MARC-8), but the record is in Unicode; it must be 'a'.", place="leader/09"
            )
        )
    if len(control) > 1 and sum(field.tag == "001" for field in control) > 1:
        found.append(Problem(kind="duplicate-001", message="The record has more than one control number (001).", place="001[1]"))
    if not control and not fields:
        found.append(Problem(kind="unreadable", message="The record has no field."))
        return Reading(record=None, problems=tuple(found))
    record = BibRecord(
        source=source,
        identifier=identifier,
        format="marcxml",
        leader=canonical_leader(leader),
        control_fields=tuple(control),
        data_fields=tuple(fields),
        datestamp=datestamp,
        deleted=leader[5:6] == "d",
        provenance={"reader": reader, "encoding": "utf-8"},
    )
    return Reading(record=record, problems=tuple(found))


def payloads(stream: BinaryIO) -> Iterator[bytes]:
    """The ``<record>`` elements of a file, in UTF-8, each with the namespaces that stood above it; at most one is in memory.

    Works on collections, OAI-PMH answers and records that simply follow each other. A record without its end tag ends
    where the next begins, and costs nobody else.
    """
    first = stream.read(CHUNK)
    decoder = codecs.getincrementaldecoder(_encoding(first))("replace")
    text = ""
    chunk = first
    namespaces: str | None = None
    opened: int | None = None
    at = 0
    while True:
        text += decoder.decode(chunk, final=not chunk)
        while match := PIECE.search(text, at):
            at = match.end()
            if match[2] is None:
                continue
            if namespaces is None:
                namespaces = "".join(dict.fromkeys(NAMESPACE.findall(text[: match.start()])))
            if match[1]:
                if opened is not None and INSIDE.search(text, opened, at):
                    yield _declared(text[opened:at], namespaces)
                opened = None
            elif match[0].endswith("/>"):
                continue
            else:
                if opened is not None and INSIDE.search(text, opened, match.start()):
                    yield _declared(text[opened : match.start()], namespaces)
                opened = match.start()
        unfinished = text.rfind("<", max(at, len(text) - LONGEST_TAG))
        at = _resume(text, at, unfinished)
        keep = opened if opened is not None else at
        if namespaces is None and keep > 0:
            kept = "".join(NAMESPACE.findall(text[:keep]))
            text = kept + text[keep:]
            at += len(kept) - keep
        else:
            text = text[keep:]
            at -= keep
        opened = None if opened is None else 0
        if len(text) > LARGEST:
            yield text.encode()
            text, at, opened = "", 0, None
        if not chunk:
            break
        chunk = stream.read(CHUNK)
    if opened is not None and INSIDE.search(text, opened):
        yield _declared(text[opened:], namespaces or "")


def _resume(text: str, at: int, unfinished: int) -> int:
    """Where the search goes on when more text has come: at a comment or CDATA that is still open, or at a cut tag."""
    for begin in ("<!--", "<![CDATA["):
        still_open = text.find(begin, at)
        if still_open >= 0:
            return still_open
    return unfinished if unfinished >= at else len(text)


def _declared(record: str, namespaces: str) -> bytes:
    """The record with those namespaces on its start tag that it does not declare itself."""
    end = re.search(r"[\s/>]", record)
    assert end is not None  # noqa: S101 - the text was found by its start tag
    tag = record[: record.find(">") + 1]
    missing = "".join(each for each in NAMESPACE.findall(namespaces) if each.split("=")[0] + "=" not in tag)
    return f"{record[: end.start()]}{missing}{record[end.start() :]}".encode()


def _encoding(head: bytes) -> str:
    for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if head.startswith(mark):
            return name
    declared = DECLARED.match(head)
    try:
        return codecs.lookup(declared[1].decode("ascii")).name if declared else "utf-8"
    except LookupError:
        return "utf-8"


def _element(payload: bytes, found: list[Problem]) -> etree._Element | None:
    """The record's element; damaged XML is read as far as it goes."""
    data = payload.strip(b" \t\r\n\x00")
    if not data:
        found.append(Problem(kind="empty", message="There is nothing."))
        return None
    # Entities are not resolved: nothing is fetched and nothing grows; huge_tree, because a record may have 10,000 fields.
    options = {"resolve_entities": False, "no_network": True, "huge_tree": True, "remove_comments": True, "remove_pis": True}
    try:
        root: etree._Element | None = etree.fromstring(data, etree.XMLParser(**options))  # type: ignore[arg-type]
    except (etree.XMLSyntaxError, ValueError) as error:
        found.append(Problem(kind="syntax", message=f"Not well-formed: {str(error)[:200]}", place=f"line {getattr(error, 'lineno', 1)}"))
        data = _valid(data, found)  # libxml2 keeps bytes that are not UTF-8 in what it recovers, and lxml then fails on them
        try:
            root = etree.fromstring(data, etree.XMLParser(recover=True, **options))  # type: ignore[arg-type]
        except (etree.XMLSyntaxError, ValueError):
            root = None
    if root is None:
        found.append(Problem(kind="unreadable", message="There is no element."))
        return None
    records = [each for each in root.iter() if isinstance(each.tag, str) and _local(each) == "record" and _has_fields(each)]
    if not records and _has_fields(root):
        found.append(Problem(kind="structure", message=f"The record's element is called {_local(root)[:40]!r}, not 'record'."))
        return root
    if not records:
        found.append(Problem(kind="unreadable", message="There is no record element with fields."))
        return None
    if len(records) > 1:
        found.append(Problem(kind="several-records", message=f"{len(records) - 1} records follow the first and were left out."))
    return records[0]


def _valid(data: bytes, found: list[Problem]) -> bytes:
    """The payload with bytes that are none of its encoding replaced; in UTF-8, and its declaration gone, where any were."""
    encoding = _encoding(data)
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        found.append(
            Problem(
                kind="encoding", message=f"Not {encoding}: {error.reason}; unreadable bytes were replaced.", place=f"byte {error.start}"
            )
        )
        return DECLARATION.sub("", data.decode(encoding, "replace").lstrip("\ufeff")).encode()
    return data


def _local(element: etree._Element) -> str:
    tag = element.tag
    if not isinstance(tag, str):
        return ""
    return tag.rpartition("}")[2].rpartition(":")[2]


def _has_fields(element: etree._Element) -> bool:
    return any(_local(child) in ("leader", "controlfield", "datafield") for child in element)


def _walk(record: etree._Element, found: list[Problem]) -> tuple[str, list[ControlField], list[DataField]]:
    leader = ""
    control: list[ControlField] = []
    fields: list[DataField] = []
    for element in record:
        name = _local(element)
        if name == "leader":
            leader = leader or _text(element)
        elif name == "controlfield":
            tag = _attribute(element, "tag", 3, found, "controlfield", "tag")
            if tag[:2] != "00" and tag.isdecimal():
                found.append(Problem(kind="structure", message="A controlfield element with the tag of a data field.", place=tag))
            control.append(ControlField(tag, _text(element)))
        elif name == "datafield":
            tag = _attribute(element, "tag", 3, found, "datafield", "tag")
            if tag[:2] == "00":
                found.append(Problem(kind="structure", message="A datafield element with the tag of a control field.", place=tag))
            ind1 = _attribute(element, "ind1", 1, found, tag, "indicator") or " "
            ind2 = _attribute(element, "ind2", 1, found, tag, "indicator") or " "
            subfields = []
            for child in element:
                if _local(child) == "subfield":
                    subfields.append(Subfield(_attribute(child, "code", 1, found, tag, "subfield-code"), _text(child)))
                elif _local(child):
                    found.append(
                        Problem(kind="structure", message=f"{_local(child)[:40]!r} is no element of a field; it was left out.", place=tag)
                    )
            if (element.text or "").strip():
                found.append(Problem(kind="structure", message="Text outside of subfields; it was left out.", place=tag))
            fields.append(data_field(tag, ind1[0], ind2[0], tuple(subfields)))
        elif name:
            found.append(Problem(kind="structure", message=f"{name[:40]!r} is no element of a record; it was left out."))
    return leader, control, fields


def _text(element: etree._Element) -> str:
    """All text below an element, that of unexpected children and of unresolved entities included."""
    if not len(element):
        return element.text or ""
    return (element.text or "") + "".join(_text(child) + (child.tail or "") for child in element)


def _attribute(element: etree._Element, name: str, length: int, found: list[Problem], place: str, kind: str) -> str:
    value = element.get(name)
    if value is None or len(value) != length:
        found.append(Problem(kind=kind, message=f"The attribute {name} is {value!r:.40}, not {length} character(s).", place=place[:20]))
    return value or ""
