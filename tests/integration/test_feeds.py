"""Folders, SFTP servers and REST endpoints, harvested like all other sources; real servers, a real PostgreSQL."""

# ruff: noqa: ASYNC110  (what is waited for happens in a server or a database)
from __future__ import annotations

import gzip
import json
import os
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import asyncssh
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine as Database
from trio.testing import MockClock

from db import switches
from flows.catalog.feeds.folder import LocalFolder
from flows.catalog.feeds.plan import Entry
from flows.catalog.feeds.sftp import SftpFolder
from flows.catalog.model import BibRecord, ControlField, DataField, Subfield, digest
from flows.catalog.read import read
from flows.catalog.write import to_iso2709, to_marcjson, to_marcxml
from flows.harvest.desk.store import Desk
from flows.harvest.run import Run
from flows.harvest.store import PostgresStore
from harvester.events import Outcome
from harvester.feeds import Feed, Paging
from harvester.secrets import SecretRef
from harvester.sources import Configuration, Deletions, Group, Kind, Source
from tests.driving import PassFinished, Seen
from tests.driving import configuration as oai_configuration
from tests.fakes.oai import Consortium, Repository
from tests.fakes.rest import Endpoint
from tests.fakes.sftp import SftpServer

LONG_AGO = 1_700_000_000
FEED = Feed(settle=0.0)


def record(number: str, title: str = "A title", *, agency: str = "XX-Alpha", status: str = "n") -> BibRecord:
    """A small record; its 001 is ``number``, its leader/05 ``status``."""
    return BibRecord(
        source="",
        identifier="",
        format="test",
        leader=f"00000{status}am a2200000 i 4500",
        control_fields=(
            *([ControlField("001", number)] if number else []),
            ControlField("003", agency),
            ControlField("005", "20240102030405.0"),
            ControlField("008", "240102s2024    xx            000 0 eng d"),
        ),
        data_fields=(DataField(tag="245", ind1="1", ind2="0", subfields=(Subfield("a", f"{title} Größe"), Subfield("c", "N. N."))),),
    )


def iso(*records: BibRecord) -> bytes:
    return b"".join(to_iso2709(each) for each in records)


def xml(*records: BibRecord) -> bytes:
    body = b"".join(to_marcxml(each).replace(b'<?xml version="1.0" encoding="UTF-8"?>', b"") for each in records)
    return b'<collection xmlns="http://www.loc.gov/MARC21/slim">' + body + b"</collection>"


def numbers(first: int, last: int, title: str = "A title") -> list[BibRecord]:
    return [record(f"a{number:04d}", title) for number in range(first, last + 1)]


def put(path: Path, content: bytes, *, at: float = LONG_AGO) -> Path:
    """Write a file that was finished long ago."""
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


def folder(path: Path, *, feed: Feed = FEED, **settings: Any) -> Source:
    values = {"name": "alpha", "url": f"file://{path}", "kind": Kind.FILES, "feed": feed, "pause_after_records": 0, "interval": 1.0}
    return Source(**{**values, **settings})


def sources(*given: Source, limit: int = 2) -> Configuration:
    groups = {name: Group(name=name, limit=limit) for name in {"default", *(each.group for each in given)}}
    return Configuration(sources={each.name: each for each in given}, groups=groups, seed=1)


def harvest(configuration: Configuration | Source, database: Database, **arguments: Any) -> Seen:
    """One pass of every source."""
    seen = Seen()
    chosen = sources(configuration) if isinstance(configuration, Source) else configuration
    run = Run(configuration=chosen, database=database, observe=seen.take)

    async def main() -> None:
        with anyio.fail_after(60):
            await run.harvest(**(arguments or {"once": True}))

    anyio.run(main)
    return seen


def rows(database: Database, statement: str, **values: Any) -> list[Any]:
    with database.connect() as connection:
        return list(connection.execute(text(statement), values))


def stored(database: Database, source: str = "alpha") -> dict[str, bool]:
    """Identifier and deletion of every record."""
    return {
        row[0]: row[1] for row in rows(database, "SELECT identifier, deleted FROM harvest.record WHERE source = :source", source=source)
    }


