"""The SQL of the harvest store, each statement with a name and a sentence. Parameters are psycopg's."""

from __future__ import annotations

from typing import Final

# ---------------------------------------------------------------- ownership

# One engine a group; the lock lives as long as the anchor connection.
CLAIM: Final = "SELECT pg_try_advisory_lock(hashtextextended('windrow.group.' || %(group)s, 0))"

# Give a group up and take the name off its sources.
RELEASE: Final = """
WITH off AS (UPDATE harvest.source SET owner = NULL WHERE group_name = %(group)s AND owner = %(owner)s)
SELECT pg_advisory_unlock(hashtextextended('windrow.group.' || %(group)s, 0))"""

# Take sources in. Another identity (url, prefix, sets) is another list of records: it begins from nothing.
REGISTER: Final = """
INSERT INTO harvest.source AS s (name, group_name, identity, configuration, owner)
SELECT name, group_name, identity, configuration, %(owner)s
FROM jsonb_to_recordset(%(sources)s) AS given (name text, group_name text, identity text, configuration jsonb)
ON CONFLICT (name) DO UPDATE SET
    group_name = excluded.group_name, identity = excluded.identity, configuration = excluded.configuration,
    owner = excluded.owner, removed = false, updated_at = now(),
    watermark = CASE WHEN s.identity = excluded.identity THEN s.watermark END,
    pass = CASE WHEN s.identity = excluded.identity THEN s.pass END,
    full_due = s.full_due AND s.identity = excluded.identity,
    waiting_until = CASE WHEN s.identity = excluded.identity THEN s.waiting_until END,
    attempt = CASE WHEN s.identity = excluded.identity THEN s.attempt ELSE 0 END,
    due_at = CASE WHEN s.identity = excluded.identity THEN s.due_at END,
    blocked = CASE WHEN s.identity = excluded.identity THEN s.blocked END,
    failures_in_a_row = CASE WHEN s.identity = excluded.identity THEN s.failures_in_a_row ELSE 0 END,
    error = CASE WHEN s.identity = excluded.identity THEN s.error END,
    last_full = CASE WHEN s.identity = excluded.identity THEN s.last_full END,
    last_sweep = CASE WHEN s.identity = excluded.identity THEN s.last_sweep END,
    epoch = s.epoch + (s.identity <> excluded.identity)::int"""

# Deletions that another list of records announced say nothing about this one; what an operator is to look at stays.
DROP_FOREIGN: Final = """
DELETE FROM harvest.deletion d USING harvest.source s, jsonb_to_recordset(%(sources)s) AS given (name text, identity text)
WHERE s.name = given.name AND d.source = s.name AND s.identity <> given.identity AND NOT d.held"""

RECALL: Final = """
SELECT name, pass, watermark, full_due, due_at, since_pause, paused_until, waiting_until, attempt, blocked,
       failures_in_a_row, last_success, last_full, last_sweep, live, error, epoch
FROM harvest.source WHERE name = ANY(%(names)s)"""

# When the row was written last: what an engine knows is outdated when a crash of the server took its last page back.
MARKS: Final = "SELECT name, updated_at FROM harvest.source WHERE name = ANY(%(names)s)"

# Windows behind the watermark that failed and may be tried again.
GAPS: Final = """
SELECT r.source, r.id, r.since, r.until, r.attempts FROM harvest.run r JOIN harvest.source s ON s.name = r.source
WHERE r.source = ANY(%(names)s) AND r.state = 'failed' AND r.until <= s.watermark ORDER BY r.source, r.id LIMIT 10000"""

FORGET: Final = "UPDATE harvest.source SET removed = true, owner = NULL, updated_at = now() WHERE name = ANY(%(names)s)"

EPOCHS: Final = "SELECT name, epoch FROM harvest.source WHERE owner = %(owner)s"

