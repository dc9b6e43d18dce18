"""The canonical record as MARCXML, ISO 2709 (UTF-8) and MARC-in-JSON.

What a form cannot hold is not dropped in silence: ``to_iso2709`` raises ``TooLong``; characters that XML forbids become
U+FFFD, and so do delimiters (1D, 1E, 1F) inside ISO 2709 text.

Source: MARCXML schema 1.2 (Library of Congress); ISO 2709:2008; Ross Singer, A proposal to serialize MARC in JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from flows.catalog.model import LEADER_LENGTH, BibRecord, DataField, sound_text

NAMESPACE: Final = "http://www.loc.gov/MARC21/slim"
LONGEST_RECORD: Final = 99_999  # bytes: five digits in the leader
LONGEST_FIELD: Final = 9_999  # bytes: four digits in the directory
NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
DELIMITERS: Final = re.compile("[\x1d\x1e\x1f]")
BREAKS: Final = {"\r": "&#13;"}
BLANK: Final = "00000nam a2200000   4500"  # stands in where there is no leader


class TooLong(ValueError):
    """A record or field that ISO 2709 has no digits for; MARCXML holds it."""


def to_marcxml(record: BibRecord) -> bytes:
    """One ``<record>`` with the MARCXML namespace as its default namespace, UTF-8, without an XML declaration."""
    out = [f'<record xmlns="{NAMESPACE}"><leader>{_xml(record.leader)}</leader>']
    for control in record.control_fields:
        out.append(f"<controlfield tag={_attribute(control.tag)}>{_xml(control.value)}</controlfield>")
    for field in record.data_fields:
        out.append(f"<datafield tag={_attribute(field.tag)} ind1={_attribute(field.ind1)} ind2={_attribute(field.ind2)}>")
        out += [f"<subfield code={_attribute(code)}>{_xml(value)}</subfield>" for code, value in field.subfields]
        out.append("</datafield>")
    out.append("</record>")
    return "".join(out).encode()


def to_iso2709(record: BibRecord) -> bytes:
    """One record in UTF-8 with its terminator; lengths and addresses are computed, the rest of the leader is the record's.

    Raises TooLong when the record has more than 99,999 bytes or a field more than 9,999.
    """
    directory, data = [], []
    at = 0
    for tag, content in [*((each.tag, _plain(each.value)) for each in record.control_fields), *map(_content, record.data_fields)]:
        encoded = content.encode() + b"\x1e"
        if len(encoded) > LONGEST_FIELD:
            raise TooLong(f"field {tag} has {len(encoded)} bytes; ISO 2709 holds {LONGEST_FIELD}. MARCXML holds it")
        directory.append(f"{_three(tag)}{len(encoded):04d}{at:05d}")
        data.append(encoded)
        at += len(encoded)
    base = LEADER_LENGTH + 12 * len(directory) + 1
    length = base + at + 1
    if length > LONGEST_RECORD:
        raise TooLong(f"the record has {length} bytes; ISO 2709 holds {LONGEST_RECORD}. MARCXML holds it")
    leader = "".join(char if " " <= char <= "~" else " " for char in (record.leader + BLANK[len(record.leader) :])[:LEADER_LENGTH])
    head = f"{length:05d}{leader[5:9]}a22{base:05d}{leader[17:20]}4500{''.join(directory)}\x1e"
    return head.encode("ascii") + b"".join(data) + b"\x1d"


def to_marcjson(record: BibRecord) -> bytes:
    """One object in UTF-8, without white space."""
    fields: list[dict[str, Any]] = [{control.tag: control.value} for control in record.control_fields]
    for field in record.data_fields:
        subfields = [{code: value} for code, value in field.subfields]
        fields.append({field.tag: {"subfields": subfields, "ind1": field.ind1, "ind2": field.ind2}})
    text = json.dumps({"leader": record.leader, "fields": fields}, ensure_ascii=False, separators=(",", ":"))
    return sound_text(text).encode()


def _xml(text: str) -> str:
    return escape(NOT_XML.sub("\ufffd", text), BREAKS)


def _attribute(text: str) -> str:
    return quoteattr(NOT_XML.sub("\ufffd", text))  # which writes \t, \n and \r as references


def _plain(text: str) -> str:
    return DELIMITERS.sub("\ufffd", sound_text(text))


def _three(tag: str) -> str:
    return "".join(char if " " < char <= "~" else "?" for char in f"{tag:?<3.3}")


def _content(field: DataField) -> tuple[str, str]:
    subfields = "".join(f"\x1f{_plain(code)[:1] or ' '}{_plain(value)}" for code, value in field.subfields)
    return field.tag, f"{_plain(field.ind1)[:1] or ' '}{_plain(field.ind2)[:1] or ' '}{subfields}"
