"""Reads past passes from the ledger. Nothing is written here."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import Engine

from harvester.simulation import Shape

# The last complete full pass of every source that is still configured, or its last complete delta when it has no full
# pass; all windows of that pass together. The ledger's seconds are kept for ever, but include requests that failed;
# the log of pages has each answer by itself, and is pruned after some days, so it is preferred while it is there.
LAST_PASSES: Final = """
WITH chosen AS (
    SELECT DISTINCT ON (r.source) r.source, r.pass_id
    FROM harvest.run r JOIN harvest.source s ON s.name = r.source AND NOT s.removed
    WHERE r.state = 'complete' AND r.kind IN ('full', 'delta') AND r.pages > 0
    ORDER BY r.source, (r.kind = 'full') DESC, r.started_at DESC, r.id DESC),
totals AS (
    SELECT r.source, sum(r.pages) AS pages, sum(r.records + r.failures) AS records, sum(r.seconds) AS seconds,
           bool_and(r.kind = 'delta') AS delta, array_agg(r.id) AS runs
    FROM harvest.run r JOIN chosen USING (source, pass_id) WHERE r.kind IN ('full', 'delta') GROUP BY r.source)
SELECT t.source, t.pages, t.records, t.delta,
       coalesce((SELECT avg(p.milliseconds) FROM harvest.page p WHERE p.source = t.source AND p.run = ANY(t.runs)),
                1000.0 * t.seconds / t.pages) AS milliseconds
FROM totals t ORDER BY t.source"""


def last_passes(database: Engine) -> dict[str, Shape]:
    """The shape of the last complete pass of every source that has one, by name.

    A full pass is preferred to a delta, because a simulation asks what a whole harvest would take. Latencies are means.
    Raises the errors of ``db.errors``.
    """
    with database.connect() as connection:
        rows = connection.execute(text(LAST_PASSES)).all()
    return {
        row.source: Shape(
            records=int(row.records), pages=int(row.pages), latency=max(0.0, float(row.milliseconds)) / 1000.0, delta=bool(row.delta)
        )
        for row in rows
    }
