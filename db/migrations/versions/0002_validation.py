"""Validation: clean records, findings, quarantine, intake, cursors, quality by day, purges."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

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
    "catalog.bib": CHURN,
    "catalog.finding": CHURN,
    "catalog.quarantine": CHURN,
    "catalog.intake": HOT_STATE,
    "catalog.station_cursor": HOT_STATE,
}


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id."""

    def get_col_spec(self, **_: Any) -> str:
        """Its name in SQL."""
        return "xid8"


def upgrade() -> None:
    """Create everything of the schema catalog."""
    op.execute("CREATE SCHEMA IF NOT EXISTS catalog")
    op.execute("CREATE SEQUENCE catalog.revision")
    op.create_table(
        "bib",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False, comment="the origin; of further instances in one payload origin#control number"),
        sa.Column("origin", sa.Text(), nullable=False, comment="identifier in harvest.record"),
        sa.Column("control_number", sa.Text()),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("content", sa.Text(), comment="canonical JSON after the scrubber; null when purged"),
        sa.Column("digest", sa.Text(), comment="SHA-256 of what the record says, in hexadecimal digits"),
        sa.Column("score", sa.Integer(), comment="completeness, 0 to 100"),
        sa.Column("rules", sa.Text(), nullable=False, comment="version of rules, readers and policy that let it pass"),
        sa.Column("harvested", sa.BigInteger(), nullable=False, comment="revision in harvest.record"),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("xid", Xid8(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "identifier", name="pk_bib"),
        schema="catalog",
    )
    op.create_index("ix_bib_source_origin", "bib", ["source", "origin"], schema="catalog")
    op.create_index("ix_bib_revision", "bib", ["revision"], schema="catalog")
    op.create_table(
        "finding",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, comment="among the findings of the record, from 0"),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False, comment="the shape of a value, never the value"),
        sa.Column("link", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "identifier", "position", name="pk_finding"),
        schema="catalog",
    )
    op.create_index("ix_finding_source_origin", "finding", ["source", "origin"], schema="catalog")
    op.create_table(
        "quarantine",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="the rules that failed and where, without values"),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), comment="of the record after the scrubber; null when it cannot be read"),
        sa.Column("harvested", sa.BigInteger(), nullable=False, comment="revision in harvest.record"),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), comment="it passes in spite of its errors as long as its digest is this"),
        sa.Column("released_by", sa.Text()),
        sa.Column("released_because", sa.Text()),
        sa.PrimaryKeyConstraint("source", "identifier", name="pk_quarantine"),
        schema="catalog",
    )
    op.create_index("ix_quarantine_source_origin", "quarantine", ["source", "origin"], schema="catalog")
    op.create_table(
        "intake",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="idle | pending | held | approved | feeding"),
        sa.Column("since", sa.BigInteger(), comment="changes after this revision wait; null: none"),
        sa.Column("upto", sa.BigInteger(), comment="and up to this one"),
        sa.Column("waiting", sa.BigInteger(), nullable=False, comment="how many, when they were noticed"),
        sa.Column("gate", sa.Text(), comment="open | warn | hold: the last decision"),
        sa.Column("reason", sa.Text(), comment="of the decision"),
        sa.Column("figures", JSONB(), comment="that it rests on"),
        sa.Column("rules", sa.Text(), comment="version of rules, readers and policy that the source was fed with last"),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("approved_by", sa.Text()),
        sa.Column("approved_because", sa.Text()),
        sa.PrimaryKeyConstraint("source", name="pk_intake"),
        schema="catalog",
    )
    op.create_table(
        "station_cursor",
        sa.Column("source", sa.Text(), nullable=False, comment="empty: what is noticed in harvest.record, over all sources"),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="everything up to it is done"),
        sa.Column("upto", sa.BigInteger(), comment="where the shard ends"),
        sa.Column("horizon", Xid8(), comment="transactions that were under way, or still to come, when this was read"),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "shard", name="pk_station_cursor"),
        schema="catalog",
    )
    op.create_table(
        "quality_day",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False, comment="clean ones"),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("warned", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(), comment="mean completeness of the clean ones"),
        sa.Column("findings", JSONB(), nullable=False, comment="by category/code: [instances, records]"),
        sa.PrimaryKeyConstraint("source", "day", name="pk_quality_day"),
        schema="catalog",
    )
    op.create_table(
        "purge",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("places", JSONB(), nullable=False, comment="rows removed, by table"),
        sa.PrimaryKeyConstraint("id", name="pk_purge"),
        schema="catalog",
    )
    # A server that was built without LZ4 keeps its default method.
    supported = sa.text("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
    if op.get_bind().execute(supported).scalar():
        op.execute("ALTER TABLE catalog.bib ALTER COLUMN content SET COMPRESSION lz4")
    for table, values in STORAGE.items():
        op.execute(f"ALTER TABLE {table} SET ({', '.join(f'{name} = {value}' for name, value in values.items())})")


def downgrade() -> None:
    """Remove it again, with all data."""
    op.execute("DROP SCHEMA catalog CASCADE")