# Dead tuples of the partition that holds the source, the number at which autovacuum starts, and whether one is at work.
PRESSURE: Final = """
WITH part AS (
    SELECT c.oid, c.reltuples, c.reloptions FROM pg_class c
    WHERE c.oid = (SELECT tableoid FROM harvest.record WHERE source = %(source)s LIMIT 1))
SELECT coalesce(pg_stat_get_dead_tuples(part.oid), 0),
       greatest(1, coalesce((SELECT option_value::float8 FROM pg_options_to_table(part.reloptions)
                             WHERE option_name = 'autovacuum_vacuum_threshold'),
                            current_setting('autovacuum_vacuum_threshold')::float8)
                 + greatest(part.reltuples, 0) * coalesce((SELECT option_value::float8 FROM pg_options_to_table(part.reloptions)
                             WHERE option_name = 'autovacuum_vacuum_scale_factor'),
                            current_setting('autovacuum_vacuum_scale_factor')::float8))::bigint,
       EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.relid = part.oid)
FROM part"""

# ------------------------------------------------------------------- a page

# A page need not wait for the disk: records and course are lost together, or not at all.
NO_WAIT: Final = "SET LOCAL synchronous_commit = off"

# What is known of the page's records; by primary key, so that unchanged ones cost neither COPY nor lock.
KNOWN: Final = "SELECT identifier, digest, deleted FROM harvest.record WHERE source = %(source)s AND identifier = ANY(%(identifiers)s)"

# Tombstones of the page that this pass has counted before, or that an operator is to look at.
COUNTED_BEFORE: Final = """
SELECT count(*) FROM harvest.deletion d WHERE d.source = %(source)s AND d.identifier = ANY(%(identifiers)s)
  AND (d.held OR EXISTS (SELECT FROM harvest.run r WHERE r.id = d.run AND r.pass_id = %(pass_id)s))"""

# Count the page in the ledger.
COUNT: Final = """
INSERT INTO harvest.run AS r (source, pass_id, number, kind, since, until, state, attempts, records, new, changed, unchanged,
                              deleted, failures, outside, pages, bytes, seconds, complete_list_size)
VALUES (%(source)s, %(pass_id)s, %(number)s, %(kind)s, %(since)s, %(until)s, 'running', %(attempts)s, %(records)s, %(new)s,
        %(changed)s, %(unchanged)s, %(deleted)s, %(failures)s, %(outside)s, %(pages)s, %(bytes)s, %(seconds)s, %(size)s)
ON CONFLICT (pass_id, number) DO UPDATE SET
    records = r.records + excluded.records, new = r.new + excluded.new, changed = r.changed + excluded.changed,
    unchanged = r.unchanged + excluded.unchanged, deleted = r.deleted + excluded.deleted,
    failures = r.failures + excluded.failures, outside = r.outside + excluded.outside, pages = r.pages + excluded.pages,
    bytes = r.bytes + excluded.bytes, seconds = r.seconds + excluded.seconds,
    complete_list_size = coalesce(excluded.complete_list_size, r.complete_list_size)
RETURNING id"""

PAGE: Final = """
INSERT INTO harvest.page (run, source, verb, records, new, changed, deleted, failures, bytes, milliseconds, token)
VALUES (%(run)s, %(source)s, %(verb)s, %(records)s, %(new)s, %(changed)s, %(deleted)s, %(failures)s, %(bytes)s, %(milliseconds)s,
        %(token)s)"""

# The connection's staging table; empty at the start of every transaction.
STAGE: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage (
    identifier text, datestamp text, deleted boolean, sets text[], payload bytea, digest bytea
) ON COMMIT DELETE ROWS"""

COPY: Final = "COPY stage (identifier, datestamp, deleted, sets, payload, digest) FROM STDIN (FORMAT binary)"

# A tombstone keeps the last payload; a changed or restored record gets a new revision.
MERGE: Final = """
INSERT INTO harvest.record AS r (source, identifier, datestamp, deleted, sets, format, payload, digest, run)
SELECT %(source)s, identifier, datestamp, deleted, sets, %(format)s, payload, digest, %(run)s FROM stage
ON CONFLICT (source, identifier) DO UPDATE SET
    datestamp = excluded.datestamp, deleted = excluded.deleted, sets = excluded.sets, format = excluded.format,
    payload = coalesce(excluded.payload, r.payload), digest = coalesce(excluded.digest, r.digest),
    revision = nextval('harvest.revision'), xid = pg_current_xact_id(), run = excluded.run, harvested_at = now()
