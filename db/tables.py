"""The whole data model on one page: one PostgreSQL schema per station, one writer per table.

==========  =====================================================  ====================
schema      tables                                                 the only writer
==========  =====================================================  ====================
harvest     source, run, page, record, failure, deletion, seen     flows.harvest.store
catalog     bib, finding, quarantine, intake, station_cursor,      flows.validation.store
            quality_day, purge
ops         switch, alarm                                          db.switches
==========  =====================================================  ====================

Alembic's migrations (``db/migrations``) are proven equal to these tables by a test. Two things stand only in the
migrations because SQLAlchemy has no words for them: the hash partitions of ``harvest.record`` and the compression
of its payload.

Times are ``timestamptz``. Datestamps of OAI headers are text, exactly as the repository gave them, because their
granularity is part of what they say.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

RECORD_PARTITIONS: Final = 16  # hash partitions of harvest.record: one autovacuum worker each, small enough to vacuum in a pause

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# Autovacuum settings, as storage parameters of each table. Few-row tables that are updated with every page are
# vacuumed early and keep room on their pages for HOT updates; the big partitions are vacuumed by count rather than by
# the default fifth of the table, which for ten million rows would mean two million dead ones.
HOT_STATE: Final = {
    "fillfactor": "50",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "500",
    "autovacuum_vacuum_cost_delay": "0",
}
BIG_PARTITION: Final = {
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_insert_scale_factor": "0.1",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_delay": "1",
}
CHURN: Final = {"autovacuum_vacuum_scale_factor": "0.05", "autovacuum_vacuum_threshold": "1000"}

STORAGE_PARAMETERS: Final[dict[str, dict[str, str]]] = {
    "harvest.source": HOT_STATE,
    "harvest.run": HOT_STATE,
    "harvest.page": CHURN,
    "harvest.failure": CHURN,
    "harvest.deletion": CHURN,
    "harvest.seen": CHURN,
    "catalog.bib": CHURN,
    "catalog.finding": CHURN,
    "catalog.quarantine": CHURN,
    "catalog.intake": HOT_STATE,
    "catalog.station_cursor": HOT_STATE,
    **{f"harvest.record_{n:02d}": BIG_PARTITION for n in range(RECORD_PARTITIONS)},
}


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id, which never wraps round."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


metadata: Final = MetaData(naming_convention=NAMING)


def moment(name: str, **kwargs: Any) -> Column[Any]:
    """A column that holds an instant."""
    return Column(name, DateTime(timezone=True), **kwargs)


def counter(name: str) -> Column[Any]:
    """A column that counts from 0."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


# ------------------------------------------------------------------ harvest

revision: Final = Sequence("revision", schema="harvest", metadata=metadata)

source: Final = Table(
    "source",
    metadata,
    Column("name", Text, primary_key=True),
    Column("group_name", Text, nullable=False),
    Column("identity", Text, nullable=False, comment="digest of what makes it the same list of records: url, prefix, sets"),
    Column("configuration", JSONB, nullable=False, comment="as last seen, secrets as references"),
    Column("removed", Boolean, nullable=False, server_default=text("false"), comment="no longer in the configuration"),
    Column("repository", JSONB, comment="what Identify said last"),
    moment("watermark", comment="responseDate at the start of the last completed pass"),
    Column("pass", JSONB, comment="the unfinished pass: its windows, position and token; null between passes"),
    Column("full_due", Boolean, nullable=False, server_default=text("false"), comment="an operator or drift asked for a full pass"),
    moment("due_at"),
    Column("since_pause", BigInteger, nullable=False, server_default=text("0"), comment="records since the last pause"),
    moment("paused_until"),
    moment("waiting_until"),
    Column("attempt", Integer, nullable=False, server_default=text("0"), comment="of the request that is waited for"),
    Column("blocked", Text, comment="why no request is sent until an operator resumes it"),
    Column("failures_in_a_row", Integer, nullable=False, server_default=text("0"), comment="passes that failed since one succeeded"),
    Column("error", Text, comment="the last failure of a pass; null after a success"),
    Column("warning", Text, comment="what an operator should know although passes succeed"),
    moment("last_success"),
    moment("last_full"),
    moment("last_sweep"),
    counter("live"),
    counter("deleted"),
    Column(
        "seen",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="rows of harvest.seen this pass wrote: an emptied side table is noticed",
    ),
    Column("owner", Text, comment="the engine that may write; fences off one that lost its group"),
    Column(
        "epoch",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="grows when a command changes the course; fences off pages of the old one",
    ),
    moment("updated_at", nullable=False, server_default=func.now()),
    schema="harvest",
)

