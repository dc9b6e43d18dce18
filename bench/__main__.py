"""``python -m bench [--quick] [NAME ...]``: runs the measures and writes bench/results.json and bench/results.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final

from bench import measuring
from bench.bloat import bloat
from bench.limits import limits
from bench.makespan import loopback, simulated
from bench.measuring import QUIET, Bench, Row, Strangers
from bench.memory import memory
from bench.throughput import throughput

MEASURES: Final[dict[str, Callable[[Bench], list[Row]]]] = {
    "limits": limits,
    "simulation": simulated,
    "loopback": loopback,
    "throughput": throughput,
    "bloat": bloat,
    "memory": memory,
}


def say(line: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 when a bound is not met (the quick form is too small to judge), 4 when the machine was not quiet."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures what the specification promises.")
    parser.add_argument("--quick", action="store_true", help="one round of smaller tasks, within two minutes")
    parser.add_argument("measures", nargs="*", metavar="NAME", help=f"only these (nothing is written then): {', '.join(MEASURES)}")
    told = parser.parse_args(arguments)
    if unknown := [name for name in told.measures if name not in MEASURES]:
        parser.error(f"there is no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    began = time.monotonic()
    rows: list[Row] = []
    with measuring.bench(quick=told.quick, say=say) as bench:
        about = measuring.machine(bench.database)
        strangers = Strangers(bench.postmaster)
        for name in told.measures or MEASURES:
            say(f"{name} ...")
            started = time.monotonic()
            found = MEASURES[name](bench)
            say(f"{name}: {time.monotonic() - started:.0f} s")
            rows += found
        others = strangers.cores()
    seconds = time.monotonic() - began
    page = measuring.table(rows, about, quick=told.quick, seconds=seconds, strangers=others)
    disturbed = others > QUIET
    if disturbed:
        say(f"other programs kept {others:.2f} cores busy; the page says so, run it again when the machine is quiet")
    if not told.measures:
        measuring.write(rows, about, quick=told.quick, seconds=seconds, strangers=others)
    sys.stdout.write(page)
    if disturbed:
        return 4
    return 0 if told.quick or all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