WHERE r.digest IS DISTINCT FROM excluded.digest OR r.deleted <> excluded.deleted"""

# What came well clears its failure; what came alive clears its deletion.
SETTLED: Final = """
WITH alive AS (DELETE FROM harvest.deletion WHERE source = %(source)s AND identifier = ANY(%(live)s)),
     well AS (DELETE FROM harvest.failure WHERE source = %(source)s AND identifier = ANY(%(all)s))
SELECT 1"""

# Tombstones of live records wait for the end of the window; one that an operator has to look at stays held.
GONE: Final = """
INSERT INTO harvest.deletion (source, identifier, datestamp, reason, run)
SELECT %(source)s, identifier, datestamp, 'tombstone', %(run)s
FROM unnest(%(identifiers)s::text[], %(datestamps)s::text[]) AS gone (identifier, datestamp)
ON CONFLICT (source, identifier) DO UPDATE SET datestamp = excluded.datestamp, reason = excluded.reason, run = excluded.run"""

FAILED: Final = """
INSERT INTO harvest.failure AS f (source, identifier, run, place, reason, snippet)
VALUES (%(source)s, coalesce(%(identifier)s, 'unidentified:' || md5(%(snippet)s)), %(run)s,
        trim(%(verb)s || ', ' || %(place)s, ', '), %(reason)s, %(snippet)s)
ON CONFLICT (source, identifier) DO UPDATE SET
    run = excluded.run, at = now(), place = excluded.place, reason = excluded.reason, snippet = excluded.snippet,
    attempts = f.attempts + 1"""

# ----------------------------------------------------------------- deletion

# The side table is unlogged: a crash empties it. The counter in the source's row is logged, so that this is noticed.
LOOK_ANEW: Final = """
WITH emptied AS (DELETE FROM harvest.seen WHERE source = %(source)s)
UPDATE harvest.source SET seen = 0 WHERE name = %(source)s"""

SEEN: Final = """
WITH noted AS (
    INSERT INTO harvest.seen (source, identifier) SELECT %(source)s, unnest(%(identifiers)s::text[])
    ON CONFLICT DO NOTHING RETURNING 1)
UPDATE harvest.source SET seen = seen + (SELECT count(*) FROM noted) WHERE name = %(source)s"""

# Whether the side table still holds all that was noted.
SEEN_ALL: Final = """
SELECT (SELECT count(*) FROM harvest.seen WHERE source = %(source)s) >= s.seen FROM harvest.source s WHERE s.name = %(source)s"""

UNSEEN: Final = """
INSERT INTO harvest.deletion (source, identifier, reason, run)
SELECT r.source, r.identifier, %(reason)s, %(run)s FROM harvest.record r
WHERE r.source = %(source)s AND NOT r.deleted
  AND NOT EXISTS (SELECT FROM harvest.seen s WHERE s.source = r.source AND s.identifier = r.identifier)
ON CONFLICT (source, identifier) DO NOTHING"""

MISSING: Final = """
SELECT s.identifier FROM harvest.seen s
LEFT JOIN harvest.record r ON r.source = s.source AND r.identifier = s.identifier
WHERE s.source = %(source)s AND (r.identifier IS NULL OR r.deleted)
ORDER BY s.identifier LIMIT %(limit)s"""

FULL_DUE: Final = "UPDATE harvest.source SET full_due = true WHERE name = %(source)s"

# Deletions that wait, and live records.
WAITING: Final = """
SELECT (SELECT count(*) FROM harvest.deletion d WHERE d.source = s.name AND NOT d.held), s.live
FROM harvest.source s WHERE s.name = %(source)s"""

HOLD: Final = "UPDATE harvest.deletion SET held = true WHERE source = %(source)s AND NOT held"

TAKE_DELETIONS: Final = "DELETE FROM harvest.deletion WHERE source = %(source)s AND held = %(held)s RETURNING identifier, datestamp"

DELETE: Final = """
UPDATE harvest.record r SET
    deleted = true, datestamp = coalesce(gone.datestamp, r.datestamp), revision = nextval('harvest.revision'),
    xid = pg_current_xact_id(), run = %(run)s, harvested_at = now()
