"""The SQL of the validation station, each statement with a name and a sentence. Parameters are psycopg's."""

from __future__ import annotations

from typing import Final

# ------------------------------------------------------------------ noticing

# The row of what was noticed so far; locked, so that of two runs one waits.
OPEN_HORIZON: Final = """
INSERT INTO catalog.station_cursor (source, shard, shards, revision, updated_at) VALUES ('', 0, 0, 0, now())
ON CONFLICT (source, shard) DO NOTHING"""
HORIZON: Final = "SELECT revision, horizon::text FROM catalog.station_cursor WHERE source = '' AND shard = 0 FOR UPDATE"

# What changed, by source: rows above the last revision, and below it those of transactions that were still under way at the
# last look, which may have drawn their revisions before others that were finished then.
CHANGES: Final = """
SELECT source, count(*), min(revision), max(revision) FROM harvest.record
WHERE revision > %(after)s AND (revision > %(revision)s OR xid >= %(horizon)s::xid8) AND xid < pg_snapshot_xmin(pg_current_snapshot())
GROUP BY source ORDER BY source"""
NOW: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
MOVE_HORIZON: Final = """
UPDATE catalog.station_cursor SET revision = %(revision)s, horizon = %(horizon)s::xid8, updated_at = now()
WHERE source = '' AND shard = 0"""

# What waits for a source grows; what is held stays held.
WAIT: Final = """
INSERT INTO catalog.intake AS i (source, state, since, upto, waiting) VALUES (%(source)s, 'pending', %(since)s, %(upto)s, %(count)s)
ON CONFLICT (source) DO UPDATE SET
    state = CASE WHEN i.state = 'idle' THEN 'pending' ELSE i.state END,
    since = least(i.since, excluded.since), upto = greatest(i.upto, excluded.upto),
    waiting = CASE WHEN i.since IS NULL THEN excluded.waiting ELSE i.waiting + excluded.waiting END"""

# Everything that is stored waits again.
ALL_AGAIN: Final = """
SELECT source, count(*), 0, max(revision) FROM harvest.record
WHERE (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s)) AND xid < pg_snapshot_xmin(pg_current_snapshot())
GROUP BY source ORDER BY source"""

# A source whose shards are all done is idle, or waits again if something came meanwhile.
SETTLE: Final = """
UPDATE catalog.intake i SET state = CASE WHEN since IS NULL THEN 'idle' ELSE 'pending' END
WHERE state = 'feeding' AND NOT EXISTS (SELECT FROM catalog.station_cursor c WHERE c.source = i.source)"""

WAITING: Final = """
SELECT i.source, i.state, i.since, i.upto, i.waiting, s.group_name FROM catalog.intake i
LEFT JOIN harvest.source s ON s.name = i.source
WHERE i.state IN ('pending', 'approved') AND i.since IS NOT NULL AND (%(sources)s::text[] IS NULL OR i.source = ANY(%(sources)s))
  AND NOT EXISTS (SELECT FROM ops.switch w WHERE w.scope IN ('all', 'source:' || i.source, 'group:' || s.group_name))
ORDER BY i.source"""

HELD: Final = """
SELECT source, waiting, reason, decided_at FROM catalog.intake
WHERE state = 'held' AND (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s)) ORDER BY source"""

# Records may have come without a source that is configured, from files for instance.
GROUPS: Final = """
SELECT name, group_name FROM harvest.source
UNION ALL SELECT source, NULL FROM catalog.intake i WHERE NOT EXISTS (SELECT FROM harvest.source s WHERE s.name = i.source)
UNION ALL SELECT * FROM (
    WITH RECURSIVE names AS (
        (SELECT source FROM harvest.record ORDER BY source LIMIT 1)
        UNION ALL
        SELECT (SELECT r.source FROM harvest.record r WHERE r.source > n.source ORDER BY r.source LIMIT 1) FROM names n
        WHERE n.source IS NOT NULL)
    SELECT n.source, NULL FROM names n WHERE n.source IS NOT NULL
      AND NOT EXISTS (SELECT FROM harvest.source s WHERE s.name = n.source)
      AND NOT EXISTS (SELECT FROM catalog.intake i WHERE i.source = n.source)) others"""

# ---------------------------------------------------------------------- gate

GONE: Final = """
SELECT count(*) FROM harvest.record r
WHERE r.source = %(source)s AND r.revision > %(since)s AND r.revision <= %(upto)s AND r.deleted
  AND EXISTS (SELECT FROM catalog.bib b WHERE b.source = r.source AND b.origin = r.identifier AND NOT b.deleted)"""
