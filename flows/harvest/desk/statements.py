"""The SQL of the operator's desk, each statement with a name and a sentence. Parameters are psycopg's."""

from __future__ import annotations

from typing import Final

# ------------------------------------------------------------------ looking

# Sources with what belongs to them; names null: all of them.
SOURCES: Final = """
SELECT s.name, s.group_name, s.removed, s.repository, s.watermark, s.pass, s.full_due, s.due_at, s.since_pause, s.paused_until,
       s.waiting_until, s.attempt, s.blocked, s.failures_in_a_row, s.error, s.warning, s.last_success, s.last_full, s.live, s.deleted,
       coalesce(f.count, 0), coalesce(d.count, 0)
FROM harvest.source s
LEFT JOIN (SELECT source, count(*) FROM harvest.failure GROUP BY source) f ON f.source = s.name
LEFT JOIN (SELECT source, count(*) FROM harvest.deletion WHERE held GROUP BY source) d ON d.source = s.name
WHERE %(names)s::text[] IS NULL OR s.name = ANY(%(names)s)
ORDER BY s.name"""

# Groups whose advisory lock somebody holds: an engine that is alive. A lock of two words is one bigint.
OWNERS: Final = """
SELECT g.name, (SELECT min(s.owner) FROM harvest.source s WHERE s.group_name = g.name AND s.owner IS NOT NULL), a.backend_start
FROM unnest(%(groups)s::text[]) AS g (name)
JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended('windrow.group.' || g.name, 0)
LEFT JOIN pg_stat_activity a ON a.pid = l.pid"""

# Records by identifier, so that two listings can be compared.
RECORDS: Final = """
SELECT identifier, datestamp, deleted, encode(digest, 'hex'), revision, CASE WHEN %(payload)s AND NOT deleted THEN payload END
FROM harvest.record
WHERE source = %(source)s AND (%(deleted)s::boolean IS NULL OR deleted = %(deleted)s)
ORDER BY identifier LIMIT %(limit)s"""

# Records by revision. Rows of transactions that began before one that is still under way come later: whoever goes on
# from the last revision it has seen misses nothing.
CHANGED: Final = """
SELECT identifier, datestamp, deleted, encode(digest, 'hex'), revision, CASE WHEN %(payload)s AND NOT deleted THEN payload END
FROM harvest.record
WHERE source = %(source)s AND (%(deleted)s::boolean IS NULL OR deleted = %(deleted)s)
  AND revision > %(since)s AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY revision LIMIT %(limit)s"""

RECORD: Final = """
SELECT identifier, datestamp, deleted, encode(digest, 'hex'), revision, NULL::bytea
FROM harvest.record WHERE source = %(source)s AND identifier = %(identifier)s"""

FAILURES: Final = """
SELECT identifier, at, place, reason, snippet, attempts, run FROM harvest.failure WHERE source = %(source)s ORDER BY at, id"""

# Windows that say something about content: a sweep lists identifiers only, and what follows it in its pass are single records.
WINDOWS: Final = """
SELECT r.id, r.kind, r.since, r.until, r.state, r.attempts, r.records, r.error, r.started_at, r.finished_at
FROM harvest.run r
WHERE r.source = %(source)s AND r.kind <> 'sweep' AND r.state IN ('complete', 'held', 'failed', 'gap')
  AND NOT (r.kind = 'repair' AND EXISTS (
        SELECT FROM harvest.run s WHERE s.pass_id = r.pass_id AND s.kind = 'sweep' AND s.number < r.number))
ORDER BY r.id"""

# What the last full pass was told, if it was one undivided list.
ANNOUNCED: Final = """
SELECT max(complete_list_size), max(finished_at) FROM harvest.run
WHERE pass_id = (
        SELECT pass_id FROM harvest.run WHERE source = %(source)s AND kind = 'full' AND state = 'complete' ORDER BY id DESC LIMIT 1)
  AND kind = 'full'
HAVING count(*) = 1 AND max(since) IS NULL AND max(complete_list_size) IS NOT NULL"""

# ------------------------------------------------------------------ changing

# The windows of a pass that is dropped. Before the source's row, as the engine does it, so that neither waits for the other.
DROP_WINDOWS: Final = """
UPDATE harvest.run SET state = 'replaced', error = %(why)s, finished_at = now() WHERE source = %(source)s AND state = 'running'"""

# Another course: the next pass begins at this watermark (null: a full one), and at once. A full pass that was due before
# is not due any more: a reset makes one anyway, a rewind is to begin where it says.
SET_COURSE: Final = """
UPDATE harvest.source SET
    watermark = %(watermark)s, pass = NULL, full_due = false, due_at = now(), waiting_until = NULL, attempt = 0,
    epoch = epoch + 1, updated_at = now()
WHERE name = %(source)s RETURNING name"""

UNBLOCK: Final = """
UPDATE harvest.source s SET
    blocked = NULL, due_at = now(), waiting_until = NULL, attempt = 0, failures_in_a_row = 0, epoch = epoch + 1, updated_at = now()
FROM (SELECT name, blocked FROM harvest.source WHERE name = %(source)s AND blocked IS NOT NULL FOR UPDATE) old
WHERE s.name = old.name RETURNING old.blocked"""

# ----------------------------------------------------------------- deletions

HELD: Final = """
SELECT d.source, s.group_name, s.live, count(*), count(*) FILTER (WHERE d.reason = 'tombstone'),
       count(*) FILTER (WHERE d.reason = 'unseen'), count(*) FILTER (WHERE d.reason = 'vanished'), min(d.noted_at)
FROM harvest.deletion d JOIN harvest.source s ON s.name = d.source
WHERE d.held AND (%(source)s::text IS NULL OR d.source = %(source)s)
GROUP BY d.source, s.group_name, s.live ORDER BY d.source"""

EXAMPLES: Final = """
SELECT identifier, datestamp, reason FROM harvest.deletion WHERE source = %(source)s AND held ORDER BY identifier LIMIT %(limit)s"""

LOCK: Final = "SELECT live FROM harvest.source WHERE name = %(source)s FOR UPDATE"

# The newest window that noticed some of them.
HELD_BY: Final = "SELECT max(run) FROM harvest.deletion WHERE source = %(source)s AND held"

# A page that the engine has fetched before the decision is not saved: it may hold records that are deleted now as unchanged.
DELETED: Final = """
UPDATE harvest.source SET live = live - %(count)s, deleted = deleted + %(count)s, epoch = epoch + 1, updated_at = now()
WHERE name = %(source)s"""

COUNT_IN_RUN: Final = "UPDATE harvest.run SET deleted = deleted + %(count)s WHERE id = %(run)s"

DROP_HELD: Final = "DELETE FROM harvest.deletion WHERE source = %(source)s AND held"
