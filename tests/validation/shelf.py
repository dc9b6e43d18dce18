"""Harvested records for tests of the station: written as the harvest stores them, and looked at as later stations would."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Engine

from flows.catalog.model import BibRecord
from flows.catalog.write import to_marcxml
from flows.validation.policies import Policies
from flows.validation.station import Station, Tally
from tests import driving
from tests.validation.records import DataField, record

PUT = """
INSERT INTO harvest.record AS r (source, identifier, datestamp, deleted, sets, format, payload, digest, run)
VALUES (:source, :identifier, :datestamp, :deleted, '{}', :format, :payload, :digest, 1)
ON CONFLICT (source, identifier) DO UPDATE SET deleted = excluded.deleted, format = excluded.format,
    payload = coalesce(excluded.payload, r.payload), digest = coalesce(excluded.digest, r.digest),
    revision = nextval('harvest.revision'), xid = pg_current_xact_id()
"""
SOURCE = "INSERT INTO harvest.source (name, group_name, identity, configuration) VALUES (:name, :group, '', '{}') ON CONFLICT DO NOTHING"


def xml(*lines: str | DataField, number: int | str = 1, **controls: str) -> bytes:
    """A record as a source sends it; right unless the lines say otherwise."""
    return to_marcxml(record(*lines, **{"c001": str(number), **controls}))


def bad(number: int | str = 1) -> bytes:
    """A record with an error: its title is missing."""
    return to_marcxml(record(bare=True, c001=str(number), c008="200131s2020    xxu           000 0 eng d"))


class Shelf:
    """A database with harvested records."""

    def __init__(self, database: Engine) -> None:
        self.database = database

    def source(self, *names: str, group: str = "hosted") -> None:
        for name in names:
            driving.do(self.database, SOURCE, name=name, group=group)

    def put(
        self,
        identifier: str,
        payload: bytes | None,
        *,
        source: str = "alpha",
        form: str = "marc21",
        deleted: bool = False,
        stamp: str = "2024-05-01",
    ) -> None:
        self.source(source)
        digest = None if payload is None else hashlib.sha256(payload).digest()
        values = {"source": source, "identifier": identifier, "datestamp": stamp, "deleted": deleted, "format": form, "payload": payload}
        driving.do(self.database, PUT, **values, digest=digest)

    def fill(self, count: int, *, source: str = "alpha", failing: int = 0, start: int = 0) -> None:
        """So many right records, the first of them failing, if wanted."""
        self.source(source)
        with self.database.begin() as connection:
            for number in range(start, start + count):
                payload = bad(number) if number < start + failing else xml(number=number)
                values = {"source": source, "identifier": f"oai:{number:05d}", "datestamp": "2024-05-01", "deleted": False}
                digest = hashlib.sha256(payload).digest()
                connection.execute(text(PUT), {**values, "format": "marc21", "payload": payload, "digest": digest})

    def delete(self, *identifiers: str, source: str = "alpha") -> None:
        for identifier in identifiers:
            self.put(identifier, None, source=source, deleted=True)

    def run(self, policies: Policies | None = None, **options: Any) -> Tally:
        """A run of the station."""
        secret = options.pop("secret", None)
        workers = options.pop("workers", 1)
        station = Station(database=self.database, policies=policies or Policies(), secret=secret, workers=workers)
        return station.run(options.pop("sources", None), **options)

    def bibs(self, source: str = "alpha") -> dict[str, bool]:
        """Identifier and deletion of clean records."""
        rows = driving.rows(self.database, "SELECT identifier, deleted FROM catalog.bib WHERE source = :source", source=source)
        return {str(identifier): bool(deleted) for identifier, deleted in rows}

    def versions(self) -> list[tuple[Any, ...]]:
        """Everything that a write would change, with the transactions that wrote it."""
        found = []
        for table in ("bib", "finding", "quarantine"):
            found += driving.rows(self.database, f"SELECT '{table}', t.xmin::text, t::text FROM catalog.{table} t ORDER BY 3")
        return found

    def quarantine(self, source: str = "alpha") -> list[str]:
        rows = driving.rows(
            self.database,
            "SELECT identifier FROM catalog.quarantine WHERE source = :source AND released_at IS NULL ORDER BY 1",
            source=source,
        )
        return [str(row[0]) for row in rows]

    def content(self, identifier: str, source: str = "alpha") -> BibRecord:
        from flows.catalog.model import from_json

        statement = "SELECT content FROM catalog.bib WHERE source = :source AND identifier = :identifier"
        return from_json(driving.one(self.database, statement, source=source, identifier=identifier))