FORMER: Final = "SELECT count(DISTINCT origin) FROM catalog.bib WHERE source = %(source)s AND NOT deleted"

# Of many waiting records every n-th, spread by name: always the same ones.
SAMPLE: Final = """
SELECT identifier, datestamp, deleted, format, payload, revision FROM harvest.record
WHERE source = %(source)s AND revision > %(since)s AND revision <= %(upto)s AND NOT deleted
  AND (hashtext(identifier)::bigint & 2147483647) %% %(step)s = 0"""

DECIDE: Final = """
UPDATE catalog.intake SET state = %(state)s, gate = %(gate)s, reason = %(reason)s, figures = %(figures)s, decided_at = now()
WHERE source = %(source)s AND state = 'pending'"""

APPROVE: Final = """
UPDATE catalog.intake SET state = 'approved', approved_by = %(by)s, approved_because = %(reason)s
WHERE source = %(source)s AND state = 'held' RETURNING waiting"""

# From now on workers may take it: a cursor for each shard, and whatever comes later waits for the next time.
FEED: Final = """
WITH taken AS (
    UPDATE catalog.intake i SET state = 'feeding', since = NULL, upto = NULL, waiting = 0, rules = %(rules)s
    FROM (SELECT source, since, upto FROM catalog.intake WHERE source = %(source)s AND state IN ('pending', 'approved')
          AND since IS NOT NULL FOR UPDATE) old
    WHERE i.source = old.source RETURNING old.source, old.since, old.upto)
INSERT INTO catalog.station_cursor (source, shard, shards, revision, upto, updated_at)
SELECT source, shard, %(shards)s, since, upto, now() FROM taken, generate_series(0, %(shards)s - 1) AS shard"""

# ------------------------------------------------------------------- a batch

# A batch need not wait for the disk: its records and its cursor are lost together, or not at all.
NO_WAIT: Final = "SET LOCAL synchronous_commit = off"

# Lease a shard for one batch: the lock of its row ends with the transaction, or with the worker.
LEASE: Final = """
SELECT c.source, c.shard, c.shards, c.revision, c.upto, s.group_name FROM catalog.station_cursor c
LEFT JOIN harvest.source s ON s.name = c.source
WHERE c.source <> '' AND (%(sources)s::text[] IS NULL OR c.source = ANY(%(sources)s))
  AND NOT EXISTS (SELECT FROM ops.switch w WHERE w.scope IN ('all', 'source:' || c.source, 'group:' || s.group_name))
ORDER BY c.updated_at, c.source, c.shard LIMIT 1 FOR UPDATE OF c SKIP LOCKED"""

RAW: Final = """
SELECT identifier, datestamp, deleted, format, CASE WHEN NOT deleted THEN payload END, revision FROM harvest.record
WHERE source = %(source)s AND revision > %(revision)s AND revision <= %(upto)s
  AND (hashtext(source || identifier)::bigint & 2147483647) %% %(shards)s = %(shard)s
ORDER BY revision LIMIT %(limit)s"""

ONE: Final = """
SELECT identifier, datestamp, deleted, format, CASE WHEN NOT deleted THEN payload END, revision FROM harvest.record
WHERE source = %(source)s AND identifier = ANY(%(origins)s) ORDER BY identifier FOR SHARE"""

MOVE: Final = """
UPDATE catalog.station_cursor SET revision = %(revision)s, updated_at = clock_timestamp() WHERE source = %(source)s AND shard = %(shard)s"""
DONE: Final = "DELETE FROM catalog.station_cursor WHERE source = %(source)s AND shard = %(shard)s"

KNOWN: Final = """
SELECT identifier, origin, deleted, digest, CASE WHEN NOT deleted THEN content END FROM catalog.bib
WHERE source = %(source)s AND origin = ANY(%(gone)s)
UNION ALL
SELECT identifier, origin, deleted, digest, NULL FROM catalog.bib
WHERE source = %(source)s AND origin = ANY(%(live)s)"""
CONTENT: Final = "SELECT content FROM catalog.bib WHERE source = %(source)s AND identifier = %(identifier)s"

RELEASED: Final = """
SELECT identifier, digest FROM catalog.quarantine
WHERE source = %(source)s AND origin = ANY(%(origins)s) AND released_at IS NOT NULL AND digest IS NOT NULL"""

