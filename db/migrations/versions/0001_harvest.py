"""Harvest: sources, windows, pages, records, failures and deletions; operator switches and alarms."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTITIONS = 16

# Storage parameters as they were in this step.
HOT_STATE = {
    "fillfactor": "50",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "500",
    "autovacuum_vacuum_cost_delay": "0",
}
CHURN = {
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_vacuum_threshold": "1000",
}
STORAGE = {
    "harvest.source": HOT_STATE,
    "harvest.run": HOT_STATE,
    "harvest.page": CHURN,
    "harvest.failure": CHURN,
    "harvest.deletion": CHURN,
    "harvest.seen": CHURN,
}
PARTITION_STORAGE = {
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_insert_scale_factor": "0.1",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_delay": "1",
}


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id."""

    def get_col_spec(self, **_: Any) -> str:
        """Its name in SQL."""
        return "xid8"


def upgrade() -> None:
    """Create everything of the schemas harvest and ops."""
    op.execute("CREATE SCHEMA IF NOT EXISTS harvest")
    op.execute("CREATE SCHEMA IF NOT EXISTS ops")
    op.execute("CREATE SEQUENCE harvest.revision")
    op.create_table(
        "source",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False, comment="digest of what makes it the same list of records: url, prefix, sets"),
        sa.Column("configuration", JSONB(), nullable=False, comment="as last seen, secrets as references"),
        sa.Column("removed", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="no longer in the configuration"),
        sa.Column("repository", JSONB(), comment="what Identify said last"),
        sa.Column("watermark", sa.DateTime(timezone=True), comment="responseDate at the start of the last completed pass"),
        sa.Column("pass", JSONB(), comment="the unfinished pass: its windows, position and token; null between passes"),
        sa.Column(
            "full_due", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="an operator or drift asked for a full pass"
        ),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("since_pause", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="records since the last pause"),
        sa.Column("paused_until", sa.DateTime(timezone=True)),
        sa.Column("waiting_until", sa.DateTime(timezone=True)),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="of the request that is waited for"),
        sa.Column("blocked", sa.Text(), comment="why no request is sent until an operator resumes it"),
        sa.Column(
            "failures_in_a_row", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="passes that failed since one succeeded"
        ),
        sa.Column("error", sa.Text(), comment="the last failure of a pass; null after a success"),
        sa.Column("warning", sa.Text(), comment="what an operator should know although passes succeed"),
        sa.Column("last_success", sa.DateTime(timezone=True)),
        sa.Column("last_full", sa.DateTime(timezone=True)),
        sa.Column("last_sweep", sa.DateTime(timezone=True)),
        sa.Column("live", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "seen",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="rows of harvest.seen this pass wrote: an emptied side table is noticed",
        ),
        sa.Column("owner", sa.Text(), comment="the engine that may write; fences off one that lost its group"),
        sa.Column(
            "epoch",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="grows when a command changes the course; fences off pages of the old one",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_source"),
        schema="harvest",
    )
    op.create_table(
        "run",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("pass_id", sa.Text(), nullable=False, comment="the windows of one pass share it"),
        sa.Column("number", sa.Integer(), nullable=False, comment="of the window in its pass"),
        sa.Column("kind", sa.Text(), nullable=False, comment="delta | full | sweep | repair"),
        sa.Column("since", sa.DateTime(timezone=True), comment="inclusive; null: from the beginning"),
        sa.Column("until", sa.DateTime(timezone=True), comment="inclusive as sent; null: open"),
        sa.Column("state", sa.Text(), nullable=False, comment="running | complete | held | failed | gap | replaced"),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("records", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("new", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("unchanged", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("outside", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pages", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("complete_list_size", sa.BigInteger()),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("pass_id", "number", name="uq_run_pass_id_number"),
        schema="harvest",
    )
    op.create_index("ix_run_source_started_at", "run", ["source", "started_at"], schema="harvest")
    op.create_table(
        "page",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.Float(), nullable=False),
        sa.Column("token", sa.Text(), comment="the resumption token that was sent; null for the first page"),
        sa.PrimaryKeyConstraint("id", name="pk_page"),
        schema="harvest",
    )
    op.create_index("ix_page_source_at", "page", ["source", "at"], schema="harvest")
    op.create_table(
        "record",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("datestamp", sa.Text(), nullable=False, comment="as the repository gave it"),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("sets", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("format", sa.Text(), nullable=False, comment="the metadataPrefix it was asked with"),
        sa.Column("payload", sa.LargeBinary(), comment="as harvested, byte for byte; of a deleted record the last one known"),
        sa.Column("digest", sa.LargeBinary(), comment="SHA-256 of the payload"),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("nextval('harvest.revision')"), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("harvested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source", "identifier", name="pk_record"),
        schema="harvest",
        postgresql_partition_by="HASH (source)",
    )
    op.create_index("ix_record_revision", "record", ["revision"], schema="harvest")
    op.create_table(
        "failure",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False, comment="of the header; unidentified:DIGEST where it cannot be read"),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("place", sa.Text(), nullable=False, comment="verb, number of the record in its page, byte offset"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("snippet", sa.Text(), nullable=False, comment="at most 500 characters around the place"),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_failure"),
        sa.UniqueConstraint("source", "identifier", name="uq_failure_source_identifier"),
        schema="harvest",
    )
    op.create_table(
        "deletion",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("datestamp", sa.Text(), comment="of the tombstone; null when the record merely vanished"),
        sa.Column("reason", sa.Text(), nullable=False, comment="tombstone | unseen | vanished"),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="waits for an operator"),
        sa.Column("noted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source", "identifier", name="pk_deletion"),
        schema="harvest",
    )
    op.create_table(
        "seen",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "identifier", name="pk_seen"),
        schema="harvest",
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "switch",
        sa.Column("scope", sa.Text(), nullable=False, comment="all, group:NAME, source:NAME or target:NAME"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_switch"),
        schema="ops",
    )
    op.create_table(
        "alarm",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="such as source.blocked or delete.held"),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_alarm"),
        schema="ops",
    )
    op.create_index("uq_alarm_open", "alarm", ["kind", "scope"], unique=True, schema="ops", postgresql_where=sa.text("cleared_at IS NULL"))
    # A server that was built without LZ4 keeps its default method.
    connection = op.get_bind()
    supported = sa.text("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
    lz4 = bool(connection.execute(supported).scalar())
    if lz4:
        op.execute("ALTER TABLE harvest.record ALTER COLUMN payload SET COMPRESSION lz4")
    for n in range(PARTITIONS):
        op.execute(
            f"CREATE TABLE harvest.record_{n:02d} PARTITION OF harvest.record "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {n}) WITH ({parameters(PARTITION_STORAGE)})"
        )
        if lz4:  # partitions inherit it since PostgreSQL 17 only
            op.execute(f"ALTER TABLE harvest.record_{n:02d} ALTER COLUMN payload SET COMPRESSION lz4")
    for table, values in STORAGE.items():
        op.execute(f"ALTER TABLE {table} SET ({parameters(values)})")


def parameters(values: dict[str, str]) -> str:
    """As they stand in WITH and SET."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def downgrade() -> None:
    """Remove it again, with all data; the schema ops stays, it holds Alembic's own table."""
    op.drop_table("alarm", schema="ops")
    op.drop_table("switch", schema="ops")
    op.execute("DROP SCHEMA harvest CASCADE")
