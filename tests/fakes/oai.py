"""The stand-in consortium: any number of OAI-PMH repositories behind one real HTTP server on loopback.

In a test:

    with Consortium([Repository(name="alpha", records=1000), Repository(name="beta", group="hosted")]) as consortium:
        harvest(consortium.url("alpha"))
        assert consortium.stats()["groups"]["hosted"]["in_flight_max"] <= 2

As a process of its own (`oai_remote.spawn` does it from Python):

    python -m tests.fakes.oai --spec FILE.json [--port 0] [--ready-file PATH] [--cache MEGABYTES]

It prints one line, `{"url": ..., "elsewhere": ..., "dead": ...}`, when it answers, and ends on SIGTERM. The file holds
`{"repositories": [{"name": "alpha", "records": 1000}, {"name": "s{number:04d}", "repeat": 1000}], "faults": [{"name": "alpha", "kind":
"500"}]}`; all fields of `Repository` and `Fault` may be given, `repeat` makes that many with `{number}` in the name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.oai_consortium import Consortium
from tests.fakes.oai_faults import INSTEAD, KINDS, ON_THE_PAGE, ON_THE_WAY, Fault
from tests.fakes.oai_holdings import Truth
from tests.fakes.oai_http import Server
from tests.fakes.oai_repository import DAYS, SECONDS, Repository
from tests.fakes.oai_site import Site
from tests.fakes.oai_statistics import LogEntry

__all__ = [
    "DAYS",
    "INSTEAD",
    "KINDS",
    "ON_THE_PAGE",
    "ON_THE_WAY",
    "SECONDS",
    "Consortium",
    "Fault",
    "LogEntry",
    "Repository",
    "Truth",
    "main",
]


def read_spec(spec: Mapping[str, Any]) -> tuple[list[Repository], list[tuple[str | None, Fault]]]:
    """Repositories and faults of a specification; its form stands in the module docstring. Raises ValueError."""
    repositories: list[Repository] = []
    for values in spec["repositories"]:
        given = dict(values)
        repeat = given.pop("repeat", None)
        if repeat is None:
            repositories.append(Repository.parse(given))
        else:
            repositories += [Repository.parse({**given, "name": given["name"].format(number=number)}) for number in range(repeat)]
    faults = [(values.get("name"), Fault.parse({k: v for k, v in values.items() if k != "name"})) for values in spec.get("faults", [])]
    return repositories, faults


async def _serve(spec: Mapping[str, Any], port: int, ready_file: Path | None, cache_megabytes: int) -> None:
    repositories, faults = read_spec(spec)
    site = Site(repositories, cache_bytes=cache_megabytes << 20)
    for name, fault in faults:
        site.faults.arm(name, fault)
    server = Server(site)
    await server.start(port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    line = json.dumps({"url": site.url, "elsewhere": site.elsewhere_url, "dead": server.dead_url})
    if ready_file is not None:
        # Written aside and moved, so that whoever waits for the file never reads half of it.
        beside = ready_file.with_name(ready_file.name + ".new")
        beside.write_text(line + "\n", encoding="utf-8")
        beside.rename(ready_file)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0 after SIGTERM or SIGINT, 2 for a wrong specification."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.oai", description="Serves a stand-in consortium of OAI-PMH repositories.")
    parser.add_argument("--spec", type=Path, required=True, help="JSON file with repositories and faults")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--ready-file", type=Path, help="file that gets the ready line too")
    parser.add_argument("--cache", type=int, default=64, help="megabytes for written pages (default: 64)")
    told = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(json.loads(told.spec.read_text(encoding="utf-8")), told.port, told.ready_file, told.cache))
    except (ValueError, KeyError, OSError) as error:
        sys.stderr.write(f"{told.spec}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
