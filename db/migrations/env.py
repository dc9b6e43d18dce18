"""Called by Alembic: runs the migrations on the connection of ``run``, in the transaction that is open there."""

from __future__ import annotations

from alembic import context

from db.migrations.run import VERSION_SCHEMA
from db.tables import metadata

connection = context.config.attributes["connection"]
if connection is None:
    raise RuntimeError("migrations are run by `windrow db upgrade`, which opens the connection")
context.configure(connection=connection, target_metadata=metadata, version_table_schema=VERSION_SCHEMA, include_schemas=True)
context.run_migrations()
