"""A harvest that is killed at random moments and then finished holds exactly what an undisturbed one holds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine as Database

from tests import driving
from tests.fakes.oai_remote import RemoteConsortium, spawn

ROOT = Path(__file__).resolve().parents[2]
SOURCES = 50
RECORDS = "SELECT source, identifier, datestamp, deleted, digest FROM harvest.record ORDER BY source, identifier"


@pytest.fixture
def consortium() -> Iterator[RemoteConsortium]:
    """Fifty repositories that need a few seconds under their limit, some with manners that a lost answer hurts."""
    common = {"records": 300, "deleted_share": 0.1, "page_size": 25, "group": "hosted", "latency": 0.02}
    kinds = [
        {"name": "plain{number:02d}", "repeat": 20},
        {"name": "once{number:02d}", "repeat": 10, "token": "single-use"},
        {"name": "days{number:02d}", "repeat": 10, "granularity": "YYYY-MM-DD"},
        {"name": "short{number:02d}", "repeat": 10, "page_size": 7, "records": 80},
    ]
    with spawn([{**common, **kind} for kind in kinds]) as running:
        yield running


def names() -> list[str]:
    return [f"{kind}{number:02d}" for kind, count in (("plain", 20), ("once", 10), ("days", 10), ("short", 10)) for number in range(count)]


def prove(consortium: RemoteConsortium, database_url: str, database: Database, folder: Path, kills: int, seed: int) -> None:
    """Kill the harvest so many times, finish it, and compare with the truth of every repository."""
    rng = random.Random(seed)
    file = folder / "sources.yaml"
    sources = "".join(
        f'  {name}: {{url: "{consortium.url(name)}", group: hosted, pause_after_records: 250, pause_seconds: 0.5}}\n' for name in names()
    )
    file.write_text(f"groups:\n  hosted: {{limit: 4}}\nsources:\n{sources}", encoding="utf-8")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WINDROW_")},
        "WINDROW_HOME": str(folder / "home"),
        "WINDROW_DATABASE_URL": database_url,
        "WINDROW_SOURCES": str(file),
    }
    command = [sys.executable, "-c", "from flows.cli import main; main()", "harvest", "--once", "--json"]
    killed = 0
    while killed < kills:
        before = driving.one(database, "SELECT coalesce(sum(pages), 0) FROM harvest.run")
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # A moment after the first page of this run, anywhere within a few pages: in a request, while parsing, in a commit.
        while process.poll() is None and driving.one(database, "SELECT coalesce(sum(pages), 0) FROM harvest.run") == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=30)
        assert b"Traceback" not in said, said
        killed += 1
        if driving.one(database, "SELECT count(*) FROM harvest.source WHERE last_success IS NOT NULL") == len(names()):
            # All done before the last kill: the kills that are left hit passes that begin from nothing again.
            driving.do(database, "UPDATE harvest.source SET watermark = NULL, pass = NULL, last_success = NULL, due_at = NULL")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["complete"], summary["failed"]) == (SOURCES, 0)

    for name in names():
        assert driving.stored(database, name) == driving.told(consortium.truth(name)), name
    sane = "count(*), count(DISTINCT (source, identifier)), count(DISTINCT revision), count(*) FILTER (WHERE run = 0)"
    identifiers = f"SELECT {sane} FROM harvest.record"
    ((count, distinct, revisions, orphans),) = driving.rows(database, identifiers)
    assert count == distinct == revisions
    assert orphans == 0
    counted = "SELECT coalesce(sum(new), 0), coalesce(sum(changed), 0), coalesce(sum(deleted), 0) FROM harvest.run"
    new, changed, deleted = driving.rows(database, counted)[0]
    assert (new + deleted, changed) == (count, 0), "every record was counted as new, or as a tombstone, exactly once"
    live = "SELECT sum(live), sum(deleted) FROM harvest.source"
    assert driving.rows(database, live) == driving.rows(
        database, "SELECT count(*) FILTER (WHERE NOT deleted), count(*) FILTER (WHERE deleted) FROM harvest.record"
    )
    assert driving.rows(database, "SELECT 1 FROM harvest.deletion UNION ALL SELECT 1 FROM harvest.failure") == []
    assert driving.one(database, "SELECT count(*) FROM harvest.source WHERE pass IS NOT NULL") == 0
    assert consortium.stats()["groups"]["hosted"]["in_flight_max"] <= 4


def test_a_harvest_that_was_killed_six_times_is_that_of_an_undisturbed_run(
    consortium: RemoteConsortium, database_url: str, database: Database, tmp_path: Path
) -> None:
    """harvest 21"""
    prove(consortium, database_url, database, tmp_path, kills=6, seed=1)


@pytest.mark.proof
def test_a_harvest_that_was_killed_a_hundred_times_is_that_of_an_undisturbed_run(
    consortium: RemoteConsortium, database_url: str, database: Database, tmp_path: Path
) -> None:
    """harvest 21"""
    prove(consortium, database_url, database, tmp_path, kills=100, seed=int(time.time()))
