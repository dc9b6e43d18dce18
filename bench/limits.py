"""Requests in flight as a server sees them: never above the limit, and at it while work is ready."""

from __future__ import annotations

import statistics
import threading
from typing import Any

from bench.measuring import Bench, Row, configuration, rounded, until
from tests.fakes.oai_remote import RemoteConsortium, spawn


def limits(bench: Bench) -> list[Row]:
    """60 sources of one group under a limit of 2, and 1,000 sources in 5 groups under limits of 2 to 6."""
    pages = 4 if bench.quick else 8
    rows = observed(bench, "60 sources under 2", sources=60, groups={"hosted": 2}, pages=pages, latency=0.05)
    groups = {f"group-{limit}": limit for limit in range(2, 7)}
    return rows + observed(bench, "1,000 sources in 5 groups", sources=1000, groups=groups, pages=1, latency=0.1)


def observed(bench: Bench, what: str, *, sources: int, groups: dict[str, int], pages: int, latency: float) -> list[Row]:
    """The greatest number in flight per group, and the share of time at the limit while there is plenty to do.

    The share is taken between the first and the last fifth of the requests, when in each group more sources are ready
    than it has slots. Before an answer's last byte has travelled and the next request has come back, the server sees a
    slot as free; so it cannot be quite 1.
    """
    names = list(groups)
    repositories: list[dict[str, Any]] = [
        {"name": f"s{number:04d}", "group": names[number % len(names)], "records": 5 * pages, "page_size": 5, "latency": latency}
        for number in range(sources)
    ]
    most: dict[str, int] = dict.fromkeys(groups, 0)
    shares: list[float] = []
    with spawn(repositories) as remote:
        of = {each["name"]: each["group"] for each in repositories}
        task = {"configuration": configuration({name: remote.url(name) for name in of}, groups, of), "seed": 1}
        for _ in range(bench.rounds):
            bench.empty()
            remote.reset_stats()
            seen: list[dict[str, Any]] = []
            watcher = threading.Thread(target=watch, args=(remote, sources * (pages + 1), most, seen), daemon=True)
            watcher.start()
            bench.contend("windrow", task)
            watcher.join(timeout=30)
            if seen:
                shares.append(statistics.fmean(at_limit(seen[0]["groups"][name], limit) for name, limit in groups.items()))
            for name, figures in remote.stats()["groups"].items():
                most[name] = max(most[name], figures["in_flight_max"])
    allowed = sum(groups.values())
    rows = [
        Row(
            name=f"requests in flight, {what}: the most that the server saw",
            value=float(sum(most.values())),
            unit="requests",
            peer=f"limit{'s of the groups together' if len(groups) > 1 else ''}",
            peer_value=float(allowed),
            ratio=rounded(sum(most.values()) / allowed),
            bound=f"value == {allowed}",
        )
    ]
    if over := {name: number for name, number in most.items() if number != groups[name]}:
        raise RuntimeError(f"requests in flight differ from the limits {groups}: {over}")  # a sum could hide two that differ
    if shares:
        rows.append(
            Row(name=f"share of time at the limit, {what}, while work is ready", value=rounded(statistics.median(shares)), unit="of 1")
        )
    return rows


def watch(remote: RemoteConsortium, requests: int, most: dict[str, int], seen: list[dict[str, Any]]) -> None:
    """Forgets the first fifth of the requests, and looks before the last one."""

    def reached(share: float) -> bool:
        return bool(sum(figures["requests"] for figures in remote.stats()["groups"].values()) >= share * requests)

    if until(lambda: reached(0.2), seconds=300):
        for name, figures in remote.stats()["groups"].items():
            most[name] = max(most[name], figures["in_flight_max"])
        remote.reset_stats()
        if until(lambda: reached(0.6), seconds=300):
            seen.append(remote.stats())


def at_limit(figures: dict[str, Any], limit: int) -> float:
    """The share of the observed time in which exactly ``limit`` requests were in flight."""
    seconds = {int(count): value for count, value in figures["seconds"].items()}
    return float(seconds.get(limit, 0.0) / sum(seconds.values()))
