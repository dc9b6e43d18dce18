"""What others do with the same repositories and the same database, and the floor below which nobody gets.

``orm``      sickle, each record merged through SQLAlchemy's ORM, a commit after each page: what harvesting scripts do
``upsert``   sickle, each page as one INSERT ... ON CONFLICT of many rows: what careful harvesting scripts do
``floor``    no HTTP and no loop: pages in memory, lxml, COPY and merge into Windrow's own table, one after the other

The two loops write into a plain table of their own, without partitions and without a second index. Like Windrow's, their
commits of pages do not wait for the disk.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from lxml import etree
from sickle import Sickle
from sickle.models import Record
from sqlalchemy import ARRAY, Boolean, LargeBinary, Text, event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.walk import pages
from db.engine import connect
from flows.harvest import statements
from flows.harvest.store import STAGE_COLUMNS, driver

OAI: Final = "{http://www.openarchives.org/OAI/2.0/}"


class Base(DeclarativeBase):
    """The tables of the peers."""


class Held(Base):
    """A record, as both loops keep it."""

    __tablename__ = "bench_record"

    source: Mapped[str] = mapped_column(Text, primary_key=True)
    identifier: Mapped[str] = mapped_column(Text, primary_key=True)
    datestamp: Mapped[str] = mapped_column(Text)
    deleted: Mapped[bool] = mapped_column(Boolean)
    sets: Mapped[list[str]] = mapped_column(ARRAY(Text))
    payload: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[bytes | None] = mapped_column(LargeBinary)


def _prepared() -> Engine:
    engine = connect(pool_size=1, application_name="windrow-bench-peer")
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SET LOCAL synchronous_commit = off"))
    return engine


def _values(source: str, record: Record) -> dict[str, Any]:
    payload = None if record.deleted else record.raw
    return {
        "source": source,
        "identifier": record.header.identifier,
        "datestamp": record.header.datestamp,
        "deleted": record.deleted,
        "sets": list(record.header.setSpecs),
        "payload": payload,
        "digest": hashlib.sha256(payload.encode()).digest() if payload is not None else None,
    }


def _listed(task: dict[str, Any]) -> Iterator[tuple[str, Iterator[Record]]]:
    for name, url in task["urls"].items():
        yield name, Sickle(url).ListRecords(metadataPrefix="marc21", ignore_deleted=False)


def orm(task: dict[str, Any]) -> dict[str, Any]:
    """Each record by ``session.merge``, a commit after each page."""
    engine = _prepared()
    count, began = 0, time.time()
    with Session(engine) as session:
        for name, records in _listed(task):
            while page := list(islice(records, task["page_size"])):
                for record in page:
                    session.merge(Held(**_values(name, record)))
                session.commit()
                count += len(page)
    return {"records": count, "seconds": time.time() - began}


def upsert(task: dict[str, Any]) -> dict[str, Any]:
    """Each page by one INSERT ... ON CONFLICT DO UPDATE of all its rows, and a commit."""
    engine = _prepared()
    count, began = 0, time.time()
    statement = insert(Held)
    changed = {name: statement.excluded[name] for name in ("datestamp", "deleted", "sets", "payload", "digest")}
    statement = statement.on_conflict_do_update(index_elements=["source", "identifier"], set_=changed)
    for name, records in _listed(task):
        while page := list(islice(records, task["page_size"])):
            with engine.begin() as connection:
                connection.execute(statement, [_values(name, record) for record in page])
            count += len(page)
    return {"records": count, "seconds": time.time() - began}


def floor(task: dict[str, Any]) -> dict[str, Any]:
    """Parse with lxml, COPY into a staging table, merge into harvest.record; nothing else, and nothing at the same time."""
    engine = connect(pool_size=1, application_name="windrow-bench-floor")
    fetched = {name: list(pages(url)) for name, url in task["urls"].items()}
    count, began = 0, time.time()
    for name, bodies in fetched.items():
        for body in bodies:
            rows = []
            for record in etree.fromstring(body).iter(f"{OAI}record"):
                header, metadata = record.find(f"{OAI}header"), record.find(f"{OAI}metadata")
                if header is None:
                    continue
                payload = etree.tostring(metadata[0]) if metadata is not None else None
                digest = hashlib.sha256(payload).digest() if payload is not None else None
                sets = [element.text for element in header.findall(f"{OAI}setSpec")]
                identifier, datestamp = header.findtext(f"{OAI}identifier"), header.findtext(f"{OAI}datestamp")
                rows.append((identifier, datestamp, header.get("status") == "deleted", sets, payload, digest))
            with engine.begin() as connection, driver(connection).cursor() as cursor:
                cursor.execute(statements.NO_WAIT)
                cursor.execute(statements.STAGE)
                with cursor.copy(statements.COPY) as copy:
                    copy.set_types(STAGE_COLUMNS)
                    for row in rows:
                        copy.write_row(row)
                cursor.execute(statements.MERGE, {"source": name, "format": "marc21", "run": 0})
            count += len(rows)
    return {"records": count, "seconds": time.time() - began}
