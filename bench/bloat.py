"""What a pass that changes nothing leaves behind in harvest.record: nothing."""

from __future__ import annotations

from sqlalchemy import text

from bench.measuring import Bench, Row, configuration
from tests.fakes.oai_remote import spawn

# Updates and deletes are counted for ever; dead tuples only until autovacuum comes. The larger one is the truth.
LEFT = """
SELECT coalesce(sum(n_dead_tup), 0), coalesce(sum(n_tup_upd + n_tup_del), 0), coalesce(sum(n_tup_ins), 0)
FROM pg_stat_user_tables WHERE schemaname = 'harvest' AND relname LIKE 'record\\_%'"""


def bloat(bench: Bench) -> list[Row]:
    """Everything is listed a second time, as a full pass; every record is unchanged."""
    sources, records = 10, 500 if bench.quick else 3000
    with spawn([{"name": "s{number:02d}", "repeat": sources, "records": records, "page_size": 100, "deleted_share": 0.05}]) as remote:
        urls = {f"s{number:02d}": remote.url(f"s{number:02d}") for number in range(sources)}
        task = {"configuration": configuration(urls, {"default": 4}, pause_after_records=0), "seed": 1}
        bench.empty()
        bench.contend("windrow", task)
        before = left(bench)
        with bench.database.begin() as connection:
            connection.execute(text("UPDATE harvest.source SET full_due = true"))
        again = bench.contend("windrow", task)
        after = left(bench)
    if again["records"] != sources * records or after[2] != before[2] or not after[2]:
        raise RuntimeError(f"the second pass brought {again['records']:,} records and wrote {after[2] - before[2]:,}")
    dead = max(after[0] - before[0], after[1] - before[1])
    return [
        Row(
            name=f"dead tuples in harvest.record after {sources * records:,} records were listed again unchanged",
            value=float(dead),
            unit="rows",
            bound="value == 0",
        )
    ]


def left(bench: Bench) -> tuple[int, int, int]:
    """Dead tuples, updates and deletes, inserts, as the cumulative statistics have them once the harvester has gone."""
    with bench.database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        dead, changed, inserted = connection.execute(text(LEFT)).one()
    return int(dead), int(changed), int(inserted)