run: Final = Table(
    "run",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("pass_id", Text, nullable=False, comment="the windows of one pass share it"),
    Column("number", Integer, nullable=False, comment="of the window in its pass"),
    Column("kind", Text, nullable=False, comment="delta | full | sweep | repair"),
    moment("since", comment="inclusive; null: from the beginning"),
    moment("until", comment="inclusive as sent; null: open"),
    Column("state", Text, nullable=False, comment="running | complete | held | failed | gap | replaced"),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    counter("records"),
    counter("new"),
    counter("changed"),
    counter("unchanged"),
    counter("deleted"),
    counter("failures"),
    counter("outside"),
    counter("pages"),
    counter("bytes"),
    Column("seconds", Float, nullable=False, server_default=text("0")),
    Column("complete_list_size", BigInteger),
    moment("started_at", nullable=False, server_default=func.now()),
    moment("finished_at"),
    Column("error", Text),
    UniqueConstraint("pass_id", "number"),
    Index(None, "source", "started_at"),
    schema="harvest",
)

page: Final = Table(
    "page",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("run", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    moment("at", nullable=False, server_default=func.now()),
    Column("verb", Text, nullable=False),
    Column("records", Integer, nullable=False),
    Column("new", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("milliseconds", Float, nullable=False),
    Column("token", Text, comment="the resumption token that was sent; null for the first page"),
    Index(None, "source", "at"),
    schema="harvest",
)

record: Final = Table(
    "record",
    metadata,
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("datestamp", Text, nullable=False, comment="as the repository gave it"),
    Column("deleted", Boolean, nullable=False),
    Column("sets", ARRAY(Text), nullable=False),
    Column("format", Text, nullable=False, comment="the metadataPrefix it was asked with"),
    Column("payload", LargeBinary, comment="as harvested, byte for byte; of a deleted record the last one known"),
    Column("digest", LargeBinary, comment="SHA-256 of the payload"),
    Column("revision", BigInteger, nullable=False, server_default=revision.next_value()),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("run", BigInteger, nullable=False),
    moment("harvested_at", nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("source", "identifier"),
    Index(None, "revision"),
    schema="harvest",
    postgresql_partition_by="HASH (source)",
)

failure: Final = Table(
    "failure",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False, comment="of the header; unidentified:DIGEST where it cannot be read"),
    Column("run", BigInteger, nullable=False),
    moment("at", nullable=False, server_default=func.now()),
    Column("place", Text, nullable=False, comment="verb, number of the record in its page, byte offset"),
    Column("reason", Text, nullable=False),
    Column("snippet", Text, nullable=False, comment="at most 500 characters around the place"),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    UniqueConstraint("source", "identifier"),
    schema="harvest",
)

deletion: Final = Table(
    "deletion",
    metadata,
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("datestamp", Text, comment="of the tombstone; null when the record merely vanished"),
    Column("reason", Text, nullable=False, comment="tombstone | unseen | vanished"),
    Column("run", BigInteger, nullable=False),
    Column("held", Boolean, nullable=False, server_default=text("false"), comment="waits for an operator"),
    moment("noted_at", nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("source", "identifier"),
    schema="harvest",
)

seen: Final = Table(
    "seen",
    metadata,
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    PrimaryKeyConstraint("source", "identifier"),
    schema="harvest",
    prefixes=["UNLOGGED"],
)

# ------------------------------------------------------------------ catalog

catalog_revision: Final = Sequence("revision", schema="catalog", metadata=metadata)

bib: Final = Table(
    "bib",
    metadata,
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False, comment="the origin; of further instances in one payload origin#control number"),
    Column("origin", Text, nullable=False, comment="identifier in harvest.record"),
    Column("control_number", Text),
    Column("deleted", Boolean, nullable=False),
    Column("content", Text, comment="canonical JSON after the scrubber; null when purged"),
    Column("digest", Text, comment="SHA-256 of what the record says, in hexadecimal digits"),
    Column("score", Integer, comment="completeness, 0 to 100"),
    Column("rules", Text, nullable=False, comment="version of rules, readers and policy that let it pass"),
    Column("harvested", BigInteger, nullable=False, comment="revision in harvest.record"),
    Column("revision", BigInteger, nullable=False),
    Column("xid", Xid8, nullable=False),
    moment("updated_at", nullable=False),
    PrimaryKeyConstraint("source", "identifier"),
    Index(None, "source", "origin"),
    Index(None, "revision"),
    schema="catalog",
)

finding: Final = Table(
    "finding",
    metadata,
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("position", Integer, nullable=False, comment="among the findings of the record, from 0"),
    Column("origin", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("value", Text, nullable=False, comment="the shape of a value, never the value"),
    Column("link", Text, nullable=False),
    PrimaryKeyConstraint("source", "identifier", "position"),
    Index(None, "source", "origin"),
    schema="catalog",
)

quarantine: Final = Table(
    "quarantine",
    metadata,
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="the rules that failed and where, without values"),
    Column("errors", Integer, nullable=False),
    Column("digest", Text, comment="of the record after the scrubber; null when it cannot be read"),
    Column("harvested", BigInteger, nullable=False, comment="revision in harvest.record"),
    Column("rules", Text, nullable=False),
    moment("entered_at", nullable=False),
    moment("released_at", comment="it passes in spite of its errors as long as its digest is this"),
    Column("released_by", Text),
    Column("released_because", Text),
    PrimaryKeyConstraint("source", "identifier"),
    Index(None, "source", "origin"),
    schema="catalog",
)

intake: Final = Table(
    "intake",
    metadata,
    Column("source", Text, primary_key=True),
    Column("state", Text, nullable=False, comment="idle | pending | held | approved | feeding"),
    Column("since", BigInteger, comment="changes after this revision wait; null: none"),
    Column("upto", BigInteger, comment="and up to this one"),
    Column("waiting", BigInteger, nullable=False, comment="how many, when they were noticed"),
    Column("gate", Text, comment="open | warn | hold: the last decision"),
    Column("reason", Text, comment="of the decision"),
    Column("figures", JSONB, comment="that it rests on"),
    Column("rules", Text, comment="version of rules, readers and policy that the source was fed with last"),
    moment("decided_at"),
    Column("approved_by", Text),
    Column("approved_because", Text),
    schema="catalog",
)

station_cursor: Final = Table(
    "station_cursor",
    metadata,
    Column("source", Text, nullable=False, comment="empty: what is noticed in harvest.record, over all sources"),
    Column("shard", Integer, nullable=False),
    Column("shards", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False, comment="everything up to it is done"),
    Column("upto", BigInteger, comment="where the shard ends"),
    Column("horizon", Xid8, comment="transactions that were under way, or still to come, when this was read"),
    moment("updated_at", nullable=False),
    PrimaryKeyConstraint("source", "shard"),
    schema="catalog",
)

quality_day: Final = Table(
    "quality_day",
    metadata,
    Column("source", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("records", BigInteger, nullable=False, comment="clean ones"),
    Column("quarantined", BigInteger, nullable=False),
    Column("warned", BigInteger, nullable=False),
    Column("score", Float, comment="mean completeness of the clean ones"),
    Column("findings", JSONB, nullable=False, comment="by category/code: [instances, records]"),
    PrimaryKeyConstraint("source", "day"),
    schema="catalog",
)

purge: Final = Table(
    "purge",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    moment("at", nullable=False),
    Column("places", JSONB, nullable=False, comment="rows removed, by table"),
    schema="catalog",
)

# ---------------------------------------------------------------------- ops

switch: Final = Table(
    "switch",
    metadata,
    Column("scope", Text, primary_key=True, comment="all, group:NAME, source:NAME or target:NAME"),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    moment("since", nullable=False, server_default=func.now()),
    schema="ops",
)

alarm: Final = Table(
    "alarm",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False, comment="such as source.blocked or delete.held"),
    Column("scope", Text, nullable=False),
    Column("message", Text, nullable=False),
    moment("raised_at", nullable=False, server_default=func.now()),
    moment("cleared_at"),
    Index("uq_alarm_open", "kind", "scope", unique=True, postgresql_where=text("cleared_at IS NULL")),
    schema="ops",
)