def live(database: Database, source: str = "alpha") -> set[str]:
    return {identifier for identifier, deleted in stored(database, source).items() if not deleted}


def canonical(database: Database, source: str) -> dict[str, str]:
    """Digest of the canonical record, by identifier."""
    found = rows(database, "SELECT identifier, format, payload FROM harvest.record WHERE source = :source AND NOT deleted", source=source)
    result = {}
    for identifier, form, payload in found:
        reading = read(bytes(payload), format=form, source="x", identifier="x")
        assert reading.record is not None
        assert not reading.problems, reading.problems
        result[identifier] = digest(reading.record)
    return result


def called(*given: Iterable[BibRecord]) -> set[str]:
    return {f"(XX-Alpha){each.control_number}" for several in given for each in several}


def test_the_same_record_by_every_feed_is_the_same_canonical_record(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """catalog 4"""
    given = numbers(1, 7)
    for name in ("mrc", "xml", "sftp"):
        (tmp_path / name).mkdir()
    put(tmp_path / "mrc" / "one.mrc", iso(*given))
    with zipfile.ZipFile(tmp_path / "xml" / "one.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside/one.xml", xml(*given))
    os.utime(tmp_path / "xml" / "one.zip", (LONG_AGO, LONG_AGO))
    put(tmp_path / "sftp" / "one.jsonl.gz", gzip.compress(b"\n".join(to_marcjson(each) for each in given)))
    monkeypatch.setenv("DROP_PASSWORD", "open-sesame")
    items = [{"id": f"(XX-Alpha){each.control_number}", "marc": json.loads(to_marcjson(each))} for each in given]
    with SftpServer(tmp_path / "sftp") as server, Endpoint(items) as endpoint:
        chosen = sources(
            folder(tmp_path / "mrc", name="mrc"),
            folder(tmp_path / "xml", name="xml"),
            folder(
                tmp_path / "sftp",
                name="sftp",
                kind=Kind.SFTP,
                url=server.url(),
                username="windrow",
                password=SecretRef(scheme="env", name="DROP_PASSWORD"),
                feed=replace(FEED, host_keys=(server.host_key,)),
            ),
            folder(
                tmp_path,
                name="rest",
                kind=Kind.REST,
                url=endpoint.url,
                feed=Feed(records="data.items", record="marc", identifier="id", next="links.next"),
            ),
        )
        seen = harvest(chosen, database)
    assert {name: each.outcome for name, each in seen.passes.items()} == dict.fromkeys(("mrc", "xml", "sftp", "rest"), Outcome.COMPLETE)
    wanted = canonical(database, "mrc")
    assert wanted.keys() == called(given)
    for name in ("xml", "sftp", "rest"):
        assert canonical(database, name) == wanted
    assert {row[0] for row in rows(database, "SELECT DISTINCT format FROM harvest.record")} == {"iso2709", "marcxml", "marcjson"}


def test_a_file_is_read_once_and_a_changed_one_again(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "one.mrc", iso(*numbers(1, 1200)))
    first = harvest(folder(tmp_path), database)
    assert (first.totals().records, first.totals().new, first.totals().pages) == (1200, 1200, 3)
    second = harvest(folder(tmp_path), database)
    assert second.outcome() is Outcome.COMPLETE
    assert second.totals().records == 0
    os.utime(tmp_path / "one.mrc", (LONG_AGO + 5, LONG_AGO + 5))  # delivered again as it was
    assert harvest(folder(tmp_path), database).totals().records == 0
    put(tmp_path / "one.mrc", iso(*numbers(1, 1199), record("a1200", "Another title")), at=LONG_AGO + 9)
    third = harvest(folder(tmp_path), database).totals()
    assert (third.records, third.changed, third.unchanged) == (1200, 1, 1199)


def test_of_duplicates_the_last_one_counts_and_files_are_read_by_name(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "2.mrc", iso(record("a", "second")), at=LONG_AGO)
    put(tmp_path / "1.mrc", iso(record("a", "first"), record("b", "x"), record("b", "y")), at=LONG_AGO + 60)
    harvest(folder(tmp_path), database)
    payloads = dict(rows(database, "SELECT identifier, convert_from(payload, 'UTF8') FROM harvest.record"))
    assert "second" in payloads["(XX-Alpha)a"]
    assert "y Gr" in payloads["(XX-Alpha)b"]


def test_an_unfinished_file_is_left_for_the_next_pass(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "1.mrc", iso(record("a")))
    put(tmp_path / "2.mrc.part", iso(record("b"))[:100])
    put(tmp_path / "3.mrc", iso(record("c"))[:100], at=time.time())
    source = folder(tmp_path, feed=Feed(settle=3600.0))
    harvest(source, database)
    assert live(database) == {"(XX-Alpha)a"}
    (tmp_path / "2.mrc.part").rename(tmp_path / "2.mrc")
    put(tmp_path / "2.mrc", iso(record("b")))
    put(tmp_path / "3.mrc", iso(record("c")), at=time.time() + 0.5)
    harvest(source, database)
    assert live(database) == {"(XX-Alpha)a", "(XX-Alpha)b"}
    harvest(source, database)  # it looks as it did the last time
    assert live(database) == {"(XX-Alpha)a", "(XX-Alpha)b", "(XX-Alpha)c"}
    assert not rows(database, "SELECT * FROM harvest.failure")


def test_a_file_that_grows_while_it_is_read_is_read_again_before_those_after_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """catalog 4"""
    put(tmp_path / "1.mrc", iso(record("a")))
    put(tmp_path / "2.mrc", iso(record("a", "newer")))
    entry = LocalFolder.entry

    async def growing(self: LocalFolder, name: str) -> Entry | None:
        if name == "1.mrc":
            put(tmp_path / name, iso(record("a"), record("b")), at=LONG_AGO + 60)
        return await entry(self, name)

    monkeypatch.setattr(LocalFolder, "entry", growing)
    seen = harvest(folder(tmp_path), database)
    assert "written to while it was read" in (seen.passes["alpha"].warning or "")
    assert live(database) == {"(XX-Alpha)a"}
    assert "newer" not in str(rows(database, "SELECT convert_from(payload, 'UTF8') FROM harvest.record"))
    monkeypatch.setattr(LocalFolder, "entry", entry)
    harvest(folder(tmp_path), database)
    assert live(database) == {"(XX-Alpha)a", "(XX-Alpha)b"}
    assert "newer" in str(rows(database, "SELECT convert_from(payload, 'UTF8') FROM harvest.record"))


def test_one_bad_record_costs_only_itself(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "one.mrc", iso(record("a"), record(""), record("b")) + b"rubbish without end\x1d" + iso(record("c")))
    seen = harvest(folder(tmp_path), database)
    assert live(database) == {"(XX-Alpha)a", "(XX-Alpha)b", "(XX-Alpha)c"}
    assert (seen.outcome(), seen.totals().failures) == (Outcome.COMPLETE, 2)
    places = sorted(row[0] for row in rows(database, "SELECT place FROM harvest.failure"))
    assert places == ["read, one.mrc, record 2", "read, one.mrc, record 4"]


def test_a_spoilt_file_costs_only_itself(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "1.xml.gz", gzip.compress(xml(*numbers(1, 50)))[:-40])
    put(tmp_path / "2.mrc", iso(record("z")))
    with zipfile.ZipFile(tmp_path / "3.zip", "w") as archive:
        archive.writestr("../../escaped.mrc", iso(record("evil")))
    os.utime(tmp_path / "3.zip", (LONG_AGO, LONG_AGO))
    put(tmp_path / "4.mrc", b"")
    seen = harvest(folder(tmp_path), database)
    assert "(XX-Alpha)z" in live(database)
    assert "(XX-Alpha)evil" not in live(database)
    assert not list(tmp_path.parent.glob("**/escaped.mrc"))
    failures = dict(rows(database, "SELECT identifier, reason FROM harvest.failure"))
    assert failures.keys() == {"file:1.xml.gz", "file:3.zip", "file:4.mrc"}
    assert "leads out of it" in failures["file:3.zip"]
    assert "3.zip" in (seen.passes["alpha"].warning or "")
    assert harvest(folder(tmp_path), database).totals().failures == 0  # they are not tried again until they change


def test_deletions_come_by_leader_and_by_lists(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    feed = replace(FEED, identifier_prefix="oai:alpha:", deleted_files=("gone-*",))
    source = folder(tmp_path, feed=feed)
    put(tmp_path / "1.mrc", iso(*[record(each) for each in "abcdef"]))
    harvest(source, database)
    assert live(database) == {f"oai:alpha:{each}" for each in "abcdef"}
    put(tmp_path / "2.mrc", iso(record("a", status="d"), record("g")))
    put(tmp_path / "gone-1.txt", b"b\noai:alpha:c\r\n\n")
    put(tmp_path / "gone-2.mrc", iso(record("d")))
    seen = harvest(source, database)
    assert live(database) == {"oai:alpha:e", "oai:alpha:f", "oai:alpha:g"}
    assert (seen.totals().deleted, seen.totals().new, seen.totals().failures) == (4, 1, 0)


def test_what_the_newest_full_delivery_does_not_hold_is_deleted_unless_it_is_too_much(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    source = folder(tmp_path, deletions=Deletions.FULL, delete_hold_minimum=10)
    put(tmp_path / "2024-01.mrc", iso(*numbers(1, 60)))
    put(tmp_path / "2024-01b.mrc", iso(*numbers(61, 100)))
    assert harvest(source, database).totals().new == 100
    assert harvest(source, database).totals().deleted == 0  # nothing new was delivered: nothing is concluded
    put(tmp_path / "2024-02.mrc", iso(*numbers(1, 95)))
    assert harvest(source, database).totals().deleted == 5
    put(tmp_path / "2024-03.mrc", iso(*numbers(1, 40)))
    seen = harvest(source, database)
    assert seen.outcome() is Outcome.HELD
    assert len(live(database)) == 95


def test_nothing_is_concluded_from_half_a_delivery(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    source = folder(tmp_path, deletions=Deletions.FULL, delete_hold_minimum=1000)
    put(tmp_path / "1.mrc", iso(*numbers(1, 50)))
    put(tmp_path / "2.mrc", iso(*numbers(51, 100)))
    harvest(source, database)
    put(tmp_path / "1.mrc", iso(*numbers(1, 49)), at=LONG_AGO + 60)
    put(tmp_path / "2.mrc.part", b"")
    harvest(source, database)
    assert len(live(database)) == 100
    (tmp_path / "2.mrc.part").unlink()
    put(tmp_path / "2.mrc", b"", at=LONG_AGO + 60)  # spoilt
    seen = harvest(source, database)
    assert "nothing was concluded" in (seen.passes["alpha"].warning or "")
    assert len(live(database)) == 100
    put(tmp_path / "2.mrc", iso(*numbers(51, 100)), at=LONG_AGO + 90)  # what replaces it is read with the rest of the delivery
    assert harvest(source, database).totals().deleted == 1
    assert len(live(database)) == 99


def test_a_killed_run_reads_the_file_again_and_loses_nothing(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 4: killed before the last batch of a file, the file is read again; what is stored is not written twice."""
    put(tmp_path / "1.mrc", iso(*numbers(1, 1300)))
    commit = PostgresStore.commit
    batches = 0

    class Killed(BaseException):
        pass

    async def dying(self: PostgresStore, given: Any) -> Any:
        nonlocal batches
        batches += bool(given.step.records)
        if batches == 3:
            raise Killed
        return await commit(self, given)

    monkeypatch.setattr(PostgresStore, "commit", dying)
    with pytest.raises(BaseException):  # noqa: B017, PT011  (a group with Killed inside)
        harvest(folder(tmp_path), database)
    assert len(live(database)) == 1000
    monkeypatch.setattr(PostgresStore, "commit", commit)
    seen = harvest(folder(tmp_path), database)
    assert seen.outcome() is Outcome.COMPLETE
    assert len(live(database)) == 1300
    assert rows(database, "SELECT count(*) FROM harvest.record WHERE revision IS NOT NULL")[0][0] == 1300
    assert seen.pages[-1].page.new == 300
    assert harvest(folder(tmp_path), database).totals().records == 0


# ------------------------------------------------------------------------ SFTP


def sftp(server: SftpServer, tmp_path: Path, *, feed: Feed | None = None, **settings: Any) -> Source:
    values = {"kind": Kind.SFTP, "url": server.url(), "username": "windrow", "password": SecretRef(scheme="env", name="DROP_PASSWORD")}
    chosen = feed if feed is not None else replace(FEED, host_keys=(server.host_key,))
    return folder(tmp_path, feed=chosen, **{**values, "attempts": 1, **settings})


@pytest.mark.parametrize("way", ["key", "fingerprint"])
def test_an_sftp_drop_is_read_and_put_away(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """catalog 4"""
    monkeypatch.setenv("DROP_PASSWORD", "open-sesame")
    (tmp_path / "out").mkdir()
    put(tmp_path / "out" / "2.mrc", iso(record("a", "new")))
    put(tmp_path / "out" / "1.xml", xml(record("a", "old"), record("b")))
    with SftpServer(tmp_path) as server:
        feed = replace(FEED, host_keys=(server.host_key if way == "key" else server.fingerprint,), move_to="done")
        source = sftp(server, tmp_path, feed=feed, url=server.url("/out"))
        assert harvest(source, database).outcome() is Outcome.COMPLETE
        assert live(database) == {"(XX-Alpha)a", "(XX-Alpha)b"}
        assert sorted(each.name for each in (tmp_path / "out").rglob("*")) == ["1.xml", "2.mrc", "done"]
        put(tmp_path / "out" / "1.xml", xml(record("c")), at=LONG_AGO + 60)  # the same name, delivered again
        assert harvest(source, database).totals().new == 1
    assert len(list((tmp_path / "out" / "done").iterdir())) == 3


def test_a_server_with_another_key_gets_nothing(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 4"""
    monkeypatch.setenv("DROP_PASSWORD", "open-sesame")
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()
    with SftpServer(tmp_path) as server:
        for key in (other, "SHA256:" + "A" * 43):
            seen = harvest(sftp(server, tmp_path, feed=replace(FEED, host_keys=(key,))), database)
            assert seen.outcome() is Outcome.FAILED
            assert "another key than host_keys names" in (seen.passes["alpha"].error or "")
        assert server.asked == []


def test_a_wrong_password_is_told_without_it(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 4"""
    monkeypatch.setenv("DROP_PASSWORD", "not-the-password")
    with SftpServer(tmp_path) as server:
        seen = harvest(sftp(server, tmp_path, attempts=5), database)
    assert "refuses the user name" in (seen.passes["alpha"].error or "")
    assert "not-the-password" not in str(seen.happenings)
    assert server.asked == ["windrow"]  # a refusal is not tried again


def test_a_private_key_opens_the_drop(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 4"""
    key = asyncssh.generate_private_key("ssh-ed25519")
    monkeypatch.setenv("DROP_KEY", key.export_private_key().decode())
    put(tmp_path / "1.mrc", iso(record("a")))
    with SftpServer(tmp_path, password=None, client_key=key.export_public_key().decode()) as server:
        feed = replace(FEED, host_keys=(server.host_key,), private_key=SecretRef(scheme="env", name="DROP_KEY"))
        assert harvest(sftp(server, tmp_path, feed=feed, password=None), database).outcome() is Outcome.COMPLETE
    assert live(database) == {"(XX-Alpha)a"}


def test_a_server_that_goes_away_is_asked_again_and_nothing_is_lost(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """catalog 4"""
    monkeypatch.setenv("DROP_PASSWORD", "open-sesame")
    put(tmp_path / "1.mrc", iso(record("a")))
    put(tmp_path / "2.mrc", iso(record("b")))
    fetch, broken = SftpFolder.fetch, []

    async def breaking(self: SftpFolder, entry: Entry) -> Path:
        if entry.name == "2.mrc" and not broken:
            broken.append(entry.name)
            await self._stack.aclose()  # the connection is gone
        return await fetch(self, entry)

    monkeypatch.setattr(SftpFolder, "fetch", breaking)
    with SftpServer(tmp_path) as server:
        source = sftp(server, tmp_path, attempts=3)
        seen = harvest(source, database)
        assert (seen.outcome(), broken) == (Outcome.COMPLETE, ["2.mrc"])
        assert (seen.totals().records, seen.totals().new) == (2, 2)  # the first file was not read again
        assert len(server.asked) == 2
    seen = harvest(replace(source, attempts=1), database)
    assert "no connection to 127.0.0.1" in (seen.passes["alpha"].error or "")
    assert len(live(database)) == 2


# ------------------------------------------------------------------------ REST


def rest(endpoint: Endpoint, *, feed: Feed | None = None, **settings: Any) -> Source:
    chosen = feed or Feed(records="data.items", record="marc", next="links.next")
    values = {"name": "alpha", "url": endpoint.url, "kind": Kind.REST, "feed": chosen, "pause_after_records": 0, "interval": 1.0}
    return Source(**{**values, **settings})


def items(*records: BibRecord) -> list[dict[str, Any]]:
    return [{"id": f"id-{each.control_number}", "marc": json.loads(to_marcjson(each))} for each in records]


WAYS = {
    "next": Feed(records="data.items", record="marc", next="links.next"),
    "link": Feed(records="data.items", record="marc"),
    "page": Feed(records="data.items", record="marc", paging=Paging.PAGE, size_parameter="limit", page_size=2),
    "offset": Feed(records="data.items", record="marc", paging=Paging.OFFSET),
}


@pytest.mark.parametrize("style", WAYS)
def test_a_rest_endpoint_is_read_page_by_page(database: Database, style: str) -> None:
    """catalog 4"""
    with Endpoint(items(*numbers(1, 5)), style=style) as endpoint:
        seen = harvest(rest(endpoint, feed=WAYS[style]), database)
    assert seen.outcome() is Outcome.COMPLETE, seen.passes
    assert live(database) == called(numbers(1, 5))


def test_rest_is_treated_as_politely_as_oai(database: Database) -> None:
    """catalog 4"""
    faults = [(503, {"Retry-After": "0"}), (429, {"Retry-After": "0"}), (503, {"Retry-After": "0"})]
    with Endpoint(items(*numbers(1, 3)), faults=list(faults)) as endpoint:
        assert harvest(rest(endpoint), database).outcome() is Outcome.COMPLETE
        endpoint.faults = [(503, {"Retry-After": "7200"})]
        seen = harvest(rest(endpoint), database)
        assert seen.outcome() is Outcome.FAILED
        asked = len(endpoint.asked)
        seen = harvest(rest(endpoint), database)
        assert "not to be disturbed" in (seen.passes["alpha"].error or "")
        assert len(endpoint.asked) == asked
    waiting = rows(database, "SELECT extract(epoch FROM waiting_until) FROM harvest.source")[0][0]
    assert float(waiting) > time.time() + 7000


def test_a_failed_page_is_where_the_next_run_goes_on(database: Database) -> None:
    """catalog 4"""
    with Endpoint(items(*numbers(1, 6)), key="s3cret") as endpoint:
        source = rest(endpoint, query={"apikey": "s3cret"}, attempts=1)
        endpoint.faults = []
        answer = endpoint.answer

        def failing(request: Any) -> None:
            if "start=4" in request.path:
                endpoint.faults.append((500, {}))
            answer(request)

        endpoint.answer = failing  # type: ignore[method-assign]
        assert harvest(source, database).outcome() is Outcome.FAILED
        assert len(live(database)) == 4
        assert "s3cret" not in str(rows(database, "SELECT pass FROM harvest.source") + rows(database, "SELECT token FROM harvest.page"))
        endpoint.answer = answer  # type: ignore[method-assign]
        before = len(endpoint.asked)
        assert harvest(source, database).outcome() is Outcome.COMPLETE
        assert [each.get("start") for each in endpoint.asked[before:]] == ["4"]
    assert len(live(database)) == 6


def test_a_next_page_on_another_server_is_not_followed(database: Database) -> None:
    """catalog 4"""
    with Endpoint(items(*numbers(1, 6))) as other, Endpoint(items(*numbers(1, 6)), elsewhere=other.url) as endpoint:
        seen = harvest(rest(endpoint), database)
        assert "another server" in (seen.passes["alpha"].error or "")
        assert other.asked == []


def test_rest_asks_for_changes_since_the_last_pass_and_for_everything_when_it_is_due(database: Database) -> None:
    """catalog 4"""
    feed = replace(WAYS["next"], since_parameter="since", identifier="id", deleted="gone")
    with Endpoint(items(*numbers(1, 3)), size=10) as endpoint:
        source = rest(endpoint, feed=feed, overlap=60.0)
        harvest(source, database)
        assert "since" not in endpoint.asked[-1]
        endpoint.items = [*items(record("a0001", "changed")), {"id": "id-a0002", "gone": True}]
        seen = harvest(source, database)
        assert endpoint.asked[-1]["since"].endswith("Z")
        assert (seen.totals().changed, seen.totals().deleted) == (1, 1)
        assert live(database) == {"id-a0001", "id-a0003"}
        endpoint.items = items(*numbers(1, 1))
        full = replace(source, deletions=Deletions.FULL, full_every=0.001)
        assert harvest(full, database).totals().deleted == 1
        assert "since" not in endpoint.asked[-1]
    assert live(database) == {"id-a0001"}


def test_a_list_that_repeats_itself_ends(database: Database) -> None:
    """catalog 4"""
    with Endpoint(items(*numbers(1, 2)), style="same") as endpoint:
        seen = harvest(rest(endpoint, feed=WAYS["offset"]), database)
    assert "repeats itself" in (seen.passes["alpha"].error or "")


# --------------------------------------------------------------- beside the engine


def test_feeds_and_repositories_share_groups_and_their_limit(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "1.mrc", iso(*numbers(1, 5)))
    repository = Repository(name="beta", records=30, page_size=10)
    with Consortium([repository]) as consortium, Endpoint(items(*numbers(1, 9))) as endpoint:
        base = oai_configuration(consortium, "beta")
        mixed = replace(
            base,
            sources={**base.sources, "alpha": folder(tmp_path), "gamma": rest(endpoint, name="gamma")},
            groups={"default": Group(name="default", limit=1)},
        )
        seen = Seen()
        run = Run(configuration=mixed, database=database, observe=seen.take)
        anyio.run(lambda: run.harvest(once=True))
        assert run.engine is not None
        view = run.engine.views()[0]
        assert (view.limit, view.in_flight_max) == (1, 1)
        assert endpoint.most_at_once == 1
    assert {name: each.outcome for name, each in seen.passes.items()} == dict.fromkeys(("alpha", "beta", "gamma"), Outcome.COMPLETE)
    assert [row[0] for row in rows(database, "SELECT count(*) FROM harvest.source WHERE owner IS NULL")] == [3]


def test_a_group_that_another_engine_has_is_left_to_it(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "1.mrc", iso(record("a")))
    other = PostgresStore(database)

    async def main() -> Seen:
        assert await other.claim("default")
        seen = Seen()
        with anyio.fail_after(30):
            await Run(configuration=sources(folder(tmp_path)), database=database, observe=seen.take).harvest(once=True)
        await other.close()
        return seen

    seen = anyio.run(main)
    assert seen.outcome() is Outcome.BLOCKED
    assert live(database) == set()


def test_a_source_rests_after_so_many_records_and_an_operator_can_pause_it(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "1.mrc", iso(*numbers(1, 1100)))
    seen = harvest(folder(tmp_path, pause_after_records=600, pause_seconds=0.05), database)
    assert seen.totals().new == 1100
    switches.pause(database, "source:alpha", "migration", "me")
    put(tmp_path / "2.mrc", iso(record("z")))
    seen = harvest(folder(tmp_path), database)
    assert seen.outcome() is Outcome.BLOCKED
    assert "migration" in (seen.passes["alpha"].error or "")
    assert "(XX-Alpha)z" not in live(database)


# ------------------------------------------------------------------- while it runs


def watched(database: Database, first: Configuration, script: Callable[[Run, Seen, Script], Awaitable[None]]) -> Seen:
    """A run whose configuration a script changes, in fast time; it ends with the script."""
    seen, change = Seen(), Script()
    run = Run(configuration=first, database=database, observe=seen.take, watch=change)

    async def main() -> None:
        async def then_stop() -> None:
            await script(run, seen, change)
            run.stop()

        with anyio.fail_after(5000):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(then_stop)
                await run.harvest()

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(rate=50.0)})
    return seen


class Script:
    """Gives a run one configuration after the other."""

    def __init__(self) -> None:
        self.next: Configuration | None = None

    def __call__(self) -> Configuration | None:
        given, self.next = self.next, None
        return given


def passes(seen: Seen, name: str) -> int:
    return sum(isinstance(each, PassFinished) and each.source == name for each in seen.happenings)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await anyio.sleep(0.5)


def test_feeds_join_leave_and_change_while_it_runs(database: Database, tmp_path: Path) -> None:
    """catalog 4, harvest 7"""
    for name in "abc":
        (tmp_path / name).mkdir()
        put(tmp_path / name / "1.mrc", iso(record(name)))
    a, b, c = (folder(tmp_path / name, name=name, interval=0.05) for name in "abc")

    async def script(run: Run, seen: Seen, change: Script) -> None:
        await until(lambda: passes(seen, "a") and passes(seen, "b"))
        change.next = sources(replace(b, feed=replace(FEED, identifier_prefix="b:")), replace(c, group="other"))
        await until(lambda: passes(seen, "c") and "b:b" in live(database, "b"))
        before = passes(seen, "b")
        put(tmp_path / "b" / "2.mrc", iso(record("later")))
        await until(lambda: passes(seen, "b") > before + 1)
        assert run.engine is not None
        assert [view.name for view in run.engine.views()] == ["default", "other"]

    seen = watched(database, sources(a, b), script)
    assert live(database, "b") == {"(XX-Alpha)b", "b:b", "b:later"}
    assert live(database, "c") == {"(XX-Alpha)c"}
    assert {each.action for each in seen.notices} >= {"source.added", "source.changed", "source.removed"}
    assert dict(rows(database, "SELECT name, removed FROM harvest.source")) == {"a": True, "b": False, "c": False}


def test_an_operator_pauses_resumes_and_resets_a_feed_that_runs(database: Database, tmp_path: Path) -> None:
    """catalog 4, harvest 28"""
    put(tmp_path / "1.mrc", iso(record("a")))

    async def script(run: Run, seen: Seen, change: Script) -> None:
        def state() -> Any:
            assert run.engine is not None
            return {state.value for view in run.engine.views() for state, count in view.states.items() if count}

        await until(lambda: passes(seen, "alpha"))
        switches.pause(database, "all", "holiday", "me")
        await until(lambda: state() == {"blocked"})
        put(tmp_path / "2.mrc", iso(record("b")))
        switches.resume(database, "all")
        await until(lambda: "(XX-Alpha)b" in live(database))
        with database.begin() as connection:  # somebody deletes a row; only reading everything anew brings it back
            connection.execute(text("DELETE FROM harvest.record WHERE identifier = '(XX-Alpha)a'"))
        assert Desk(database).reset("alpha")
        await until(lambda: "(XX-Alpha)a" in live(database))

    watched(database, sources(folder(tmp_path, interval=0.05)), script)


def test_status_says_that_a_feed_is_idle_between_passes(database: Database, tmp_path: Path) -> None:
    """catalog 4"""
    put(tmp_path / "1.mrc", iso(record("a")))
    harvest(folder(tmp_path), database)
    known = Desk(database).sources()["alpha"]
    assert (known.unfinished, known.course, known.live) == (False, None, 1)
    assert known.watermark is not None
