"""``windrow sources check --live`` for folders, SFTP drops and REST endpoints: is anything there, and can it be read?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AsyncExitStack

from flows.catalog.feeds import pages
from flows.catalog.feeds.plan import plan
from flows.commands.probe import Probe
from flows.harvest.feedpass import folder_of
from harvester.client import Transport
from harvester.errors import HarvestError
from harvester.sources import Deletions, Feed, Source


async def look(transport: Transport, sources: Iterable[Source]) -> list[Probe]:
    """What the sources answer, one after the other. Nothing is stored, moved or remembered."""
    probes = []
    for source in sources:
        probe = Probe(source=source)
        try:
            await (_page(transport, probe) if source.transport == "rest" else _files(probe))
        except HarvestError as error:
            probe.problems.append(str(error))
        probes.append(probe)
    return probes


async def _files(probe: Probe) -> None:
    source, began = probe.source, time.perf_counter()
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(folder_of(source))
        entries = await folder.entries()
    probe.milliseconds["list"] = (time.perf_counter() - began) * 1000
    found = plan(entries, (), source.feed or Feed(), now=time.time(), whole=False)
    waiting = f", {len(found.unfinished)} are still being written" if found.unfinished else ""
    probe.warnings.append(f"{len(entries)} files are there, {len(found.read)} of them would be read by a first pass{waiting}")
    if source.deletions is Deletions.FULL and found.unfinished:
        probe.warnings.append(f"a full delivery is not read before {found.unfinished[0]} is finished")


async def _page(transport: Transport, probe: Probe) -> None:
    source = probe.source
    asked, request = pages.ask(source, None, since=None)
    reply = await transport.fetch(asked, request, timeout=source.page_timeout)
    probe.milliseconds["GET"] = reply.seconds * 1000
    answer = pages.understand(source, None, reply, now=time.time())
    probe.page_size = len(answer.records) + len(answer.damaged)
    if answer.damaged:
        probe.warnings.append(f"{len(answer.damaged)} records of the first page cannot be read: {answer.damaged[0].reason}")
    if not probe.page_size:
        probe.warnings.append("the first page is empty")