FROM unnest(%(identifiers)s::text[], %(datestamps)s::text[]) AS gone (identifier, datestamp)
WHERE r.source = %(source)s AND r.identifier = gone.identifier AND NOT r.deleted"""

# ------------------------------------------------------------------- ledger

CLOSE: Final = """
UPDATE harvest.run SET state = %(state)s, error = %(error)s, deleted = deleted + %(deleted)s, finished_at = now()
WHERE id = %(run)s"""

# A complete window settles those that failed within its span.
COVERED: Final = """
UPDATE harvest.run r SET state = 'replaced' FROM harvest.run this
WHERE this.id = %(run)s AND r.source = this.source AND r.id <> this.id AND r.state IN ('failed', 'gap')
  AND (this.since IS NULL OR r.since >= this.since) AND r.until <= this.until"""

SETTLE: Final = "UPDATE harvest.run SET state = 'replaced' WHERE id = %(run)s AND state = 'failed'"

# Deltas that found nothing are one row with the one before, so that the ledger stays short however often it is asked.
ABSORB: Final = """
WITH this AS (SELECT * FROM harvest.run WHERE id = %(run)s AND new + changed + deleted + failures = 0),
     quiet AS (
        DELETE FROM harvest.run r USING this
        WHERE r.source = this.source AND r.id <> this.id AND r.kind = 'delta' AND r.state = 'complete'
          AND r.new + r.changed + r.deleted + r.failures = 0 AND r.until >= this.since AND r.since IS NOT NULL
        RETURNING r.since)
UPDATE harvest.run r SET since = least(r.since, (SELECT min(since) FROM quiet))
FROM this WHERE r.id = this.id AND EXISTS (SELECT FROM quiet)"""

TOTALS: Final = """
SELECT coalesce(sum(records), 0), coalesce(sum(new), 0), coalesce(sum(changed), 0), coalesce(sum(unchanged), 0),
       coalesce(sum(deleted), 0), coalesce(sum(failures), 0), coalesce(sum(pages), 0)
FROM harvest.run WHERE pass_id = %(pass_id)s"""

# ------------------------------------------------------------------- source

MOVE_ON: Final = """
UPDATE harvest.source SET
    pass = %(pass)s, watermark = coalesce(%(watermark)s, watermark), since_pause = %(since_pause)s,
    paused_until = %(paused_until)s, waiting_until = %(waiting_until)s, attempt = %(attempt)s, blocked = %(blocked)s,
    live = live + %(live)s, deleted = deleted + %(deleted)s, updated_at = now()
WHERE name = %(source)s AND owner = %(owner)s AND epoch = %(epoch)s AND updated_at = %(mark)s
RETURNING live, deleted, updated_at"""

IDENTIFIED: Final = "UPDATE harvest.source SET repository = %(repository)s WHERE name = %(source)s"

END: Final = """
WITH pruned AS (DELETE FROM harvest.page WHERE source = %(source)s AND at < now() - %(kept)s::interval)
UPDATE harvest.source SET
    due_at = %(due_at)s, failures_in_a_row = %(failures)s, error = %(error)s, warning = %(warning)s,
    last_success = CASE WHEN %(error)s::text IS NULL THEN %(at)s ELSE last_success END,
    last_full = CASE WHEN %(error)s::text IS NULL AND %(full)s THEN %(at)s ELSE last_full END,
    last_sweep = CASE WHEN %(error)s::text IS NULL AND %(swept)s THEN %(at)s ELSE last_sweep END,
    full_due = full_due AND NOT (%(error)s::text IS NULL AND %(full)s)
WHERE name = %(source)s"""
