"""The canonical record: MARC 21 shape, immutable, with where it came from; its JSON and its digest.

Every reader gives a ``BibRecord`` and every station works with it. It is the same value whatever form it came in:
positions of the leader that only describe an ISO 2709 file (length, base address) are zeros, and leader/09 says ``a``
as soon as the text has become Unicode. How a record was read (``format``, ``provenance``) is carried along, but is no
part of what it is: not of equality, not of the canonical JSON, not of the digest.

Text is kept as it came, so that rules can judge it; the canonical JSON is in Unicode normalisation form C.

Source of the shape: MARC 21 Format for Bibliographic Data (Library of Congress), ISO 2709:2008.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

LEADER_LENGTH: Final = 24  # characters
WITHOUT_LENGTH: Final = "00000"  # leader/00-04 and /12-16 of a record that is not in a file


class Subfield(NamedTuple):
    """A code of one character and a value. A tuple, because a page of records has a hundred thousand of them."""

    code: str
    value: str


class ControlField(NamedTuple):
    """A field without indicators and subfields: tags 001 to 009, and whatever a source gives without them (FMT, LDR)."""

    tag: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DataField:
    """A field with two indicators and subfields, in the order in which they stand."""

    tag: str
    ind1: str = " "
    ind2: str = " "
    subfields: tuple[Subfield, ...] = ()

    def values(self, *codes: str) -> tuple[str, ...]:
        """Values of the subfields with one of these codes, in the record's order; all values when no code is named."""
        return tuple([value for code, value in self.subfields if not codes or code in codes])

    def first(self, code: str) -> str | None:
        """The value of the first subfield with this code; None when there is none."""
        for present, value in self.subfields:
            if present == code:
                return value
        return None

    def __str__(self) -> str:
        return f"{self.tag} {self.ind1}{self.ind2} " + "".join(f"${code}{value}" for code, value in self.subfields)


@dataclass(frozen=True, kw_only=True, slots=True)
class BibRecord:
    """One record of one source."""

    source: str
    """Name of the source in the configuration."""
    identifier: str
    """The source's own identifier, such as the OAI identifier."""
    format: str = field(compare=False)
    """What it was read from: marcxml, iso2709, marcjson, bibframe; or canonical."""
    leader: str
    """24 characters; another length only where the source's leader had it."""
    control_fields: tuple[ControlField, ...] = ()
    data_fields: tuple[DataField, ...] = ()
    datestamp: str | None = None
    """As the source gave it."""
    deleted: bool = False
    derived: bool = False
    """True when read from BIBFRAME: leader, 006, 007 and 008 are inferred, and rules resting on them do not apply."""
    provenance: Mapping[str, str] = field(default_factory=dict, compare=False)
    """How it was read: reader, encoding, and what the reader counted."""

    @property
    def control_number(self) -> str | None:
        """The value of the first 001."""
        return self.control("001")

    def control(self, tag: str) -> str | None:
        """The value of the first control field with this tag; None when there is none."""
        for present, value in self.control_fields:
            if present == tag:
                return value
        return None

    def fields(self, *tags: str) -> tuple[DataField, ...]:
        """Data fields with one of these tags, in the record's order; X stands for any character: ``fields("1XX", "245")``."""
        matches = matcher(tags)
        return tuple([field for field in self.data_fields if matches(field.tag)])

    def __repr__(self) -> str:
        state = " deleted" if self.deleted else ""
        counts = f"{len(self.control_fields)}+{len(self.data_fields)} fields"
        return f"<BibRecord {self.source}/{self.identifier}{state}: {self.control_number or 'no control number'}, {counts}>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What a reader noticed, and could go on."""

    kind: str
    """One of ``KINDS``; stable, for machines."""
    message: str
    """A sentence for a cataloguer."""
    place: str = ""
    """Where: ``leader/09``, ``245$a``, ``100[1]``, ``byte 1234``; empty for the whole record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What came of a payload: the record, or None only when nothing usable was there, and what was noticed."""

    record: BibRecord | None
    problems: tuple[Problem, ...] = ()


KINDS: Final = {
    "empty": "there is nothing",
    "unreadable": "nothing usable could be read",
    "format": "the content is not of the form that the source is configured for",
    "syntax": "XML, JSON or RDF that is not well-formed",
    "structure": "well-formed, but not built as a record is",
    "leader-missing": "no leader",
    "leader-length": "a leader that is not 24 characters long",
    "record-length": "the length in the leader is not the length of the record",
    "base-address": "the base address in the leader does not point to the data",
    "directory": "the directory does not fit the data",
    "terminator": "a terminator is missing or doubled",
    "delimiter": "a delimiter stands where none belongs",
    "encoding": "bytes or leader/09 do not fit the encoding",
    "character": "a character that cannot be kept",
    "indicator": "indicators are missing or not one character each",
    "subfield-code": "a subfield code is missing or not one character",
    "tag": "a tag is missing or not three characters",
    "duplicate-001": "more than one control number",
    "several-records": "more than one record where one was expected",
}


