"""What feeds decide without any server: which files, what is inside them, what a record is called, what a page says."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.catalog.feeds import pages
from flows.catalog.feeds.archives import opened
from flows.catalog.feeds.batches import batches
from flows.catalog.feeds.errors import Spoilt
from flows.catalog.feeds.identify import identify
from flows.catalog.feeds.paths import find, text
from flows.catalog.feeds.plan import Entry, Plan, plan
from flows.catalog.model import BibRecord, ControlField, DataField, Subfield
from flows.catalog.write import to_iso2709, to_marcxml
from harvester.client import Reply
from harvester.course import FileMark
from harvester.errors import Busy, HarvestError, ListBroken, Refused, ServerFailed, Unreadable
from harvester.feeds import Feed, Paging
from harvester.oai import Damage, Record
from harvester.sources import Kind, Source

NOW = 1_000_000.0
OLD = NOW - 1000.0
LIMIT = 2**40


def planned(entries: list[tuple[Any, ...]], marks: list[FileMark] | None = None, feed: Feed | None = None, **how: Any) -> Plan:
    listed = [Entry(name=name, size=size, mtime=mtime) for name, size, mtime in entries]
    return plan(listed, marks or [], feed or Feed(), now=NOW, **{"whole": False, **how})


def names(found: Plan) -> list[str]:
    return [each.name for each in found.read]


def done(name: str, **more: Any) -> FileMark:
    return FileMark(**{"name": name, "size": 5, "mtime": OLD, "digest": "d", **more})


@pytest.mark.parametrize(
    ("entries", "marks", "feed", "read", "unfinished"),
    [
        ([("b.mrc", 5, OLD), ("a.xml", 5, OLD)], [], Feed(), ["a.xml", "b.mrc"], []),
        ([("a.pdf", 5, OLD), (".a.mrc", 5, OLD), ("README", 5, OLD)], [], Feed(), [], []),
        ([(f"a{end}", 5, OLD) for end in (".MRC", ".ttl", ".jsonld", ".rdf.gz", ".zip")], [], Feed(), 5, []),
        ([("a.mrc", 5, OLD), ("b.dat2", 5, OLD)], [], Feed(files=("*.dat2",)), ["b.dat2"], []),
        ([("a.mrc", 5, OLD)], [done("a.mrc")], Feed(), [], []),
        ([("a.mrc", 6, OLD)], [done("a.mrc")], Feed(), ["a.mrc"], []),
        ([("a.mrc", 5, OLD + 1)], [done("a.mrc")], Feed(), ["a.mrc"], []),
        ([("a.mrc.part", 5, OLD)], [], Feed(), [], ["a.mrc.part"]),
        ([("a.mrc.part", 5, OLD)], [], Feed(unfinished=()), [], []),
        # Still changing: it waits, and so does what comes after it, because it may hold what is older.
        ([("a.mrc", 5, OLD), ("b.mrc", 5, NOW - 5), ("c.mrc", 5, OLD)], [], Feed(), ["a.mrc"], ["b.mrc"]),
        # It looks as it did the last time, although its clock is ahead of ours.
        ([("a.mrc", 5, NOW + 500)], [FileMark(name="a.mrc", size=5, mtime=NOW + 500)], Feed(), ["a.mrc"], []),
        ([("a.mrc", 9, NOW + 500)], [FileMark(name="a.mrc", size=5, mtime=NOW + 500)], Feed(), [], ["a.mrc"]),
        ([("gone.txt", 5, OLD)], [], Feed(deleted_files=("gone*",)), ["gone.txt"], []),
    ],
)
def test_files_are_read_once_complete_and_in_order(
    entries: list[tuple[Any, ...]], marks: list[FileMark], feed: Feed, read: list[str] | int, unfinished: list[str]
) -> None:
    """catalog 4"""
    found = planned(entries, marks, feed)
    assert (len(found.read) if isinstance(read, int) else names(found)) == read
    assert list(found.unfinished) == unfinished


def test_a_full_delivery_is_read_as_a_whole() -> None:
    """catalog 4"""
    both = [("a.mrc", 5, OLD), ("b.mrc", 5, OLD)]
    assert names(planned(both, whole=True)) == ["a.mrc", "b.mrc"]
    assert names(planned([*both, ("c.mrc.part", 1, OLD)], whole=True)) == []
    assert names(planned([*both, ("c.mrc", 1, NOW)], whole=True)) == []
    # A part of it was spoilt and has been replaced: the rest is read again with it.
    marks = [done("a.mrc", part=True), done("b.mrc", part=True)]
    assert names(planned(both, marks, whole=True)) == []
    assert names(planned([both[0], ("b.mrc", 9, OLD)], marks, whole=True)) == ["a.mrc", "b.mrc"]
    assert names(planned([both[0], ("b.mrc", 9, OLD)], marks, whole=True, fresh=False)) == ["b.mrc"]
    assert names(planned([both[0], ("b.mrc", 9, OLD)], [done("a.mrc")], whole=True)) == ["b.mrc"]


def test_what_is_remembered_is_what_is_there() -> None:
    """catalog 4"""
    found = planned([("a.mrc", 5, OLD), ("c.mrc", 5, NOW)], [done("a.mrc"), done("vanished.mrc")], Feed(move_to="done"))
    assert [(mark.name, mark.digest) for mark in found.marks] == [("a.mrc", "d"), ("c.mrc", None)]
    assert [each.name for each in found.away] == ["a.mrc"]  # read, but killed before it was moved


# -------------------------------------------------------------------- archives


def contents(path: Path, limit: int = LIMIT) -> dict[str, bytes]:
    with opened(path, path.name, limit=limit) as members:
        return {name: stream.read() for name, stream in members}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_gives_its_members_in_order_and_gzip_its_content(tmp_path: Path) -> None:
    """catalog 4"""
    path = zipped(tmp_path / "a.zip", {"b/2.mrc": b"two", "1.mrc": b"one", "__MACOSX/1.mrc": b"no", "b/.hidden": b"no"})
    assert list(contents(path).items()) == [("a.zip: 1.mrc", b"one"), ("a.zip: b/2.mrc", b"two")]
    (tmp_path / "b.mrc").write_bytes(gzip.compress(b"one") + gzip.compress(b"two"))  # whatever it is called
    assert contents(tmp_path / "b.mrc") == {"b.mrc": b"onetwo"}


@pytest.mark.parametrize("name", ["../a.mrc", "/etc/a.mrc", "a/../../b.mrc", "..\\a.mrc", "C:\\a.mrc", "\\\\host\\a.mrc"])
def test_a_zip_whose_names_wander_is_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    """catalog 4"""
    path = zipped(tmp_path / "a.zip", {"fine.mrc": b"one", name: b"two"})
    with pytest.raises(Spoilt, match="leads out of it"):
        contents(path)


def test_bombs_are_refused_before_or_while_they_unpack(tmp_path: Path) -> None:
    """catalog 4"""
    nothing = b"\0" * (80 * 2**20)  # 80 MiB, packed to 80 kB
    with pytest.raises(Spoilt, match="what bombs do"):
        contents(zipped(tmp_path / "a.zip", {"a.xml": nothing}))
    (tmp_path / "a.gz").write_bytes(gzip.compress(nothing, 9))
    with pytest.raises(Spoilt, match="unpacks to more than"):
        contents(tmp_path / "a.gz")
    with pytest.raises(Spoilt, match="unpacked_limit allows 10"):
        contents(zipped(tmp_path / "b.zip", {"a.xml": b"x" * 11}), limit=10)
    with pytest.raises(Spoilt, match="packed twice"):
        contents(zipped(tmp_path / "c.zip", {"inner.zip": b"x"}))
    (tmp_path / "d.zip").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(Spoilt, match="damaged"):
        contents(tmp_path / "d.zip")


def test_a_zip_that_lies_about_its_size_is_not_believed(tmp_path: Path) -> None:
    """catalog 4"""
    path = zipped(tmp_path / "a.zip", {"a.xml": b"x" * 5000})
    raw = path.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    path.write_bytes(raw)
    with pytest.raises(Spoilt):
        contents(path)


# ----------------------------------------------------------------- identifiers


def record(number: str | None = "123", agency: str | None = "SE-LIBR", status: str = "n", stamp: str = "20240102030405.0") -> BibRecord:
    control = [("001", number), ("003", agency), ("005", stamp)]
    return BibRecord(
        source="",
        identifier="",
        format="test",
        leader=f"00000{status}am a2200000 i 4500",
        control_fields=tuple(ControlField(tag, value) for tag, value in control if value is not None),
        data_fields=(DataField(tag="245", ind1="0", ind2="0", subfields=(Subfield("a", "Title"),)),),
    )


@pytest.mark.parametrize(
    ("given", "feed", "identifier"),
    [
        (record(), Feed(), "(SE-LIBR)123"),
        (record(agency=None), Feed(), "123"),
        (record(number="  123 "), Feed(), "(SE-LIBR)123"),
        (record(), Feed(identifier_prefix="oai:alpha:"), "oai:alpha:123"),
        (record(number=None), Feed(), None),
        (record(number="   "), Feed(), None),
        (record(number="9" * 600), Feed(), None),
    ],
)
@pytest.mark.parametrize("write", [to_iso2709, to_marcxml])
def test_a_record_is_called_by_its_control_number(given: BibRecord, feed: Feed, identifier: str | None, write: Any) -> None:
    """catalog 4"""
    made = identify(write(given), feed, format="auto", place="here")
    if identifier is None:
        assert isinstance(made, Damage)
        assert made.place == "here"
    else:
        assert isinstance(made, Record)
        assert (made.identifier, made.datestamp, made.deleted) == (identifier, "2024-01-02T03:04:05Z", False)


def test_leader_05_says_that_a_record_was_deleted() -> None:
    """catalog 4"""
    made = identify(to_iso2709(record(status="d", stamp="nonsense")), Feed(), format="auto", place="")
    assert made == Record(identifier="(SE-LIBR)123", datestamp="", deleted=True)


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """catalog 4: twenty times the records in the same memory, packed or not."""

    def peak(count: int) -> int:
        one = to_iso2709(replace(record(), data_fields=record().data_fields * 200))  # 5 kB
        path = tmp_path / f"{count}.mrc.gz"
        with gzip.open(path, "wb", 1) as stream:
            for _ in range(count):
                stream.write(one)
        tracemalloc.start()
        try:
            assert sum(len(batch.records) for batch in batches(path, path.name, Feed())) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(1000)
    assert peak(4000) < few * 1.3


# ----------------------------------------------------------------------- pages


def test_paths_lead_to_what_stands_there() -> None:
    """catalog 4"""
    content = {"data": {"items": [{"id": 7}, {"id": " x "}]}, "links": [{"href": "h"}], "yes": True}
    assert find(content, "data.items[*]") == find(content, "$.data.items") == content["data"]["items"]  # type: ignore[index]
    assert (find(content, "links[0].href"), find(content, "links[1].href"), find(content, "data.nothing.deeper")) == ("h", None, None)
    assert (text(content, "data.items[0].id"), text(content, "data.items[1].id"), text(content, "yes")) == ("7", "x", None)


def source(**keys: Any) -> Source:
    query = keys.pop("query", {})
    feed = Feed(**{"records": "items", **keys})
    return Source(name="alpha", url="https://alpha.example.org/api/records?full=1", kind=Kind.REST, feed=feed, query=query)


def reply(content: Any, *, status: int = 200, **headers: str) -> Reply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Reply(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


MARC = {"leader": "00000nam a2200000 i 4500", "fields": [{"001": "1"}]}


@pytest.mark.parametrize(
    ("link", "position"),
    [
        ("/api/records?start=2", "https://alpha.example.org/api/records?start=2"),
        ("?start=2&apikey=secret", "https://alpha.example.org/api/records?start=2"),
        ("https://alpha.example.org:443/x#part", "https://alpha.example.org:443/x"),
    ],
)
def test_the_address_of_the_next_page_stays_at_home_and_keeps_no_key(link: str, position: str) -> None:
    """catalog 4"""
    asked = source(next="next", query={"apikey": "secret"})
    assert pages.understand(asked, None, reply({"items": [MARC], "next": link}), now=NOW).next == position
    by_header = source(query={"apikey": "secret"})
    given = reply({"items": [MARC]}, link=f'</first>; rel="first", <{link}>; rel="next"')
    assert pages.understand(by_header, None, given, now=NOW).next == position


@pytest.mark.parametrize(
    "link", ["https://evil.example.org/x", "http://alpha.example.org/x", "https://alpha.example.org:8443/", "//evil/x"]
)
def test_the_address_of_the_next_page_leads_to_no_other_server(link: str) -> None:
    """catalog 4"""
    with pytest.raises(ListBroken, match="another server"):
        pages.understand(source(next="next"), None, reply({"items": [MARC], "next": link}), now=NOW)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (reply(b"<html>", status=200), Unreadable, "not JSON"),
        (reply({"other": []}), Unreadable, "nothing at items"),
        (reply({"items": {"a": 1}}), Unreadable, "no list"),
        (reply(b"", status=503, retry_after="30"), Busy, "back in 30 s"),
        (reply(b"", status=429), Busy, "429"),
        (reply(b"", status=500), ServerFailed, "500"),
        (reply(b"", status=401), Refused, "credentials"),
    ],
)
def test_what_is_no_page_is_an_error(answer: Reply, error: type[HarvestError], said: str) -> None:
    """catalog 4"""
    with pytest.raises(error, match=said):
        pages.understand(source(), None, answer, now=NOW)


def test_one_bad_item_costs_only_itself() -> None:
    """catalog 4"""
    content = {"items": [{"id": 1, "marc": MARC}, {"marc": MARC}, {"id": 3}, {"id": 4, "marc": "rubbish"}, {"id": 5, "gone": "Yes"}]}
    found = pages.understand(source(record="marc", identifier="id", deleted="gone"), None, reply(content), now=NOW)
    assert [(each.identifier, each.deleted) for each in found.records] == [("1", False), ("5", True)]
    assert [(each.identifier, each.place) for each in found.damaged] == [
        (None, "page, record 2"),
        ("3", "page, record 3"),
        ("4", "page, record 4"),
    ]


def test_pages_are_asked_for_by_number_offset_and_address() -> None:
    """catalog 4"""
    full = {"items": [MARC, MARC]}
    by_page = source(paging=Paging.PAGE, first_page=0, size_parameter="limit", page_size=2)
    assert pages.ask(by_page, None, since=None)[1].parameters() == [("page", "0"), ("limit", "2")]
    assert pages.understand(by_page, None, reply(full), now=NOW).next == "1"
    assert pages.understand(by_page, "7", reply({"items": []}), now=NOW).next is None
    by_offset = source(paging=Paging.OFFSET, page_parameter="skip")
    assert pages.ask(by_offset, "4", since=None)[1].parameters() == [("skip", "4")]
    assert pages.understand(by_offset, "4", reply(full), now=NOW).next == "6"
    by_address = source()
    asked, request = pages.ask(by_address, "https://alpha.example.org/x?start=2", since=None)
    assert (asked.url, request.parameters()) == ("https://alpha.example.org/x?start=2", [])
    assert asked.headers["Accept"].startswith("application/json")


def test_records_may_be_xml_in_json() -> None:
    """catalog 4"""
    found = pages.understand(source(record="xml"), None, reply({"items": [{"xml": to_marcxml(record()).decode()}]}), now=NOW)
    assert [each.identifier for each in found.records] == ["(SE-LIBR)123"]
    assert found.format == "marcxml"
    assert io.BytesIO(found.records[0].payload or b"").read(7) == to_marcxml(record())[:7]