SAVE: Final = """
INSERT INTO catalog.bib AS b (source, identifier, origin, control_number, deleted, content, digest, score, rules, harvested,
                              revision, xid, updated_at)
SELECT %(source)s, identifier, origin, control_number, deleted, content, digest, score, %(rules)s, harvested,
       nextval('catalog.revision'), pg_current_xact_id(), now()
FROM unnest(%(identifiers)s::text[], %(origins)s::text[], %(control_numbers)s::text[], %(deletions)s::boolean[], %(contents)b::text[],
            %(digests)s::text[], %(scores)s::int[], %(harvested)s::bigint[])
     AS given (identifier, origin, control_number, deleted, content, digest, score, harvested)
ON CONFLICT (source, identifier) DO UPDATE SET
    origin = excluded.origin, control_number = coalesce(excluded.control_number, b.control_number), deleted = excluded.deleted,
    content = excluded.content, digest = excluded.digest, score = coalesce(excluded.score, b.score), rules = excluded.rules,
    harvested = excluded.harvested, revision = excluded.revision, xid = excluded.xid, updated_at = excluded.updated_at"""

FINDINGS: Final = """
SELECT identifier, origin, category, code, severity, path, message, value, link FROM catalog.finding
WHERE source = %(source)s AND origin = ANY(%(origins)s) ORDER BY identifier, position"""
FORGET_FINDINGS: Final = "DELETE FROM catalog.finding WHERE source = %(source)s AND origin = ANY(%(origins)s)"
COPY_FINDINGS: Final = """
COPY catalog.finding (source, identifier, position, origin, category, code, severity, path, message, value, link) FROM STDIN"""

QUARANTINED: Final = """
SELECT identifier, origin, digest, reason, errors FROM catalog.quarantine WHERE source = %(source)s AND origin = ANY(%(origins)s)"""
ENTER: Final = """
INSERT INTO catalog.quarantine AS q (source, identifier, origin, reason, errors, digest, harvested, rules, entered_at)
SELECT %(source)s, identifier, origin, reason, errors, digest, harvested, %(rules)s, now()
FROM unnest(%(identifiers)s::text[], %(origins)s::text[], %(reasons)s::text[], %(errors)s::int[], %(digests)s::text[],
            %(harvested)s::bigint[]) AS given (identifier, origin, reason, errors, digest, harvested)
ON CONFLICT (source, identifier) DO UPDATE SET
    origin = excluded.origin, reason = excluded.reason, errors = excluded.errors, digest = excluded.digest,
    harvested = excluded.harvested, rules = excluded.rules,
    released_at = CASE WHEN q.digest = excluded.digest THEN q.released_at END,
    released_by = CASE WHEN q.digest = excluded.digest THEN q.released_by END,
    released_because = CASE WHEN q.digest = excluded.digest THEN q.released_because END"""
LEAVE: Final = "DELETE FROM catalog.quarantine WHERE source = %(source)s AND identifier = ANY(%(identifiers)s)"

# ---------------------------------------------------------------- quarantine

LIST_QUARANTINE: Final = """
SELECT source, identifier, origin, reason, errors, digest, entered_at, released_at, released_by, released_because
FROM catalog.quarantine
WHERE (%(source)s::text IS NULL OR source = %(source)s) AND (%(identifier)s::text IS NULL OR identifier = %(identifier)s)
  AND (%(released)s OR released_at IS NULL)
ORDER BY source, identifier LIMIT %(limit)s"""
COUNT_QUARANTINE: Final = """
SELECT source, count(*) FROM catalog.quarantine WHERE released_at IS NULL GROUP BY source ORDER BY source"""
FINDINGS_OF: Final = """
SELECT category, code, severity, path, message, value, link FROM catalog.finding
WHERE source = %(source)s AND identifier = %(identifier)s ORDER BY position"""
RELEASE: Final = """
UPDATE catalog.quarantine SET released_at = now(), released_by = %(by)s, released_because = %(reason)s
WHERE source = %(source)s AND identifier = ANY(%(identifiers)s) AND digest IS NOT NULL RETURNING identifier, origin"""

# ------------------------------------------------------------------- quality