@lru_cache(maxsize=512)
def matcher(tags: tuple[str, ...]) -> Callable[[str], bool]:
    """A test for tags, X standing for any character."""
    exact = frozenset(tag for tag in tags if "X" not in tag)
    patterns = [[(at, char) for at, char in enumerate(tag) if char != "X"] for tag in tags if "X" in tag]

    def matches(tag: str) -> bool:
        return tag in exact or (len(tag) == 3 and any(all(tag[at] == char for at, char in pattern) for pattern in patterns))

    return matches if patterns else exact.__contains__


_new: Final = object.__new__
_slots: Final[Any] = DataField  # the slots' own setters: a fourth of the time of a frozen dataclass's __init__
_set_tag, _set_ind1, _set_ind2, _set_subfields = (
    _slots.tag.__set__,
    _slots.ind1.__set__,
    _slots.ind2.__set__,
    _slots.subfields.__set__,
)


def data_field(tag: str, ind1: str, ind2: str, subfields: tuple[Subfield, ...]) -> DataField:
    """The same as ``DataField(...)``, for readers: one of the two hot spots of reading."""
    made = _new(DataField)
    _set_tag(made, tag)
    _set_ind1(made, ind1)
    _set_ind2(made, ind2)
    _set_subfields(made, subfields)
    return made


def canonical_leader(leader: str, *, unicode: bool = True) -> str:
    """A leader without what only describes a file: zeros in 00-04 and 12-16, and ``a`` instead of blank in 09 (``unicode``).

    A leader that is not 24 characters long is not touched.
    """
    if len(leader) != LEADER_LENGTH:
        return leader
    scheme = "a" if unicode and leader[9] == " " else leader[9]
    return f"{WITHOUT_LENGTH}{leader[5:9]}{scheme}{leader[10:12]}{WITHOUT_LENGTH}{leader[17:]}"


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def canonical_json(record: BibRecord) -> bytes:
    """The record as JSON: UTF-8, form C, keys sorted, no white space; the same bytes for the same record, always.

    Control fields and subfields are pairs. ``format`` and ``provenance`` are not in it.
    """
    return _json(
        {
            **_content(record),  # control_fields, control_number, data_fields, deleted, derived, leader
            "datestamp": record.datestamp,
            "identifier": record.identifier,
            "source": record.source,
        }
    )


def digest(record: BibRecord) -> str:
    """SHA-256 of the content (leader, fields, deletion) in canonical JSON, as 64 hexadecimal digits.

    Source, identifier and datestamp are not in it: the same content under another name has the same digest.
    """
    return hashlib.sha256(_json(_content(record))).hexdigest()


def from_json(data: bytes | str, *, format: str = "canonical", provenance: Mapping[str, str] | None = None) -> BibRecord:
    """The record that ``canonical_json`` wrote; keys may stand in any order.

    Raises ValueError when it is not the canonical JSON of a record, saying what is wrong.
    """
    try:
        content = json.loads(data)
        return BibRecord(
            source=_text(content["source"]),
            identifier=_text(content["identifier"]),
            format=format,
            leader=_text(content["leader"]),
            control_fields=tuple([ControlField(_text(tag), _text(value)) for tag, value in content["control_fields"]]),
            data_fields=tuple([_data_field(each) for each in content["data_fields"]]),
            datestamp=None if content.get("datestamp") is None else _text(content["datestamp"]),
            deleted=bool(content["deleted"]),
            derived=bool(content["derived"]),
            provenance=dict(provenance or {}),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not the canonical JSON of a record: {type(error).__name__}: {error}") from error


def sound_text(text: str) -> str:
    """The text without lone surrogates, which JSON can say and UTF-8 cannot; each becomes U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {value!r:.40}")
    return value


def _data_field(content: Mapping[str, Any]) -> DataField:
    return DataField(
        tag=_text(content["tag"]),
        ind1=_text(content["ind1"]),
        ind2=_text(content["ind2"]),
        subfields=tuple([Subfield(_text(code), _text(value)) for code, value in content["subfields"]]),
    )


def _content(record: BibRecord) -> dict[str, Any]:
    return {
        "control_fields": record.control_fields,
        "control_number": record.control_number,
        "data_fields": [
            {"ind1": each.ind1, "ind2": each.ind2, "subfields": each.subfields, "tag": each.tag} for each in record.data_fields
        ],
        "deleted": record.deleted,
        "derived": record.derived,
        "leader": record.leader,
    }


def _json(content: Mapping[str, Any]) -> bytes:
    text = _encode(dict(sorted(content.items())))
    if not text.isascii():
        # Normalising the whole text would be wrong: in "\n" + U+0303 the n belongs to the escape. Looking at it is not.
        if not unicodedata.is_normalized("NFC", text):
            text = _encode(_normalised(dict(sorted(content.items()))))
        try:
            return text.encode()
        except UnicodeEncodeError:
            text = sound_text(text)
    return text.encode()


def _normalised(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {key: _normalised(each) for key, each in value.items()}
    if isinstance(value, Iterable):
        return [_normalised(each) for each in value]
    return value
