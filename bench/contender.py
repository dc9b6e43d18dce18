"""One harvest in a process of its own: ``python -m bench.contender KIND < task.json``; the last line says how it went.

Every contender is timed from the moment at which it is ready (modules loaded, database connected) to its last commit.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import psutil

from bench import peers
from db.engine import connect
from flows.harvest.run import Run
from flows.harvest.tally import Tally
from harvester.events import Happening, PassFinished
from harvester.sources import Configuration, Group, Source


def windrow(task: dict[str, Any]) -> dict[str, Any]:
    """What ``windrow harvest --once`` does, from the connected database on."""
    given = task["configuration"]
    configuration = Configuration(
        sources={name: Source(name=name, **values) for name, values in given["sources"].items()},
        groups={name: Group(name=name, limit=limit) for name, limit in given["groups"].items()},
        seed=task.get("seed"),
    )
    tally = Tally()
    finished = 0.0

    def observe(happening: Happening) -> None:
        nonlocal finished
        tally.take(happening)
        if isinstance(happening, PassFinished):
            finished = time.time()

    database = connect(pool_size=8, application_name="windrow-harvest")
    run = Run(configuration=configuration, database=database, observe=observe)
    began = time.time()
    anyio.run(lambda: run.harvest(once=True))
    seconds = time.time() - began
    database.dispose()
    if tally.failed:
        raise RuntimeError(f"{tally.failed} sources failed: {next(iter(tally.errors.values()), '')}")
    return {"records": tally.totals.records, "pages": tally.totals.pages, "seconds": seconds, "finished": finished}


def peak_megabytes() -> float:
    """The largest resident set of this process so far.

    From VmHWM where there is one: Linux's ru_maxrss would include that of the process which started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass  # not Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


CONTENDERS = {"windrow": windrow, "orm": peers.orm, "upsert": peers.upsert, "floor": peers.floor}


def main() -> None:
    """Reads the task, runs the contender, prints what it says."""
    task = json.load(sys.stdin)
    before = psutil.Process().cpu_times()
    told = CONTENDERS[sys.argv[1]](task)
    after = psutil.Process().cpu_times()
    told["cpu"] = after.user + after.system - before.user - before.system
    told["peak_megabytes"] = peak_megabytes()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
