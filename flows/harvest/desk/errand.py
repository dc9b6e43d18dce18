"""One record, asked for now: GetRecord over the real client, and, if wanted, saved as the harvest saves it.

To save it the errand takes the place of the group's engine for a moment, so it never meets one. It is one commit, which
leaves the course of the source as it is.
"""

from __future__ import annotations

import time
from typing import Final

from flows.harvest.store import PostgresStore
from harvester import answers
from harvester.client import Client
from harvester.course import Memory
from harvester.errors import HarvestError
from harvester.oai import Page, Request
from harvester.passes import More, Step
from harvester.sources import Source
from harvester.store import Commit

VERB: Final = "GetRecord"


class Occupied(HarvestError):
    """An engine harvests the group, so nothing was asked."""


async def ask(source: Source, identifier: str) -> Page:
    """The answer of the repository. Raises the errors of ``harvester.errors``."""
    request = Request(verb=VERB, arguments=(("identifier", identifier), ("metadataPrefix", source.metadata_prefix)))
    async with Client() as client:
        reply = await client.fetch(source, request, timeout=source.page_timeout)
    return answers.read(reply, request, now=time.time(), repair=source.repair)


async def ask_and_save(source: Source, identifier: str, store: PostgresStore) -> Page:
    """The same, and what came is saved. Raises ``Occupied`` before anything is asked when an engine harvests the group.

    A tombstone of a live record takes effect when the next window is complete, as it does in a harvest.
    """
    try:
        if not await store.claim(source.group):
            raise Occupied(f"group {source.group} is being harvested by an engine")
        try:
            memory = (await store.recall([source]))[source.name]
            page = await ask(source, identifier)
            await store.commit(saving(source, memory, page))
            return page
        finally:
            await store.release(source.group)
    finally:
        await store.close()


def saving(source: Source, memory: Memory, page: Page) -> Commit:
    """The commit that saves a page and changes nothing else."""
    return Commit(
        source=source,
        step=Step(course=memory.course, then=More(), records=page.records, damaged=page.damaged),
        pass_id="",
        at=time.time(),
        epoch=memory.epoch,
        verb=VERB,
        size=page.size,
        since_pause=memory.since_pause,
        paused_until=memory.paused_until,
        waiting_until=memory.waiting_until,
        attempt=memory.attempt,
        blocked=memory.blocked,
    )
