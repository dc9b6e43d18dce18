"""The canonical record, its JSON and its digest."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.catalog.model import (
    BibRecord,
    ControlField,
    DataField,
    Subfield,
    canonical_json,
    canonical_leader,
    data_field,
    digest,
    from_json,
)
from tests.catalog.material import NAMES, composed, records

ROOT = Path(__file__).parent.parent.parent
PLAIN = BibRecord(
    **NAMES,
    format="marcxml",
    leader="00000nam a2200000 a 4500",
    control_fields=(ControlField("001", "42"),),
    data_fields=(DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield("a", "Cafe\u0301"), Subfield("b", "\n\u0303"))),),
    provenance={"b": "2", "a": "1"},
)


def test_the_canonical_json_is_exactly_this() -> None:
    """catalog 1. Sorted keys, form C, no white space; the n of an escape does not swallow a combining tilde."""
    assert canonical_json(PLAIN).decode() == (
        '{"control_fields":[["001","42"]],"control_number":"42","data_fields":[{"ind1":"1","ind2":"0",'
        '"subfields":[["a","Café"],["b","\\n\u0303"]],"tag":"245"}],"datestamp":null,"deleted":false,"derived":false,'
        '"identifier":"oai:example.org:1","leader":"00000nam a2200000 a 4500","source":"member"}'
    )


def shuffled(value: object, rng: random.Random) -> object:
    """The same JSON value with the keys of every object in another order."""
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    return [shuffled(each, rng) for each in value] if isinstance(value, list) else value


@given(record=records(), seed=st.integers())
def test_the_order_of_input_keys_changes_no_byte(record: BibRecord, seed: int) -> None:
    """catalog 1"""
    written = canonical_json(record)
    again = from_json(json.dumps(shuffled(json.loads(written), random.Random(seed))))
    assert canonical_json(again) == written
    assert digest(again) == digest(record)
    assert canonical_json(from_json(written)) == written


@given(records())
def test_the_json_is_in_form_c_with_sorted_keys(record: BibRecord) -> None:
    """catalog 1"""
    content = json.loads(canonical_json(record))
    assert list(content) == sorted(content)
    for field, given_field in zip(content["data_fields"], record.data_fields, strict=True):
        assert field["subfields"] == [[code, composed(value)] for code, value in given_field.subfields]


def test_another_process_with_another_hash_seed_writes_the_same_bytes() -> None:
    """catalog 1"""
    program = (
        "from flows.catalog.model import *; import sys\n"
        "r = BibRecord(source='s', identifier='i', format='x', leader='00000nam a2200000 a 4500',\n"
        "  control_fields=(ControlField('001', '1'),), provenance={'b': '1', 'a': '2'},\n"
        "  data_fields=(DataField(tag='245', subfields=(Subfield('a', 'e\\u0301'),)),))\n"
        "sys.stdout.buffer.write(canonical_json(r) + digest(r).encode())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1


def test_how_a_record_was_read_is_no_part_of_what_it_is() -> None:
    """catalog 1"""
    other = dataclasses.replace(PLAIN, format="iso2709", provenance={"reader": "iso2709"})
    assert other == PLAIN
    assert canonical_json(other) == canonical_json(PLAIN)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"source": "other"}, True),
        ({"identifier": "other"}, True),
        ({"datestamp": "2026-01-01"}, True),
        ({"deleted": True}, False),
        ({"leader": "00000cam a2200000 a 4500"}, False),
        ({"control_fields": (ControlField("001", "43"),)}, False),
        ({"data_fields": ()}, False),
        ({"derived": True}, False),
    ],
)
def test_the_digest_is_of_the_content_alone(change: dict[str, object], same: bool) -> None:
    """catalog 1"""
    assert (digest(dataclasses.replace(PLAIN, **change)) == digest(PLAIN)) is same


def test_composed_and_decomposed_text_have_one_digest() -> None:
    """catalog 1"""
    decomposed = dataclasses.replace(
        PLAIN, data_fields=(DataField(tag="245", subfields=(Subfield("a", unicodedata.normalize("NFD", "ế")),)),)
    )
    composed_record = dataclasses.replace(PLAIN, data_fields=(DataField(tag="245", subfields=(Subfield("a", "ế"),)),))
    assert digest(decomposed) == digest(composed_record)


def test_the_record_is_immutable() -> None:
    """catalog 1"""
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN.leader = ""  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN.data_fields[0].tag = "246"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        PLAIN.control_fields[0].value = "2"  # type: ignore[misc]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"null", b'{"leader": 1}', canonical_json(PLAIN).replace(b'"245"', b"245"), b"[" * 100_000]
)
def test_what_is_not_the_json_of_a_record_says_so(data: bytes) -> None:
    with pytest.raises(ValueError, match="not the canonical JSON"):
        from_json(data)


def test_fields_are_found_by_tag_and_by_pattern() -> None:
    fields = tuple(DataField(tag=tag) for tag in ("100", "245", "600", "650", "952", "59X"))
    record = dataclasses.replace(PLAIN, data_fields=fields)
    assert [field.tag for field in record.fields("6XX", "100")] == ["100", "600", "650"]
    assert [field.tag for field in record.fields("X5X")] == ["650", "952"]
    assert record.fields("246") == ()
    assert record.control_number == "42"
    assert record.control("008") is None
    assert PLAIN.data_fields[0].values("a", "b") == ("Cafe\u0301", "\n\u0303")
    assert PLAIN.data_fields[0].first("c") is None


def test_the_quick_constructor_makes_the_same_value() -> None:
    quick = data_field("245", "1", "0", (Subfield("a", "x"),))
    assert quick == DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield("a", "x"),))
    assert hash(quick) == hash(DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield("a", "x"),)))


@pytest.mark.parametrize(
    ("leader", "expected"),
    [
        ("01234cam  2200289 a 4500", "00000cam a2200000 a 4500"),
        ("     nam a22     uu 4500", "00000nam a2200000uu 4500"),
        ("00000nam z2200000   4500", "00000nam z2200000   4500"),
        ("too short", "too short"),
    ],
)
def test_positions_that_describe_a_file_are_zeros(leader: str, expected: str) -> None:
    assert canonical_leader(leader) == expected


def test_half_a_surrogate_pair_never_stops_the_json() -> None:
    record = dataclasses.replace(PLAIN, control_fields=(ControlField("001", "a\ud800"),))
    assert json.loads(canonical_json(record))["control_number"] == "a\ufffd"
