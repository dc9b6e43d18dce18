"""BIBFRAME: the shared pairs against their MARC side, every syntax, several instances, items, what is not mapped."""

from __future__ import annotations

import io
import json
import random
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pyoxigraph as ox
import pytest

from flows.catalog import access, bibframe, marcxml, read
from flows.catalog.model import BibRecord, DataField, Subfield, canonical_json
from flows.catalog.vocabulary import MAPPED, NOT_MAPPED
from tests.catalog.material import NAMES, needs_pairs, pairs, record_of

ROOT = Path(__file__).parent.parent.parent


def plain(text: str | None) -> str:
    """A text without what the two sides write differently: ISBD marks, brackets that span fields, case, white space."""
    text = unicodedata.normalize("NFC", text or "")
    return re.sub(r"[\W_]+", " ", text, flags=re.UNICODE).strip().lower()


def years(record: BibRecord) -> set[str]:
    """The years of 008."""
    return {each for each in access.dates(record) if each}


def contributors(primary: bool) -> Callable[[BibRecord], set[tuple[str, str, str]]]:
    """Kind, name and title of the primary or the other contributors."""
    return lambda record: {(each.kind, plain(each.name), plain(each.title)) for each in access.contributors(record) if each.primary is primary}


def identifiers(kind: str) -> Callable[[BibRecord], set[tuple[str, bool]]]:
    """Values of identifiers of a kind, with whether they are cancelled."""
    return lambda record: {(each.value.strip(), each.cancelled) for each in access.identifiers(record) if each.kind == kind}


def publishers(record: BibRecord) -> set[str]:
    """Names of publishers."""
    return {plain(name) for each in access.publications(record) for name in each.publishers}


def places(record: BibRecord) -> set[str]:
    """Places of publication."""
    return {plain(name) for each in access.publications(record) for name in each.places}


def title(record: BibRecord) -> str:
    """Title proper."""
    found = access.title(record)
    return plain(found.main if found else None)


CORE: dict[str, Callable[[BibRecord], object]] = {
    "control number": lambda record: record.control_number,
    "title proper": title,
    "primary contributor": contributors(True),
    "other contributors": contributors(False),
    "isbn": identifiers("isbn"),
    "issn": identifiers("issn"),
    "lccn": identifiers("lccn"),
    "language": access.languages,
    "date": years,
    "publisher": publishers,
    "place": places,
    "extent": lambda record: {plain(each) for each in access.format_of(record).extent},
    "subjects": lambda record: {plain(each.heading) for each in access.subjects(record) if each.kind != "genre"},
    "classification": lambda record: {(each.scheme, each.number, each.item) for each in access.classifications(record)},
    "content": lambda record: set(access.format_of(record).content),
    "media": lambda record: set(access.format_of(record).media),
    "carrier": lambda record: set(access.format_of(record).carrier),
}

# What the conversion itself changes, so that no reading of its result can agree; the value is that of the BIBFRAME side.
UNAVOIDABLE: dict[tuple[str, str], tuple[object, str]] = {}


@needs_pairs
@pytest.mark.parametrize("field", CORE)
def test_the_pairs_agree_in_the_core_fields(field: str) -> None:
    """catalog 3"""
    compared = 0
    for name, marc, rdf in pairs():
        left = CORE[field](record_of(marcxml.read_one(marc, **NAMES)))
        right = CORE[field](record_of(bibframe.read_one(rdf, **NAMES)))
        if (name, field) in UNAVOIDABLE:
            assert right == UNAVOIDABLE[name, field][0] != left, name
        else:
            assert right == left, name
        compared += 1
    assert compared >= 9
