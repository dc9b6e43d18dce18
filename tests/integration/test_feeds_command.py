"""``windrow harvest`` and ``windrow sources`` with files beside a repository, as a program uses them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.catalog.model import BibRecord, ControlField, DataField, Subfield
from flows.catalog.write import to_iso2709
from tests.fakes.oai import Consortium, Repository

ROOT = Path(__file__).resolve().parents[2]


def record(number: int) -> bytes:
    return to_iso2709(
        BibRecord(
            source="",
            identifier="",
            format="test",
            leader="00000nam a2200000 i 4500",
            control_fields=(ControlField("001", f"a{number}"),),
            data_fields=(DataField(tag="245", ind1="0", ind2="0", subfields=(Subfield("a", "Title"),)),),
        )
    )


@pytest.fixture
def environment(tmp_path: Path, database_url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WINDROW_")}
    settings = {
        "WINDROW_HOME": str(tmp_path / "home"),
        "WINDROW_DATABASE_URL": database_url,
        "WINDROW_SOURCES": str(tmp_path / "sources.yaml"),
        "PYTHONPATH": str(ROOT),
    }
    return {**kept, **settings}


def windrow(environment: dict[str, str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status, and the JSON lines that were printed."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_files_are_checked_and_harvested_like_any_source(tmp_path: Path, environment: dict[str, str]) -> None:
    """catalog 4"""
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "1.mrc.gz").write_bytes(gzip.compress(b"".join(record(number) for number in range(700))))
    (drop / "2.mrc.part").write_bytes(b"")
    os.utime(drop / "1.mrc.gz", (1_700_000_000, 1_700_000_000))
    with Consortium([Repository(name="beta", records=20, page_size=10)]) as consortium:
        (tmp_path / "sources.yaml").write_text(
            f"""
sources:
  alpha: {{kind: files, url: "file://{drop}", feed: {{identifier_prefix: "alpha:"}}}}
  beta: {{url: "{consortium.url("beta")}"}}
  gamma: {{kind: files, url: "file://{tmp_path}/nowhere", attempts: 1}}
"""
        )
        status, answers = windrow(environment, "sources", "check", "--live")
        probes = {each["source"]: each for each in answers[0]["live"]}
        assert status == 3
        assert "2 files are there, 1 of them would be read by a first pass, 1 are still being written" in probes["alpha"]["warnings"]
        assert "is not there" in probes["gamma"]["problems"][0]
        status, lines = windrow(environment, "harvest", "--once")
    events = {each["source"]: each for each in lines if each["event"] == "pass"}
    assert status == 3
    assert (events["alpha"]["outcome"], events["alpha"]["new"], events["alpha"]["pages"]) == ("complete", 700, 2)
    assert (events["beta"]["outcome"], events["beta"]["new"]) == ("complete", 20)
    assert events["gamma"]["outcome"] == "failed"
    assert events["alpha"].keys() == events["beta"].keys()
    summary = lines[-1]
    assert (summary["sources"], summary["complete"], summary["failed"], summary["new"]) == (3, 2, 1, 720)
    status, lines = windrow(environment, "status")
    states = {each["name"]: (each["state"], each["records"], each["failures_in_a_row"]) for each in lines[0]["sources"]}
    assert states["alpha"] == ("idle", 700, 0)
    assert states["gamma"][2] == 1
