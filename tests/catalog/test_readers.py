"""Readers: one record in three forms, the libraries beside ours, damage among good records, anything at all."""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import BinaryIO

import mrrc
import pymarc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.catalog import fastxml, iso2709, marcjson, marcxml, read, write
from flows.catalog.model import KINDS, BibRecord, ControlField, DataField, Reading, Subfield, canonical_json, digest
from tests.catalog.material import NAMES, composed, needs_samples, record_of, records, samples

FORMS: dict[str, Callable[[BibRecord], bytes]] = {"marcxml": write.to_marcxml, "iso2709": write.to_iso2709, "marcjson": write.to_marcjson}
SIMPLE = BibRecord(
    **NAMES,
    format="x",
    leader="00000nam a2200000 a 4500",
    control_fields=(ControlField("001", "1"), ControlField("008", "040423r20032001xxu    |d|||||||||1|eng  ")),
    data_fields=(
        DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield("6", "880-01"), Subfield("a", "Tōkaidō & <Ars>"))),
        DataField(tag="880", ind1="1", ind2="0", subfields=(Subfield("6", "245-01"), Subfield("a", "東海道"))),
    ),
)


def numbered(number: int) -> BibRecord:
    """A record of its own."""
    return BibRecord(
        **NAMES, format="x", leader=SIMPLE.leader, control_fields=(ControlField("001", str(number)),), data_fields=SIMPLE.data_fields
    )


@given(record=records())
def test_one_record_in_three_forms_is_one_canonical_record(record: BibRecord) -> None:
    """catalog 1, 2"""
    for name, to in FORMS.items():
        reading = read.read(to(record), format=name, datestamp=record.datestamp, **NAMES)
        assert reading.problems == (), name
        assert reading.record == record, name
        assert canonical_json(record_of(reading)) == canonical_json(record)
        assert digest(record_of(reading)) == digest(record)


@needs_samples
def test_the_samples_are_the_same_in_three_forms() -> None:
    """catalog 1, 2. One of them has a leader that ISO 2709 cannot say; there the written leader is compared."""
    for payload in samples():
        record = record_of(marcxml.read_one(payload, **NAMES))
        for name, to in FORMS.items():
            again = record_of(read.read(to(record), format=name, **NAMES))
            assert (again.control_fields, again.data_fields) == (record.control_fields, record.data_fields)
            if name != "iso2709" or record.leader.endswith("4500"):
                assert digest(again) == digest(record)


# ---------------------------------------------------------------------- beside pymarc and mrrc


def content(record: pymarc.Record | mrrc.Record) -> list[tuple[str, ...]]:
    """Tags, indicators and subfields as another library sees them, in form C."""
    found: list[tuple[str, ...]] = []
    for field in record.get_fields():
        if field.tag < "010":
            found.append((field.tag, composed(field.data)))
        else:
            ind1, ind2 = field.indicators[0], field.indicators[1]
            subfields = field.subfields() if callable(field.subfields) else field.subfields  # mrrc has a method there
            found.append((field.tag, ind1, ind2, *(part for sub in subfields for part in (sub.code, composed(sub.value)))))
    return sorted(found)


def ours(record: BibRecord) -> list[tuple[str, ...]]:
    """The same of a canonical record."""
    found: list[tuple[str, ...]] = [(tag, composed(value)) for tag, value in record.control_fields]
    for field in record.data_fields:
        found.append((field.tag, field.ind1, field.ind2, *(part for code, value in field.subfields for part in (code, composed(value)))))
    return sorted(found)


@needs_samples
def test_pymarc_and_mrrc_read_the_same_from_the_samples() -> None:
    """catalog 2"""
    for payload in samples():
        record = record_of(marcxml.read_one(payload, **NAMES))
        binary = write.to_iso2709(record)
        assert content(pymarc.Record(data=binary)) == ours(record)
        assert content(next(iter(mrrc.MARCReader(io.BytesIO(binary))))) == ours(record)
        assert content(pymarc.parse_xml_to_array(io.BytesIO(payload))[0]) == ours(record)
        assert content(pymarc.parse_json_to_array(write.to_marcjson(record).decode())[0]) == ours(record)


