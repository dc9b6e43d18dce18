"""The station on a real PostgreSQL: what passes, what is held back, what is written and what is not."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from db import switches
from flows.validation.policies import GateLimits, Policies, Statements
from flows.validation.store import ValidationStore
from tests import driving
from tests.validation.shelf import PUT, Shelf, bad, xml


@pytest.fixture
def shelf(database: Engine) -> Shelf:
    return Shelf(database)


def test_right_records_pass_wrong_ones_wait_in_quarantine_and_both_keep_their_findings(shelf: Shelf) -> None:
    """catalog 5, 7"""
    shelf.put("oai:1", xml(number=1))
    shelf.put("oai:2", bad(2))
    shelf.put("oai:3", xml("020 ## $a9780000000001", number=3))  # a wrong check digit is a warning
    tally = shelf.run()
    assert (tally.read, tally.valid, tally.warned, tally.quarantined, tally.deleted) == (3, 2, 1, 1, 0)
    assert shelf.bibs() == {"oai:1": False, "oai:3": False}
    assert shelf.quarantine() == ["oai:2"]
    rows = driving.rows(
        shelf.database, "SELECT identifier, category || '/' || code, severity, path, value FROM catalog.finding ORDER BY 1, 2"
    )
    assert ("oai:2", "dataField/missingField", "error", "245", "") in rows
    assert ("oai:3", "subfield/invalidISBN", "warning", "020$a", "9999999999999") in rows, "a shape, not the number"
    assert tally.summary()["findings"]["dataField/missingField"] == 1


def test_the_last_clean_version_stays_while_a_newer_one_is_in_quarantine_and_the_next_right_one_replaces_it(shelf: Shelf) -> None:
    """catalog 7"""
    shelf.put("oai:1", xml("245 10 $aFirst.", number=1))
    shelf.run()
    shelf.put("oai:1", bad(1))
    shelf.run()
    assert shelf.quarantine() == ["oai:1"]
    assert shelf.content("oai:1").fields("245")[0].first("a") == "First."
    shelf.put("oai:1", xml("245 10 $aThird.", number=1))
    shelf.run()
    assert shelf.quarantine() == []
    assert shelf.content("oai:1").fields("245")[0].first("a") == "Third."


def test_an_unchanged_record_is_not_written_and_a_changed_one_gets_the_next_revision(shelf: Shelf) -> None:
    """catalog 1, 10"""
    shelf.fill(20, failing=2)
    shelf.run()
    before = shelf.versions()
    assert shelf.run().read == 0
    assert shelf.run(everything=True).read == 20
    assert shelf.versions() == before, "the same rules on the same bytes leave no trace"
    top = driving.one(shelf.database, "SELECT max(revision) FROM catalog.bib")
    shelf.put("oai:00007", xml("245 10 $aAnother.", number=7))
    shelf.run()
    rows = driving.rows(shelf.database, "SELECT identifier FROM catalog.bib WHERE revision > :top", top=top)
    assert rows == [("oai:00007",)]
    assert shelf.versions() != before


def test_a_deletion_becomes_a_deletion_and_a_record_that_comes_back_lives_again(shelf: Shelf) -> None:
    """catalog 7, 13"""
    shelf.put("oai:1", xml(number=1))
    shelf.put("oai:2", bad(2))
    shelf.run()
    top = driving.one(shelf.database, "SELECT max(revision) FROM catalog.bib")
    shelf.delete("oai:1", "oai:2", "oai:never-seen")
    assert shelf.run().deleted == 3
    assert shelf.bibs() == {"oai:1": True}
    assert shelf.content("oai:1").deleted is True
    assert shelf.quarantine() == []
    assert driving.one(shelf.database, "SELECT count(*) FROM catalog.finding") == 0
    assert driving.one(shelf.database, "SELECT revision FROM catalog.bib") > top
    shelf.put("oai:1", xml(number=1))
    shelf.run()
    assert shelf.bibs() == {"oai:1": False}
    assert shelf.content("oai:1").deleted is False


def test_what_cannot_be_read_is_quarantined_with_its_problems_and_costs_its_neighbours_nothing(shelf: Shelf) -> None:
    """catalog 2, 7"""
    shelf.put("oai:1", b"<record>this is no")
    shelf.put("oai:2", b"\x00\xff\xfe nothing at all")
    shelf.put("oai:3", b"")
    shelf.put("oai:4", xml(number=4))
    tally = shelf.run()
    assert (tally.valid, tally.quarantined) == (1, 3)
    assert shelf.quarantine() == ["oai:1", "oai:2", "oai:3"]
    codes = {row[0] for row in driving.rows(shelf.database, "SELECT code FROM catalog.finding WHERE identifier = 'oai:2'")}
    assert "unreadable" in codes


INSTANCE = """<bf:Instance rdf:about="http://example.org/{n}">
<bf:title><bf:Title><bf:mainTitle>Title {n}</bf:mainTitle></bf:Title></bf:title>
<bf:adminMetadata><bf:AdminMetadata><bf:identifiedBy><bf:Local><rdf:value>{n}</rdf:value></bf:Local></bf:identifiedBy></bf:AdminMetadata>
</bf:adminMetadata></bf:Instance>"""


def bibframe(*numbers: str) -> bytes:
    head = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:bf="http://id.loc.gov/ontologies/bibframe/">'
    return (head + "".join(INSTANCE.format(n=n) for n in numbers) + "</rdf:RDF>").encode()


def test_every_instance_is_a_record_and_one_that_is_gone_from_its_payload_is_deleted(shelf: Shelf) -> None:
    """catalog 3"""
    shelf.put("oai:1", bibframe("b1", "b2", "b3"), form="bibframe")
    tally = shelf.run()
    assert (tally.read, tally.valid) == (1, 3)
    names = shelf.bibs()
    assert len(names) == 3
    assert sorted(name.partition("#")[0] for name in names) == ["oai:1"] * 3
    assert "oai:1" in names
    assert {shelf.content(name).control_number for name in names} == {"b1", "b2", "b3"}
    shelf.put("oai:1", bibframe("b1", "b2"), form="bibframe")
    shelf.run()
    assert sorted(shelf.bibs().values()) == [False, False, True]
    shelf.put("oai:1", b"<rdf:RDF broken", form="bibframe")
    shelf.run()
    assert sorted(shelf.bibs().values()) == [False, False, True], "a payload that cannot be read takes nothing away"
    shelf.delete("oai:1")
    shelf.run()
    assert sorted(shelf.bibs().values()) == [True, True, True]


# ---------------------------------------------------------------------- gate


def test_a_run_in_which_too_many_fail_is_held_until_an_operator_approves(shelf: Shelf) -> None:
    """catalog 8"""
    shelf.fill(10)
    shelf.run()
    before = shelf.versions()
    shelf.fill(10, failing=5)  # 5 of 10 changed ones fail: 50 %
    for number in range(5, 10):
        shelf.put(f"oai:{number:05d}", xml("245 10 $aChanged.", number=number))
    tally = shelf.run()
    assert tally.held == ["alpha"]
    assert tally.read == 0
    assert "5 of 10 records fail (50.0 %, held from 40 %)" in tally.warnings["alpha"]
    assert shelf.versions() == before, "the former clean records stay as they were"
    assert shelf.run().held == ["alpha"]
    assert [each.kind for each in switches.open_alarms(shelf.database)] == ["validation.held"]
    store = ValidationStore(shelf.database)
    assert store.approve("alpha", by="somebody", reason="they know") == 10
    assert store.approve("alpha", by="somebody", reason="they know") is None
    assert switches.open_alarms(shelf.database) == []
    tally = shelf.run()
    assert (tally.held, tally.valid, tally.quarantined) == ([], 5, 5)


def test_a_run_that_takes_too_many_away_is_held_and_a_smaller_one_only_warned_of(shelf: Shelf) -> None:
    """catalog 8"""
    shelf.fill(40)
    shelf.run()
    shelf.delete(*(f"oai:{number:05d}" for number in range(6)))  # 6 of 40: 15 %
    tally = shelf.run()
    assert (tally.held, tally.deleted) == ([], 6)
    assert tally.warnings == {"alpha": "6 of 40 records are gone (15.0 %, warned from 15 %)"}
    shelf.delete(*(f"oai:{number:05d}" for number in range(10, 21)))  # 11 of 34: 32.4 %
    tally = shelf.run()
    assert (tally.held, tally.deleted) == (["alpha"], 0)
    assert sum(shelf.bibs().values()) == 6


def test_a_held_source_holds_no_other_and_limits_are_those_of_its_policy(shelf: Shelf) -> None:
    """catalog 6, 8"""
    shelf.fill(10, failing=6)
    shelf.fill(10, failing=6, source="beta")
    shelf.fill(3, failing=3, source="gamma")  # too few for an anomaly: quarantine is enough
    limits = {"failure_hold": 70.0, "failure_warn": 60.0}
    tally = shelf.run(Policies(sources={"beta": Statements(gate=limits)}))
    assert tally.held == ["alpha"]
    assert len(shelf.quarantine("beta")) == 6
    assert len(shelf.quarantine("gamma")) == 3
    assert GateLimits().failure_hold == 40


def test_of_very_many_records_a_sample_tells_whether_the_source_is_held(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 8"""
    monkeypatch.setattr("flows.validation.gate.LOOKED_AT", 20)
    shelf.fill(60, failing=45)
    tally = shelf.run()
    assert tally.held == ["alpha"]
    assert "of 60 records one in 3 was looked at" in tally.warnings["alpha"]
    checked = driving.one(shelf.database, "SELECT (figures->>'checked')::int FROM catalog.intake")
    assert 5 < checked < 40


