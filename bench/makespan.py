"""How much longer than the ideal a harvest takes: in simulation, and on loopback with pages of 20 ms."""

from __future__ import annotations

import statistics
import time

from bench.measuring import Bench, Row, configuration, rounded
from harvester.simulation import Shape, simulate
from harvester.sources import Configuration, Group, Source
from tests.fakes.oai_remote import spawn

LATENCY = 0.02  # seconds


def simulated(bench: Bench) -> list[Row]:
    """60 sources, 6,000 pages of 1 s, a pause of two minutes after every 10,000 records, under a limit of 2."""
    sources = {name: Source(name=name, url="http://simulated.invalid/oai") for name in (f"s{number:02d}" for number in range(60))}
    setting = Configuration(sources=sources, groups={"default": Group(name="default", limit=2)})
    shape = Shape.of(20_000, page_size=200, latency=1.0)
    ratios, took, makespans, ideals = [], [], [], []
    for seed in range(1, 3 if bench.quick else 6):
        began = time.process_time()
        told = simulate(setting, dict.fromkeys(sources, shape), seed=seed)
        took.append(time.process_time() - began)
        makespans.append(told.makespan)
        ideals.append(told.ideal)
        ratios.append(told.makespan / told.ideal)
    return [
        Row(
            name="makespan in simulation, 60 sources, 6,000 pages, limit 2, the worst of several seeds",
            value=rounded(max(makespans)),
            unit="s",
            peer="ideal bound",
            peer_value=rounded(ideals[0]),
            ratio=round(max(ratios), 4),
            bound="ratio <= 1.03",
        ),
        Row(name="processor time of that simulation", value=rounded(statistics.median(took)), unit="s", bound="value <= 2"),
    ]


def loopback(bench: Bench) -> list[Row]:
    """60 sources under a limit of 2 with pages of 20 ms, from the first request to the last commit.

    The ideal is answers x 20 ms / 2, where an answer is a page or an Identify, which takes 20 ms as well. What the
    server itself loses (its timer rings late) is in the makespan; the utilisation of the slots is what the server saw.
    """
    sources, pages, limit = 60, 10 if bench.quick else 40, 2
    ideal = sources * (pages + 1) * LATENCY / limit
    makespans, used = [], []
    with spawn([{"name": "s{number:02d}", "repeat": sources, "records": 10 * pages, "page_size": 10, "latency": LATENCY}]) as remote:
        urls = {f"s{number:02d}": remote.url(f"s{number:02d}") for number in range(sources)}
        for seed in range(bench.rounds):
            bench.empty()
            remote.reset_stats()
            told = bench.contend("windrow", {"configuration": configuration(urls, {"default": limit}), "seed": seed})
            total = remote.stats()["total"]
            makespans.append(told["finished"] - total["first"])
            used.append(sum(int(count) * seconds for count, seconds in total["seconds"].items()) / (limit * makespans[-1]))
    return [
        Row(
            name=f"makespan on loopback, {sources} sources, {sources * pages:,} pages of 20 ms, limit {limit}",
            value=rounded(statistics.median(makespans)),
            unit="s",
            peer="answers x 20 ms / limit",
            peer_value=rounded(ideal),
            ratio=round(statistics.median(makespans) / ideal, 4),
            bound="ratio <= 1.03",
        ),
        Row(name="utilisation of the slots in that harvest, as the server saw it", value=rounded(statistics.median(used)), unit="of 1"),
    ]