@given(records())
def test_pymarc_and_mrrc_read_the_same_from_generated_records(record: BibRecord) -> None:
    """catalog 2"""
    binary = write.to_iso2709(record)
    assert content(pymarc.Record(data=binary)) == ours(record)
    assert content(next(iter(mrrc.MARCReader(io.BytesIO(binary))))) == ours(record)


@given(records())
def test_we_read_what_pymarc_writes(record: BibRecord) -> None:
    """catalog 2"""
    theirs = pymarc.Record(data=write.to_iso2709(record))
    assert record_of(iso2709.read_one(theirs.as_marc(), datestamp=record.datestamp, **NAMES)) == record
    assert ours(record_of(marcjson.read_one(theirs.as_json().encode(), **NAMES))) == ours(record)
    if not any("\r" in part for field in ours(record) for part in field):  # pymarc writes a bare CR, which XML turns into LF
        assert ours(record_of(marcxml.read_one(pymarc.record_to_xml(theirs, namespace=True), **NAMES))) == ours(record)


@pytest.mark.skipif(shutil.which("yaz-marcdump") is None, reason="yaz-marcdump (Debian package yaz) is not installed")
@pytest.mark.parametrize(("form", "to"), [("marc", write.to_iso2709), ("marcxml", write.to_marcxml)])
def test_yaz_reads_back_what_we_write(form: str, to: Callable[[BibRecord], bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """catalog 2"""
    payloads = [to(numbered(number)) for number in range(20)]
    path = tmp_path_factory.mktemp("yaz") / "records"
    path.write_bytes(b"".join(payloads) if form == "marc" else b"<collection>" + b"".join(payloads) + b"</collection>")
    done = subprocess.run(["yaz-marcdump", "-i", form, "-o", "marcxml", str(path)], capture_output=True, check=True)
    again = [record_of(marcxml.read_one(each, **NAMES)) for each in marcxml.payloads(io.BytesIO(done.stdout))]
    assert again == [numbered(number) for number in range(20)]


# ---------------------------------------------------------------------- MARC-8


def binary(fields: list[tuple[bytes, bytes]], *, scheme: bytes = b" ") -> bytes:
    """A record of raw fields, with right lengths."""
    directory, data = b"", b""
    for tag, value in fields:
        directory += tag + b"%04d%05d" % (len(value) + 1, len(data))
        data += value + b"\x1e"
    base = 24 + len(directory) + 1
    return b"%05dnam %b22%05d a 4500" % (base + len(data) + 1, scheme, base) + directory + b"\x1e" + data + b"\x1d"


MARC8 = [
    ("plain", b"Fontane, Effi Briest", "Fontane, Effi Briest"),
    ("acute stands before its letter", b"Caf\xe2e", "Café"),
    ("two marks on one letter", b"Vi\xe3\xf2et", "Việt"),
    ("a mark on a space", b"a\xe2 b", "a \u0301b"),
    ("ansel letters", b"\xa2\xb2\xa1\xb1 \xc7", "Øøłł ß".replace("łł", "Łł")),
    ("ligature halves", b"\xebt\xecs", "t\ufe20s\ufe21"),
    ("Cyrillic in G0", b"\x1b(NmOSKWA\x1b(B!", "Москва!"),
    ("Hebrew in G0", b"\x1b(2ylem\x1b(B.", "שלום."),
    ("Greek", b"\x1b(Saib\x1b(B", None),
    ("Arabic", b"\x1b(3GdN\x1b(B", None),
    ("EACC", b"\x1b$1!0!!0'\x1b(B x", None),
    ("subscript", b"H\x1bb2\x1bsO", "H₂O"),
    ("superscript", b"m\x1bp2\x1bs.", "m²."),
]


@pytest.mark.parametrize(("name", "data", "expected"), MARC8, ids=[name for name, *_ in MARC8])
def test_marc8_becomes_unicode(name: str, data: bytes, expected: str | None) -> None:
    """catalog 2. Where no text is given here, pymarc's is the one expected."""
    payload = binary([(b"001", b"1"), (b"245", b"10\x1fa" + data), (b"880", b"10\x1f6245-01/(N\x1fa" + data)])
    reading = iso2709.read_one(payload, **NAMES)
    record = record_of(reading)
    expected = pymarc.marc8_to_unicode(data) if expected is None else expected
    assert [field.first("a") for field in record.data_fields] == [composed(expected)] * 2
    assert record.leader[9] == "a"
    assert record.provenance["encoding"] == ("utf-8" if data.isascii() and b"\x1b" not in data else "marc-8")
    assert reading.problems == ()


@given(
    st.lists(
        st.sampled_from(
            [
                b"a",
                b"Z",
                b" ",
                b"\xe2e",
                b"\xe3\xf2o",
                b"\xa1",
                b"\xb5",
                b"\x1b(N\x4d\x4f\x1b(B",
                b"\x1b$1\x21\x30\x21\x1b(B",
                b"\x1b(3\x47\x1b(B",
            ]
        )
    )
)
def test_marc8_agrees_with_pymarc(parts: list[bytes]) -> None:
    """catalog 2. Over what both know; our own walk over pymarc's tables is taken, because it also keeps what pymarc loses."""
    data = b"x" + b"".join(parts)
    payload = binary([(b"001", b"1"), (b"245", b"10\x1fa" + data)])
    text = composed(record_of(iso2709.read_one(payload, **NAMES)).data_fields[0].subfields[0].value)
    assert text == composed(pymarc.marc8_to_unicode(data))


def test_mrrc_does_not_read_marc8() -> None:
    """catalog 2. Why it is not the reader; when this fails, compare again."""
    payload = binary([(b"001", b"1"), (b"245", b"10\x1faCaf\xe2e")])
    assert next(iter(mrrc.MARCReader(io.BytesIO(payload)))).get_fields("245")[0].subfields()[0].value == "Caf\ufffde"
    assert record_of(iso2709.read_one(payload, **NAMES)).data_fields[0].first("a") == "Café"


@pytest.mark.parametrize(
    ("data", "expected", "problem"),
    [
        (b"e\xe2", "e\u0301", None),  # a mark without a letter is kept; pymarc drops it
        (b"\x1b$)1\xa1\xb0\xa1\x1b)!E.", None, None),  # EACC in G1, back to ANSEL by its full sequence
        (b"\xff", "\ufffd", "character"),
        (b"\x1b(B\x1b", "\ufffd", "character"),
    ],
)
def test_what_other_converters_lose_is_kept(data: bytes, expected: str | None, problem: str | None) -> None:
    """catalog 2"""
    reading = iso2709.read_one(binary([(b"001", b"1"), (b"245", b"10\x1fa" + data)]), **NAMES)
    value = record_of(reading).data_fields[0].subfields[0].value
    assert value == (composed(expected) if expected else composed(pymarc.marc8_to_unicode(b"\x1b$1\x21\x30\x21\x1b(B.")))
    assert [each.kind for each in reading.problems] == ([problem] if problem else [])


# ---------------------------------------------------------------------- damage


def changed(payload: bytes, at: int, new: bytes) -> bytes:
    """The payload with other bytes at a place."""
    return payload[:at] + new + payload[at + len(new) :]


GOOD = write.to_iso2709(SIMPLE)
BASE = int(GOOD[12:17])
DAMAGED_ISO = [
    ("length too small", changed(GOOD, 0, b"00040"), {"record-length"}),
    ("length too large", changed(GOOD, 0, b"99990"), {"record-length"}),
    ("length not a number", changed(GOOD, 0, b"ABCDE"), {"record-length"}),
    ("no record terminator", GOOD[:-1], {"terminator"}),
    ("no last field terminator", GOOD[:-2] + GOOD[-1:], {"terminator", "record-length"}),
    ("base address wrong", changed(GOOD, 12, b"00000"), {"base-address"}),
    ("09 says MARC-8", changed(GOOD, 9, b" "), {"encoding"}),
    ("start wrong", changed(GOOD, 24 + 12 + 7, b"00099"), {"directory"}),
    ("length wrong", changed(GOOD, 24 + 12 + 3, b"0009"), {"directory"}),
    ("entry not a number", changed(GOOD, 24 + 12 + 3, b"XXXX"), {"directory"}),
]


@pytest.mark.parametrize(("name", "payload", "kinds"), DAMAGED_ISO, ids=[name for name, *_ in DAMAGED_ISO])
def test_damage_to_lengths_and_terminators_costs_no_field(name: str, payload: bytes, kinds: set[str]) -> None:
    """catalog 2"""
    reading = iso2709.read_one(payload, **NAMES)
    assert reading.record == SIMPLE
    assert {problem.kind for problem in reading.problems} == kinds


def test_a_directory_in_another_order_than_the_data_is_followed() -> None:
    """catalog 2"""
    entries = [GOOD[24 + 12 * at : 36 + 12 * at] for at in range(4)]
    payload = GOOD[:24] + b"".join([entries[1], entries[0], entries[3], entries[2]]) + GOOD[24 + 48 :]
    record = record_of(iso2709.read_one(payload, **NAMES))
    assert [field.tag for field in (*record.control_fields, *record.data_fields)] == ["008", "001", "880", "245"]
    assert record.control_number == "1"


def test_bytes_that_are_not_utf8_are_replaced_and_reported() -> None:
    """catalog 2"""
    reading = iso2709.read_one(binary([(b"001", b"1"), (b"245", b"10\x1faM\xfcnchen"), (b"500", b"  \x1faok")], scheme=b"a"), **NAMES)
    assert [field.first("a") for field in record_of(reading).data_fields] == ["M\ufffdnchen", "ok"]
    assert {problem.kind for problem in reading.problems} == {"encoding", "character"}


@pytest.mark.parametrize(
    ("value", "field", "kinds"),
    [
        (b"1\x1faX", DataField(tag="245", ind1="1", ind2=" ", subfields=(Subfield("a", "X"),)), {"indicator"}),
        (b"\x1faX", DataField(tag="245", subfields=(Subfield("a", "X"),)), {"indicator"}),
        (b"10\x1f\x1faX", DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield("a", "X"),)), {"delimiter"}),
        (b"10lost\x1faX", DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield(" ", "lost"), Subfield("a", "X"))), {"indicator"}),
        (b"10", DataField(tag="245", ind1="1", ind2="0"), {"structure"}),
    ],
)
def test_a_damaged_field_is_kept_as_far_as_it_goes(value: bytes, field: DataField, kinds: set[str]) -> None:
    """catalog 2"""
    reading = iso2709.read_one(binary([(b"001", b"1"), (b"245", value)], scheme=b"a"), **NAMES)
    assert record_of(reading).data_fields == (field,)
    assert {problem.kind for problem in reading.problems} == kinds


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_terminators_inside_the_data_are_kept_and_reported(size: int) -> None:
    """catalog 2. Where the leader's length says that they are none."""
    odd = binary([(b"001", b"1"), (b"245", b"10\x1faone \x1d two"), (b"500", b"  \x1faa \x1e b")], scheme=b"a")
    file = GOOD + odd + GOOD + changed(GOOD, 0, b"99999") + GOOD
    cut = list(iso2709.payloads(Dribble(file, size)))  # type: ignore[arg-type]
    assert cut == [GOOD, odd, GOOD, changed(GOOD, 0, b"99999"), GOOD]
    reading = iso2709.read_one(odd, **NAMES)
    assert [field.first("a") for field in record_of(reading).data_fields] == ["one \x1d two", "a \x1e b"]
    assert [(problem.kind, problem.place) for problem in reading.problems if problem.kind == "delimiter"] == [
        ("delimiter", "245"),
        ("delimiter", "500"),
    ]


