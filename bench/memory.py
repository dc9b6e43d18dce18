"""Resident memory: that of 1,000 sources is that of 10."""

from __future__ import annotations

import statistics

from bench.measuring import Bench, Row, configuration, rounded
from tests.fakes.oai_remote import spawn


def memory(bench: Bench) -> list[Row]:
    """The peak of the harvesting process, with 1,000 records a source (50 in the quick form)."""
    records = 50 if bench.quick else 1000
    peaks: dict[int, list[float]] = {10: [], 1000: []}
    repository = {"name": "s{number:04d}", "repeat": 1000, "records": records, "page_size": 250}
    with spawn([repository], cache_megabytes=0) as remote:
        for _ in range(1):  # a million records take minutes, and memory does not scatter
            for sources, found in peaks.items():
                bench.empty()
                urls = {f"s{number:04d}": remote.url(f"s{number:04d}") for number in range(sources)}
                task = {"configuration": configuration(urls, {"default": 4}, pause_after_records=0), "seed": 1}
                told = bench.contend("windrow", task)
                if told["records"] != sources * records:
                    raise RuntimeError(f"{told['records']:,} of {sources * records:,} records came")
                found.append(told["peak_megabytes"])
                bench.say(f"  {sources:,} sources: {found[-1]:.0f} MB, {told['records'] / told['seconds']:,.0f} records/s")
    small, large = statistics.median(peaks[10]), statistics.median(peaks[1000])
    name = f"peak resident memory, 1,000 sources and {1000 * records:,} records"
    return [
        Row(
            name=name,
            value=rounded(large),
            unit="MB",
            peer=f"10 sources and {10 * records:,} records",
            peer_value=rounded(small),
            ratio=rounded(large / small),
            bound="ratio <= 1.2",
        ),
        Row(name=f"{name}, in itself", value=rounded(large), unit="MB", bound="value <= 300"),
    ]
