"""The same repositories harvested by sickle: the same identifiers, datestamps and deletions."""

from __future__ import annotations

from typing import Any

import pytest
from sickle import Sickle
from sqlalchemy.engine import Engine as Database

from harvester import oai
from tests.driving import configuration, harvest, stored
from tests.fakes.oai import DAYS, Consortium, Repository

PEERS: dict[str, dict[str, Any]] = {
    "as the protocol asks": {},
    "days": {"granularity": DAYS},
    "single-use tokens": {"token": "single-use"},
    "absent last token": {"end_style": "absent"},
    "sets": {"sets": ("books", "maps")},
    "no deletions": {"deleted_record": "no"},
}


@pytest.mark.parametrize("peer", PEERS)
def test_sickle_and_the_harvester_see_the_same_repository(database: Database, peer: str) -> None:
    """harvest 10, 12, 19, 20"""
    with Consortium([Repository(name="alpha", records=333, deleted_share=0.15, page_size=40, **PEERS[peer])]) as consortium:
        sickle = Sickle(consortium.url("alpha"))
        headers = [record.header for record in sickle.ListRecords(metadataPrefix="marc21")]
        sickle.session.close() if hasattr(sickle, "session") else None
        harvest(configuration(consortium, "alpha"), database)
        theirs = {header.identifier: (oai.parse_moment(header.datestamp), header.deleted) for header in headers}
        ours = {identifier: (datestamp, deleted) for identifier, (datestamp, deleted, _) in stored(database, "alpha").items()}
        assert ours == theirs
        assert len(ours) > 250