@pytest.mark.parametrize("form", ["marcxml", "marcjson"])
def test_a_blank_leader_09_in_unicode_is_read_as_a_and_reported(form: str) -> None:
    """catalog 1, 2"""
    reading = read.read(FORMS[form](SIMPLE).replace(b"nam a22", b"nam  22"), format=form, **NAMES)
    assert reading.record == SIMPLE
    assert [(problem.kind, problem.place) for problem in reading.problems] == [("encoding", "leader/09")]


def test_a_field_without_subfields_keeps_its_text() -> None:
    """catalog 2. As a field without indicators, which is how MARCXML would have it."""
    reading = iso2709.read_one(binary([(b"001", b"1"), (b"245", b"A title only")], scheme=b"a"), **NAMES)
    assert record_of(reading).control("245") == "A title only"
    assert [problem.kind for problem in reading.problems] == ["structure"]


BAD: dict[str, list[bytes]] = {
    "iso2709": [
        b"garbage\x1d",
        GOOD[:40] + b"\x1d",
        changed(GOOD, 0, b"99999"),
        changed(GOOD, 0, b"00003"),
        b"\x00\x01\xff" * 30 + b"\x1d",
    ],
    "marcxml": [
        b"<record><leader>x</leader><datafield></record>",
        b"<record><controlfield tag='001'>&nope;</controlfield></record>",
        b"<record/>",
        b"<record><leader>00000nam a2200000 a 4500</leader>",
        b"<record><controlfield>\x01</controlfield></record>",
    ],
    "marcjson": [b'{"leader": }', b'{"fields": [{"245": 7}]}', b'{"a": {"b": "c"}}'],
}