# ------------------------------------------------------------------- workers


def test_a_transaction_that_is_slow_is_never_skipped(shelf: Shelf) -> None:
    """catalog 10"""
    shelf.source("alpha")
    values = {"source": "alpha", "datestamp": "2024-05-01", "deleted": False, "format": "marc21", "digest": b"x"}
    # The first draws its transaction id first and its revision last: it is finished when the second is still under way.
    with shelf.database.connect() as first, shelf.database.connect() as second:
        first.execute(text("SELECT pg_current_xact_id()"))
        second.execute(text(PUT), {**values, "identifier": "oai:slow", "payload": xml(number=1)})
        first.execute(text(PUT), {**values, "identifier": "oai:quick", "payload": xml(number=2)})
        first.commit()
        shelf.run()
        assert shelf.bibs() == {"oai:quick": False}
        second.commit()
    shelf.run()
    assert shelf.bibs() == {"oai:quick": False, "oai:slow": False}


def test_two_workers_share_the_shards_and_do_each_record_once(shelf: Shelf) -> None:
    """catalog 10"""
    shelf.fill(2_400)
    stores = [ValidationStore(shelf.database), ValidationStore(shelf.database)]
    from flows.validation.station import Judges, Tally, work_for

    stores[0].notice()
    judges = Judges(Policies())
    [waiting] = stores[0].waiting()
    stores[0].feed(waiting, shards=8, rules="")
    tallies = [Tally(), Tally()]

    def work(store: ValidationStore, tally: Tally) -> None:
        while work_for(store, Judges(Policies()), None, tally, seconds=60):
            pass

    threads = [threading.Thread(target=work, args=pair) for pair in zip(stores, tallies, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(tally.read for tally in tallies) == 2_400
    assert all(tally.read for tally in tallies), "both had something to do"
    assert len(shelf.bibs()) == 2_400
    stores[0].settle()
    assert driving.one(shelf.database, "SELECT state FROM catalog.intake") == "idle"
    assert judges("alpha", None).source == "alpha"


def test_processes_do_what_one_process_does(shelf: Shelf) -> None:
    """catalog 10"""
    shelf.fill(60, failing=3)
    tally = shelf.run(workers=2)
    assert (tally.read, tally.valid, tally.quarantined) == (60, 57, 3)
    before = shelf.versions()
    again = shelf.run(everything=True)
    assert shelf.versions() == before
    assert again.findings == tally.findings


def test_an_operator_s_pause_keeps_a_source_out_until_it_is_resumed(shelf: Shelf) -> None:
    """operations 5; catalog 7"""
    shelf.fill(3)
    shelf.fill(3, source="beta")
    switches.pause(shelf.database, "source:alpha", "their server moves", "somebody")
    shelf.run()
    assert (len(shelf.bibs()), len(shelf.bibs("beta"))) == (0, 3)
    switches.resume(shelf.database, "source:alpha")
    switches.pause(shelf.database, "group:hosted", "maintenance", "somebody")
    shelf.run()
    assert len(shelf.bibs()) == 0
    switches.resume(shelf.database, "group:hosted")
    shelf.run()
    assert len(shelf.bibs()) == 3


def test_a_pause_takes_hold_between_two_batches(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """operations 5"""
    monkeypatch.setattr("flows.validation.store.BATCH", 5)
    shelf.fill(30)
    store = ValidationStore(shelf.database)
    from flows.validation.station import Judges

    store.notice()
    [waiting] = store.waiting()
    store.feed(waiting, shards=1, rules="")
    judges = Judges(Policies())
    assert store.batch(judges) is not None
    switches.pause(shelf.database, "all", "stop", "somebody")
    assert store.batch(judges) is None
    assert len(shelf.bibs()) == 5
    switches.resume(shelf.database, "all")
    shelf.run()
    assert len(shelf.bibs()) == 30


def test_a_batch_that_breaks_off_is_done_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog 10"""
    shelf.fill(10)

    class Killed(Exception):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(ValidationStore, "_quarantine", kill)
        with pytest.raises(Killed):
            shelf.run()
    assert shelf.bibs() == {}
    shelf.run()
    assert len(shelf.bibs()) == 10


def test_a_newer_rule_set_judges_everything_again_without_a_harvest(shelf: Shelf) -> None:
    """catalog 6, 10"""
    from flows.validation.paths import Path

    shelf.fill(10)
    shelf.put("oai:00003", xml("500 ## $aA note.", number=3))
    shelf.run()
    stricter = Policies(all=Statements(forbid=(Path.read("500"),)))
    assert shelf.run(stricter).read == 0
    tally = shelf.run(stricter, everything=True)
    assert (tally.read, tally.quarantined) == (10, 1)
    assert shelf.quarantine() == ["oai:00003"]
    assert shelf.bibs()["oai:00003"] is False, "the former clean record stays"
    shelf.run(everything=True)
    assert shelf.quarantine() == []


def test_what_an_interrupted_run_left_is_finished_before_everything_is_judged_again(shelf: Shelf) -> None:
    """catalog 10"""
    shelf.fill(10)
    store = ValidationStore(shelf.database)
    store.notice()
    [waiting] = store.waiting()
    store.feed(waiting, shards=1, rules="")  # and then it was killed
    shelf.put("oai:new", xml(number=99))
    assert shelf.run(everything=True).read == 10 + 11
    assert len(shelf.bibs()) == 11
    assert driving.rows(shelf.database, "SELECT state, since FROM catalog.intake") == [("idle", None)]


def test_text_that_postgresql_cannot_hold_is_no_obstacle(shelf: Shelf) -> None:
    """catalog 1, 2"""
    odd = b'{"leader": "00000nam a2200000 i 4500", "fields": [{"001": "a\\u0000b\\ud800"}, '
    odd += b'{"008": "200131s2020    xxu           000 0 eng d"}, {"\\u0000": "x"}, '
    odd += b'{"245": {"ind1": "0", "ind2": "0", "subfields": [{"a": "T\\u0000\\ud800."}]}}]}'
    shelf.put("oai:1", odd, form="marcjson")
    shelf.put("oai:2", xml(number=2))
    tally = shelf.run()
    assert tally.read == 2
    assert "oai:2" in shelf.bibs()
    assert "oai:1" in {**shelf.bibs(), **dict.fromkeys(shelf.quarantine())}
