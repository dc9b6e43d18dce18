"""Records a second, from HTTP to committed rows, against what others do and against the floor."""

from __future__ import annotations

import statistics
from itertools import islice
from typing import Any

from sqlalchemy import text

from bench.measuring import Bench, Row, compared, configuration, rounded
from bench.walk import pages
from tests.fakes.oai_remote import spawn

RECORD_BYTES = 4000
LIMIT = 4
RATIOS = {"orm": "ratio >= 5", "upsert": "ratio >= 2", "floor": "ratio >= 0.5"}
WHAT = {
    "orm": "sickle, session.merge of each record, a commit a page",
    "upsert": "sickle, INSERT ... ON CONFLICT of each page",
    "floor": "lxml, COPY and merge of the same pages, without HTTP",
}


def throughput(bench: Bench) -> list[Row]:
    """4 kB MARCXML in pages of 200 and of 100 records; peers side by side with the larger pages."""
    return side_by_side(bench, page_size=200, contenders=("orm", "upsert", "floor")) + side_by_side(bench, page_size=100, contenders=())


def side_by_side(bench: Bench, *, page_size: int, contenders: tuple[str, ...]) -> list[Row]:
    """Windrow and its contenders in turn, every round on an empty table; loops that are slow get fewer sources."""
    sources, records = (6, 2000) if bench.quick else (10, 3000)
    share = {"orm": 1, "upsert": 2, "floor": sources // 2}
    rates: dict[str, list[float]] = {"windrow": [], **{kind: [] for kind in contenders}}
    repositories = [
        {"name": "s{number:02d}", "repeat": sources, "records": records, "page_size": page_size, "record_bytes": RECORD_BYTES,
         "deleted_share": 0.02}
    ]  # fmt: skip
    with spawn(repositories, cache_megabytes=600) as remote:
        urls = {f"s{number:02d}": remote.url(f"s{number:02d}") for number in range(sources)}
        for url in urls.values():  # so that the stand-in's work is not measured
            for _ in pages(url):
                pass
        for _ in range(bench.rounds):
            for kind in rates:
                bench.empty()
                many = share.get(kind, sources)
                told = bench.contend(kind, task(kind, urls, many, page_size))
                if told["records"] != many * records or stored(bench, kind) != many * records:
                    raise RuntimeError(f"{kind}: {told['records']:,} records, {stored(bench, kind):,} rows; wanted {many * records:,}")
                rates[kind].append(rate(told))
                bench.say(f"  {kind}: {rates[kind][-1]:,.0f} records/s")
    own = rates["windrow"]
    rows = [
        Row(
            name=f"HTTP to committed rows, pages of {page_size} records of 4 kB",
            value=rounded(statistics.median(own)),
            unit="records/s",
            bound="value >= 6000",
        )
    ]
    name = f"the same against {{}}, pages of {page_size}"
    return rows + [compared(name.format(kind), own, "records/s", WHAT[kind], rates[kind], RATIOS[kind]) for kind in contenders]


def task(kind: str, urls: dict[str, str], sources: int, page_size: int) -> dict[str, Any]:
    """What a contender is to do."""
    if kind == "windrow":
        return {"configuration": configuration(urls, {"default": LIMIT}, pause_after_records=0), "seed": 1}
    return {"urls": dict(islice(urls.items(), sources)), "page_size": page_size}


def stored(bench: Bench, kind: str) -> int:
    """Rows that are really there: a rate of records that were lost is none."""
    table = "bench_record" if kind in ("orm", "upsert") else "harvest.record"
    with bench.database.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def rate(told: dict[str, Any]) -> float:
    """Records a second."""
    return float(told["records"]) / float(told["seconds"])