def joined(form: str, payloads: list[bytes]) -> bytes:
    """A file of records."""
    if form == "iso2709":
        return b"".join(payloads)
    if form == "marcxml":
        bare = [each.replace(b' xmlns="http://www.loc.gov/MARC21/slim"', b"") for each in payloads]
        return b'<?xml version="1.0"?><collection xmlns="http://www.loc.gov/MARC21/slim">\n' + b"\n".join(bare) + b"</collection>"
    return b"[" + b",".join(payloads) + b"]"


@pytest.mark.parametrize(("form", "bad"), [(form, bad) for form, several in BAD.items() for bad in several])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_one_bad_record_never_costs_its_neighbours(form: str, bad: bytes, place: int) -> None:
    """catalog 2"""
    good = [FORMS[form](numbered(number)) for number in range(3)]
    file = joined(form, [*good[:place], bad, *good[place:]])
    readings = [read.read(each, format=form, **NAMES) for each in read.payloads(io.BytesIO(file), format=form)]
    found = [
        reading.record
        for reading in readings
        if reading.record is not None and not {"syntax", "record-length"} & {p.kind for p in reading.problems}
    ]
    expected = [numbered(number) for number in range(3)]
    assert [record for record in found if record in expected] == expected


def test_a_broken_line_of_json_costs_only_itself() -> None:
    """catalog 2"""
    lines = [
        write.to_marcjson(numbered(1)),
        b'{"leader": "x", "fields": [{"001": "un',
        write.to_marcjson(numbered(2)),
        b"",
        write.to_marcjson(numbered(3)),
    ]
    readings = [marcjson.read_one(each, **NAMES) for each in marcjson.payloads(io.BytesIO(b"\n".join(lines)))]
    assert [reading.record for reading in readings if reading.record] == [numbered(number) for number in (1, 2, 3)]