QUALITY_RECORDS: Final = """
SELECT s.source, coalesce(b.live, 0), coalesce(b.deleted, 0), b.score, coalesce(q.count, 0)
FROM (SELECT source FROM catalog.intake UNION SELECT DISTINCT source FROM catalog.quarantine) s
LEFT JOIN (SELECT source, count(*) FILTER (WHERE NOT deleted) AS live, count(*) FILTER (WHERE deleted) AS deleted,
                  avg(score) FILTER (WHERE NOT deleted) AS score FROM catalog.bib
           WHERE %(sources)s::text[] IS NULL OR source = ANY(%(sources)s) GROUP BY source) b ON b.source = s.source
LEFT JOIN (SELECT source, count(*) FROM catalog.quarantine WHERE released_at IS NULL GROUP BY source) q ON q.source = s.source
WHERE %(sources)s::text[] IS NULL OR s.source = ANY(%(sources)s) ORDER BY s.source"""

# By rule: instances and records; and the records with anything, with anything but undefined fields, with warnings.
QUALITY_FINDINGS: Final = """
SELECT source, category || '/' || code, severity, count(*), count(DISTINCT identifier) FROM catalog.finding
WHERE %(sources)s::text[] IS NULL OR source = ANY(%(sources)s) GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2"""
QUALITY_WITHOUT: Final = """
SELECT source, count(*), count(*) FILTER (WHERE defined), count(*) FILTER (WHERE warned AND NOT wrong) FROM (
    SELECT source, identifier, bool_or(code NOT IN ('undefinedField', 'undefinedSubfield')) AS defined,
           bool_or(severity = 'warning') AS warned, bool_or(severity = 'error') AS wrong
    FROM catalog.finding WHERE %(sources)s::text[] IS NULL OR source = ANY(%(sources)s) GROUP BY source, identifier) each
GROUP BY source"""
SAVE_DAY: Final = """
INSERT INTO catalog.quality_day (source, day, records, quarantined, warned, score, findings)
VALUES (%(source)s, (now() AT TIME ZONE 'UTC')::date, %(records)s, %(quarantined)s, %(warned)s, %(score)s, %(findings)s)
ON CONFLICT (source, day) DO UPDATE SET records = excluded.records, quarantined = excluded.quarantined, warned = excluded.warned,
    score = excluded.score, findings = excluded.findings"""
DAYS: Final = """
SELECT source, day, records, quarantined, warned, score FROM catalog.quality_day
WHERE (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s)) ORDER BY source, day"""

# --------------------------------------------------------------------- purge

PURGE_LIVE: Final = "SELECT deleted FROM harvest.record WHERE source = %(source)s AND identifier = %(identifier)s FOR UPDATE"
PURGE_HARVEST: Final = {
    "harvest.record": "DELETE FROM harvest.record WHERE source = %(source)s AND identifier = %(identifier)s",
    "harvest.failure": "DELETE FROM harvest.failure WHERE source = %(source)s AND identifier = %(identifier)s",
    "harvest.deletion": "DELETE FROM harvest.deletion WHERE source = %(source)s AND identifier = %(identifier)s",
    "harvest.seen": "DELETE FROM harvest.seen WHERE source = %(source)s AND identifier = %(identifier)s",
    "catalog.finding": "DELETE FROM catalog.finding WHERE source = %(source)s AND origin = %(identifier)s",
    "catalog.quarantine": "DELETE FROM catalog.quarantine WHERE source = %(source)s AND origin = %(identifier)s",
}
# The name stays as a deletion without content, so that later stations remove theirs.
PURGE_BIB: Final = """
UPDATE catalog.bib SET deleted = true, content = NULL, digest = NULL, score = NULL, control_number = NULL,
    revision = nextval('catalog.revision'), xid = pg_current_xact_id(), updated_at = now()
WHERE source = %(source)s AND origin = %(identifier)s AND content IS NOT NULL"""
PURGE_COUNT: Final = """
UPDATE harvest.source SET live = greatest(0, live - %(live)s), deleted = greatest(0, deleted - %(dead)s), epoch = epoch + 1,
    updated_at = now()
WHERE name = %(source)s"""
PURGED: Final = """
INSERT INTO catalog.purge (source, identifier, reason, by, at, places)
VALUES (%(source)s, %(identifier)s, %(reason)s, %(by)s, now(), %(places)s)"""

# A dry run reads everything that is stored.
STORED: Final = """
SELECT identifier, datestamp, deleted, format, payload, revision FROM harvest.record
WHERE source = %(source)s AND NOT deleted ORDER BY identifier"""

# Waits for the batches of a source that are under way, and keeps others from beginning.
LOCK_SHARDS: Final = "SELECT shard FROM catalog.station_cursor WHERE source = %(source)s ORDER BY shard FOR UPDATE"
