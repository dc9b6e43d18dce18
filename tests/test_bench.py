"""The bench itself: bounds are judged as they are written, and a busy machine is told rather than measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.measuring import QUIET, Row, compared, table, write
from bench.walk import TOKEN

KEYS = ["name", "value", "unit", "peer", "peer_value", "ratio", "bound"]
ABOUT = {"date": "2026-01-01", "cores": 2, "memory_gb": 8, "python": "3.12", "postgresql": "18", "system": "Linux"}


@pytest.mark.parametrize(
    ("value", "ratio", "bound", "met"),
    [
        (6000.0, None, "value >= 6000", True),
        (5999.0, None, "value >= 6000", False),
        (1.0, 1.03, "ratio <= 1.03", True),
        (1.0, 1.031, "ratio <= 1.03", False),
        (1.0, None, "ratio >= 5", False),
        (0.0, None, "value == 0", True),
        (1.0, None, "value == 0", False),
        (1.0, 9.0, "", None),
    ],
)
def test_a_bound_is_judged_as_it_is_written(value: float, ratio: float | None, bound: str, met: bool | None) -> None:
    assert Row(name="x", value=value, unit="s", ratio=ratio, bound=bound).met is met


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians() -> None:
    row = compared("x", [10.0, 20.0, 90.0], "records/s", "peer", [5.0, 2.0, 30.0], "ratio >= 2")
    assert (row.value, row.peer_value, row.ratio) == (20.0, 5.0, 3.0)  # ratios of the rounds: 2, 10, 3


def test_the_files_hold_the_promised_keys_and_no_place_of_this_machine(tmp_path: Path) -> None:
    write([Row(name="x", value=1.0, unit="s", bound="value <= 0")], ABOUT, quick=False, seconds=3.0, folder=tmp_path)
    assert [list(row) for row in json.loads((tmp_path / "results.json").read_text())] == [KEYS]
    page = (tmp_path / "results.md").read_text()
    assert "| **no** |" in page
    assert os.uname().nodename not in page
    assert str(Path.cwd()) not in page


def test_a_disturbed_run_says_so() -> None:
    row = Row(name="x", value=9000.0, unit="records/s", bound="value >= 6000")
    assert "| yes |" in table([row], ABOUT, quick=False, seconds=1.0)
    page = table([row], ABOUT, quick=False, seconds=1.0, strangers=QUIET + 1)
    assert f"**Disturbed**: other programs kept {QUIET + 1:.2f} cores busy" in page
    assert "**Disturbed**" not in table([row], ABOUT, quick=False, seconds=1.0, strangers=QUIET)


def test_the_end_of_a_list_is_seen_by_its_token() -> None:
    assert TOKEN.search(b'<resumptionToken cursor="0">a&amp;b</resumptionToken></ListRecords></OAI-PMH>')
    assert TOKEN.search(b'<resumptionToken cursor="0"/></ListRecords></OAI-PMH>') is None