class Dribble(io.RawIOBase):
    """A stream that gives a few bytes at a time, so that every place is once the end of a chunk."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__()
        self.data, self.size, self.at = data, size, 0

    def read(self, size: int = -1) -> bytes:
        chunk = self.data[self.at : self.at + self.size]
        self.at += len(chunk)
        return chunk

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_the_cut_into_records_does_not_depend_on_the_chunks(form: str, size: int) -> None:
    """catalog 2"""
    file = joined(form, [FORMS[form](numbered(number)) for number in range(3)])
    if form == "marcxml":
        file = file.replace(b"\n", b"\n<!-- <record> in a comment --><![CDATA[</record>]]>", 1)
    whole = list(read.payloads(io.BytesIO(file), format=form))
    stream: BinaryIO = Dribble(file, size)  # type: ignore[assignment]
    assert list(read.payloads(stream, format=form)) == whole
    assert [record_of(read.read(each, format=form, **NAMES)) for each in whole] == [numbered(number) for number in range(3)]


# ---------------------------------------------------------------------- namespaces, the quick path


XML_FORMS = [
    ("default namespace", b'<record xmlns="http://www.loc.gov/MARC21/slim">%s</record>', b"", "marcxml"),
    ("none", b"<record>%s</record>", b"", "marcxml"),
    ("prefix", b'<m:record xmlns:m="http://www.loc.gov/MARC21/slim">%s</m:record>', b"m:", "marcxml"),
    ("another namespace", b'<record xmlns="urn:x">%s</record>', b"", "marcxml"),
    ("declaration", b'<?xml version="1.0" encoding="UTF-8"?>\n<record>%s</record>\n', b"", "marcxml"),
    ("collection", b'<collection xmlns="http://www.loc.gov/MARC21/slim"><record>%s</record></collection>', b"", "marcxml-tree"),
    ("comment", b"<!-- here --><record>%s</record>", b"", "marcxml-tree"),
    ("latin-1", '<?xml version="1.0" encoding="ISO-8859-1"?><record><!--ü-->%s</record>'.encode("latin-1"), b"", "marcxml-tree"),
    ("undeclared prefix", b"<m:record>%s</m:record>", b"m:", "marcxml-tree"),
    ("another root", b"<metadata>%s</metadata>", b"", "marcxml-tree"),
]


@pytest.mark.parametrize(("name", "frame", "prefix", "reader"), XML_FORMS, ids=[name for name, *_ in XML_FORMS])
def test_marcxml_is_read_with_any_namespace_and_none(name: str, frame: bytes, prefix: bytes, reader: str) -> None:
    """catalog 2"""
    inside = (
        b'<%bleader>01234nam a2200000 a 4500</%bleader><%bcontrolfield tag="001">1</%bcontrolfield>'
        b'<%bdatafield tag="245" ind1="1" ind2="0"><%bsubfield code="a">A &amp; B&#x21;</%bsubfield></%bdatafield>'
    ) % ((prefix,) * 8)
    record = record_of(marcxml.read_one(frame.replace(b"%s", inside), **NAMES))
    assert record.provenance["reader"] == reader
    assert record.leader == "00000nam a2200000 a 4500"
    assert record.control_number == "1"
    assert record.data_fields == (DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield("a", "A & B!"),)),)


def by_tree(payload: bytes) -> tuple[object, list[str]]:
    """What lxml makes of a payload, and the problems."""
    found: list[object] = []
    element = marcxml._element(payload, found)  # type: ignore[arg-type]
    content = marcxml._walk(element, found) if element is not None else None  # type: ignore[arg-type]
    return content, [problem.kind for problem in found]  # type: ignore[attr-defined]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """MARCXML with a few pieces changed."""
    payload = bytearray(write.to_marcxml(draw(records())))
    pieces = [
        b"<",
        b">",
        b"&",
        b'"',
        b"/",
        b"<!-- -->",
        b"<![CDATA[x]]>",
        b"]]>",
        b"&#0;",
        b"&#65;",
        b"\r\n",
        b"\x00",
        b"\xff",
        b"<x/>",
        b" ",
        b"code='a'",
        b"</record>",
        b'<subfield code="a">',
        b"=",
        b"a",
    ]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(payload)))
        payload[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(pieces))
    return bytes(payload)


@settings(max_examples=400)
@given(mutated())
def test_the_quick_path_is_lxml_or_nothing(payload: bytes) -> None:
    """catalog 2. Whatever it accepts, lxml reads the same from it, without a problem."""
    quick = fastxml.fast(payload)
    if quick is not None:
        assert (quick, []) == by_tree(payload)


@needs_samples
def test_the_quick_path_reads_nearly_all_of_the_samples_as_lxml_does() -> None:
    """catalog 2"""
    quick = [(each, fastxml.fast(each)) for each in samples()]
    assert sum(content is not None for _, content in quick) > 390
    assert all((content, []) == by_tree(payload) for payload, content in quick if content is not None)


def test_bytes_that_are_not_utf8_cost_one_character_of_marcxml() -> None:
    """catalog 2"""
    payload = write.to_marcxml(SIMPLE).replace(b"<Ars".replace(b"<", b"&lt;"), b"&lt;Ar\xffs")
    reading = marcxml.read_one(payload, **NAMES)
    assert record_of(reading).data_fields[0].first("a") == "Tōkaidō & <Ar\ufffds>"
    assert [problem.kind for problem in reading.problems] == ["syntax", "encoding"]


def test_entities_are_neither_fetched_nor_multiplied() -> None:
    """catalog 2"""
    bomb = b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/hostname">]>'
    payload = bomb + b'<record><controlfield tag="001">1&b;&x;</controlfield></record>'
    assert record_of(marcxml.read_one(payload, **NAMES)).control_number == "1&b;&x;"


# ---------------------------------------------------------------------- choosing, size, anything


@pytest.mark.parametrize("asked", ["marcxml", "iso2709", "marcjson", "bibframe"])
@pytest.mark.parametrize("form", FORMS)
def test_the_content_decides_and_the_difference_is_reported(asked: str, form: str) -> None:
    """catalog 2"""
    reading = read.read(FORMS[form](SIMPLE), format=asked, **NAMES)
    assert reading.record == SIMPLE
    assert reading.record is not None
    assert reading.record.format == form
    assert [problem.kind for problem in reading.problems] == ([] if asked == form else ["format"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("marc21", "marcxml"),
        ("MARC-XML", "marcxml"),
        ("mrc", "iso2709"),
        ("marc_in_json", "marcjson"),
        ("BIBFRAME2", "bibframe"),
        ("ttl", "bibframe"),
        ("mods", None),
    ],
)
def test_formats_have_everyday_names(name: str, expected: str | None) -> None:
    assert read.format_of(name) == expected


def test_canonical_json_can_be_read_as_a_format() -> None:
    assert read.read(canonical_json(SIMPLE), format="auto", **NAMES).record == SIMPLE


def test_a_large_record_is_read() -> None:
    """catalog 2. 10,000 fields and more than 5 MB; too long for ISO 2709, which says so."""
    fields = tuple(DataField(tag="500", subfields=(Subfield("a", f"{number} " + "x" * 520),)) for number in range(10_000))
    record = BibRecord(**NAMES, format="x", leader=SIMPLE.leader, control_fields=(ControlField("001", "1"),), data_fields=fields)
    for form in ("marcxml", "marcjson"):
        payload = FORMS[form](record)
        assert len(payload) > 5_000_000
        assert next(read.payloads(io.BytesIO(payload), format=form)) == payload
        assert read.read(payload, format=form, **NAMES).record == record
    content, problems = by_tree(write.to_marcxml(record))
    assert problems == []
    assert content[2] == list(fields)  # type: ignore[index]
    with pytest.raises(write.TooLong, match="ISO 2709 holds 99999"):
        write.to_iso2709(record)
    with pytest.raises(write.TooLong, match="ISO 2709 holds 9999"):
        write.to_iso2709(
            BibRecord(**NAMES, format="x", leader="", data_fields=(DataField(tag="520", subfields=(Subfield("a", "x" * 10_000),)),))
        )


def test_memory_does_not_grow_with_the_file() -> None:
    """catalog 2"""
    import tracemalloc

    for form, to in FORMS.items():
        one = to(SIMPLE)

        def chunks(one: bytes = one, form: str = form) -> Iterator[bytes]:
            yield b"<collection>" if form == "marcxml" else b"[" if form == "marcjson" else b""
            for number in range(8_000):
                yield one if form != "marcjson" or number == 0 else b"," + one

        class Stream(Dribble):
            def __init__(self) -> None:
                super().__init__(b"", 1)
                self.chunks = chunks()

            def read(self, size: int = -1) -> bytes:
                return next((each for each in self.chunks if each), b"")

        tracemalloc.start()
        count = sum(1 for _ in read.payloads(Stream(), format=form))  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 8_000
        assert peak < 2_000_000, form


def check(reading: Reading) -> None:
    """A reading is one that others can work with."""
    assert reading.record is not None or reading.problems
    assert all(problem.kind in KINDS and problem.message for problem in reading.problems)
    if reading.record is not None:
        canonical_json(reading.record)
        assert len(digest(reading.record)) == 64
        for to in FORMS.values():
            try:
                to(reading.record)
            except write.TooLong:
                assert to is write.to_iso2709


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(payload=st.binary(max_size=200), form=st.sampled_from(["marcxml", "iso2709", "marcjson", "bibframe", "canonical", "auto"]))
def test_random_bytes_raise_nothing(payload: bytes, form: str) -> None:
    """catalog 2"""
    for reading in read.read_all(payload, format=form, **NAMES):
        check(reading)
    for module in (marcxml, iso2709, marcjson):
        check(module.read_one(payload, **NAMES))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(record=records(), form=st.sampled_from(sorted(FORMS)), seed=st.integers(), cuts=st.integers(1, 6))
def test_mutated_records_raise_nothing(record: BibRecord, form: str, seed: int, cuts: int) -> None:
    """catalog 2"""
    rng = random.Random(seed)
    payload = bytearray(FORMS[form](record))
    for _ in range(cuts):
        at = rng.randrange(len(payload) + 1)
        payload[at : at + rng.randrange(4)] = rng.choice(
            [
                b"",
                b"\x1d",
                b"\x1e",
                b"\x1f",
                b"\x1b",
                b"{",
                b"}",
                b"[",
                b'"',
                b"<",
                b"&",
                b"\\ud800",
                b"\xff",
                b"0",
                b"-1",
                bytes([rng.randrange(256)]),
            ]
        )
    check(read.read(bytes(payload), format=form, **NAMES))
    check({"marcxml": marcxml, "iso2709": iso2709, "marcjson": marcjson}[form].read_one(bytes(payload), **NAMES))
    for each in read.payloads(io.BytesIO(bytes(payload)), format=form) if form != "bibframe" else ():
        check(read.read(each, format=form, **NAMES))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "leader",
                        "fields",
                        "001",
                        "245",
                        "ind1",
                        "ind2",
                        "subfields",
                        "a",
                        "",
                        "tag",
                        "data",
                        "datafield",
                        "controlfield",
                        "subfield",
                        "code",
                        "ind",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json_raises_nothing(value: object) -> None:
    """catalog 2"""
    check(marcjson.read_one(json.dumps(value).encode(), **NAMES))
    check(marcjson.read_one(json.dumps({"leader": "x", "fields": [value]}).encode(), **NAMES))


def test_the_other_shape_of_marc_in_json_is_read_too() -> None:
    """catalog 2"""
    other = {
        "leader": SIMPLE.leader,
        "controlfield": [{"tag": tag, "data": value} for tag, value in SIMPLE.control_fields],
        "datafield": [
            {
                "tag": field.tag,
                "ind": field.ind1 + field.ind2,
                "subfield": [{"code": code, "data": value} for code, value in field.subfields],
            }
            for field in SIMPLE.data_fields
        ],
    }
    assert marcjson.read_one(json.dumps(other).encode(), **NAMES) == Reading(record=SIMPLE)


def test_a_second_control_number_is_reported() -> None:
    record = BibRecord(**NAMES, format="x", leader=SIMPLE.leader, control_fields=(ControlField("001", "1"), ControlField("001", "2")))
    for form, to in FORMS.items():
        assert [problem.kind for problem in read.read(to(record), format=form, **NAMES).problems] == ["duplicate-001"]
